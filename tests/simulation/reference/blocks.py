"""The three lotteries and the choice among forks (rules §9)."""

from typing import TYPE_CHECKING, Any

from . import pools
from .numbers import TEN_THOUSAND, digest, draw, part, pick

if TYPE_CHECKING:
    from .world import World

Block = dict[str, Any]


def genesis() -> Block:
    """Return block 0."""
    block_hash = digest("block", "genesis", 0, "", 0, "", "").hex()
    return {"hash": block_hash, "kind": "genesis", "height": 0, "parent_hash": ""}


def child(world: "World", parent: Block, kind: str, producer: str) -> Block:
    """Return a candidate on top of `parent`."""
    height = parent["height"] + 1
    block_hash = digest(
        "block", kind, height, parent["hash"], world.turn, producer, world.turn_hash
    ).hex()
    return {
        "hash": block_hash,
        "kind": kind,
        "height": height,
        "parent_hash": parent["hash"],
        "producer": producer,
        "status": "orphaned",
        "reward": 0,
    }


def mining_powers(world: "World") -> dict[str, int]:
    """Return each agent's power in this turn's race."""
    powers = {}
    for who in world.roster:
        mined = world.today()["actions"].count((who, "mine"))
        bonus = world.config["mine_bonus_bps"] * world.agents[who]["study_level"]
        power = mined * world.config["mine_power"] * (TEN_THOUSAND + bonus)
        powers[who] = power // TEN_THOUSAND
    return powers


def solvers(world: "World", powers: dict[str, int]) -> list[str]:
    """Return everyone who solves in the first slot that has a solver."""
    slots = world.config["mine_slots"]
    for slot in range(slots):
        found = []
        for who in world.roster:
            number = draw("mine", world.seed, world.turn, slot, world.tip["hash"], who)
            if number * world.difficulty * slots < powers[who] * 2**256:
                found.append(who)
        if found:
            return found
    return []


def draw_one(world: "World", kind: str, mine_block: Block, weights: dict[str, int]) -> str | None:
    """Return the winner of the stake or burn lottery on one mine block, if it takes place."""
    fields = (world.seed, world.turn, mine_block["hash"])
    if pick(TEN_THOUSAND, f"{kind}?", *fields) >= world.config[f"{kind}_rate_bps"]:
        return None
    total = sum(weights.values())
    if total == 0:
        return None
    x = pick(total, kind, *fields)
    running = 0
    for who in world.roster:
        running += weights[who]
        if running > x:
            return who
    raise ArithmeticError("the running sum of all weights must exceed the pick")


def stake_weights(world: "World") -> dict[str, int]:
    """Return stake times its age, which has a cap."""
    cap = world.config["stake_age_cap"]
    weights = {}
    for who, agent in world.agents.items():
        staked = world.staked(who)
        weights[who] = staked * min(world.turn - agent["stake_since"], cap) if staked else 0
    return weights


def best_path(tree: list[Block], root: str, trust: dict[str, int], seed: str) -> list[Block]:
    """Return the canonical path above `root`: the most trusted leaf and its ancestors.

    A stake or burn block that does not follow a mine block of the tree is dropped with its
    descendants; on the root, which is final, only a mine block can be built.
    """
    valid: dict[str, tuple[Block, list[Block]]] = {}
    for block in sorted(tree, key=lambda b: int(b["height"])):
        parent = valid.get(block["parent_hash"])
        if parent is None and block["parent_hash"] != root:
            continue
        if block["kind"] != "mine" and (parent is None or parent[0]["kind"] != "mine"):
            continue
        valid[block["hash"]] = (block, [*(parent[1] if parent else []), block])
    parents = {block["parent_hash"] for block, _ in valid.values()}
    leaves = [(block, path) for block, path in valid.values() if block["hash"] not in parents]
    if not leaves:
        return []
    _, path = min(
        leaves,
        key=lambda leaf: (
            -sum(trust[block["kind"]] for block in leaf[1]),
            draw("fork", seed, leaf[0]["hash"]),
        ),
    )
    return path


def run_lotteries(world: "World") -> list[Block]:
    """Make, choose and pay the blocks of a turn."""
    weights = {
        "mine": mining_powers(world),
        "stake": stake_weights(world),
        "burn": {who: agent["burn_score"] for who, agent in world.agents.items()},
    }
    tree = [child(world, world.tip, "mine", who) for who in solvers(world, weights["mine"])]
    for mine_block in list(tree):
        for kind in ("stake", "burn"):
            winner = draw_one(world, kind, mine_block, weights[kind])
            if winner is not None:
                tree.append(child(world, mine_block, kind, winner))
    trust = {kind: world.config[f"trust_{kind}"] for kind in weights}
    for block in best_path(tree, world.tip["hash"], trust, world.seed):
        make_canonical(world, block, weights[block["kind"]])
    adjust(world, mined=bool(tree))
    return tree


def make_canonical(world: "World", block: Block, weights: dict[str, int]) -> None:
    """Pay a canonical block to its producer and on through the producer's pool."""
    producer, kind = block["producer"], block["kind"]
    minted = world.config[f"{kind}_reward"]
    fees = world.books.balance("fees") if kind == "mine" else 0
    block["status"] = "canonical"
    block["reward"] = minted + fees
    world.move("issuance", f"agent:{producer}", minted)
    world.move("fees", f"agent:{producer}", fees)
    pools.share_out(world, producer, kind, minted + fees, weights)
    if kind == "stake":
        world.agents[producer]["stake_since"] = world.turn
    world.agents[producer]["blocks_won"] += 1
    world.today()["blocks"].append((producer, kind))
    world.tip = block


def adjust(world: "World", mined: bool) -> None:
    """Move the difficulty, and decay burns on the mine clock."""
    if not mined:
        world.difficulty = max(1, part(world.difficulty, world.config["difficulty_down_bps"]))
        return
    world.difficulty = part(world.difficulty, world.config["difficulty_up_bps"]) + 1
    kept_bps = TEN_THOUSAND - world.config["burn_decay_bps"]
    for agent in world.agents.values():
        agent["burn_score"] = part(agent["burn_score"], kept_bps)
