"""A mind that plays an archetype."""

from __future__ import annotations

from typing import Final

from sim_orchestrator.minds.base import (
    SCRIPTED_MODEL,
    CallLog,
    CallRecord,
    Decision,
    Observation,
)
from sim_orchestrator.minds.scripted import archetypes
from sim_orchestrator.minds.scripted.desk import Desk
from sim_orchestrator.minds.scripted.duties import duties

ARCHETYPES: Final[dict[str, archetypes.Archetype]] = {
    "worker": archetypes.worker,
    "miner": archetypes.miner,
    "staker": archetypes.staker,
    "burner": archetypes.burner,
    "scholar": archetypes.scholar,
    "banker": archetypes.banker,
    "broker": archetypes.broker,
    "founder": archetypes.founder,
}


def archetype(index: int) -> str:
    """Return the archetype of the agent at a place in the roster, where none is set."""
    return list(ARCHETYPES)[index % len(ARCHETYPES)]


class ScriptedMind:
    """Plays one archetype; the same seed and the same world give the same actions.

    The tokens it reports are drawn from a seeded distribution, 150 to 600 generated a turn, and
    the ledger shows them under the model ``scripted``.

    Args:
        role: a key of ``ARCHETYPES``.
        seed: the seed of all its dice.
    """

    def __init__(self, role: str, seed: str) -> None:
        self._play = ARCHETYPES[role]
        self._role = role
        self._seed = seed

    async def decide(self, observation: Observation, log: CallLog) -> Decision:
        """Do the duties, then what the archetype does."""
        desk = Desk(observation, self._seed)
        duties(desk)
        self._play(desk)
        tokens = desk.dice_for(f"tokens {observation.turn}")
        call = CallRecord(
            attempt=1,
            model=SCRIPTED_MODEL,
            actions=desk.actions,
            thought=f"a {self._role} at work",
            prompt_tokens=tokens.randint(1200, 2400),
            output_tokens=tokens.randint(150, 600),
        )
        log.record(call)
        return Decision(calls=(call,))
