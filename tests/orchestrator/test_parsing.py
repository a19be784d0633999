"""What parsing makes of answers: real ones of a small model, hostile ones, and any text at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim_engine.types.requests import ACTION_ADAPTER
from sim_orchestrator.context import build_messages
from sim_orchestrator.context.possible import actions_max
from sim_orchestrator.lenient_json import Mend
from sim_orchestrator.parsing import (
    NOTES_CHARS_MAX,
    THOUGHT_CHARS_MAX,
    Parsed,
    ParseFailure,
    parse_answer,
)
from tests.orchestrator.observations import observation

SEEN = observation(roster=8)
READ = actions_max(SEEN.config["action_points"])
TABLE = [
    json.loads(line)
    for line in (Path(__file__).parent / "data" / "raw_answers.jsonl").read_text().splitlines()
]


def parse(text: str, done_reason: str = "stop") -> Parsed | ParseFailure:
    return parse_answer(text, done_reason=done_reason, observation=SEEN)


def parsed(text: str, done_reason: str = "stop") -> Parsed:
    found = parse(text, done_reason)
    assert isinstance(found, Parsed), found
    return found


def test_the_table_has_real_and_hostile_answers():
    real = [row for row in TABLE if row["from"] != "handmade"]
    assert len(real) >= 60
    assert len(TABLE) - len(real) >= 60


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row["raw"][:40])
def test_each_answer_of_the_table(row: dict[str, Any]):
    found = parse(row["raw"], row["done_reason"])
    assert list(found.dropped) == row.get("dropped", [])
    if isinstance(found, ParseFailure):
        assert found.error == row["error"]
        return
    assert list(found.actions) == row["actions"]
    assert list(found.mends) == row.get("mends", [])
    assert (found.thought, found.notes) == (row.get("thought", ""), row.get("notes", ""))


def test_a_bare_number_is_an_amount_or_nothing():
    """Two mines, or a mine of 2? Whoever guesses has made the decision."""
    found = parsed('{"actions": [{"mine": 2}, {"burn": 20}, {"speak": "hi"}, {"job": true}]}')
    assert [action["type"] for action in found.actions] == ["burn", "job"]
    assert found.dropped[0].endswith("mine takes no 2")
    assert found.dropped[1].endswith("speak takes no 'hi'")


def test_every_mend_is_shown_by_the_table_or_below():
    shown = {mend for row in TABLE for mend in row.get("mends", [])}
    below = {Mend.LONG_TEXT, Mend.MANY, Mend.TEXT_LENGTH, Mend.JUNK}
    assert shown | below == set(Mend)


def test_signs_that_are_no_json_are_skipped_and_the_rest_is_kept():
    found = parsed('{"thought":"x","actions":[{"type":"mine"}] ; }')
    assert found.actions == [{"type": "mine"}]
    assert Mend.JUNK in found.mends


def mines(count: int) -> str:
    return '{"actions":[' + ",".join(['{"type":"mine"}'] * count) + "]}"


def test_ten_thousand_actions_are_cut_and_counted():
    found = parsed(mines(10_000))
    assert len(found.actions) == READ == 6
    assert Mend.MANY in found.mends
    assert found.dropped == ["9994 actions beyond the first 6 were left out"]


def test_as_many_actions_are_read_as_the_prompt_says():
    assert parsed(mines(READ)).dropped == []
    assert parsed(mines(READ + 1)).dropped == ["1 action beyond the first 6 was left out"]
    rich = observation(config={**SEEN.config, "action_points": 30})
    found = parse_answer(mines(100), done_reason="stop", observation=rich)
    assert isinstance(found, Parsed)
    assert "up to 8 actions" in build_messages(rich, budget_tokens=6_000)[0]["content"]
    assert len(found.actions) == 8


def test_what_can_not_be_used_takes_no_place_of_what_can():
    bad = ['{"type":"think"}'] * 8
    found = parsed('{"actions":[' + ",".join([*bad, '{"type":"mine"}']) + "]}")
    assert [action["type"] for action in found.actions] == ["mine"]
    assert len(found.dropped) == 8


@pytest.mark.parametrize("word", ["<think>", "</think>", "<think> </think>"])
def test_what_an_answer_says_of_thinking_is_no_thinking(word):
    said = {"type": "speak", "message": f"I {word} so"}
    answer = {"thought": word, "notes": word, "actions": [{"type": "mine"}, said]}
    found = parsed(json.dumps(answer))
    assert (found.thought, found.notes) == (word, word)
    assert [action["type"] for action in found.actions] == ["mine", "speak"]
    assert found.actions[1]["message"] == said["message"]
    assert found.mends == []


def test_thoughts_after_an_answer_are_left_out():
    found = parsed('{"actions":[{"type":"mine"}]} <think>was that right?</think>')
    assert [action["type"] for action in found.actions] == ["mine"]


def test_an_answer_of_thinking_alone_is_told_so():
    found = parse_answer("", done_reason="length", observation=SEEN, thinking="Let me see …")
    assert isinstance(found, ParseFailure)
    assert "never stopped thinking" in found.error
    cut = parse_answer("{", done_reason="length", observation=SEEN, thinking="Let me see …")
    assert isinstance(cut, ParseFailure)
    assert "cut off" in cut.error


def test_of_a_huge_answer_only_the_beginning_is_read():
    found = parsed('{"thought":"x","actions":[' + '{"type":"mine"},' * 3_500_000)
    assert len(found.actions) == READ
    assert Mend.LONG_TEXT in found.mends


def test_an_answer_whose_actions_come_too_late_is_told_so():
    long = json.dumps({"thought": "x" * 500_000, "actions": [{"type": "mine"}]})
    found = parse(long)
    assert isinstance(found, ParseFailure)
    assert "no actions in its first 400,000 characters" in found.error


@pytest.mark.parametrize(
    "piece",
    [
        "[",
        "{",
        '{"a":',
        '"a"',
        "\\",
        '\\"',
        "{ ",
        '" ',
        "```",
        "<think>",
        "</think>",
        "<think></think><think>",
        "'",
        "//",
        "/*",
        "a ",
        "{'",
    ],
)
def test_hostile_repetitions_take_bounded_time(piece):
    # The suite's time limit is the judge: a quadratic reading of this would take hours.
    for opening in ("", '{"actions":[', '{"thought":"'):
        parse(opening + piece * 2_000_000)


def test_long_thoughts_and_notes_are_shortened():
    answer = {"thought": "t" * 10_000, "notes": "n" * 10_000, "actions": [{"type": "mine"}]}
    found = parsed(json.dumps(answer))
    assert (len(found.thought), len(found.notes)) == (THOUGHT_CHARS_MAX, NOTES_CHARS_MAX)
    assert Mend.TEXT_LENGTH in found.mends


def test_thoughts_nested_beyond_reason_do_not_stop_the_reading():
    text = '{"actions":[{"type":"mine"}],"thought":' + "[" * 500 + "]" * 500 + "}"
    assert parse(text).dropped in ((), [])


@given(st.text(st.characters(codec=None)), st.sampled_from(["stop", "length"]))
@settings(max_examples=100, deadline=None)
def test_any_text_is_read_without_an_exception(text, done_reason):
    check(parse(text, done_reason))


SCRAPS = st.sampled_from(
    [
        *"{}[]:,\"'",
        '"actions"',
        '"type"',
        '"mine"',
        "stake",
        '"amount"',
        "30",
        "1e999",
        "-5.0",
        '"\\ud800"',
        "null",
        "True",
        "\n",
        "```json",
        "</think>",
        '"agent_3"',
        '{"type":"mine"}',
        '{"actions":[',
        '"terms"',
        '"propose_contract"',
        '"contract_type":"pool"',
        '{"split":{"\\ud800":1}}',
        "//",
        "\\",
    ]
)


@given(st.lists(SCRAPS, max_size=40).map("".join), st.sampled_from(["stop", "length"]))
@settings(max_examples=200, deadline=None)
def test_any_scraps_of_answers_are_read_without_an_exception(text, done_reason):
    check(parse(text, done_reason))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=10,
)
FIELDS = st.sampled_from(
    ["type", "amount", "to", "terms", "split", "members", "contract_type", "condition", "fee"]
)
NAMES = st.sampled_from(
    ["mine", "stake", "transfer", "propose_contract", "loan", "pool", "service"]
)


@given(st.lists(st.dictionaries(FIELDS, VALUES | NAMES), max_size=4))
@settings(max_examples=100, deadline=None)
def test_any_values_in_actions_are_read_without_an_exception(items):
    check(parse(json.dumps({"actions": items})))


def check(found: Parsed | ParseFailure) -> None:
    """Whatever came, what goes on is valid: actions for the engine, texts for a transcript."""
    if isinstance(found, Parsed):
        for action in found.actions:
            ACTION_ADAPTER.validate_python(action)
    json.dumps([getattr(found, name) for name in found.__slots__], ensure_ascii=False).encode()


WHOLE = (
    '{"thought":"Work is sure.","notes":"Ask agent_1.","actions":[{"type":"job"},'
    '{"type":"transfer","to":"agent_1","amount":250},{"type":"speak","message":"Hi"}]}'
)


@pytest.mark.parametrize("length", range(len(WHOLE)))
def test_a_cut_answer_never_gives_an_action_that_the_whole_one_does_not_have(length):
    whole = list(parsed(WHOLE).actions)
    found = parse(WHOLE[:length], "length")
    if isinstance(found, Parsed):
        assert list(found.actions) == whole[: len(found.actions)]
        assert Mend.CUT_OFF in found.mends
    else:
        assert "cut off" in found.error or not WHOLE[:length]
