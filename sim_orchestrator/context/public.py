"""The part of a prompt that is the same for all agents of a turn: the public world."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from sim_orchestrator.context.survey import PublicView, Survey, survey_of
from sim_orchestrator.context.tokens import MUST, Fitted, Line, fit
from sim_orchestrator.context.words import claim
from sim_orchestrator.minds.base import Observation

MESSAGE_CHARS_MAX: Final = 300
"""How much of one public message a prompt shows."""

MESSAGES_MAX: Final = 16
"""The most messages that a prompt shows, the newest: what eight agents can say in a turn."""

RANK_AGENTS: Final = 90
RANK_BLOCKS: Final = 60
RANK_SPEECH: Final = 50


def public_world(observation: Observation, budget_tokens: int) -> Fitted:
    """Describe the public world of the observation's turn within the budget.

    The text depends on the public part of the observation and on the budget only, so it is byte for
    byte the same for all agents of the turn that have the same budget.

    Raises:
        ContextTooSmall: the budget does not hold even the world's key figures.
    """
    return _public_world(PublicView(observation), budget_tokens)


@lru_cache(maxsize=8)  # a few worlds, or budgets of different models, side by side
def _public_world(view: PublicView, budget_tokens: int) -> Fitted:
    observation, world = view.observation, survey_of(view)
    lines = [
        *_figures(observation, world),
        *_roster(observation, world),
        *_blocks(observation.history),
        *_speech(observation.speech),
    ]
    return fit(lines, budget_tokens, "the public world")


def _figures(observation: Observation, world: Survey) -> Iterator[Line]:
    state, config = observation.state, observation.config
    yield Line(f"THE WORLD BEFORE TURN {observation.turn}", MUST)
    if world.unsold_cores:
        ids = ", ".join(map(str, world.unsold_cores[:10]))
        yield Line(
            f"Cores for sale: {ids} ({len(world.unsold_cores)} of {config['core_count']}).", MUST
        )
    else:
        yield Line("Cores for sale: none.", MUST)
    yield Line(
        f"Mine difficulty {state['chain']['mine_difficulty']}. "
        f"Fees waiting for the next mine block {state['fees']}.",
        MUST,
    )
    if not observation.history:
        yield Line("No turn has been played yet.", MUST)
        return
    last = observation.history[-1]
    yield Line(
        f"Last turn: {world.job_actions} worked for a wage fund of {state['job_fund']}; "
        f"{world.mine_actions} mine actions; {last['output_tokens']} tokens of thinking, "
        f"{last['billed_tokens']} charged.",
        MUST,
    )


def _roster(observation: Observation, world: Survey) -> Iterator[Line]:
    shown = world.shown_to_all
    title = "Agents" if len(shown) == len(world.agents) else "The richest and the poorest agents"
    yield Line(f"{title}: balance, staked, burn score, study level", MUST)
    for agent_id in shown:
        yield Line(agent_line(world.agents[agent_id]), RANK_AGENTS)
    if len(shown) < len(world.agents):
        yield Line(_aggregates(world), RANK_AGENTS)
    open_now = Counter(contract["contract_type"] for contract in observation.state["contracts"])
    if open_now:
        counted = ", ".join(f"{name} {count}" for name, count in sorted(open_now.items()))
        yield Line(f"Open contracts: {counted}.", RANK_AGENTS)


def agent_line(agent: Mapping[str, Any]) -> str:
    """Describe an agent's public state in one line."""
    parts = [
        f"{agent['agent_id']}: {agent['balance']}, {agent['staked']}, {agent['burn_score']}, "
        f"{agent['study_level']}"
    ]
    if agent["cores"]:
        parts.append(f"cores {' '.join(map(str, agent['cores'][:10]))}")
    for name, label in _RECORD:
        if agent[name]:
            parts.append(f"{label} {agent[name]}")
    if agent["suspended"]:
        parts.append("suspended")
    return "; ".join(parts)


_RECORD: Final = (
    ("blocks_won", "blocks won"),
    ("contracts_settled", "contracts kept"),
    ("contracts_defaulted", "contracts broken"),
    ("disputes_lost", "disputes lost"),
    ("rulings_made", "rulings made"),
    ("rulings_missed", "rulings missed"),
)


def _aggregates(world: Survey) -> str:
    agents = world.agents.values()
    balances = sorted(agent["balance"] for agent in agents)
    return (
        f"All {len(balances)} agents: median balance {balances[len(balances) // 2]}, "
        f"total {sum(balances)}; staked {sum(agent['staked'] for agent in agents)}; "
        f"burn scores {world.burn_score_total}; {sum(b < 0 for b in balances)} in debt; "
        f"{sum(agent['suspended'] for agent in agents)} suspended."
    )


def _blocks(history: Sequence[Mapping[str, Any]]) -> Iterator[Line]:
    for turn in history[-2:]:
        won = [
            f"{block['kind']} {block['producer']} {block['reward']}"
            for block in turn["blocks"]
            if block["status"] == "canonical"
        ]
        yield Line(
            f"Blocks of turn {turn['turn']}: {', '.join(won) or 'none'}.", RANK_BLOCKS, turn["turn"]
        )


def _speech(messages: Sequence[Mapping[str, Any]]) -> Iterator[Line]:
    for message in messages[-MESSAGES_MAX:]:
        who = f"Turn {message['turn']}, {message['agent_id']}"
        words = claim(who, message["message"], MESSAGE_CHARS_MAX)
        yield Line(words, RANK_SPEECH, message["turn"])
