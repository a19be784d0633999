"""A small world as the orchestrator observes it, made by hand."""

from __future__ import annotations

import dataclasses
from typing import Any

from sim_engine.types.config import Config
from sim_orchestrator.minds.base import Observation

CONFIG: dict[str, int] = {
    field.name: field.default  # type: ignore[misc]
    for field in dataclasses.fields(Config)
}


def agent(agent_id: str, **changes: Any) -> dict[str, Any]:
    return {
        "agent_id": agent_id,
        "balance": 50_000,
        "staked": 0,
        "stake_since": 0,
        "unbonding": [],
        "burn_score": 0,
        "study_level": 0,
        "study_progress": 0,
        "cores": [],
        "suspended": False,
        "contracts_settled": 0,
        "contracts_defaulted": 0,
        "disputes_lost": 0,
        "rulings_made": 0,
        "rulings_missed": 0,
        "blocks_won": 0,
        **changes,
    }


def observation(agent_id: str = "agent_0", *, roster: int = 4, **changes: Any) -> Observation:
    agents = [agent(f"agent_{i}") for i in range(roster)]
    state = {
        "turn": 0,
        "turn_hash": "00",
        "agents": agents,
        "cores": [{"core_id": i, "owner": None} for i in range(4)],
        "chain": {"height": 0, "tip_hash": "00", "mine_difficulty": 400},
        "supply": {"issued": 200_000, "destroyed": 0, "circulating": 200_000},
        "fees": 0,
        "commons": 150 * roster,
        "job_fund": 1000,
        "contracts": [],
        "accounts": {"cores": 0},
    }
    private: dict[str, Any] = {"insights": [], "information": [], "receipts": []}
    me = next(each for each in agents if each["agent_id"] == agent_id)
    return Observation(
        **{
            "turn": 1,
            "agent_id": agent_id,
            "config": CONFIG,
            "state": state,
            "agent": {**me, "private": private},
            **changes,
        }
    )
