"""What a run shows while it plays: a progress bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.text import Text

from sim_orchestrator.minds.base import Decision
from sim_orchestrator.transcript import TurnRecord

KINDS: Final = ("mine", "stake", "burn")

REASON_CHARS: Final = 160
NAMED_AGENTS: Final = 3
NEW_FAILURES_A_TURN: Final = 3
_INDENT: Final = len("turn  ")


def counted(number: int, thing: str) -> str:
    """Write a number of things: ``1 turn``, ``2,000 turns``."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def one_line(text: str) -> str:
    """Return what a server or a model said as it may stand in a line: short, and all visible."""
    words = " ".join(text.split())
    shown = "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in words
    )
    return shown if len(shown) <= REASON_CHARS else f"{shown[: REASON_CHARS - 1]}…"


def names(agent_ids: Sequence[str]) -> str:
    """Name a few agents, and say how many more there are."""
    more = len(agent_ids) - NAMED_AGENTS
    if more <= 1:
        return ", ".join(agent_ids)
    return f"{', '.join(agent_ids[:NAMED_AGENTS])} and {more:,} more"


def kind_of(reason: str) -> str:
    """Return what reasons have in common that differ in numbers alone."""
    return re.sub(r"\d+", "0", one_line(reason))


class FailureNotes:
    """Says why agents failed, once for each kind of reason: a host that is away fails for all."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._of_turn: dict[str, tuple[str, list[str]]] = {}

    def add(self, agent_id: str, decision: Decision) -> None:
        """Take a decision of the turn in hand down."""
        if decision.failure is None:
            return
        kind = kind_of(decision.failure)
        if kind not in self._seen:
            _, agent_ids = self._of_turn.setdefault(kind, (one_line(decision.failure), []))
            agent_ids.append(agent_id)

    def lines(self) -> list[str]:
        """Return what is new in the turn that is over, in a few lines."""
        new = list(self._of_turn.items())
        self._of_turn.clear()
        more = len(new) - NEW_FAILURES_A_TURN
        if more > 1:
            del new[NEW_FAILURES_A_TURN:]
        self._seen.update(kind for kind, _ in new)
        shown = [f"{names(agent_ids)}: {reason}" for _, (reason, agent_ids) in new]
        if more > 1:
            shown.append(f"… {more} more reasons")  # told when they come again
        return shown


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of a turn's line: how wide the winners' names are, and the numbers after them."""

    name_width: int
    titles: Mapping[str, int]

    @property
    def header(self) -> str:
        """The line above all others."""
        kinds = "".join(f"{kind:<{self.name_width}}" for kind in KINDS)
        return f"turn  {kinds}" + "".join(f"{name:>{width}}" for name, width in self.titles.items())

    def line(self, record: TurnRecord, *, failures: int, seconds: float) -> Text:
        """Write the line of a sealed turn."""
        line = Text(f"{record.turn:>4}  ", style="bold")
        for kind in KINDS:
            blocks = [block for block in record.blocks if block["kind"] == kind]
            line.append(_winner(blocks, self.name_width))
        applied, rejected = sum(record.applied.values()), sum(record.rejected.values())
        shown = (
            (f"{applied:,}", "green"),
            (f"{rejected:,}", "yellow" if rejected else "dim"),
            (f"{failures:,}", "bold red" if failures else "dim"),
            (f"{record.output_tokens:,}", "cyan"),
            (f"{record.fees:,}", "" if record.fees else "dim"),
            (f"{record.supply['circulating']:,}", "dim"),
            (f"{seconds:.1f} s", "dim"),
        )
        for (text, style), width in zip(shown, self.titles.values(), strict=True):
            line.append(f"{text:>{width}}", style=style)
        return line


_WIDE: Final = Layout(
    11,
    {
        "applied": 8,
        "rejected": 9,
        "failed": 7,
        "tokens": 9,
        "fees": 8,
        "supply": 12,
        "time": 8,
    },
)
_NARROW: Final = Layout(
    8, {"done": 5, "rej": 4, "fail": 5, "tokens": 8, "fees": 7, "supply": 11, "time": 9}
)


class Display(Protocol):
    """Shows a run to whoever watches."""

    def started(self, facts: Sequence[str], *, turns: int, agents: int, done: int) -> None:
        """Show what is about to be played, and how much of it is done already."""
        ...

    def turn_started(self, turn: int) -> None:
        """Show that the minds are being asked."""
        ...

    def decided(self, agent_id: str, decision: Decision) -> None:
        """Show that one agent has decided."""
        ...

    def turn_sealed(self, record: TurnRecord, *, failures: int, seconds: float) -> None:
        """Show what a turn came to."""
        ...

    def note(self, text: str) -> None:
        """Show a remark."""
        ...

    def finished(self) -> None:
        """Clear what was only for the time being."""
        ...


