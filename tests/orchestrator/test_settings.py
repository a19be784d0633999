from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path

import pytest

import sim_engine.settings
from sim_orchestrator.__main__ import main
from sim_orchestrator.idle import READERS, refuse_idle, refuse_idle_on_resume
from sim_orchestrator.options import ENGINE_VARIABLES, OPTIONS, PREFIX, SettingsError
from sim_orchestrator.settings import (
    Settings,
    Values,
    defaults,
    from_environment,
    from_file,
    init_body,
    merge,
    of_run,
    pairs,
    resolve,
)
from sim_orchestrator.transport import without_credentials

RUN_FILE = """
turns = 30
model = "llama3:8b"
temperature = 1
agents = 3

[world]
commons_per_agent = 300
core_count = 2

[options]
top_p = 0.9

[[agent]]
id = "agent_1"
model = "qwen3:4b"
mind = "ollama"
persona = "You are odd."
temperature = 0.1
balance = 90000
options = { top_k = 20 }

[[agent]]
id = "agent_2"
mind = "scripted"
archetype = "banker"
"""


def settled(*layers: Values) -> Settings:
    return resolve(merge(defaults(), *layers))


def run_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "run.toml"
    path.write_text(text)
    return path


def test_defaults_are_those_of_the_specification():
    settings = settled()
    assert settings.agent_ids == [f"agent_{i}" for i in range(8)]
    assert {agent.model for agent in settings.agents} == {"gemma3:27b"}
    assert settings.turns == 50
    assert settings.minds == "ollama"
    assert settings.world["initial_balance"] == 50_000
    assert not any(agent.think for agent in settings.agents)


def test_flags_win_over_the_environment_and_that_over_the_run_file(tmp_path):
    in_file = from_file(run_file(tmp_path, RUN_FILE))
    environment = from_environment({"SIM_TURNS": "31", "SIM_MODEL": "from-environment"})
    settings = settled(in_file, environment, {"model": "from-flags"})
    assert settings.turns == 31
    assert settings.agents[0].model == "from-flags"
    assert settled(in_file).turns == 30


def test_an_agent_can_have_its_own_model_persona_options_balance_and_mind(tmp_path):
    settings = settled(from_file(run_file(tmp_path, RUN_FILE)))
    first, second, third = settings.agents
    assert first.model == "llama3:8b"
    assert first.options == {"top_p": 0.9, "temperature": 1.0, "num_ctx": 8192, "num_predict": 512}
    assert (second.model, second.persona, second.balance) == ("qwen3:4b", "You are odd.", 90_000)
    assert second.options["temperature"] == 0.1
    assert second.options["top_k"] == 20
    assert (third.mind, third.archetype) == ("scripted", "banker")
    assert init_body(settings.agents, settings.world, "s") == {
        "seed": "s",
        "agents": ["agent_0", {"agent_id": "agent_1", "balance": 90_000}, "agent_2"],
        "config": {
            **defaults()["world"],
            "commons_per_agent": 300,
            "core_count": 2,
        },
    }


def test_agents_without_a_persona_differ_and_an_empty_one_is_kept():
    assert len({agent.persona for agent in settled().agents}) == 8
    assert {agent.persona for agent in settled({"persona": ""}).agents} == {""}


def test_a_run_that_is_older_than_an_option_goes_on_with_its_default():
    saved = merge(defaults(), {"turns": 9, "world": {"tuition": 7}})
    del saved["patience"]
    assert resolve(of_run(saved)).patience == defaults()["patience"]
    assert resolve(of_run(saved)).turns == 9
    assert resolve(of_run(saved)).world == saved["world"]


def test_a_context_that_holds_no_prompt_is_refused():
    with pytest.raises(SettingsError, match=r"of 2048 tokens .* must be at least (\d+)") as caught:
        settled({"num_ctx": 2048, "persona": ""})
    least = int(str(caught.value).rpartition(" ")[2])
    assert 2048 < least < 3000
    settled({"num_ctx": least, "persona": ""})
    with pytest.raises(SettingsError):
        settled({"num_ctx": least, "num_predict": 513, "persona": ""})
    with pytest.raises(SettingsError):
        settled({"num_ctx": least, "persona": "You are many things. " * 20})
    settled({"num_ctx": 600, "minds": "scripted"})


def test_a_roster_can_be_named(tmp_path):
    assert settled({"agents": "ann, bob"}).agent_ids == ["ann", "bob"]
    path = run_file(tmp_path, '[[agent]]\nid = "ann"\n[[agent]]\nid = "bob"\n')
    assert settled(from_file(path)).agent_ids == ["ann", "bob"]
    path = run_file(tmp_path, 'agents = ["x", "y"]\n')
    assert settled(from_file(path)).agent_ids == ["x", "y"]


