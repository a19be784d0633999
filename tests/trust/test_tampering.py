"""What hides from a check that walks the turns: rows between them, and tables of another make."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import Column, Integer

from sim_engine.__main__ import main
from sim_engine.engine import Engine
from sim_engine.ledger import tables
from sim_engine.ledger.audit import verify_hashes
from sim_engine.ledger.file import ForeignDatabase
from sim_engine.ledger.journal import HISTORY
from sim_engine.ledger.replay import verify
from sim_engine.ledger.report import Report
from sim_engine.ledger.views import VIEWS

BOTH = pytest.mark.parametrize("mode", [verify, verify_hashes])
COVERED = (*HISTORY, "turns", "agents", "contracts")
WITHOUT_GENESIS = [name for name in HISTORY if name not in ("entries", "blocks")]
NO_VIEWS = [f"DROP VIEW {name}" for name in VIEWS.tables]
"""They stand in the way of changes to the tables that they show."""

BY_TURN_AND_SEQ = [name for name in HISTORY if name != "turn_metrics"]


@pytest.fixture
def tampered(sound: Path, tmp_path: Path) -> Callable[..., Path]:
    """Copies of the sound ledger after some statements."""
    numbers = count()

    def copy(*statements: str) -> Path:
        path: Path = tmp_path / f"copy-{next(numbers)}.db"
        shutil.copyfile(sound, path)
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            for statement in statements:
                connection.execute(statement)
        return path

    return copy


def quietly(turn: int, last: int) -> None:
    """Progress that nobody looks at."""


def named(mode: Callable[..., Report], path: Path) -> tuple[str, str]:
    report = mode(path, quietly)
    assert not report.sound
    return report.differences[0].table, report.differences[0].key


def row_again(table: str, **changes: str) -> str:
    """Write the statement that adds a row of a table once more, with other values."""
    names = [column.name for column in tables.METADATA.tables[table].columns]
    values = ", ".join(changes.get(name, f'"{name}"') for name in names)
    order = "turn DESC" if table == "turn_metrics" else "turn DESC, seq DESC"
    return (
        f"INSERT INTO {table} SELECT * FROM (SELECT {values} FROM {table} ORDER BY {order} LIMIT 1)"
    )


# -- rows that belong to no turn -------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("turn", ["5.5", "'x'", "x'00'"])
@pytest.mark.parametrize("table", BY_TURN_AND_SEQ)
def test_a_row_between_two_turns_is_found(mode, table, turn, tampered):
    changes = {"hash": "'ff'"} if table == "blocks" else {}
    path = tampered(row_again(table, turn=turn, **changes))
    found, key = named(mode, path)
    assert found == table
    assert "turn=" in key


@BOTH
@pytest.mark.parametrize("table", WITHOUT_GENESIS)
def test_a_row_of_genesis_is_found_where_genesis_has_none(mode, table, tampered):
    found, key = named(mode, tampered(row_again(table, turn="0")))
    assert found == table
    assert key.startswith("turn=0")


@BOTH
def test_a_turn_without_its_row_is_named_by_it(mode, tampered):
    path = tampered("DELETE FROM turns WHERE turn = (SELECT max(turn) FROM turns)")
    with closing(sqlite3.connect(path)) as connection:
        (last,) = connection.execute("SELECT max(turn) FROM turns").fetchone()
    assert named(mode, path) == ("turns", f"turn={last + 1}")


def test_a_key_must_belong_to_a_turn(tampered):
    path = tampered("UPDATE turn_keys SET turn = 1.5 WHERE turn = 3")
    assert named(verify, path)[0] == "turn_keys"


def test_a_key_that_looks_like_a_verdict_is_shown_in_one_line(tampered, capsys):
    forged = "x' || char(10) || 'sim.db is sound: 7 turns"
    path = tampered(f"INSERT INTO turn_keys VALUES ('{forged}', 999)")
    assert main(["verify", str(path)]) == 1
    assert len(capsys.readouterr().out.splitlines()) == 1


@BOTH
@pytest.mark.parametrize("value", ["9e999", "-9e999", "1.5"])
def test_a_number_that_is_no_integer_is_found(mode, value, tampered):
    path = tampered(f"UPDATE actions SET queued = {value} WHERE turn = 3 AND seq = 0")
    found, key = named(mode, path)
    assert (found, "turn=3" in key) == ("actions", True)


@BOTH
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE config SET value = replace(hex(zeroblob(2500)), '0', '9') WHERE key = 'core_count'",
        "INSERT INTO config VALUES (CAST(X'6162ff' AS TEXT), '1')",
    ],
)
def test_a_config_that_can_not_be_read_is_found(mode, statement, tampered, monkeypatch, capsys):
    monkeypatch.setenv("PYTHONIOENCODING", "utf-8:strict")
    path = tampered(statement)
    assert named(mode, path)[0] == "config"
    assert main(["verify", str(path)]) == 1
    capsys.readouterr().out.encode("utf-8", "strict")


# -- tables of another make ------------------------------------------------------------------------


@pytest.mark.parametrize("table", sorted(tables.METADATA.tables))
@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE {table} ADD COLUMN extra TEXT",
        "ALTER TABLE {table} ADD COLUMN extra TEXT DEFAULT 'x'",
        "ALTER TABLE {table} RENAME TO other",
        "ALTER TABLE {table} RENAME COLUMN {column} TO other",
        "CREATE TRIGGER evil AFTER INSERT ON {table} BEGIN DELETE FROM cores; END",
    ],
)
def test_a_changed_table_is_named_and_no_engine_goes_on_with_it(table, statement, tampered):
    column = tables.METADATA.tables[table].columns.keys()[-1]
    path = tampered(*NO_VIEWS, statement.format(table=table, column=column))
    for mode in (verify, verify_hashes):
        assert named(mode, path)[0] == table
    with pytest.raises(ForeignDatabase, match=f"was changed: {table}"):
        Engine.open(path)
    assert main(["export", "--db-path", str(path), str(path.with_suffix(".out"))]) == 2


@BOTH
@pytest.mark.parametrize(
    ("table", "before", "after", "update"),
    [
        ("agents", "balance INTEGER", "balance BLOB", "balance = 1.0 * balance"),
        ("contracts", "escrow INTEGER", "escrow BLOB", "escrow = 1.0 * escrow"),
        ("turns", "output_tokens INTEGER", "output_tokens BLOB", "output_tokens = 0.0"),
    ],
)
def test_a_column_of_another_type_is_found(mode, table, before, after, update, tampered):
    retype = (
        f"UPDATE sqlite_master SET sql = replace(sql, '{before}', '{after}') WHERE name = '{table}'"
    )
    path = tampered("PRAGMA writable_schema = ON", retype, "PRAGMA schema_version = 999")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"UPDATE {table} SET {update}")
    assert named(mode, path) == (table, f"column {before.split()[0]}")


@BOTH
@pytest.mark.parametrize("table", ["contracts", "turns", "turn_metrics"])
def test_a_table_without_its_key_is_found(mode, table, tampered):
    path = tampered(
        *NO_VIEWS,
        f"CREATE TABLE copy AS SELECT * FROM {table}",
        f"DROP TABLE {table}",
        f"ALTER TABLE copy RENAME TO {table}",
    )
    assert named(mode, path)[0] == table


@BOTH
def test_a_ledger_is_as_sound_without_its_views(mode, tampered):
    assert mode(tampered(*NO_VIEWS), quietly).sound


@BOTH
def test_what_others_add_beside_the_tables_is_theirs(mode, tampered):
    path = tampered(
        "CREATE TABLE notes (text TEXT)",
        "CREATE VIEW rich AS SELECT agent_id FROM agents WHERE balance > 100",
        "CREATE INDEX by_agent ON actions (agent_id)",
        "DROP VIEW v_wealth",
        "PRAGMA journal_mode = DELETE",
        "VACUUM",
    )
    assert mode(path, quietly).sound


@pytest.mark.parametrize("table", sorted({*COVERED, "pending_requests"}))
def test_an_integer_that_became_a_real_number_is_found(table, tampered):
    """To SQLite and to Python 1.0 is 1: neither notices by itself."""
    changed = 0
    for column in tables.METADATA.tables[table].columns:
        if not isinstance(column.type, Integer) or is_row_id(column):
            continue
        path = tampered(
            *retype(table, f"{column.name} INTEGER", f"{column.name} BLOB"),
            f"UPDATE {table} SET {column.name} = {column.name} + 0.0",
            *retype(table, f"{column.name} BLOB", f"{column.name} INTEGER"),
        )
        with closing(sqlite3.connect(path)) as connection:
            query = f"SELECT count(*) FROM {table} WHERE typeof({column.name}) = 'real'"
            (found,) = connection.execute(query).fetchone()
        if not found:
            continue
        changed += 1
        assert named(verify, path)[0] == table, column.name
        if table in HISTORY or column.name in ("balance", "staked", "escrow"):
            assert named(verify_hashes, path)[0] == table, column.name
    assert changed or table in ("config", "cores")


def is_row_id(column: Column[object]) -> bool:
    """Tell whether a column is the row id, which SQLite keeps an integer by all means."""
    return [*column.table.primary_key] == [column]


def retype(table: str, before: str, after: str) -> list[str]:
    """Write the statements that change how SQLite takes a column, but no value in it."""
    return [
        "PRAGMA writable_schema = ON",
        f"UPDATE sqlite_master SET sql = replace(sql, '{before}', '{after}')"
        f" WHERE name = '{table}'",
        "PRAGMA writable_schema = RESET",
    ]


@BOTH
@pytest.mark.parametrize(
    ("index", "hidden"),
    [
        ("entries (amount)", "INSERT INTO entries VALUES (99, 0, 'fees', 'cores', 7, 'fee', '')"),
        (
            "speech_log (turn, seq, agent_id, message)",
            "UPDATE speech_log SET message = 'forged'",
        ),
    ],
)
def test_an_index_hides_nothing(mode, index, hidden, tampered):
    """A row that was written while SQLite did not know of an index is not in it."""
    path = tampered(f"CREATE INDEX mine ON {index}")
    table = index.split()[0]
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        row = connection.execute("SELECT * FROM sqlite_master WHERE name = 'mine'").fetchone()
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("DELETE FROM sqlite_master WHERE name = 'mine'")
        connection.execute("PRAGMA writable_schema = RESET")
        connection.execute(hidden)
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", row)
        connection.execute("PRAGMA writable_schema = RESET")
    assert named(mode, path)[0] == table


@pytest.mark.parametrize(
    "constraint",
    [
        "UNIQUE (agent_id, message) ON CONFLICT IGNORE",
        "CHECK (length(message) < 5)",
        "FOREIGN KEY (agent_id) REFERENCES agents (agent_id)",
    ],
)
def test_a_table_with_a_further_constraint_is_named_and_no_engine_goes_on_with_it(
    constraint, tampered
):
    path = tampered(
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_master SET sql = replace(sql, 'PRIMARY KEY (turn, seq)',"
        f" 'PRIMARY KEY (turn, seq), {constraint}') WHERE name = 'speech_log'",
    )
    for mode in (verify, verify_hashes):
        assert named(mode, path) == ("speech_log", "constraints")
    with pytest.raises(ForeignDatabase, match="was changed: speech_log"):
        Engine.open(path)


@BOTH
def test_a_unique_index_is_found(mode, tampered):
    """With it a contract that changes would replace another one."""
    path = tampered("CREATE UNIQUE INDEX one ON contracts (proposer, number)")
    assert named(mode, path) == ("contracts", "index one")


# -- what waits ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "statement"),
    [
        ("pending_actions", "UPDATE pending_actions SET payload = payload || ' '"),
        (
            "pending_actions",
            """UPDATE pending_actions SET payload = '{"type":"job",' || substr(payload, 2)""",
        ),
        ("pending_actions", "UPDATE pending_actions SET id = id - 1000"),
        ("pending_actions", "UPDATE pending_actions SET id = 9223372036854775807 - id"),
        ("sqlite_sequence", "DELETE FROM sqlite_sequence"),
        ("sqlite_sequence", "UPDATE sqlite_sequence SET seq = 0"),
        ("sqlite_sequence", "UPDATE sqlite_sequence SET seq = 9223372036854775807"),
        ("sqlite_sequence", "UPDATE sqlite_sequence SET seq = 'x'"),
        ("pending_requests", "UPDATE pending_requests SET ids = 'x'"),
        ("pending_requests", "UPDATE pending_requests SET ids = '[1.0]'"),
        ("pending_requests", "UPDATE pending_requests SET request_hash = 'x'"),
        ("pending_requests", "UPDATE pending_requests SET for_turn = 999999"),
        ("pending_requests", "UPDATE pending_requests SET agent_id = 'x' || agent_id"),
    ],
)
def test_what_no_engine_would_have_queued_is_found(table, statement, tampered):
    assert named(verify, tampered(statement))[0] == table


@pytest.mark.parametrize("check", ["CHECK (amount > 9)", "/* CHECK (amount > 0) */", "-- CHECK\n"])
def test_a_changed_constraint_is_found(check, tampered):
    path = tampered(
        "PRAGMA writable_schema = ON",
        f"UPDATE sqlite_master SET sql = replace(sql, 'CHECK (amount > 0)', '{check}')"
        " WHERE name = 'entries'",
    )
    assert named(verify, path) == ("entries", "constraints")


def test_a_key_that_is_no_hash_is_found(tampered):
    path = tampered("UPDATE agent_keys SET key_hash = x'00'")
    assert named(verify, path)[0] == "agent_keys"
