"""The three lotteries for blocks: by power, by aged stake, by burnt tokens.  (rules §9)"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate

from sim_engine.rules.numbers import BPS, DRAW_BITS, DrawFamily, pick, portion
from sim_engine.rules.state import IN_ROSTER_ORDER, Agent, World
from sim_engine.types.config import Config

Weights = dict[Agent, int]
"""Positive weights by agent, in roster order."""


def stake_age(agent: Agent, turn: int, config: Config) -> int:
    """Return the age of an agent's stake (turns), capped; 0 without a stake."""
    if agent.stake.balance == 0:
        return 0
    age = turn - agent.stake_since
    return age if age < config.stake_age_cap else config.stake_age_cap


def mining_power(world: World, mines: dict[Agent, int]) -> Weights:
    """Weigh the miners: their applied mine actions, raised by study."""
    config = world.config
    return {
        agent: portion(
            mines[agent] * config.mine_power, BPS + config.mine_bonus_bps * agent.study_level
        )
        for agent in sorted(mines, key=IN_ROSTER_ORDER)
    }


def stake_weights(world: World, turn: int) -> Weights:
    """Weigh the stakers: stake times age."""
    config = world.config
    stakers = [(agent, staked) for agent in world.roster if (staked := agent.stake.balance)]
    return {
        agent: weight
        for agent, staked in stakers
        if (weight := staked * stake_age(agent, turn, config))
    }


def burn_weights(world: World) -> Weights:
    """Weigh the burners: their burn scores."""
    return {agent: agent.burn_score for agent in world.roster if agent.burn_score}


def race(world: World, turn: int, power: Weights) -> list[Agent]:
    """Run the mining race: the solvers of the first slot that has any, in roster order.

    An agent solves a slot with the chance power / (difficulty × slots).
    """
    slots = world.config.mine_slots
    hardness = world.mine_difficulty * slots
    limits = {weight: _draws_below(weight, hardness) for weight in set(power.values())}
    miners = [(agent, agent.drawn, limits[weight]) for agent, weight in power.items()]
    for slot in range(slots):
        draw = DrawFamily("mine", world.seed, turn, slot, world.tip.hash).draw
        solvers = [agent for agent, drawn, limit in miners if draw(drawn) < limit]
        if solvers:
            return solvers
    return []


def _draws_below(weight: int, hardness: int) -> bytes:
    """Return the limit below which a draw solves: draw × hardness < weight × 2^256, in bytes."""
    limit = -(-(weight << DRAW_BITS) // hardness)
    if limit >> DRAW_BITS:
        return b"\xff" * (DRAW_BITS // 8 + 1)  # longer than any draw, so above all of them
    return limit.to_bytes(DRAW_BITS // 8, "big")


def draw_winner(
    world: World,
    turn: int,
    kind: str,
    rate_bps: int,
    weights: Weights,
    mine_hash: str,
) -> Agent | None:
    """Draw who makes a stake or burn block on a mine block, or that nobody does."""
    if not weights or pick(BPS, f"{kind}?", world.seed, turn, mine_hash) >= rate_bps:
        return None
    running_sums = list(accumulate(weights.values()))
    x = pick(running_sums[-1], kind, world.seed, turn, mine_hash)
    return list(weights)[bisect_right(running_sums, x)]
