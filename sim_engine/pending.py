"""The pending pool: actions that agents queue for the next turn.

They are stored with their own transaction, survive a restart, and leave the pool with the turn that
takes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection

from sim_engine.errors import KeyReused, NotFound, QueueFull
from sim_engine.intake import Pending, canonical_payload
from sim_engine.ledger import pool, rows
from sim_engine.ledger.seal import digest_rows
from sim_engine.ledger.store import making_sense_of
from sim_engine.rules.state import World
from sim_engine.types.actions import Action
from sim_engine.types.requests import ACTION_ADAPTER, QueueRequest

QUEUED_MAX: Final = 100
"""The most actions that one agent may have in the pool."""


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
        found = pool.waiting(self._connection)
        with making_sense_of("pending_actions"):
            self._waiting = [
                Pending(pending_id, world.agents[agent_id], _read_action(payload), payload)
                for pending_id, agent_id, payload in found
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
        stored = pool.add(
            self._connection,
            agent.agent_id,
            payloads,
            for_turn=world.turn + 1,
            request_hash=request_hash,
            key=idempotency_key,
        )
        self._waiting += [
            Pending(pending_id, agent, action, payload)
            for pending_id, action, payload in zip(
                stored.ids, request.actions, payloads, strict=True
            )
        ]
        return Queued(agent.agent_id, stored.ids, stored.for_turn, replayed=False)

    def _answered(self, agent_id: str, key: str, request_hash: str) -> Queued | None:
        answer = pool.find_answer(self._connection, agent_id, key)
        if answer is None:
            return None
        if answer.request_hash != request_hash:
            raise KeyReused("this idempotency key came with other actions before; use a new one")
        return Queued(agent_id, answer.ids, answer.for_turn, replayed=True)


def _read_action(payload: str) -> Action:
    """Read a stored action. Raises ValueError where it is none, or not as this module writes it."""
    value = rows.from_json(payload)
    action = ACTION_ADAPTER.validate_python(value)
    if canonical_payload(value) != payload:
        raise ValueError("not written as an engine writes it")
    return action
