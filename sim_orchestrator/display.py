"""What a run shows while it plays: a progress bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.text import Text

from sim_orchestrator.minds.base import Decision
from sim_orchestrator.transcript import TurnRecord

KINDS: Final = ("mine", "stake", "burn")
NAME_WIDTH: Final = 11
HEADER: Final = (
    "turn  "
    + "".join(f"{kind:<{NAME_WIDTH}}" for kind in KINDS)
    + " applied rejected failed   tokens    fees      supply    time"
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

    def started(self, facts: Sequence[str], *, turns: int, agents: int, done: int) -> None:
        """Print the facts."""
        self._turns = turns
        for fact in facts:
            self.note(fact)

    def turn_started(self, turn: int) -> None:
        """Say nothing: the line comes when the turn is sealed."""

    def decided(self, agent_id: str, decision: Decision) -> None:
        """Say nothing: the line counts the failures."""

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
            f"supply {record.supply.get('circulating', 0)}; {failures} failures; {seconds:.1f} s"
        )

    def note(self, text: str) -> None:
        """Print a line, however long."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)
        self._console.file.flush()

    def finished(self) -> None:
        """Nothing is to be cleared."""


class RichDisplay:
    """A progress bar with turn, answers, tokens a second and time left, and a line a turn."""

    def __init__(self, console: Console) -> None:
        self._console = console
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
        self._began = time.monotonic()

    def started(self, facts: Sequence[str], *, turns: int, agents: int, done: int) -> None:
        """Print the facts and start the bar."""
        for fact in facts:
            self._console.print(Text(fact, style="dim"))
        self._console.print(Text(HEADER, style="bold cyan"))
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
        self._tokens += sum(call.output_tokens for call in decision.calls)
        seconds = max(time.monotonic() - self._began, 0.001)
        self._progress.update(
            self._bar,
            advance=1,
            answers=f"{self._answered}/{self._agents} agents",
            rate=f"{self._tokens / seconds:,.0f} tok/s",
        )

    def turn_sealed(self, record: TurnRecord, *, failures: int, seconds: float) -> None:
        """Print the turn's line above the bar."""
        line = Text(f"{record.turn:>4}  ", style="bold")
        for kind in KINDS:
            line.append(_winner([block for block in record.blocks if block["kind"] == kind]))
        rejected = sum(record.rejected.values())
        line.append(f"{sum(record.applied.values()):>8,}", style="green")
        line.append(f"{rejected:>9,}", style="yellow" if rejected else "dim")
        line.append(f"{failures:>7,}", style="bold red" if failures else "dim")
        line.append(f"{record.output_tokens:>9,}", style="cyan")
        line.append(f"{record.fees:>8,}", style="" if record.fees else "dim")
        line.append(f"{record.supply.get('circulating', 0):>12,}", style="dim")
        line.append(f"{seconds:>6.1f} s", style="dim")
        self._progress.console.print(line, no_wrap=True, overflow="ellipsis")

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


def _winner(blocks: Sequence[Mapping[str, Any]]) -> Text:
    """One column: whose block of a kind is canonical, and how many lost the fork."""
    won = next((str(each["producer"]) for each in blocks if each["status"] == "canonical"), "")
    lost = sum(each["status"] != "canonical" for each in blocks)
    shown = f"{won[: NAME_WIDTH - 3]}{f'+{lost}' if lost else ''}" or "·"
    return Text(f"{shown:<{NAME_WIDTH}}", style="" if won else "dim")


def make_display(console: Console, *, plain: bool) -> Display:
    """Return the display that fits: a bar on a terminal, lines elsewhere."""
    if plain or not console.is_terminal:
        return PlainDisplay(console)
    return RichDisplay(console)
