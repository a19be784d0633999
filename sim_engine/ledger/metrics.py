"""One row of measurements a turn, in integers, so that a verifier finds the same numbers again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from sim_engine.ledger.rows import Row, to_json
from sim_engine.rules.books import Entry, Reason
from sim_engine.rules.in_hand import Turn
from sim_engine.rules.numbers import BPS
from sim_engine.rules.state import Agent, Core, World


def metrics_row(turn: Turn) -> Row:
    """Measure the turn that was just processed: a row of ``turn_metrics``."""
    world = turn.world
    books = world.books
    issued, destroyed, moved = _flows(books.entries)
    rejected = len(turn.outcomes) - turn.outcomes.count(None)
    blocks = Counter(block.kind for block in turn.blocks if block.status == "canonical")
    debts = [-agent.liquid.balance for agent in world.roster if agent.liquid.balance < 0]
    return (
        turn.number,
        books.issued,
        books.destroyed.balance,
        books.circulating,
        sum(issued.values()),
        sum(destroyed.values()),
        to_json(issued),
        to_json(destroyed),
        gini_bps([_wealth(agent) for agent in world.roster]),
        top_core_bps(world.cores),
        sum(debts),
        len(debts),
        sum([agent.suspended for agent in world.roster]),
        sum([entry[4] for entry in books.entries if entry[5] == Reason.FEE]),
        moved,
        moved * BPS // books.circulating if books.circulating > 0 else 0,
        sum(turn.inference_fees.values()),
        sum([usage.output_tokens for _, usage in turn.submitted.inference]),
        len(turn.outcomes) - rejected,
        rejected,
        blocks["mine"],
        blocks["stake"],
        blocks["burn"],
        len(turn.blocks) - blocks.total(),
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
    ranked = sum(rank * amount for rank, amount in enumerate(ordered, start=1))
    return (2 * ranked - (count + 1) * total) * BPS // (count * total)


def top_core_bps(cores: Sequence[Core]) -> int:
    """Return the part of all cores that the largest owner has, in basis points."""
    owned = Counter(core.owner.agent_id for core in cores if core.owner is not None)
    return max(owned.values(), default=0) * BPS // len(cores)


def _wealth(agent: Agent) -> int:
    """Tokens of an agent, whatever account they are in; debt counts as none."""
    tokens = agent.liquid.balance + agent.stake.balance + agent.unbonding.balance
    return tokens if tokens > 0 else 0


def _flows(entries: Sequence[Entry]) -> tuple[dict[str, int], dict[str, int], int]:
    """Add up what was issued and destroyed by reason, and what left the agents' liquid accounts."""
    issued = _by_reason([entry for entry in entries if entry[2] == "issuance"])
    destroyed = _by_reason([entry for entry in entries if entry[3] == "destroyed"])
    moved = sum([entry[4] for entry in entries if entry[2][:6] == "agent:"])
    return issued, destroyed, moved


def _by_reason(entries: Sequence[Entry]) -> dict[str, int]:
    """Add entries up by their reason."""
    sums: dict[str, int] = {}
    for _, _, _, _, amount, reason, _ in entries:
        sums[reason] = sums.get(reason, 0) + amount
    return sums