def test_hosts_and_engine_have_the_names_other_tools_use():
    values = from_environment({"OLLAMA_HOST": "a:1,b:2", "ENGINE_URL": "http://e"})
    assert values == {"ollama_host": "a:1,b:2", "engine_url": "http://e"}
    values = from_environment({"OLLAMA_HOST": "a:1", "SIM_OLLAMA_HOST": "c:3"})
    assert values == {"ollama_host": "c:3"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("turns = 0", "turns in .* is 0: it must be at least 1"),
        ("turns = 1.5", "type int, not float"),
        ("turns = true", "type int, not bool"),
        ('turns = "5"', "type int, not str"),
        ("temperature = nan", "finite"),
        ('minds = "llm"', "choose one of ollama, local, scripted, recorded"),
        ("turn = 5", "did you mean turns"),
        ("turns = ", "is no TOML"),
        ("world = 3", "must be a table"),
        ("[world]\ntution = 3", "did you mean tuition"),
        ("[world]\ntuition = -1", "the world's tuition is -1: it must be at least 0$"),
        ("[world]\ntuition = 1.5", "the world's tuition is 1.5: it must be a whole number$"),
        ("[world]\ntuition = true", "the world's tuition is true: it must be a whole number$"),
        ("[world]\naction_points = 101", "action_points is 101: it must be at most 100$"),
        ("[agent]\nid = 'a'", r"written as \[\[agent\]\]"),
        ("[[agent]]\nmodel = 'a'", "has no id"),
        ("agents = 2\n[[agent]]\nid = 'agent_7'", "not among the agents: agent_0, agent_1"),
        ("[[agent]]\nid = 'a'\nmodell = 'b'", "did you mean model"),
        ("[[agent]]\nid = 'a'\nmind = 'b'", "mind of agent a .* choose one of"),
        ("[[agent]]\nid = 'a b'", "^'a b' is no agent's id: write 1 to 64 of the characters"),
        ("[[agent]]\nid = 'a b'\nbalance = 5", "^'a b' is no agent's id: write 1 to 64 of the"),
        ("[[agent]]\nid = 'a'\nbalance = -5", "balance of agent a is -5: it must be at least 0$"),
        (f"[[agent]]\nid = 'a'\nbalance = {2**53}", "must be at most 9007199254740991$"),
        (f"seed = '{'s' * 1001}'", "^the seed has 1,001 characters: it must have 1 to 1,000"),
        ("agents = ['a', 'a']", "'a' is named twice"),
        ("[options]\nnum_ctx = 4096", "num_ctx is a setting of its own"),
        (f"[options]\nseed = 1{'0' * 30}", "the option seed is 1000.*64-bit"),
        ("[[agent]]\nid = 'a'\narchetype = 'pirate'", "archetype 'pirate': choose one of worker"),
        ("agents = 0", "from 1 to 100000"),
        ("agents = -5", "from 1 to 100000"),
        ("agents = true", "type str, not bool"),
        ("[[agent]]\nid = 'a'\n[[agent]]\nid = 'a'", r"two \[\[agent\]\] tables for 'a'"),
        ('ollama_host = ","', "OLLAMA_HOST names no host"),
        ("agents = []", "there are 0 agents: there must be from 1 to 1,000,000$"),
    ],
)
def test_a_wrong_run_file_is_refused_with_its_reason(tmp_path, text, said):
    with pytest.raises(SettingsError, match=said):
        settled(from_file(run_file(tmp_path, text)))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("SIM_TURNS", "many", "SIM_TURNS is 'many': it must be a whole number"),
        ("SIM_TIMEOUT", "soon", "a number"),
        ("SIM_OWN_ENGINE", "perhaps", "say true or false"),
        ("SIM_PARALLEL", "-1", "at least 1"),
    ],
)
def test_a_wrong_variable_is_named(name, value, said):
    with pytest.raises(SettingsError, match=said):
        from_environment({name: value})


def test_pairs_are_checked():
    assert pairs(["a=1", "b = 2"], "--world", int) == {"a": 1, "b": 2}
    with pytest.raises(SettingsError, match="write it as key=value"):
        pairs(["a"], "--world", int)
    for wrong in ("x", "1.5"):
        with pytest.raises(SettingsError, match=f"'{wrong}' is no whole number"):
            pairs([f"a={wrong}"], "--world", int)


def test_the_engines_variables_may_stand_in_the_same_environment():
    read_by_the_engine = {
        setting.metadata["variable"] for setting in fields(sim_engine.settings.Settings)
    }
    assert set(ENGINE_VARIABLES) == {each for each in read_by_the_engine if PREFIX in each}
    assert from_environment(dict.fromkeys(ENGINE_VARIABLES, "1")) == {}


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("SIM_TURNZ", "did you mean SIM_TURNS?"),
        ("SIM_RATE_LIMT", "did you mean SIM_RATE_LIMIT?"),
        ("SIM_XYZZY", "`run --help` lists those that are"),
    ],
)
def test_a_variable_that_nobody_reads_is_refused(variable, hint):
    with pytest.raises(SettingsError) as caught:
        from_environment({"SIM_TURNS": "3", variable: "1"})
    assert str(caught.value) == (
        f"{variable} is no setting of the orchestrator or of the engine: {hint}"
    )
    assert from_environment({variable: "", f"X{variable}": "1"}) == {}


