"""The rows of a ledger read back by turn, as they are stored: by those who doubt them.

Most turns are sound, and need not become rows in Python to be found so: SQLite writes all rows of
a turn as one JSON array, whose hash is the digest that was sealed if nothing was changed. Two lists
of rows have the same JSON only if they are the same, as a real number always shows its point, and
what JSON can not hold has no digest. Only what differs is read row by row.

No query here, or through here, uses an index: one that was tampered with can hide rows.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, Final

import orjson
from sqlalchemy import Connection

from sim_engine.ledger import tables
from sim_engine.ledger.file import check_file, open_database
from sim_engine.ledger.journal import HISTORY
from sim_engine.ledger.rows import Row, Values
from sim_engine.ledger.seal import CHUNK_ROWS, digest_chunks

PAYLOAD: Final = tables.place_of(tables.actions.c.payload)
QUEUED: Final = tables.place_of(tables.actions.c.queued)
"""Places in whole rows of ``actions``."""

NOT_JSON: Final = ""
"""Stands where a digest would, for rows that JSON can not hold: no rows hash to it."""


def _as_blob(value: str) -> str:
    """Write the SQL that collects a value of all rows into one JSON array, as bytes."""
    return f"CAST(json_group_array({value}) AS BLOB)"


def _select_turn(name: str) -> str:
    """Write the SQL that reads a table's rows of a turn in the order of its key."""
    key = ", ".join(column.name for column in tables.METADATA.tables[name].primary_key)
    return f"SELECT * FROM {tables.itself(name)} WHERE turn = ? ORDER BY {key}"


_OF_TURN: Final = {name: _select_turn(name) for name in (*HISTORY, "turns")}
_QUEUED: Final = (
    f"SELECT * FROM {tables.itself('actions')}"
    " WHERE turn = ? AND queued IS NOT NULL ORDER BY turn, seq"
)

Chunk = tuple[Any, ...]
"""What SQLite made of some rows: their number, their JSON, and what else was asked for."""


class _Encoder:
    """Has SQLite write the rows of a table as JSON, a turn at a time."""

    def __init__(self, driver: Any, name: str, *further: str) -> None:
        """Prepare for a table; ``further`` are aggregates of its rows to be told beside them."""
        table = tables.METADATA.tables[name]
        columns = ", ".join(f'"{column.name}"' for column in table.columns)
        asked = ", ".join(["count(*)", _as_blob(f"json_array({columns})"), *further])
        self._driver = driver
        # The rows come in the order of the key, as it leads to them; in any other order they would
        # not hash to their digest, and be read one by one.
        self._whole = f"SELECT {asked} FROM {tables.itself(name)} WHERE turn = ?"
        self._chunk = f"{self._whole} AND seq >= ? AND seq < ?"
        self._count = f"SELECT count(*) FROM {tables.itself(name)} WHERE turn = ?"
        self._had_large_turns = False

    def chunks(self, turn: int) -> list[Chunk] | None:
        """Read a turn in the chunks that a seal hashes; None for what can not be read so."""
        try:
            return self._chunks(turn)
        except sqlite3.OperationalError:
            # There are bytes among the values, which JSON can not hold.
            return None

    def _chunks(self, turn: int) -> list[Chunk] | None:
        execute = self._driver.execute
        if not self._had_large_turns:
            whole: list[Chunk] = execute(self._whole, (turn,)).fetchall()
            if whole[0][0] <= CHUNK_ROWS:
                return whole
            self._had_large_turns = True
        ((count,),) = execute(self._count, (turn,)).fetchall()
        chunks = [
            execute(self._chunk, (turn, start, start + CHUNK_ROWS)).fetchone()
            for start in range(0, max(count, 1), CHUNK_ROWS)
        ]
        return chunks if sum(chunk[0] for chunk in chunks) == count else None


class Pages:
    """The rows of a ledger by turn, as plain tuples in one snapshot of the file."""

    def __init__(self, connection: Connection) -> None:
        """Read through an open connection."""
        driver = connection.connection.driver_connection
        assert driver is not None
        self._driver: Any = driver
        self._encoders = {name: _Encoder(driver, name) for name in HISTORY}
        self._actions = _Encoder(driver, "actions", _as_blob("payload"), "count(queued)")

    def of_turn(self, table: str, turn: int) -> list[Row]:
        """Read a table's rows of a turn, in the order of the history."""
        return self.select(_OF_TURN[table], turn)

    def digest_of_turn(self, table: str, turn: int) -> tuple[int, str]:
        """Hash a table's rows of a turn. Returns how many there are, and their digest or NOT_JSON.

        Rows that hash to a digest that was sealed are the rows that were sealed; of others, look at
        ``of_turn``.
        """
        chunks = self._encoders[table].chunks(turn)
        return (0, NOT_JSON) if chunks is None else _digest(chunks)

    def values_of_turn(self, table: str, turn: int) -> tuple[Sequence[Values], str]:
        """Read a table's rows of a turn, and hash them as ``digest_of_turn`` does."""
        chunks = self._encoders[table].chunks(turn)
        try:
            if chunks is not None:
                rows = list(chain.from_iterable([orjson.loads(chunk[1]) for chunk in chunks]))
                return rows, _digest(chunks)[1]
        except orjson.JSONDecodeError:
            pass  # There are bytes that are no UTF-8 in a text.
        return self.of_turn(table, turn), NOT_JSON

    def payloads_of_turn(self, turn: int) -> tuple[list[Any], list[Row], int, str]:
        """Read the payloads of a turn's actions, and the rows of those that were queued.

        Returns the number and the digest of all rows with them, as ``digest_of_turn`` does.
        """
        chunks = self._actions.chunks(turn)
        try:
            if chunks is not None:
                payloads = list(chain.from_iterable([orjson.loads(chunk[2]) for chunk in chunks]))
                any_queued = any(chunk[3] for chunk in chunks)
                queued = self.select(_QUEUED, turn) if any_queued else []
                return payloads, queued, *_digest(chunks)
        except orjson.JSONDecodeError:
            pass  # There are bytes that are no UTF-8 in a text.
        rows = self.of_turn("actions", turn)
        queued = [row for row in rows if row[QUEUED] is not None]
        return [row[PAYLOAD] for row in rows], queued, len(rows), NOT_JSON

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
        ((turn_hash,),) = self.select(
            f"SELECT turn_hash FROM {tables.itself('turns')} ORDER BY turn DESC LIMIT 1"
        )
        return str(turn_hash)

    def number(self, statement: str, *parameters: Any) -> int:
        """Read a single number; 0 for none."""
        return int(self.select(statement, *parameters)[0][0] or 0)


@contextmanager
def open_pages(path: Path) -> Iterator[Pages]:
    """Open a ledger for reading, in a snapshot that a running engine does not change.

    Raises ForeignDatabase if the file is no ledger, or of another schema version, and
    LedgerUnavailable if it can not be reached.
    """
    database = open_database(path, read_only=True)
    try:
        with database.connect() as connection:
            check_file(connection, path)
            connection.exec_driver_sql("BEGIN")
            yield Pages(connection)
    finally:
        database.dispose()


def _digest(chunks: list[Chunk]) -> tuple[int, str]:
    """Count and hash rows that SQLite wrote as JSON, as ``seal.digest_rows`` hashes them."""
    count = sum([chunk[0] for chunk in chunks])
    return count, digest_chunks([chunk[1] for chunk in chunks if chunk[0]])


def _text_or_not(stored: bytes) -> str:
    """Decode text; what is no UTF-8 becomes characters that no valid text has."""
    return stored.decode("utf-8", "surrogateescape")
