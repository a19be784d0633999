"""Bring a ledger of an older schema version up to this one, with a backup beside it.

The engine never changes the schema of a file by itself.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from sim_engine.ledger import tables
from sim_engine.ledger.file import ForeignDatabase, lock_ledger, open_database, reaching, using
from sim_engine.ledger.views import create_views


@dataclass(frozen=True, slots=True)
class Migration:
    """What became of a file: its versions before and after, and the backup if anything changed."""

    before: int
    after: int
    backup: Path | None


class MigrationFailed(Exception):
    """A step could not be taken; the file is as it was, and there is no backup of it."""


def migrate(path: Path) -> Migration:
    """Bring a ledger up to the current schema version in one transaction.

    The file is copied first, to ``<name>.v<version>.bak``. Raises DatabaseInUse while an engine has
    the file open, ForeignDatabase if it is no ledger or is newer than this program, FileExistsError
    if the backup is there already, LedgerUnavailable if it can not be written, MigrationFailed if a
    step can not be taken.
    """
    with lock_ledger(path):
        database = open_database(path)
        try:
            with using(path), database.connect() as connection:
                before = _version(connection, path)
                if before == tables.SCHEMA_VERSION:
                    return Migration(before, before, None)
                backup = path.with_name(f"{path.name}.v{before}.bak")
                if backup.exists():
                    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(backup))
                try:
                    _back_up(connection, path, backup)
                    _take_steps(connection, before)
                except DBAPIError as error:
                    backup.unlink(missing_ok=True)
                    raise MigrationFailed(
                        f"{path} can not be migrated ({error.orig}) and is as it was; mend that and"
                        " run the same command again"
                    ) from error
        finally:
            database.dispose()
    return Migration(before, tables.SCHEMA_VERSION, backup)


def _version(connection: Connection, path: Path) -> int:
    """Read the schema version of a ledger that this program can migrate."""
    application_id = connection.exec_driver_sql("PRAGMA application_id").scalar_one()
    version = int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())
    if application_id != tables.APPLICATION_ID:
        raise ForeignDatabase(f"{path} is no ledger of this program; nothing was changed")
    if version > tables.SCHEMA_VERSION or version < min(STEPS):
        raise ForeignDatabase(
            f"{path} has schema version {version}; this program knows versions {min(STEPS)} to"
            f" {tables.SCHEMA_VERSION}. Use the version of the program that made the file"
        )
    return version


def _back_up(connection: Connection, path: Path, backup: Path) -> None:
    """Copy the file as it is, with everything that is committed, for those who may read it.

    The copy has its name once it is whole: what an interrupted migration left has another.
    """
    partial = backup.with_name(backup.name + ".partial")
    with reaching(partial):
        partial.unlink(missing_ok=True)
        mode = stat.S_IMODE(path.stat().st_mode)
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
        try:
            connection.exec_driver_sql("VACUUM INTO ?", (str(partial),))  # an empty file is filled
            connection.commit()
            partial.rename(backup)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


def _take_steps(connection: Connection, before: int) -> None:
    """Lead the file from its version to the newest, and give it the views that it lacks."""
    with connection.begin():
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        for version in range(before, tables.SCHEMA_VERSION):
            STEPS[version](connection)
        create_views(connection)
        connection.exec_driver_sql(f"PRAGMA user_version = {tables.SCHEMA_VERSION}")


def _keep_keys_of_turns(connection: Connection) -> None:
    """Version 1 forgot the idempotency keys of turns at a restart, and lacked some indexes."""
    connection.exec_driver_sql(
        "CREATE INDEX pending_requests_by_turn ON pending_requests (for_turn)"
    )
    for party in ("proposer", "counterparty"):
        connection.exec_driver_sql(
            f"CREATE INDEX information_by_{party} ON contracts ({party})"
            " WHERE contract_type = 'information_sale'"
        )
    connection.exec_driver_sql(
        "CREATE TABLE turn_keys ("
        " idempotency_key TEXT NOT NULL, turn INTEGER NOT NULL, PRIMARY KEY (idempotency_key)"
        ") WITHOUT ROWID"
    )


STEPS: Final[dict[int, Callable[[Connection], Any]]] = {1: _keep_keys_of_turns}
"""What leads from a version to the next."""
