"""Reads JSON as language models write it: nearly right, or cut off in the middle.

``Reader`` never guesses a value. Where something between two values cannot be read, the object that
it stands in is marked as damaged, so that nobody takes half of it for the whole.
"""

from __future__ import annotations

import json
import re
from enum import StrEnum
from typing import Any, Final


class Mend(StrEnum):
    """What had to be mended in an answer; one short phrase each, to be counted."""

    THINKING = "left out thinking before the answer"
    FENCE = "took the JSON out of a code fence"
    PROSE = "left out text around the JSON"
    LONG_TEXT = "read only the beginning of a very long answer"
    CUT_OFF = "closed what was cut off"
    BRACKETS = "mended the brackets"
    COMMAS = "mended the commas"
    QUOTES = "mended the quotes"
    LINE_BREAKS = "took a line break inside a text"
    LITERALS = "read Python's words for true, false and null"
    COMMENTS = "left out comments"
    JUNK = "skipped signs that are no JSON"
    UNICODE = "replaced characters that are no valid Unicode"
    REPEATED = "took one of several fields of one name"
    SEVERAL = "took one of several answers"
    WRAPPED = "took the answer out of another object"
    LIST = "took a bare list for the actions"
    LISTS = "took the actions out of a list in their list"
    SINGLE = "took one action for a list of actions"
    LIST_NAME = "took another name for 'actions'"
    TEXT_TYPE = "took something else than text for a text"
    TEXT_LENGTH = "shortened a long thought or note"
    BARE_NAME = "took a name for an action"
    TYPE_KEY = "took another key for 'type'"
    NAME = "mended the spelling of an action's name"
    FIELD = "mended the spelling of a field"
    VALUE = "mended the spelling of a value"
    NUMBER = "took a text or a decimal for a whole number"
    UNKNOWN_FIELD = "left out a field that the action does not have"
    NULL = "left out a field that is null"
    NESTED = "took an action's fields out of another object"
    ONE_FOR_LIST = "took one value for a list of values"
    MANY = "left out actions beyond the most that are read"


class Damaged(dict[str, Any]):
    """An object of which a part is missing or could not be read; ``why`` says so."""

    why: str = ""


CUT_OFF: Final = "it was cut off"
UNREADABLE: Final = "it is not readable JSON"

_NO_SPACE: Final = re.compile(r"\S")
_COMMENT: Final = re.compile(r"//[^\n]*|/\*.*?(?:\*/|\Z)", re.DOTALL)
_NUMBER: Final = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?=\s*(?:[,\]}]|\Z|//|/\*))")
_BARE_KEY: Final = re.compile(r"[^\W\d][\w.-]*")
_BARE_VALUE: Final = re.compile(r"[\w+.-][^\[\]{},:\"\n]*")
_LITERALS: Final = {"true": True, "false": False, "null": None}
_PYTHON_LITERALS: Final = {"True": True, "False": False, "None": None}
_CLOSERS: Final = {'"': '"', "'": "'", "“": "”", "‘": "’"}
_DEPTH_MAX: Final = 32
_DIGITS_MAX: Final = 20
_INNER_QUOTES_WITHIN: Final = 2_000
"""How far a string may reach beyond its first closing quote if that one turns out to be its own."""


class Unreadable(Exception):
    """The text holds no value at the place, or too deep or too much of it."""


