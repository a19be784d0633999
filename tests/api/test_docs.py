"""docs/api.md: its commands do what it shows, and it names all that it should."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from sim_engine.api import limits, server
from sim_engine.api.app import create_app
from sim_engine.api.problems import KINDS
from sim_engine.pending import QUEUED_MAX
from sim_engine.settings import Settings
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
