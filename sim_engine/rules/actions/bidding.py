"""Bids for unsold compute cores.  (rules §6, §7)"""

from __future__ import annotations

from sim_engine.rules.actions.checks import require_funds
from sim_engine.rules.books import Reason
from sim_engine.rules.in_hand import Turn
from sim_engine.rules.rejections import Rejected
from sim_engine.rules.state import Agent
from sim_engine.types.actions import BidCore
from sim_engine.types.rejection_codes import RejectionCode


def bid_core(turn: Turn, agent: Agent, action: BidCore) -> None:
    """Hold tokens for sealed unit bids in this turn's auction."""
    # CHECK
    world = turn.world
    config = world.config
    if action.quantity > config.core_count:
        raise Rejected(
            RejectionCode.INVALID_TERMS,
            f"a bid for {action.quantity} cores: there are only {config.core_count}",
        )
    if not world.unsold_cores:
        raise Rejected(
            RejectionCode.NO_CORE_FOR_SALE,
            "every core has an owner; propose a forward contract to one of them",
        )
    if action.amount < config.core_reserve:
        raise Rejected(
            RejectionCode.BELOW_RESERVE,
            f"a bid of {action.amount} is below the reserve of {config.core_reserve} tokens a core",
        )
    held = action.amount * action.quantity
    require_funds(agent, held, f"a bid of {action.quantity} × {action.amount}")
    # EFFECT
    world.books.move(agent.liquid, agent.bid, held, Reason.BID, turn.reference)
    turn.unit_bids.setdefault(agent, []).extend([action.amount] * action.quantity)
