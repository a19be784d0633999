"""Run random worlds against the engine and audit every turn.

    python -m tests.simulation.simulate --seed 0 --worlds 60 --turns 60 --coverage

Everything follows from the seeds: a failure prints the command that repeats it.
"""

import argparse
import copy
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from .auditor import Auditor, Port
from .port import EnginePort
from .workload import Workload

SPOIL, REPEAT, RESTART, QUEUE, UNNUMBERED = 0.06, 0.04, 0.02, 0.1, 0.1


class Failure(AssertionError):
    """A world in which the engine and the rules parted."""

    def __init__(self, seed: int, turn: int, cause: Exception) -> None:
        command = f"python -m tests.simulation.simulate --seed {seed} --worlds 1 --turns {turn}"
        what = str(cause) or type(cause).__name__
        super().__init__(f"seed {seed}, turn {turn}: {what}\nreproduce: {command}")


@contextmanager
def engine_in_a_new_directory(operator_key: str | None = None) -> Iterator[EnginePort]:
    """Run an engine on a database that is gone afterwards; without a key it is open."""
    with (
        tempfile.TemporaryDirectory(prefix="sim-economy-") as directory,
        closing(EnginePort(Path(directory) / "sim.db", operator_key)) as port,
    ):
        yield port


@contextmanager
def named(seed: int, auditor: Auditor) -> Iterator[None]:
    """Say of any difference in which world and turn it came up."""
    try:
        yield
    except (AssertionError, LookupError, TypeError, ValueError, AttributeError) as cause:
        raise Failure(seed, auditor.attempted, cause) from cause


def run_world(seed: int, turns: int, port: Port) -> Counter[str]:
    """Run one world for a number of turns and return what was covered.

    Raises Failure at the first difference.
    """
    coverage: Counter[str] = Counter()
    workload = Workload(seed)
    auditor = Auditor(port, workload.init_body)
    with named(seed, auditor):
        auditor.start()
        while auditor.world.turn < turns:
            step(workload, auditor, coverage)
        auditor.check_everything()
    count_contracts(auditor, coverage)
    return coverage


def audit(seed: int, turns: int) -> Counter[str]:
    """Run one world on an engine of its own, with access keys if its seed is odd; prove its ledger.

    Raises Failure at the first difference.
    """
    with engine_in_a_new_directory("the operator's key" if seed % 2 else None) as port:
        coverage = run_world(seed, turns, port)
        try:
            port.prove()
        except AssertionError as cause:
            raise Failure(seed, turns, cause) from cause
        return coverage


def step(workload: Workload, auditor: Auditor, coverage: Counter[str]) -> None:
    """Make one attempt at a turn, sometimes a spoilt one, with what can happen around it."""
    body = workload.turn(auditor.seen, auditor.world.config)
    busy = [submission for submission in body["submissions"] if submission["actions"]]
    if busy and workload.chance(QUEUE):
        waiting = workload.random.choice(busy)
        auditor.queue(waiting["agent_id"], copy.deepcopy(waiting["actions"]))
        coverage["queued"] += 1
    if workload.chance(RESTART):
        auditor.restart()
        coverage["restarted"] += 1
    if workload.chance(UNNUMBERED):
        del body["turn"]
    if workload.chance(SPOIL):
        workload.mutate(body)
    answer = auditor.turn(body)
    if answer is None:
        coverage["malformed"] += 1
        return
    count_turn(answer, coverage)
    if workload.chance(RESTART):
        auditor.restart()
        coverage["restarted"] += 1
    if "turn" in body and workload.chance(REPEAT):
        auditor.repeat(body)
        coverage["repeated"] += 1


def count_turn(answer: dict[str, Any], coverage: Counter[str]) -> None:
    """Count what one turn showed."""
    coverage["turns"] += 1
    for receipt in answer["receipts"]:
        verdict = receipt["code"] or receipt["status"]
        coverage[f"action {receipt['type']}: {verdict}"] += 1
        coverage[f"verdict {verdict}"] += 1
    parents = Counter(block["parent_hash"] for block in answer["blocks"])
    for block in answer["blocks"]:
        coverage[f"block {block['kind']}: {block['status']}"] += 1
    for block in answer["blocks"]:
        if parents.get(block["parent_hash"], 0) > 1:
            coverage[f"fork of {block['kind']} blocks"] += 1
    if answer["billing"]["billed_tokens"]:
        coverage["inference billed"] += 1
    if answer["billing"]["dividends"]:
        coverage["dividends"] += 1


def count_contracts(auditor: Auditor, coverage: Counter[str]) -> None:
    """Count how the contracts of a world ended."""
    for contract in auditor.world.contracts.values():
        kind = f"{contract['contract_type']} ({contract['settlement']})"
        coverage[f"contract {kind}: {contract['status']}"] += 1


def main(arguments: list[str] | None = None) -> int:
    """Run the worlds that the command line asks for; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation.simulate", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the first world (default 0)")
    parser.add_argument("--turns", type=int, default=60, help="turns of each world (default 60)")
    parser.add_argument(
        "--worlds", type=int, default=60, help="worlds, with ascending seeds (default 60)"
    )
    parser.add_argument("--coverage", action="store_true", help="print what was covered")
    options = parser.parse_args(arguments)
    coverage: Counter[str] = Counter()
    started = time.monotonic()
    for seed in range(options.seed, options.seed + options.worlds):
        try:
            coverage += audit(seed, options.turns)
        except Failure as failure:
            print(failure, file=sys.stderr)
            return 1
    seconds = time.monotonic() - started
    if options.coverage:
        for key in sorted(coverage):
            print(f"{coverage[key]:9,}  {key}")
    print(
        f"{options.worlds} worlds, {coverage['turns']:,} turns and "
        f"{sum(n for key, n in coverage.items() if key.startswith('verdict')):,} actions "
        f"agree with the rules ({seconds:.0f} s)"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
