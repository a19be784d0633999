"""The answers of the engine, as the OpenAPI document describes them. Amounts are tokens.

The engine writes its answers as ready-made JSON; these types describe them, and tests hold the two
together.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, NotRequired

from pydantic import ConfigDict, Field, TypeAdapter, WithJsonSchema, with_config
from typing_extensions import TypedDict

from sim_engine.types.conditions import ActionType
from sim_engine.types.config import Config
from sim_engine.types.fields import (
    MAX_AMOUNT,
    BlockKind,
    ContractStatus,
    ContractType,
    Party,
    Positive,
    Ruling,
    Settlement,
)
from sim_engine.types.rejection_codes import RejectionCode
from sim_engine.types.requests import AgentId
from sim_engine.types.terms import (
    ForwardTerms,
    InsuranceTerms,
    LoanTerms,
    PoolTerms,
    ServiceTerms,
)

Count = Annotated[int, Field(ge=0, le=MAX_AMOUNT)]
Balance = Annotated[int, Field(ge=-MAX_AMOUNT, le=MAX_AMOUNT)]
BasisPoints = Annotated[int, Field(ge=0)]
DueTurn = Annotated[int, Field(ge=1)]
"""The turn of an activation and a duration together, which may be more than an amount can be."""

Hash = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
ContractId = Annotated[str, Field(pattern="^c[1-9][0-9]*$")]
BlockStatus = Literal["canonical", "orphaned"]
_EXACT: Final = ConfigDict(extra="forbid")


def _config_schema(**more: dict[str, Any]) -> dict[str, Any]:
    """Describe a config of which every key is given, and more."""
    schema = TypeAdapter(Config).json_schema()
    properties = {
        key: {name: value for name, value in about.items() if name != "default"}
        for key, about in schema["properties"].items()
    }
    required = [*properties, *(["protocol_version"] if more else [])]
    return {**schema, "properties": {**properties, **more}, "required": required}


WholeConfig = Annotated[dict[str, int], WithJsonSchema(_config_schema())]

ConfigAnswer = Annotated[
    dict[str, int | str],
    WithJsonSchema(
        _config_schema(
            protocol_version={"type": "integer", "minimum": 1},
            seed={"type": "string", "description": "shown to the operator only"},
        )
    ),
]


@with_config(_EXACT)
class InitAnswer(TypedDict):
    """The world that was made."""

    turn: Literal[0]
    turn_hash: Hash
    genesis_hash: Hash
    agents: Annotated[Positive, Field(description="how many there are")]
    config: WholeConfig
    agent_keys: NotRequired[
        Annotated[dict[str, str], Field(description="each agent's key, shown this once")]
    ]


@with_config(_EXACT)
class Receipt(TypedDict):
    """What became of one action."""

    agent_id: AgentId
    index: Annotated[int, Field(ge=0, description="place among the agent's actions of the turn")]
    type: ActionType
    status: Literal["applied", "rejected"]
    code: NotRequired[Annotated[RejectionCode, Field(description="the rule that was broken")]]
    message: NotRequired[Annotated[str, Field(description="what to do about the rejection")]]
    queued_id: NotRequired[
        Annotated[int, Field(ge=1, description="of an action from the pending pool: its id")]
    ]


@with_config(_EXACT)
class BlockInTurn(TypedDict):
    """A block that a turn made, in the chain or an orphan beside it."""

    hash: Hash
    kind: BlockKind | Literal["genesis"]
    height: Annotated[int, Field(ge=0)]
    parent_hash: Annotated[str, Field(description="empty for the genesis block")]
    producer: Annotated[str, Field(description="empty for the genesis block")]
    status: BlockStatus
    reward: Annotated[Count, Field(description="minted reward and fees that the block paid")]


@with_config(_EXACT)
class BlockAnswer(BlockInTurn):
    """A block with the turn that made it."""

    turn: Annotated[int, Field(ge=0)]


@with_config(_EXACT)
class Dividend(TypedDict):
    """What an owned core paid."""

    core_id: Annotated[int, Field(ge=0)]
    owner: AgentId
    amount: Count


@with_config(_EXACT)
class Billing(TypedDict):
    """What inference was used, and what it cost those who overused it.  (rules §5)"""

    output_tokens: Count
    commons: Annotated[Count, Field(description="output tokens that were free for all together")]
    billed_tokens: Count
    fees: Count
    dividends: list[Dividend]


@with_config(_EXACT)
class Supply(TypedDict):
    """All tokens that were ever issued and destroyed."""

    issued: Count
    destroyed: Count
    circulating: Balance


@with_config(_EXACT)
class TurnAnswer(TypedDict):
    """A sealed turn."""

    turn: Annotated[int, Field(ge=0)]
    turn_hash: Hash
    receipts: list[Receipt]
    blocks: list[BlockInTurn]
    billing: Billing
    supply: Supply


@with_config(_EXACT)
class QueueAnswer(TypedDict):
    """Actions that wait for the next turn."""

    agent_id: AgentId
    ids: Annotated[list[Positive], Field(description="one for each action, in order")]
    for_turn: Annotated[Positive, Field(description="the turn that was next when they were queued")]


@with_config(_EXACT)
class UnbondingLotAnswer(TypedDict):
    """Stake on its way back."""

    amount: Positive
    release_turn: Positive


@with_config(_EXACT)
class AgentAnswer(TypedDict):
    """What is public of an agent."""

    agent_id: AgentId
    balance: Annotated[Balance, Field(description="liquid tokens; below zero is debt")]
    staked: Count
    stake_since: Annotated[int, Field(ge=0)]
    unbonding: list[UnbondingLotAnswer]
    burn_score: Count
    study_level: Annotated[int, Field(ge=0)]
    study_progress: Annotated[int, Field(ge=0)]
    cores: Annotated[list[int], Field(description="ids of the cores that the agent owns")]
    suspended: bool
    contracts_settled: Count
    contracts_defaulted: Count
    disputes_lost: Count
    rulings_made: Count
    rulings_missed: Count
    blocks_won: Count


@with_config(_EXACT)
class Insight(TypedDict):
    """What study has shown: the fund for wages of a coming turn."""

    learned_turn: Positive
    about_turn: Positive
    job_fund: Count


@with_config(_EXACT)
class Information(TypedDict):
    """A text that was bought."""

    contract_id: ContractId
    title: str
    content: str


@with_config(_EXACT)
class PrivatePart(TypedDict):
    """What only the agent itself and the operator may see."""

    insights: list[Insight]
    information: list[Information]
    receipts: Annotated[list[Receipt], Field(description="those of the turn just sealed")]


@with_config(_EXACT)
class OneAgentAnswer(AgentAnswer):
    """An agent; with its private part for the agent itself and the operator."""

    private: NotRequired[PrivatePart]


@with_config(_EXACT)
class SoldInformation(TypedDict):
    """Terms of an information sale; the content only for those who may read it."""

    seller: Party
    price: Positive
    title: str
    content: NotRequired[str]


@with_config(_EXACT)
class DisputeAnswer(TypedDict):
    """Who brought a contract before its arbitrator, when and why."""

    by: AgentId
    turn: Positive
    reason: str


@with_config(_EXACT)
class RulingAnswer(TypedDict):
    """What the arbitrator decided, when and why."""

    ruling: Ruling
    turn: Positive
    reason: str


@with_config(_EXACT)
class ContractAnswer(TypedDict):
    """A contract.  (rules §10)"""

    contract_id: ContractId
    contract_type: ContractType
    settlement: Settlement
    status: ContractStatus
    proposer: AgentId
    counterparty: AgentId
    arbitrator: AgentId
    terms: LoanTerms | ForwardTerms | ServiceTerms | InsuranceTerms | SoldInformation | PoolTerms
    signatures: Annotated[dict[str, int], Field(description="turn of each signature, by agent")]
    duration: Positive
    proposed_turn: Positive
    activated_turn: Positive | None
    due_turn: DueTurn | None
    ended_turn: Positive | None
    proposer_collateral: Count
    counterparty_collateral: Count
    arbitrator_collateral: Count
    arbitrator_fee: Count
    escrow: Annotated[Count, Field(description="all that the contract holds")]
    confirmations: Annotated[dict[str, int], Field(description="turn of each, by agent")]
    dispute: DisputeAnswer | None
    ruling: RulingAnswer | None


@with_config(_EXACT)
class CoreAnswer(TypedDict):
    """A compute core."""

    core_id: Annotated[int, Field(ge=0)]
    owner: AgentId | None


@with_config(_EXACT)
class Chain(TypedDict):
    """The tip of the canonical chain."""

    height: Annotated[int, Field(ge=0)]
    tip_hash: Hash
    mine_difficulty: Annotated[int, Field(ge=1)]


@with_config(_EXACT)
class StateAnswer(TypedDict):
    """The public world as of the turn just sealed."""

    turn: Annotated[int, Field(ge=0)]
    turn_hash: Hash
    agents: NotRequired[list[AgentAnswer]]
    cores: list[CoreAnswer]
    chain: Chain
    supply: Supply
    fees: Count
    commons: Count
    job_fund: Annotated[Count, Field(description="of the turn just sealed")]
    contracts: Annotated[list[ContractAnswer], Field(description="those that have not ended")]
    accounts: Annotated[dict[str, int], Field(description="balances of the system's accounts")]


@with_config(_EXACT)
class Message(TypedDict):
    """Something that an agent said."""

    agent_id: AgentId
    message: str
    seq: Annotated[int, Field(ge=0)]


@with_config(_EXACT)
class SpeechAnswer(TypedDict):
    """All that was said in a turn."""

    turn: Annotated[int, Field(ge=0)]
    messages: list[Message]


@with_config(_EXACT)
class HealthAnswer(TypedDict):
    """How the engine is."""

    status: Literal["ok", "halted"]
    turn: Annotated[int | None, Field(description="the last sealed turn; null without a world")]
    version: str
    reason: NotRequired[Annotated[str, Field(description="why the engine is halted")]]


@with_config(_EXACT)
class Entry(TypedDict):
    """A movement of tokens from one account to another."""

    turn: Annotated[int, Field(ge=0)]
    seq: Annotated[int, Field(ge=0)]
    source: str
    target: str
    amount: Positive
    reason: str
    reference: str


@with_config(_EXACT)
class TurnMetrics(TypedDict):
    """Measurements of one turn. Amounts are tokens, shares basis points."""

    turn: Annotated[int, Field(ge=0)]
    issued: Count
    destroyed: Count
    circulating: Balance
    issued_in_turn: Count
    destroyed_in_turn: Count
    issued_by_reason: dict[str, int]
    destroyed_by_reason: dict[str, int]
    gini_bps: BasisPoints
    top_core_bps: BasisPoints
    debt: Count
    debtors: Count
    suspended: Count
    fees: Count
    moved: Count
    velocity_bps: BasisPoints
    inference_fees: Count
    output_tokens: Count
    actions_applied: Count
    actions_rejected: Count
    mine_blocks: Count
    stake_blocks: Count
    burn_blocks: Count
    orphaned_blocks: Count
    contracts_by_status: dict[str, int]


@with_config(_EXACT)
class ContractPage(TypedDict):
    """Contracts in order of proposal."""

    contracts: list[ContractAnswer]
    next_after: Annotated[int | None, Field(description="send it as `after` for the next page")]


@with_config(_EXACT)
class BlockPage(TypedDict):
    """Blocks in the order of making, orphans among them."""

    blocks: list[BlockAnswer]
    next_after: Annotated[int | None, Field(description="send it as `after` for the next page")]


@with_config(_EXACT)
class EntryPage(TypedDict):
    """Entries in the order of the journal."""

    entries: list[Entry]
    next_after: Annotated[str | None, Field(description="send it as `after` for the next page")]


@with_config(_EXACT)
class TurnMetricsPage(TypedDict):
    """Measurements, one row a turn."""

    turns: list[TurnMetrics]
    next_after: Annotated[int | None, Field(description="send it as `after` for the next page")]


@with_config(_EXACT)
class PlacedProblem(TypedDict):
    """One place in a request that is malformed."""

    loc: Annotated[
        list[str | int],
        Field(
            description="the keys and positions that lead to the place; empty for the whole body"
        ),
    ]
    message: str


@with_config(_EXACT)
class ProblemAnswer(TypedDict):
    """Why a request was refused, as RFC 9457 has it."""

    type: Annotated[str, Field(description="`urn:problem-type:sim-economy:` and the code")]
    title: str
    status: Annotated[int, Field(ge=400, le=599)]
    code: Annotated[str, Field(description="names the kind of problem, for programs")]
    detail: Annotated[str, Field(description="what to do about it, for people")]
    errors: NotRequired[list[PlacedProblem]]
