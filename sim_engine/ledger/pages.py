"""The rows of a ledger read back by turn, as they are stored: by those who doubt them.

Most turns are sound, and need not become rows in Python to be found so: SQLite writes all rows of
a turn as one JSON array, whose hash is the digest that was sealed if nothing was changed. Two lists
of rows have the same JSON only if they are the same, as a real number always shows its point, and
what JSON can not hold has no digest. Only what differs is read row by row.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import orjson
from sqlalchemy import Connection

from sim_engine.ledger import tables
from sim_engine.ledger.journal import HISTORY
from sim_engine.ledger.rows import Row
from sim_engine.ledger.seal import CHUNK_ROWS, NO_ROWS, digest_rows
from sim_engine.ledger.store import check_file, open_database

QUEUED: Final = (
    "SELECT agent_id, queued FROM actions WHERE turn = ? AND queued IS NOT NULL ORDER BY turn, seq"
)

NOT_JSON: Final = ""
"""Stands where a digest would, for rows that JSON can not hold: no rows hash to it."""


class Pages:
    """The rows of a ledger by turn, as plain tuples in one snapshot of the file."""

    def __init__(self, connection: Connection) -> None:
        """Read through an open connection."""
        driver = connection.connection.driver_connection
        assert driver is not None
        self._driver: Any = driver
        self._rows = {}
        self._encoded = {}
        for name in (*HISTORY, "turns"):
            table = tables.METADATA.tables[name]
            order = "turn, seq" if "seq" in table.columns else "turn"
            columns = ", ".join(f'"{column.name}"' for column in table.columns)
            of_turn = f'FROM "{name}" WHERE turn = ?'
            self._rows[name] = f"SELECT * {of_turn} ORDER BY {order}"
            # The rows come in the order of the key, as it leads to them; in any other order they
            # would not hash to their digest, and be read one by one.
            encoded = f"count(*), {_as_blob(f'json_array({columns})')}"
            self._encoded[name] = f"SELECT {encoded} {of_turn}"
            if name == "actions":
                payloads = f"{_as_blob('payload')}, count(queued)"
                self._payloads = f"SELECT {encoded}, {payloads} {of_turn}"

    def of_turn(self, table: str, turn: int) -> list[Row]:
        """Read a table's rows of a turn, in the order of the history."""
        return self.select(self._rows[table], turn)

    def digest_of_turn(self, table: str, turn: int) -> tuple[int, str]:
        """Hash a table's rows of a turn. Returns how many there are, and their digest or NOT_JSON.

        Rows that hash to a digest that was sealed are the rows that were sealed; of others, look at
        ``of_turn``.
        """
        count, encoded = self._as_json(table, turn)
        return count, _digest(count, encoded)

    def values_of_turn(self, table: str, turn: int) -> tuple[list[Row], str]:
        """Read a table's rows of a turn, and hash them as ``digest_of_turn`` does."""
        count, encoded = self._as_json(table, turn)
        try:
            rows: list[Row] = orjson.loads(encoded)
        except orjson.JSONDecodeError:
            return self.of_turn(table, turn), NOT_JSON
        return rows, _digest(count, encoded)

    def payloads_of_turn(self, turn: int) -> tuple[list[Any], list[Row], int, str]:
        """Read the payloads of a turn's actions, (agent_id, queued) of those that were queued.

        Returns the number and the digest of the whole rows with them, as ``digest_of_turn`` does.
        """
        try:
            ((count, encoded, payloads, queued),) = self._driver.execute(
                self._payloads, (turn,)
            ).fetchall()
            read = orjson.loads(payloads)
        except (sqlite3.OperationalError, orjson.JSONDecodeError):
            rows = self.of_turn("actions", turn)
            queued_rows = [(row[2], row[9]) for row in rows if row[9] is not None]
            return [row[4] for row in rows], queued_rows, len(rows), NOT_JSON
        return read, self.select(QUEUED, turn) if queued else [], count, _digest(count, encoded)

    def select(self, statement: str, *parameters: Any) -> list[Row]:
        """Read all rows of a query; bytes that are no text are kept, so that they can be named."""
        try:
            found: list[Row] = self._driver.execute(statement, parameters).fetchall()
        except sqlite3.OperationalError:
            if self._driver.text_factory is _text_or_not:
                raise
            self._driver.text_factory = _text_or_not
            return self.select(statement, *parameters)
        return found

    def last_turn_hash(self) -> str:
        """Read the seal of the last turn."""
        ((turn_hash,),) = self.select("SELECT turn_hash FROM turns ORDER BY turn DESC LIMIT 1")
        return str(turn_hash)

    def number(self, statement: str, *parameters: Any) -> int:
        """Read a single number; 0 for none."""
        return int(self.select(statement, *parameters)[0][0] or 0)

    def _as_json(self, table: str, turn: int) -> tuple[int, bytes]:
        """Have SQLite write rows as JSON; (0, nothing) where it can not, as for bytes."""
        try:
            ((count, encoded),) = self._driver.execute(self._encoded[table], (turn,)).fetchall()
        except sqlite3.OperationalError:
            return 0, b""
        return count, encoded


@contextmanager
def open_pages(path: Path) -> Iterator[Pages]:
    """Open a ledger for reading, in a snapshot that a running engine does not change.

    Raises ForeignDatabase if the file is no ledger, or of another schema version.
    """
    database = open_database(path, read_only=True)
    try:
        with database.connect() as connection:
            check_file(connection, path)
            connection.exec_driver_sql("BEGIN")
            yield Pages(connection)
    finally:
        database.dispose()


def _as_blob(value: str) -> str:
    """Write the SQL that collects a value of all rows into one JSON array, as bytes."""
    return f"CAST(json_group_array({value}) AS BLOB)"


def _digest(count: int, encoded: bytes) -> str:
    """Hash rows that SQLite wrote as JSON, as ``seal.digest_rows`` hashes them."""
    if not encoded:
        return NOT_JSON
    if count == 0:
        return NO_ROWS
    if count > CHUNK_ROWS:
        return digest_rows(orjson.loads(encoded))
    return sha256(encoded).hexdigest()


def _text_or_not(stored: bytes) -> str:
    """Decode text; what is no UTF-8 becomes characters that no valid text has."""
    return stored.decode("utf-8", "surrogateescape")
