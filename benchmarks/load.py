"""Two hundred readers and a crowd of queueing agents while turns are submitted.

    python -m benchmarks.load [--readers 200] [--queuers 50] [--agents 200] [--turns 30]

Every answer is checked: none may be an error, and each must be of one sealed turn. In a view of the
whole world the balances add up to its own supply, a turn has one hash whoever asks for it, and no
reader sees a turn before one that it has seen. Everybody asks again as soon as the answer is there
and a pause of --pause-ms is over, so that the engine is busy all the time.

The times that it takes on a machine say little without the machine: a second table has them as
multiples of what the same requests take when nobody else asks and no turn is in hand.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from benchmarks.connection import Connection
from benchmarks.server import Server, serving
from benchmarks.worlds import init_body, turn_body

READS: Final = ("state", "agent", "contracts", "entries", "metrics/turns", "health")
QUIET_ROUNDS: Final = 30
"""How often each request is made without company, for comparison."""


@dataclass(slots=True)
class Seen:
    """What all clients saw together."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: list[str] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)
    hashes: dict[int, str] = field(default_factory=dict)
    """The hash of each turn, as whoever asked first was told."""

    async def ask(
        self, connection: Connection, kind: str, method: str, path: str, body: bytes = b""
    ) -> Any:
        """Ask, and note how long it took; returns the value of the answer, None for an error."""
        started = time.perf_counter()
        status, content = await connection.ask(method, path, body)
        self.seconds[kind].append(time.perf_counter() - started)
        if status >= 300:
            self.errors.append(f"{method} {path}: {status} {content.decode()[:200]}")
            return None
        return orjson.loads(content)

    def check(self, kind: str, view: Any, agent_id: str) -> int | None:
        """Check that a view is whole; returns its turn where it tells one."""
        match kind:
            case "state":
                held = sum(
                    agent["balance"]
                    + agent["staked"]
                    + sum(lot["amount"] for lot in agent["unbonding"])
                    for agent in view["agents"]
                )
                rest = view["fees"] + view["accounts"]["cores"]
                self._require(held + rest == view["supply"]["circulating"], view["turn"])
                known = self.hashes.setdefault(view["turn"], view["turn_hash"])
                self._require(known == view["turn_hash"], view["turn"])
                return int(view["turn"])
            case "agent":
                found = {receipt["agent_id"] for receipt in view["private"]["receipts"]}
                self._require(found <= {agent_id}, kind)
            case "metrics/turns":
                numbers = [row["turn"] for row in view["turns"]]
                self._require(numbers == list(range(1, len(numbers) + 1)), kind)
                return len(numbers)
            case "health":
                return int(view["turn"])
        return None

    def _require(self, holds: bool, where: Any) -> None:
        if not holds:
            self.torn.append(f"a view of {where} is of no one turn")


@dataclass(frozen=True, slots=True)
class Crowd:
    """Who is there, and how busy."""

    readers: int
    queuers: int
    agents: int
    turns: int
    actions: int
    pause_seconds: float


def path_of(kind: str, agent_id: str) -> str:
    """Return what a reader asks for."""
    return {"agent": f"/agent/{agent_id}", "entries": "/entries?limit=50"}.get(kind, f"/{kind}")


async def read_until(done: asyncio.Event, port: int, number: int, crowd: Crowd, seen: Seen) -> None:
    """Read one kind of view again and again."""
    connection = await Connection.to(port)
    kind, agent_id = READS[number % len(READS)], f"agent_{number % crowd.agents}"
    last = 0
    while not done.is_set():
        view = await seen.ask(connection, kind, "GET", path_of(kind, agent_id))
        turn = None if view is None else seen.check(kind, view, agent_id)
        if turn is not None:
            if turn < last:
                seen.torn.append(f"{kind}: turn {turn} after {last}")
            last = turn
        await asyncio.sleep(crowd.pause_seconds)
    await connection.close()


async def queue_until(
    done: asyncio.Event, port: int, number: int, crowd: Crowd, seen: Seen
) -> None:
    """Queue an action again and again; an agent with a full queue waits for the next turn."""
    connection = await Connection.to(port)
    agent_id = f"agent_{number % crowd.agents}"
    body = orjson.dumps({"agent_id": agent_id, "actions": [{"type": "burn", "amount": 1}]})
    while not done.is_set():
        await seen.ask(connection, "actions", "POST", "/actions", body)
        await asyncio.sleep(5 * crowd.pause_seconds)
    await connection.close()


