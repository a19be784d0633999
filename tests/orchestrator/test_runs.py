"""Whole runs: the command line, a real engine, and a server that answers as a model does."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

import sim_engine
from sim_engine.__main__ import main as sim_engine_command
from sim_orchestrator import engine_client
from sim_orchestrator.__main__ import main
from sim_orchestrator.minds.base import CallRecord
from sim_orchestrator.minds.build import LOCAL_HINT
from sim_orchestrator.rundir import RunDirectory
from sim_orchestrator.transcript import TurnRecord, read
from tests.orchestrator.conftest import Engine
from tests.orchestrator.stub_ollama import (
    MODEL,
    Hang,
    Http,
    Reply,
    Say,
    StubOllama,
    agent_of,
    say,
)

BASE = ["run", "--plain", "--name", "x", "--model", MODEL]


def play(stub: StubOllama, *flags: str, engine: Engine | None = None) -> int:
    """Run in runs/x, on this engine or on one of its own."""
    where = ["--engine-url", engine.url] if engine else ["--own-engine"]
    return main([*BASE, "--ollama-host", stub.url, *where, *flags])


def about() -> dict[str, Any]:
    found = orjson.loads(Path("runs/x/run.json").read_bytes())
    assert isinstance(found, dict)
    return found


def calls(turn: int | None = None) -> list[tuple[int, str, CallRecord]]:
    entries = [e for e in read(Path("runs/x/transcript.jsonl")) if not isinstance(e, TurnRecord)]
    return [entry for entry in entries if turn in (None, entry[0])]


def turns() -> list[TurnRecord]:
    return [e for e in read(Path("runs/x/transcript.jsonl")) if isinstance(e, TurnRecord)]


def rows(query: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect("runs/x/sim.db") as connection:
        return connection.execute(query).fetchall()


def lively(request: dict[str, Any], number: int) -> Reply:
    """Speak, work and sometimes say something that has to be mended."""
    words = {"type": "speak", "message": f"call {number}"}
    answer = {"thought": "t", "notes": f"note {number}", "actions": [{"type": "job"}, words]}
    text = json.dumps(answer)
    return Say(f"```json\n{text}\n```" if number % 3 == 0 else text, output_tokens=300)


def test_a_whole_run_leaves_a_world_a_transcript_and_a_summary(capsys):
    with StubOllama(behave=lively) as stub:
        assert play(stub, "--agents", "4", "--turns", "5") == 0
        assert len(stub.requests) == 20
    shown = capsys.readouterr().out
    assert "all 5 turns are played" in shown
    assert 'sqlite3 runs/x/sim.db "SELECT turn' in shown
    assert "go on with\nsim-orchestrator run --resume runs/x --turns 10\n" in shown
    assert [record.turn for record in turns()] == [1, 2, 3, 4, 5]
    assert [hash_ for (hash_,) in rows("SELECT turn_hash FROM turns WHERE turn > 0")] == [
        record.turn_hash for record in turns()
    ]
    assert len(rows("SELECT message FROM speech_log")) == 20
    assert rows("SELECT DISTINCT model, output_tokens, prompt_tokens FROM inference") == [
        (MODEL, 300, 1000)
    ]
    run = about()
    assert run["totals"]["models"][MODEL]["calls"] == 20
    assert run["models"][MODEL]["digest"] == f"digest of {MODEL}"
    assert run["sessions"][0]["reason"] == "all 5 turns are played"
    assert run["config"]["initial_balance"] == 50_000
    assert run["engine"] == {
        "version": sim_engine.__version__,
        "protocol_version": sim_engine.PROTOCOL_VERSION,
    }


def test_what_agents_are_told_comes_from_the_world_and_from_their_own_notes():
    with StubOllama(behave=lively) as stub:
        play(stub, "--agents", "2", "--turns", "3")
        told = [request["messages"] for request in stub.requests]
    assert len({messages[0]["content"] for messages in told}) == 1
    for number, messages in enumerate(told, 1):
        text = messages[1]["content"]
        if number > 2:
            assert "call 1" in text or "call 3" in text  # what was said in the turns before
            assert "note " in text


def part_for_the_agent(request: dict[str, Any]) -> str:
    """Return what a prompt tells its agent alone."""
    return str(request["messages"][1]["content"]).split("YOU ARE ")[1]


def test_a_model_is_told_what_was_wrong_with_its_last_answer_and_after_a_break_too():
    def behave(request: dict[str, Any], number: int) -> Reply:
        if agent_of(request) == "agent_0":
            return say({"actions": [{"type": "steal"}, *[{"type": "mine"}] * 200]})
        if agent_of(request) == "agent_1":
            return Say("I would rather not.")
        return Http(400, b'{"error": "out of order"}')

    with StubOllama(behave=behave) as stub:
        assert play(stub, "--agents", "3", "--turns", "2") == 0
        again = ["--resume", "runs/x", "--turns", "3", "--ollama-host", stub.url]
        assert main(["run", *again]) == 0
        asked: dict[int, list[str]] = {number: [] for number in range(3)}
        for request in stub.requests:
            if len(request["messages"]) == 2:  # no repair
                asked[int(agent_of(request)[-1])].append(part_for_the_agent(request))
    first = (asked[number][0] for number in range(3))
    assert not any("could not be used" in told or "did nothing" in told for told in first)
    for later in (1, 2):  # of the same run, and of the one that went on
        told = asked[0][later]
        assert "action 1: there is no action of type 'steal'" in told
        assert "194 actions beyond the first 7 were left out" in told
        assert told.count("was rejected") == 1
        assert "3 × mine was rejected" in told
        assert 'could not be used: "the answer is no JSON object"' in asked[1][later]
        assert "you did nothing: no answer of yours came in time." in asked[2][later]
        assert "out of order" not in asked[2][later]


def test_fees_by_model_are_those_of_the_ledger():
    def behave(request: dict[str, Any], number: int) -> Reply:
        return say(output_tokens=1 + 137 * (number % 5))

    with StubOllama(behave=behave) as stub:
        play(stub, "--agents", "3", "--turns", "6")
    counted = about()["totals"]["models"][MODEL]["fees"]
    assert [(counted,)] == rows("SELECT sum(fee) FROM inference")
    assert counted > 0


def test_a_replay_finds_every_turn_hash_again(capsys):
    with StubOllama(behave=lively) as stub:
        play(stub, "--agents", "3", "--turns", "4")
    assert main(["replay", "runs/x"]) == 0
    assert "4 turns replayed: every turn_hash agrees" in capsys.readouterr().out


def hashes(name: str) -> list[str]:
    entries = read(Path(f"runs/{name}/transcript.jsonl"))
    return [entry.turn_hash for entry in entries if isinstance(entry, TurnRecord)]


def test_without_durations_equal_answers_agree_hash_for_hash(capsys):
    def behave(request: dict[str, Any], number: int) -> Reply:
        words = {"type": "speak", "message": f"I am {agent_of(request)}"}
        mine = {"type": "mine"}
        # No two calls take equally long, nor come in the same order.
        return say({"actions": [mine, words]}, after_seconds=0.013 * (number * 7 % 5))

    flags = ["--agents", "3", "--turns", "3", "--seed", "s"]
    with StubOllama(behave=behave) as stub:
        for name in ("a", "b"):
            assert play(stub, *flags, "--name", name, "--no-report-durations") == 0
        assert play(stub, *flags, "--name", "c") == 0
        assert hashes("a") == hashes("b")
        assert hashes("a")[0] != hashes("c")[0]
        # A turn that is submitted again, further turns and a replay keep to it.
        path = Path("runs/a/transcript.jsonl")
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
        again = ["run", "--resume", "runs/a", "--ollama-host", stub.url, "--turns", "4"]
        assert main([*again, "--report-durations"]) == 2
        assert "report_durations can not change when a run goes on" in capsys.readouterr().err
        assert main(again) == 0
    assert hashes("a")[:3] == hashes("b")
    assert len(hashes("a")) == 4
    assert main(["replay", "runs/a"]) == 0
    assert main(["replay", "runs/c"]) == 0


def changed_line(number: int, change: Callable[[dict[str, Any]], None]) -> None:
    path = Path("runs/x/transcript.jsonl")
    lines = path.read_bytes().splitlines()
    record = orjson.loads(lines[number])
    change(record)
    lines[number] = orjson.dumps(record)
    path.write_bytes(b"\n".join(lines) + b"\n")


def test_a_replay_names_the_first_turn_that_differs(capsys):
    with StubOllama(behave=lively) as stub:
        play(stub, "--agents", "2", "--turns", "4")
    second_turn_first_call = 3
    changed_line(second_turn_first_call, lambda record: record.update(actions=[{"type": "mine"}]))
    assert main(["replay", "runs/x"]) == 1
    assert "turn 2 differs: its turn_hash is" in capsys.readouterr().out
    changed_line(second_turn_first_call, lambda record: record.update(actions=[{"type": "fly"}]))
    assert main(["replay", "runs/x"]) == 1
    assert "turn 2 differs: the engine refuses its decisions" in capsys.readouterr().out


def test_a_report_is_the_summary_again(capsys):
    with StubOllama(behave=lively) as stub:
        play(stub, "--agents", "2", "--turns", "3")
    at_the_end = capsys.readouterr().out.split("run runs/x ")[-1]
    assert main(["report", "runs/x"]) == 0
    again = capsys.readouterr().out.split("run runs/x ")[-1]
    assert again == at_the_end


def test_a_failing_agent_loses_its_turn_and_nobody_else_does():
    def behave(request: dict[str, Any], number: int) -> Reply:
        return Say("I can not decide.") if agent_of(request) == "agent_1" else say()

    with StubOllama(behave=behave) as stub:
        assert play(stub, "--agents", "3", "--turns", "2") == 0
    assert rows("SELECT DISTINCT agent_id FROM actions ORDER BY 1") == [("agent_0",), ("agent_2",)]
    failed = [call for _, agent_id, call in calls() if agent_id == "agent_1"]
    assert [(call.attempt, call.final) for call in failed] == [(1, False), (2, True)] * 2
    charged = rows("SELECT DISTINCT output_tokens FROM inference WHERE agent_id = 'agent_1'")
    assert charged == [(80,)]  # both attempts count


def test_a_run_stops_when_every_agent_has_failed_too_often(capsys):
    with StubOllama(behave=lambda request, number: Http(400, b'{"error": "no GPU"}')) as stub:
        assert play(stub, "--agents", "2", "--turns", "9", "--max-failures", "2") == 1
    shown = capsys.readouterr().out
    assert "stopped after turn 2: every agent has failed 2 turns in a row" in shown
    assert "no GPU" in shown
    assert "go on with\nsim-orchestrator run --resume runs/x\n" in shown
    assert about()["sessions"][0]["exit_code"] == 1


@pytest.mark.parametrize(
    ("flags", "played", "said"),
    [
        (["--max-output-tokens", "500"], 2, "the budget is 500"),
        (["--max-minutes", "0.01"], 1, "the budget is 0.01"),
    ],
)
def test_a_budget_ends_the_run_cleanly_after_its_turn(capsys, flags, played, said):
    slow = say(output_tokens=300, after_seconds=0.7)
    with StubOllama(behave=lambda request, number: slow) as stub:
        assert play(stub, "--agents", "1", "--turns", "9", *flags) == 0
        assert len(turns()) == played
        shown = capsys.readouterr().out
        assert said in shown
        more = shown.split("go on with\n")[1].splitlines()[0].removeprefix("sim-orchestrator ")
        stub.behave = lambda request, number: say(output_tokens=300)
        assert main([*more.split(), "--turns", str(played + 2)]) == 0
    assert len(turns()) == played + 2


def test_a_suspended_agent_is_not_asked_and_works_its_debt_off():
    def behave(request: dict[str, Any], number: int) -> Reply:
        stake = {"type": "stake", "amount": 500}
        answer = {"thought": "", "notes": "", "actions": [stake] if number == 1 else []}
        return say(answer, output_tokens=3000 if number == 2 else 10)

    world = ["--world", "initial_balance=600", "--world", "credit_limit=100"]
    with StubOllama(behave=behave) as stub:
        play(stub, "--agents", "1", "--turns", "6", *world)
        asked = len(stub.requests)
    assert asked < 6
    assert [call.attempt for _, _, call in calls(3)] == [0]
    done = rows("SELECT type, status FROM actions WHERE turn = 3 ORDER BY seq")
    assert done == [("unstake", "applied"), ("job", "applied")]
    assert rows("SELECT count(*) FROM inference WHERE turn = 3 AND output_tokens > 0") == [(0,)]


def test_agents_have_their_own_models_personas_options_and_minds(tmp_path):
    (tmp_path / "run.toml").write_text(
        f"""
