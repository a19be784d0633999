"""Playing a transcript on a new engine: every turn must come out the same, hash for hash."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from sim_orchestrator.deciding import submission
from sim_orchestrator.display import counted
from sim_orchestrator.engine_client import EngineClient, EngineError
from sim_orchestrator.minds.base import CallRecord, Decision
from sim_orchestrator.processes import own_engine
from sim_orchestrator.rundir import RunDirectory, RunError
from sim_orchestrator.settings import Settings, init_body, of_run, resolve
from sim_orchestrator.transcript import TurnRecord, read

RecordedTurn = tuple[TurnRecord, dict[str, Decision]]

EXIT_SAME = 0
EXIT_DIFFERS = 1


async def replay(run_dir: Path, console: Console) -> int:
    """Replay a run and compare; return 0 if every turn_hash agrees, else 1.

    Raises:
        RunError, TranscriptError, SettingsError: the directory holds no run that can be replayed.
        ServerFailed, EngineError: the new engine does not start or fails.
    """
    directory = RunDirectory(run_dir)
    about = directory.load()
    if "genesis_hash" not in about:
        raise RunError(f"{run_dir} holds a run that never began: its engine had no world for it")
    settings = resolve(of_run(about["settings"]))
    body = init_body(settings.agents, settings.world, about["seed"])
    key = os.environ.get("SIM_OPERATOR_KEY", "")
    with tempfile.TemporaryDirectory(prefix="sim-replay-") as scratch:
        db_path, log_path = Path(scratch) / "sim.db", Path(scratch) / "engine.log"
        note = partial(console.print, markup=False, highlight=False, soft_wrap=True)
        async with own_engine(db_path, log_path, key=key, note=note) as process:
            engine = process.client(key=key)
            try:
                world = await engine.init(body)
                if world["genesis_hash"] != about["genesis_hash"]:
                    console.print("turn 0 differs: this engine makes another genesis block")
                    return EXIT_DIFFERS
                played = about.get("totals", {}).get("turns", 0)
                return await _compare(engine, directory, settings, played, console)
            finally:
                await engine.close()


async def _compare(
    engine: EngineClient,
    directory: RunDirectory,
    settings: Settings,
    played: int,
    console: Console,
) -> int:
    """Play every turn of the transcript, of which there were so many when the run was left."""
    turns = 0
    total = sum(1 for _ in recorded_turns(directory.transcript))
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("replaying", total=total)
        for record, decisions in recorded_turns(directory.transcript):
            parts = [
                submission(name, decisions[name], durations=settings.report_durations)
                for name in settings.agent_ids
                if name in decisions
            ]
            difference = await _difference(engine, record, parts)
            if difference:
                progress.stop()
                console.print(difference, markup=False, highlight=False, soft_wrap=True)
                return EXIT_DIFFERS
            turns += 1
            progress.advance(bar)
    if turns < played:
        console.print(
            f"turn {turns + 1} differs: the transcript ends before it, of {counted(played, 'turn')}"
        )
        return EXIT_DIFFERS
    console.print(f"{counted(turns, 'turn')} replayed: every turn_hash agrees", highlight=False)
    return EXIT_SAME


async def _difference(engine: EngineClient, record: TurnRecord, parts: list[dict[str, Any]]) -> str:
    """Play one turn; return what differs, or nothing."""
    try:
        answer = await engine.submit(record.turn, parts)
    except EngineError as error:
        if error.status != 422:
            raise
        return f"turn {record.turn} differs: the engine refuses its decisions ({error})"
    if answer["turn_hash"] == record.turn_hash:
        return ""
    why = (
        f"; others queued {counted(record.queued, 'action')} of it at the engine, "
        "and no transcript has what others do"
        if record.queued
        else ""
    )
    return (
        f"turn {record.turn} differs: its turn_hash is {answer['turn_hash']}, "
        f"the transcript has {record.turn_hash}{why}"
    )


def recorded_turns(path: Path) -> Iterator[RecordedTurn]:
    """Read the sealed turns of a transcript with their decisions.  Raises TranscriptError."""
    calls: dict[str, list[CallRecord]] = {}
    for entry in read(path):
        if isinstance(entry, TurnRecord):
            yield entry, {name: Decision(calls=tuple(made)) for name, made in calls.items()}
            calls = {}
        else:
            calls.setdefault(entry[1], []).append(entry[2])
