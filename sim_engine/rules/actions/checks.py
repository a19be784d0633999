"""Checks that actions of several families share."""

from __future__ import annotations

from sim_engine.rules.rejections import Rejected
from sim_engine.rules.state import Agent, World
from sim_engine.types.rejection_codes import RejectionCode


def require_funds(agent: Agent, amount: int, purpose: str) -> None:
    """Reject with ``insufficient_funds`` what the agent can not pay (tokens).  (rules §2)"""
    if not agent.can_pay(amount):
        raise Rejected(
            RejectionCode.INSUFFICIENT_FUNDS,
            f"{purpose} needs {amount} tokens, balance is {agent.balance}",
        )


def require_text(world: World, name: str, text: str) -> None:
    """Reject with ``too_long`` a text of more than max_message_chars code points."""
    _require_length(name, text, world.config.max_message_chars)


def require_content(world: World, name: str, text: str) -> None:
    """Reject with ``too_long`` a content of more than max_content_chars code points."""
    _require_length(name, text, world.config.max_content_chars)


def _require_length(name: str, text: str, limit: int) -> None:
    if len(text) > limit:
        raise Rejected(
            RejectionCode.TOO_LONG,
            f"{name} has {len(text)} characters, the limit is {limit}; shorten it",
        )
