"""What it costs to prove a ledger, against plainly reading the same rows.

    python -m benchmarks.verify [--sizes 16:48:2000,100:300:400] [--rounds 5]

``verify`` plays every turn again and compares every row; ``--quick`` hashes the rows of history
again. The plain reading is ``SELECT *`` over every table of the same file by ``sqlite3``, in the
same run. All three are measured in CPU time, each in a fresh process, by turns, and the best of the
rounds counts.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Final

from benchmarks.worlds import init_body, turn_body
from sim_engine.engine import Engine
from sim_engine.ledger import tables
from sim_engine.ledger.audit import verify_hashes
from sim_engine.ledger.replay import verify
from sim_engine.ledger.report import Progress, Report

SIZES: Final = "16:48:2000,100:300:400,1000:3000:100,10000:30000:20"


def make(ledger: Path, agents: int, actions: int, turns: int) -> None:
    """Play a world of so many agents with so many actions a turn."""
    engine = Engine.open(ledger)
    engine.init(init_body(agents))
    for turn in range(1, turns + 1):
        engine.submit_turn(turn_body(turn, agents, actions))
    engine.close()


def read_plainly(ledger: Path) -> int:
    """Read every row of every table; returns how many there are."""
    rows = 0
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as connection:
        for table in tables.METADATA.tables:
            for _ in connection.execute(f'SELECT * FROM "{table}"'):
                rows += 1
    return rows


def quick(ledger: Path) -> None:
    """Check hashes and sums of a ledger that must be sound."""
    _prove(verify_hashes, ledger)


def whole(ledger: Path) -> None:
    """Play a ledger again that must be sound."""
    _prove(verify, ledger)


def cpu_seconds(work: Callable[[Path], object], ledger: Path) -> float:
    """Return what the work takes of this process's CPU time."""
    started = time.process_time()
    work(ledger)
    return time.process_time() - started


def _prove(check: Callable[[Path, Progress], Report], ledger: Path) -> None:
    report = check(ledger, lambda turn, last: None)
    if not report.sound:
        sys.exit(str(report.differences[0]))


def measure(agents: int, actions: int, turns: int, rounds: int) -> str:
    """Make one ledger and check it; returns its line of the table."""
    # Each check has a process of its own, as it has at the command line.
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as directory:
        ledger = Path(directory) / "sim.db"
        make(ledger, agents, actions, turns)
        rows = read_plainly(ledger)
        times = []
        for _ in range(rounds):
            with ProcessPoolExecutor(1, context, max_tasks_per_child=1) as alone:
                works = (read_plainly, quick, whole)
                asked = [alone.submit(cpu_seconds, work, ledger) for work in works]
                times.append([future.result() for future in asked])
    plain_s, quick_s, whole_s = (min(column) for column in zip(*times, strict=True))
    count = actions // agents * agents * turns
    size = f"{agents:>7,} {turns:>6,} {count:>9,} {rows:>10,}"
    speeds = f"{count / whole_s:>14,.0f} {count / quick_s:>14,.0f}"
    return f"{size} {speeds} {whole_s / plain_s:>12.1f} {quick_s / plain_s:>11.1f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default=SIZES, help="agents:actions:turns, with commas between")
    parser.add_argument("--rounds", type=int, default=5)
    flags = parser.parse_args()
    print("                                       actions per CPU second     times a plain reading")
    print(
        " agents  turns   actions       rows         verify          quick       verify       quick"
    )
    for size in flags.sizes.split(","):
        agents, actions, turns = map(int, size.split(":"))
        print(measure(agents, actions, turns, flags.rounds), flush=True)


if __name__ == "__main__":
    main()
