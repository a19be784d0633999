"""The pending pool: actions that agents queue for the next turn.

They are stored with their own transaction, survive a restart, and leave the pool with the turn that
takes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, delete, insert, select

from sim_engine.errors import KeyReused, NotFound, QueueFull
from sim_engine.intake import Pending, canonical_payload
from sim_engine.ledger import rows, tables
from sim_engine.ledger.seal import digest_rows
from sim_engine.ledger.store import writing
from sim_engine.rules.state import World
from sim_engine.types.requests import ACTION_ADAPTER, QueueRequest

QUEUED_MAX: Final = 100
"""The most actions that one agent may have in the pool."""

KEYS_KEPT_TURNS: Final = 100
"""For how many turns an idempotency key is remembered."""


@dataclass(slots=True)
class Queued:
    """What became of a queueing request."""

    agent_id: str
    ids: list[int]
    for_turn: int
    """The turn that takes them, or took them."""
    replayed: bool


class PendingPool:
    """The pool of one world, in memory and in its ledger."""

    def __init__(self, connection: Connection) -> None:
        """Keep the pool in the ledger behind the connection."""
        self._connection = connection
        self._waiting: list[Pending] = []

    @property
    def waiting(self) -> list[Pending]:
        """The actions that wait, in the order of queueing."""
        return self._waiting

    def load(self, world: World) -> None:
        """Read the pool of a world."""
        query = select(tables.pending_actions).order_by(tables.pending_actions.c.id)
        with self._connection.begin():
            found = self._connection.execute(query).all()
        self._waiting = [
            Pending(
                row.id,
                world.agents[row.agent_id],
                ACTION_ADAPTER.validate_python(rows.from_json(row.payload)),
                row.payload,
            )
            for row in found
        ]

    def clear(self) -> None:
        """Forget what a committed turn has taken: all of it."""
        self._waiting = []

    def queue(
        self, world: World, request: QueueRequest, value: Any, idempotency_key: str | None
    ) -> Queued:
        """Store an agent's actions for the next turn.

        ``value`` is the plain JSON of the request. Raises NotFound for an unknown agent, QueueFull,
        and KeyReused when the key came with another body before.
        """
        agent = world.agents.get(request.agent_id)
        if agent is None:
            raise NotFound(
                "unknown_agent",
                f"there is no agent '{request.agent_id}'; GET /state lists the roster",
            )
        payloads = [canonical_payload(action) for action in value["actions"]]
        request_hash = digest_rows([tuple(payloads)])
        if idempotency_key is not None:
            answered = self._answered(agent.agent_id, idempotency_key, request_hash)
            if answered is not None:
                return answered
        queued = sum(waiting.agent is agent for waiting in self._waiting)
        if queued + len(payloads) > QUEUED_MAX:
            raise QueueFull(
                f"{agent.agent_id} has {queued} queued actions, the limit is {QUEUED_MAX};"
                " wait for the next turn, which takes them"
            )
        for_turn = world.turn + 1
        with writing(self._connection):
            ids = [self._store(agent.agent_id, payload) for payload in payloads]
            if idempotency_key is not None:
                self._remember(agent.agent_id, idempotency_key, request_hash, ids, for_turn)
        self._waiting += [
            Pending(pending_id, agent, action, payload)
            for pending_id, action, payload in zip(ids, request.actions, payloads, strict=True)
        ]
        return Queued(agent.agent_id, ids, for_turn, replayed=False)

    def _answered(self, agent_id: str, key: str, request_hash: str) -> Queued | None:
        requests = tables.pending_requests
        query = select(requests).where(
            requests.c.agent_id == agent_id, requests.c.idempotency_key == key
        )
        with self._connection.begin():
            row = self._connection.execute(query).first()
        if row is None:
            return None
        if row.request_hash != request_hash:
            raise KeyReused("this idempotency key came with other actions before; use a new one")
        return Queued(agent_id, rows.from_json(row.ids), row.for_turn, replayed=True)

    def _store(self, agent_id: str, payload: str) -> int:
        statement = insert(tables.pending_actions).values(agent_id=agent_id, payload=payload)
        key = self._connection.execute(statement).inserted_primary_key
        assert key is not None
        return int(key[0])

    def _remember(
        self, agent_id: str, key: str, request_hash: str, ids: list[int], for_turn: int
    ) -> None:
        """Keep the answer under its key, and forget keys that are too old to come again."""
        requests = tables.pending_requests
        self._connection.execute(
            delete(requests).where(requests.c.for_turn < for_turn - KEYS_KEPT_TURNS)
        )
        self._connection.execute(
            insert(requests).values(
                agent_id=agent_id,
                idempotency_key=key,
                request_hash=request_hash,
                ids=rows.in_order(ids),
                for_turn=for_turn,
            )
        )
