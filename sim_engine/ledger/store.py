"""The writing side of the ledger: open a file, load its world, commit a turn in one transaction."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import IO, Any, Final

from sqlalchemy import Connection, create_engine, event, func, select
from sqlalchemy import Engine as Database
from sqlalchemy.exc import DBAPIError

from sim_engine.ledger import rows, tables
from sim_engine.ledger.journal import SealedTurn
from sim_engine.ledger.rows import Row
from sim_engine.ledger.structure import find_change
from sim_engine.rules.invariants import check_conservation
from sim_engine.rules.state import OPEN_STATUSES, Agent, Block, Contract, Core, World
from sim_engine.types.config import Config

BUSY_TIMEOUT_S: Final = 5
"""How long a commit waits for another process that writes to the file, in seconds."""

GROUP_ROWS: Final = 50
"""How many rows one statement inserts, where there are as many: one for each takes a third more."""

SQLITE_FORMAT: Final = b"SQLite format 3\0"
"""How every SQLite file begins; an empty one may become one."""

_UPDATE_AGENT: Final = tables.update_by_key(
    tables.agents, unchanged=frozenset({"agent_id", "initial_balance"})
)
_REPLACE_CORE: Final = tables.replace_in(tables.cores)
_REPLACE_CONTRACT: Final = tables.replace_in(tables.contracts)
_INSERT: Final = {name: tables.insert_into(table) for name, table in tables.METADATA.tables.items()}
_INSERT_GROUP: Final = {
    name: tables.insert_into(table, rows=GROUP_ROWS)
    for name, table in tables.METADATA.tables.items()
}


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


class Store:
    """One open ``sim.db``, for one thread at a time: the engine's lock sees to that."""

    def __init__(self, path: Path) -> None:
        """Open the file, creating it if it is missing.

        Raises DatabaseInUse if another engine has it open, ForeignDatabase if it is not ours to
        write, LedgerUnavailable if the machine does not let it be written.
        """
        self.path = path
        self._lock_file = lock_ledger(path)
        try:
            with reaching(path):
                self._database = open_database(path)
                self.connection = self._database.connect()
                with self.connection.begin():
                    _prepare(self.connection, path)
                self._identity = _identity(path)
        except BaseException:
            self._lock_file.close()
            raise

    def close(self) -> None:
        """Close the file and let others open it."""
        self.connection.close()
        self._database.dispose()
        self._lock_file.close()

    def has_world(self) -> bool:
        """Tell whether a world was created in this file."""
        with self.connection.begin():
            query = select(func.count()).select_from(tables.turns)
            return bool(self.connection.execute(query).scalar_one())

    def create(self, genesis: SealedTurn, key_hashes: Iterable[Row]) -> None:
        """Write a new world in one transaction."""
        with writing(self.connection):
            for name, appended in genesis.appended.items():
                self._append(name, appended)
            self._append("agents", genesis.agents)
            self._write(_INSERT["cores"], genesis.cores)
            self._write(_INSERT["agent_keys"], list(key_hashes))

    def commit(self, sealed: SealedTurn, idempotency_key: str | None = None) -> None:
        """Write everything that a turn appended and changed in one transaction.

        When this returns the turn is on the disk. When it raises, none of it is. Raises
        LedgerUnavailable if the file is not there any more: what SQLite wrote into a file that was
        deleted would be gone with this process.
        """
        self.require_file()
        with writing(self.connection):
            for name, appended in sealed.appended.items():
                self._append(name, appended)
            self._write(_REPLACE_CONTRACT, sealed.contracts)
            self._write(_UPDATE_AGENT, sealed.agents)
            self._write(_REPLACE_CORE, sealed.cores)
            if idempotency_key is not None:
                self._write(_INSERT["turn_keys"], [(idempotency_key, sealed.turn)])
            taken = [(pending_id,) for pending_id in sealed.taken]
            self._write("DELETE FROM pending_actions WHERE id = ?", taken)

    def require_file(self) -> None:
        """Raise LedgerUnavailable if the path leads no more to the file that is open."""
        if _identity(self.path) != self._identity:
            raise LedgerUnavailable(f"{self.path} was deleted or replaced; put it back")

    def load(self) -> World:
        """Read the newest state of the world.

        Raises InvariantViolation if the file's numbers do not add up.
        """
        with self.connection.begin():
            config = self.config()
            agents = self._agents()
            last = self._last_turn()
            world = World(
                seed=config.pop("seed"),
                config=Config(**{name: int(config[name]) for name in Config.__slots__}),
                roster=agents,
                cores=[],
                tip=self._block(last["tip_hash"]),
                mine_difficulty=last["mine_difficulty"],
                find_ended=self.find_contract,
                turn=last["turn"],
                turn_hash=last["turn_hash"],
                last_contract=last["last_contract"],
                contract_counts=rows.from_json(last["contract_counts"]),
            )
            for name in ("issuance", "destroyed", "fees", "cores"):
                getattr(world.books, name).balance = last[name]
            world.books.open_turn(world.turn)
            self._agents_by_id = world.agents
            self._load_cores(world)
            self._load_contracts(world)
        check_conservation(world)
        return world

    def agent_keys(self) -> list[tuple[str, bytes]]:
        """Read (agent id, SHA-256 of its key) of every agent that has a key."""
        with self.reading() as connection:
            found = connection.execute(select(tables.agent_keys)).all()
        return [(row.agent_id, row.key_hash) for row in found]

    def config(self) -> dict[str, str]:
        """Read the config of the world with its seed, as text."""
        found = self.connection.execute(select(tables.config))
        return {row.key: row.value for row in found}

    def find_contract(self, number: int) -> Contract | None:
        """Read a committed contract by number, among the agents of the loaded world."""
        query = select(tables.contracts).where(tables.contracts.c.number == number)
        with self.reading() as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else rows.read_contract(row, self._agents_by_id)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Read inside the transaction in hand, or in one of its own."""
        if self.connection.in_transaction():
            yield self.connection
        else:
            with self.connection.begin():
                yield self.connection

    def _agents(self) -> list[Agent]:
        query = select(tables.agents).order_by(tables.agents.c.position)
        return [rows.read_agent(row) for row in self.connection.execute(query).mappings()]

    def _last_turn(self) -> Any:
        query = select(tables.turns).order_by(tables.turns.c.turn.desc()).limit(1)
        return self.connection.execute(query).mappings().one()

    def _block(self, block_hash: str) -> Block:
        query = select(tables.blocks).where(tables.blocks.c.hash == block_hash)
        return rows.read_block(self.connection.execute(query).mappings().one())

    def _load_cores(self, world: World) -> None:
        for row in self.connection.execute(select(tables.cores).order_by("core_id")):
            owner = None if row.owner is None else world.agents[row.owner]
            world.cores.append(Core(row.core_id, owner))

    def _load_contracts(self, world: World) -> None:
        contracts = tables.contracts
        query = (
            select(contracts)
            .where(contracts.c.status.in_(OPEN_STATUSES))
            .order_by(contracts.c.number)
        )
        for row in self.connection.execute(query).mappings():
            world.admit(rows.read_contract(row, world.agents))

    def _append(self, name: str, appended: list[Row]) -> None:
        """Insert rows, in groups as far as they go."""
        grouped = len(appended) // GROUP_ROWS * GROUP_ROWS
        groups = [
            tuple(chain.from_iterable(appended[start : start + GROUP_ROWS]))
            for start in range(0, grouped, GROUP_ROWS)
        ]
        self._write(_INSERT_GROUP[name], groups)
        self._write(_INSERT[name], appended[grouped:])

    def _write(self, statement: str, parameters: list[Row]) -> None:
        if parameters:
            self.connection.exec_driver_sql(statement, parameters)


@contextmanager
def writing(connection: Connection) -> Iterator[None]:
    """Commit what the block writes, or roll all of it back.

    That holds for a COMMIT that fails as well: SQLAlchemy takes such a transaction for ended, while
    SQLite may have it open, and whatever is read or committed next would have it in it.
    """
    driver = connection.connection
    try:
        with connection.begin():
            yield
    except BaseException:
        driver.rollback()
        raise


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
    # The path goes into a URI, in which these characters would mean something else.
    quoted = str(path.resolve()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    database = create_engine(
        f"sqlite+pysqlite:///file:{quoted}?mode={mode}&uri=true",
        connect_args={"check_same_thread": False, "timeout": BUSY_TIMEOUT_S},
    )

    @event.listens_for(database, "connect")
    def configure(connection: Any, _record: Any) -> None:
        if not read_only:
            _leave_foreign_alone(connection, path)
            connection.execute("PRAGMA journal_mode = WAL")
            # FULL: a commit that returned survives a loss of power, not only of the process.
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")

    return database


def _prepare(connection: Connection, path: Path) -> None:
    """Create the schema in an empty file, or make sure that the file is ours."""
    found = connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one()
    if found == 0:
        # The driver would commit each statement, and a crash could leave half a schema.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        tables.create_schema(connection)
    else:
        check_file(connection, path)
        check_structure(connection, path)


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


def _identity(path: Path) -> tuple[int, int] | None:
    """Tell which file a path leads to; None for none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


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


def lock_ledger(path: Path) -> IO[str]:
    """Take the lock that one program holds on a ledger while it may write to it.

    It is a file of its own: closing another handle of the database itself would drop SQLite's own
    locks. It lies beside the file itself, wherever a link to that may be. Raises DatabaseInUse,
    ForeignDatabase for a file of several names, and LedgerUnavailable.
    """
    real = path.resolve()
    with reaching(path):
        if real.is_file() and real.stat().st_nlink > 1:
            raise ForeignDatabase(
                f"{path} has several names (hard links), and each could be open in an engine;"
                " copy it to a file of its own"
            )
        lock_file = real.with_name(real.name + ".lock").open("a+", encoding="ascii")
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
