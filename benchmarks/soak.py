"""A long life in one process: does memory stay flat, does a turn take as long as it ever did?

    python -m benchmarks.soak [--turns 10000] [--agents 16]

An engine is given turns over HTTP in which agents mine, stake, burn, study, work, bid, pay, talk,
queue actions and make contracts that are kept, broken, disputed and forgotten, while views are read
now and then. Its memory is read from the system at intervals. At the end a young engine is started
beside the old one, and both play on by turns: the ratio of their times is what age costs. The
ledger is then verified.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from benchmarks.server import Server, serving
from benchmarks.worlds import init_body
from sim_engine.ledger.replay import verify

Json = dict[str, Any]

JSON: Final = {"content-type": "application/json"}
WINDOW_TURNS: Final = 100
"""How many turns are taken together where times are compared."""


class MixedLoad:
    """Turns that leave something in every table, the same ones for the same answers."""

    def __init__(self, server: Server, agents: int) -> None:
        """Play on a server whose world has agents ``agent_0`` …"""
        self._client = server.client
        self._pid = server.pid
        self._roster = [f"agent_{number}" for number in range(agents)]

    def turn(self, turn: int) -> tuple[float, float]:
        """Play one turn; returns what its request took by the clock and of the CPU (seconds)."""
        answered = self._client.get("/contracts", params={"status": "proposed"}).json()
        plan: dict[str, list[Json]] = {agent_id: [] for agent_id in self._roster}
        for contract in answered["contracts"]:
            self._sign(plan, contract)
        proposer = turn % len(self._roster)
        plan[self._roster[proposer]] += self._proposals(proposer, turn)
        for place, agent_id in enumerate(self._roster):
            plan[agent_id] += self._routine(place, turn)
        submissions = [
            {
                "agent_id": agent_id,
                "actions": actions,
                "inference": {"output_tokens": 90 + (place * 37 + turn * 13) % 180},
            }
            for place, (agent_id, actions) in enumerate(plan.items())
        ]
        body = orjson.dumps({"turn": turn, "submissions": submissions})
        used, started = _cpu_seconds(self._pid), time.perf_counter()
        answer = self._client.post("/turn", content=body, headers=JSON)
        taken = time.perf_counter() - started, _cpu_seconds(self._pid) - used
        answer.raise_for_status()
        self._between(turn)
        return taken

    def _agent(self, place: int) -> str:
        return self._roster[place % len(self._roster)]

    def _sign(self, plan: dict[str, list[Json]], contract: Json) -> None:
        """Let the others sign; one contract in seven is forgotten and expires."""
        number = int(contract["contract_id"][1:])
        if number % 7 == 0:
            return
        about = {"type": "sign_contract", "contract_id": contract["contract_id"]}
        plan[contract["counterparty"]].append({**about, "role": "counterparty"})
        plan[contract["arbitrator"]].append({**about, "role": "arbitrator"})

    def _routine(self, place: int, turn: int) -> list[Json]:
        kind = (place + turn) % 8
        own: list[Json] = [
            {"type": "mine", "fee": place % 3},
            {"type": "study" if kind == 0 else "job"},
        ]
        match kind:
            case 1:
                own.append({"type": "stake", "amount": 20})
            case 2:
                own.append({"type": "unstake", "amount": 15})
            case 3:
                own.append({"type": "burn", "amount": 5})
            case 4:
                own.append({"type": "transfer", "to": self._agent(place + 1), "amount": 9})
            case 5:
                own.append({"type": "speak", "message": f"turn {turn}: who mines with me?"})
            case 6 if turn < 20:
                own.append({"type": "bid_core", "amount": 15_000 + place})
        return own

    def _proposals(self, place: int, turn: int) -> list[Json]:
        """Propose a loan, an attested service and a sale of information."""
        parties = {"counterparty": self._agent(place + 1), "arbitrator": self._agent(place + 2)}
        offer = {"type": "propose_contract", "duration": 2, **parties}
        loan = {"lender": "proposer", "principal": 40, "repayment": 42}
        service = {"provider": "counterparty", "price": 12, "description": f"work of turn {turn}"}
        return [
            {**offer, "contract_type": "loan", "terms": loan},
            {**offer, "contract_type": "service", "settlement": "attested", "terms": service},
            {
                "type": "sell_information",
                "to": parties["counterparty"],
                "arbitrator": parties["arbitrator"],
                "price": 3,
                "title": "a hint",
                "content": f"what turn {turn} taught me",
            },
        ]

    def _between(self, turn: int) -> None:
        """Queue an action, and look at the world as people and Prometheus do."""
        queued = {"agent_id": self._agent(turn), "actions": [{"type": "burn", "amount": 1}]}
        named = JSON | {"Idempotency-Key": f"soak-{turn}"}
        self._client.post("/actions", content=orjson.dumps(queued), headers=named)
        if turn % 10 == 0:
            for path in ("/state", f"/agent/{self._agent(turn)}", "/metrics", f"/speech/{turn}"):
                self._client.get(path).raise_for_status()


@dataclass(slots=True)
class Life:
    """What was measured: a value for each turn, memory for each window."""

    seconds: list[float] = field(default_factory=list)
    """What a turn took at the client."""
    cpu_seconds: list[float] = field(default_factory=list)
    """What a turn took of the CPU in the engine."""
    memory_bytes: list[int] = field(default_factory=list)

    def wall_ms(self, window: int) -> float:
        """Return the median time of a window's turns at the client."""
        return _median_ms(self.seconds, window)

    def cpu_ms(self, window: int) -> float:
        """Return the median time that a window's turns took of the engine's CPU."""
        return _median_ms(self.cpu_seconds, window)


