"""Mine, work and study: what an agent does with its time.  (rules §6, §8, §9)"""

from __future__ import annotations

from sim_engine.rules.actions.checks import require_funds
from sim_engine.rules.books import Reason
from sim_engine.rules.in_hand import Turn
from sim_engine.rules.rejections import Rejected
from sim_engine.rules.state import Agent
from sim_engine.types.actions import Job, Mine, Study
from sim_engine.types.rejection_codes import RejectionCode


def mine(turn: Turn, agent: Agent, _action: Mine) -> None:
    """Add mining power for this turn's race."""
    # EFFECT
    turn.mines[agent] = turn.mines.get(agent, 0) + 1


def job(turn: Turn, agent: Agent, _action: Job) -> None:
    """Work for a wage, once a turn; it is paid in the wages phase."""
    # CHECK
    if agent in turn.workers:
        raise Rejected(
            RejectionCode.ONCE_PER_TURN,
            "a job was already applied this turn; one job a turn is paid",
        )
    # EFFECT
    turn.workers[agent] = None


def study(turn: Turn, agent: Agent, _action: Study) -> None:
    """Pay tuition for progress towards the next study level, and learn coming wage funds."""
    # CHECK
    world = turn.world
    next_level = agent.study_level + 1
    if agent.study_level >= world.config.max_study_level:
        raise Rejected(
            RejectionCode.MAX_STUDY_LEVEL,
            f"study level {agent.study_level} is the highest there is; study no more",
        )
    cost = world.config.tuition * next_level
    require_funds(agent, cost, f"study towards level {next_level}")
    # EFFECT
    world.books.move(agent.liquid, world.books.destroyed, cost, Reason.TUITION, turn.reference)
    agent.study_progress += 1
    if agent.study_progress >= next_level:
        agent.study_level = next_level
        agent.study_progress = 0
    agent.studied_turns.append(turn.number)
    turn.changed_agents.add(agent)
