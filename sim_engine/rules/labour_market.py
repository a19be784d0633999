"""Wages: a demand for labour that moves, shared by those who worked.  (rules §8)"""

from __future__ import annotations

from sim_engine.rules.books import Reason
from sim_engine.rules.in_hand import Turn
from sim_engine.rules.numbers import BPS, apportion, pick, portion
from sim_engine.rules.state import IN_ROSTER_ORDER, Agent, World
from sim_engine.types.config import Config


def job_fund(world: World, turn: int) -> int:
    """Return all that a turn pays in wages (tokens): 20% to 180% of the config's fund, by lot."""
    full = world.config.job_fund_per_agent * len(world.roster)
    return portion(full, 2_000 + pick(16_001, "labour", world.seed, turn))


def pay_wages(turn: Turn) -> None:
    """Pay each worker its wage, or its part of the fund where the fund is short."""
    if not turn.workers:
        return
    world = turn.world
    workers = sorted(turn.workers, key=IN_ROSTER_ORDER)
    wages = [_wage(world.config, level) for level in range(world.config.max_study_level + 1)]
    due = [wages[agent.study_level] for agent in workers]
    fund = job_fund(world, turn.number)
    paid = due if sum(due) <= fund else apportion(fund, due)
    for agent, wage in zip(workers, paid, strict=True):
        world.books.move(world.books.issuance, agent.liquid, wage, Reason.WAGE)


def insights(world: World, agent: Agent) -> list[tuple[int, int, int]]:
    """List what the agent has learned: (turn of study, turn that it is about, that turn's fund)."""
    horizon = world.config.insight_horizon
    return [
        (studied, about, job_fund(world, about))
        for studied in dict.fromkeys(agent.studied_turns)
        for about in range(studied + 1, studied + horizon + 1)
    ]


def _wage(config: Config, study_level: int) -> int:
    return portion(config.job_wage, BPS + config.wage_bonus_bps * study_level)
