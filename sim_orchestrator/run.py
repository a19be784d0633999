"""A run from beginning to end: what it needs is opened, played, summed up and closed again."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from sim_orchestrator.display import Display, counted, make_display, one_line
from sim_orchestrator.engine_client import EngineClient, EngineError
from sim_orchestrator.interrupt import Interrupt
from sim_orchestrator.local_model import LocalModelError
from sim_orchestrator.minds.base import Decision, Mind, ModelsUnavailable
from sim_orchestrator.minds.build import build_minds
from sim_orchestrator.observer import Observer
from sim_orchestrator.orchestrator import play
from sim_orchestrator.processes import ServerFailed, kill_servers, own_engine
from sim_orchestrator.resume import catch_up, read_transcript, resume_command
from sim_orchestrator.rundir import (
    ENGINE_LOG,
    MODEL_LOG,
    RunDirectory,
    RunError,
    checked_name,
    default_name,
    now,
    time_played,
    versions,
)
from sim_orchestrator.settings import Settings, Values, init_body, resolve
from sim_orchestrator.summary import ContractCounts, Summary, print_summary
from sim_orchestrator.tally import Tally
from sim_orchestrator.transcript import Transcript, TranscriptError, TurnRecord
from sim_orchestrator.transport import without_credentials

EXIT_DONE = 0
EXIT_STOPPED = 1


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a run is over, with which exit code, and whether it can go on."""

    reason: str
    exit_code: int = EXIT_DONE
    resumable: bool = True


@dataclass(slots=True)
class Run:
    """Everything that a run in progress has in hand."""

    settings: Settings
    engine: EngineClient
    observer: Observer
    minds: dict[str, Mind]
    transcript: Transcript
    tally: Tally
    display: Display
    interrupt: Interrupt
    started: float = 0.0
    failed_before: int = 0

    def ending(self, turn: int) -> Ending | None:
        """Return why the run is over after a turn; ``None`` while it goes on."""
        settings, tally = self.settings, self.tally
        if turn >= settings.turns:
            all_are = f"all {settings.turns} turns are" if settings.turns > 1 else "the one turn is"
            return Ending(f"{all_are} played")
        in_a_row = tally.in_a_row.values()
        if in_a_row and min(in_a_row) >= settings.max_failures:
            return Ending(
                f"stopped after turn {turn}: every agent has failed "
                f"{counted(min(in_a_row), 'turn')} in a row; the last failure: "
                f"{one_line(tally.last_failure)}",
                EXIT_STOPPED,
            )
        limit = settings.max_output_tokens
        if limit is not None and tally.output_tokens >= limit:
            return Ending(
                f"stopped after turn {turn}: {counted(tally.output_tokens, 'output token')} "
                f"generated, the budget is {limit:,}"
            )
        minutes = (time.monotonic() - self.started) / 60
        if settings.max_minutes is not None and minutes >= settings.max_minutes:
            return Ending(
                f"stopped after turn {turn}: {minutes:.1f} minutes have passed, "
                f"the budget is {settings.max_minutes:g}"
            )
        return None

    def decided(self, agent_id: str, decision: Decision) -> None:
        """Count a decision that came in."""
        for call in decision.calls:
            self.tally.add_call(agent_id, call)
        self.observer.remember(agent_id, decision)
        self.display.decided(agent_id, decision)

    def sealed(self, record: TurnRecord, *, seconds: float) -> None:
        """Record a sealed turn and show it."""
        self.transcript.record_turn(record)
        self.tally.add(record)
        failures = self.tally.failed_decisions - self.failed_before
        self.failed_before = self.tally.failed_decisions
        self.display.turn_sealed(record, failures=failures, seconds=seconds)


