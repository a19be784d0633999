"""Public speech.  (rules §6)"""

from __future__ import annotations

from sim_engine.rules.actions.checks import require_text
from sim_engine.rules.in_hand import Turn
from sim_engine.rules.rejections import Rejected
from sim_engine.rules.state import Agent
from sim_engine.types.actions import Speak
from sim_engine.types.rejection_codes import RejectionCode


def speak(turn: Turn, agent: Agent, action: Speak) -> None:
    """Say something to everybody, a few times a turn."""
    # CHECK
    said = turn.speech_counts.get(agent, 0)
    limit = turn.world.config.speech_per_turn
    if said >= limit:
        raise Rejected(
            RejectionCode.SPEECH_LIMIT,
            f"{said} messages were said this turn, the limit is {limit}; speak next turn",
        )
    require_text(turn.world, "message", action.message)
    # EFFECT
    turn.speech_counts[agent] = said + 1
    turn.speeches.append((agent, action.message))
