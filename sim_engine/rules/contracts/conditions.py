"""Conditions: the events on which automatic services and insurances end.  (rules §10)"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from sim_engine.rules.in_hand import Turn
from sim_engine.rules.rejections import Rejected
from sim_engine.rules.state import Contract, World
from sim_engine.types.conditions import (
    ActionsApplied,
    BalanceAtLeast,
    BalanceBelow,
    BlocksWon,
    Condition,
    ContractDefaulted,
    CoreOwned,
    InferenceFeesAtLeast,
    Spoke,
    StudyLevelAtLeast,
)
from sim_engine.types.rejection_codes import RejectionCode


def check_numbers(world: World, condition: Condition) -> None:
    """Reject a condition on a core that does not exist."""
    if isinstance(condition, CoreOwned):
        require_core(world, condition.core_id)


def check_names(world: World, condition: Condition) -> None:
    """Reject a condition on an agent or a contract that does not exist."""
    if isinstance(condition, ContractDefaulted):
        world.contract(condition.contract_id)
    else:
        world.agent(condition.agent)


def require_core(world: World, core_id: int) -> None:
    """Reject with ``invalid_terms`` a core that does not exist."""
    count = world.config.core_count
    if core_id >= count:
        raise Rejected(
            RejectionCode.INVALID_TERMS,
            f"there is no core {core_id}; cores are numbered 0 to {count - 1}",
        )


def is_met(turn: Turn, contract: Contract, condition: Condition) -> bool:
    """Look at a condition, once a turn of the contract's window; ``contract.tally`` counts on."""
    return _EVALUATORS[type(condition)](turn, contract, condition)


def _blocks_won(turn: Turn, contract: Contract, condition: BlocksWon) -> bool:
    contract.tally += sum(
        block.status == "canonical"
        and block.producer == condition.agent
        and condition.kind in (None, block.kind)
        for block in turn.blocks
    )
    return contract.tally >= condition.at_least


def _actions_applied(turn: Turn, contract: Contract, condition: ActionsApplied) -> bool:
    contract.tally += turn.applied(turn.world.agents[condition.agent], condition.action)
    return contract.tally >= condition.at_least


def _spoke(turn: Turn, _contract: Contract, condition: Spoke) -> bool:
    wanted = condition.contains.lower()
    return any(
        agent.agent_id == condition.agent and wanted in message.lower()
        for agent, message in turn.speeches
    )


def _balance_below(turn: Turn, _contract: Contract, condition: BalanceBelow) -> bool:
    return turn.world.agents[condition.agent].balance < condition.amount


def _balance_at_least(turn: Turn, _contract: Contract, condition: BalanceAtLeast) -> bool:
    return turn.world.agents[condition.agent].balance >= condition.amount


def _study_level(turn: Turn, _contract: Contract, condition: StudyLevelAtLeast) -> bool:
    return turn.world.agents[condition.agent].study_level >= condition.level


def _core_owned(turn: Turn, _contract: Contract, condition: CoreOwned) -> bool:
    owner = turn.world.cores[condition.core_id].owner
    return owner is turn.world.agents[condition.agent]


def _inference_fees(turn: Turn, contract: Contract, condition: InferenceFeesAtLeast) -> bool:
    contract.tally += turn.inference_fees.get(turn.world.agents[condition.agent], 0)
    return contract.tally >= condition.amount


def _contract_defaulted(turn: Turn, _contract: Contract, condition: ContractDefaulted) -> bool:
    return turn.world.contract(condition.contract_id).status == "defaulted"


# Each evaluator takes the condition that its key names, which the type of a dictionary can not say.
_EVALUATORS: Final[dict[type, Callable[[Turn, Contract, Any], bool]]] = {
    BlocksWon: _blocks_won,
    ActionsApplied: _actions_applied,
    Spoke: _spoke,
    BalanceBelow: _balance_below,
    BalanceAtLeast: _balance_at_least,
    StudyLevelAtLeast: _study_level,
    CoreOwned: _core_owned,
    InferenceFeesAtLeast: _inference_fees,
    ContractDefaulted: _contract_defaulted,
}
