"""Random worlds: rosters, balances and configurations, ordinary ones and extreme ones."""

from random import Random
from typing import Any

CHOICES: dict[str, tuple[int, ...]] = {
    "initial_balance": (0, 1, 300, 5000, 50000, 10**9),
    "action_points": (1, 3, 6, 12, 24),
    "commons_per_agent": (0, 1, 150, 1000),
    "inference_price_bps": (0, 5000, 10000, 33333),
    "core_count": (1, 2, 3, 9),
    "core_reserve": (0, 1, 500, 15000),
    "credit_limit": (0, 10, 500, 10000),
    "debt_interest_bps": (0, 1, 100, 10000),
    "job_wage": (0, 1, 400),
    "job_fund_per_agent": (0, 7, 300),
    "wage_bonus_bps": (0, 2500, 10000),
    "tuition": (0, 1, 200),
    "max_study_level": (0, 1, 2, 10),
    "insight_horizon": (0, 1, 4),
    "mine_power": (1, 100, 1000),
    "mine_bonus_bps": (0, 1000, 10000),
    "mine_slots": (1, 2, 4, 8),
    "difficulty_up_bps": (10000, 10156, 20000),
    "difficulty_down_bps": (1, 5000, 9375, 10000),
    "mine_reward": (0, 1, 1601),
    "stake_reward": (0, 1, 800),
    "burn_reward": (0, 1, 1001),
    "stake_rate_bps": (0, 5000, 10000),
    "burn_rate_bps": (0, 5000, 10000),
    "stake_age_cap": (1, 2, 10),
    "burn_decay_bps": (0, 200, 10000),
    "trust_mine": (1, 3, 7),
    "trust_stake": (1, 2, 7),
    "trust_burn": (1, 2, 7),
    "unbonding_turns": (0, 1, 3),
    "slash_bps": (0, 1, 3333, 10000),
    "sign_window": (0, 1, 3),
    "attest_window": (0, 1, 2),
    "ruling_window": (0, 1, 3),
    "min_arbitrator_collateral": (0, 1, 251),
    "arbitrator_fee": (0, 1, 50),
    "max_open_contracts": (1, 2, 5, 20),
    "max_message_chars": (1, 20, 500),
    "max_content_chars": (1, 40, 4000),
    "speech_per_turn": (1, 2),
}

# Worlds in which forks, wealth, debt or contracts are frequent; the rest of config stays random.
PRESETS: tuple[dict[str, int], ...] = (
    {},
    {},
    {
        "mine_slots": 1,
        "difficulty_up_bps": 10000,
        "difficulty_down_bps": 5000,
        "action_points": 12,
        "stake_rate_bps": 10000,
        "burn_rate_bps": 10000,
    },
    {
        "action_points": 24,
        "max_open_contracts": 20,
        "min_arbitrator_collateral": 3,
        "initial_balance": 50000,
        "max_message_chars": 20,
        "sign_window": 3,
    },
    {"initial_balance": 300, "core_reserve": 30, "credit_limit": 50, "tuition": 3},
    {"initial_balance": 0, "core_reserve": 5, "credit_limit": 0, "job_fund_per_agent": 300},
    {"core_reserve": 40, "core_count": 3, "initial_balance": 50000},
)


def random_world(random: Random, world_seed: str) -> dict[str, Any]:
    """Return a body for `/init` with 2 … 12 agents."""
    names = [f"agent_{i}" for i in range(random.randint(2, 12))]
    if random.random() < 0.3:
        names = [f"{chr(122 - i)}.{i}-X" for i in range(len(names))]
    agents: list[Any] = [
        {"agent_id": name, "balance": random.choice((0, 1, 77, 12000, 10**7))}
        if random.random() < 0.25
        else name
        for name in names
    ]
    changed_share = random.choice((0.0, 0.1, 0.3, 1.0))
    config = {
        key: random.choice(values)
        for key, values in CHOICES.items()
        if random.random() < changed_share
    }
    config |= random.choice(PRESETS)
    return {"seed": world_seed, "agents": agents, "config": config}
