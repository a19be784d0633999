"""The rows of the pending pool: actions that wait for a turn, and what their agents were answered.

A turn that takes actions out of the pool deletes their rows itself, when it is committed
(``Store.commit``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, delete, insert, select

from sim_engine.ledger import rows, tables
from sim_engine.ledger.store import making_sense_of, writing

KEYS_KEPT_TURNS: Final = 100
"""For how many turns an idempotency key is remembered."""


@dataclass(slots=True)
class Answer:
    """What a request to queue was answered, to be given again to the same request."""

    request_hash: str
    ids: list[int]
    for_turn: int
    """The turn that was next."""


def waiting(connection: Connection) -> list[tuple[int, str, str]]:
    """Read what waits, in the order of queueing: id, agent id, payload (JSON)."""
    query = select(tables.pending_actions).order_by(tables.pending_actions.c.id)
    with connection.begin():
        found = connection.execute(query).all()
    return [(row.id, row.agent_id, row.payload) for row in found]


def find_answer(connection: Connection, agent_id: str, key: str) -> Answer | None:
    """Read what an agent was answered under an idempotency key.

    Raises InvariantViolation if its row makes no sense.
    """
    requests = tables.pending_requests
    query = select(requests).where(
        requests.c.agent_id == agent_id, requests.c.idempotency_key == key
    )
    with connection.begin():
        row = connection.execute(query).first()
    if row is None:
        return None
    with making_sense_of("pending_requests"):
        return Answer(row.request_hash, rows.from_json(row.ids), row.for_turn)


def add(
    connection: Connection,
    agent_id: str,
    payloads: Sequence[str],
    *,
    for_turn: int,
    request_hash: str,
    key: str | None,
) -> Answer:
    """Store an agent's actions, with the answer if there is a key, in one transaction."""
    with writing(connection):
        ids = [_store(connection, agent_id, payload) for payload in payloads]
        answer = Answer(request_hash, ids, for_turn)
        if key is not None:
            _remember(connection, agent_id, key, answer)
    return answer


def _store(connection: Connection, agent_id: str, payload: str) -> int:
    statement = insert(tables.pending_actions).values(agent_id=agent_id, payload=payload)
    key = connection.execute(statement).inserted_primary_key
    assert key is not None
    return int(key[0])


def _remember(connection: Connection, agent_id: str, key: str, answer: Answer) -> None:
    """Keep an answer under its key, and forget keys that are too old to come again."""
    requests = tables.pending_requests
    oldest = answer.for_turn - KEYS_KEPT_TURNS
    connection.execute(delete(requests).where(requests.c.for_turn < oldest))
    connection.execute(
        insert(requests).values(
            agent_id=agent_id,
            idempotency_key=key,
            request_hash=answer.request_hash,
            ids=rows.in_order(answer.ids),
            for_turn=answer.for_turn,
        )
    )
