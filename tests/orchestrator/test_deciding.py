from __future__ import annotations

from typing import Any

from sim_orchestrator.deciding import submission, work_off_debt
from sim_orchestrator.minds.base import CallRecord, Decision
from tests.orchestrator.observations import agent, observation


def test_the_tokens_of_all_attempts_are_submitted():
    first = CallRecord(
        attempt=1, model="m", failure="prose", final=False,
        prompt_tokens=100, output_tokens=30, duration_ms=5,
    )  # fmt: skip
    second = CallRecord(
        attempt=2, model="m", actions=[{"type": "job"}],
        prompt_tokens=150, output_tokens=40, duration_ms=7,
    )  # fmt: skip
    decision = Decision(calls=(first, second))
    told = submission("a", decision, durations=True)
    assert told == {
        "agent_id": "a",
        "actions": [{"type": "job"}],
        "inference": {
            "output_tokens": 70,
            "prompt_tokens": 250,
            "model": "m",
            "duration_ms": 12,
        },
    }
    del told["inference"]["duration_ms"]
    assert submission("a", decision, durations=False) == told


def test_a_suspended_agent_takes_its_stake_back_and_works():
    private: dict[str, Any] = {"insights": [], "information": [], "receipts": []}
    staked = agent("agent_0", balance=-20_000, staked=700, suspended=True, private=private)
    decision = work_off_debt(observation(agent=staked))
    assert decision.actions == [{"type": "unstake", "amount": 700}, {"type": "job"}]
    assert "inference" not in submission("agent_0", decision, durations=True)
    poor = agent("agent_0", balance=-20_000, suspended=True, private=private)
    assert work_off_debt(observation(agent=poor)).actions == [{"type": "job"}]