def _median_ms(seconds: list[float], window: int) -> float:
    start = window * WINDOW_TURNS
    return statistics.median(seconds[start : start + WINDOW_TURNS]) * 1e3


def live(server: Server, agents: int, turns: int) -> Life:
    """Play the turns and print a line for each window that is a twentieth of them or more."""
    load, life = MixedLoad(server, agents), Life()
    every = max(1, turns // WINDOW_TURNS // 20)
    print("    turn  memory MiB  turn ms  CPU ms")
    for turn in range(1, turns + 1):
        seconds, cpu_seconds = load.turn(turn)
        life.seconds.append(seconds)
        life.cpu_seconds.append(cpu_seconds)
        if turn % WINDOW_TURNS == 0:
            window = turn // WINDOW_TURNS - 1
            life.memory_bytes.append(_memory_bytes(server.pid))
            if window % every == 0:
                memory = f"{life.memory_bytes[-1] / 2**20:>12.1f}"
                times = f"{life.wall_ms(window):>9.2f} {life.cpu_ms(window):>9.2f}"
                print(f"{turn:>8,}{memory}{times}", flush=True)
    return life


def _memory_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _cpu_seconds(pid: int) -> float:
    """Return what all threads of a process have had of the CPU so far (Linux)."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text(encoding="ascii").split()[0]) for thread in threads) / 1e9


def compare_ages(old: Server, directory: Path, agents: int, turns: int) -> None:
    """Play on with the old engine and with one of turn 100, turn by turn, and print the ratios.

    What else the machine does falls upon both alike.
    """
    with serving(directory / "young.db") as young:
        _make(young, agents)
        loads = {"old": MixedLoad(old, agents), "young": MixedLoad(young, agents)}
        for turn in range(1, WINDOW_TURNS + 1):
            loads["young"].turn(turn)
        taken: dict[str, list[tuple[float, float]]] = {"old": [], "young": []}
        for further in range(1, WINDOW_TURNS + 1):
            taken["old"].append(loads["old"].turn(turns + further))
            taken["young"].append(loads["young"].turn(WINDOW_TURNS + further))
    wall, cpu = (
        statistics.median(one[place] for one in taken["old"])
        / statistics.median(one[place] for one in taken["young"])
        for place in (0, 1)
    )
    print(f"\na turn after turn {turns:,} against one after turn {WINDOW_TURNS}, played by turns:")
    print(f"  CPU of the engine  {cpu:.2f}\n  time at client     {wall:.2f}")


def _make(server: Server, agents: int) -> None:
    made = server.client.post("/init", content=init_body(agents), headers=JSON)
    made.raise_for_status()


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=10_000, help="100 or more")
    parser.add_argument("--agents", type=int, default=16, help="4 or more")
    flags = parser.parse_args()
    if flags.turns < WINDOW_TURNS or flags.agents < 4:
        parser.error(f"it takes {WINDOW_TURNS} turns and 4 agents to compare anything")
    with tempfile.TemporaryDirectory() as directory:
        ledger = Path(directory) / "sim.db"
        with serving(ledger) as server:
            _make(server, flags.agents)
            life = live(server, flags.agents, flags.turns)
            growth = life.memory_bytes[-1] / life.memory_bytes[0]
            print(f"\nmemory at the end against turn {WINDOW_TURNS}: {growth:.2f}")
            compare_ages(server, Path(directory), flags.agents, flags.turns)
        found = verify(ledger, lambda turn, last: None)
        kinds = ("turns", "actions", "contracts", "blocks")
        counted = ", ".join(f"{found.counts[kind]:,} {kind}" for kind in kinds)
        said = "sound" if found.sound else f"NOT SOUND: {found.differences[0]}"
        print(f"the ledger of {ledger.stat().st_size >> 20} MiB is {said}: {counted}")


if __name__ == "__main__":
    main()
