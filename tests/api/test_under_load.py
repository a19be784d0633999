"""Many readers and queueing agents while turns are submitted; a signal to stop amid one."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.connection import Connection
from tests.api.server import Server, environment, serving, world

AGENTS = 200
READERS = 200
QUEUERS = 20
TURNS = 12


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path / "sim.db") as server:
        with server.client() as client:
            assert client.post("/init", json=world(AGENTS)).status_code == 201
        yield server


def submissions(turn: int) -> bytes:
    """Everybody pays its neighbour, mines and speaks: a torn view would not add up."""
    return json.dumps(
        {
            "turn": turn,
            "submissions": [
                {
                    "agent_id": f"agent_{number}",
                    "actions": [
                        {"type": "mine"},
                        {"type": "transfer", "to": f"agent_{(number + turn) % AGENTS}",
                         "amount": turn, "fee": 1},
                        {"type": "stake", "amount": 7},
                    ],
                }
                for number in range(AGENTS)
            ],
        }
    ).encode()  # fmt: skip


def check_state(state: Any, hashes: dict[int, set[str]]) -> None:
    """Whatever turn a view is of, its own numbers add up."""
    hashes.setdefault(state["turn"], set()).add(state["turn_hash"])
    held = sum(
        agent["balance"] + agent["staked"] + sum(lot["amount"] for lot in agent["unbonding"])
        for agent in state["agents"]
    )
    assert held + state["fees"] + state["accounts"]["cores"] == state["supply"]["circulating"]
    assert {agent["staked"] for agent in state["agents"]} == {7 * state["turn"]}


async def read_until(done: asyncio.Event, engine: Server, seen: Counter[str], number: int) -> None:
    connection = await Connection.to(engine.port)
    hashes: dict[int, set[str]] = {}
    last = 0
    while not done.is_set():
        path = ("/state", f"/agent/agent_{number % AGENTS}", "/metrics/turns", "/health")[
            number % 4
        ]
        status, content = await connection.ask("GET", path)
        assert status == 200, content
        answer = json.loads(content)
        if path == "/state":
            check_state(answer, hashes)
            assert answer["turn"] >= last
            last = answer["turn"]
        elif path == "/metrics/turns":
            assert [row["turn"] for row in answer["turns"]] == list(
                range(1, len(answer["turns"]) + 1)
            )
        elif path.startswith("/agent"):
            types = [receipt["type"] for receipt in answer["private"]["receipts"]]
            assert types[:3] in ([], ["mine", "transfer", "stake"])
        seen[path.split("/")[1]] += 1
        await asyncio.sleep(0.02)
    assert all(len(found) == 1 for found in hashes.values())


async def queue_until(done: asyncio.Event, engine: Server, queued: list[int], number: int) -> None:
    connection = await Connection.to(engine.port)
    action = {"type": "speak", "message": f"from {number}"}
    body = json.dumps({"agent_id": f"agent_{number}", "actions": [action]}).encode()
    while not done.is_set():
        status, content = await connection.ask("POST", "/actions", body)
        assert status == 202, content
        queued.extend(json.loads(content)["ids"])
        await asyncio.sleep(0.05)


async def play(engine: Server) -> tuple[Counter[str], list[int], list[Any]]:
    done = asyncio.Event()
    seen: Counter[str] = Counter()
    queued: list[int] = []
    answers: list[Any] = []
    async with asyncio.TaskGroup() as group:
        for number in range(READERS):
            group.create_task(read_until(done, engine, seen, number))
        for number in range(QUEUERS):
            group.create_task(queue_until(done, engine, queued, number))
        driver = await Connection.to(engine.port)
        for turn in range(1, TURNS + 1):
            status, content = await driver.ask("POST", "/turn", submissions(turn))
            assert status == 200, content
            answers.append(json.loads(content))
        done.set()
    return seen, queued, answers


def test_no_view_is_torn_and_no_action_lost_under_load(engine: Server, tmp_path: Path):
    seen, queued, answers = asyncio.run(play(engine))
    assert min(seen[kind] for kind in ("state", "agent", "metrics", "health")) > READERS // 4
    assert len(set(queued)) == len(queued)
    with engine.client() as client:
        client.post("/turn", json={"submissions": []})
    taken = [
        receipt["queued_id"]
        for answer in [*answers, httpx.get(f"{engine.url}/turns/{TURNS + 1}").json()]
        for receipt in answer["receipts"]
        if "queued_id" in receipt
    ]
    assert taken == sorted(taken)
    assert sorted(queued) == taken
    assert {line["status"] for line in engine.lines("request")} <= {"200", "201", "202"}
    assert engine.stop() == 0


def test_a_signal_to_stop_lets_the_turn_in_hand_finish(engine: Server, tmp_path: Path):
    answers: list[httpx.Response] = []

    def submit() -> None:
        with engine.client() as client:
            answers.append(client.post("/turn", content=submissions(1)))

    thread = threading.Thread(target=submit)
    with (
        closing(sqlite3.connect(tmp_path / "sim.db", isolation_level=None)) as ledger,
        engine.connect() as half_open,
    ):
        half_open.sendall(b"POST /turn HTTP/1.1\r\nHost: a\r\n")
        before = httpx.get(f"{engine.url}/state").json()
        ledger.execute("BEGIN IMMEDIATE")  # the turn's commit has to wait
        thread.start()
        wait_until_reads_wait(engine)
        # What was asked for since the last seal is still there, and of that seal.
        assert httpx.get(f"{engine.url}/state").json() == before
        assert httpx.get(f"{engine.url}/health").json()["turn"] == 0
        engine.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert (answers, engine.process.poll()) == ([], None)
        ledger.execute("ROLLBACK")
        thread.join(30)
        assert engine.process.wait(30) == 0
        stored = ledger.execute("SELECT turn, turn_hash FROM turns WHERE turn > 0").fetchall()
    assert [answer.status_code for answer in answers] == [200]
    assert stored == [(1, answers[0].json()["turn_hash"])]


def wait_until_reads_wait(engine: Server) -> None:
    """A read that is not answered shows that a turn is in hand."""
    deadline = time.monotonic() + 4  # a commit waits for a lock no longer than five seconds
    while time.monotonic() < deadline:
        try:
            httpx.get(f"{engine.url}/config", timeout=0.2)
        except httpx.ReadTimeout:
            return
    raise AssertionError("no turn was ever in hand")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_engine_stops_at_once_and_in_order(tmp_path: Path, number: signal.Signals):
    with serving(tmp_path / "sim.db") as server, server.connect():
        server.process.send_signal(number)
        assert server.process.wait(10) == 0
        with serving(tmp_path / "sim.db"):
            pass


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_comes_while_the_engine_starts_is_not_lost(
    tmp_path: Path, number: signal.Signals
):
    early = (
        "import os, sys\n"
        "from sim_engine.__main__ import main\n"
        "from sim_engine.api import server\n"
        "class Early(server.Server):\n"
        "    def run(self, *arguments):\n"
        f"        os.kill(os.getpid(), {int(number)})\n"
        "        super().run(*arguments)\n"
        "server.Server = Early\n"
        "sys.exit(main(['serve', '--port', '0', '--db-path', 'sim.db']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", early],
        cwd=tmp_path,
        env=environment(PYTHONPATH=str(Path(__file__).parents[2])),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "event=stopped" in done.stderr
