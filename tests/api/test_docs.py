"""docs/api.md: its commands and its agent do what it shows, and it names all that it should."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import httpx
import pytest

from sim_engine.api import limits, server
from sim_engine.api.app import create_app
from sim_engine.api.problems import KINDS
from sim_engine.pending import QUEUED_MAX
from sim_engine.settings import Settings
from tests.api.server import environment, serving, world
from tests.test_readme import blocks, do_what_is_shown

TEXT = (Path(__file__).parents[2] / "docs/api.md").read_text("utf-8")


def section(title: str) -> str:
    return TEXT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


@pytest.mark.timeout(300)
def test_commands_do_what_is_shown(tmp_path: Path):
    do_what_is_shown("docs/api.md", blocks(TEXT), tmp_path)


def test_every_path_is_named():
    document = create_app(Settings()).openapi()
    for path, item in document["paths"].items():
        for method in item:
            assert f"`{method.upper()} {path}`" in TEXT


def test_every_error_is_in_the_row_of_its_status():
    rows = re.findall(r"^\| (\d{3}) \| ([^|]+) \|", section("Errors"), re.MULTILINE)
    named = {code: int(status) for status, codes in rows for code in re.findall(r"`(\w+)`", codes)}
    assert named == {code: kind.status for code, kind in KINDS.items()}


def test_every_setting_is_named_with_its_default():
    rows = re.findall(
        r"^\| `(\w+)` \| (?:`--([\w-]+)`|–) \| (\S+) \|", section("Settings"), re.MULTILINE
    )
    documented = {variable: (flag.replace("-", "_"), default) for variable, flag, default in rows}
    expected = {}
    for one in fields(Settings):
        default = {"operator_key": "–", "allow_open": "0"}.get(one.name, str(one.default))
        flag = "" if one.name == "operator_key" else one.name
        expected[one.metadata["variable"]] = (flag, default)
    assert documented == expected


def test_limits_are_those_of_the_code():
    for phrase in (
        f"more than {server.HEAD_SECONDS:.0f} seconds",
        f"idle for {server.IDLE_SECONDS}",
        f"nothing is read for {server.STALLED_SECONDS:.0f}",
        f"at most {QUEUED_MAX} actions in the queue",
    ):
        assert phrase in TEXT
    assert limits.QUEUE_BODY_BYTES_MAX == 2**20
    assert "more than 1 MiB" in TEXT


# -- the agent that is shown -----------------------------------------------------------------------

OPERATOR_KEY = "an-operator-s-key"


def seal(operator: httpx.Client, turn: int) -> dict[str, Any]:
    answer = operator.post("/turn", json={"turn": turn, "submissions": []})
    assert answer.status_code == 200, answer.text
    sealed: dict[str, Any] = answer.json()
    return sealed


@contextmanager
def playing(folder: Path, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """The agent of the document in a process of its own."""
    (source,) = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    (folder / "agent.py").write_text(source, "utf-8")
    with subprocess.Popen(
        [sys.executable, "agent.py"], cwd=folder, env=environment(**variables),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def test_the_agent_queues_an_action_for_every_turn(tmp_path: Path):
    roster: list[Any] = [{"agent_id": "alice", "balance": 21_500}, "bob"]
    with (
        serving(tmp_path / "sim.db", SIM_OPERATOR_KEY=OPERATOR_KEY) as server,
        server.client(OPERATOR_KEY) as operator,
    ):
        made = operator.post("/init", json=world(roster, agent_keys=True)).json()
        key = made["agent_keys"]["alice"]
        with playing(tmp_path, AGENT_ID="alice", AGENT_KEY=key, ENGINE_URL=server.url) as agent:
            assert agent.stdout is not None
            for turn, wanted in enumerate(["stake", "stake", "job", "job"], start=1):
                said = agent.stdout.readline()
                assert re.fullmatch(rf"{turn - 1} \d+ {{.+}} for turn {turn} \[\]\n", said), said
                (receipt,) = seal(operator, turn)["receipts"]
                assert {**receipt, "queued_id": None} == {
                    "agent_id": "alice",
                    "index": 0,
                    "type": wanted,
                    "status": "applied",
                    "queued_id": None,
                }
            assert operator.get("/agent/alice").json()["staked"] == 2_000


def test_the_agent_ends_with_what_is_refused(tmp_path: Path):
    with (
        serving(tmp_path / "sim.db", SIM_OPERATOR_KEY=OPERATOR_KEY) as server,
        server.client(OPERATOR_KEY) as operator,
    ):
        operator.post("/init", json=world(["alice"]))
        with playing(
            tmp_path, AGENT_ID="alice", AGENT_KEY="no-key", ENGINE_URL=server.url
        ) as agent:
            said, _ = agent.communicate(timeout=30)
    assert agent.returncode == 1
    assert "401" in said.splitlines()[-2]