class PlainDisplay:
    """One line a turn, for files and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._turns = 0
        self._failures = FailureNotes()

    def started(self, facts: Sequence[str], *, turns: int, agents: int, done: int) -> None:
        """Print the facts."""
        self._turns = turns
        for fact in facts:
            self.note(fact)

    def turn_started(self, turn: int) -> None:
        """Say nothing: the line comes when the turn is sealed."""

    def decided(self, agent_id: str, decision: Decision) -> None:
        """Say nothing yet: a failure is told below the turn's line."""
        self._failures.add(agent_id, decision)

    def turn_sealed(self, record: TurnRecord, *, failures: int, seconds: float) -> None:
        """Print the turn's line."""
        blocks = ", ".join(
            f"{block['kind']} {block['producer']}"
            + ("" if block["status"] == "canonical" else " (orphaned)")
            for block in record.blocks
        )
        self.note(
            f"turn {record.turn}/{self._turns}: {blocks or 'no block'}; "
            f"{sum(record.applied.values())} applied, {sum(record.rejected.values())} rejected; "
            f"{record.output_tokens} tokens, fees {record.fees}; "
            f"supply {record.supply['circulating']}; {counted(failures, 'failure')}; "
            f"{seconds:.1f} s"
        )
        for line in self._failures.lines():
            self._print(" " * _INDENT + line, style="dim")

    def note(self, text: str) -> None:
        """Print a line, however long."""
        self._print(text)

    def _print(self, text: str, *, style: str | None = None) -> None:
        self._console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)
        self._console.file.flush()

    def finished(self) -> None:
        """Nothing is to be cleared."""


class RichDisplay:
    """A progress bar with turn, answers, tokens a second and time left, and a line a turn."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._layout = _WIDE if console.width >= len(_WIDE.header) else _NARROW
        self._agents = 1
        self._tokens = 0
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=32),
            TextColumn("{task.fields[answers]}", style="cyan"),
            TextColumn("{task.fields[rate]}", style="green"),
            _TimeLeft(),
            console=console,
            transient=True,
        )
        self._bar = self._progress.add_task("", total=None, answers="", rate="", turns=0)
        self._turns = 0
        self._answered = 0
        self._failures = FailureNotes()
        self._began = time.monotonic()

    def started(self, facts: Sequence[str], *, turns: int, agents: int, done: int) -> None:
        """Print the facts and start the bar."""
        for fact in facts:
            self._console.print(Text(fact, style="dim"))
        self._console.print(Text(self._layout.header, style="bold cyan"))
        self._agents, self._turns = agents, turns
        self._began = time.monotonic()
        self._progress.update(
            self._bar, total=turns * agents, completed=done * agents, description="starting"
        )
        self._progress.start()

    def turn_started(self, turn: int) -> None:
        """Name the turn."""
        self._answered = 0
        self._progress.update(
            self._bar,
            description=f"turn {turn}/{self._turns}",
            completed=(turn - 1) * self._agents,
            answers=f"0/{self._agents} agents",
            refresh=True,
        )

    def decided(self, agent_id: str, decision: Decision) -> None:
        """Move the bar by one agent."""
        self._answered += 1
        self._failures.add(agent_id, decision)
        self._tokens += sum(call.output_tokens for call in decision.calls)
        seconds = max(time.monotonic() - self._began, 0.001)
        self._progress.update(
            self._bar,
            advance=1,
            answers=f"{self._answered}/{self._agents} agents",
            rate=f"{self._tokens / seconds:,.0f} tok/s",
        )

    def turn_sealed(self, record: TurnRecord, *, failures: int, seconds: float) -> None:
        """Print the turn's line above the bar, and why agents failed below it."""
        line = self._layout.line(record, failures=failures, seconds=seconds)
        self._progress.console.print(line, no_wrap=True, overflow="ellipsis")
        for reason in self._failures.lines():
            self._progress.console.print(Padding(Text(reason, style="dim"), (0, 0, 0, _INDENT)))

    def note(self, text: str) -> None:
        """Print a remark above the bar."""
        self._progress.console.print(Text(text, style="yellow"))

    def finished(self) -> None:
        """Take the bar away."""
        self._progress.stop()


class _TimeLeft(ProgressColumn):
    """The time left at the pace so far."""

    def render(self, task: Task) -> Text:
        left = task.time_remaining
        if left is None:
            return Text("     ", style="dim")
        minutes, seconds = divmod(int(left), 60)
        return Text(f"{minutes}:{seconds:02d} left", style="dim")


def _winner(blocks: Sequence[Mapping[str, Any]], width: int) -> Text:
    """One column: whose block of a kind is canonical, and how many lost the fork."""
    won = next((str(each["producer"]) for each in blocks if each["status"] == "canonical"), "")
    lost = sum(each["status"] != "canonical" for each in blocks)
    also = f"+{lost}" if lost else ""
    shown = f"{_clipped(won, width - 1 - len(also))}{also}" or "·"
    return Text(f"{shown:<{width}}", style="" if won else "dim")


def _clipped(name: str, width: int) -> str:
    """Shorten a name in its middle: agents often differ in their last letters only."""
    if len(name) <= width:
        return name
    return f"{name[: (width - 1) // 2]}…{name[len(name) - width // 2 :]}"


def make_display(console: Console, *, plain: bool) -> Display:
    """Return the display that fits: a bar on a terminal, lines elsewhere."""
    if plain or not console.is_terminal:
        return PlainDisplay(console)
    return RichDisplay(console)
