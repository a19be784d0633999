"""The state of a world: plain slotted records of integers and names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Final, Literal

from sim_engine.rules import numbers
from sim_engine.rules.books import Account, Books
from sim_engine.rules.rejections import Rejected
from sim_engine.types.config import Config
from sim_engine.types.fields import BlockKind, ContractStatus, ContractType, Party, Settlement
from sim_engine.types.rejection_codes import RejectionCode
from sim_engine.types.terms import PoolTerms, Terms

OPEN_STATUSES: Final[frozenset[ContractStatus]] = frozenset({"proposed", "active", "disputed"})
"""The statuses of a contract that has not ended.  (rules §10)"""

NAME_CHARS_MAX: Final = 64
"""The longest id of an agent."""


@dataclass(slots=True)
class UnbondingLot:
    """Stake on its way back: liquid again in the clock phase of its release turn.  (rules §12)"""

    amount: int
    release_turn: int


@dataclass(slots=True, eq=False)
class Agent:
    """One agent: its accounts, its abilities and its public record. Amounts are tokens."""

    position: int
    """Place in the roster, from 0: the order of every walk over agents."""
    agent_id: str
    liquid: Account = field(init=False)
    stake: Account = field(init=False)
    unbonding: Account = field(init=False)
    bid: Account = field(init=False)
    drawn: bytes = field(init=False)
    """The agent's id as the last field of a draw (see ``numbers.DrawFamily``)."""
    stake_since: int = 0
    lots: list[UnbondingLot] = field(default_factory=list)
    burn_score: int = 0
    study_level: int = 0
    study_progress: int = 0
    studied_turns: list[int] = field(default_factory=list)
    """The turns with an applied ``study``, from which its insights follow.  (rules §8)"""
    suspended: bool = False
    open_contracts: int = 0
    contracts_settled: int = 0
    contracts_defaulted: int = 0
    disputes_lost: int = 0
    rulings_made: int = 0
    rulings_missed: int = 0
    blocks_won: int = 0

    def __post_init__(self) -> None:
        """Open the agent's four accounts.  (rules §2)"""
        self.liquid = Account(f"agent:{self.agent_id}", self.position)
        self.stake = Account(f"stake:{self.agent_id}", self.position)
        self.unbonding = Account(f"unbonding:{self.agent_id}", self.position)
        self.bid = Account(f"bid:{self.agent_id}", self.position)
        self.drawn = numbers.field(self.agent_id)

    @property
    def balance(self) -> int:
        """Liquid tokens; below zero is debt."""
        return self.liquid.balance

    @property
    def staked(self) -> int:
        """Locked stake, without what is unbonding."""
        return self.stake.balance

    def can_pay(self, amount: int) -> bool:
        """Tell whether the agent can pay: an agent in debt pays nothing.  (rules §2)"""
        return self.liquid.balance >= amount or amount == 0


IN_ROSTER_ORDER: Final = attrgetter("position")
"""Sorts agents by their places in the roster."""


@dataclass(slots=True)
class Core:
    """A compute core; without an owner it is for sale in the auction.  (rules §5, §7)"""

    core_id: int
    owner: Agent | None = None


@dataclass(slots=True)
class Block:
    """A block of the tree; fork resolution gives it its status and its reward.  (rules §9)"""

    hash: str
    kind: BlockKind | Literal["genesis"]
    height: int
    parent_hash: str
    producer: str
    turn: int
    status: Literal["candidate", "canonical", "orphaned"] = "candidate"
    reward: int = 0


@dataclass(slots=True)
class Dispute:
    """Who brought a contract before its arbitrator, when and why."""

    by: str
    turn: int
    reason: str


@dataclass(slots=True)
class Verdict:
    """What the arbitrator decided, when and why."""

    ruling: Literal["proposer", "counterparty", "split"]
    turn: int
    reason: str


