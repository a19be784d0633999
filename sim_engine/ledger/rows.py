"""Rows of ``sim.db`` and the state that they stand for, in both directions.

Rows are tuples in the order of the columns of ``ledger.tables``; the seal of a turn covers exactly
these tuples, so that what is hashed is what is stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson
from pydantic import ConfigDict, TypeAdapter

from sim_engine.rules.state import (
    Agent,
    Block,
    Contract,
    Dispute,
    UnbondingLot,
    Verdict,
)
from sim_engine.types.terms import TERMS_ADAPTERS, as_written

Row = tuple[Any, ...]

Values = Sequence[Any]
"""A row that was read back: a tuple, or the list that JSON makes of one."""

_STRICT: Final = ConfigDict(strict=True)
_LOTS: Final = TypeAdapter(list[tuple[int, int]], config=_STRICT)
_TURNS: Final = TypeAdapter(list[int], config=_STRICT)
_TURN_BY_AGENT: Final = TypeAdapter(dict[str, int], config=_STRICT)
_DISPUTE: Final = TypeAdapter(Dispute)
_VERDICT: Final = TypeAdapter(Verdict)
"""What stands as JSON in a column. Reading what no engine has written raises ValidationError."""

_NO_LIST: Final = "[]"


def to_json(value: Any) -> str:
    """Write a value as canonical JSON: keys sorted, no spaces, UTF-8."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def in_order(value: Any) -> str:
    """Write a value as JSON whose keys stay in their order, because it means something."""
    return orjson.dumps(value).decode()


def from_json(text: str) -> Any:
    """Read a JSON value back."""
    return orjson.loads(text)


def agent_row(agent: Agent) -> Row:
    """Row of ``agents`` less the columns that never change (agent_id, initial_balance)."""
    lots = agent.lots
    studied = agent.studied_turns
    return (
        agent.liquid.balance,
        agent.stake.balance,
        agent.burn_score,
        agent.study_level,
        agent.study_progress,
        agent.stake_since,
        in_order([[lot.amount, lot.release_turn] for lot in lots]) if lots else _NO_LIST,
        in_order(studied) if studied else _NO_LIST,
        int(agent.suspended),
        agent.contracts_settled,
        agent.contracts_defaulted,
        agent.disputes_lost,
        agent.rulings_made,
        agent.rulings_missed,
        agent.blocks_won,
        agent.position,
    )


def new_agent_row(agent: Agent) -> Row:
    """Row of ``agents`` at genesis, all columns."""
    *state, position = agent_row(agent)
    return (agent.agent_id, *state, agent.balance, position)


def read_agent(row: Mapping[Any, Any]) -> Agent:
    """Rebuild an agent from its whole row; its open contracts are counted when those are read."""
    agent = Agent(row["position"], row["agent_id"])
    agent.liquid.balance = row["balance"]
    agent.stake.balance = row["staked"]
    agent.burn_score = row["burn_score"]
    agent.study_level = row["study_level"]
    agent.study_progress = row["study_progress"]
    agent.stake_since = row["stake_since"]
    if row["unbonding"] != _NO_LIST:
        agent.lots = [UnbondingLot(*lot) for lot in _LOTS.validate_json(row["unbonding"])]
        agent.unbonding.balance = sum(lot.amount for lot in agent.lots)
    if row["studied_turns"] != _NO_LIST:
        agent.studied_turns = _TURNS.validate_json(row["studied_turns"])
    agent.suspended = bool(row["suspended"])
    agent.contracts_settled = row["contracts_settled"]
    agent.contracts_defaulted = row["contracts_defaulted"]
    agent.disputes_lost = row["disputes_lost"]
    agent.rulings_made = row["rulings_made"]
    agent.rulings_missed = row["rulings_missed"]
    agent.blocks_won = row["blocks_won"]
    return agent


def contract_row(contract: Contract) -> Row:
    """Row of ``contracts``."""
    dispute = contract.dispute
    verdict = contract.verdict
    return (
        contract.contract_id,
        contract.contract_type,
        contract.status,
        contract.proposer.agent_id,
        contract.counterparty.agent_id,
        contract.arbitrator.agent_id,
        contract.settlement,
        to_json(as_written(contract.terms)),
        in_order([member.agent_id for member in contract.members]),
        contract.duration,
        contract.proposer_collateral,
        contract.counterparty_collateral,
        contract.arbitrator_collateral,
        contract.arbitrator_fee,
        contract.account.balance,
        contract.proposed_turn,
        contract.activated_turn,
        contract.due_turn,
        contract.ended_turn,
        in_order(contract.signatures),
        in_order(contract.confirmations),
        dispute and in_order({"by": dispute.by, "turn": dispute.turn, "reason": dispute.reason}),
        verdict
        and in_order({"ruling": verdict.ruling, "turn": verdict.turn, "reason": verdict.reason}),
        contract.tally,
        contract.number,
    )


def read_contract(row: Mapping[Any, Any], agents: Mapping[str, Agent]) -> Contract:
    """Rebuild a contract from its row, among the agents of its world."""
    contract = Contract(
        number=row["number"],
        contract_type=row["contract_type"],
        settlement=row["settlement"],
        proposer=agents[row["proposer"]],
        counterparty=agents[row["counterparty"]],
        arbitrator=agents[row["arbitrator"]],
        members=tuple(agents[agent_id] for agent_id in orjson.loads(row["members"])),
        terms=TERMS_ADAPTERS[row["contract_type"]].validate_python(orjson.loads(row["terms"])),
        duration=row["duration"],
        proposer_collateral=row["proposer_collateral"],
        counterparty_collateral=row["counterparty_collateral"],
        arbitrator_collateral=row["arbitrator_collateral"],
        arbitrator_fee=row["arbitrator_fee"],
        proposed_turn=row["proposed_turn"],
        status=row["status"],
        signatures=_TURN_BY_AGENT.validate_json(row["signatures"]),
        activated_turn=row["activated_turn"],
        due_turn=row["due_turn"],
        ended_turn=row["ended_turn"],
        confirmations=_TURN_BY_AGENT.validate_json(row["confirmations"]),
        dispute=_DISPUTE.validate_json(row["dispute"]) if row["dispute"] else None,
        verdict=_VERDICT.validate_json(row["ruling"]) if row["ruling"] else None,
        tally=row["tally"],
    )
    contract.account.balance = row["escrow"]
    return contract


def block_row(block: Block, seq: int) -> Row:
    """Row of ``blocks``; ``seq`` is the block's place among those of its turn."""
    return (
        block.hash,
        block.height,
        block.kind,
        block.parent_hash,
        block.producer,
        block.turn,
        block.status,
        block.reward,
        seq,
    )


def read_block(row: Mapping[Any, Any]) -> Block:
    """Rebuild a block from its row."""
    return Block(
        hash=row["hash"],
        kind=row["kind"],
        height=row["height"],
        parent_hash=row["parent_hash"],
        producer=row["producer"],
        turn=row["turn"],
        status=row["status"],
        reward=row["reward"],
    )
