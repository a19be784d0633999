"""What a check of a ledger finds, and how it says so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Progress = Callable[[int, int], None]
"""Told (turns checked, turns in all)."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where a ledger is not what it should be."""

    table: str
    key: str
    stored: Any
    expected: Any

    def __str__(self) -> str:
        """Say it in one line."""
        return f"{self.table} [{self.key}]: stored {self.stored!r}, expected {self.expected!r}"


@dataclass(slots=True)
class Report:
    """What a verification looked at, and what it found."""

    counts: Counter[str] = field(default_factory=Counter)
    """Rows by table; ``turns`` without genesis."""
    differences: list[Difference] = field(default_factory=list)
    turn_hash: str = ""
    """The seal of the last turn, which stands for all of the history before it."""

    @property
    def sound(self) -> bool:
        """Tell whether nothing is wrong."""
        return not self.differences


class Broken(Exception):
    """Checking can not go on past this difference."""

    def __init__(self, difference: Difference) -> None:
        """Carry the difference."""
        super().__init__(str(difference))
        self.difference = difference
