"""How fast a world is there again after a restart, and how fast it shows itself.

    python -m benchmarks.restart [--agents 10000] [--turns 1000]

The time of a restart must depend on the size of the world, not on the length of its history: the
two lines are of the same world after few and after many turns.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Final

import orjson

from benchmarks.worlds import init_body
from sim_engine.engine import Engine

ACTING: Final = 30
REPEATS: Final = 5


def play(engine: Engine, agents: int, first: int, last: int) -> None:
    """Play turns in which a few agents act, so that a long history is made quickly."""
    for turn in range(first, last + 1):
        acting = [(turn * ACTING + i) % agents for i in range(ACTING)]
        submissions = [
            {"agent_id": f"agent_{i}", "actions": [{"type": "mine"}, {"type": "study"}]}
            for i in dict.fromkeys(acting)
        ]
        engine.submit_turn(orjson.dumps({"turn": turn, "submissions": submissions}))


def measure(path: Path) -> tuple[float, float]:
    """Return the medians of opening the ledger and of showing the whole state (seconds)."""
    opening, showing = [], []
    for _ in range(REPEATS):
        started = time.perf_counter()
        engine = Engine.open(path)
        opened = time.perf_counter()
        engine.state()
        shown = time.perf_counter()
        engine.close()
        opening.append(opened - started)
        showing.append(shown - opened)
    return statistics.median(opening), statistics.median(showing)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agents", type=int, default=10_000)
    parser.add_argument("--turns", type=int, default=1_000)
    flags = parser.parse_args()
    print("  agents    turns  restart s  GET /state ms (first of a turn)")
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "sim.db"
        engine = Engine.open(path, own_process=True)
        engine.init(init_body(flags.agents))
        played = 0
        for turns in (10, flags.turns):
            play(engine, flags.agents, played + 1, turns)
            played = turns
            engine.close()
            restart, state = measure(path)
            print(
                f"{flags.agents:>8,} {turns:>8,} {restart:>10.2f} {state * 1e3:>14.1f}", flush=True
            )
            engine = Engine.open(path, own_process=True)
        engine.close()


if __name__ == "__main__":
    main()