agents = 3
turns = 1
model = "{MODEL}"
[[agent]]
id = "agent_1"
model = "other:2b"
persona = "You speak in riddles."
temperature = 0.1
think = true
options = {{ top_k = 5 }}
[[agent]]
id = "agent_2"
mind = "scripted"
archetype = "banker"
balance = 77777
"""
    )
    with StubOllama(models=(MODEL, "other:2b"), context_length=4096) as stub:
        flags = ["--config", "run.toml", "--name", "x", "--own-engine", "--plain"]
        assert main(["run", *flags, "--ollama-host", stub.url]) == 0
        by_model = {request["model"]: request for request in stub.requests}
    assert set(by_model) == {MODEL, "other:2b"}
    assert by_model["other:2b"]["options"]["temperature"] == 0.1
    assert by_model["other:2b"]["options"]["top_k"] == 5
    assert by_model["other:2b"]["options"]["num_ctx"] == 4096  # no more than the model can read
    assert by_model["other:2b"]["think"] is True
    assert "You speak in riddles." in by_model["other:2b"]["messages"][1]["content"]
    assert {model for _, _, call in calls() for model in [call.model]} == {
        MODEL,
        "other:2b",
        "scripted",
    }
    assert turns()[0].agents["agent_2"][0] > 20_000


def test_only_models_that_can_think_are_asked_to(tmp_path, capsys):
    (tmp_path / "run.toml").write_text(
        f"""
