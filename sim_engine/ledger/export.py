"""Write a ledger out as one file a table or view, for spreadsheets and data frames."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from sqlalchemy import Integer, Table, select

from sim_engine.ledger import tables
from sim_engine.ledger.file import check_file, check_structure, open_database, using
from sim_engine.ledger.views import VIEWS, create_views

if TYPE_CHECKING:
    import pyarrow

Format = Literal["csv", "parquet"]
Batch = list[tuple[Any, ...]]

BATCH_ROWS: Final = 50_000
"""Rows that stand in memory at a time."""

NOT_EXPORTED: Final = frozenset({"agent_keys"})
"""Tables without meaning for readers of a run; the hashes of keys are nobody's business."""


class MissingExtra(Exception):
    """A library that an optional format needs is not installed; the text names the command."""


def export(
    path: Path, directory: Path, file_format: Format, *, views: bool = False
) -> dict[str, int]:
    """Write every table of a ledger into ``directory``, in one snapshot of the file.

    With ``views`` it writes those of this program as well, whether or not the file has them.
    Returns the number of rows by table and view. Files that are there already are replaced. Raises
    ForeignDatabase if the file is no ledger, MissingExtra if the format needs a library that is not
    installed.
    """
    write = _WRITERS[file_format]()
    written: dict[str, int] = {}
    database = open_database(path, read_only=True)
    try:
        with using(path), database.connect() as connection:
            check_file(connection, path)
            check_structure(connection, path)
            directory.mkdir(parents=True, exist_ok=True)
            if views:
                create_views(connection, temporary=True)
            connection.exec_driver_sql("BEGIN")
            for name, table in _exported(views).items():
                query = select(table).order_by(*table.primary_key.columns)
                found = connection.execution_options(yield_per=BATCH_ROWS).execute(query)
                batches = (list(map(tuple, part)) for part in found.partitions())
                written[name] = write(table, directory / f"{name}.{file_format}", batches)
    finally:
        database.dispose()
    return written


def _exported(views: bool) -> dict[str, Table]:
    """Name what is written, in order; a view is read like a table."""
    found = {**tables.METADATA.tables, **(VIEWS.tables if views else {})}
    return {name: table for name, table in found.items() if name not in NOT_EXPORTED}


def _csv() -> Callable[[Table, Path, Iterator[Batch]], int]:
    return _write_csv


def _write_csv(table: Table, path: Path, batches: Iterator[Batch]) -> int:
    """Write comma-separated values with a header; NULL is an empty field."""
    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(column.name for column in table.columns)
        for batch in batches:
            writer.writerows(batch)
            count += len(batch)
    return count


def _parquet() -> Callable[[Table, Path, Iterator[Batch]], int]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise MissingExtra(
            "parquet needs pyarrow: `pip install pyarrow`, or export as csv"
        ) from None

    def write_parquet(table: Table, path: Path, batches: Iterator[Batch]) -> int:
        """Write columns of 64-bit integers and texts."""
        schema = _schema(table)
        count = 0
        with parquet.ParquetWriter(path, schema) as writer:
            for batch in batches:
                columns = [list(column) for column in zip(*batch, strict=True)]
                arrays = [
                    pyarrow.array(column, type=field.type)
                    for column, field in zip(columns, schema, strict=True)
                ]
                writer.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))
                count += len(batch)
        return count

    return write_parquet


def _schema(table: Table) -> pyarrow.Schema:
    import pyarrow

    return pyarrow.schema(
        [
            (column.name, pyarrow.int64() if isinstance(column.type, Integer) else pyarrow.string())
            for column in table.columns
        ]
    )


_WRITERS: Final = {"csv": _csv, "parquet": _parquet}