def used(in_file: Values, *, environment: Values | None = None, flags: Values | None = None):
    """Check that all of this is read by somebody."""
    environment, flags = environment or {}, flags or {}
    refuse_idle(in_file, environment, flags, merge(defaults(), in_file, environment, flags))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "mind = 'ollama'\narchetype = 'banker'",
            "archetype .* its mind is ollama, and only scrip",
        ),
        ("archetype = 'banker'", "archetype of agent a does nothing: its mind is ollama"),
        ("mind = 'scripted'\nmodel = 'm'", "model of agent a does nothing: its mind is scripted"),
        (
            "mind = 'scripted'\ntemperature = 1",
            "temperature of .* only ollama and local minds read",
        ),
        ("mind = 'scripted'\nthink = false", "think of agent a does nothing"),
        ("mind = 'scripted'\npersona = ''", "persona of agent a does nothing"),
        ("mind = 'recorded'\noptions = {}", "options of agent a does nothing"),
        ("mind = 'recorded'\narchetype = 'worker'", "archetype of agent a does nothing"),
        ("mind = 'local'\nmodel = 'm'", "model of .* read it; that of local minds is model_file"),
    ],
)
def test_what_an_agents_mind_does_not_read_is_refused(tmp_path, text, said):
    with pytest.raises(SettingsError, match=said):
        used(from_file(run_file(tmp_path, f"[[agent]]\nid = 'a'\n{text}")))


def test_what_a_run_sets_for_all_is_a_default_and_may_find_nobody(tmp_path):
    mixed = from_file(run_file(tmp_path, RUN_FILE))
    used(mixed)
    used(mixed, environment={"minds": "scripted"})
    used(mixed, flags={"minds": "scripted"})
    own_model = from_file(run_file(tmp_path, "[[agent]]\nid = 'a'\nmodel = 'm'\nnum_ctx = 4096"))
    used(own_model, flags={"minds": "scripted"})  # a trial of a file that was made for models
    with pytest.raises(SettingsError, match="model of agent a"):
        used({**own_model, "minds": "scripted"})
    scripted = from_file(run_file(tmp_path, "[[agent]]\nid = 'a'\narchetype = 'banker'"))
    used(scripted, flags={"minds": "scripted"})
    used({"own_engine": True}, environment={"engine_url": "http://e", "ollama_host": "o:1"})
    used({"engine_url": "http://e"}, flags={"own_engine": True})
    with pytest.raises(SettingsError, match="engine_url in the run file does nothing"):
        used({"engine_url": "http://e", "own_engine": True})


@pytest.mark.parametrize("name", sorted(set(READERS) - {"archetype"}))
def test_a_flag_that_no_mind_reads_is_refused(name):
    flags: Values = {name: {"top_p": 1} if name == "options" else "x", "agents": "2"}
    for minds in ("ollama", "local", "scripted", "recorded"):
        given = {**flags, "minds": minds}
        if minds in READERS[name]:
            used({}, flags=given)
            refuse_idle_on_resume(given, merge(defaults(), given))
            continue
        said = rf"^--[a-z-]+ does nothing: the minds are {minds}, and only"
        with pytest.raises(SettingsError, match=said):
            used({}, flags=given)
        with pytest.raises(SettingsError, match=said):
            refuse_idle_on_resume(given, merge(defaults(), given))
    for_one = {"agent": [{"id": "agent_1", "mind": READERS[name][0]}], "minds": "scripted"}
    used(for_one, flags=flags)


def test_flags_are_refused_where_something_else_has_decided():
    with pytest.raises(SettingsError, match="--engine-url does nothing: this run has an engine of"):
        used({}, flags={"own_engine": True, "engine_url": "http://e"})
    for name in ("name", "run_dir"):
        with pytest.raises(
            SettingsError, match=f"--{name.replace('_', '-')} does nothing with --r"
        ):
            refuse_idle_on_resume({name: "x"}, defaults())
    used({}, flags={"minds": "scripted", "think": False})


def test_recorded_minds_need_a_recording():
    with pytest.raises(SettingsError, match="--recording"):
        settled({"minds": "recorded"})


def test_help_shows_every_option_with_its_default(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    shown = capsys.readouterr().out
    for option in OPTIONS:
        default = option.unset if option.default is None else str(option.default)
        line = next(line for line in shown.splitlines() if f"  {option.flag}" in line)
        after = shown[shown.index(line) :]
        assert f"(default: {default.lower() if option.kind is bool else default})" in after
    assert "initial_balance=50000" in shown


def test_a_wrong_setting_ends_with_one_line_and_exit_code_2(capsys):
    assert main(["run", "--turns", "0"]) == 2
    said = capsys.readouterr().err
    assert said == "sim-orchestrator: --turns is 0: it must be at least 1\n"
    assert "Traceback" not in said
    assert sys.exc_info() == (None, None, None)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://ann:secret@host:1/x", "http://host:1/x"),
        ("ann:secret@host:1", "host:1"),
        ("http://host:1", "http://host:1"),
        ("http://host/a@b", "http://host/a@b"),
    ],
)
def test_credentials_are_not_shown(url, shown):
    assert without_credentials(url) == shown
