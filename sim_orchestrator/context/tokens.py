"""How long a text is in tokens, without any model's tokenizer: an estimate that errs upwards."""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

MESSAGE_OVERHEAD_TOKENS: Final = 8
"""What a chat template adds around one message: markers, the role, line breaks."""

_PIECES: Final = re.compile(r"[A-Za-z]+|[0-9]|[!-/:-@\[-`{-~]{1,2}|[^\x00-\x7f]| [0-9]|\s+")
_AGENTS_WORDS: Final = re.compile(r'(?<=: )"([^"]*)"')
"""Words as ``words.quoted`` shows them behind a label; they hold no quotes themselves."""

_WORDS_IN_ONE_TOKEN: Final = 5
_WORDS_IN_TWO_TOKENS: Final = 7


def estimate_tokens(text: str) -> int:
    """Estimate the tokens of a text of ours, rather too many than too few.

    A byte-level BPE vocabulary makes one token of a common word. Here a word of up to five letters
    is one token, of up to seven two, and a longer one a token for each three letters; each digit is
    one (many small models split numbers so), and so is a space before a digit; two signs of
    punctuation are one, other white space than one space is one, and a character outside ASCII
    counts its UTF-8 bytes, which no byte-level vocabulary exceeds.
    """
    return sum(map(_piece_tokens, _PIECES.findall(text)))


@lru_cache(maxsize=8192)  # texts of a world are made of the same few thousand pieces
def _piece_tokens(piece: str) -> int:
    first = piece[0]
    if first.isspace():
        return 2 if piece[1:].isdigit() else int(piece != " ")
    if first > "\x7f":
        return len(first.encode("utf-8", "surrogatepass"))
    return _word_tokens(len(piece)) if first.isalpha() else 1


def _word_tokens(letters: int) -> int:
    if letters <= _WORDS_IN_ONE_TOKEN:
        return 1
    return 2 if letters <= _WORDS_IN_TWO_TOKENS else (letters + 2) // 3


def estimate_line_tokens(text: str) -> int:
    """Estimate the tokens of a line, the words of agents in it more strictly."""
    if '"' not in text:
        return estimate_tokens(text)
    parts = _AGENTS_WORDS.split(text)
    ours = sum(map(estimate_tokens, parts[::2]))
    return ours + sum(map(estimate_foreign_tokens, parts[1::2])) + len(parts) // 2


def estimate_foreign_tokens(text: str) -> int:
    """Estimate the tokens of a text that somebody else wrote, who may want it to be long.

    Random letters and signs take far more tokens than words do: up to 0.65 of a token a character
    and one a sign, measured on vocabularies of 32 to 50 thousand entries.
    """
    in_ascii = text.encode("ascii", "ignore")
    signs = len(in_ascii.translate(None, _LETTERS))
    letters = len(in_ascii) - signs
    beyond = len(text.encode("utf-8", "surrogatepass")) - len(in_ascii)
    return (letters * 65 + 99) // 100 + signs + beyond


_LETTERS: Final = (string.ascii_letters + " ").encode()


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a prompt that may have to go when space is short.

    Attributes:
        text: the line.
        rank: how much it matters; lines of the lowest rank go first, ``MUST`` never goes.
        turn: what it tells about; of one rank the oldest goes first.
    """

    text: str
    rank: int
    turn: int = 0

    @property
    def cost(self) -> int:
        """The line's estimated tokens, its line break included."""
        return estimate_line_tokens(self.text) + 1


MUST: Final = 100
"""The rank of a line that a prompt cannot do without."""


class ContextTooSmall(ValueError):
    """The budget does not hold even what a prompt cannot do without."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A text, and the tokens that it is estimated at."""

    text: str
    tokens: int


def fit(lines: Sequence[Line], budget_tokens: int, what: str) -> Fitted:
    """Join the lines in their order, leaving out what does not fit the budget.

    Args:
        lines: the lines, in the order in which they are shown.
        budget_tokens: the most that the result may be estimated at.
        what: names the text in the error.

    Raises:
        ContextTooSmall: the lines of rank ``MUST`` alone exceed the budget.
    """
    costs = [line.cost for line in lines]
    excess = sum(costs) - budget_tokens
    gone: set[int] = set()
    for index in _expendable(lines):
        if excess <= 0:
            break
        gone.add(index)
        excess -= costs[index]
    if excess > 0:
        raise ContextTooSmall(
            f"{what} needs about {budget_tokens + excess} tokens and has {budget_tokens}; "
            "give the model a larger context (num_ctx), or shorten the persona"
        )
    text = "\n".join(line.text for index, line in enumerate(lines) if index not in gone)
    return Fitted(text, budget_tokens + excess)


def _expendable(lines: Sequence[Line]) -> Iterable[int]:
    """Return the places of lines that may go, the first to go first."""
    places = [index for index, line in enumerate(lines) if line.rank < MUST]
    return sorted(places, key=lambda index: (lines[index].rank, lines[index].turn, index))
