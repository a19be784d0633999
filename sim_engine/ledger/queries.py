"""The reading side of the ledger: pages of history, as plain values for JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy import (
    Connection,
    RowMapping,
    Select,
    Table,
    func,
    literal,
    or_,
    select,
    tuple_,
    union,
)

from sim_engine.ledger import rows, tables
from sim_engine.rules.views import supply_view

BLOCK_TURN: Final = tables.place_of(tables.blocks.c.turn)
"""Its place in whole rows of ``blocks``."""

JSON_METRICS: Final = ("issued_by_reason", "destroyed_by_reason", "contracts_by_status")


def turn_answer(connection: Connection, turn: int) -> dict[str, Any] | None:
    """Rebuild the answer of a sealed turn from its rows; None if it is not sealed."""
    found = _rows(connection, select(tables.turns).where(tables.turns.c.turn == turn))
    if not found:
        return None
    actions = connection.execute(_of_turn(tables.actions, turn)).all()
    blocks = connection.execute(_of_turn(tables.blocks, turn)).all()
    return answer(found[0], actions, blocks)


def answer(turn: dict[str, Any], actions: Iterable[Any], blocks: Iterable[Any]) -> dict[str, Any]:
    """Write the answer of a turn from its row and from whole rows of its actions and blocks."""
    return {
        "turn": turn["turn"],
        "turn_hash": turn["turn_hash"],
        "receipts": _receipts(actions),
        "blocks": [_block_of_turn(block) for block in blocks],
        "billing": {
            "output_tokens": turn["output_tokens"],
            "commons": turn["commons"],
            "billed_tokens": turn["billed_tokens"],
            "fees": turn["inference_fees"],
            "dividends": [
                {"core_id": core_id, "owner": owner, "amount": amount}
                for core_id, owner, amount in rows.from_json(turn["dividends"])
            ],
        },
        "supply": supply_view(-turn["issuance"], turn["destroyed"]),
    }


def genesis(connection: Connection) -> tuple[str, str]:
    """Return the turn_hash of the genesis and the hash of its block."""
    turns, blocks = tables.turns.c, tables.blocks.c
    sealed = connection.execute(select(turns.turn_hash).where(turns.turn == 0))
    block = connection.execute(select(blocks.hash).where(blocks.turn == 0))
    return sealed.scalar_one(), block.scalar_one()


def block_view(row: Any) -> dict[str, Any]:
    """Show a block from its row."""
    return {**_block_of_turn(row), "turn": row[BLOCK_TURN]}


def speech(connection: Connection, turn: int) -> list[dict[str, Any]]:
    """List what was said in a turn, in the order of speaking."""
    log = tables.speech_log.c
    query = (
        select(log.agent_id, log.message, log.seq)
        .where(log.turn == turn)
        .order_by(log.turn, log.seq)
    )
    return _rows(connection, query)


def blocks(
    connection: Connection, *, from_height: int, status: str | None, after: int, limit: int
) -> list[dict[str, Any]]:
    """List blocks from a height on, in the order of making; ``after`` skips so many."""
    chain = tables.blocks
    query = select(chain).where(chain.c.height >= from_height)
    if status is not None:
        query = query.where(chain.c.status == status)
    query = query.order_by(chain.c.turn, chain.c.seq).limit(limit).offset(after)
    return [block_view(row) for row in connection.execute(query)]


def block(connection: Connection, block_hash: str) -> dict[str, Any] | None:
    """Return a block by its hash."""
    query = select(tables.blocks).where(tables.blocks.c.hash == block_hash)
    row = connection.execute(query).first()
    return None if row is None else block_view(row)


def contracts(
    connection: Connection,
    *,
    status: str | None,
    contract_type: str | None,
    agent: str | None,
    after: int,
    limit: int,
) -> Sequence[RowMapping]:
    """List whole rows of the contracts above the number ``after``, ascending."""
    c = tables.contracts.c
    query = select(tables.contracts).where(c.number > after)
    if status is not None:
        query = query.where(c.status == status)
    if contract_type is not None:
        query = query.where(c.contract_type == contract_type)
    if agent is not None:
        # Ids hold no quotation mark, so that a quoted one is found in a list of members only whole.
        # LIKE would not tell upper from lower case, as ids do.
        member = func.instr(c.members, f'"{agent}"') > 0
        query = query.where(or_(c.arbitrator == agent, member))
    return connection.execute(query.order_by(c.number).limit(limit)).mappings().all()


def information_sales(connection: Connection, agent: str) -> Sequence[RowMapping]:
    """List whole rows of the activated information sales in which the agent is a party."""
    c = tables.contracts.c
    # Written out, as SQLite does not choose a partial index for a value that it is told later.
    sale = c.contract_type == literal("information_sale", literal_execute=True)
    activated = select(c.number).where(sale, c.activated_turn.is_not(None))
    found = union(activated.where(c.proposer == agent), activated.where(c.counterparty == agent))
    query = select(tables.contracts).where(c.number.in_(found)).order_by(c.number)
    return connection.execute(query).mappings().all()


def entries(
    connection: Connection,
    *,
    account: str | None,
    turn: int | None,
    after: tuple[int, int] | None,
    limit: int,
) -> list[dict[str, Any]]:
    """List entries in the order of the journal, after a (turn, seq)."""
    e = tables.entries.c
    query = select(tables.entries)
    if turn is not None:
        query = query.where(e.turn == turn)
    if account is not None:
        query = query.where(or_(e.source == account, e.target == account))
    if after is not None:
        query = query.where(tuple_(e.turn, e.seq) > tuple_(*after))
    return _rows(connection, query.order_by(e.turn, e.seq).limit(limit))


def metrics(connection: Connection, *, after: int, limit: int) -> list[dict[str, Any]]:
    """List the measurements of the turns above ``after``, ascending."""
    m = tables.turn_metrics
    query = select(m).where(m.c.turn > after).order_by(m.c.turn).limit(limit)
    found = _rows(connection, query)
    for row in found:
        for name in JSON_METRICS:
            row[name] = rows.from_json(row[name])
    return found


def receipts_of(connection: Connection, turn: int, agent: str) -> list[dict[str, Any]]:
    """List an agent's receipts of a turn."""
    query = _of_turn(tables.actions, turn).where(tables.actions.c.agent_id == agent)
    return _receipts(connection.execute(query))


