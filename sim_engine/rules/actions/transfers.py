"""Gifts and payments between agents.  (rules §6)"""

from __future__ import annotations

from sim_engine.rules.actions.checks import require_funds, require_text
from sim_engine.rules.books import Reason
from sim_engine.rules.in_hand import Turn
from sim_engine.rules.rejections import Rejected
from sim_engine.rules.state import Agent
from sim_engine.types.actions import Transfer
from sim_engine.types.rejection_codes import RejectionCode


def transfer(turn: Turn, agent: Agent, action: Transfer) -> None:
    """Move liquid tokens to another agent."""
    # CHECK
    world = turn.world
    require_text(world, "memo", action.memo)
    recipient = world.agent(action.to)
    if recipient is agent:
        raise Rejected(
            RejectionCode.SELF_DEALING,
            "a transfer needs another agent as its recipient",
        )
    require_funds(agent, action.amount, f"transfer of {action.amount}")
    # EFFECT
    world.books.move(agent.liquid, recipient.liquid, action.amount, Reason.TRANSFER, turn.reference)
