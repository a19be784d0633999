"""Words that agents wrote, made safe to show: in double quotes that they cannot close.

A prompt shows such words only as ``… claims: "words"`` on one line. Inside there is no double quote
of any alphabet, no line break, no control, invisible or direction-changing character, and none of
the brackets that chat templates build their markers from, so words can end neither their line, nor
their quotes, nor the message that they stand in.
"""

from __future__ import annotations

import unicodedata
from typing import Final

CUT: Final = " (cut)"
"""Stands where the rest of a long text was left out."""

_LOOKALIKES: Final = {
    ord('"'): "'",
    ord("`"): "'",
    ord("<"): "(",
    ord(">"): ")",
    ord("["): "(",
    ord("]"): ")",
    0x02BA: "'",  # modifier letter double prime
    0x02DD: "'",  # double acute accent
    0x02EE: "'",  # modifier letter double apostrophe
    0x2033: "'",  # double prime
    0x2036: "'",  # reversed double prime
    0x3003: "'",  # ditto mark
    0xFF02: "'",  # fullwidth quotation mark
    0xFF1C: "(",  # fullwidth less-than sign
    0xFF1E: ")",  # fullwidth greater-than sign
    0xFF3B: "(",  # fullwidth left square bracket
    0xFF3D: ")",  # fullwidth right square bracket
}
_QUOTE_CATEGORIES: Final = frozenset({"Pi", "Pf"})
_OPEN_QUOTES: Final = frozenset("„‟〝〞〟‚‛❛❜❝❞❟❠🙶🙷🙸")
_SPACE_CATEGORIES: Final = frozenset({"Zs", "Zl", "Zp"})
_HIDDEN_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
_STACKED_MARKS_MAX: Final = 2


def harmless(text: str, max_chars: int) -> str:
    """Return the words on one line, with nothing in them that could end quotes, line or message.

    Args:
        text: what an agent wrote; any text.
        max_chars: the most characters of it that are looked at; what is beyond is marked as cut.
    """
    shown: list[str] = []
    marks = 0
    for char in text[:max_chars]:
        category = unicodedata.category(char)
        marks = marks + 1 if category.startswith("M") else 0
        if marks <= _STACKED_MARKS_MAX:
            shown.append(_shown(char, category))
    line = " ".join("".join(shown).split())
    return line + CUT if len(text) > max_chars else line


def _shown(char: str, category: str) -> str:
    replacement = _LOOKALIKES.get(ord(char))
    if replacement is not None:
        return replacement
    if category in _QUOTE_CATEGORIES or char in _OPEN_QUOTES:
        return "'"
    if category in _SPACE_CATEGORIES or char in "\t\n\v\f\r\x85":
        return " "
    return "" if category in _HIDDEN_CATEGORIES else char


def quoted(text: str, max_chars: int) -> str:
    """Return the words in double quotes that nothing inside can close."""
    return f'"{harmless(text, max_chars)}"'


def claim(who: str, text: str, max_chars: int) -> str:
    """Return the words in quotes, labelled as what the agent claims."""
    return f"{who} claims: {quoted(text, max_chars)}"
