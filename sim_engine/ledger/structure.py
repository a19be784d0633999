"""Whether a file has the tables that this program makes, as it makes them.

A column of another type keeps 1 as 1.0, a table without its key holds a row twice, a trigger
changes rows behind the engine's back: what is read from such a file proves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from sqlalchemy import create_engine

from sim_engine.ledger import tables
from sim_engine.ledger.report import Difference

Select = Callable[[str], Sequence[Sequence[Any]]]
"""Runs a query and returns its rows."""


def find_change(select: Select) -> Difference | None:
    """Return the first thing that was changed about the tables of a ledger, if any was.

    Further tables, views and indexes are nobody's business but their owner's.
    """
    for name, expected in _expected().items():
        found = _columns(select, name)
        if list(found.items()) == list(expected.items()):
            continue
        for column in {**expected, **found}:
            if found.get(column) != expected.get(column):
                return Difference(name, f"column {column}", found.get(column), expected.get(column))
        return Difference(name, "order of columns", list(found), list(expected))
    for trigger, table in select("SELECT name, tbl_name FROM sqlite_master WHERE type = 'trigger'"):
        return Difference(table, f"trigger {trigger}", "a trigger", None)
    return None


def _columns(select: Select, table: str) -> dict[str, str]:
    """Describe the columns of a table, in their order, and whether it has row ids beside them."""
    found = {
        column: kind
        + (" NOT NULL" if not_null else "")
        + (f" DEFAULT {default}" if default is not None else "")
        + (f", part {key} of the key" if key else "")
        + (", hidden" if hidden else "")
        for _, column, kind, not_null, default, key, hidden in select(
            f'PRAGMA table_xinfo("{table}")'
        )
    }
    made = select(f"SELECT type, sql FROM sqlite_master WHERE name = '{table}'")
    for kind, sql in made:
        found["(kind)"] = f"{kind}{' without row ids' if 'WITHOUT ROWID' in sql.upper() else ''}"
    return found


@cache
def _expected() -> dict[str, dict[str, str]]:
    """Describe the tables of a new ledger."""
    database = create_engine("sqlite://")
    with database.connect() as connection:
        tables.create_schema(connection)

        def select(statement: str) -> Sequence[Sequence[Any]]:
            return connection.exec_driver_sql(statement).all()

        found = {name: _columns(select, name) for name in tables.METADATA.tables}
    database.dispose()
    return found
