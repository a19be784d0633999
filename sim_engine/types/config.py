"""The config of a world: every key with its default and its bounds.  (rules §14)"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field
from pydantic.dataclasses import dataclass

from sim_engine.types.fields import MAX_AMOUNT, SHAPE

_MILLION: Final = 10**6
_BILLION: Final = 10**9

Tokens = Annotated[int, Field(strict=True, ge=0, le=10**12)]
TokensPerAgent = Annotated[int, Field(strict=True, ge=0, le=_BILLION)]
Share = Annotated[int, Field(strict=True, ge=0, le=10_000)]
Bonus = Annotated[int, Field(strict=True, ge=0, le=100_000)]
Turns = Annotated[int, Field(strict=True, ge=0, le=_MILLION)]
Trust = Annotated[int, Field(strict=True, ge=1, le=_MILLION)]


@dataclass(slots=True, kw_only=True, frozen=True, config=SHAPE)
class Config:
    """What a world may set for itself. Amounts are tokens, ``_bps`` basis points, windows turns.

    The upper bounds are far beyond any economy worth running; they keep the mining difficulty
    inside 63 bits and a turn's work finite.
    """

    initial_balance: Annotated[int, Field(strict=True, ge=0, le=MAX_AMOUNT)] = 50_000
    action_points: Annotated[int, Field(strict=True, ge=1, le=100)] = 6
    commons_per_agent: TokensPerAgent = 150
    inference_price_bps: Annotated[int, Field(strict=True, ge=0, le=100 * _MILLION)] = 10_000
    core_count: Annotated[int, Field(strict=True, ge=1, le=10_000)] = 4
    core_reserve: Tokens = 15_000
    credit_limit: Tokens = 10_000
    debt_interest_bps: Share = 100
    job_wage: TokensPerAgent = 400
    job_fund_per_agent: TokensPerAgent = 300
    wage_bonus_bps: Bonus = 2_500
    tuition: TokensPerAgent = 200
    max_study_level: Annotated[int, Field(strict=True, ge=0, le=100)] = 10
    insight_horizon: Annotated[int, Field(strict=True, ge=0, le=100)] = 4
    mine_power: Annotated[int, Field(strict=True, ge=1, le=100_000)] = 100
    mine_bonus_bps: Bonus = 1_000
    mine_slots: Annotated[int, Field(strict=True, ge=1, le=1_000)] = 4
    difficulty_up_bps: Annotated[int, Field(strict=True, ge=0, le=20_000)] = 10_156
    difficulty_down_bps: Share = 9_375
    mine_reward: Tokens = 1_600
    stake_reward: Tokens = 800
    burn_reward: Tokens = 1_000
    stake_rate_bps: Share = 6_000
    burn_rate_bps: Share = 5_000
    stake_age_cap: Annotated[int, Field(strict=True, ge=1, le=_MILLION)] = 10
    burn_decay_bps: Share = 200
    trust_mine: Trust = 3
    trust_stake: Trust = 2
    trust_burn: Trust = 2
    unbonding_turns: Turns = 3
    slash_bps: Share = 5_000
    sign_window: Turns = 3
    attest_window: Turns = 2
    ruling_window: Turns = 3
    min_arbitrator_collateral: Tokens = 250
    arbitrator_fee: Tokens = 50
    max_open_contracts: Annotated[int, Field(strict=True, ge=1, le=100_000)] = 20
    max_message_chars: Annotated[int, Field(strict=True, ge=1, le=100_000)] = 500
    max_content_chars: Annotated[int, Field(strict=True, ge=1, le=_MILLION)] = 4_000
    speech_per_turn: Annotated[int, Field(strict=True, ge=1, le=1_000)] = 2
