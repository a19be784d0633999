"""A failed invariant is a bug, not a rejection: writes halt, reads go on, the evidence is kept."""

from __future__ import annotations

import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest
from fastapi.testclient import TestClient

from sim_engine import engine as engine_module
from sim_engine.api.app import create_app
from sim_engine.engine import Engine
from sim_engine.errors import Halted
from sim_engine.ledger.replay import verify
from sim_engine.rules import turn as rules
from sim_engine.rules.rejections import InvariantViolation
from sim_engine.settings import Settings
from tests.trust import everything

READS = ["/state", "/agent/a", "/contracts", "/contract/c1", "/turns/2", "/entries", "/metrics"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A ledger whose last sealed turn is 2."""
    engine = Engine.open(tmp_path / "sim.db")
    engine.init(orjson.dumps(everything.WORLD))
    everything.play(engine, 1, 2)
    engine.close()
    return tmp_path / "sim.db"


@pytest.fixture
def client(path: Path) -> Any:
    with TestClient(create_app(Settings(db_path=path))) as client:
        yield client


def post_turn(client: TestClient, turn: int) -> Any:
    return client.post("/turn", content=everything.turn_body(turn))


def pay_too_much(turn: Any) -> None:
    """A wage that no entry stands for."""
    turn.world.agents["a"].liquid.balance += 1


def pay_from_nowhere(turn: Any) -> None:
    """From an account that holds nothing and may not be below zero."""
    agents = turn.world.agents
    turn.world.books.move(agents["z"].stake, agents["a"].liquid, 5, "wage")


def pay_less_than_nothing(turn: Any) -> None:
    books = turn.world.books
    books.move(books.issuance, turn.world.agents["a"].liquid, -1, "wage")


def keep_a_bid(turn: Any) -> None:
    agent = turn.world.agents["a"]
    turn.world.books.move(agent.liquid, agent.bid, 5, "bid")


def pay_without_bounds(turn: Any) -> None:
    books = turn.world.books
    books.move(books.issuance, turn.world.agents["a"].liquid, 2**53, "wage")


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (pay_too_much, "add up to 1, not to 0"),
        (pay_from_nowhere, "stake:z holds -5 tokens"),
        (pay_less_than_nothing, "a movement of -1 tokens"),
        (keep_a_bid, "bid:a still holds 5 tokens"),
        (pay_without_bounds, "more than an amount can be"),
    ],
)
def test_a_failed_invariant_halts_writes_and_keeps_the_evidence(
    fault: Any, reason: str, client: TestClient, path: Path, monkeypatch: pytest.MonkeyPatch
):
    before = {place: client.get(place).content for place in READS}
    monkeypatch.setattr(rules, "pay_wages", fault)
    refused = post_turn(client, 3)
    monkeypatch.undo()
    assert refused.status_code == 503
    assert refused.json()["code"] == "halted"
    assert reason in refused.json()["detail"]

    # The rule is whole again, and still nothing is written: somebody has to look first.
    for body in (everything.turn_body(3), b'{"submissions": []}'):
        assert client.post("/turn", content=body).json()["code"] == "halted"
    queued = client.post("/actions", content=everything.queue_body(3))
    assert (queued.status_code, queued.json()["code"]) == (503, "halted")

    health = client.get("/health").json()
    assert (health["status"], health["turn"]) == ("halted", 2)
    assert reason in health["reason"]
    assert "sim_halted 1" in client.get("/metrics").text
    reads = [place for place in READS if place != "/metrics"]
    assert {place: client.get(place).content for place in reads} == {
        place: before[place] for place in reads
    }
    _check_evidence(path, reason)


def _check_evidence(path: Path, reason: str) -> None:
    evidence = path.with_name("sim.db.halted-3.json")
    found = orjson.loads(evidence.read_bytes())
    assert reason in found["reason"]
    assert found["turn"] == 3
    assert found["request"] == orjson.loads(everything.turn_body(3))
    assert found["entries"]
    assert any(name.startswith("agent:") for name in found["changed_balances"])
    # It holds private texts: nobody else on the machine reads it.
    assert stat.S_IMODE(evidence.stat().st_mode) == 0o600


def test_the_evidence_names_the_balances_that_no_entry_explains(
    client: TestClient, path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(rules, "pay_wages", pay_too_much)
    post_turn(client, 3)
    found = orjson.loads(path.with_name("sim.db.halted-3.json").read_bytes())
    moved: dict[str, int] = {}
    for _, _, source, target, amount, _, _ in found["entries"]:
        moved[source] = moved.get(source, 0) - amount
        moved[target] = moved.get(target, 0) + amount
    unexplained = {
        name: after - before - moved.get(name, 0)
        for name, (before, after) in found["changed_balances"].items()
        if after - before != moved.get(name, 0)
    }
    assert unexplained == {"agent:a": 1}
    assert found["sum_of_all_accounts"] == 1


def test_a_violation_inside_an_action_is_never_a_rejection(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
):
    def broken(turn: Any, agent: Any, action: Any) -> None:
        raise InvariantViolation("two and two are five")

    monkeypatch.setitem(rules.ACTIONS, "burn", (1, broken))
    answer = post_turn(client, 3)
    assert answer.status_code == 503
    assert answer.json()["code"] == "halted"
    assert "receipts" not in answer.json()
    assert client.get("/state").json()["turn"] == 2


def test_a_restart_serves_the_sealed_world_and_goes_on(path: Path, monkeypatch: pytest.MonkeyPatch):
    with TestClient(create_app(Settings(db_path=path))) as client:
        sealed = client.get("/state").json()
        monkeypatch.setattr(rules, "pay_wages", pay_too_much)
        assert post_turn(client, 3).status_code == 503
        monkeypatch.undo()
    with TestClient(create_app(Settings(db_path=path))) as client:
        assert client.get("/health").json()["status"] == "ok"
        assert client.get("/state").json() == sealed
        assert post_turn(client, 3).json()["turn"] == 3
    assert verify(path, lambda turn, last: None).sound


def test_an_engine_halts_even_if_the_evidence_can_not_be_written(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
):
    def full(*_: Any) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(rules, "pay_wages", pay_too_much)
    monkeypatch.setattr(engine_module, "write_evidence", full)
    answer = post_turn(client, 3)
    monkeypatch.undo()
    assert (answer.status_code, answer.json()["code"]) == (503, "halted")
    assert "No space left on device" in answer.json()["detail"]
    assert post_turn(client, 3).json()["code"] == "halted"
    assert client.get("/health").json()["status"] == "halted"


def test_a_fault_of_the_program_keeps_nothing_and_the_engine_goes_on(
    path: Path, monkeypatch: pytest.MonkeyPatch
):
    """No invariant failed, the program did: 500, the world as it was, the next request served."""

    def broken(turn: Any) -> None:
        raise KeyError("a bug")

    app = create_app(Settings(db_path=path))
    with TestClient(app, raise_server_exceptions=False) as client:
        sealed = client.get("/state").json()
        monkeypatch.setattr(rules, "pay_wages", broken)
        assert post_turn(client, 3).status_code == 500
        monkeypatch.undo()
        assert client.get("/state").json() == sealed
        assert post_turn(client, 3).json()["turn"] == 3
    assert verify(path, lambda turn, last: None).sound


def test_a_ledger_whose_numbers_do_not_add_up_is_not_served(path: Path):
    """Changed while no engine had it open: writing on would make the damage part of history."""
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE agents SET balance = balance + 7 WHERE agent_id = 'a'")
    connection.close()
    with TestClient(create_app(Settings(db_path=path))) as client:
        health = client.get("/health").json()
        assert health["status"] == "halted"
        assert "add up to 7, not to 0" in health["reason"]
        assert post_turn(client, 3).json()["code"] == "halted"
        assert client.get("/state").json()["code"] == "halted"


def test_a_halt_that_comes_again_leaves_the_first_evidence_alone(
    path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(rules, "pay_wages", pay_too_much)
    for end in ("", "-2", "-3"):
        engine = Engine.open(path)
        with pytest.raises(Halted, match=f"halted-3{end}.json"):
            engine.submit_turn(everything.turn_body(3))
        engine.close()
    kept = [path.with_name(f"sim.db.halted-3{end}.json") for end in ("", "-2", "-3")]
    assert len({found.read_bytes() for found in kept}) == 1


def test_an_answer_that_can_not_be_read_again_halts(path: Path):
    engine = Engine.open(path)
    engine.enqueue(everything.queue_body(3), idempotency_key="again")
    engine.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE pending_requests SET ids = 'x' WHERE idempotency_key = 'again'")
        connection.commit()
    engine = Engine.open(path)
    with pytest.raises(Halted, match="rows of pending_requests make no sense"):
        engine.enqueue(everything.queue_body(3), idempotency_key="again")
    assert engine.halted is not None
    engine.close()
