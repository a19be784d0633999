"""Reads a model's answer: text in, actions out, or the reason why there are none.

``parse_answer`` never raises and never decides for the model: what it mends is spelling, and each
mend is named; what it cannot mend is dropped with the reason; where nothing is left it says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sim_orchestrator.context.possible import actions_max
from sim_orchestrator.context.survey import survey
from sim_orchestrator.lenient_json import CUT_OFF, Damaged, Mend, Reader, Unreadable, valid_unicode
from sim_orchestrator.mending import Unmendable, action_name, looks_like_action, mend_action
from sim_orchestrator.minds.base import Observation

MAX_TEXT_CHARS: Final = 400_000
"""The most characters of an answer that are read."""

THOUGHT_CHARS_MAX: Final = 4_000
NOTES_CHARS_MAX: Final = 1_000
_DROPPED_QUOTED: Final = 3
_REASON_CHARS_MAX: Final = 200
_WRAPPINGS_MAX: Final = 3
_FIELDS_LOOKED_INTO: Final = 8
_TEXTS: Final = {
    "thought": (("thought", "thoughts", "reasoning"), THOUGHT_CHARS_MAX),
    "notes": (("notes", "note"), NOTES_CHARS_MAX),
}
ITEMS_MAX: Final = 100
"""How many entries of a list of actions are looked at, of use or not."""

_THOUGHTS: Final = re.compile("<think>.*?</think>", re.DOTALL)
_FENCE: Final = re.compile(r"```[\w-]*(.*?)(?:```|\Z)", re.DOTALL)
_START: Final = re.compile(r"[{\[]")
_BETWEEN_OBJECTS: Final = re.compile(r"\s*,?\s*\{")


@dataclass(frozen=True, slots=True)
class Parsed:
    """An answer that could be read.

    Attributes:
        actions: the actions in wire form, each one valid for itself.
        thought: the reasoning given.
        notes: what the agent wants to be told next turn.
        mends: what had to be mended, one short phrase each, in a fixed order.
        dropped: actions that could not be used, one sentence each.
    """

    actions: Sequence[dict[str, Any]] = ()
    thought: str = ""
    notes: str = ""
    mends: Sequence[str] = ()
    dropped: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class ParseFailure:
    """An answer that gives no decision.

    Attributes:
        error: what is wrong with it, in one sentence that can be quoted to the model.
        dropped: its actions that could not be used, one sentence each.
    """

    error: str
    dropped: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What was found in a text.

    Attributes:
        texts: thought and notes, where given.
        items: what stands in the list of actions.
        cut: whether the answer was cut off.
        single: whether it is one action and no list of them.
    """

    texts: Mapping[str, str]
    items: list[Any]
    cut: bool
    single: bool = False


def parse_answer(
    text: str, *, done_reason: str, observation: Observation, thinking: str = ""
) -> Parsed | ParseFailure:
    """Read a model's answer.

    Args:
        text: the answer as it came; any text of any length.
        done_reason: why the model stopped: ``stop``, or ``length`` where it was cut off.
        observation: what the answer is about.
        thinking: what the model thought apart from it, where a server tells that.

    Returns:
        what was decided, or why nothing was. An empty list of actions is a decision too.
    """
    mends: set[Mend] = set()
    if len(text) > MAX_TEXT_CHARS:
        mends.add(Mend.LONG_TEXT)
        text = text[:MAX_TEXT_CHARS]
    said, thinks_on = text, False
    if _strict(text, set()) is None:  # what an answer itself says of thinking is no thinking
        said, thinks_on = _without_thinking(text, mends)
    answer = _find_answer(said, mends)
    if answer is None:
        thinks_on = thinks_on or bool(thinking.strip() and not text.strip())
        cut = Mend.LONG_TEXT in mends
        return ParseFailure(_no_answer(text, done_reason, cut=cut, thinks_on=thinks_on))
    if thinks_on:
        mends.add(Mend.PROSE)
    return _interpret(answer, done_reason, observation, mends)


def _without_thinking(text: str, mends: set[Mend]) -> tuple[str, bool]:
    """Leave out what a model thought aloud; return the rest, and whether the thinking never ends.

    An answer that stands in its thoughts is a draft.
    """
    thought, ended, rest = text.rpartition("</think>")
    spoken = _THOUGHTS.sub("", thought + ended) + rest
    _, closed, after = spoken.rpartition("</think>")
    before, opened, _ = after.partition("<think>")
    if closed or len(spoken) < len(text):
        mends.add(Mend.THINKING)
    return before, bool(opened)


