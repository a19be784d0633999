"""The documents say what the code does: config keys with bounds, rejection codes, actions."""

import re
from pathlib import Path
from typing import get_args

import pytest

from sim_engine.types.conditions import ActionType
from sim_engine.types.rejection_codes import RejectionCode
from sim_engine.types.requests import INIT_ADAPTER
from sim_orchestrator.options import MIND_KINDS, OPTIONS

DOCS = Path(__file__).parents[1] / "docs"
RULES = (DOCS / "rules.md").read_text(encoding="utf-8")


def number(text: str) -> int:
    return 2**53 - 1 if text == "2⁵³ − 1" else int(text.replace(",", ""))


def documented_config() -> dict[str, tuple[int, int, int]]:
    section = RULES[RULES.index("## 14.") :]
    cells = re.findall(r"\| `(\w+)` \| ([\d,]+) \| ([\d,]+) … ([\d,]+|2⁵³ − 1) (?=\|)", section)
    # Two keys stand in a row of the table, so that a cell's last border is the first of the next.
    return {key: (number(default), number(low), number(high)) for key, default, low, high in cells}


def test_the_config_table_has_every_key_with_its_default_and_its_bounds():
    schema = INIT_ADAPTER.json_schema()["$defs"]["Config"]["properties"]
    known = {key: (one["default"], one["minimum"], one["maximum"]) for key, one in schema.items()}
    assert documented_config() == known


@pytest.mark.parametrize("code", list(RejectionCode))
def test_every_rejection_code_is_in_the_rules(code):
    section = RULES[RULES.index("## 6.") : RULES.index("## 7.")]
    assert f"`{code.value}`" in section


@pytest.mark.parametrize("action", get_args(ActionType))
def test_every_action_is_in_the_rules(action):
    section = RULES[RULES.index("## 6.") : RULES.index("## 7.")]
    assert f"| `{action}` |" in section


def test_every_option_of_a_run_is_in_its_document_with_its_default():
    text = (DOCS / "orchestrator.md").read_text(encoding="utf-8")
    found = dict(re.findall(r"^\| `(\w+)` \| (.+?) \| .+ \|$", text, re.MULTILINE))
    expected = {
        option.name: option.unset
        if option.default is None
        else str(option.default).lower()
        if option.kind is bool
        else f"`{option.default}`"
        for option in OPTIONS
    }
    minds = set(MIND_KINDS)  # a table of their own
    assert {name: default for name, default in found.items() if name not in minds} == expected
