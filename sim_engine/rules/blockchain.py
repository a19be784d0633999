"""Blocks: mine is the clock, and one branch of every fork takes all.  (rules §9)"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from sim_engine.rules.books import Reason
from sim_engine.rules.contracts.pool import share_reward
from sim_engine.rules.in_hand import Turn
from sim_engine.rules.lotteries import (
    Weights,
    burn_weights,
    draw_winner,
    mining_power,
    race,
    stake_weights,
)
from sim_engine.rules.numbers import BPS, H, draw, portion
from sim_engine.rules.state import Agent, Block, World
from sim_engine.types.fields import BlockKind

REWARD_REASONS: Final[dict[str, str]] = {
    "mine": Reason.MINE_REWARD,
    "stake": Reason.STAKE_REWARD,
    "burn": Reason.BURN_REWARD,
}


def make_blocks(turn: Turn) -> None:
    """Run the lotteries of a turn, resolve its forks, pay the winners and move the mine clock."""
    world = turn.world
    power = mining_power(world, turn.mines)
    solvers = race(world, turn.number, power)
    _adjust_difficulty(world, bool(solvers))
    if not solvers:
        return
    weights = {
        "mine": power,
        "stake": stake_weights(world, turn.number),
        "burn": burn_weights(world),
    }
    turn.blocks = _candidates(world, turn.number, solvers, weights)
    canonical = resolve_forks(
        [world.tip, *turn.blocks], seed=world.seed, trust=trust_by_kind(world)
    )
    for block in turn.blocks:
        block.status = "canonical" if block.hash in canonical else "orphaned"
        if block.status == "canonical":
            _reward(turn, block, weights[block.kind])
            world.tip = block
    _decay_burn_scores(turn)


def genesis_block() -> Block:
    """Return block 0, which every world begins with.  (rules §3)"""
    return Block(
        H("block", "genesis", 0, "", 0, "", ""), "genesis", 0, "", "", 0, status="canonical"
    )


def trust_by_kind(world: World) -> dict[str, int]:
    """Return what a block of each kind adds to the trust in its branch."""
    config = world.config
    return {"mine": config.trust_mine, "stake": config.trust_stake, "burn": config.trust_burn}


def resolve_forks(blocks: Sequence[Block], *, seed: str, trust: Mapping[str, int]) -> set[str]:
    """Choose the canonical path of a tree of blocks of any depth.

    ``blocks`` begins with the root; the others may come in any order. Returns the hashes of the
    path with the most trust from the root to a leaf, the root among them; ties go to the leaf with
    the lower draw. Stake and burn blocks that do not follow a mine block, and all that descends
    from them, are dropped.
    """
    root = blocks[0]
    children: dict[str, list[Block]] = {}
    for block in blocks[1:]:
        children.setdefault(block.parent_hash, []).append(block)
    trusted = {root.hash: 0}
    parent_of: dict[str, str] = {}
    leaves = []
    reached = [root]
    while reached:
        parent = reached.pop()
        valid = [
            block
            for block in children.get(parent.hash, ())
            if block.kind == "mine" or parent.kind == "mine"
        ]
        for block in valid:
            trusted[block.hash] = trusted[parent.hash] + trust[block.kind]
            parent_of[block.hash] = parent.hash
        reached.extend(valid)
        if not valid:
            leaves.append(parent.hash)
    step = min(leaves, key=lambda leaf: (-trusted[leaf], draw("fork", seed, leaf)))
    path = {step}
    while step != root.hash:
        step = parent_of[step]
        path.add(step)
    return path


def _candidates(
    world: World, turn: int, solvers: Sequence[Agent], weights: Mapping[str, Weights]
) -> list[Block]:
    """Make every block that the lotteries of the turn allow, parents before children."""
    mined = [_block(world, turn, "mine", world.tip, solver) for solver in solvers]
    blocks = list(mined)
    rates = {"stake": world.config.stake_rate_bps, "burn": world.config.burn_rate_bps}
    kinds: tuple[BlockKind, ...] = ("stake", "burn")
    for parent in mined:
        for kind in kinds:
            winner = draw_winner(world, turn, kind, rates[kind], weights[kind], parent.hash)
            if winner is not None:
                blocks.append(_block(world, turn, kind, parent, winner))
    return blocks


def _block(world: World, turn: int, kind: BlockKind, parent: Block, producer: Agent) -> Block:
    height = parent.height + 1
    block_hash = H("block", kind, height, parent.hash, turn, producer.agent_id, world.turn_hash)
    return Block(block_hash, kind, height, parent.hash, producer.agent_id, turn)


def _reward(turn: Turn, block: Block, weights: Weights) -> None:
    """Pay a canonical block: the minted reward, all fees if it is mined, the pool's shares."""
    world = turn.world
    config = world.config
    books = world.books
    winner = world.agents[block.producer]
    minted = {
        "mine": config.mine_reward,
        "stake": config.stake_reward,
        "burn": config.burn_reward,
    }[block.kind]
    fees = books.fees.balance if block.kind == "mine" else 0
    books.move(books.issuance, winner.liquid, minted, REWARD_REASONS[block.kind], block.hash)
    books.move(books.fees, winner.liquid, fees, Reason.BLOCK_FEES, block.hash)
    block.reward = minted + fees
    winner.blocks_won += 1
    turn.changed_agents.add(winner)
    share_reward(turn, block, winner, weights)
    if block.kind == "stake":
        winner.stake_since = turn.number


def _adjust_difficulty(world: World, mined: bool) -> None:
    config = world.config
    if mined:
        world.mine_difficulty = portion(world.mine_difficulty, config.difficulty_up_bps) + 1
    else:
        world.mine_difficulty = max(1, portion(world.mine_difficulty, config.difficulty_down_bps))


def _decay_burn_scores(turn: Turn) -> None:
    """Let every burn score fade: once a turn, as one mine block of it at most is canonical."""
    kept_bps = BPS - turn.world.config.burn_decay_bps
    for agent in turn.world.roster:
        if agent.burn_score:
            agent.burn_score = portion(agent.burn_score, kept_bps)
            turn.changed_agents.add(agent)