async def play(port: int, crowd: Crowd, seen: Seen) -> None:
    """Submit the turns; everybody else goes on until the last one is sealed."""
    done = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for number in range(crowd.readers):
            group.create_task(read_until(done, port, number, crowd, seen))
        for number in range(crowd.queuers):
            group.create_task(queue_until(done, port, number, crowd, seen))
        connection = await Connection.to(port)
        for turn in range(1, crowd.turns + 1):
            body = turn_body(turn, crowd.agents, crowd.actions)
            sealed = await seen.ask(connection, "turn", "POST", "/turn", body)
            if sealed is not None:
                known = seen.hashes.setdefault(turn, sealed["turn_hash"])
                if known != sealed["turn_hash"]:
                    seen.torn.append(f"turn {turn} was seen before it was sealed")
            await asyncio.sleep(crowd.pause_seconds)
        done.set()
        await connection.close()


async def ask_quietly(port: int, crowd: Crowd, first_turn: int) -> Seen:
    """Make each request alone."""
    seen = Seen()
    connection = await Connection.to(port)
    for round_number in range(QUIET_ROUNDS):
        for kind in READS:
            await seen.ask(connection, kind, "GET", path_of(kind, "agent_0"))
        action = {"agent_id": "agent_0", "actions": [{"type": "burn", "amount": 1}]}
        await seen.ask(connection, "actions", "POST", "/actions", orjson.dumps(action))
        body = turn_body(first_turn + round_number, crowd.agents, crowd.actions)
        await seen.ask(connection, "turn", "POST", "/turn", body)
    await connection.close()
    return seen


def report(seen: Seen, quiet: Seen) -> None:
    """Print times, and what went wrong."""
    print(
        f"{'request':<16} {'count':>8} {'p50 ms':>9} {'p99 ms':>9} {'max ms':>9}   p50 to quiet p50"
    )
    for kind in (*READS, "actions", "turn"):
        times = sorted(seen.seconds[kind])
        p50, p99 = statistics.median(times), times[min(len(times) - 1, len(times) * 99 // 100)]
        alone = statistics.median(quiet.seconds[kind])
        columns = f"{p50 * 1e3:>9.1f} {p99 * 1e3:>9.1f} {times[-1] * 1e3:>9.1f}"
        print(f"{kind:<16} {len(times):>8,} {columns} {p50 / alone:>18.1f}")
    print(f"\nerrors {len(seen.errors + quiet.errors)}, torn reads {len(seen.torn)}")
    for line in [*seen.errors, *quiet.errors, *seen.torn][:10]:
        print(f"  {line}")


def port_of(server: Server) -> int:
    """Return where the engine listens."""
    port = server.client.base_url.port
    assert port is not None
    return port


def main() -> int:
    """Print the table; exit status 1 for an error or a torn read."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--readers", type=int, default=200)
    parser.add_argument("--queuers", type=int, default=50)
    parser.add_argument("--agents", type=int, default=200)
    parser.add_argument("--turns", type=int, default=30)
    parser.add_argument("--pause-ms", type=float, default=100.0, help="between two reads of one")
    flags = parser.parse_args()
    crowd = Crowd(
        readers=flags.readers,
        queuers=flags.queuers,
        agents=flags.agents,
        turns=flags.turns,
        actions=3 * flags.agents,
        pause_seconds=flags.pause_ms / 1e3,
    )
    with tempfile.TemporaryDirectory() as directory, serving(Path(directory) / "sim.db") as server:
        headers = {"content-type": "application/json"}
        made = server.client.post("/init", content=init_body(crowd.agents), headers=headers)
        made.raise_for_status()
        seen = Seen()
        asyncio.run(play(port_of(server), crowd, seen))
        quiet = asyncio.run(ask_quietly(port_of(server), crowd, crowd.turns + 1))
    report(seen, quiet)
    return 1 if seen.errors or quiet.errors or seen.torn else 0


if __name__ == "__main__":
    sys.exit(main())