class Reader:
    """Reads values out of one text.

    Args:
        text: the text.
        steps: how many values may be read in all; bounds the time that hostile text can take.
    """

    def __init__(self, text: str, steps: int) -> None:
        self.text = text
        self.place = 0
        self.mends: set[Mend] = set()
        self.steps = steps

    def read(self, place: int) -> Any:
        """Read the value at the place; afterwards ``self.place`` is behind it.

        Raises:
            Unreadable: there is no value, or the steps are used up.
        """
        self.place = place
        return self._value(0)

    def _peek(self) -> str:
        """Skip space and comments; return the next character, empty at the end."""
        while True:
            self.place = _after_space(self.text, self.place)
            comment = _COMMENT.match(self.text, self.place)
            if comment is None:
                return self.text[self.place : self.place + 1]
            self.mends.add(Mend.COMMENTS)
            self.place = comment.end()

    def _value(self, depth: int) -> Any:
        self._step()
        if depth > _DEPTH_MAX:
            raise Unreadable
        char = self._peek()
        if char == "{":
            return self._object(depth)
        if char == "[":
            return self._array(depth)
        if char in _CLOSERS:
            return self._string(char)
        number = _NUMBER.match(self.text, self.place)
        if number:
            self.place = number.end()
            return _number(number[0])
        bare = _BARE_VALUE.match(self.text, self.place)
        if bare:
            self.place = bare.end()
            return self._bare(bare[0].rstrip())
        raise Unreadable

    def _bare(self, word: str) -> Any:
        if word in _LITERALS:
            return _LITERALS[word]
        if word in _PYTHON_LITERALS:
            self.mends.add(Mend.LITERALS)
            return _PYTHON_LITERALS[word]
        self.mends.add(Mend.QUOTES)
        return word

    def _object(self, depth: int) -> dict[str, Any]:
        """Read ``{…}``; one that is not whole comes back as ``Damaged``."""
        self.place += 1
        found: dict[str, Any] = {}
        why = ""
        after_comma = True
        while True:
            char = self._peek()
            if char == "}":
                self._trailing(bool(found) and after_comma)
                self.place += 1
                return _whole_or_damaged(found, why)
            if char in ("", "]"):
                self.mends.add(Mend.BRACKETS if char else Mend.CUT_OFF)
                return _whole_or_damaged(found, why if char else CUT_OFF)
            if char == ",":
                self._trailing(after_comma)
                self.place += 1
                after_comma = True
                continue
            if not after_comma:
                self.mends.add(Mend.COMMAS)
            after_comma = False
            why = self._member(found, depth) or why

    def _member(self, found: dict[str, Any], depth: int) -> str:
        """Read ``key: value`` into ``found``; return what is wrong with it, empty if nothing."""
        char = self._peek()
        bare = None if char in _CLOSERS else _BARE_KEY.match(self.text, self.place)
        if char not in _CLOSERS and bare is None:
            return self._skip()
        if bare is None:
            key = self._string(char)
        else:
            key, self.place = bare[0], bare.end()
            self.mends.add(Mend.QUOTES)
        if self._peek() != ":":
            return CUT_OFF if not self._peek() else self._junk()
        self.place += 1
        before = self._peek()
        if not before:
            return CUT_OFF
        if before in ",}]":
            return self._junk()
        try:
            value = self._value(depth + 1)
        except Unreadable:
            return self._skip()
        if key in found:
            self.mends.add(Mend.REPEATED)
        found[key] = value
        if not self._peek() and not isinstance(value, dict | list):
            return CUT_OFF  # a number or text at the very end may be longer than what is there
        return value.why if isinstance(value, Damaged) else ""

    def _array(self, depth: int) -> list[Any]:
        """Read ``[…]`` up to its end, or up to where its text ends or belongs to something else."""
        self.place += 1
        found: list[Any] = []
        after_comma = True
        while True:
            char = self._peek()
            if char == "]":
                self._trailing(bool(found) and after_comma)
                self.place += 1
                return found
            if not char:
                self.mends.add(Mend.CUT_OFF)
                return found
            if char == ",":
                self._trailing(after_comma)
                self.place += 1
                after_comma = True
                continue
            if char == "}":
                self.mends.add(Mend.BRACKETS)
                if not self._one_too_many():
                    return found
                self.place += 1
                continue
            if not after_comma:
                self.mends.add(Mend.COMMAS)
            after_comma = False
            try:
                found.append(self._value(depth + 1))
            except Unreadable:
                self._skip()
            else:
                self._end_of_cut_item(found)

    def _end_of_cut_item(self, found: list[Any]) -> None:
        """Take back a text or number that the end of the answer may have cut."""
        if not self._peek() and not isinstance(found[-1], dict | list):
            found.pop()

    def _one_too_many(self) -> bool:
        """Tell whether a ``}`` in a list is too many, or ends the object around the list.

        One too many stands between the items: what follows it is a comma or the list's own end.
        """
        return self._next_sign(self.place + 1) in (",", "]")

    def _next_sign(self, place: int) -> str:
        """Return the character behind the space at the place, empty at the end of the text."""
        after = _after_space(self.text, place)
        return self.text[after : after + 1]

    def _trailing(self, superfluous: bool) -> None:
        if superfluous:
            self.mends.add(Mend.COMMAS)

    def _skip(self) -> str:
        """Step over a character that nothing starts with."""
        self._step()
        self.place += 1
        return self._junk()

    def _step(self) -> None:
        self.steps -= 1
        if self.steps < 0:
            raise Unreadable

    def _junk(self) -> str:
        self.mends.add(Mend.JUNK)
        return UNREADABLE

    def _string(self, opener: str) -> str:
        if opener != '"':
            self.mends.add(Mend.QUOTES)
        start = self.place + 1
        end = self._string_end(start, _CLOSERS[opener])
        if end < 0:
            self.mends.add(Mend.CUT_OFF)
            self.place = len(self.text)
            return self._unescape(self.text[start:].rstrip("\\"))
        self.place = end + 1
        return self._unescape(self.text[start:end])

    def _string_end(self, start: int, closer: str) -> int:
        """Return where the closing quote stands, -1 if there is none.

        A quote that nothing of JSON follows is taken for a part of the text if one comes soon after
        it that is followed by what may follow a string.
        """
        first = -1
        place = start
        while first < 0 or place < first + _INNER_QUOTES_WITHIN:
            place = _unescaped(self.text, place, closer)
            if place < 0:
                return first
            self._step()
            after = _after_space(self.text, place + 1)
            following = self.text[after : after + 1]
            if following in ("", ",", ":", "}", "]") or "\n" in self.text[place:after]:
                if first >= 0:
                    self.mends.add(Mend.QUOTES)
                return place
            first = place if first < 0 else first
            place += 1
        return first

    def _unescape(self, body: str) -> str:
        if "\n" in body or "\r" in body:
            self.mends.add(Mend.LINE_BREAKS)
        if "\\" not in body:
            return body
        try:
            return str(json.loads(f'"{_escaped_quotes(body)}"', strict=False))
        except ValueError:
            self.mends.add(Mend.QUOTES)
            return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[0]), body)


