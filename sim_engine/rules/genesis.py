"""The beginning of a world.  (rules §3)"""

from __future__ import annotations

from sim_engine.rules.blockchain import genesis_block
from sim_engine.rules.books import Reason
from sim_engine.rules.state import Agent, Contract, Core, World
from sim_engine.types.config import Config


def create_world(seed: str, balances: dict[str, int], config: Config) -> World:
    """Create the world at turn 0: its agents with their balances (tokens), all of it issued.

    ``balances`` is in roster order. The caller has checked that they add up to an amount.
    """
    world = World(
        seed=seed,
        config=config,
        roster=[Agent(position, agent_id) for position, agent_id in enumerate(balances)],
        cores=[Core(core_id) for core_id in range(config.core_count)],
        tip=genesis_block(),
        mine_difficulty=max(1, len(balances) * config.mine_power),
        find_ended=_nothing_has_ended,
    )
    for agent in world.roster:
        amount = balances[agent.agent_id]
        world.books.move(world.books.issuance, agent.liquid, amount, Reason.GENESIS)
    return world


def _nothing_has_ended(number: int) -> Contract | None:
    return None