async def run(values: Values, *, resume: Path | None, console: Console) -> int:
    """Play a run, or go on with one; print its summary and return the exit code.

    Args:
        values: the merged settings; those of ``run.json`` are among them when a run goes on.
        resume: the directory of the run to go on with.
        console: where to print.

    Raises:
        SettingsError, ModelsUnavailable, ServerFailed, EngineError, RunError, TranscriptError:
            the run can not begin; the text says what to do.
    """
    values = {**values, "seed": values["seed"] or secrets.token_hex(16)}
    settings = resolve(values)
    directory = RunDirectory(
        resume
        or Path(settings.run_dir) / checked_name(settings.name or default_name(settings.minds))
    )
    if resume is None:
        directory.create()
    said = ""
    try:
        async with AsyncExitStack() as stack:
            opened = await _open(values, settings, directory, resume is not None, console, stack)
            return await _play_and_sum_up(*opened, directory=directory, console=console)
    except EngineError as error:
        if error.refused and resume is None:
            directory.discard()  # there is no world of this run, so there is nothing to go on with
        raise
    except (LocalModelError, ModelsUnavailable, ServerFailed) as error:
        said = str(error)
        raise
    finally:
        directory.leave(said)  # what could not begin leaves nothing behind


async def _open(
    values: Values,
    settings: Settings,
    directory: RunDirectory,
    resumed: bool,
    console: Console,
    stack: AsyncExitStack,
) -> tuple[Run, dict[str, Any]]:
    """Open all that a run needs, in the order in which it can fail; minds first."""
    display = make_display(console, plain=settings.plain)
    minds = await build_minds(settings, settings.seed or "", directory.path / MODEL_LOG, stack)
    engine = await _connect(settings, directory, display, stack)
    version = (await engine.health()).get("version")
    await _check_protocol(engine)
    about: dict[str, Any] = {"name": directory.path.name, "sessions": []}
    if resumed:
        about = directory.load()
    about.update(
        settings=_without_secrets(values),
        seed=settings.seed,
        models=minds.models,
        versions=versions(),
    )
    if not resumed:
        directory.save(about)  # before the world is made: its seed must not be lost
    await _make_world(engine, settings, about)
    config = about["config"]
    about["engine"] = {"version": version, "protocol_version": config["protocol_version"]}
    personas = {agent.agent_id: agent.persona for agent in settings.agents}
    opened = Run(
        settings=settings,
        engine=engine,
        observer=Observer(engine, personas, config),
        minds=minds.by_agent,
        transcript=stack.enter_context(Transcript(directory.transcript)),
        tally=Tally(config=config, roster=settings.agent_ids),
        display=display,
        interrupt=Interrupt(
            on_first=lambda: _hurry(engine, display),
            on_second=kill_servers,
        ),
    )
    read_transcript(opened)
    display.started(
        _facts(settings, directory, engine.url, minds.models),
        turns=settings.turns,
        agents=len(settings.agents),
        done=opened.tally.turns,
    )
    for note in minds.notes:
        display.note(note)
    await catch_up(opened, resumed=resumed)
    about["sessions"].append({"started": now()})
    directory.save(about)
    return opened, about


def _hurry(engine: EngineClient, display: Display) -> None:
    engine.patience_seconds = 0.0
    display.note("stopping: once more to stop at once")


def _without_secrets(values: Values) -> Values:
    """Return settings as they may be written down: an address may hold a password."""
    hosts = ",".join(map(without_credentials, values["ollama_host"].split(",")))
    engine = without_credentials(values["engine_url"])
    return {**values, "ollama_host": hosts, "engine_url": engine}


async def _connect(
    settings: Settings, directory: RunDirectory, display: Display, stack: AsyncExitStack
) -> EngineClient:
    """Make a client of the engine, or of one that is started.  Raises EngineError, ServerFailed."""
    key, patience = os.environ.get("SIM_OPERATOR_KEY", ""), settings.patience
    if settings.own_engine:
        log = directory.path / ENGINE_LOG
        running = own_engine(directory.db, log, key=key, note=display.note)
        process = await stack.enter_async_context(running)
        engine = process.client(key=key, patience_seconds=patience)
    else:
        engine = EngineClient(settings.engine_url, key=key, patience_seconds=patience)
    stack.push_async_callback(engine.close)
    return engine


async def _check_protocol(engine: EngineClient) -> None:
    """Refuse an engine of another protocol; without a world, an engine does not say which it has.

    Raises EngineError.
    """
    try:
        await engine.config()
    except EngineError as error:
        if error.code != "no_world":
            raise


