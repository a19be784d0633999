"""Acknowledged means durable: an engine that is killed at any moment loses and doubles nothing.

``SIM_KILLS`` sets how many kills there are, for longer runs.
"""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from sim_engine.engine import Engine
from sim_engine.ledger import tables
from sim_engine.ledger.replay import verify
from tests.api.server import serving
from tests.trust import everything
from tests.trust.driver import EngineProcess

KILLS = int(os.environ.get("SIM_KILLS", "100"))
SERVER_KILLS = max(8, KILLS // 20)


def contents(path: Path) -> dict[str, list[Any]]:
    """Every row of every table, but the keys of agents, which are drawn."""
    with closing(sqlite3.connect(path)) as connection:
        return {
            table: sorted(map(repr, connection.execute(f'SELECT * FROM "{table}"').fetchall()))
            for table in tables.METADATA.tables
            if table != "agent_keys"
        }


def twin(path: Path, turns: int) -> dict[int, str]:
    """Play the same turns undisturbed in another file; the hash of each."""
    engine = Engine.open(path)
    engine.init(orjson.dumps(everything.WORLD))
    hashes = {}
    for turn in range(1, turns + 1):
        engine.enqueue(everything.queue_body(turn), idempotency_key=f"queue-{turn}")
        answer = engine.submit_turn(everything.turn_body(turn))
        hashes[turn] = orjson.loads(answer.content)["turn_hash"]
    engine.close()
    return hashes


def assert_same_world(path: Path, undisturbed: Path) -> None:
    killed, expected = contents(path), contents(undisturbed)
    assert killed.keys() == expected.keys()
    for table, rows in expected.items():
        assert killed[table] == rows, table
    report = verify(path, lambda turn, last: None)
    assert report.sound, report.differences


class Killing:
    """One world whose engine is killed again and again, and what it has acknowledged so far."""

    def __init__(self, path: Path, chance: random.Random) -> None:
        self.path = path
        self.chance = chance
        self.kills = 0
        self.turn_seconds = 0.02
        self.sealed = 0
        """The last turn that was answered."""
        self.unanswered = Counter[bool]()
        """Kills before a turn was answered, by whether it was sealed all the same."""
        self.engine = EngineProcess(path)

    def ask(self, method: str, body: bytes, **more: Any) -> Any:
        """Ask until there is an answer; the engine may be killed before it comes or just after."""
        while True:
            self.engine.ask(method, body, **more)
            if self.kills >= KILLS:
                return self.engine.answer()
            started = time.perf_counter()
            patience = self.chance.uniform(0, 1.4) * self.turn_seconds
            answered = self.engine.answered_within(patience)
            if answered:
                answer = self.engine.answer()
                took = time.perf_counter() - started
                self.turn_seconds = 0.8 * self.turn_seconds + 0.2 * took
                if self.chance.random() < 0.5:
                    return answer
            self._kill_and_start()
            if answered:
                return answer
            if method == "submit_turn":
                self.unanswered[self.engine.turn == self.sealed + 1] += 1

    def _kill_and_start(self) -> None:
        self.engine.kill()
        self.kills += 1
        self.engine = EngineProcess(self.path)
        # Whole or not at all: the world stands at the turn that was answered, or at the next.
        if self.sealed:
            assert self.engine.turn in (self.sealed, self.sealed + 1)

    def play(self, turn: int) -> str:
        """Queue actions for a turn and submit it; its hash."""
        queued = self.ask("enqueue", everything.queue_body(turn), idempotency_key=f"queue-{turn}")
        assert len(orjson.loads(queued.content)["ids"]) == 2
        answer = self.ask("submit_turn", everything.turn_body(turn))
        self.sealed = turn
        return str(orjson.loads(answer.content)["turn_hash"])


@pytest.mark.slow
@pytest.mark.timeout(120 + 3 * KILLS)
def test_a_hundred_kills_leave_the_world_of_an_undisturbed_twin(tmp_path: Path):
    killing = Killing(tmp_path / "sim.db", random.Random("kills"))
    killing.ask("init", orjson.dumps(everything.WORLD))
    hashes: dict[int, str] = {}
    while killing.kills < KILLS or len(hashes) < everything.TURNS:
        turn = len(hashes) + 1
        hashes[turn] = killing.play(turn)
    killing.engine.kill()  # once more, with everything acknowledged
    assert hashes == twin(tmp_path / "twin.db", len(hashes))
    assert_same_world(tmp_path / "sim.db", tmp_path / "twin.db")
    sealed, lost = killing.unanswered[True], killing.unanswered[False]
    print(f"{killing.kills} kills, {lost} before and {sealed} after a commit that nobody heard of")


def test_an_engine_that_is_killed_while_it_makes_its_file_starts_again(tmp_path: Path):
    """A file without a world, or with half a schema, must not be in the way of the next start."""
    chance = random.Random("first start")
    for number in range(12):
        path = tmp_path / f"{number}.db"
        process = EngineProcess.launch(path)
        time.sleep(chance.uniform(0, 0.06))
        process.kill()
        with EngineProcess(path) as again:
            made = again.call("init", orjson.dumps(everything.WORLD))
            assert orjson.loads(made.content)["turn"] == 0


@pytest.mark.slow
@pytest.mark.timeout(120 + 20 * SERVER_KILLS)
def test_a_server_that_is_killed_under_load_answers_on_as_if_nothing_had_been(tmp_path: Path):
    """The whole server this time: readers and a turn in hand when SIGKILL comes."""
    path = tmp_path / "sim.db"
    chance = random.Random("servers")
    hashes: dict[int, str] = {}
    turns_a_life = 2
    for _ in range(SERVER_KILLS):
        with serving(path) as server, server.client() as client:
            if not hashes:
                client.post("/init", json=everything.WORLD).raise_for_status()
            stop = threading.Event()
            readers = [threading.Thread(target=_read_on, args=(server.url, stop)) for _ in range(3)]
            for reader in readers:
                reader.start()
            life = len(hashes) + turns_a_life
            killer = threading.Timer(chance.uniform(0, 0.12), server.process.kill)
            for turn in range(len(hashes) + 1, life + 20):
                if turn == life:
                    killer.start()
                try:
                    hashes[turn] = _play_over_http(client, turn)
                except httpx.TransportError:
                    break  # killed: whether this turn is sealed shows when it is sent again
            killer.join()
            stop.set()
            for reader in readers:
                reader.join()
    with serving(path) as server, server.client() as client:
        turn = len(hashes) + 1
        hashes[turn] = _play_over_http(client, turn)
    assert hashes == twin(tmp_path / "twin.db", len(hashes))
    assert_same_world(path, tmp_path / "twin.db")


def _play_over_http(client: httpx.Client, turn: int) -> str:
    queued = client.post(
        "/actions",
        content=everything.queue_body(turn),
        headers={"Idempotency-Key": f"queue-{turn}"},
    )
    # An unanswered turn may be sealed: its queued actions are then taken, and known by their key.
    assert queued.status_code == 202, queued.text
    answer = client.post("/turn", content=everything.turn_body(turn))
    assert answer.status_code == 200, answer.text
    return str(answer.json()["turn_hash"])


def _read_on(url: str, stop: threading.Event) -> None:
    with httpx.Client(base_url=url, timeout=10) as client:
        while not stop.is_set():
            try:
                assert client.get("/state").status_code == 200
            except httpx.TransportError:
                return
