"""A disk that fails: memory and ledger agree afterwards, and the same request succeeds later."""

from __future__ import annotations

import shlex
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from sim_engine.engine import Engine
from sim_engine.errors import Halted, StorageFailed
from sim_engine.ledger.file import DatabaseInUse, ForeignDatabase
from sim_engine.ledger.replay import verify
from tests.api.server import ROOT, environment
from tests.trust import everything
from tests.trust.driver import EngineProcess

FIRST = 4
"""The turn that meets the fault: contracts end in it, others wait."""


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = Engine.open(tmp_path / "sim.db")
    engine.init(orjson.dumps(everything.WORLD))
    everything.play(engine, 1, FIRST - 1)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[int, str]:
    """The hashes of a world that met no fault."""
    engine = Engine.open(tmp_path_factory.mktemp("twin") / "sim.db")
    engine.init(orjson.dumps(everything.WORLD))
    hashes = {}
    for turn in range(1, everything.TURNS + 1):
        everything.play(engine, turn, turn)
        hashes[turn] = turn_hash(engine)
    engine.close()
    return hashes


def turn_hash(engine: Engine) -> str:
    return str(orjson.loads(engine.state())["turn_hash"])


def seen(engine: Engine) -> dict[str, Any]:
    """All that an operator can see of a world, and what waits for its next turn."""
    world = orjson.loads(engine.state())
    agents = {name: orjson.loads(engine.agent(name, private=True)) for name in everything.AGENTS}
    contracts = orjson.loads(
        engine.contracts(
            status=None,
            contract_type=None,
            agent=None,
            after=0,
            limit=1_000,
            reader=None,
            operator=True,
        )
    )
    waiting = [(one.pending_id, one.agent.agent_id, one.payload) for one in engine._pool.waiting]
    return {"world": world, "agents": agents, "contracts": contracts, "waiting": waiting}


def assert_memory_is_what_the_disk_says(engine: Engine, tmp_path: Path) -> None:
    """Compare the engine with another one that is started on a copy of its ledger."""
    copy = tmp_path / "copy.db"
    copy.unlink(missing_ok=True)
    with (
        closing(sqlite3.connect(engine._store.path)) as source,
        closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)
    again = Engine.open(copy)
    assert seen(engine) == seen(again)
    again.close()
    assert verify(copy, lambda turn, last: None).sound


def submit(engine: Engine, turn: int) -> None:
    engine.submit_turn(everything.turn_body(turn), idempotency_key=f"turn-{turn}")


def queue(engine: Engine, turn: int) -> None:
    engine.enqueue(everything.queue_body(turn), idempotency_key=f"queue-{turn}")


# -- a fault at each step --------------------------------------------------------------------------


