"""Who pays for thinking, and who is paid for it.  (rules §5)"""

from __future__ import annotations

from sim_engine.rules.books import Reason
from sim_engine.rules.in_hand import Dividend, Turn
from sim_engine.rules.numbers import apportion, portion


def bill_inference(turn: Turn) -> None:
    """Bill what all agents used above the commons to those who used more than their part of it.

    The fee is charged even into debt: thinking is never refused.
    """
    world = turn.world
    config = world.config
    excess = turn.output_tokens - world.commons
    if excess <= 0:
        return
    free = config.commons_per_agent
    price_bps = config.inference_price_bps
    over = [(agent, tokens) for agent, tokens in turn.submitted.inference if tokens > free]
    over.sort(key=lambda usage: usage[0].position)
    overuse = [tokens - free for _, tokens in over]
    for (agent, _), billed_tokens in zip(over, apportion(excess, overuse), strict=True):
        if billed_tokens == 0:
            continue
        fee = portion(billed_tokens, price_bps)
        world.books.move(agent.liquid, world.books.cores, fee, Reason.INFERENCE)
        turn.billed[agent] = billed_tokens
        turn.inference_fees[agent] = fee
    turn.billed_tokens = excess


def pay_dividends(turn: Turn) -> None:
    """Pay the collected inference fees to the cores, in equal parts; what can not be split stays.

    The part of a core without an owner is destroyed.
    """
    world = turn.world
    books = world.books
    each = books.cores.balance // world.config.core_count
    for core in world.cores:
        reference = f"core:{core.core_id}"
        if core.owner is None:
            books.move(books.cores, books.destroyed, each, Reason.UNOWNED_DIVIDEND, reference)
        else:
            books.move(books.cores, core.owner.liquid, each, Reason.DIVIDEND, reference)
            turn.dividends.append(Dividend(core.core_id, core.owner.agent_id, each))