_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "'": "'", '"': '"', "\\": "\\", "/": "/"}


def valid_unicode(text: str, mends: set[Mend]) -> str:
    """Return the text without halves of surrogate pairs, which no UTF-8 can hold."""
    valid = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if valid != text:
        mends.add(Mend.UNICODE)
    return valid


def _after_space(text: str, place: int) -> int:
    """Return where the first character stands that is no white space, from the place on."""
    found = _NO_SPACE.search(text, place)
    return found.start() if found else len(text)


def _escaped_quotes(body: str) -> str:
    """Escape the double quotes of a text that was in other quotes, or had them as its own."""
    return re.sub(r'\\.|"', lambda found: '\\"' if found[0] == '"' else found[0], body)


def _unescaped(text: str, place: int, closer: str) -> int:
    """Return where the next quote stands that no backslash escapes, -1 if there is none."""
    while True:
        place = text.find(closer, place)
        if place < 0:
            return -1
        before = place
        while before > 0 and text[before - 1] == "\\":
            before -= 1
        if (place - before) % 2 == 0:
            return place
        place += 1


def _whole_or_damaged(found: dict[str, Any], why: str) -> dict[str, Any]:
    if not why:
        return found
    damaged = Damaged(found)
    damaged.why = why
    return damaged


def _number(text: str) -> Any:
    """Return the number; one too long to be an amount stays the text that it is."""
    if len(text) > _DIGITS_MAX:
        return text
    return int(text) if re.fullmatch(r"-?\d+", text) else float(text)
