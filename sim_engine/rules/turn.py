"""A turn: ten phases, always in this order.  (rules §4)

The tenth, the seal, covers the rows that the ledger stores and is made there
(``sim_engine.ledger.seal``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from sim_engine.rules.actions import bidding, labour, speech, staking, transfers
from sim_engine.rules.auction import run_auction
from sim_engine.rules.blockchain import make_blocks
from sim_engine.rules.books import Reason
from sim_engine.rules.clock import run_clock
from sim_engine.rules.contracts import attestation, lifecycle
from sim_engine.rules.in_hand import Submitted, Turn
from sim_engine.rules.inference import bill_inference, pay_dividends
from sim_engine.rules.interest import charge_interest
from sim_engine.rules.invariants import check_invariants
from sim_engine.rules.labour_market import pay_wages
from sim_engine.rules.numbers import DrawFamily
from sim_engine.rules.rejections import Rejected
from sim_engine.rules.state import IN_ROSTER_ORDER, Agent, World
from sim_engine.types.rejection_codes import RejectionCode

# Each handler takes the action that its key names, which the type of a dictionary can not say.
ACTIONS: Final[dict[str, tuple[int, Callable[[Turn, Agent, Any], None]]]] = {
    "mine": (2, labour.mine),
    "stake": (1, staking.stake),
    "unstake": (1, staking.unstake),
    "burn": (1, staking.burn),
    "study": (2, labour.study),
    "job": (2, labour.job),
    "transfer": (1, transfers.transfer),
    "propose_contract": (1, lifecycle.propose_contract),
    "sign_contract": (1, lifecycle.sign_contract),
    "confirm_delivery": (0, attestation.confirm_delivery),
    "dispute_delivery": (0, attestation.dispute_delivery),
    "arbitrator_ruling": (0, attestation.arbitrator_ruling),
    "sell_information": (1, lifecycle.sell_information),
    "bid_core": (1, bidding.bid_core),
    "speak": (0, speech.speak),
}
"""Action points and handler of each action.  (rules §6)"""


def process(world: World, submitted: Submitted) -> Turn:
    """Process the next turn of a world, in place.

    Raises InvariantViolation, after which the world in memory is worthless and must be loaded
    again.
    """
    turn = _open(world, submitted)
    bill_inference(turn)
    run_actions(turn)
    run_auction(turn)
    pay_wages(turn)
    make_blocks(turn)
    pay_dividends(turn)
    lifecycle.advance_contracts(turn)
    charge_interest(turn)
    run_clock(turn)
    check_invariants(world)
    return turn


def run_actions(turn: Turn) -> None:
    """Let the agents act one after the other: the higher fees first, ties by draw.  (rules §6)"""
    paid, unpaid = _collect_fees(turn)
    draw = DrawFamily("order", turn.world.seed, turn.number).draw
    in_order = sorted(turn.submitted.plan, key=lambda agent: draw(agent.drawn))
    if paid:
        # Sorting is stable: what the draws decided stays where the fees are the same.
        in_order.sort(key=lambda agent: paid.get(agent, 0), reverse=True)
    for agent in in_order:
        _act(turn, agent, unpaid_fees=unpaid.get(agent, 0))


def _open(world: World, submitted: Submitted) -> Turn:
    world.turn += 1
    world.books.open_turn(world.turn)
    world.just_ended.clear()
    return Turn(world, world.turn, submitted)


def _collect_fees(turn: Turn) -> tuple[dict[Agent, int], dict[Agent, int]]:
    """Move the fees before anybody acts; an agent that can not pay their sum pays nothing.

    Returns the sums that were paid and the sums that were not.
    """
    books = turn.world.books
    offered = [action.fee for action in turn.submitted.actions]
    owed = {
        agent: fees
        for agent, plan in turn.submitted.plan.items()
        if (fees := sum(map(offered.__getitem__, plan)))
    }
    paid: dict[Agent, int] = {}
    unpaid: dict[Agent, int] = {}
    for agent in sorted(owed, key=IN_ROSTER_ORDER):
        fees = owed[agent]
        if agent.can_pay(fees):
            books.move(agent.liquid, books.fees, fees, Reason.FEE)
            paid[agent] = fees
        else:
            unpaid[agent] = fees
    return paid, unpaid


def _act(turn: Turn, agent: Agent, *, unpaid_fees: int) -> None:
    """Apply or reject an agent's actions one after the other; a rejected one costs no points."""
    points_left = turn.world.config.action_points
    actions = turn.submitted.actions
    for seq in turn.submitted.plan[agent]:
        action = actions[seq]
        points, handle = ACTIONS[action.type]
        turn.seq = seq
        try:
            if unpaid_fees and action.fee:
                raise _fees_not_paid(agent, unpaid_fees)
            if points > points_left:
                raise _no_points_left(action.type, points, points_left)
            handle(turn, agent, action)
        except Rejected as rejected:
            # Its traceback leads back to this turn: such a circle would keep all of the turn in
            # memory until the garbage collector runs, which is rarely.
            turn.outcomes[seq] = rejected.with_traceback(None)
        else:
            points_left -= points


def _fees_not_paid(agent: Agent, fees: int) -> Rejected:
    return Rejected(
        RejectionCode.INSUFFICIENT_FUNDS,
        f"the fees of this turn's actions are {fees} tokens together, balance is {agent.balance};"
        " offer lower fees or none",
    )


def _no_points_left(action_type: str, points: int, points_left: int) -> Rejected:
    return Rejected(
        RejectionCode.ACTION_POINTS_EXHAUSTED,
        f"{action_type} takes {points} action points, {points_left} are left this turn",
    )
