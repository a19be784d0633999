"""Conditions of automatic contracts, as they are written on the wire.  (rules §10)"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from sim_engine.types.fields import OMITTABLE, SHAPE, Amount, BlockKind, Positive, Text

ActionType = Literal[
    "mine",
    "stake",
    "unstake",
    "burn",
    "study",
    "job",
    "transfer",
    "propose_contract",
    "sign_contract",
    "confirm_delivery",
    "dispute_delivery",
    "arbitrator_ruling",
    "sell_information",
    "bid_core",
    "speak",
]


@dataclass(slots=True, kw_only=True, config=SHAPE)
class BlocksWon:
    """The agent won at least so many canonical blocks (of the kind) in the contract's window."""

    type: Literal["blocks_won"]
    agent: Text
    kind: Annotated[BlockKind | None, OMITTABLE] = None
    at_least: Positive


@dataclass(slots=True, kw_only=True, config=SHAPE)
class ActionsApplied:
    """The agent had at least so many actions of the type applied in the contract's window."""

    type: Literal["actions"]
    agent: Text
    action: ActionType
    at_least: Positive


@dataclass(slots=True, kw_only=True, config=SHAPE)
class Spoke:
    """The agent said something in the window that contains the text, letter case aside."""

    type: Literal["spoke"]
    agent: Text
    contains: Text


@dataclass(slots=True, kw_only=True, config=SHAPE)
class BalanceBelow:
    """The agent's liquid balance is below the amount (tokens)."""

    type: Literal["balance_below"]
    agent: Text
    amount: Positive


@dataclass(slots=True, kw_only=True, config=SHAPE)
class BalanceAtLeast:
    """The agent's liquid balance is at least the amount (tokens)."""

    type: Literal["balance_at_least"]
    agent: Text
    amount: Positive


@dataclass(slots=True, kw_only=True, config=SHAPE)
class StudyLevelAtLeast:
    """The agent's study level is at least the level."""

    type: Literal["study_level_at_least"]
    agent: Text
    level: Positive


@dataclass(slots=True, kw_only=True, config=SHAPE)
class CoreOwned:
    """The core belongs to the agent."""

    type: Literal["core_owned"]
    core_id: Amount
    agent: Text


@dataclass(slots=True, kw_only=True, config=SHAPE)
class InferenceFeesAtLeast:
    """The agent was charged at least so many tokens of inference fees in the window."""

    type: Literal["inference_fees_at_least"]
    agent: Text
    amount: Positive


@dataclass(slots=True, kw_only=True, config=SHAPE)
class ContractDefaulted:
    """Another contract has ended as ``defaulted``."""

    type: Literal["contract_defaulted"]
    contract_id: Text


Condition = Annotated[
    BlocksWon
    | ActionsApplied
    | Spoke
    | BalanceBelow
    | BalanceAtLeast
    | StudyLevelAtLeast
    | CoreOwned
    | InferenceFeesAtLeast
    | ContractDefaulted,
    Field(discriminator="type"),
]
