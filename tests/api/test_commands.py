"""The commands that need no server: init, verify, export, migrate."""

from __future__ import annotations

import csv
import json
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from sim_engine.__main__ import main
from sim_engine.engine import Engine
from sim_engine.ledger import file as ledger_file
from sim_engine.ledger.views import VIEWS
from tests.api.server import Said, environment, run, serving, world

ROOT = Path(__file__).parents[2]

READERS = [["verify"], ["verify", "--quick"], ["export", "out"], ["export", "--views", "out"]]
COMMANDS = [*READERS, ["migrate"], ["init", "world.json"], ["serve", "--port", "0"]]

AS_NOBODY = """
import encodings.ascii, encodings.idna, os, sys
from sim_engine.__main__ import main
from sim_engine.api import app, server
if os.geteuid() == 0:
    os.setgid(65534); os.setuid(65534)  # root may write everywhere
sys.exit(main(sys.argv[1:]))
"""


def unprivileged(*arguments: str, cwd: Path) -> Said:
    """Run a command as somebody whom the file system can refuse something."""
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, *arguments],
        cwd=cwd,
        env=environment(PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Said(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that everybody can reach, which those of pytest are not."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        path.chmod(0o755)
        yield path
        path.chmod(0o700)


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """A ledger with two turns in it."""
    engine = Engine.open(tmp_path / "sim.db")
    engine.init(json.dumps(world(3)).encode())
    for _ in range(2):
        actions: list[Any] = [{"type": "mine"}, {"type": "burn", "amount": 10, "fee": 1}]
        submissions = [{"agent_id": "agent_0", "actions": actions}]
        engine.submit_turn(json.dumps({"submissions": submissions}).encode())
    engine.close()
    return tmp_path / "sim.db"


def count(ledger: Path, table: str, where: str = "1") -> int:
    with closing(sqlite3.connect(ledger)) as connection:
        found: int = connection.execute(f"SELECT COUNT(*) FROM {table} WHERE {where}").fetchone()[0]
        return found


def last_turn_hash(ledger: Path) -> str:
    with closing(sqlite3.connect(ledger)) as connection:
        query = "SELECT turn_hash FROM turns ORDER BY turn DESC LIMIT 1"
        found: str = connection.execute(query).fetchone()[0]
        return found


# -- sim-engine init -------------------------------------------------------------------------------


def test_init_makes_a_world_from_a_file(tmp_path: Path):
    (tmp_path / "world.json").write_text(json.dumps(world(2, agent_keys=True)))
    said = run("init", "world.json", cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    answer = json.loads(said.stdout)
    assert set(answer["agent_keys"]) == {"agent_0", "agent_1"}
    with closing(sqlite3.connect(tmp_path / "sim.db")) as ledger:
        assert ledger.execute("SELECT COUNT(*) FROM agents").fetchone() == (2,)
    again = run("init", "-", cwd=tmp_path, stdin=(tmp_path / "world.json").read_text())
    assert again.returncode == 0
    answer.pop("agent_keys")
    assert json.loads(again.stdout) == answer
    with serving(tmp_path / "sim.db") as server, server.client() as client:
        assert client.get("/turns/0").status_code == 404
        assert client.get("/state").json()["turn_hash"] == answer["turn_hash"]


def test_init_keeps_the_world_that_is_there(tmp_path: Path):
    assert run("init", "-", cwd=tmp_path, stdin=json.dumps(world(2))).returncode == 0
    said = run("init", "-", cwd=tmp_path, stdin=json.dumps(world(3)))
    assert said.returncode == 1
    assert "another world" in said.stderr


def test_init_names_what_is_wrong_in_the_file(tmp_path: Path):
    body = {"agents": ["a", {"agent_id": "b", "balance": 1.5}], "config": {"tax": 1}}
    said = run("init", "-", cwd=tmp_path, stdin=json.dumps(body))
    assert said.returncode == 1
    assert "agents[1].balance must be a whole number" in said.stderr
    assert "config.tax is an unknown field" in said.stderr


def test_init_says_which_file_can_not_be_read(tmp_path: Path):
    said = run("init", "nowhere.json", cwd=tmp_path)
    assert said.returncode == 2
    assert said.stderr == "sim-engine: can not read nowhere.json: No such file or directory\n"
    assert not (tmp_path / "sim.db").exists()


# -- sim-engine verify -----------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [(), ("--quick",)])
def test_verify_counts_what_it_checked(ledger: Path, flags: tuple[str, ...]):
    with serving(ledger):  # an engine that runs is no hindrance
        said = run("verify", *flags, "sim.db", cwd=ledger.parent)
    entries, blocks = count(ledger, "entries"), count(ledger, "blocks")
    assert said.stdout == (
        f"sim.db is sound: 2 turns, 4 actions, {entries} entries, {blocks} blocks\n"
        f"the last turn_hash is {last_turn_hash(ledger)}\n"
    )
    assert (said.returncode, said.stderr) == (0, "")


@pytest.mark.parametrize("flags", [(), ("--quick",)])
def test_verify_names_what_is_wrong(ledger: Path, flags: tuple[str, ...]):
    with closing(sqlite3.connect(ledger)) as connection:
        connection.execute("UPDATE entries SET amount = 11 WHERE reason = 'burn' AND turn = 2")
        connection.commit()
    said = run("verify", *flags, cwd=ledger.parent, DB_PATH="sim.db")
    assert said.returncode == 1
    assert said.stdout.startswith("entries [turn=2")
    assert said.stderr.startswith("sim.db is not sound")


@pytest.mark.parametrize("flags", ["", "--quick"])
@pytest.mark.parametrize(
    ("redirected", "status"),
    [
        (">/dev/full", 2),
        ("| true", 2),
        (">/dev/null 2>&-", 0),
        (">&- 2>&-", 0),
    ],
)
def test_verify_calls_no_ledger_unsound_because_it_can_not_say_so(
    ledger: Path, flags: str, redirected: str, status: int
):
    """The reader of the pipe is gone before the answer is there."""
    command = f"{sys.executable} -m sim_engine verify {flags} sim.db"
    wait = "sleep 0.2; " if redirected.startswith("|") else ""
    done = subprocess.run(
        ["bash", "-c", f"({wait}{command}) {redirected}; exit ${{PIPESTATUS[0]}}"],
        cwd=ledger.parent,
        env=environment(PYTHONPATH=str(ROOT)),
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == status
    if status:
        assert done.stderr.startswith("sim-engine: can not print what was found")
        assert len(done.stderr.splitlines()) == 1


def test_verify_can_be_interrupted(ledger: Path):
    script = (
        "import os, signal, sys\n"
        "from sim_engine import __main__ as program\n"
        "program.verify = lambda *_: os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.exit(program.main(['verify', 'sim.db']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ledger.parent,
        env=environment(PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "sim-engine: interrupted\n")


# -- sim-engine export -----------------------------------------------------------------------------


def test_export_writes_every_table(ledger: Path):
    with serving(ledger):
        said = run("export", "--format", "csv", "out", cwd=ledger.parent)
    assert said.returncode == 0, said.stderr
    files = sorted((ledger.parent / "out").iterdir())
    rows = 0
    for file in files:
        with file.open(newline="") as opened:
            _, *found = csv.reader(opened)
        assert len(found) == count(ledger, file.stem)
        rows += len(found)
    assert said.stdout == f"{len(files)} tables, {rows} rows, written to out\n"
    with (ledger.parent / "out/entries.csv").open(newline="") as opened:
        burnt = [row for row in csv.DictReader(opened) if row["reason"] == "burn"]
    assert [(row["turn"], row["source"], row["amount"]) for row in burnt] == [
        ("1", "agent:agent_0", "10"),
        ("2", "agent:agent_0", "10"),
    ]


def exported(directory: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in directory.iterdir()}


def test_export_writes_the_views_if_it_is_asked_to(ledger: Path):
    said = run("export", "--views", "out", cwd=ledger.parent)
    assert said.returncode == 0, said.stderr
    found = exported(ledger.parent / "out")
    assert {f"{name}.csv" for name in VIEWS.tables} < found.keys()
    rows = sum(len(list(csv.reader(text.splitlines()))) - 1 for text in found.values())
    tables = len(found) - len(VIEWS.tables)
    assert (
        said.stdout
        == f"{tables} tables and {len(VIEWS.tables)} views, {rows} rows, written to out\n"
    )
    for name in VIEWS.tables:
        header, *written = csv.reader(found[f"{name}.csv"].splitlines())
        with closing(sqlite3.connect(ledger)) as connection:
            cursor = connection.execute(f"SELECT * FROM {name}")
            assert header == [column for column, *_ in cursor.description]
            assert written == [["" if v is None else str(v) for v in row] for row in cursor]
    assert found["v_wealth_by_turn.csv"].count("\n") == 1 + 3 * 3


def test_export_writes_views_that_the_file_lacks_or_has_in_another_form(ledger: Path):
    assert run("export", "--views", "out", cwd=ledger.parent).returncode == 0
    with closing(sqlite3.connect(ledger)) as connection:
        connection.execute("DROP VIEW v_income")
        connection.execute("DROP VIEW v_payments")
        connection.execute("CREATE VIEW v_payments AS SELECT 1 AS one")
    before = ledger.read_bytes()
    assert run("export", "--views", "again", cwd=ledger.parent).returncode == 0
    assert exported(ledger.parent / "again") == exported(ledger.parent / "out")
    assert ledger.read_bytes() == before


def test_export_writes_views_as_parquet_with_the_types_of_their_columns(ledger: Path):
    said = run("export", "--views", "--format", "parquet", "out", cwd=ledger.parent)
    assert said.returncode == 0, said.stderr
    income = parquet.read_table(ledger.parent / "out/v_income.parquet")
    types = [str(field.type) for field in income.schema]
    assert types == ["int64", "string", "string", "int64", "string"]
    with closing(sqlite3.connect(ledger)) as connection:
        rows = connection.execute("SELECT * FROM v_income").fetchall()
    assert [tuple(row.values()) for row in income.to_pylist()] == rows


def test_export_says_where_it_can_not_write(ledger: Path):
    (ledger.parent / "taken").write_text("a file")
    said = run("export", "taken", cwd=ledger.parent)
    assert said.returncode == 2
    assert said.stderr == "sim-engine: can not write to taken: File exists\n"


# -- sim-engine migrate, and files that are none ---------------------------------------------------


def test_migrate_leaves_the_newest_version_alone(ledger: Path):
    before = ledger.read_bytes()
    said = run("migrate", "sim.db", cwd=ledger.parent)
    assert said.returncode == 0
    assert "nothing to do" in said.stdout
    assert ledger.read_bytes() == before


def test_migrate_waits_for_no_engine(ledger: Path):
    with serving(ledger):
        said = run("migrate", "sim.db", cwd=ledger.parent)
    assert said.returncode == 2
    assert "is open in another engine" in said.stderr


ON_A_LEDGER = [["verify"], ["verify", "--quick"], ["export", "out"], ["migrate"]]


@pytest.mark.parametrize("command", ON_A_LEDGER, ids=" ".join)
def test_missing_ledger_is_named(tmp_path: Path, command: list[str]):
    said = run(*command, cwd=tmp_path, DB_PATH="nowhere.db")
    assert said.returncode == 2
    assert said.stderr == "sim-engine: there is no file nowhere.db; name a ledger, or set DB_PATH\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("command", "content"),
    [
        # An empty file may become a ledger, but is none.
        *[pytest.param(command, b"", id=f"empty-{' '.join(command)}") for command in ON_A_LEDGER],
        *[
            pytest.param(command, b"no SQLite file at all", id=f"junk-{' '.join(command)}")
            for command in [*ON_A_LEDGER, ["serve", "--port", "0"], ["init", "-"]]
        ],
    ],
)
def test_file_of_something_else_is_left_alone(tmp_path: Path, command: list[str], content: bytes):
    file = tmp_path / "notes.txt"
    file.write_bytes(content)
    said = run(*command, cwd=tmp_path, stdin='{"agents": ["a"]}', DB_PATH="notes.txt")
    assert said.returncode == 2
    assert said.stderr.startswith("sim-engine: notes.txt is ")
    assert said.stderr.count("\n") == 1
    assert file.read_bytes() == content


@pytest.mark.parametrize(
    "command", [*ON_A_LEDGER, ["serve", "--port", "0"], ["init", "-"]], ids=" ".join
)
def test_database_of_another_program_is_left_alone(tmp_path: Path, command: list[str]):
    file = tmp_path / "notes.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE notes (text TEXT)")
    before = file.read_bytes()
    said = run(*command, cwd=tmp_path, stdin='{"agents": ["a"]}', DB_PATH="notes.db")
    assert said.returncode == 2
    assert said.stderr.startswith("sim-engine: notes.db is ")
    assert said.stderr.count("\n") == 1
    assert file.read_bytes() == before


# -- a machine that is in the way ------------------------------------------------------------------


def assert_refused(done: Said, reason: str) -> None:
    """One sentence, and no word of the ledger being wrong."""
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    (said,) = [line for line in done.stderr.splitlines() if "event=" not in line]
    assert said.startswith("sim-engine: ")
    assert reason in said


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_ledger_that_nobody_may_write_can_be_read(ledger: Path, shared: Path, command: list[str]):
    shutil.copyfile(ledger, shared / "sim.db")
    (shared / "world.json").write_text(json.dumps(world(3)))
    (shared / "out").mkdir()
    (shared / "out").chmod(0o777)
    shared.chmod(0o555)
    done = unprivileged(*command, cwd=shared)
    if command in READERS:
        assert done.returncode == 0, done.stderr
    else:
        assert_refused(done, "can not be used (Permission denied)")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_ledger_that_may_not_be_read_is_no_wrong_one(
    ledger: Path, shared: Path, command: list[str]
):
    shutil.copyfile(ledger, shared / "sim.db")
    (shared / "sim.db").chmod(0o000)
    (shared / "world.json").write_text(json.dumps(world(3)))
    shared.chmod(0o777)
    assert_refused(unprivileged(*command, cwd=shared), "can not be used (Permission denied)")


@pytest.mark.parametrize("command", READERS, ids=" ".join)
def test_a_ledger_that_another_program_has_locked_is_no_wrong_one(
    ledger: Path, command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Any
):
    monkeypatch.setattr(ledger_file, "BUSY_TIMEOUT_S", 0.05)
    monkeypatch.chdir(ledger.parent)
    with closing(sqlite3.connect(ledger, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = DELETE")
        other.execute("BEGIN EXCLUSIVE")
        assert main(command) == 2
    assert "now: database is locked" in capsys.readouterr().err


@pytest.mark.parametrize("command", READERS[:2], ids=" ".join)
def test_a_ledger_without_a_world_has_nothing_to_be_proved(tmp_path: Path, command: list[str]):
    Engine.open(tmp_path / "sim.db").close()
    assert_refused(run(*command, cwd=tmp_path), "holds no world yet")


@pytest.mark.parametrize("command", COMMANDS[2:], ids=" ".join)
def test_a_damaged_ledger_is_named_as_such(ledger: Path, command: list[str]):
    content = ledger.read_bytes()
    ledger.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    (ledger.parent / "world.json").write_text(json.dumps(world(3)))
    done = run(*command, cwd=ledger.parent)
    assert_refused(done, "sim.db is damaged (database disk image is malformed)")
