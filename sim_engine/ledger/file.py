"""The file of a ledger: who may open it, whether it is one, and what is in the way of using it."""

from __future__ import annotations

import fcntl
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

from sqlalchemy import Connection, create_engine, event
from sqlalchemy import Engine as Database
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from sim_engine import PROTOCOL_VERSION
from sim_engine.ledger import tables
from sim_engine.ledger.structure import find_change

BUSY_TIMEOUT_S: Final = 5
"""How long a commit waits for another process that writes to the file, in seconds."""

MOUNTS: Final = Path("/proc/self/mountinfo")
"""Where Linux lists what is mounted in the process's view of the files."""

SQLITE_FORMAT: Final = b"SQLite format 3\0"
"""How every SQLite file begins; an empty one may become one."""


class DatabaseInUse(Exception):
    """Another engine has the file open."""


class ForeignDatabase(Exception):
    """The file is no ledger of this program, or one of another schema version."""


class DamagedLedger(ForeignDatabase):
    """SQLite can not make sense of the file; ``reason`` is what it says."""

    def __init__(self, path: Path, reason: BaseException | None) -> None:
        """Say what to do about it."""
        super().__init__(f"{path} is damaged ({reason}); `sim-engine verify {path}` says where")
        self.reason = str(reason)


class LedgerUnavailable(Exception):
    """The machine keeps a ledger from being used: its rights, its disk, another program."""


_OF_THE_MACHINE: Final = frozenset(
    {
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_AUTH,
    }
)


def _is_of_the_machine(fault: BaseException | None) -> bool:
    """Tell whether a fault of SQLite's says nothing about the content of the file."""
    code: int = getattr(fault, "sqlite_errorcode", sqlite3.SQLITE_OK)
    return code & 0xFF in _OF_THE_MACHINE  # the rest of the code says more exactly which


def what_is_wrong(failure: Exception) -> str:
    """Say why a ledger can not be used, without a word of what is in it."""
    fault = failure.orig if isinstance(failure, DBAPIError) else failure
    # So the driver puts it, with the text.
    return "a text is no UTF-8" if str(fault).startswith("Could not decode") else str(fault)


@contextmanager
def reaching(path: Path) -> Iterator[None]:
    """Say of a file that the block can not reach what is in its way. Raises LedgerUnavailable."""
    try:
        yield
    except OSError as error:
        raise LedgerUnavailable(
            f"{path} can not be used ({error.strerror}); mend that, or name another with DB_PATH"
        ) from error


@contextmanager
def using(path: Path) -> Iterator[None]:
    """Say of a ledger that the block can not use what is in its way.

    Raises LedgerUnavailable for what the machine refuses, DamagedLedger for a damaged file.
    """
    try:
        yield
    except (sqlite3.DatabaseError, DBAPIError) as error:
        fault = error.orig if isinstance(error, DBAPIError) else error
        if _is_of_the_machine(fault):
            raise LedgerUnavailable(f"{path} can not be used now: {fault}") from error
        raise DamagedLedger(path, fault) from error
    except UnicodeDecodeError as error:
        # So does the driver put it when SQLite tells of a damage and quotes what is there.
        raise DamagedLedger(path, error) from error


def open_database(path: Path, *, read_only: bool = False) -> Database:
    """Make the SQLAlchemy engine of a ledger file. Raises ForeignDatabase for no SQLite file."""
    _check_format(path)
    mode = "ro" if read_only else "rwc"
    if read_only and _is_at_rest(path):
        mode += "&immutable=1"
    uri = f"{path.resolve().as_uri()}?mode={mode}"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S, check_same_thread=False)

    # Not by a URL of SQLAlchemy's, which would take a name with a question mark apart.
    database = create_engine("sqlite+pysqlite://", creator=connect, poolclass=QueuePool)

    @event.listens_for(database, "connect")
    def configure(connection: Any, _record: Any) -> None:
        if not read_only:
            _leave_foreign_alone(connection, path)
            connection.execute("PRAGMA journal_mode = WAL")
            # FULL: a commit that returned survives a loss of power, not only of the process.
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")

    return database


def _check_format(path: Path) -> None:
    """Look at the first bytes of a file: SQLite itself would fail much later and name nothing."""
    if path.is_file():
        with reaching(path), path.open("rb") as file:
            start = file.read(len(SQLITE_FORMAT))
        if start not in (b"", SQLITE_FORMAT):
            raise ForeignDatabase(f"{path} is no SQLite file; name another with DB_PATH")
    elif path.exists():
        raise ForeignDatabase(f"{path} is no file; name another with DB_PATH")


