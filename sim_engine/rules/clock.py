"""What time alone does: stake is released, proposals expire, suspension is decided.  (rules §12)"""

from __future__ import annotations

from sim_engine.rules.books import Reason
from sim_engine.rules.contracts.lifecycle import expire_proposals
from sim_engine.rules.in_hand import Turn


def run_clock(turn: Turn) -> None:
    """Release stake, expire proposals, then say who is suspended."""
    release_stake(turn)
    expire_proposals(turn)
    suspend_debtors(turn)


def release_stake(turn: Turn) -> None:
    """Make the unbonding lots that are due liquid again."""
    for agent in turn.world.roster:
        if not agent.lots:
            continue
        due = sum(lot.amount for lot in agent.lots if lot.release_turn <= turn.number)
        if due:
            agent.lots = [lot for lot in agent.lots if lot.release_turn > turn.number]
            turn.world.books.move(agent.unbonding, agent.liquid, due, Reason.UNBONDED)


def suspend_debtors(turn: Turn) -> None:
    """Suspend the agents whose debt is beyond the credit limit, and nobody else.  (rules §5)"""
    floor = -turn.world.config.credit_limit
    for agent in turn.world.roster:
        suspended = agent.liquid.balance < floor
        if suspended != agent.suspended:
            agent.suspended = suspended
            turn.changed_agents.add(agent)
