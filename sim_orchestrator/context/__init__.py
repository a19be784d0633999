"""What a model is shown: an observation becomes the messages of a chat, within a budget of tokens.

The parts stand in the order in which an inference server can reuse what it has read:

1. the system message: the rules in brief and the answer's format, the same bytes for every agent
   and every turn of a world;
2. the beginning of the user message: the public world of the turn, the same bytes for every agent;
3. the rest of it: the agent's persona and all that concerns it alone.

Everything here is pure: the same observation and budget give the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import resources
from string import Template
from typing import Final

from sim_orchestrator.context.possible import actions_max
from sim_orchestrator.context.private import private_lines
from sim_orchestrator.context.public import public_world
from sim_orchestrator.context.survey import BPS
from sim_orchestrator.context.tokens import (
    MESSAGE_OVERHEAD_TOKENS,
    ContextTooSmall,
    estimate_foreign_tokens,
    estimate_tokens,
    fit,
)
from sim_orchestrator.context.words import harmless
from sim_orchestrator.minds.base import Observation

__all__ = [
    "REPAIR_TOKENS_MAX",
    "ContextTooSmall",
    "build_messages",
    "estimate_tokens",
    "least_tokens",
    "repair_messages",
]

Message = dict[str, str]

_RULES: Final = Template(
    resources.files(__name__).joinpath("rules.txt").read_text(encoding="utf-8").rstrip("\n")
)
LEAST_WORLD_TOKENS: Final = 300
"""What a prompt must have for the world and the agent's own part, when least can be said."""

_PUBLIC_SHARE_PERCENT: Final = 40
"""How much of what the rules leave of a budget the public world may take."""

_REPAIR_ANSWER_TOKENS: Final = 200
_REPAIR_ERROR_TOKENS: Final = 120
REPAIR_TOKENS_MAX: Final = 400
"""The most tokens that ``repair_messages`` adds; ``build_messages`` leaves room for them."""


def build_messages(observation: Observation, *, budget_tokens: int) -> list[Message]:
    """Turn an observation into the messages that a model is sent.

    Args:
        observation: what the agent knows.
        budget_tokens: the most tokens that the messages may be estimated at, chat markers and a
            repair of them included: the model's context less what it may generate.

    Raises:
        ContextTooSmall: the budget does not hold even the parts that no prompt can do without.
    """
    rules = rules_and_format(observation)
    taken = _rules_tokens(rules) + 2 * MESSAGE_OVERHEAD_TOKENS + REPAIR_TOKENS_MAX
    left = budget_tokens - taken
    public = public_world(observation, max(0, left * _PUBLIC_SHARE_PERCENT // 100))
    private = fit(private_lines(observation), left - public.tokens, "the agent's own part")
    return [
        {"role": "system", "content": rules},
        {"role": "user", "content": f"{public.text}\n\n{private.text}"},
    ]


def least_tokens(config: Mapping[str, int], persona: str) -> int:
    """Return the budget below which no prompt of a world can be built, whatever happens in it.

    Args:
        config: every key of the world's config.
        persona: who the agent is told to be.
    """
    rules = _rules_tokens(_rules(tuple(sorted(config.items()))))
    fixed = 2 * MESSAGE_OVERHEAD_TOKENS + REPAIR_TOKENS_MAX
    return rules + fixed + LEAST_WORLD_TOKENS + estimate_foreign_tokens(persona)


def repair_messages(messages: Sequence[Message], raw_answer: str, error: str) -> list[Message]:
    """Ask once more, quoting the answer that could not be used and what was wrong with it.

    The first messages stay as they are, so that what a server has read of them stays read.

    Args:
        messages: what was sent.
        raw_answer: the model's answer, of any length; its beginning is quoted.
        error: what was wrong with it, in one sentence.
    """
    answer = _clipped(raw_answer, _REPAIR_ANSWER_TOKENS).replace("<|", "< |")
    reason = _clipped(harmless(error, _REPAIR_ERROR_TOKENS * 4), _REPAIR_ERROR_TOKENS)
    return [
        *messages,
        {"role": "assistant", "content": answer},
        {
            "role": "user",
            "content": f"That answer could not be used: {reason}\n"
            'Answer again with one JSON object: {"thought":"…","notes":"…","actions":[…]}',
        },
    ]


def _clipped(text: str, tokens: int) -> str:
    """Return the beginning of a text, as valid Unicode of at most so many estimated tokens."""
    text = text[: tokens * 4].encode("utf-8", "replace").decode("utf-8")
    while estimate_foreign_tokens(text) > tokens:
        text = text[: len(text) * 3 // 4]
    return text


def rules_and_format(observation: Observation) -> str:
    """Return the rules in brief and the answer's format, with the numbers of the world's config."""
    config = observation.config
    return _rules(tuple(sorted(config.items())))


@lru_cache(maxsize=4)
def _rules(config_items: tuple[tuple[str, int], ...]) -> str:
    config = dict(config_items)
    return _RULES.substitute(
        _shares(config),
        **{key: str(value) for key, value in config.items()},
        commons=config["commons_per_agent"],
        max_actions=actions_max(config["action_points"]),
    )


@lru_cache(maxsize=4)
def _rules_tokens(rules: str) -> int:
    return estimate_tokens(rules)


def _shares(config: Mapping[str, int]) -> dict[str, str]:
    """Write the rates of the config in percent."""
    return {
        "wage_bonus": _percent(config["wage_bonus_bps"]),
        "mine_bonus": _percent(config["mine_bonus_bps"]),
        "burn_decay": _percent(config["burn_decay_bps"]),
        "debt_interest": _percent(config["debt_interest_bps"]),
        "inference_price": f"{config['inference_price_bps'] / BPS:g}",
    }


def _percent(bps: int) -> str:
    return f"{bps / 100:g}%"
