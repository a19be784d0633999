"""Nothing that is done every turn costs more the longer the history is."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import event

from sim_engine.engine import Engine
from sim_engine.ledger import tables
from sim_engine.ledger.replay import verify
from tests.trust import everything

BOUNDED = {"config", "agents", "cores", "agent_keys", "pending_actions"}
"""Tables whose size has nothing to do with the number of turns."""


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = Engine.open(tmp_path / "sim.db")
    engine.init(orjson.dumps(everything.WORLD))
    everything.play(engine)
    yield engine
    engine.close()


@contextmanager
def statements_of(engine: Engine) -> Iterator[list[tuple[str, Any]]]:
    """Every statement that the engine has SQLite execute, with its parameters."""
    seen: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool):
        if not statement.startswith("PRAGMA"):
            seen.append((statement, parameters[0] if many else parameters))

    event.listen(engine._store._database, "before_cursor_execute", note)
    yield seen
    event.remove(engine._store._database, "before_cursor_execute", note)


def searched_tables(engine: Engine, statement: str, parameters: Any) -> set[str]:
    """The tables of history that SQLite reads from one end to the other for a statement."""
    driver: Any = engine._store.connection.connection
    plan = driver.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
    found = {match[1] for _, _, _, step in plan if (match := re.match(r"SCAN (\w+)", step))}
    return (found & tables.METADATA.tables.keys()) - BOUNDED


def play_on(engine: Engine) -> None:
    assert engine.turn is not None
    everything.play(engine, engine.turn + 1, engine.turn + 3)


def queue_again(engine: Engine) -> None:
    """The second time its key is known, and found."""
    for _ in range(2):
        engine.enqueue(everything.queue_body(99), idempotency_key="again")


def send_again(engine: Engine) -> None:
    """The answer of a turn that was sealed before, by its number and by its key."""
    turn = everything.TURNS - 1
    engine.submit_turn(everything.turn_body(turn))
    body = orjson.loads(everything.turn_body(turn))
    del body["turn"]
    engine.submit_turn(orjson.dumps(body), idempotency_key=f"turn-{turn}")


def look(engine: Engine) -> None:
    """What every mind is shown every turn, and what watches over a run."""
    engine.state()
    for agent_id in everything.AGENTS:
        engine.agent(agent_id, private=True)
    engine.contract("c1", reader=None, operator=True)
    engine.speech(everything.TURNS)
    engine.stored_turn(everything.TURNS)
    engine.metrics()
    engine.metrics_turns(after=everything.TURNS - 5, limit=5)
    engine.entries(account=None, turn=everything.TURNS, limit=1_000, after=None)
    engine.contracts(
        status="proposed",
        contract_type=None,
        agent=None,
        after=0,
        limit=100,
        reader=None,
        operator=True,
    )


@pytest.mark.parametrize("work", [play_on, queue_again, send_again, look])
def test_no_work_of_a_turn_reads_a_table_of_history_to_its_end(
    work: Callable[[Engine], None], engine: Engine
):
    with statements_of(engine) as seen:
        work(engine)
    assert seen
    searched = {
        statement: found
        for statement, parameters in seen
        if (found := searched_tables(engine, statement, parameters))
    }
    assert searched == {}


def test_the_plans_of_sqlite_do_tell_a_search(engine: Engine):
    assert searched_tables(engine, "SELECT * FROM actions WHERE agent_id = ?", ("a",)) == {
        "actions"
    }


def test_turns_leave_nothing_to_the_garbage_collector(tmp_path: Path):
    """The engine lets it run rarely: circles of objects would be memory that grows for long."""
    engine = Engine.open(tmp_path / "sim.db")
    engine.init(orjson.dumps(everything.WORLD))
    left_by_turns, left_by_verify = [], []
    gc.disable()
    try:
        for first, last in ((1, 4), (5, 40)):
            gc.collect()
            everything.play(engine, first, last)
            left_by_turns.append(gc.collect())
            verify(tmp_path / "sim.db", lambda turn, last: None)
            left_by_verify.append(gc.collect())
    finally:
        gc.enable()
        engine.close()
    # What is done once, such as opening a database, may leave some; a turn may not.
    assert left_by_turns[1] == 0
    assert left_by_verify[1] <= left_by_verify[0] + 100


def test_the_memory_of_an_engine_holds_no_history(tmp_path: Path):
    """All that can be reached from a world stays as much as it was, turn after turn."""
    engine = Engine.open(tmp_path / "sim.db")
    engine.init(orjson.dumps(everything.WORLD))
    everything.play(engine, 1, 20)
    early = _objects_behind(engine._world)
    everything.play(engine, 21, 100)
    late = _objects_behind(engine._world)
    engine.close()
    # 80 turns have some 25,000 rows; the turn in hand has a few more or less than another.
    assert late < 1.2 * early, (early, late)


def _objects_behind(start: Any) -> int:
    """Count the objects that can be reached from one, without what belongs to the program."""
    known = {id(start)}
    frontier = [start]
    program = (type, type(gc), type(_objects_behind), type(gc.collect))
    while frontier:
        for found in gc.get_referents(frontier.pop()):
            if id(found) not in known and not isinstance(found, program):
                known.add(id(found))
                frontier.append(found)
    return len(known)
