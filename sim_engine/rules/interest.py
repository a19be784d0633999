"""Interest on debt.  (rules §11)"""

from __future__ import annotations

from sim_engine.rules.books import Reason
from sim_engine.rules.in_hand import Turn
from sim_engine.rules.numbers import BPS


def charge_interest(turn: Turn) -> None:
    """Charge every agent in debt, rounded up; debt beyond the credit limit bears none."""
    world = turn.world
    config = world.config
    for agent in world.roster:
        if agent.liquid.balance < 0:
            bearing = min(-agent.liquid.balance, config.credit_limit)
            interest = -(-bearing * config.debt_interest_bps // BPS)
            world.books.move(agent.liquid, world.books.destroyed, interest, Reason.INTEREST)
