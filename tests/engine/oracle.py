"""The arithmetic of rules §1, §8 and §9, written a second time and from the text alone.

Nothing here is imported from the engine: where a test expects a draw, a hash or a share, it comes
from here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, pairwise

TWO_TO_256 = 2**256


def digest(*fields: str | int) -> bytes:
    """H(f1, f2, …): SHA-256 over the fields, each prefixed by its byte length in four bytes."""
    whole = b""
    for field in fields:
        text = str(field).encode("utf-8")
        whole += len(text).to_bytes(4, "big") + text
    return hashlib.sha256(whole).digest()


def draw(*fields: str | int) -> int:
    return int.from_bytes(digest(*fields), "big")


def pick(n: int, *fields: str | int) -> int:
    return draw(*fields) * n >> 256


def by_draw(names: Iterable[str], *prefix: str | int) -> list[str]:
    """The names, the one with the lowest draw first."""
    return sorted(names, key=lambda name: draw(*prefix, name))


def apportion(total: int, weights: Sequence[int]) -> list[int]:
    """Split exactly: floors, then one unit each to the largest remainders, ties to the earlier."""
    whole = sum(weights)
    if whole == 0:
        return [0] * len(weights)
    shares = [total * weight // whole for weight in weights]
    remainders = [total * weight % whole for weight in weights]
    order = sorted(range(len(weights)), key=lambda i: (-remainders[i], i))
    for i in order[: total - sum(shares)]:
        shares[i] += 1
    return shares


def labour_fund(seed: str, turn: int, agents: int, per_agent: int = 300) -> int:
    return per_agent * agents * (2_000 + pick(16_001, "labour", seed, turn)) // 10_000


def block_hash(kind: str, height: int, parent: str, turn: int, producer: str, previous: str) -> str:
    """The hash of a block; ``previous`` is the turn_hash of the turn before."""
    return digest("block", kind, height, parent, turn, producer, previous).hex()


GENESIS_HASH = block_hash("genesis", 0, "", 0, "", "")


def race(
    seed: str, turn: int, parent: str, difficulty: int, slots: int, power: Mapping[str, int]
) -> list[str]:
    """The miners that solve in the first slot that has a solver, in the order of ``power``."""
    for slot in range(slots):
        solvers = [
            agent
            for agent, own in power.items()
            if draw("mine", seed, turn, slot, parent, agent) * difficulty * slots < own * TWO_TO_256
        ]
        if solvers:
            return solvers
    return []


def lottery(
    kind: str, seed: str, turn: int, mine_hash: str, rate_bps: int, weight: Mapping[str, int]
) -> str | None:
    """The winner of the stake or burn lottery on one mine block, or nobody."""
    total = sum(weight.values())
    if total == 0 or pick(10_000, f"{kind}?", seed, turn, mine_hash) >= rate_bps:
        return None
    ticket = pick(total, kind, seed, turn, mine_hash)
    running = 0
    for agent, own in weight.items():
        running += own
        if ticket < running:
            return agent
    raise AssertionError("a ticket below the total always has an owner")


@dataclass(frozen=True)
class Node:
    """A block as far as fork resolution is concerned."""

    hash: str
    kind: str
    parent: str
    producer: str
    height: int


def canonical_path(
    seed: str, root: str, nodes: Sequence[Node], trust: Mapping[str, int], root_kind: str = "mine"
) -> list[str]:
    """Brute force: list every path from the root down to a leaf, then take the best one."""
    by_hash = {node.hash: node for node in nodes}

    def path_to(node: Node) -> list[Node]:
        above = by_hash.get(node.parent)
        return [*(path_to(above) if above else []), node]

    def lawful(path: Sequence[Node]) -> bool:
        kinds = [root_kind, *(node.kind for node in path)]
        return all(child == "mine" or parent == "mine" for parent, child in pairwise(kinds))

    paths = [path for path in map(path_to, nodes) if lawful(path)]
    parents = {path[-1].parent for path in paths}
    leaves = [path for path in paths if path[-1].hash not in parents]
    if not leaves:
        return [root]
    best = min(
        leaves,
        key=lambda path: (
            -sum(trust[node.kind] for node in path),
            draw("fork", seed, path[-1].hash),
        ),
    )
    return [root, *(node.hash for node in best)]


def seed_where(wanted: Callable[[str], bool], prefix: str = "seed") -> str:
    """The first of the seeds prefix-0, prefix-1, … for which ``wanted`` holds."""
    for i in count():
        seed = f"{prefix}-{i}"
        if wanted(seed):
            return seed
        assert i < 100_000, "no such seed in reach: the predicate is probably never true"
    raise AssertionError("count() never ends")
