"""A ledger of another schema version is never changed silently: ``migrate`` does, with a backup."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest

from sim_engine import engine as engine_module
from sim_engine.__main__ import main
from sim_engine.engine import Engine
from sim_engine.ledger import migrate, tables
from sim_engine.ledger.views import VIEWS
from tests.trust import everything

OLD_VIEWS = {"v_wealth", "v_supply", "v_contract_outcomes", "v_payments"}
"""Those of version 1; the others came without a change of the version."""

NO_NEW_VIEWS = [f"DROP VIEW {name}" for name in VIEWS.tables if name not in OLD_VIEWS]


def execute(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def schema(path: Path) -> dict[str, str]:
    """Every table, index and view as it was declared, whatever the layout of the text."""
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
        return {name: re.sub(r"\W", "", sql) for name, sql in found}


def rows(path: Path, names: list[str]) -> dict[str, list[Any]]:
    with closing(sqlite3.connect(path)) as connection:
        return {name: connection.execute(f'SELECT * FROM "{name}"').fetchall() for name in names}


@pytest.fixture
def new(tmp_path: Path) -> Path:
    everything.make(tmp_path / "new.db")
    return tmp_path / "new.db"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A ledger as version 1 wrote it."""
    path = tmp_path / "old.db"
    everything.make(path)
    execute(
        path,
        "DROP TABLE turn_keys",
        "DROP INDEX information_by_proposer",
        "DROP INDEX information_by_counterparty",
        "DROP INDEX pending_requests_by_turn",
        *NO_NEW_VIEWS,
        "PRAGMA user_version = 1",
    )
    return path


COMMANDS = [["verify"], ["verify", "--quick"], ["export", "out"], ["serve", "--port", "0"]]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_an_older_ledger_is_named_as_such_and_left_alone(
    command: list[str],
    old: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    before = old.read_bytes()
    monkeypatch.chdir(old.parent)
    monkeypatch.setenv("DB_PATH", str(old))
    assert main(command) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert f"has schema version 1, this engine writes {tables.SCHEMA_VERSION}" in said
    assert f"sim-engine migrate {old}" in said
    assert old.read_bytes() == before


def test_migrate_makes_an_older_ledger_what_this_version_writes(
    old: Path, new: Path, capsys: pytest.CaptureFixture[str]
):
    before = rows(old, [name for name in tables.METADATA.tables if name != "turn_keys"])
    assert main(["migrate", str(old)]) == 0
    said = capsys.readouterr().out
    assert f"schema version 1 is now {tables.SCHEMA_VERSION}" in said
    assert schema(old) == schema(new)
    assert rows(old, list(before)) == before
    assert main(["verify", str(old)]) == 0
    engine = Engine.open(old)
    everything.play(engine, everything.TURNS + 1, everything.TURNS + 3)
    engine.close()
    backup = old.with_name("old.db.v1.bak")
    assert str(backup) in said
    assert rows(backup, list(before)) == before
    with closing(sqlite3.connect(backup)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)


def test_a_ledger_of_this_version_may_lack_views(
    new: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    execute(new, *NO_NEW_VIEWS)
    before = schema(new)
    assert before.keys() & VIEWS.tables.keys() == OLD_VIEWS
    monkeypatch.chdir(new.parent)
    for command in (["verify"], ["verify", "--quick"], ["export", "out"], ["migrate"]):
        monkeypatch.setenv("DB_PATH", str(new))
        assert main(command) == 0, command
    assert "nothing to do" in capsys.readouterr().out
    engine = Engine.open(new)
    everything.play(engine, everything.TURNS + 1, everything.TURNS + 2)
    engine.close()
    assert schema(new) == before
    assert main(["verify", str(new)]) == 0


def test_migrate_does_not_overwrite_a_backup(old: Path, capsys: pytest.CaptureFixture[str]):
    backup = old.with_name("old.db.v1.bak")
    backup.write_text("precious")
    assert main(["migrate", str(old)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert backup.read_text() == "precious"
    with closing(sqlite3.connect(old)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)


def test_a_backup_is_whole_and_for_those_who_may_read_the_ledger(old: Path):
    old.chmod(0o600)
    partial = old.with_name("old.db.v1.bak.partial")
    partial.write_text("what an interrupted migration left")
    assert main(["migrate", str(old)]) == 0
    assert not partial.exists()
    assert old.with_name("old.db.v1.bak").stat().st_mode & 0o777 == 0o600


def test_a_backup_that_can_not_be_written_is_named(old: Path, capsys: pytest.CaptureFixture[str]):
    ledger = old.rename(old.with_name("x" * 240 + ".db"))
    assert main(["migrate", str(ledger)]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert "File name too long" in said
    with closing(sqlite3.connect(ledger)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)


@pytest.mark.parametrize("command", ["verify", "migrate"])
@pytest.mark.parametrize("version", [0, 99])
def test_a_version_that_nobody_knows_is_refused(
    version: int, command: str, new: Path, capsys: pytest.CaptureFixture[str]
):
    execute(new, f"PRAGMA user_version = {version}")
    assert main([command, str(new)]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert f"has schema version {version}" in said


def test_a_migration_that_fails_midway_leaves_the_ledger_as_it_was(
    old: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def half(connection: Any) -> None:
        connection.exec_driver_sql("CREATE TABLE turn_keys (idempotency_key TEXT)")
        connection.exec_driver_sql("DROP TABLE no_such_table")

    before = schema(old)
    with monkeypatch.context() as patched:
        patched.setitem(migrate.STEPS, 1, half)
        assert main(["migrate", str(old)]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert "can not be migrated (no such table: no_such_table) and is as it was" in said
    assert schema(old) == before
    with closing(sqlite3.connect(old)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    assert main(["migrate", str(old)]) == 0


def test_a_world_of_other_rules_is_refused_and_not_called_forged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "sim.db"
    with monkeypatch.context() as later:
        later.setattr(engine_module, "PROTOCOL_VERSION", 2)
        engine = Engine.open(path)
        engine.init(orjson.dumps(everything.WORLD))
        engine.close()
    for command in (["verify", str(path)], ["serve", "--port", "0", "--db-path", str(path)]):
        assert main(command) == 2
        (said,) = capsys.readouterr().err.splitlines()
        assert "holds a world of version 2 of the rules, this engine plays version 1" in said
    assert main(["verify", "--quick", str(path)]) == 0  # no rule is played
    execute(path, "UPDATE config SET value = '1' WHERE key = 'protocol_version'")
    assert main(["verify", str(path)]) == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith("config [")