def request_of_turn(connection: Connection, turn: int) -> tuple[int, str] | None:
    """Return (turn, request hash) of a sealed turn; None for genesis, made by no such request."""
    t = tables.turns.c
    query = select(t.turn, t.request_hash).where(t.turn == turn, t.turn > 0)
    row = connection.execute(query).first()
    return None if row is None else (row.turn, row.request_hash)


def request_of_key(connection: Connection, idempotency_key: str) -> tuple[int, str] | None:
    """Return (turn, request hash) of the turn that was sealed under an idempotency key."""
    t = tables.turns.c
    key = tables.turn_keys.c
    query = select(t.turn, t.request_hash).join(tables.turn_keys, key.turn == t.turn)
    row = connection.execute(query.where(key.idempotency_key == idempotency_key)).first()
    return None if row is None else (row.turn, row.request_hash)


def _of_turn(table: Table, turn: int) -> Select[Any]:
    return select(table).where(table.c.turn == turn).order_by(table.c.turn, table.c.seq)


def _block_of_turn(row: Any) -> dict[str, Any]:
    block_hash, height, kind, parent_hash, producer, _, status, reward, _ = row
    return {
        "hash": block_hash,
        "kind": kind,
        "height": height,
        "parent_hash": parent_hash,
        "producer": producer,
        "status": status,
        "reward": reward,
    }


def _receipts(actions: Iterable[Any]) -> list[dict[str, Any]]:
    """Write receipts from whole rows of ``actions``, numbered for each agent from 0."""
    counts: dict[str, int] = {}
    receipts = []
    for _, _, agent_id, action_type, _, status, code, message, _, queued in actions:
        index = counts.get(agent_id, 0)
        counts[agent_id] = index + 1
        receipt = {"agent_id": agent_id, "index": index, "type": action_type, "status": status}
        if code is not None:
            receipt["code"] = code
            receipt["message"] = message
        if queued is not None:
            receipt["queued_id"] = queued
        receipts.append(receipt)
    return receipts


def _rows(connection: Connection, query: Select[Any]) -> list[dict[str, Any]]:
    # Names of columns are a subclass of str, which the JSON encoder does not take for keys.
    result = connection.execute(query)
    names = list(map(str, result.keys()))
    return [dict(zip(names, row, strict=True)) for row in result]
