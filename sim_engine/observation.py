"""The reading half of the engine: every answer is of one sealed turn, whole.

Reads take the lock that a turn takes, so that none sees half of a turn; only what was made ready
since the last seal is given out without. Answers come as the bytes of their JSON: building them
with a ready-made encoder is what makes a large world readable in milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any, Final

import orjson
from sqlalchemy import Connection

from sim_engine import PROTOCOL_VERSION
from sim_engine.errors import NotFound, NoWorld
from sim_engine.ledger import queries, rows
from sim_engine.ledger.store import Store
from sim_engine.rules import views
from sim_engine.rules.contracts.information import buyer_of
from sim_engine.rules.state import Agent, Contract, World, contract_number
from sim_engine.types.config import Config

PAGE_MAX: Final = 1_000
"""The most rows of one page, whatever is asked for."""


class Observer:
    """The sealed world and its ledger, for reading."""

    def __init__(self, store: Store) -> None:
        """Read from an open ledger; the world is set by who loads it."""
        self._lock = RLock()
        self._store = store
        self._world: World | None = None
        self._sealed_turn: int | None = None
        self._states: dict[bool, bytes] = {}
        """The answers of ``state`` since the last seal, with and without agents."""

    @property
    def turn(self) -> int | None:
        """The last sealed turn; None before there is a world.

        It waits for nothing: while a turn is in hand this is the turn before.
        """
        return self._sealed_turn

    def state(self, *, with_agents: bool = True) -> bytes:
        """Show the public world, with or without the list of its agents."""
        with self._reading() as (world, _):
            if with_agents not in self._states:
                view = views.state_view(world, with_agents=with_agents)
                self._states[with_agents] = orjson.dumps(view)
            return self._states[with_agents]

    def ready_state(self, *, with_agents: bool = True) -> bytes | None:
        """Show the public world if somebody has asked for it since the last seal.

        It waits for nothing: while a turn is in hand this is the world before it.
        """
        return self._states.get(with_agents)

    @contextmanager
    def at_once(self) -> Iterator[bool]:
        """Hold the world still if no turn is in hand; yields whether it is held."""
        held = self._lock.acquire(blocking=False)
        try:
            yield held
        finally:
            if held:
                self._lock.release()

    def agent(self, agent_id: str, *, private: bool) -> bytes:
        """Show an agent, with its private part to those who may see it."""
        with self._reading() as (world, connection):
            agent = _known_agent(world, agent_id)
            view = views.agent_view(agent, views.cores_by_owner(world))
            if private:
                view["private"] = {
                    "insights": views.insights_view(world, agent),
                    "information": self._information(connection, world, agent),
                    "receipts": queries.receipts_of(connection, world.turn, agent_id),
                }
            return orjson.dumps(view)

    def contract(self, contract_id: str, *, reader: str | None, operator: bool) -> bytes:
        """Show a contract; its content only to those who may read it."""
        with self._reading() as (world, _):
            number = contract_number(contract_id)
            found = self._contract(world, number) if 0 < number <= world.last_contract else None
            if found is None:
                raise NotFound(
                    "unknown_contract",
                    f"there is no contract '{contract_id}'; GET /contracts lists them",
                )
            return orjson.dumps(self._contract_view(world, found, reader, operator=operator))

    def contracts(
        self,
        *,
        status: str | None,
        contract_type: str | None,
        agent: str | None,
        after: int,
        limit: int,
        reader: str | None,
        operator: bool,
    ) -> bytes:
        """List contracts in order of proposal; ``after`` is the number of the last one seen."""
        with self._reading() as (world, connection):
            limit = min(limit, PAGE_MAX)
            found = queries.contracts(
                connection,
                status=status,
                contract_type=contract_type,
                agent=agent,
                after=after,
                limit=limit,
            )
            shown = [
                self._contract_view(
                    world, rows.read_contract(row, world.agents), reader, operator=operator
                )
                for row in found
            ]
            last = found[-1]["number"] if len(found) == limit else None
            return orjson.dumps({"contracts": shown, "next_after": last})

    def speech(self, turn: int) -> bytes:
        """Show what was said in a sealed turn."""
        with self._reading() as (world, connection):
            _require_sealed(world, turn)
            return orjson.dumps({"turn": turn, "messages": queries.speech(connection, turn)})

    def config(self, *, operator: bool) -> bytes:
        """Show the config of the world; its seed only to the operator."""
        with self._reading() as (world, _):
            view: dict[str, Any] = config_view(world.config)
            view["protocol_version"] = PROTOCOL_VERSION
            if operator:
                view["seed"] = world.seed
            return orjson.dumps(view)

    def stored_turn(self, turn: int) -> bytes:
        """Show the answer that a sealed turn was given."""
        with self._reading() as (world, connection):
            _require_sealed(world, turn)
            return orjson.dumps(queries.turn_answer(connection, turn))

    def blocks(self, *, from_height: int, limit: int, after: int, status: str | None) -> bytes:
        """List blocks with orphans, in the order of making; ``after`` skips so many."""
        limit = min(limit, PAGE_MAX)
        with self._reading() as (_, connection):
            found = queries.blocks(
                connection, from_height=from_height, status=status, after=after, limit=limit
            )
            last = after + limit if len(found) == limit else None
            return orjson.dumps({"blocks": found, "next_after": last})

    def block(self, block_hash: str) -> bytes:
        """Show a block."""
        with self._reading() as (_, connection):
            found = queries.block(connection, block_hash)
            if found is None:
                raise NotFound(
                    "unknown_block", "there is no block of this hash; GET /blocks lists them"
                )
            return orjson.dumps(found)

    def entries(
        self, *, account: str | None, turn: int | None, limit: int, after: tuple[int, int] | None
    ) -> bytes:
        """List entries in the order of the journal, after the (turn, seq) of the last one seen."""
        limit = min(limit, PAGE_MAX)
        with self._reading() as (_, connection):
            found = queries.entries(
                connection, account=account, turn=turn, after=after, limit=limit
            )
            last = f"{found[-1]['turn']}.{found[-1]['seq']}" if len(found) == limit else None
            return orjson.dumps({"entries": found, "next_after": last})

    def metrics_turns(self, *, after: int, limit: int) -> bytes:
        """List the measurements of the turns above ``after``."""
        limit = min(limit, PAGE_MAX)
        with self._reading() as (_, connection):
            found = queries.metrics(connection, after=after, limit=limit)
            last = found[-1]["turn"] if len(found) == limit else None
            return orjson.dumps({"turns": found, "next_after": last})

    def metrics(self) -> dict[str, Any]:
        """Return the measurements of the last sealed turn; none before turn 1."""
        with self._reading() as (world, connection):
            found = queries.metrics(connection, after=world.turn - 1, limit=1)
            return found[0] if found else {}

    @contextmanager
    def _reading(self) -> Iterator[tuple[World, Connection]]:
        """Hold the world and the ledger still for one answer."""
        with self._lock:
            world = self._require_world()
            with self._store.reading() as connection:
                yield world, connection

    def _require_world(self) -> World:
        if self._world is None:
            raise NoWorld("create a world first: POST /init with its agents")
        return self._world

    def _contract(self, world: World, number: int) -> Contract | None:
        return world.open_contracts.get(number) or self._store.find_contract(number)

    def _contract_view(
        self, world: World, contract: Contract, reader: str | None, *, operator: bool
    ) -> dict[str, Any]:
        agent = None if reader is None else world.agents.get(reader)
        may_read = views.content_is_open_to(contract, agent, operator=operator)
        return views.contract_view(contract, with_content=may_read)

    def _information(
        self, connection: Connection, world: World, agent: Agent
    ) -> list[dict[str, str]]:
        """List the texts that the agent bought."""
        sales = [
            rows.read_contract(row, world.agents)
            for row in queries.information_sales(connection, agent.agent_id)
        ]
        return [views.information_view(sale) for sale in sales if buyer_of(sale) is agent]


def config_view(config: Config) -> dict[str, Any]:
    """Show every key of a config."""
    return {name: getattr(config, name) for name in Config.__slots__}


def _known_agent(world: World, agent_id: str) -> Agent:
    agent = world.agents.get(agent_id)
    if agent is None:
        raise NotFound(
            "unknown_agent", f"there is no agent '{agent_id}'; GET /state lists the roster"
        )
    return agent


def _require_sealed(world: World, turn: int) -> None:
    if turn == 0:
        raise NotFound(
            "unknown_turn",
            "turn 0 is the genesis, in which nobody acts; GET /entries?turn=0 shows it",
        )
    if turn > world.turn:
        raise NotFound(
            "unknown_turn", f"turn {turn} is not sealed; the last sealed turn is {world.turn}"
        )
