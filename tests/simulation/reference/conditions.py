"""Conditions of automatic contracts (rules §10)."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .world import World


def is_met(world: "World", contract: dict[str, Any], condition: dict[str, Any]) -> bool:
    """Tell whether a condition holds now; counts start after the turn of activation."""
    kind: str = condition["type"]
    if kind == "contract_defaulted":
        return bool(world.contracts[condition["contract_id"]]["status"] == "defaulted")
    agent: str = condition["agent"]
    balance = world.balance(agent)
    if kind == "balance_below":
        return balance < int(condition["amount"])
    if kind == "balance_at_least":
        return balance >= int(condition["amount"])
    if kind == "study_level_at_least":
        return int(world.agents[agent]["study_level"]) >= int(condition["level"])
    if kind == "core_owned":
        return world.cores[int(condition["core_id"])] == agent
    turns = [world.history[turn] for turn in range(contract["activated_turn"] + 1, world.turn + 1)]
    if kind == "spoke":
        wanted = condition["contains"].lower()
        return any(
            who == agent and wanted in message.lower()
            for turn in turns
            for who, message in turn["speech"]
        )
    if kind == "inference_fees_at_least":
        charged: int = sum(turn["inference_fees"][agent] for turn in turns)
        return charged >= int(condition["amount"])
    if kind == "actions":
        wanted_action = (agent, condition["action"])
        count: int = sum(turn["actions"].count(wanted_action) for turn in turns)
    else:
        kinds = [condition["kind"]] if "kind" in condition else ["mine", "stake", "burn"]
        count = sum(
            1 for turn in turns for who, won in turn["blocks"] if who == agent and won in kinds
        )
    return count >= int(condition["at_least"])
