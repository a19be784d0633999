"""Going on with a run that was interrupted, at any moment and in any way."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING

from sim_orchestrator.engine_client import EngineError
from sim_orchestrator.minds.base import CallRecord, Decision
from sim_orchestrator.orchestrator import seal_turn
from sim_orchestrator.transcript import TurnRecord

if TYPE_CHECKING:
    from sim_orchestrator.run import Run
    from sim_orchestrator.settings import Settings
    from sim_orchestrator.tally import Tally


def resume_command(path: Path, settings: Settings, tally: Tally) -> str:
    """Return the command that goes on with a run: what is used up is as much again."""
    words = ["sim-orchestrator", "run", "--resume", str(path)]
    if tally.turns >= settings.turns:
        words += ["--turns", str(tally.turns + settings.turns)]
    limit = settings.max_output_tokens
    if limit is not None and tally.output_tokens >= limit:
        words += ["--max-output-tokens", str(tally.output_tokens + limit)]
    return shlex.join(words)


async def catch_up(run: Run, *, resumed: bool) -> None:
    """Bring a run whose transcript was read to where its engine is: at most one turn beyond it.

    A turn that was submitted, but whose end was not recorded, is submitted once more as it stands
    in the transcript; the engine answers it with what it had answered before.

    Raises:
        EngineError: the engine's world is not the one of the transcript.
    """
    if run.transcript.mended:
        run.display.note("the transcript ended in half a line, which was cut off")
    recorded = run.tally.turns
    state = await run.engine.state()
    sealed = int(state["turn"])
    if not resumed and sealed > 0:
        raise EngineError(
            f"the engine at {run.engine.url} is at turn {sealed} of this world already: "
            "go on with its run by --resume runs/NAME",
            code="world_exists",
            status=409,
        )
    if sealed == recorded and recorded and state["turn_hash"] != run.tally.turn_hash:
        raise EngineError(_other_world(run, f"its turn {sealed} has another hash"))
    if not recorded <= sealed <= recorded + 1:
        raise EngineError(
            _other_world(run, f"it is at turn {sealed}, the transcript at {recorded}")
        )
    await run.observer.recall(recorded)
    if sealed > recorded:
        await _finish(run, sealed)


def read_transcript(run: Run) -> None:
    """Count the sealed turns; the calls of the turn in hand are counted when they are used."""
    calls: dict[str, list[CallRecord]] = {}
    for entry in run.transcript.load():
        if not isinstance(entry, TurnRecord):
            calls.setdefault(entry[1], []).append(entry[2])
            continue
        for agent_id, made in calls.items():
            for call in made:
                run.tally.add_call(agent_id, call)
            run.observer.remember(agent_id, Decision(calls=tuple(made)))
        run.tally.add(entry)
        calls.clear()
    run.failed_before = run.tally.failed_decisions
    run.tally.in_a_row.clear()  # what made every agent fail may have been mended since


async def _finish(run: Run, turn: int) -> None:
    decisions = {
        agent_id: run.transcript.decision(turn, agent_id) for agent_id in run.settings.agent_ids
    }
    complete = {name: decision for name, decision in decisions.items() if decision is not None}
    if len(complete) < len(decisions):
        raise EngineError(
            _other_world(run, f"its turn {turn} was not submitted from this transcript")
        )
    for agent_id, decision in complete.items():
        run.decided(agent_id, decision)
    await seal_turn(run, turn, complete, time.monotonic())


def _other_world(run: Run, why: str) -> str:
    return (
        f"the world at {run.engine.url} is not where {run.transcript.path.parent} left it: {why}. "
        "Point ENGINE_URL at the engine that this run was played on"
    )
