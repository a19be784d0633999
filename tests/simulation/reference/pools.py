"""Pools: who is in one, and how a reward goes through it (rules §10)."""

from typing import TYPE_CHECKING, Any

from .numbers import apportion

if TYPE_CHECKING:
    from .world import World

Contract = dict[str, Any]


def members(contract: Contract) -> list[str]:
    """Return the members of a pool: its proposer and those its terms name."""
    return [contract["proposer"], *contract["terms"]["members"]]


def in_active_pool(world: "World", who: str, kinds: list[str]) -> bool:
    """Tell whether an agent is a member of an active pool of any of these kinds."""
    return any(
        contract["contract_type"] == "pool"
        and contract["status"] == "active"
        and who in members(contract)
        and set(kinds) & set(contract["terms"]["kinds"])
        for contract in world.contracts.values()
    )


def share_out(world: "World", winner: str, kind: str, reward: int, weights: dict[str, int]) -> None:
    """Apportion a reward among the members of the winner's pool, if it is in force."""
    for contract in world.contracts.values():
        if (
            contract["contract_type"] == "pool"
            and contract["status"] == "active"
            and kind in contract["terms"]["kinds"]
            and winner in members(contract)
            and contract["activated_turn"] < world.turn <= contract["due_turn"]
        ):
            shares = apportion(reward, split_weights(contract, weights), world.roster)
            for who in world.roster:
                if who in shares and who != winner:
                    world.move(f"agent:{winner}", f"agent:{who}", shares[who])


def split_weights(contract: Contract, lottery: dict[str, int]) -> dict[str, int]:
    """Return each member's weight under the pool's split."""
    split = contract["terms"]["split"]
    if split == "equal":
        return dict.fromkeys(members(contract), 1)
    if split == "weight":
        return {who: lottery[who] for who in members(contract)}
    return dict(split)