@dataclass(slots=True, eq=False)
class Contract:
    """A contract with everything that its rules look at. Amounts are tokens.  (rules §10)"""

    number: int
    contract_type: ContractType
    settlement: Settlement
    proposer: Agent
    counterparty: Agent
    arbitrator: Agent
    members: tuple[Agent, ...]
    """The two parties; of a pool the proposer and all members. In roster order."""
    terms: Terms
    duration: int
    proposer_collateral: int
    counterparty_collateral: int
    arbitrator_collateral: int
    arbitrator_fee: int
    proposed_turn: int
    status: ContractStatus = "proposed"
    signatures: dict[str, int] = field(default_factory=dict)
    """The turn of each signature by agent id, in order of signing."""
    activated_turn: int | None = None
    due_turn: int | None = None
    ended_turn: int | None = None
    confirmations: dict[str, int] = field(default_factory=dict)
    dispute: Dispute | None = None
    verdict: Verdict | None = None
    tally: int = 0
    """What the contract counts over its window: events, or inference fees (tokens)."""
    account: Account = field(init=False)

    def __post_init__(self) -> None:
        """Open the contract's account."""
        self.account = Account(f"contract:{self.contract_id}")

    @property
    def contract_id(self) -> str:
        """The contract's public id: ``c1``, ``c2``, … in order of proposal."""
        return f"c{self.number}"

    @property
    def is_open(self) -> bool:
        """Tell whether the contract has not ended."""
        return self.status in OPEN_STATUSES

    def party(self, role: Party) -> Agent:
        """Return the party in a role."""
        return self.proposer if role == "proposer" else self.counterparty

    def other(self, party: Agent) -> Agent:
        """Return the other of the two parties."""
        return self.counterparty if party is self.proposer else self.proposer

    def collateral_of(self, party: Agent) -> int:
        """Return what the party put up (tokens)."""
        return self.proposer_collateral if party is self.proposer else self.counterparty_collateral


@dataclass(slots=True, eq=False)
class World:
    """Everything that a turn reads and changes."""

    seed: str
    config: Config
    roster: list[Agent]
    cores: list[Core]
    tip: Block
    mine_difficulty: int
    find_ended: Callable[[int], Contract | None]
    """Looks up a contract that has ended, by number, in the ledger."""
    turn: int = 0
    turn_hash: str = ""
    agents: dict[str, Agent] = field(init=False)
    open_contracts: dict[int, Contract] = field(default_factory=dict)
    """Contracts that have not ended, by number, ascending."""
    just_ended: dict[int, Contract] = field(default_factory=dict)
    """Contracts that ended in the turn in hand, which ``find_ended`` does not know yet."""
    last_contract: int = 0
    contract_counts: dict[str, int] = field(default_factory=dict)
    """Contracts ever made, by their status now."""
    pools: dict[tuple[str, str], Contract] = field(default_factory=dict)
    """The active pool of an agent (id) for a kind of block."""
    books: Books = field(default_factory=Books)

    def __post_init__(self) -> None:
        """Index the roster by id."""
        self.agents = {agent.agent_id: agent for agent in self.roster}

    @property
    def commons(self) -> int:
        """Output tokens a turn that are free for all together.  (rules §5)"""
        return self.config.commons_per_agent * len(self.roster)

    @property
    def unsold_cores(self) -> list[Core]:
        """Cores without an owner, in ascending id."""
        return [core for core in self.cores if core.owner is None]

    def admit(self, contract: Contract) -> None:
        """Take up an open contract that was read back, with its signatures and its pool."""
        self.open_contracts[contract.number] = contract
        for member in contract.members:
            if member.agent_id in contract.signatures:
                member.open_contracts += 1
        if isinstance(contract.terms, PoolTerms) and contract.status == "active":
            for member in contract.members:
                for kind in contract.terms.kinds:
                    self.pools[member.agent_id, kind] = contract

    def agent(self, agent_id: str) -> Agent:
        """Return an agent by its id, or reject with ``unknown_agent``."""
        agent = self.agents.get(agent_id)
        if agent is None:
            raise Rejected(
                RejectionCode.UNKNOWN_AGENT,
                f"there is no agent {_quoted(agent_id)} in this world; use an id from the roster",
            )
        return agent

    def contract(self, contract_id: str) -> Contract:
        """Return a contract by its id, ended ones too, or reject with ``unknown_contract``."""
        number = contract_number(contract_id)
        contract = None
        if 0 < number <= self.last_contract:
            contract = (
                self.open_contracts.get(number)
                or self.just_ended.get(number)
                or self.find_ended(number)
            )
        if contract is None:
            raise Rejected(
                RejectionCode.UNKNOWN_CONTRACT,
                f"there is no contract {_quoted(contract_id)};"
                " use the id that its proposal shows, as c1",
            )
        return contract


def _quoted(name: str) -> str:
    """Quote a name that somebody made up, no more of it than a name can be long."""
    return f"'{name}'" if len(name) <= NAME_CHARS_MAX else f"'{name[:NAME_CHARS_MAX]}…'"


def contract_number(contract_id: str) -> int:
    """Read the number out of a contract's id; 0 where the text is no such id."""
    digits = contract_id[1:]
    if contract_id[:1] != "c" or not (digits.isascii() and digits.isdigit()) or digits[0] == "0":
        return 0
    return int(digits) if len(digits) < 16 else 0
