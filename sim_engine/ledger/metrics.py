"""One row of measurements a turn, in integers, so that a verifier finds the same numbers again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import mul

from sim_engine.ledger.rows import Row, to_json
from sim_engine.rules.books import Entry, Reason
from sim_engine.rules.in_hand import Turn
from sim_engine.rules.numbers import BPS
from sim_engine.rules.state import Agent, Core, World
from sim_engine.types.fields import MAX_AMOUNT


def metrics_row(turn: Turn) -> Row:
    """Measure the turn that was just processed: a row of ``turn_metrics``."""
    world = turn.world
    books = world.books
    flows = _flows(books.entries)
    rejected = len(turn.outcomes) - turn.outcomes.count(None)
    canonical = [block.kind for block in turn.blocks if block.status == "canonical"]
    debts = [-held for agent in world.roster if (held := agent.liquid.balance) < 0]
    return (
        turn.number,
        books.issued,
        books.destroyed.balance,
        books.circulating,
        sum(flows.issued.values()),
        sum(flows.destroyed.values()),
        to_json(flows.issued),
        to_json(flows.destroyed),
        gini_bps(_wealth(world.roster)),
        top_core_bps(world.cores),
        sum(debts),
        len(debts),
        sum([agent.suspended for agent in world.roster]),
        flows.fees,
        min(flows.moved, MAX_AMOUNT),  # the same tokens may move many times in a turn
        flows.moved * BPS // books.circulating if books.circulating > 0 else 0,
        sum(turn.inference_fees.values()),
        turn.output_tokens,
        len(turn.outcomes) - rejected,
        rejected,
        canonical.count("mine"),
        canonical.count("stake"),
        canonical.count("burn"),
        len(turn.blocks) - len(canonical),
        to_json(contracts_by_status(world)),
    )


def contracts_by_status(world: World) -> dict[str, int]:
    """Count all contracts ever proposed by their status now, without zeros."""
    return {status: count for status, count in world.contract_counts.items() if count}


def gini_bps(wealth: Iterable[int]) -> int:
    """Return the Gini coefficient of non-negative wealth in basis points; 0 is equality."""
    ordered = sorted(wealth)
    count = len(ordered)
    total = sum(ordered)
    if total == 0:
        return 0
    ranked: int = sum(map(mul, ordered, range(1, count + 1)))
    return (2 * ranked - (count + 1) * total) * BPS // (count * total)


def top_core_bps(cores: Sequence[Core]) -> int:
    """Return the part of all cores that the largest owner has, in basis points."""
    owned = Counter(core.owner.agent_id for core in cores if core.owner is not None)
    return max(owned.values(), default=0) * BPS // len(cores)


def _wealth(roster: Iterable[Agent]) -> list[int]:
    """Count the tokens of each agent, liquid, staked or unbonding; debt counts as none.

    What is in escrow belongs to its contract until that ends.
    """
    owned = [a.liquid.balance + a.stake.balance + a.unbonding.balance for a in roster]
    return [tokens if tokens > 0 else 0 for tokens in owned]


@dataclass(slots=True)
class _Flows:
    """What the entries of a turn add up to (tokens)."""

    issued: dict[str, int]
    """By reason."""
    destroyed: dict[str, int]
    """By reason."""
    moved: int
    """What left the liquid accounts of agents."""
    fees: int
    """What of that was paid for places in the order."""


def _flows(entries: Sequence[Entry]) -> _Flows:
    """Add up the entries of a turn in one walk."""
    issued: dict[str, int] = {}
    destroyed: dict[str, int] = {}
    moved = 0
    fees = 0
    for _, _, source, target, amount, reason, _ in entries:
        if source == "issuance":
            issued[reason] = issued.get(reason, 0) + amount
        elif source[:6] == "agent:":
            moved += amount
            if reason == Reason.FEE:
                fees += amount
        if target == "destroyed":
            destroyed[reason] = destroyed.get(reason, 0) + amount
    return _Flows(issued, destroyed, moved, fees)