async def _make_world(engine: EngineClient, settings: Settings, about: dict[str, Any]) -> None:
    """Create the world, or find the very same one; note its config and where it begins.

    A request that is repeated is answered alike. A run that had its world is not given another.
    """
    try:
        if "genesis_hash" in about:
            await engine.state()
        world = await engine.init(init_body(settings.agents, settings.world, settings.seed or ""))
    except EngineError as error:
        if error.code == "world_exists":
            raise EngineError(
                f"the engine at {engine.url} has another world already, and nothing is ever "
                "overwritten: go on with that world's run by --resume runs/NAME, "
                + (
                    "or choose another --name: there is a sim.db in this directory"
                    if settings.own_engine
                    else "start an engine with another DB_PATH, or let this run have its own by "
                    "--own-engine"
                ),
                code=error.code,
                status=error.status,
            ) from None
        if error.code == "no_world":
            raise EngineError(
                f"the engine at {engine.url} has no world: it is not the one that this run was "
                "played on, or its DB_PATH is another",
                code=error.code,
                status=error.status,
            ) from None
        raise
    about.update(config=await engine.config(), genesis_hash=world["genesis_hash"])


def _facts(
    settings: Settings, directory: RunDirectory, url: str, models: dict[str, dict[str, Any]]
) -> list[str]:
    """Say in a few lines what is about to be played."""
    kinds = Counter(agent.mind for agent in settings.agents)
    minds = ", ".join(f"{count} × {kind}" for kind, count in kinds.items())
    named = ", ".join(sorted(models))
    return [
        f"run {directory.path}: {counted(len(settings.agents), 'agent')}, to turn {settings.turns}",
        f"minds {minds}{f' ({named})' if named else ''}; engine {url}",
    ]


async def _play_and_sum_up(
    opened: Run, about: dict[str, Any], *, directory: RunDirectory, console: Console
) -> int:
    """Play to the end, whatever ends it, and leave a summary on the screen and in run.json."""
    opened.started = time.monotonic()
    with opened.interrupt.watching():
        try:
            ending = await play(opened)
        except asyncio.CancelledError:
            if opened.interrupt.signal is None:
                raise
            _uncancel()
            signal_name = opened.interrupt.signal.name
            ending = Ending(f"stopped by {signal_name}", opened.interrupt.exit_code)
        except EngineError as error:
            for_good = error.overtaken or error.code == "halted"
            ending = Ending(f"stopped: {error}", EXIT_STOPPED, resumable=not for_good)
        except TranscriptError as error:
            ending = Ending(f"stopped: {error}", EXIT_STOPPED)
        opened.interrupt.let_finish()
        opened.display.finished()
        contracts = await _contract_counts(opened.engine)
        about["sessions"][-1].update(
            ended=now(),
            seconds=round(time.monotonic() - opened.started, 1),
            turn=opened.tally.turns,
            reason=ending.reason,
            exit_code=ending.exit_code,
            resumable=ending.resumable,
        )
        about["totals"] = totals(opened.tally, contracts)
        try:
            directory.save(about)
        except RunError as error:
            opened.display.note(str(error))
        db_path = directory.db if opened.settings.own_engine else None
        print_summary(
            console,
            Summary(
                title=f"run {directory.path}",
                ending=ending.reason,
                tally=opened.tally,
                contracts=contracts,
                db_path=db_path,
                time=time_played(about["sessions"]),
                resume=resume_command(directory.path, opened.settings, opened.tally)
                if ending.resumable
                else None,
            ),
        )
    return ending.exit_code


def _uncancel() -> None:
    """Take the cancellation of the current task back: what follows has to run."""
    task = asyncio.current_task()
    if task is not None:
        task.uncancel()


async def _contract_counts(engine: EngineClient) -> ContractCounts | None:
    engine.patience_seconds = 0.0
    try:
        contracts = await engine.contracts()
    except EngineError:
        return None  # the summary says that they are not known
    return Counter((each["contract_type"], each["status"]) for each in contracts)


def totals(tally: Tally, contracts: ContractCounts | None) -> dict[str, Any]:
    """Return what a run came to, for run.json."""
    return {
        "turns": tally.turns,
        "turn_hash": tally.turn_hash,
        "decisions": tally.decisions,
        "failed_decisions": tally.failed_decisions,
        "applied": dict(tally.applied),
        "rejected": dict(tally.rejected),
        "contracts": None
        if contracts is None
        else [[kind, status, count] for (kind, status), count in sorted(contracts.items())],
        "models": {name: asdict(model) for name, model in tally.models.items()},
        "supply": dict(tally.supply),
        "fees": tally.fees,
    }
