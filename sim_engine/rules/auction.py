"""The core auction: sealed bids, one price for all winners.  (rules §7)"""

from __future__ import annotations

from sim_engine.rules.books import Reason
from sim_engine.rules.in_hand import Turn
from sim_engine.rules.numbers import draw
from sim_engine.rules.state import IN_ROSTER_ORDER, Agent


def run_auction(turn: Turn) -> None:
    """Sell the unsold cores to the highest unit bids and return everything else that was held.

    The price is the highest losing unit bid, at least the reserve; it is destroyed.
    """
    if not turn.unit_bids:
        return
    world = turn.world
    books = world.books
    ranked = _ranked_unit_bids(turn)
    unsold = world.unsold_cores
    losing = ranked[len(unsold) :]
    price = max(world.config.core_reserve, losing[0][0] if losing else 0)
    for core, (_, winner) in zip(unsold, ranked, strict=False):
        books.move(winner.bid, books.destroyed, price, Reason.CORE_SALE, f"core:{core.core_id}")
        turn.hand_over(core, winner)
    for agent in sorted(turn.unit_bids, key=IN_ROSTER_ORDER):
        books.move(agent.bid, agent.liquid, agent.bid.balance, Reason.BID_RETURN)


def _ranked_unit_bids(turn: Turn) -> list[tuple[int, Agent]]:
    """List (amount, agent) of all unit bids, the best first, ties in the order of their draws."""
    seed = turn.world.seed
    ranked = [
        (-amount, draw("bid", seed, turn.number, agent.agent_id, k), agent)
        for agent, amounts in turn.unit_bids.items()
        for k, amount in enumerate(amounts)
    ]
    ranked.sort(key=lambda bid: bid[:2])
    return [(-negated, agent) for negated, _, agent in ranked]
