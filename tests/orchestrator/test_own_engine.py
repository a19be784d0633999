"""Engines that a run has started for itself, and that end before it."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sim_orchestrator import processes
from sim_orchestrator.__main__ import main
from sim_orchestrator.transcript import TurnRecord, read
from tests.orchestrator.stub_ollama import MODEL, Reply, StubOllama, say

SECONDS_MAX = 30.0


def engine_pid() -> int:
    """Find the engine of runs/x in this directory."""
    wanted = b"DB_PATH=runs/x/sim.db"
    for process in Path("/proc").iterdir():
        try:
            here = process.name.isdigit() and (process / "cwd").samefile(Path())
            if here and wanted in (process / "environ").read_bytes().split(b"\0"):
                return int(process.name)
        except (PermissionError, FileNotFoundError, ProcessLookupError):
            continue
    raise AssertionError("runs/x has no engine")


def has_ended(pid: int) -> bool:
    """Say whether a process is gone, or waits for its parent to take note."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def ending_it(
    number: signal.Signals, at: set[int], before: Callable[[], None] = lambda: None
) -> Callable[[dict[str, Any], int], Reply]:
    """Answer, but end the engine at these requests first."""

    def behave(request: dict[str, Any], count: int) -> Reply:
        if count in at:
            before()
            pid = engine_pid()
            os.kill(pid, number)
            while not has_ended(pid):
                time.sleep(0.01)
        return say()

    return behave


def play(stub: StubOllama, *flags: str) -> int:
    run = ["run", "--plain", "--name", "x", "--model", MODEL, "--agents", "1", "--own-engine"]
    return main([*run, "--ollama-host", stub.url, *flags])


def sealed() -> list[int]:
    entries = read(Path("runs/x/transcript.jsonl"))
    return [entry.turn for entry in entries if isinstance(entry, TurnRecord)]


@pytest.fixture(autouse=True)
def _at_once() -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < SECONDS_MAX  # the run's patience alone is 60 seconds


@pytest.mark.parametrize(
    ("number", "at", "how"),
    [
        (signal.SIGKILL, {2, 4}, "was ended by SIGKILL"),
        (signal.SIGTERM, {2}, "ended with exit status 0"),
    ],
)
def test_an_engine_that_ended_is_started_again_on_its_file_and_port(capsys, number, at, how):
    with StubOllama(behave=ending_it(number, at)) as stub:
        assert play(stub, "--turns", "5") == 0
        assert len(stub.requests) == 5
    shown = capsys.readouterr().out
    for place in range(len(at)):
        assert f"the run's own engine {how}: starting it again, {place + 1} of 3\n" in shown
    assert "all 5 turns are played" in shown
    assert sealed() == [1, 2, 3, 4, 5]
    assert main(["replay", "runs/x"]) == 0


def test_an_engine_that_ends_again_and_again_is_given_up(capsys):
    with StubOllama(behave=ending_it(signal.SIGKILL, set(range(2, 99)))) as stub:
        assert play(stub, "--turns", "50") == 1
        shown = " ".join(capsys.readouterr().out.split())
        assert (
            "stopped: the run's own engine was ended by SIGKILL, after it had been started again "
            "3 times in a row "
        ) in shown
        assert shown.count("starting it again") == 3
        assert "go on with sim-orchestrator run --resume runs/x " in shown
        stub.behave = lambda request, number: say()
        assert main(["run", "--resume", "runs/x", "--turns", "6"]) == 0
    assert sealed() == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(("kills", "status"), [(2, 0), (3, 1)])
def test_an_engine_that_is_killed_while_it_starts_again_has_its_other_tries(
    capsys, monkeypatch, kills, status
):
    start = processes.start_server
    started = 0

    def start_and_kill(*args: Any) -> Any:
        nonlocal started
        started += 1
        process = start(*args)
        if 1 < started <= 1 + kills:
            process.kill()
        return process

    monkeypatch.setattr(processes, "start_server", start_and_kill)
    with StubOllama(behave=ending_it(signal.SIGKILL, {2})) as stub:
        assert play(stub, "--turns", "4") == status
    shown = " ".join(capsys.readouterr().out.split())
    assert shown.count("starting it again") == 3
    assert ("it did not come back: the engine did not start: it was ended by" in shown) == status


def test_an_engine_that_has_been_calm_has_all_its_tries_again(capsys, monkeypatch):
    monkeypatch.setattr(processes, "CALM_SECONDS", 0.0)
    with StubOllama(behave=ending_it(signal.SIGKILL, set(range(2, 7)))) as stub:
        assert play(stub, "--turns", "7") == 0
    assert capsys.readouterr().out.count("starting it again, 1 of 3") == 5


def test_an_engine_that_refuses_to_start_again_is_not_asked_twice(capsys):
    def spoil() -> None:
        for end in ("", "-wal", "-shm"):
            Path(f"runs/x/sim.db{end}").unlink(missing_ok=True)
        Path("runs/x/sim.db").write_text("no ledger")

    with StubOllama(behave=ending_it(signal.SIGKILL, {2}, before=spoil)) as stub:
        assert play(stub, "--turns", "5") == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert shown.count("starting it again") == 1
    assert "was ended by SIGKILL, and it did not come back: the engine did not start: " in shown
    assert "runs/x/sim.db" in shown.split("it did not come back: ")[1]


def test_an_engine_that_halts_is_left_alone(capsys):
    def spoil() -> None:
        with closing(sqlite3.connect("runs/x/sim.db")) as ledger:
            ledger.execute("UPDATE agents SET balance = balance + 1")
            ledger.commit()

    with StubOllama(behave=ending_it(signal.SIGKILL, {2}, before=spoil)) as stub:
        assert play(stub, "--turns", "5") == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert shown.count("starting it again") == 1
    assert "stopped: POST /turn was refused with 503: writes are refused since" in shown
    assert "--resume" not in shown  # it would halt again


def test_a_log_that_was_tidied_away_is_not_missed(capsys):
    tidy = Path("runs/x/engine.log").unlink
    with StubOllama(behave=ending_it(signal.SIGKILL, {2}, before=tidy)) as stub:
        assert play(stub, "--turns", "3") == 0
    assert "was ended by SIGKILL: starting it again, 1 of 3\n" in capsys.readouterr().out


def test_the_advice_about_an_own_engine_is_not_to_start_one(capsys):
    with StubOllama(behave=ending_it(signal.SIGKILL, {2})) as stub:
        assert play(stub, "--turns", "3", "--patience", "0") == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "it is the run's own; its log is runs/x/engine.log" in shown
    assert "sim-engine serve" not in shown