agents = 4
turns = 2
think = true
model = "{MODEL}"
[[agent]]
id = "agent_1"
model = "thinker:2b"
[[agent]]
id = "agent_2"
model = "unknown:3b"
[[agent]]
id = "agent_3"
think = false
"""
    )

    def behave(request: dict[str, Any], number: int) -> Reply:
        return say(thinking="let me see" if request["think"] else "")

    models = (MODEL, "thinker:2b", "unknown:3b")
    capabilities = {MODEL: ["completion"], "thinker:2b": ["completion", "thinking"]}
    with StubOllama(behave=behave, models=models, capabilities=capabilities) as stub:
        flags = ["--config", "run.toml", "--name", "x", "--own-engine", "--plain"]
        assert main(["run", *flags, "--ollama-host", stub.url]) == 0
        asked = {(request["model"], request["think"]) for request in stub.requests}
    assert asked == {(MODEL, False), ("thinker:2b", True), ("unknown:3b", True)}
    assert not [call.failure for _, _, call in calls() if call.failure]
    assert {call.thinking for _, agent_id, call in calls() if agent_id == "agent_1"} == {
        "let me see"
    }
    assert capsys.readouterr().out.count(f"{MODEL} can not think before it answers") == 1
    assert about()["models"][MODEL]["capabilities"] == ["completion"]


def test_a_run_that_asks_nobody_to_think_says_nothing_of_it(capsys):
    with StubOllama(capabilities={MODEL: ["completion"]}) as stub:
        assert play(stub, "--agents", "1", "--turns", "1") == 0
    assert "can not think" not in capsys.readouterr().out


def test_a_transcript_without_what_models_thought_is_still_played_on_and_again(capsys):
    with StubOllama(behave=lambda request, number: say(thinking="hm")) as stub:
        assert play(stub, "--agents", "2", "--turns", "2", "--think") == 0
        assert {call.thinking for _, _, call in calls()} == {"hm"}
        path = Path("runs/x/transcript.jsonl")
        lines = [orjson.loads(line) for line in path.read_bytes().splitlines()]
        for line in lines:
            line.pop("thinking", None)
        path.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
        again = ["--resume", "runs/x", "--turns", "3", "--ollama-host", stub.url]
        assert main(["run", *again]) == 0
    assert [call.thinking for _, _, call in calls()] == ["", "", "", "", "hm", "hm"]
    assert main(["replay", "runs/x"]) == 0


def test_recorded_minds_play_another_run_again():
    with StubOllama(behave=lively) as stub:
        play(stub, "--agents", "2", "--turns", "3")
    flags = ["--minds", "recorded", "--recording", "runs/x", "--agents", "2", "--turns", "4"]
    assert main(["run", *flags, "--plain", "--own-engine", "--name", "again"]) == 0
    again = list(read(Path("runs/again/transcript.jsonl")))
    first = [(t, a, c.actions) for t, a, c in calls()]
    played = [(e[0], e[1], e[2].actions) for e in again if not isinstance(e, TurnRecord)]
    assert sorted(played[:6]) == sorted(first)
    last = [e[2].failure for e in again if not isinstance(e, TurnRecord)][-1]
    assert last is not None
    assert "the recording has no decision" in last


def test_parallel_bounds_the_calls_in_flight():
    with StubOllama(behave=lambda request, number: say(after_seconds=0.05)) as stub:
        play(stub, "--agents", "8", "--turns", "1", "--parallel", "3")
        assert stub.most_in_flight == 3


def test_a_turn_waits_no_longer_than_its_deadline():
    def behave(request: dict[str, Any], number: int) -> Reply:
        return Hang() if agent_of(request) == "agent_0" else say()

    with StubOllama(behave=behave) as stub:
        play(stub, "--agents", "2", "--turns", "1", "--deadline", "1")
    failures = {agent_id: call.failure for _, agent_id, call in calls()}
    assert failures == {
        "agent_0": "the turn's deadline passed before its answer came",
        "agent_1": None,
    }


def test_nothing_secret_is_written(monkeypatch):
    key = "operator-canary-7731"
    monkeypatch.setenv("SIM_OPERATOR_KEY", key)
    monkeypatch.setenv("OLLAMA_API_KEY", "ollama-canary-7731")
    with StubOllama(behave=lambda request, number: Http(500, b"{}")) as stub:
        stub_url = f"http://user:password-canary-7731@127.0.0.1:{stub.port}"
        flags = ["--agents", "2", "--turns", "2", "--ollama-host", stub_url]
        assert play(stub, *flags) == 0
    for path in Path("runs/x").iterdir():
        assert b"canary-7731" not in path.read_bytes(), path


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            ["--model", "gemma3:27b"],
            "run `ollama pull gemma3:27b` there, or choose one that is with --model: stub:1b",
        ),
        (["--ollama-host", "http://127.0.0.1:9"], "no Ollama at http://127.0.0.1:9"),
        (["--engine-url", "http://127.0.0.1:9", "--no-own-engine"], "sim-engine serve"),
    ],
)
def test_what_is_missing_is_said_in_one_sentence_before_anything_starts(capsys, flags, said):
    with StubOllama() as stub:
        assert play(stub, *flags) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not Path("runs/x").exists()


def test_an_engine_that_refuses_its_settings_leaves_nothing_behind(capsys, monkeypatch):
    monkeypatch.setenv("SIM_RATE_LIMIT", "many")
    assert main(["run", "--minds", "scripted", "--own-engine", "--name", "x"]) == 2
    assert "the engine did not start: sim-engine: SIM_RATE_LIMIT: 'many'" in capsys.readouterr().err
    assert not Path("runs/x").exists()


def test_a_world_that_was_there_before_the_run_stays(capsys):
    Path("runs/x").mkdir(parents=True)
    Path("world.json").write_text('{"seed": "s", "agents": ["ann"]}')
    assert sim_engine_command(["init", "world.json", "--db-path", "runs/x/sim.db"]) == 0
    before = Path("runs/x/sim.db").read_bytes()
    assert main(["run", "--minds", "scripted", "--own-engine", "--name", "x"]) == 2
    assert "there is a sim.db in this directory" in capsys.readouterr().err
    assert Path("runs/x/sim.db").read_bytes() == before
    assert not Path("runs/x/run.json").exists()


@pytest.mark.parametrize("said", ["its log is in the run's directory", "nobody knows why"])
def test_a_log_stays_where_the_reason_sends_its_reader_there(said):
    directory = RunDirectory(Path("runs/x"))
    directory.create()
    for name in ("model.log", "engine.log", "sim.db", "sim.db-wal", "sim.db.lock"):
        (directory.path / name).write_text("something")
    directory.leave(said)
    assert directory.path.exists() == ("its log is" in said)
    if directory.path.exists():
        assert (directory.path / "model.log").exists()


def test_words_that_send_to_a_log_are_those_that_keep_it():
    assert "its log is" in LOCAL_HINT


@pytest.mark.parametrize("name", ["../evil", "a/b", "/tmp/evil", "..", ".", "a\nb"])
def test_a_name_is_one_directory(capsys, name):
    assert main(["run", "--minds", "scripted", "--own-engine", "--name", name]) == 2
    said = capsys.readouterr().err
    assert f"--name {name!r} is no name of a run" in said
    assert said.count("\n") == 1
    assert list(Path().iterdir()) == []


def test_an_engine_of_another_protocol_is_refused_before_the_run(engine, capsys, monkeypatch):
    known = engine_client.PROTOCOL_VERSION
    with StubOllama() as stub:
        assert play(stub, "--agents", "1", "--turns", "1", engine=engine) == 0
        before = Path("runs/x/run.json").read_bytes()
        capsys.readouterr()
        monkeypatch.setattr(engine_client, "PROTOCOL_VERSION", known + 1)
        said = f"{engine.url} speaks protocol version {known}, this orchestrator {known + 1}: "
        again = ["--resume", "runs/x", "--turns", "2", "--ollama-host", stub.url]
        assert main(["run", *again]) == 2
        assert said in capsys.readouterr().err
        assert Path("runs/x/run.json").read_bytes() == before
        assert play(stub, "--name", "y", engine=engine) == 2
        assert said in capsys.readouterr().err
        assert play(stub, "--name", "z") == 2  # an engine that has no world until then
        assert f"speaks protocol version {known}, " in capsys.readouterr().err
    assert [path.name for path in Path("runs").iterdir()] == ["x"]


def test_a_run_of_one_turn_speaks_of_one(capsys):
    with StubOllama() as stub:
        assert play(stub, "--agents", "1", "--turns", "1") == 0
    assert main(["replay", "runs/x"]) == 0
    shown = capsys.readouterr().out
    for said in ("x: 1 agent, to", "the one turn is played\n1 turn, 1 agent;", "1 turn replayed: "):
        assert said in shown


def test_a_world_that_exists_is_never_overwritten(engine, capsys):
    with StubOllama() as stub:
        assert play(stub, "--agents", "2", "--turns", "2", engine=engine) == 0
        flags = ["--agents", "2", "--turns", "2", "--name", "y"]
        assert play(stub, *flags, engine=engine) == 2
        assert "another world already" in capsys.readouterr().err
        seed = about()["seed"]
        assert play(stub, *flags, "--seed", seed, engine=engine) == 2
        assert "is at turn 2 of this world already" in capsys.readouterr().err
        assert play(stub, "--agents", "2", engine=engine) == 2
        assert "holds a run already" in capsys.readouterr().err


def test_only_one_orchestrator_can_drive_a_world(engine, capsys):
    import httpx

    def behave(request: dict[str, Any], number: int) -> Reply:
        if number == 3:
            httpx.post(f"{engine.url}/turn", json={"turn": 2, "submissions": []})
        return say()

    with StubOllama(behave=behave) as stub:
        assert play(stub, "--agents", "2", "--turns", "3", engine=engine) == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "turn 2 can not be submitted" in shown
    assert "only one orchestrator" in shown
    assert "--resume" not in shown  # the world is another by now
    assert main(["report", "runs/x"]) == 0
    assert "--resume" not in capsys.readouterr().out


def test_what_others_queue_is_counted_and_named_by_a_replay(engine, capsys):
    import httpx

    def behave(request: dict[str, Any], number: int) -> Reply:
        if number == 1:
            queued = {"agent_id": "agent_1", "actions": [{"type": "speak", "message": "hi"}]}
            httpx.post(f"{engine.url}/actions", json=queued).raise_for_status()
        return say()

    with StubOllama(behave=behave) as stub:
        assert play(stub, "--agents", "2", "--turns", "2", engine=engine) == 0
    assert [record.queued for record in turns()] == [1, 0]
    assert main(["replay", "runs/x"]) == 1
    assert "others queued 1 action of it at the engine" in capsys.readouterr().out


def test_a_run_that_stopped_for_failures_goes_on_when_they_are_mended():
    with StubOllama(behave=lambda request, number: Http(400, b"{}")) as stub:
        flags = ["--agents", "2", "--turns", "9", "--max-failures", "1"]
        assert play(stub, *flags) == 1
        stub.behave = lambda request, number: say()
        again = ["--resume", "runs/x", "--turns", "3", "--ollama-host", stub.url]
        assert main(["run", *again]) == 0
    assert [record.turn for record in turns()] == [1, 2, 3]


@pytest.mark.parametrize("command", ["replay", "report"])
def test_a_directory_without_a_run_is_named(capsys, command):
    assert main([command, "nowhere"]) == 2
    assert "nowhere holds no run" in capsys.readouterr().err


def test_a_transcript_that_lost_its_turns_is_no_replay(capsys):
    with StubOllama(behave=lively) as stub:
        play(stub, "--agents", "2", "--turns", "3")
    path = Path("runs/x/transcript.jsonl")
    path.write_bytes(path.read_bytes()[:2_000])
    assert main(["replay", "runs/x"]) == 1
    assert "turn 1 differs: the transcript ends before it, of 3 turns" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["replay", "report"])
def test_a_run_that_never_had_its_world_is_named(capsys, command):
    Path("runs/x").mkdir(parents=True)
    Path("runs/x/run.json").write_bytes(b"")
    assert main([command, "runs/x"]) == 2
    assert "holds a run that never began" in capsys.readouterr().err
    with StubOllama() as stub:
        play(stub, "--agents", "1", "--turns", "1", "--name", "y")
    known = orjson.loads(Path("runs/y/run.json").read_bytes())
    del known["genesis_hash"], known["config"]
    Path("runs/x/run.json").write_bytes(orjson.dumps(known))
    assert main([command, "runs/x"]) == 2
    assert "holds a run that never began" in capsys.readouterr().err


def test_a_name_is_taken_by_whoever_starts_first(capsys):
    Path("runs/x").mkdir(parents=True)
    RunDirectory(Path("runs/x")).create()
    with StubOllama() as stub:
        assert play(stub, "--agents", "1", "--turns", "1") == 2
    assert "holds a run already" in capsys.readouterr().err
    assert Path("runs/x/run.json").exists()


def test_a_name_that_no_directory_can_have_is_said(capsys):
    with StubOllama() as stub:
        assert play(stub, "--agents", "1", "--name", "n" * 300) == 2
    assert "File name too long" in capsys.readouterr().err


def test_a_turn_that_is_finished_first_stands_under_the_header(capsys):
    with StubOllama() as stub:
        play(stub, "--agents", "1", "--turns", "3")
        path = Path("runs/x/transcript.jsonl")
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
        capsys.readouterr()
        again = ["--resume", "runs/x", "--turns", "4", "--ollama-host", stub.url, "--plain"]
        assert main(["run", *again]) == 0
    shown = capsys.readouterr().out
    assert shown.index("run runs/x: 1 agent,") < shown.index("turn 3/4: ") < shown.index("turn 4/4")


def test_impossible_counts_cost_a_turn_and_not_the_run():
    def behave(request: dict[str, Any], number: int) -> Reply:
        return say(output_tokens=-40 if number % 2 else 10**14)

    with StubOllama(behave=behave) as stub:
        assert play(stub, "--agents", "1", "--turns", "2") == 0
        assert {call.failure is None for _, _, call in calls()} == {False}
        again = ["--resume", "runs/x", "--turns", "3", "--ollama-host", stub.url]
        stub.behave = lambda request, number: say()
        assert main(["run", *again]) == 0
    assert [record.turn for record in turns()] == [1, 2, 3]


def test_a_model_that_was_away_is_asked_again():
    def behave(request: dict[str, Any], number: int) -> Reply:
        return Http(404, b'{"error": "model not found"}') if number <= 3 else say()

    with StubOllama(behave=behave) as stub:
        assert play(stub, "--agents", "1", "--turns", "3") == 0
    assert [call.failure is None for _, _, call in calls()] == [False, True, True]


def with_hosts(hosts: str, *flags: str) -> subprocess.CompletedProcess[str]:
    """Run in a process of its own, as the client's library reads the variable once."""
    root = Path(__file__).parents[2]
    return subprocess.run(
        [sys.executable, "-m", "sim_orchestrator", *BASE, "--own-engine", *flags],
        env={**os.environ, "OLLAMA_HOST": hosts, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_several_hosts_can_stand_in_the_environment():
    with StubOllama() as one, StubOllama() as other:
        done = with_hosts(f"{one.url},{other.url}", "--agents", "4", "--turns", "1")
        assert done.returncode == 0, done.stderr
        assert len(one.requests) + len(other.requests) == 4


@pytest.mark.parametrize("hosts", ["http://127.0.0.1:999999", "http://[::1", ","])
def test_hosts_that_are_none_are_said(hosts):
    done = with_hosts(hosts)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "OLLAMA_HOST" in done.stderr
