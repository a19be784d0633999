"""A whole turn over HTTP, durable and sealed, against a plain script that writes the same rows.

    python -m benchmarks.turn [--sizes 8:24,1000:3000] [--turns 9]

In rounds: the engine plays some turns; then their rows are read back and written into a second file
with the same schema, each turn in one transaction with the same durability, by nothing but
``sqlite3``. The ratio of the medians is what a ledger with rules costs over a file with rows.
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from benchmarks.server import Server, serving
from benchmarks.worlds import init_body, turn_body

SIZES: Final = "8:24,100:300,1000:3000,10000:30000,100000:100000"
ROUNDS: Final = 2
APPENDED: Final = (
    "submissions",
    "actions",
    "inference",
    "entries",
    "blocks",
    "speech_log",
    "turn_metrics",
    "turns",
)
JSON: Final = {"content-type": "application/json"}


class BareWriter:
    """Writes rows into a file with the schema of a ledger, and knows nothing of their meaning."""

    def __init__(self, ledger: Path, copy: Path) -> None:
        """Make the file, with the agents as they stand in the ledger."""
        self._ledger = sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)
        self._copy = sqlite3.connect(copy, isolation_level=None)
        self._copy.execute("PRAGMA journal_mode = WAL")
        self._copy.execute("PRAGMA synchronous = FULL")
        schema = "SELECT sql FROM sqlite_master WHERE type IN ('table', 'index') AND sql NOT NULL"
        for (statement,) in self._ledger.execute(schema):
            if "sqlite_" not in statement.split("(")[0]:
                self._copy.execute(statement)
        self._agents = self._read_agents()
        width = len(self._agents[0])
        insert = f"INSERT INTO agents VALUES ({', '.join('?' * width)})"
        self._copy.execute("BEGIN")
        self._copy.executemany(insert, self._agents)
        self._copy.execute("COMMIT")
        names = [row[1] for row in self._ledger.execute("PRAGMA table_info(agents)")]
        self._changing = names[1:-1]
        assignments = ", ".join(f"{name} = ?" for name in self._changing)
        self._update = f"UPDATE agents SET {assignments} WHERE position = ?"

    def close(self) -> None:
        """Close both files."""
        self._ledger.close()
        self._copy.close()

    def write(self, turn: int) -> tuple[float, int]:
        """Write a turn's rows; returns the seconds that took, and how many rows they were."""
        appended = {
            table: self._ledger.execute(f"SELECT * FROM {table} WHERE turn = ?", (turn,)).fetchall()
            for table in APPENDED
        }
        # An agent whose tokens moved has a new row; which numbers it holds is all the same here.
        moved = {
            account.partition(":")[2] for entry in appended["entries"] for account in entry[2:4]
        }
        changed = [row[1:] for row in self._agents if row[0] in moved]
        statements = [
            (f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)
            for table, rows in appended.items()
            if rows
        ]
        started = time.perf_counter()
        self._copy.execute("BEGIN")
        for statement, rows in statements:
            self._copy.executemany(statement, rows)
        self._copy.executemany(self._update, changed)
        self._copy.execute("COMMIT")
        seconds = time.perf_counter() - started
        return seconds, len(changed) + sum(len(rows) for _, rows in statements)

    def _read_agents(self) -> list[Any]:
        return self._ledger.execute("SELECT * FROM agents ORDER BY position").fetchall()


def measure(agents: int, actions: int, turns: int) -> str:
    """Play one world; returns its line of the table."""
    with tempfile.TemporaryDirectory() as directory:
        ledger = Path(directory) / "sim.db"
        with serving(ledger) as server:
            server.client.post("/init", content=init_body(agents), headers=JSON).raise_for_status()
            bare = BareWriter(ledger, Path(directory) / "bare.db")
            played: list[float] = []
            written: list[tuple[float, int]] = []
            for first in range(1, ROUNDS * turns + 1, turns):
                numbers = range(first, first + turns)
                # The first turn of a round warms up what stood still in the round of the other.
                played += [_play(server, turn, agents, actions) for turn in numbers][1:]
                written += [bare.write(turn) for turn in numbers][1:]
            bare.close()
            peak = server.peak_memory_bytes()
    engine = statistics.median(played)
    plain = statistics.median(seconds for seconds, _ in written)
    rows = statistics.median(count for _, count in written)
    times = f"{engine * 1e3:>10.1f} {plain * 1e3:>9.1f} {engine / plain:>6.2f}"
    speeds = f"{actions / engine:>11,.0f} {rows / plain:>13,.0f}"
    return f"{agents:>8,} {actions:>8,} {times} {speeds} {peak / 2**20:>9,.0f}"


def _play(server: Server, turn: int, agents: int, actions: int) -> float:
    """Play a turn; returns the seconds until its answer was there."""
    body = turn_body(turn, agents, actions)
    started = time.perf_counter()
    answer = server.client.post("/turn", content=body, headers=JSON)
    seconds = time.perf_counter() - started
    answer.raise_for_status()
    return seconds


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default=SIZES, help="agents:actions, with commas between")
    parser.add_argument("--turns", type=int, help="turns of a round (default: fewer if larger)")
    flags = parser.parse_args()
    print("  agents  actions  engine ms  plain ms  ratio   actions/s  plain rows/s  peak MiB")
    for size in flags.sizes.split(","):
        agents, actions = map(int, size.split(":"))
        turns = flags.turns or max(4, min(50, 30_000 // actions))
        print(measure(agents, actions, turns), flush=True)


if __name__ == "__main__":
    main()
