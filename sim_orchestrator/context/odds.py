"""What an agent can expect of mining, staking, burning, working and studying now.  (rules §8, §9)

These are estimates for a prompt, not rules: they take the others to do what they did last turn.
"""

from __future__ import annotations

from dataclasses import dataclass

from sim_orchestrator.context.survey import BPS, Survey, survey
from sim_orchestrator.minds.base import Observation


@dataclass(frozen=True, slots=True)
class Lottery:
    """One agent's prospects in a lottery.

    Attributes:
        percent: the chance of a reward this turn, in percent.
        reward: what it expects of the lottery this turn, in tokens.
    """

    percent: int
    reward: int


def mine_power(observation: Observation, level: int, mines: int) -> int:
    """Return the mining power of so many mine actions at a study level.  (rules §9)"""
    config = observation.config
    return mines * config["mine_power"] * (BPS + config["mine_bonus_bps"] * level) // BPS


def solve_chance(power: int, difficulty: int, slots: int) -> float:
    """Return the chance that the power solves one slot of the race, 0 to 1.  (rules §9)"""
    return min(1.0, power / (difficulty * slots))


def _race(win: float, on: float, slots: int) -> float:
    """Return the chance to win a race in which each slot is won, or goes on, with these chances."""
    total, reach = 0.0, 1.0
    for _ in range(slots):
        total += reach * win
        reach *= on
    return total


def mining(observation: Observation, mines: int) -> Lottery:
    """Estimate what so many mine actions bring, with the rivals mining as they did last turn."""
    world, config, state = survey(observation), observation.config, observation.state
    difficulty, slots = state["chain"]["mine_difficulty"], config["mine_slots"]
    rivals = max(0, world.mine_actions - _own_last_mines(observation))
    power = mine_power(observation, observation.agent["study_level"], mines)
    mine = solve_chance(power, difficulty, slots)
    theirs = solve_chance(rivals * config["mine_power"], difficulty, slots)
    # A rival that solves the same slot makes a fork, which either side wins half of the time.
    chance = _race(mine * (1 - theirs / 2), (1 - mine) * (1 - theirs), slots)
    return _lottery(chance, config["mine_reward"] + state["fees"])


def _own_last_mines(observation: Observation) -> int:
    if not observation.history:
        return 1
    receipts = observation.agent["private"]["receipts"]
    return sum(r["type"] == "mine" and r["status"] == "applied" for r in receipts)


def block_chance(observation: Observation) -> float:
    """Return the chance of a mine block if everybody mines as last turn, 0 to 1."""
    world, config = survey(observation), observation.config
    difficulty = observation.state["chain"]["mine_difficulty"]
    power = world.mine_actions * config["mine_power"]
    solved = solve_chance(power, difficulty, config["mine_slots"])
    return _race(solved, 1 - solved, config["mine_slots"])


def _follower_chance(observation: Observation, rate_bps: int, rival_bps: int, rivals: int) -> float:
    """Return the chance that a canonical block of one kind follows a mine block.

    A stake and a burn block on the same mine block are a fork that each wins half of the time.
    """
    lost = rival_bps / BPS / 2 if rivals else 0.0
    return block_chance(observation) * rate_bps / BPS * (1 - lost)


def staking(observation: Observation, more: int) -> Lottery:
    """Estimate what stake brings a turn: as it is, or with so much more at its full age."""
    world, config = survey(observation), observation.config
    added = more * config["stake_age_cap"]
    chance = _follower_chance(
        observation, config["stake_rate_bps"], config["burn_rate_bps"], world.burn_score_total
    )
    mine = world.stake_weights.get(observation.agent_id, 0) + added
    return _share(mine, world.stake_weight_total + added, chance, config["stake_reward"])


def burning(observation: Observation, more: int) -> Lottery:
    """Estimate what the burn score brings a turn: as it is, or with so much more burnt."""
    world, config = survey(observation), observation.config
    chance = _follower_chance(
        observation, config["burn_rate_bps"], config["stake_rate_bps"], world.stake_weight_total
    )
    mine = observation.agent["burn_score"] + more
    return _share(mine, world.burn_score_total + more, chance, config["burn_reward"])


def _share(mine: int, total: int, chance: float, reward: int) -> Lottery:
    return _lottery(chance * mine / total if total else 0.0, reward)


def _lottery(chance: float, reward: int) -> Lottery:
    return Lottery(percent=round(chance * 100), reward=round(chance * reward))


def wage(config_wage: int, bonus_bps: int, level: int) -> int:
    """Return the full wage at a study level, in tokens.  (rules §8)"""
    return config_wage * (BPS + bonus_bps * level) // BPS


def expected_wage(observation: Observation, fund: int | None) -> int:
    """Estimate what ``job`` pays now if as many others work as last turn, in tokens.

    Args:
        observation: the agent's observation.
        fund: this turn's wage fund if the agent knows it; else its mean is taken.
    """
    config, world = observation.config, survey(observation)
    full = wage(config["job_wage"], config["wage_bonus_bps"], observation.agent["study_level"])
    due = full + _other_wages(observation, world)
    known = world.fund_expected if fund is None else fund
    return full if due <= known else known * full // due


def _other_wages(observation: Observation, world: Survey) -> int:
    worked = any(
        receipt["type"] == "job" and receipt["status"] == "applied"
        for receipt in observation.agent["private"]["receipts"]
    )
    others = max(0, world.job_actions - (worked or not observation.history))
    return others * observation.config["job_wage"]