class Faulty:
    """Lets the step of that number fail: each statement, before and after, and the commit."""

    def __init__(self, engine: Engine, failing: int) -> None:
        self.steps = 0
        self.failed = ""
        self._written = False
        self._failing = failing
        self._database = engine._store._database
        self._listeners: list[tuple[str, Callable[..., None]]] = [
            ("before_cursor_execute", self._statement),
            ("after_cursor_execute", self._statement),
            ("commit", self._commit),
        ]

    def __enter__(self) -> Faulty:
        for name, listener in self._listeners:
            event.listen(self._database, name, listener)
        return self

    def __exit__(self, *_: object) -> None:
        for name, listener in self._listeners:
            event.remove(self._database, name, listener)

    def _statement(self, _c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not statement.startswith("SELECT"):
            self._written = True
            self._step(statement)

    def _commit(self, _c: Any) -> None:
        if self._written:
            self._written = False
            self._step("COMMIT")

    def _step(self, what: str) -> None:
        self.steps += 1
        if self.steps == self._failing:
            self.failed = what
            raise OperationalError(what, {}, sqlite3.OperationalError("disk I/O error"))


def test_a_turn_whose_commit_fails_at_any_step_is_not_there_and_can_be_sent_again(
    engine: Engine, tmp_path: Path, expected: dict[int, str]
):
    before = seen(engine)
    failed = []
    for failing in range(1, 200):
        with Faulty(engine, failing) as fault:
            try:
                submit(engine, FIRST)
                break
            except StorageFailed as refusal:
                said = refusal.detail
        assert "nothing of this turn was kept (disk I/O error)" in said
        failed.append(fault.failed)
        assert engine.halted is None
        assert seen(engine) == before
        if fault.failed == "COMMIT" or failing % 5 == 1:
            assert_memory_is_what_the_disk_says(engine, tmp_path)
    # Every table that a turn writes, the pool that it empties, the key, and the commit.
    assert sum(step.startswith("INSERT") for step in failed) >= 18
    assert {"COMMIT"} < set(failed)
    assert any(step.startswith("UPDATE") for step in failed)
    assert any(step.startswith("DELETE") for step in failed)
    assert turn_hash(engine) == expected[FIRST]
    everything.play(engine, FIRST + 1)
    assert turn_hash(engine) == expected[everything.TURNS]
    assert_memory_is_what_the_disk_says(engine, tmp_path)


def test_queueing_that_fails_at_any_step_queues_nothing_and_can_be_sent_again(
    engine: Engine, tmp_path: Path
):
    before = seen(engine)
    failures = 0
    for failing in range(1, 50):
        with Faulty(engine, failing):
            try:
                queue(engine, 77)
                break
            except StorageFailed:
                failures += 1
        assert seen(engine) == before
    assert failures >= 5
    assert len(seen(engine)["waiting"]) == len(before["waiting"]) + 2
    assert_memory_is_what_the_disk_says(engine, tmp_path)


def test_a_world_that_could_not_be_written_is_none_and_can_be_made_again(tmp_path: Path):
    engine = Engine.open(tmp_path / "sim.db")
    for failing in range(1, 50):
        with Faulty(engine, failing):
            try:
                engine.init(orjson.dumps(everything.WORLD))
                break
            except StorageFailed:
                assert engine.turn is None
    assert failing > 8
    everything.play(engine, 1, 2)
    assert_memory_is_what_the_disk_says(engine, tmp_path)
    engine.close()


def test_an_engine_that_can_not_read_its_ledger_again_is_halted_and_says_so(
    engine: Engine, tmp_path: Path
):
    """After a failed commit memory is worthless: without the ledger there is no world to serve."""
    before = seen(engine)
    database = engine._store._database

    def fail(*_: Any) -> None:
        raise OperationalError("any", {}, sqlite3.OperationalError("disk I/O error"))

    event.listen(database, "before_cursor_execute", fail)
    with pytest.raises(StorageFailed):
        engine.submit_turn(everything.turn_body(FIRST))
    event.remove(database, "before_cursor_execute", fail)
    assert engine.halted is not None
    assert "could not be read" in engine.halted
    assert "disk I/O error" in engine.halted
    for request in (engine.state, lambda: submit(engine, FIRST), lambda: queue(engine, FIRST)):
        with pytest.raises(Halted):
            request()
    engine.close()
    again = Engine.open(tmp_path / "sim.db")
    assert seen(again) == before
    submit(again, FIRST)
    again.close()


# -- real faults -----------------------------------------------------------------------------------


def test_a_full_disk_refuses_a_turn_and_takes_it_when_there_is_room(
    engine: Engine, tmp_path: Path, expected: dict[int, str]
):
    connection = engine._store.connection
    with connection.begin():
        connection.exec_driver_sql("PRAGMA max_page_count = 1")  # as many as there are now
    before, turn, said = seen(engine), FIRST, ""
    while not said:
        try:
            submit(engine, turn)
        except StorageFailed as refusal:
            said = refusal.detail
        else:
            before, turn = seen(engine), turn + 1
    assert "full" in said
    assert seen(engine) == before
    assert_memory_is_what_the_disk_says(engine, tmp_path)
    with connection.begin():
        connection.exec_driver_sql("PRAGMA max_page_count = 1073741823")
    for further in range(turn, turn + 5):
        submit(engine, further)
    assert_memory_is_what_the_disk_says(engine, tmp_path)


def test_writes_that_fail_anywhere_in_the_file_leave_a_world_that_goes_on(
    tmp_path: Path, expected: dict[int, str]
):
    """The system itself refuses to write beyond a limit, a little further on each time."""
    path = tmp_path / "sim.db"
    engine = Engine.open(path)
    engine.init(orjson.dumps(everything.WORLD))
    engine.close()
    codes = []
    with EngineProcess(path) as process:
        for turn in range(1, everything.TURNS + 1):
            log = path.with_name("sim.db-wal")
            used = log.stat().st_size if log.exists() else 0
            for further in (0, 1_000, 4_200, 20_000):
                before = process.call("state")
                process.call("limit_file_size", used + further)
                found = process.call("submit_turn", everything.turn_body(turn), f"turn-{turn}")
                process.call("limit_file_size", None)
                assert process.call("halted") is None
                if not isinstance(found, str):
                    break
                codes.append(found)
                assert process.call("state") == before
            else:
                found = process.call("submit_turn", everything.turn_body(turn), f"turn-{turn}")
            if turn % 3 == 0:
                process.call("enqueue", everything.queue_body(turn + 1), idempotency_key=f"q{turn}")
            assert orjson.loads(found.content)["turn_hash"] == expected[turn]
    assert set(codes) == {"storage_failed"}
    assert len(codes) >= everything.TURNS
    assert verify(path, lambda turn, last: None).sound


def test_a_ledger_that_another_program_writes_to_refuses_a_turn_and_takes_it_later(
    engine: Engine, tmp_path: Path, expected: dict[int, str]
):
    with engine._store.connection.begin():
        engine._store.connection.exec_driver_sql("PRAGMA busy_timeout = 50")  # not 5 seconds
    before = seen(engine)
    with closing(sqlite3.connect(tmp_path / "sim.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageFailed, match="locked"):
            submit(engine, FIRST)
        with pytest.raises(StorageFailed, match="locked"):
            queue(engine, 77)
        assert seen(engine) == before
        other.execute("ROLLBACK")
    submit(engine, FIRST)
    assert turn_hash(engine) == expected[FIRST]
    assert_memory_is_what_the_disk_says(engine, tmp_path)


SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <unistd.h>

static int told_to_fail(void) { return access("fail", F_OK) == 0; }

int fsync(int fd) {
    if (told_to_fail()) { errno = EIO; return -1; }
    return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd);
}

int fdatasync(int fd) {
    if (told_to_fail()) { errno = EIO; return -1; }
    return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd);
}
"""
"""Stands between the engine and the system: every sync fails while a file ``fail`` is there."""

SYNCING = """
import sys
from pathlib import Path
from sim_engine.engine import Engine
from sim_engine.errors import StorageFailed
from tests.trust import everything

engine = Engine.open(Path("sim.db"))
for turn in range(engine.turn + 1, engine.turn + 4):
    before = engine.state()
    Path("fail").touch()
    try:
        engine.submit_turn(everything.turn_body(turn))
    except StorageFailed as refusal:
        print(refusal.detail)
    assert engine.state() == before
    Path("fail").unlink()
    assert engine.submit_turn(everything.turn_body(turn)).summary["turn"] == turn
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler to make fsync fail")
def test_a_turn_that_could_not_be_synced_is_not_acknowledged(engine: Engine, tmp_path: Path):
    engine.close()
    source, shim = tmp_path / "shim.c", tmp_path / "shim.so"
    source.write_text(SHIM)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", shim, source, "-ldl"], check=True)
    done = subprocess.run(
        [sys.executable, "-c", SYNCING],
        env=environment(PYTHONPATH=str(ROOT), LD_PRELOAD=str(shim)),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("nothing of this turn was kept (disk I/O error)") == 3
    assert verify(tmp_path / "sim.db", lambda turn, last: None).sound


# -- others that have the file open ----------------------------------------------------------------


@contextmanager
def long_reader(path: Path) -> Iterator[sqlite3.Connection]:
    """Somebody who looked at the ledger and left the query open."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT * FROM turns").fetchone()
        yield connection


def test_a_reader_with_an_open_transaction_does_not_stop_turns(
    engine: Engine, tmp_path: Path, expected: dict[int, str]
):
    path = tmp_path / "sim.db"
    with long_reader(path) as reader:
        everything.play(engine, FIRST, 40)
        assert engine.turn == 40
        # It goes on seeing the world that it began to read.
        assert reader.execute("SELECT max(turn) FROM turns").fetchone() == (FIRST - 1,)
        assert sqlite3.connect(path).execute("SELECT max(turn) FROM turns").fetchone() == (40,)
    assert_memory_is_what_the_disk_says(engine, tmp_path)


def test_the_log_that_a_reader_held_up_is_used_again_once_it_has_gone(
    engine: Engine, tmp_path: Path
):
    log = tmp_path / "sim.db-wal"
    with long_reader(tmp_path / "sim.db"):
        while log.stat().st_size < 8 * 2**20:
            assert engine.turn is not None
            everything.play(engine, engine.turn + 1, engine.turn + 1)
    assert engine.turn is not None
    last = engine.turn + 1
    everything.play(engine, last, last)  # its commit finds nobody in the way any more
    held_up = log.stat().st_size
    everything.play(engine, last + 1, last + 20)
    assert log.stat().st_size == held_up


@pytest.mark.parametrize("link", ["symlink_to", "hardlink_to"])
def test_a_ledger_of_two_names_is_not_opened_twice(engine: Engine, tmp_path: Path, link: str):
    other = tmp_path / "elsewhere" / "other.db"
    other.parent.mkdir()
    getattr(other, link)(tmp_path / "sim.db")
    with pytest.raises((DatabaseInUse, ForeignDatabase), match=r"in another engine|several names"):
        Engine.open(other)
    submit(engine, FIRST)


def test_turns_are_refused_while_the_file_is_gone(engine: Engine, tmp_path: Path):
    """What was answered would be in a file that nobody finds any more."""
    before = seen(engine)
    path = tmp_path / "sim.db"
    path.rename(tmp_path / "moved.db")
    for write in (submit, queue):
        with pytest.raises(StorageFailed, match="deleted or replaced"):
            write(engine, FIRST)
    assert seen(engine) == before
    (tmp_path / "moved.db").rename(path)
    submit(engine, FIRST)
    assert seen(engine) != before


@pytest.mark.parametrize("gone", [("-wal", "-shm"), ("-wal",), ("-shm",), (".lock",)])
def test_turns_are_refused_while_a_file_beside_the_ledger_is_gone(
    engine: Engine, tmp_path: Path, gone: tuple[str, ...]
):
    """What was answered before is there once the engine was stopped in order."""
    submit(engine, FIRST)
    before = seen(engine)
    for end in gone:
        (tmp_path / f"sim.db{end}").unlink()
    for write in (submit, queue):
        with pytest.raises(StorageFailed, match=f"sim.db{gone[0]} was deleted or replaced"):
            write(engine, FIRST + 1)
    assert seen(engine) == before
    engine.close()
    again = Engine.open(tmp_path / "sim.db")
    assert seen(again) == before
    submit(again, FIRST + 1)
    again.close()


@pytest.mark.parametrize("gone", ["sim.db", "sim.db-wal"])
@pytest.mark.parametrize("made", [False, True], ids=["a new world", "the same world"])
def test_no_world_is_acknowledged_while_a_file_is_gone(tmp_path: Path, gone: str, made: bool):
    engine = Engine.open(tmp_path / "sim.db")
    if made:
        engine.init(orjson.dumps(everything.WORLD))
    (tmp_path / gone).unlink()
    with pytest.raises(StorageFailed, match=f"{gone} was deleted or replaced"):
        engine.init(orjson.dumps(everything.WORLD))
    engine.close()


@pytest.mark.parametrize("name", ["a?b.db", "a#b.db", "a%3fb.db", "a b&c.db", "ü.db"])
def test_a_ledger_may_have_any_name(tmp_path: Path, name: str):
    path = tmp_path / name
    engine = Engine.open(path)
    engine.init(orjson.dumps(everything.WORLD))
    everything.play(engine, 1, 2)
    engine.close()
    assert {found.name for found in tmp_path.iterdir()} == {name, f"{name}.lock"}
    assert verify(path, lambda turn, last: None).sound


def test_an_engine_whose_lock_was_taken_away_acknowledges_nothing_beside_the_next(
    engine: Engine, tmp_path: Path
):
    (tmp_path / "sim.db.lock").unlink()
    other = Engine.open(tmp_path / "sim.db")
    submit(other, FIRST)
    for write in (submit, queue):
        with pytest.raises(StorageFailed, match=r"sim\.db\.lock was deleted or replaced"):
            write(engine, FIRST)
    other.close()


@pytest.mark.skipif(shutil.which("unshare") is None, reason="there is no unshare here")
def test_a_ledger_that_is_mounted_without_its_directory_is_refused(engine: Engine, tmp_path: Path):
    """Under its other path SQLite would keep the log of the same file somewhere else."""
    engine.close()
    mounted = tmp_path / "else where" / "other.db"
    mounted.parent.mkdir()
    mounted.touch()
    serve = [sys.executable, "-m", "sim_engine", "serve", "--port", "0", "--db-path", str(mounted)]
    inside = f"mount --bind {shlex.quote(str(tmp_path / 'sim.db'))} {shlex.quote(str(mounted))}"
    command = ["unshare", "--mount", "sh", "-c", f"{inside} && {shlex.join(serve)}"]
    if subprocess.call([*command[:2], "sh", "-c", f"{inside} 2>&-"]):
        pytest.skip("nothing can be mounted here")
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert found.returncode == 2
    assert "mount the directory" in " ".join(found.stderr.split())


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE pending_actions SET payload = '{}'",
        "UPDATE pending_actions SET agent_id = 'nobody'",
        "UPDATE agents SET unbonding = 'x'",
        "UPDATE agents SET unbonding = '[[7,\"14\"]]'",
        "UPDATE agents SET studied_turns = '[\"1\"]'",
        "UPDATE turns SET contract_counts = '[]'",
        'UPDATE turns SET contract_counts = \'{"active":"b"}\'',
        "UPDATE contracts SET signatures = '[]'",
        "UPDATE contracts SET dispute = '{\"by\":1}'",
        "UPDATE agents SET balance = balance + 1 WHERE position = 0",
        "UPDATE contracts SET terms = '{}'",
        "DELETE FROM config WHERE key = 'seed'",
        "UPDATE config SET value = 'x' WHERE key = 'core_count'",
        "DELETE FROM blocks",
    ],
)
def test_a_ledger_that_makes_no_sense_halts_the_engine(
    engine: Engine, tmp_path: Path, statement: str
):
    queue(engine, FIRST)
    engine.close()
    with closing(sqlite3.connect(tmp_path / "sim.db")) as connection:
        connection.execute(statement)
        connection.commit()
    halted = Engine.open(tmp_path / "sim.db")
    assert halted.halted is not None
    assert "could not be read" in halted.halted
    assert "SELECT" not in halted.halted
    with pytest.raises(Halted):
        submit(halted, FIRST)
    halted.close()


@pytest.mark.parametrize("command", [["serve", "--port", "0"], ["init", "world.json"]])
def test_a_second_engine_on_a_ledger_refuses_to_start(
    engine: Engine, tmp_path: Path, command: list[str]
):
    (tmp_path / "world.json").write_bytes(orjson.dumps(everything.WORLD))
    second = subprocess.run(
        [sys.executable, "-m", "sim_engine", *command],
        env=environment(DB_PATH="sim.db"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert second.returncode == 2
    assert second.stdout == ""
    (said,) = [line for line in second.stderr.splitlines() if "listening" not in line]
    assert said.startswith("sim-engine: sim.db is open in another engine (process ")
    before = seen(engine)
    submit(engine, FIRST)
    assert seen(engine) != before
