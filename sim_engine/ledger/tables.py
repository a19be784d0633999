"""The schema of ``sim.db``, whose names are part of the contract with its readers.

History is keyed by turn and place in the turn, so that every write is an append and every read of a
turn is one range. There are no other indexes on it: one that leads with an agent would make each
turn several times as slow.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    CheckConstraint,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)

from sim_engine.ledger.views import create_views

SCHEMA_VERSION: Final = 2
"""Kept in ``PRAGMA user_version``; a file of another version is never changed silently."""

APPLICATION_ID: Final = 0x53494D45
"""Kept in ``PRAGMA application_id``: "SIME", so that a foreign SQLite file is refused."""

METADATA: Final = MetaData()


def _integers(*names: str) -> list[Column[int]]:
    return [Column(name, Integer, nullable=False) for name in names]


def _of_turn() -> list[Column[int]]:
    """Key a table of history by turn and place in the turn."""
    return [
        Column("turn", Integer, primary_key=True, autoincrement=False),
        Column("seq", Integer, primary_key=True, autoincrement=False),
    ]


config = Table(
    "config",
    METADATA,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
    sqlite_with_rowid=False,
)

agents = Table(
    "agents",
    METADATA,
    Column("agent_id", Text, nullable=False, unique=True),
    *_integers("balance", "staked", "burn_score", "study_level", "study_progress", "stake_since"),
    Column("unbonding", Text, nullable=False, comment="JSON [[amount, release_turn], …]"),
    Column("studied_turns", Text, nullable=False, comment="JSON [turn, …]"),
    *_integers(
        "suspended",
        "contracts_settled",
        "contracts_defaulted",
        "disputes_lost",
        "rulings_made",
        "rulings_missed",
        "blocks_won",
    ),
    Column("initial_balance", Integer, nullable=False),
    Column("position", Integer, primary_key=True, autoincrement=False, comment="place in roster"),
)

agent_keys = Table(
    "agent_keys",
    METADATA,
    Column("agent_id", Text, ForeignKey("agents.agent_id"), primary_key=True),
    Column("key_hash", LargeBinary, nullable=False, comment="SHA-256 of the agent's key"),
    sqlite_with_rowid=False,
)

cores = Table(
    "cores",
    METADATA,
    Column("core_id", Integer, primary_key=True, autoincrement=False),
    Column("owner", Text),
)

contracts = Table(
    "contracts",
    METADATA,
    Column("contract_id", Text, nullable=False, unique=True),
    *[
        Column(name, Text, nullable=False)
        for name in ("contract_type", "status", "proposer", "counterparty", "arbitrator")
    ],
    Column("settlement", Text, nullable=False),
    Column("terms", Text, nullable=False, comment="JSON object"),
    Column("members", Text, nullable=False, comment="JSON [agent_id, …] in roster order"),
    *_integers(
        "duration",
        "proposer_collateral",
        "counterparty_collateral",
        "arbitrator_collateral",
        "arbitrator_fee",
        "escrow",
        "proposed_turn",
    ),
    *[Column(name, Integer) for name in ("activated_turn", "due_turn", "ended_turn")],
    Column("signatures", Text, nullable=False, comment="JSON {agent_id: turn}"),
    Column("confirmations", Text, nullable=False, comment="JSON {agent_id: turn}"),
    Column("dispute", Text, comment="JSON {by, turn, reason}"),
    Column("ruling", Text, comment="JSON {ruling, turn, reason}"),
    Column("tally", Integer, nullable=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
)
Index("contracts_by_status", contracts.c.status)
# What an agent has bought is in its view every turn: without these, each would read all contracts.
for _party in (contracts.c.proposer, contracts.c.counterparty):
    Index(
        f"information_by_{_party.name}",
        _party,
        sqlite_where=contracts.c.contract_type == "information_sale",
    )

turns = Table(
    "turns",
    METADATA,
    Column("turn", Integer, primary_key=True, autoincrement=False),
    Column("turn_hash", Text, nullable=False),
    Column("request_hash", Text, nullable=False, comment="of the request that made the turn"),
    *_integers("output_tokens", "commons", "billed_tokens", "inference_fees"),
    Column("dividends", Text, nullable=False, comment="JSON [[core_id, owner, amount], …]"),
    *_integers("issuance", "destroyed", "fees", "cores"),
    Column("tip_hash", Text, nullable=False),
    Column("mine_difficulty", Integer, nullable=False),
    Column("last_contract", Integer, nullable=False),
    Column("contract_counts", Text, nullable=False, comment="JSON {status: contracts}"),
    Column("digests", Text, nullable=False, comment="JSON {part: SHA-256}, what turn_hash covers"),
)

turn_keys = Table(
    "turn_keys",
    METADATA,
    Column("idempotency_key", Text, primary_key=True),
    Column("turn", Integer, nullable=False),
    sqlite_with_rowid=False,
    comment="how requests for turns were named by their senders; says nothing about the world",
)

submissions = Table(
    "submissions",
    METADATA,
    *_of_turn(),
    Column("agent_id", Text, nullable=False),
    Column("actions", Integer, nullable=False, comment="how many, without queued ones"),
    sqlite_with_rowid=False,
)

actions = Table(
    "actions",
    METADATA,
    *_of_turn(),
    Column("agent_id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("payload", Text, nullable=False, comment="the action as submitted, JSON"),
    Column("status", Text, nullable=False),
    Column("code", Text),
    Column("message", Text),
    Column("fee", Integer, nullable=False),
    Column("queued", Integer, comment="its id in the pending pool, if it came from there"),
    sqlite_with_rowid=False,
)

inference = Table(
    "inference",
    METADATA,
    Column("turn", Integer, primary_key=True, autoincrement=False),
    Column("agent_id", Text, nullable=False),
    Column("model", Text, nullable=False),
    *_integers("prompt_tokens", "output_tokens", "billed_tokens", "fee", "duration_ms"),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)

entries = Table(
    "entries",
    METADATA,
    *_of_turn(),
    Column("source", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("amount", Integer, CheckConstraint("amount > 0"), nullable=False),
    Column("reason", Text, nullable=False),
    Column("reference", Text, nullable=False),
    sqlite_with_rowid=False,
)

blocks = Table(
    "blocks",
    METADATA,
    Column("hash", Text, nullable=False, unique=True),
    Column("height", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("parent_hash", Text, nullable=False),
    Column("producer", Text, nullable=False),
    Column("turn", Integer, primary_key=True, autoincrement=False),
    Column("status", Text, nullable=False),
    Column("reward", Integer, nullable=False),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)

speech_log = Table(
    "speech_log",
    METADATA,
    *_of_turn(),
    Column("agent_id", Text, nullable=False),
    Column("message", Text, nullable=False),
    sqlite_with_rowid=False,
)

turn_metrics = Table(
    "turn_metrics",
    METADATA,
    Column("turn", Integer, primary_key=True, autoincrement=False),
    *_integers("issued", "destroyed", "circulating", "issued_in_turn", "destroyed_in_turn"),
    Column("issued_by_reason", Text, nullable=False, comment="JSON {reason: tokens}"),
    Column("destroyed_by_reason", Text, nullable=False, comment="JSON {reason: tokens}"),
    *_integers("gini_bps", "top_core_bps", "debt", "debtors", "suspended", "fees", "moved"),
    Column("velocity_bps", Integer, nullable=False),
    *_integers("inference_fees", "output_tokens", "actions_applied", "actions_rejected"),
    *_integers("mine_blocks", "stake_blocks", "burn_blocks", "orphaned_blocks"),
    Column("contracts_by_status", Text, nullable=False, comment="JSON {status: contracts}"),
)

pending_actions = Table(
    "pending_actions",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("agent_id", Text, nullable=False),
    Column("payload", Text, nullable=False, comment="the action as submitted, JSON"),
    sqlite_autoincrement=True,
)

pending_requests = Table(
    "pending_requests",
    METADATA,
    Column("agent_id", Text, primary_key=True),
    Column("idempotency_key", Text, primary_key=True),
    Column("request_hash", Text, nullable=False),
    Column("ids", Text, nullable=False, comment="JSON [id, …], the answer that was given"),
    Column("for_turn", Integer, nullable=False, comment="the turn that was next"),
    sqlite_with_rowid=False,
)
Index("pending_requests_by_turn", pending_requests.c.for_turn)


def create_schema(connection: Connection) -> None:
    """Create every table and view in an empty file."""
    METADATA.create_all(connection)
    create_views(connection)
    connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")


def place_of(column: Column[Any]) -> int:
    """Return the place of a column in whole rows of its table."""
    return column.table.columns.keys().index(column.name)


def itself(name: str) -> str:
    """Write a table for a FROM clause, so that SQLite reads the table and no index beside it.

    An index that was tampered with can hide rows.
    """
    if METADATA.tables[name].dialect_options["sqlite"]["with_rowid"]:
        return f'"{name}" NOT INDEXED'
    # To SQLite such a table is the index of its key, and NOT INDEXED leaves it the choice.
    return f'"{name}" INDEXED BY "sqlite_autoindex_{name}_1"'


def insert_into(table: Table, *, rows: int = 1) -> str:
    """Write the INSERT statement for whole rows of a table, in the order of its columns.

    It takes the values of so many rows one after the other. Tuples through the driver are several
    times as fast as rows through SQLAlchemy's ``insert()``.
    """
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    row = f"({', '.join('?' for _ in table.columns)})"
    return f'INSERT INTO "{table.name}" ({names}) VALUES {", ".join([row] * rows)}'


def replace_in(table: Table) -> str:
    """Write the statement that puts a whole row in the place of the one with its key, if any."""
    return insert_into(table).replace("INSERT", "INSERT OR REPLACE", 1)


def update_by_key(table: Table, *, unchanged: frozenset[str] = frozenset()) -> str:
    """Write the UPDATE statement for a table whose last column is its key.

    Takes the same tuples as ``insert_into`` less the columns in ``unchanged``.
    """
    *changing, key = (column.name for column in table.columns if column.name not in unchanged)
    assignments = ", ".join(f'"{name}" = ?' for name in changing)
    return f'UPDATE "{table.name}" SET {assignments} WHERE "{key}" = ?'
