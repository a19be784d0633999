"""The writing side of the ledger: load a world, commit a turn in one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, Final

from pydantic import NonNegativeInt, TypeAdapter
from sqlalchemy import Connection, RowMapping, Table, func, select

from sim_engine.ledger import rows, tables
from sim_engine.ledger.file import (
    LedgerUnavailable,
    check_file,
    check_protocol,
    check_structure,
    files_of,
    identity,
    lock_ledger,
    open_database,
    reaching,
)
from sim_engine.ledger.journal import SealedTurn
from sim_engine.ledger.rows import Row
from sim_engine.rules.invariants import check_conservation
from sim_engine.rules.rejections import InvariantViolation
from sim_engine.rules.state import OPEN_STATUSES, Agent, Block, Contract, Core, World
from sim_engine.types.config import Config
from sim_engine.types.fields import ContractStatus

GROUP_ROWS: Final = 50
"""How many rows one statement inserts, where there are as many: one for each takes a third more."""

_COUNTS: Final = TypeAdapter(dict[ContractStatus, NonNegativeInt])
"""Contracts by status, as a column of ``turns`` holds them."""

DIGEST_BYTES: Final = 32
"""Length of a SHA-256 digest."""

_TYPES: Final = {
    name: [
        (column.type.python_type, type(None)) if column.nullable else (column.type.python_type,)
        for column in table.columns
    ]
    for name, table in tables.METADATA.tables.items()
}
"""What each column of a table may hold."""

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
                self._files = {file: identity(file) for file in files_of(path)}
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
        """Write a new world in one transaction, as ``commit`` writes a turn."""
        self.require_files()
        with writing(self.connection):
            for name, appended in genesis.appended.items():
                self._append(name, appended)
            self._append("agents", genesis.agents)
            self._write(_INSERT["cores"], genesis.cores)
            self._write(_INSERT["agent_keys"], list(key_hashes))

    def commit(self, sealed: SealedTurn, idempotency_key: str | None = None) -> None:
        """Write everything that a turn appended and changed in one transaction.

        When this returns the turn is on the disk. When it raises, none of it is. Raises
        LedgerUnavailable if one of its files is not there any more: what SQLite wrote into a file
        that was deleted would be gone with this process.
        """
        self.require_files()  # here too, as processing a large turn takes a while
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

    def require_files(self) -> None:
        """Raise LedgerUnavailable if the paths lead no more to the files that are open."""
        for file, opened in self._files.items():
            if identity(file) != opened:
                remedy = "put it back" if file == self.path else "start this engine again"
                raise LedgerUnavailable(f"{file} was deleted or replaced; {remedy}")

    def load(self) -> World:
        """Read the newest state of the world.

        Raises InvariantViolation if the file's numbers do not add up, or its rows make no sense.
        """
        with self.connection.begin():
            stored = self.config()
            with making_sense_of("config"):
                seed = stored["seed"]
                config = Config(**{name: int(stored[name]) for name in Config.__slots__})
            last = self._last_turn()
            with making_sense_of("turns"):
                counts = _COUNTS.validate_json(last["contract_counts"], strict=True)
            world = World(
                seed=seed,
                config=config,
                roster=self._agents(),
                cores=[],
                tip=self._block(last["tip_hash"]),
                mine_difficulty=last["mine_difficulty"],
                find_ended=self.find_contract,
                turn=last["turn"],
                turn_hash=last["turn_hash"],
                last_contract=last["last_contract"],
                contract_counts=dict(counts.items()),
            )
            for name in ("issuance", "destroyed", "fees", "cores"):
                getattr(world.books, name).balance = last[name]
            world.books.open_turn(world.turn)
            self._agents_by_id = world.agents
            with making_sense_of("cores"):
                self._load_cores(world)
            with making_sense_of("contracts"):
                self._load_contracts(world)
        check_conservation(world)
        return world

    def agent_keys(self) -> list[tuple[str, bytes]]:
        """Read (agent id, SHA-256 of its key) of every agent that has a key.

        Raises InvariantViolation for what is no hash.
        """
        with self.reading() as connection:
            found = connection.execute(select(tables.agent_keys)).all()
        with making_sense_of("agent_keys"):
            return [(row.agent_id, _digest(row.key_hash)) for row in found]

    def config(self) -> dict[str, str]:
        """Read the config of the world with its seed, as text."""
        found = self.connection.execute(select(tables.config))
        return {row.key: row.value for row in found}

    def find_contract(self, number: int) -> Contract | None:
        """Read a committed contract by number, among the agents of the loaded world.

        Raises InvariantViolation if its row makes no sense.
        """
        query = select(tables.contracts).where(tables.contracts.c.number == number)
        with self.reading() as connection:
            row = connection.execute(query).mappings().first()
        with making_sense_of("contracts"):
            return (
                None
                if row is None
                else rows.read_contract(_typed(tables.contracts, row), self._agents_by_id)
            )

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
        found = self.connection.execute(query).mappings().all()
        with making_sense_of("agents"):
            return [rows.read_agent(_typed(tables.agents, row)) for row in found]

    def _last_turn(self) -> RowMapping:
        query = select(tables.turns).order_by(tables.turns.c.turn.desc()).limit(1)
        row = self.connection.execute(query).mappings().one()
        with making_sense_of("turns"):
            return _typed(tables.turns, row)

    def _block(self, block_hash: str) -> Block:
        query = select(tables.blocks).where(tables.blocks.c.hash == block_hash)
        row = self.connection.execute(query).mappings().one()
        with making_sense_of("blocks"):
            return rows.read_block(_typed(tables.blocks, row))

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
            world.admit(rows.read_contract(_typed(tables.contracts, row), world.agents))

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
def making_sense_of(table: str) -> Iterator[None]:
    """Say of rows that the block can not read that no engine has written them.

    Raises InvariantViolation, which names the table alone: what the rows hold may be private.
    """
    try:
        yield
    except (LookupError, TypeError, ValueError) as error:
        raise InvariantViolation(f"rows of {table} make no sense") from error


def _typed(table: Table, row: RowMapping) -> RowMapping:
    """Return a row whose values are of their columns' types. Raises TypeError: 1.0 is not 1."""
    types = _TYPES[table.name]
    if all(type(value) in allowed for value, allowed in zip(row.values(), types, strict=True)):
        return row
    raise TypeError("a value of another type than its column's")


def _digest(stored: Any) -> bytes:
    """Return a SHA-256 digest. Raises TypeError for anything else."""
    if not isinstance(stored, bytes) or len(stored) != DIGEST_BYTES:
        raise TypeError("no digest")
    return stored


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
        config = tables.config.c
        query = select(config.value).where(config.key == "protocol_version")
        check_protocol(connection.execute(query).scalar_one_or_none(), path)
