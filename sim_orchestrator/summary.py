"""The end of a run in one view: who is how rich, what was built, what went wrong, what it cost."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from sim_orchestrator.display import counted, kind_of, names, one_line
from sim_orchestrator.rundir import TimePlayed
from sim_orchestrator.tally import Tally

BARS: Final = "▁▂▃▄▅▆▇█"
SPARK_WIDTH: Final = 24
ALL_AGENTS_UP_TO: Final = 20
SHOWN_OF_MANY: Final = 8
SHOWN_REASONS: Final = 8

SPEECH: Final = "SELECT turn, agent_id, message FROM speech_log ORDER BY turn"
AGENTS: Final = "SELECT agent_id, balance, staked, burn_score, study_level FROM agents"
SETTLED: Final = "SELECT * FROM contracts WHERE status='settled'"
OUTCOMES: Final = "SELECT * FROM v_contract_outcomes"

ContractCounts = Mapping[tuple[str, str], int]
"""How many contracts there are of each type and status."""


@dataclass(frozen=True, slots=True)
class Summary:
    """All that the view shows.

    Attributes:
        title: what was run.
        ending: why it ended.
        tally: what it came to.
        contracts: how its contracts stand; ``None`` when the engine was not there to tell.
        db_path: where the world's file is, as far as the orchestrator knows.
        time: how long it was played.
        resume: the command that goes on with it; ``None`` when nothing does.
    """

    title: str
    ending: str
    tally: Tally
    contracts: ContractCounts | None
    db_path: Path | None
    time: TimePlayed
    resume: str | None


def print_summary(console: Console, summary: Summary) -> None:
    """Print the whole view."""
    tally = summary.tally
    console.print()
    console.print(Rule(Text(summary.title, style="bold")))
    console.print(_headline(summary))
    if tally.turns:
        console.print(_section("wealth", _wealth(tally)))
        console.print(_section("blocks", _blocks(tally)))
        console.print(_section("contracts", _contracts(summary.contracts)))
        console.print(_section("actions", _actions(tally)))
    console.print(_section("decisions", _decisions(tally)))
    if tally.models:
        console.print(_section("models", _models(tally)))
    commands = _commands(summary)
    if commands:
        console.print(_heading("go on with"))
    # Whole, whatever the width: they are to be copied.
    for line in commands:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def sparkline(values: Sequence[int]) -> str:
    """Draw values as a line of small bars, the lowest and the highest filling the height."""
    if len(values) > SPARK_WIDTH:
        last = len(values) - 1
        values = [values[place * last // (SPARK_WIDTH - 1)] for place in range(SPARK_WIDTH)]
    if not values:
        return ""
    low, high = min(values), max(values)
    if low == high:
        return BARS[3] * len(values)
    return "".join(BARS[(value - low) * (len(BARS) - 1) // (high - low)] for value in values)


def _section(name: str, body: RenderableType) -> Group:
    return Group(_heading(name), body)


def _heading(name: str) -> Group:
    return Group(Text(""), Text(name, style="bold cyan"))


def _headline(summary: Summary) -> Text:
    tally = summary.tally
    supply = tally.supply
    text = Text(f"{summary.ending}\n", style="green" if tally.turns else "yellow")
    text.append(f"{counted(tally.turns, 'turn')}, {counted(len(tally.roster), 'agent')}")
    if supply:
        text.append(
            f"; supply {supply['circulating']:,} tokens "
            f"(issued {supply['issued']:,}, destroyed {supply['destroyed']:,})"
        )
    text.append(f"; {_duration(summary.time)}")
    if tally.turn_hash:
        text.append(f"\nturn hash {tally.turn_hash}", style="dim")
    return text


def _wealth(tally: Tally) -> RenderableType:
    table = _table("agent", *("wealth", "balance", "staked", "unbonding", "burn", "level", "cores"))
    table.add_column("", no_wrap=True)
    richest = sorted(tally.agents, key=lambda agent_id: -sum(tally.agents[agent_id][:3]))
    shown: list[str | None] = [*richest]
    if len(richest) > ALL_AGENTS_UP_TO:
        shown = [*richest[:SHOWN_OF_MANY], None, *richest[-SHOWN_OF_MANY:]]
    for agent_id in shown:
        if agent_id is None:
            table.add_row(f"… {len(richest) - 2 * SHOWN_OF_MANY} more …", style="dim")
            continue
        balance, staked, unbonding, burn, level, cores = tally.agents[agent_id]
        table.add_row(
            agent_id,
            Text(f"{balance + staked + unbonding:,}", style="bold"),
            Text(f"{balance:,}", style="red" if balance < 0 else ""),
            *(f"{value:,}" if value else "·" for value in (staked, unbonding, burn, level, cores)),
            Text(sparkline(tally.wealth[agent_id]), style="green"),
        )
    return table


def _blocks(tally: Tally) -> RenderableType:
    if not tally.blocks:
        return Text("none: nobody mined", style="dim")
    table = _table("kind", "canonical", "orphaned", "paid")
    table.add_column("won by")
    for kind in ("mine", "stake", "burn"):
        won = {
            producer: count
            for (each, producer, status), count in tally.blocks.items()
            if each == kind and status == "canonical"
        }
        orphaned = sum(
            count
            for (each, _, status), count in tally.blocks.items()
            if each == kind and status != "canonical"
        )
        winners = ", ".join(f"{name} {count}" for name, count in _ranked(won, 5))
        table.add_row(
            kind, _number(sum(won.values())), _number(orphaned), f"{tally.rewards[kind]:,}", winners
        )
    return table


def _contracts(contracts: ContractCounts | None) -> RenderableType:
    if contracts is None:
        return Text("not known: the engine could not be asked", style="dim")
    if not contracts:
        return Text("none", style="dim")
    order = ("settled", "ruled", "defaulted", "lapsed", "expired", "disputed", "active", "proposed")
    statuses = [status for status in order if any(status == each for _, each in contracts)]
    table = _table("type", *statuses)
    for kind in sorted({kind for kind, _ in contracts}):
        table.add_row(kind, *(_number(contracts.get((kind, status), 0)) for status in statuses))
    return table


def _actions(tally: Tally) -> RenderableType:
    text = Text(f"{sum(tally.applied.values()):,} applied: ")
    text.append(_listing(tally.applied) or "none", style="green")
    text.append(f"\n{sum(tally.rejected.values()):,} rejected: ")
    text.append(_listing(tally.rejected) or "none", style="yellow" if tally.rejected else "green")
    if tally.queued:
        text.append(f"\n{tally.queued:,} queued at the engine by others")
    return text


def _decisions(tally: Tally) -> RenderableType:
    text = Text(f"{tally.decisions:,} made, {tally.failed_decisions:,} failed")
    if tally.repaired:
        text.append(f", {tally.repaired:,} after a repair call")
    if tally.not_asked:
        text.append(f", {tally.not_asked:,} by rule while suspended for debt")
    if tally.mends:
        text.append(f"\nmended: {_listing(tally.mends)}")
    if tally.dropped:
        verb = "was" if tally.dropped == 1 else "were"
        text.append(f"\n{counted(tally.dropped, 'action')} could not be used and {verb} left out")
    ranked = _failures(tally)
    for reason, count, failing in ranked[:SHOWN_REASONS]:
        text.append(f"\n{count:,} × ", style="red")
        text.append(one_line(reason))
        text.append(f" ({_whose(tally, failing)})", style="dim")
    if rest := ranked[SHOWN_REASONS:]:
        failures = sum(count for _, count, _ in rest)
        text.append(f"\n… {counted(len(rest), 'more reason')}, {counted(failures, 'failure')}")
    return text


def _failures(tally: Tally) -> list[tuple[str, int, set[str]]]:
    """List one reason of each kind with its failures and who had them, the most frequent first."""
    kinds: dict[str, tuple[str, int, set[str]]] = {}
    for reason, count in tally.failures.most_common():
        first, failures, failing = kinds.get(kind_of(reason), (reason, 0, set()))
        kinds[kind_of(reason)] = first, failures + count, failing | tally.failing[reason]
    return sorted(kinds.values(), key=lambda kind: -kind[1])


def _whose(tally: Tally, agent_ids: Set[str]) -> str:
    """Say which agents failed for a reason, or how many when they are many."""
    failing = [agent_id for agent_id in tally.roster if agent_id in agent_ids]
    if len(failing) == len(tally.roster) > 1:
        return f"all {len(failing):,} agents"
    return names(failing)


def _models(tally: Tally) -> RenderableType:
    table = _table("model", "calls", "tokens in", "tokens out", "s per call", "tokens/s", "fees")
    for name, model in sorted(tally.models.items()):
        seconds = model.duration_ms / 1000
        table.add_row(
            name,
            f"{model.calls:,}",
            f"{model.prompt_tokens:,}",
            f"{model.output_tokens:,}",
            f"{seconds / model.calls:.2f}" if seconds else "·",
            f"{model.output_tokens / seconds:.1f}" if seconds else "·",
            f"{model.fees:,}",
        )
    return table


def _commands(summary: Summary) -> list[str]:
    """Write the commands that have something to go on with, or to show."""
    lines = [summary.resume] if summary.resume else []
    if not summary.tally.turns:
        return lines
    name = shlex.quote(str(summary.db_path or "sim.db"))
    lines += [f'sqlite3 {name} "{query}"' for query in _queries(summary)]
    lines.append(f"sim-engine verify {name}")
    if summary.db_path is None:
        lines.append("(sim.db is the file that the engine was started with: its DB_PATH)")
    return lines


def _queries(summary: Summary) -> list[str]:
    queries = [SPEECH] if summary.tally.applied.get("speak") else []
    queries.append(AGENTS)
    if summary.contracts is None or any(status == "settled" for _, status in summary.contracts):
        queries.append(SETTLED)
    elif summary.contracts:
        queries.append(OUTCOMES)
    return queries


def _table(first: str, *numbers: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(first, no_wrap=True)
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _ranked(counts: Mapping[str, int], limit: int) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:limit]


def _listing(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in _ranked(counts, 20))


def _number(value: int) -> str:
    return f"{value:,}" if value else "·"


def _duration(time: TimePlayed) -> str:
    """Write the time of all sessions, and how many of them are not in it."""
    known = time.sessions - time.unknown
    if not known:
        return "its time is not known"
    minutes, seconds = divmod(int(time.seconds), 60)
    text = f"{time.seconds:.1f} s" if time.seconds < 100 else f"{minutes} min {seconds} s"
    if time.sessions > 1:
        text += f" in {counted(known, 'session')}"
    if time.unknown:
        text += f", {counted(time.unknown, 'unfinished session')} not counted"
    return text
