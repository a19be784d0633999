"""Runs that are killed, interrupted, cut off from their engine or out of disk, and go on."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from sim_orchestrator.__main__ import main
from sim_orchestrator.transcript import TurnRecord, read
from tests.orchestrator.conftest import Engine
from tests.orchestrator.stub_ollama import (
    MODEL,
    Hang,
    Reply,
    Say,
    StubOllama,
    agent_of,
    say,
)

ROOT = Path(__file__).parents[2]
TRANSCRIPT = Path("runs/x/transcript.jsonl")
SECONDS_MAX = 60.0


def until(condition: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + SECONDS_MAX
    while not condition():
        assert time.monotonic() < ends_at, "it did not happen"
        time.sleep(0.01)


def flags(stub: StubOllama, engine: Engine) -> list[str]:
    return ["--ollama-host", stub.url, "--engine-url", engine.url, "--plain"]


def play(stub: StubOllama, engine: Engine, *more: str) -> int:
    return main(["run", "--name", "x", "--model", MODEL, *flags(stub, engine), *more])


def resume(stub: StubOllama, engine: Engine, *more: str) -> int:
    return main(["run", "--resume", "runs/x", *flags(stub, engine), *more])


class Orchestrator:
    """The command line in a process of its own, which can be killed."""

    def __init__(self, *arguments: str, file_bytes_max: int | None = None) -> None:
        def limit() -> None:
            if file_bytes_max is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes_max, file_bytes_max))

        self.output = Path("orchestrator.log")
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "sim_orchestrator", *arguments],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=limit,
            )

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        return self.process.wait(SECONDS_MAX)

    def text(self) -> str:
        return " ".join(self.output.read_text().split())


@pytest.fixture
def orchestrators() -> Iterator[list[Orchestrator]]:
    started: list[Orchestrator] = []
    yield started
    for each in started:
        each.process.kill()
        each.process.wait()


def recorded() -> list[tuple[int, str]]:
    """Whose calls of which turn are in the transcript."""
    if not TRANSCRIPT.exists():
        return []
    return [(e[0], e[1]) for e in read(TRANSCRIPT) if not isinstance(e, TurnRecord)]


def sealed() -> list[int]:
    if not TRANSCRIPT.exists():
        return []
    return [entry.turn for entry in read(TRANSCRIPT) if isinstance(entry, TurnRecord)]


def assert_whole(turns: int, agents: int) -> None:
    """Every turn was decided once by every agent, and the world comes out of the transcript."""
    assert sealed() == list(range(1, turns + 1))
    assert Counter(recorded()) == {
        (turn, f"agent_{i}"): 1 for turn in range(1, turns + 1) for i in range(agents)
    }
    assert main(["replay", "runs/x"]) == 0


def turn_of(request: dict[str, Any]) -> int:
    text = request["messages"][1]["content"].split("YOU ARE ")[1]
    return int(text.split("TURN ")[1].split("\n")[0])


def test_killed_while_minds_think_no_paid_answer_is_asked_again(engine, orchestrators):
    patient = threading.Event()

    def behave(request: dict[str, Any], number: int) -> Reply:
        stuck = turn_of(request) == 2 and agent_of(request) == "agent_1" and not patient.is_set()
        return Hang() if stuck else say()

    with StubOllama(behave=behave) as stub:
        run = ["run", "--name", "x", "--model", MODEL, "--agents", "3", "--turns", "4"]
        orchestrators.append(Orchestrator(*run, *flags(stub, engine)))
        until(lambda: (2, "agent_0") in recorded() and (2, "agent_2") in recorded())
        orchestrators[0].end(signal.SIGKILL)
        patient.set()
        assert resume(stub, engine) == 0
        asked = Counter((turn_of(request), agent_of(request)) for request in stub.requests)
    assert asked.pop((2, "agent_1")) == 2  # the call that was never answered
    assert set(asked.values()) == {1}
    assert_whole(turns=4, agents=3)


def test_killed_between_an_answer_and_its_repair_only_the_repair_is_made(engine, orchestrators):
    patient = threading.Event()

    def behave(request: dict[str, Any], number: int) -> Reply:
        if len(request["messages"]) == 2:
            return Say("prose")
        return say() if patient.is_set() else Hang()

    with StubOllama(behave=behave) as stub:
        run = ["run", "--name", "x", "--model", MODEL, "--agents", "1", "--turns", "1"]
        orchestrators.append(Orchestrator(*run, *flags(stub, engine)))
        until(lambda: len(stub.requests) == 2)
        orchestrators[0].end(signal.SIGKILL)
        patient.set()
        assert resume(stub, engine) == 0
        assert [len(request["messages"]) for request in stub.requests] == [2, 4, 4]


def test_killed_when_all_is_decided_but_not_submitted(engine, orchestrators):
    with StubOllama() as stub:
        run = ["run", "--name", "x", "--model", MODEL, "--agents", "2", "--turns", "3"]

        def behave(request: dict[str, Any], number: int) -> Reply:
            if number == 3:
                engine.stop()  # turn 2 can be decided, but not submitted
            return say()

        stub.behave = behave
        orchestrators.append(Orchestrator(*run, *flags(stub, engine)))
        until(lambda: recorded().count((2, "agent_0")) + recorded().count((2, "agent_1")) == 2)
        orchestrators[0].end(signal.SIGKILL)
        engine.start()
        assert resume(stub, engine) == 0
        assert len(stub.requests) == 6
    assert_whole(turns=3, agents=2)


def test_killed_when_a_turn_is_sealed_but_not_recorded(engine):
    with StubOllama() as stub:
        assert play(stub, engine, "--agents", "2", "--turns", "3") == 0
        lines = TRANSCRIPT.read_bytes().splitlines(keepends=True)
        last = orjson.loads(lines[-1])
        assert last["record"] == "turn"
        TRANSCRIPT.write_bytes(b"".join(lines[:-1]) + lines[-1][:40])
        assert resume(stub, engine, "--turns", "5") == 0
        assert len(stub.requests) == 10
    assert_whole(turns=5, agents=2)
    again = [entry for entry in read(TRANSCRIPT) if isinstance(entry, TurnRecord)]
    assert again[2].turn_hash == last["turn_hash"]
    assert again[2].agents == last["agents"]


def test_a_transcript_that_lost_what_was_played_does_not_go_on(engine, capsys):
    with StubOllama() as stub:
        assert play(stub, engine, "--agents", "1", "--turns", "3") == 0
        lines = TRANSCRIPT.read_bytes().splitlines(keepends=True)
        TRANSCRIPT.write_bytes(b"".join(lines[:-2]))
        assert resume(stub, engine, "--turns", "5") == 2
        assert "its turn 3 was not submitted from this transcript" in capsys.readouterr().err
        TRANSCRIPT.write_bytes(b"".join(lines[:-3]))
        assert resume(stub, engine, "--turns", "5") == 2
        assert "it is at turn 3, the transcript at 1" in capsys.readouterr().err


def test_a_run_is_not_given_another_world(engine, tmp_path, capsys):
    with StubOllama() as stub:
        assert play(stub, engine, "--agents", "1", "--turns", "1") == 0
        before = Path("runs/x/run.json").read_bytes()
        engine.stop()
        engine.db.rename(tmp_path / "elsewhere.db")
        engine.start()
        assert resume(stub, engine, "--turns", "2") == 2
    assert "has no world: it is not the one that this run was played" in capsys.readouterr().err
    assert httpx.get(f"{engine.url}/state").json()["code"] == "no_world"
    assert Path("runs/x/run.json").read_bytes() == before


def test_a_run_that_goes_on_keeps_its_world_and_may_change_the_rest(engine, capsys):
    with StubOllama() as stub:
        assert play(stub, engine, "--agents", "2", "--turns", "2") == 0
        assert resume(stub, engine, "--agents", "3") == 2
        said = "agents can not change when a run goes on: it is 2 in runs/x, not 3\n"
        assert said in capsys.readouterr().err
        assert resume(stub, engine, "--world", "tuition=3", "--world", "core_count=4") == 2
        said = "tuition can not change when a run goes on: it is 200 in runs/x, not 3\n"
        assert said in capsys.readouterr().err
        assert resume(stub, engine, "--own-engine") == 2
        said = "own_engine can not change when a run goes on: it is false in runs/x, not true\n"
        assert said in capsys.readouterr().err
        assert resume(stub, engine, "--world", "tuition=200") == 0  # it is that by default
        assert resume(stub, engine, "--turns", "3", "--temperature", "0.1") == 0
        assert stub.requests[-1]["options"]["temperature"] == 0.1
        notes = stub.requests[-1]["messages"][1]["content"]
        assert "I worked" in notes  # from before the interruption
    about = orjson.loads(Path("runs/x/run.json").read_bytes())
    assert [session["turn"] for session in about["sessions"]] == [2, 2, 3]
    assert " s in 3 sessions" in " ".join(capsys.readouterr().out.split())


def test_an_own_engine_goes_on_with_its_file(capsys):
    with StubOllama() as stub:
        run = ["run", "--name", "x", "--model", MODEL, "--own-engine", "--agents", "2"]
        assert main([*run, "--ollama-host", stub.url, "--turns", "2"]) == 0
        again = ["run", "--resume", "runs/x", "--turns", "4"]
        assert main([*again, "--engine-url", "http://127.0.0.1:9"]) == 2
        assert "--engine-url does nothing: this run has an engine of" in capsys.readouterr().err
        assert main(again) == 0
    assert_whole(turns=4, agents=2)


def test_the_first_signal_ends_the_run_cleanly(engine, orchestrators):
    def behave(request: dict[str, Any], number: int) -> Reply:
        return Hang() if turn_of(request) == 2 else say()

    with StubOllama(behave=behave) as stub:
        run = ["run", "--name", "x", "--model", MODEL, "--agents", "2", "--turns", "3"]
        orchestrators.append(Orchestrator(*run, *flags(stub, engine)))
        until(lambda: len(stub.requests) == 4)
        assert orchestrators[0].end(signal.SIGINT) == 130
        shown = orchestrators[0].text()
        assert "stopped by SIGINT 1 turn, 2 agents" in shown
        assert "go on with sim-orchestrator run --resume runs/x sqlite3" in shown
        assert "wealth" in shown
        assert "Traceback" not in shown
        assert httpx.get(f"{engine.url}/state").json()["turn"] == 1
        stub.behave = lambda request, number: say()
        assert resume(stub, engine) == 0
    assert_whole(turns=3, agents=2)


def test_a_second_signal_ends_it_at_once_with_what_it_started(orchestrators):
    with StubOllama(behave=lambda request, number: Hang()) as stub:
        run = ["run", "--name", "x", "--model", MODEL, "--agents", "1", "--own-engine"]
        # an engine that hangs, too, so that there is something to wait for
        orchestrators.append(Orchestrator(*run, "--ollama-host", stub.url, "--patience", "600"))
        until(lambda: len(stub.requests) == 1)
        url = orchestrators[0].text().split("engine ")[1].split()[0]
        port = int(url.rsplit(":", 1)[1])
        engine = _pid_listening_on(port)
        os.kill(engine, signal.SIGSTOP)
        orchestrators[0].process.send_signal(signal.SIGTERM)
        until(lambda: "once more to stop at once" in orchestrators[0].text())
        assert orchestrators[0].end(signal.SIGTERM) == 143
        until(lambda: not _connects(port))


def _pid_listening_on(port: int) -> int:
    wanted = f"PORT={port}".encode()
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            environment = (process / "environ").read_bytes().split(b"\0")
        except (PermissionError, FileNotFoundError, ProcessLookupError):
            continue
        if wanted in environment:
            return int(process.name)
    raise AssertionError(f"nobody has PORT={port}")


def _connects(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_full_disk_stops_the_run_before_anything_unrecorded_is_played(engine, orchestrators):
    with StubOllama() as stub:
        run = ["run", "--name", "x", "--model", MODEL, "--agents", "2", "--turns", "50"]
        orchestrators.append(
            Orchestrator(*run, *flags(stub, engine), file_bytes_max=60_000),
        )
        assert orchestrators[0].wait() == 1
        shown = orchestrators[0].text()
        assert "transcript.jsonl: File too large. Nothing was submitted that is not" in shown
        assert "Traceback" not in shown
        assert "go on with sim-orchestrator run --resume runs/x" in shown
        played = httpx.get(f"{engine.url}/state").json()["turn"]
        assert played in (len(sealed()), len(sealed()) + 1)
        assert resume(stub, engine, "--turns", str(played + 2)) == 0
        assert len(stub.requests) <= 2 * (played + 2) + 2
    assert_whole(turns=played + 2, agents=2)


def test_an_engine_killed_between_turns_is_waited_for(engine):
    def behave(request: dict[str, Any], number: int) -> Reply:
        if number in (3, 7):
            os.kill(engine.pid, signal.SIGKILL)
            engine.stop()
            engine.start_later(0.5)
        return say()

    with StubOllama(behave=behave) as stub:
        assert play(stub, engine, "--agents", "2", "--turns", "5") == 0
        until(lambda: engine.pid != 0)
    assert_whole(turns=5, agents=2)


def test_an_engine_that_stays_away_ends_the_run_with_a_word(engine, capsys):
    def behave(request: dict[str, Any], number: int) -> Reply:
        if number == 2:
            engine.stop()
        return say()

    with StubOllama(behave=behave) as stub:
        assert play(stub, engine, "--agents", "1", "--patience", "0.5") == 1
        shown = " ".join(capsys.readouterr().out.split())
        assert f"stopped: no engine at {engine.url}" in shown
        assert "contracts not known: the engine could not be asked" in shown
        assert "go on with sim-orchestrator run --resume runs/x" in shown
        engine.start()
        stub.behave = lambda request, number: say()
        assert resume(stub, engine, "--turns", "3") == 0
        assert len(stub.requests) == 3
    assert_whole(turns=3, agents=1)


class LossyProxy:
    """Passes connections on to an engine, and loses some answers to ``POST /turn``.

    ``loses(n)`` says what becomes of the n-th: ``"request"`` never reaches the engine, ``"answer"``
    reaches it, but the connection breaks before the answer is there; anything else passes.
    """

    def __init__(self, engine: Engine, loses: Callable[[int], str]) -> None:
        self._target = int(engine.url.rsplit(":", 1)[1])
        self._loses = loses
        self.posts = 0
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._target)) as engine:
            while request := _read_message(client):
                fate = ""
                if request.startswith(b"POST /turn"):
                    self.posts += 1
                    fate = self._loses(self.posts)
                if fate == "request":
                    return
                engine.sendall(request)
                answer = _read_message(engine)
                if fate == "answer":
                    return
                client.sendall(answer)


def _read_message(stream: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        part = stream.recv(65_536)
        if not part:
            return b""
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    while len(body) < length:
        body += stream.recv(65_536)
    return head + b"\r\n\r\n" + body


def test_a_turn_cut_off_on_its_way_is_neither_lost_nor_played_twice(engine):
    fates = {1: "answer", 3: "request", 4: "answer", 6: "request"}
    proxy = LossyProxy(engine, lambda number: fates.get(number, ""))
    with StubOllama() as stub:
        run = ["run", "--name", "x", "--model", MODEL, "--agents", "2", "--turns", "5"]
        hosts = ["--ollama-host", stub.url, "--engine-url", proxy.url, "--plain"]
        assert main([*run, *hosts]) == 0
        assert len(stub.requests) == 10
    proxy.close()
    assert proxy.posts == 5 + len(fates)
    assert httpx.get(f"{engine.url}/state").json()["turn"] == 5
    assert_whole(turns=5, agents=2)


def test_an_ollama_that_dies_in_a_turn_and_returns_costs_nobody_the_turn(engine):
    with StubOllama() as stub:

        def behave(request: dict[str, Any], number: int) -> Reply:
            if number == 3:
                threading.Thread(target=restart).start()
                return Hang()
            return say()

        def restart() -> None:
            stub.stop()
            time.sleep(0.3)
            stub.start()

        stub.behave = behave
        assert play(stub, engine, "--agents", "2", "--turns", "3") == 0
    failures = [e[2].failure for e in read(TRANSCRIPT) if not isinstance(e, TurnRecord)]
    assert failures == [None] * 6
