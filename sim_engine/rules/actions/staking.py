"""Stake, unstake and burn: what an agent gives up for weight in a lottery.  (rules §6, §9)"""

from __future__ import annotations

from sim_engine.rules.actions.checks import require_funds
from sim_engine.rules.books import Reason
from sim_engine.rules.in_hand import Turn
from sim_engine.rules.lotteries import stake_age
from sim_engine.rules.rejections import Rejected
from sim_engine.rules.state import Agent, UnbondingLot
from sim_engine.types.actions import Burn, Stake, Unstake
from sim_engine.types.rejection_codes import RejectionCode


def stake(turn: Turn, agent: Agent, action: Stake) -> None:
    """Lock tokens; the age of the whole stake becomes the average, weighted by amount."""
    # CHECK
    require_funds(agent, action.amount, f"a stake of {action.amount}")
    # EFFECT
    age = stake_age(agent, turn.number, turn.world.config)
    new_age = agent.staked * age // (agent.staked + action.amount)
    agent.stake_since = turn.number - new_age
    turn.world.books.move(agent.liquid, agent.stake, action.amount, Reason.STAKE, turn.reference)


def unstake(turn: Turn, agent: Agent, action: Unstake) -> None:
    """Begin to unlock stake; it is liquid again after the unbonding turns."""
    # CHECK
    if agent.staked < action.amount:
        raise Rejected(
            RejectionCode.INSUFFICIENT_STAKE,
            f"unstake of {action.amount} needs so much stake, staked are {agent.staked}",
        )
    # EFFECT
    turn.world.books.move(
        agent.stake, agent.unbonding, action.amount, Reason.UNSTAKE, turn.reference
    )
    release_turn = turn.number + turn.world.config.unbonding_turns
    agent.lots.append(UnbondingLot(action.amount, release_turn))


def burn(turn: Turn, agent: Agent, action: Burn) -> None:
    """Destroy tokens for a score in the burn lottery."""
    # CHECK
    require_funds(agent, action.amount, f"a burn of {action.amount}")
    # EFFECT
    books = turn.world.books
    books.move(agent.liquid, books.destroyed, action.amount, Reason.BURN, turn.reference)
    agent.burn_score += action.amount