def _find_answer(text: str, mends: set[Mend]) -> Answer | None:
    """Return the first value in the text that is meant as an answer, one in a fence before others.

    What is left out around it is named.
    """
    whole = _strict(text, mends)
    if whole is not None:
        return _as_answer(whole, mends)
    budget = _Budget()
    around: tuple[str, ...] = ()
    for fence in _FENCE.finditer(text):
        found = _first_answer(fence[1], mends, budget)
        if found is not None:
            mends.add(Mend.FENCE)
            around = (text[fence.end() :], text[: fence.start()])
            break
    else:
        found = _first_answer(text, mends, budget)
    if found is None:
        return None
    answer, before, after = found
    for left in (after, before, *around):
        if left.strip():
            mends.add(Mend.PROSE)
            if _first_answer(left, set(), budget) is not None:
                mends.add(Mend.SEVERAL)
    return answer


def _strict(text: str, mends: set[Mend]) -> Any:
    """Return what strict JSON says, ``None`` where the text is none."""
    repeated = False

    def as_object(fields: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal repeated
        found = dict(fields)
        repeated = repeated or len(found) < len(fields)
        return found

    try:
        value = json.loads(text, parse_constant=_refuse, object_pairs_hook=as_object)
    except (ValueError, RecursionError):
        return None
    if repeated:
        mends.add(Mend.REPEATED)
    return value


def _refuse(constant: str) -> Any:
    raise ValueError(constant)


@dataclass(slots=True)
class _Budget:
    """How much reading an answer is worth; bounds the time that hostile text can take."""

    starts: int = 200
    steps: int = 200_000


def _first_answer(text: str, mends: set[Mend], budget: _Budget) -> tuple[Answer, str, str] | None:
    """Read one value after the other, up to the first that is meant as an answer.

    Return it with the text before it and the text behind it.
    """
    place = 0
    while budget.starts and (start := _START.search(text, place)):
        read = _read(text, start.start(), budget)
        if read is None:
            place = start.end()
            continue
        value, place, mended = read
        answer = _as_answer(value, mends)
        if answer is None:
            continue
        mends |= mended
        if answer.single:
            place = _more_singles(text, place, answer.items, mends, budget)
        return answer, text[: start.start()], text[place:]
    return None


def _read(text: str, place: int, budget: _Budget) -> tuple[Any, int, set[Mend]] | None:
    """Read the value at the place; return it, where it ends, and what was mended in it."""
    if not budget.starts:
        return None
    budget.starts -= 1
    reader = Reader(text, budget.steps)
    try:
        value = reader.read(place)
    except Unreadable:
        return None
    finally:
        budget.steps = reader.steps
    return value, reader.place, reader.mends


def _more_singles(
    text: str, place: int, items: list[Any], mends: set[Mend], budget: _Budget
) -> int:
    """Add the actions that follow a single one with nothing but a comma or space between."""
    while between := _BETWEEN_OBJECTS.match(text, place):
        read = _read(text, between.end() - 1, budget)
        if read is None or not looks_like_action(read[0]):
            break
        items.append(read[0])
        place = read[1]
        mends |= read[2] | {Mend.LIST}
    return place


def _as_answer(value: Any, mends: set[Mend], depth: int = 0) -> Answer | None:
    """Return the value as an answer, ``None`` if it is not meant as one."""
    if isinstance(value, list):
        return _list_as_answer(value, mends, depth)
    if not isinstance(value, dict) or depth > _WRAPPINGS_MAX:
        return None
    by_fold = {key.strip().lower(): key for key in reversed(value)}
    if "actions" in by_fold:
        if by_fold["actions"] != "actions":
            mends.add(Mend.LIST_NAME)
        if [key.strip().lower() for key in value].count("actions") > 1:
            mends.add(Mend.REPEATED)
        items = _as_items(value[by_fold["actions"]], mends)
    elif looks_like_action(value):
        mends.add(Mend.SINGLE)
        return Answer(_texts(value, by_fold, mends), [value], False, single=True)
    elif isinstance(value.get(by_fold.get("action", "")), list | dict):
        mends.add(Mend.LIST_NAME)
        items = _as_items(value[by_fold["action"]], mends)
    else:
        return _unwrapped(value, mends, depth)
    if items is None:
        return None
    cut = isinstance(value, Damaged) and value.why == CUT_OFF
    return Answer(_texts(value, by_fold, mends), items, cut)


def _list_as_answer(value: list[Any], mends: set[Mend], depth: int) -> Answer | None:
    items = _flat(value, mends)
    if any(looks_like_action(item) for item in items):
        mends.add(Mend.LIST)
        return Answer({}, items, False)
    if len(value) == 1 and isinstance(value[0], dict):
        return _unwrapped({"": value[0]}, mends, depth)
    return None


def _unwrapped(value: Mapping[str, Any], mends: set[Mend], depth: int) -> Answer | None:
    """Return the answer that stands inside another object."""
    for inner in list(value.values())[:_FIELDS_LOOKED_INTO]:
        found = _as_answer(inner, mends, depth + 1) if isinstance(inner, dict) else None
        if found is not None:
            mends.add(Mend.WRAPPED)
            return found
    return None


def _as_items(value: Any, mends: set[Mend]) -> list[Any] | None:
    """Return what stands under ``actions`` as a list, ``None`` if it is no actions at all."""
    if isinstance(value, list):
        return _flat(value, mends)
    if isinstance(value, dict):
        if len(value) > 1 and all(action_name(key) for key in value):
            mends.add(Mend.TYPE_KEY)
            return [{key: inner} for key, inner in value.items()]
        mends.add(Mend.SINGLE)
        return [value]
    if isinstance(value, str) and action_name(value):
        mends.add(Mend.SINGLE)
        return [value]
    return None


def _flat(items: list[Any], mends: set[Mend]) -> list[Any]:
    """Return the items, and those of lists of objects among them in the place of these lists."""
    flat: list[Any] = []
    for item in items:
        if isinstance(item, list) and all(isinstance(inner, dict) for inner in item):
            mends.add(Mend.LISTS)
            flat += item
        else:
            flat.append(item)
    return flat


def _texts(
    value: Mapping[str, Any], by_fold: Mapping[str, str], mends: set[Mend]
) -> dict[str, str]:
    """Return thought and notes as texts of a bounded length."""
    found: dict[str, str] = {}
    for name, (keys, longest) in _TEXTS.items():
        key = next((by_fold[key] for key in keys if key in by_fold), None)
        said = value[key] if key is not None else None
        if said is None:
            continue
        if key != name:
            mends.add(Mend.FIELD)
        if not isinstance(said, str):
            mends.add(Mend.TEXT_TYPE)
            said = _as_text(said)
        text = valid_unicode(said, mends)
        if len(text) > longest:
            mends.add(Mend.TEXT_LENGTH)
        found[name] = text[:longest]
    return found


def _as_text(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return ""  # nested so deep that it says nothing


def _interpret(
    answer: Answer, done_reason: str, observation: Observation, mends: set[Mend]
) -> Parsed | ParseFailure:
    """Mend and check each action alone; what is good survives what is bad.

    As many are taken as the prompt says that an answer may have.
    """
    most = actions_max(observation.config["action_points"])
    counted = list(mends)
    actions: list[dict[str, Any]] = []
    dropped: list[str] = []
    agents = survey(observation).agents
    looked_at = 0
    for number, item in enumerate(answer.items[:ITEMS_MAX], 1):
        if len(actions) == most:
            break
        looked_at = number
        mended: set[Mend] = set()
        try:
            action = mend_action(item, own_id=observation.agent_id, agents=agents, mends=mended)
        except Unmendable as error:
            reason = valid_unicode(str(error), set())[:_REASON_CHARS_MAX]
            dropped.append(f"action {number}: {reason}")
            continue
        actions.append(action)
        counted += mended
    beyond = len(answer.items) - looked_at
    if beyond > 0:
        counted.append(Mend.MANY)
        dropped.append(
            f"{beyond} action{'s' if beyond > 1 else ''} beyond the first {looked_at} "
            f"{'were' if beyond > 1 else 'was'} left out"
        )
    if not actions and (dropped or answer.cut):
        return ParseFailure(_nothing_usable(dropped, done_reason), dropped)
    order = list(Mend)
    return Parsed(
        actions=actions,
        thought=answer.texts.get("thought", ""),
        notes=answer.texts.get("notes", ""),
        mends=[str(mend) for mend in sorted(counted, key=order.index)],
        dropped=dropped,
    )


def _nothing_usable(dropped: Sequence[str], done_reason: str) -> str:
    if not dropped:
        return _cut_off(done_reason)
    more = len(dropped) - _DROPPED_QUOTED
    listed = "; ".join(dropped[:_DROPPED_QUOTED]) + (f"; and {more} more" if more > 0 else "")
    return f"none of the actions could be used: {listed}"


def _no_answer(text: str, done_reason: str, *, cut: bool, thinks_on: bool) -> str:
    """Say why no answer was found in the text, or in what was read of it."""
    if cut:
        return f"the answer has no actions in its first {MAX_TEXT_CHARS:,} characters; be brief"
    if thinks_on:
        return "it never stopped thinking, and gave no answer; think less before you answer"
    if not text.strip():
        return "the answer is empty"
    if done_reason == "length":
        return _cut_off(done_reason)
    if "{" in text:
        return 'the answer has no list "actions"'
    return "the answer is no JSON object"


def _cut_off(done_reason: str) -> str:
    if done_reason == "length":
        return "the answer was cut off at its longest before any action; answer more briefly"
    return "the answer ends before any action"