def _is_at_rest(path: Path) -> bool:
    """Tell whether nobody can be writing to a file: it lies where this process can not write.

    SQLite wants to make files beside the one it reads. Without them it must be told that it may.
    """
    real = path.resolve()
    log = real.with_name(real.name + "-wal")
    return not os.access(real.parent, os.W_OK) and not log.exists()


def _leave_foreign_alone(connection: Any, path: Path) -> None:
    """Look at a file before a pragma would change it. Raises ForeignDatabase."""
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (found,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if found and application_id != tables.APPLICATION_ID:
        raise ForeignDatabase(
            f"{path} is a SQLite file of another program; name a new file with DB_PATH"
        )


def check_file(connection: Connection, path: Path) -> None:
    """Make sure that a file is a ledger of this schema version. Raises ForeignDatabase."""
    application_id = connection.exec_driver_sql("PRAGMA application_id").scalar_one()
    version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
    if application_id != tables.APPLICATION_ID:
        raise ForeignDatabase(
            f"{path} is a SQLite file of another program; name a new file with DB_PATH"
        )
    if version != tables.SCHEMA_VERSION:
        raise ForeignDatabase(
            f"{path} has schema version {version}, this engine writes {tables.SCHEMA_VERSION};"
            f" run `sim-engine migrate {path}` or use the engine that made the file"
        )


def check_structure(connection: Connection, path: Path) -> None:
    """Make sure that the tables are as an engine made them. Raises ForeignDatabase."""
    change = find_change(lambda statement: connection.exec_driver_sql(statement).all())
    if change is not None:
        raise ForeignDatabase(f"{path} was changed: {change}; no engine can go on with it")


def check_protocol(stored: object, path: Path) -> None:
    """Make sure that a world is one of these rules. Raises ForeignDatabase.

    ``stored`` is the protocol version in its config, None for none.
    """
    if stored not in (None, str(PROTOCOL_VERSION)):
        raise ForeignDatabase(
            f"{path} holds a world of version {str(stored)[:20]} of the rules, this engine plays"
            f" version {PROTOCOL_VERSION}; use the engine that made the world"
        )


def lock_ledger(path: Path) -> IO[str]:
    """Take the lock that one program holds on a ledger while it may write to it.

    It is a file of its own: closing another handle of the database itself would drop SQLite's own
    locks. It lies beside the file itself, wherever a link to that may be. Raises DatabaseInUse,
    ForeignDatabase for a file that could be open under another path, and LedgerUnavailable.
    """
    real = path.resolve()
    with reaching(path):
        if real.is_file() and real.stat().st_nlink > 1:
            raise ForeignDatabase(
                f"{path} has several names (hard links), and each could be open in an engine;"
                " copy it to a file of its own"
            )
        if real in _mount_points():
            raise ForeignDatabase(
                f"{path} is mounted by itself, without what SQLite keeps beside it; mount the"
                " directory that it is in"
            )
        lock_file = lock_of(real).open("a+", encoding="ascii")
        try:
            fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock_file.seek(0)
            holder = lock_file.read().strip() or "unknown"
            lock_file.close()
            raise DatabaseInUse(
                f"{path} is open in another engine (process {holder}); stop that one first"
                " or name another file with DB_PATH"
            ) from None
        lock_file.truncate(0)
        lock_file.write(f"{os.getpid()}\n")
        lock_file.flush()
    return lock_file


def files_of(path: Path) -> list[Path]:
    """List what an open ledger consists of: itself, SQLite's log and the index to it, the lock."""
    real = path.resolve()
    beside = [real.with_name(real.name + end) for end in ("-wal", "-shm")]
    return [path, *beside, lock_of(real)]


def lock_of(real: Path) -> Path:
    """Return the path of a ledger's lock."""
    return real.with_name(real.name + ".lock")


def identity(path: Path) -> tuple[int, int] | None:
    """Tell which file a path leads to; None for none."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def _mount_points() -> set[Path]:
    """List the paths at which something is mounted, as Linux tells them; elsewhere none."""
    if not MOUNTS.exists():
        return set()
    # Spaces and the like are written as the octal codes of their bytes.
    quoted = [line.split(b" ")[4] for line in MOUNTS.read_bytes().splitlines()]
    names = [re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8)]), q) for q in quoted]
    return {Path(os.fsdecode(name)) for name in names}
