"""What follows from the public state of a turn for everybody: weights, odds, ranks.

It is worked out once a turn and shared by the prompts and the answer schemas of all agents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from sim_orchestrator.minds.base import Observation

BPS: Final = 10_000
SMALL_ROSTER_AGENTS: Final = 20
"""Up to so many agents a prompt shows every one of them."""

EXTREMES: Final = 5
"""How many of the richest and of the poorest a prompt shows where there are more."""


@dataclass(frozen=True, slots=True)
class Survey:
    """The public world of one turn, with what can be computed from it.

    Attributes:
        agents: every agent's public view by its id, in roster order.
        places: every agent's place in the roster, from 0.
        by_wealth: all ids, the greatest of balance plus stake first, ties in roster order.
        stake_weights: validation weight by agent id (rules §9), of those who have any.
        stake_weight_total: the sum of the weights.
        burn_score_total: the sum of all burn scores.
        mine_actions: applied ``mine`` actions of the last turn; before the first turn one an agent.
        job_actions: applied ``job`` actions of the last turn; before the first turn one an agent.
        fund_expected: the mean of a turn's wage fund (rules §8), in tokens.
        unsold_cores: ids of the cores that nobody owns, ascending.
        pooled: ``(agent id, kind)`` of all active pools.
    """

    agents: Mapping[str, Mapping[str, Any]]
    places: Mapping[str, int]
    by_wealth: tuple[str, ...]
    stake_weights: Mapping[str, int]
    stake_weight_total: int
    burn_score_total: int
    mine_actions: int
    job_actions: int
    fund_expected: int
    unsold_cores: tuple[int, ...]
    pooled: frozenset[tuple[str, str]]

    @property
    def shown_to_all(self) -> tuple[str, ...]:
        """The agents that the public part lists: all, or the richest, then the poorest."""
        if len(self.agents) <= SMALL_ROSTER_AGENTS:
            return tuple(self.agents)
        return self.by_wealth[:EXTREMES] + self.by_wealth[-EXTREMES:]


def wealth(agent: Mapping[str, Any]) -> int:
    """Return balance plus stake, in tokens."""
    return int(agent["balance"]) + int(agent["staked"])


def stake_weight(agent: Mapping[str, Any], turn: int, age_cap: int) -> int:
    """Return the weight in the stake lottery of the turn.  (rules §9)"""
    return int(agent["staked"]) * min(turn - int(agent["stake_since"]), age_cap)


class PublicView:
    """The public part of an observation, as a key: equal when nothing public differs."""

    __slots__ = ("observation",)

    def __init__(self, observation: Observation) -> None:
        self.observation = observation

    def __hash__(self) -> int:
        return id(self.observation.state)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PublicView):
            return NotImplemented
        mine, theirs = self.observation, other.observation
        # Lists of the same objects compare by identity, so this is cheap for the agents of a turn.
        return (
            mine.state is theirs.state
            and mine.turn == theirs.turn
            and mine.config == theirs.config
            and list(mine.speech) == list(theirs.speech)
            and list(mine.history) == list(theirs.history)
        )


def survey(observation: Observation) -> Survey:
    """Work out the public facts of the observation's turn, once for all its agents."""
    return survey_of(PublicView(observation))


@lru_cache(maxsize=4)  # a few worlds may be played side by side in one process
def survey_of(view: PublicView) -> Survey:
    """Work out the public facts of a public view; the last few are remembered."""
    observation = view.observation
    state, config = observation.state, observation.config
    agents = {agent["agent_id"]: agent for agent in state["agents"]}
    weights = {
        agent_id: stake_weight(agent, observation.turn, config["stake_age_cap"])
        for agent_id, agent in agents.items()
        if agent["staked"] > 0
    }
    applied = observation.history[-1]["applied"] if observation.history else None
    return Survey(
        agents=agents,
        places={agent_id: place for place, agent_id in enumerate(agents)},
        by_wealth=tuple(sorted(agents, key=lambda agent_id: -wealth(agents[agent_id]))),
        stake_weights=weights,
        stake_weight_total=sum(weights.values()),
        burn_score_total=sum(agent["burn_score"] for agent in agents.values()),
        mine_actions=len(agents) if applied is None else applied.get("mine", 0),
        job_actions=len(agents) if applied is None else applied.get("job", 0),
        fund_expected=config["job_fund_per_agent"] * len(agents),
        unsold_cores=tuple(core["core_id"] for core in state["cores"] if core["owner"] is None),
        pooled=_pooled(state["contracts"]),
    )


def _pooled(contracts: Sequence[Mapping[str, Any]]) -> frozenset[tuple[str, str]]:
    return frozenset(
        (member, kind)
        for contract in contracts
        if contract["contract_type"] == "pool" and contract["status"] == "active"
        for member in pool_members(contract)
        for kind in contract["terms"]["kinds"]
    )


def pool_members(contract: Mapping[str, Any]) -> list[str]:
    """Return all who share a pool: its proposer and its members."""
    return [contract["proposer"], *contract["terms"]["members"]]
