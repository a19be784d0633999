"""Whether a file has the tables that this program makes, as it makes them.

A column of another type keeps 1 as 1.0, a table without its key holds a row twice, a trigger
changes rows behind the engine's back, and so does a constraint that ignores or replaces them: what
is read from such a file proves nothing, and what is written to it may be lost.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final

from sqlalchemy import create_engine

from sim_engine.ledger import tables
from sim_engine.ledger.report import Difference

CONSTRAINT: Final = re.compile(
    r"\b(?:CHECK\s*\([^)]*\)"
    r"|(?:AUTOINCREMENT|CHECK|COLLATE|CONFLICT|GENERATED|REFERENCES|STRICT|UNIQUE)\b)"
)
"""What of a table's statement says what it takes besides its columns."""

COMMENT: Final = re.compile(r"/\*.*?\*/|--[^\n]*", re.DOTALL)

ORIGINS: Final = {"pk": "of the key", "u": "of a constraint", "c": "a unique index"}
"""Where a unique index comes from, as ``PRAGMA index_list`` says it."""

Select = Callable[[str], Sequence[Sequence[Any]]]
"""Runs a query and returns its rows."""


def find_change(select: Select) -> Difference | None:
    """Return the first thing that was changed about the tables of a ledger, if any was.

    Further tables, views and indexes are nobody's business but their owner's; a unique index on a
    table of the ledger is a constraint.
    """
    for name, expected in _expected().items():
        found = _parts(select, name)
        if list(found.items()) == list(expected.items()):
            continue
        for part in {**expected, **found}:
            if found.get(part) != expected.get(part):
                return Difference(name, part, found.get(part), expected.get(part))
        return Difference(name, "order of columns", list(found), list(expected))
    for trigger, table in select("SELECT name, tbl_name FROM sqlite_master WHERE type = 'trigger'"):
        return Difference(table, f"trigger {trigger}", "a trigger", None)
    return None


def _parts(select: Select, table: str) -> dict[str, str]:
    """Describe the columns of a table, in their order, and what else it is made with."""
    found = {
        f"column {column}": kind
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
        found["kind"] = f"{kind}{' without row ids' if 'WITHOUT ROWID' in sql.upper() else ''}"
        further = CONSTRAINT.findall(COMMENT.sub(" ", sql.upper()))
        found["constraints"] = ", ".join(sorted(further)) or "none"
    for _, index, unique, origin, _ in select(f'PRAGMA index_list("{table}")'):
        if unique:
            found[f"index {index}"] = ORIGINS.get(origin, origin)
    return found


@cache
def _expected() -> dict[str, dict[str, str]]:
    """Describe the tables of a new ledger."""
    database = create_engine("sqlite://")
    with database.connect() as connection:
        tables.create_schema(connection)

        def select(statement: str) -> Sequence[Sequence[Any]]:
            return connection.exec_driver_sql(statement).all()

        found = {name: _parts(select, name) for name in tables.METADATA.tables}
    database.dispose()
    return found
