"""What one agent can do and pay for in this turn: the facts behind prompt and answer schema.

Only what public and own data show is used; the engine stays the judge of every action.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from sim_orchestrator.context.survey import BPS, SMALL_ROSTER_AGENTS, Survey, pool_members, survey
from sim_orchestrator.minds.base import Observation

Role = Literal["counterparty", "arbitrator"]
BLOCK_KINDS: Final = ("mine", "stake", "burn")
LABOUR_POINTS: Final = 2
"""What ``job``, ``mine`` and ``study`` cost in action points.  (rules §6)"""

LABOURS_MAX: Final = 3
"""The most actions of two points that an answer is offered."""

SPENDING_MAX: Final = 3
"""The most actions of one point that an answer is offered."""

FREE_MAX: Final = 2
"""The most actions without points that it is offered: decisions on contracts and speech."""

ARBITRATORS_MAX: Final = 3
"""The most agents that are offered as arbitrators: a schema names each of them many times."""

PARTIES_BESIDE_PROPOSER: Final = 2
"""A counterparty and an arbitrator.  (rules §10)"""


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature that a contract waits for.

    Attributes:
        contract_id: the proposal.
        role: the role to sign in.
        cost: what signing moves into the contract, in tokens.
        last_turn: the last turn in which it can be signed.
        hindrance: why it cannot be signed now, money apart; empty if it can.
    """

    contract_id: str
    role: Role
    cost: int
    last_turn: int
    hindrance: str = ""


@dataclass(frozen=True, slots=True)
class Possible:
    """What the agent can do now.

    Attributes:
        world: what everybody can work out of the public state.
        points: action points of the turn.
        spendable: tokens that it can spend and still pay for thinking; never negative.
        thinking_reserve: what is held back for the bill of this turn's thinking, in tokens.
        studies: what each further ``study`` of this turn would cost; empty at the top level.
        others: agents that it may name, its neighbours first; at most ``SMALL_ROSTER_AGENTS``.
        signatures: proposals that wait for it.
        to_confirm: attested contracts whose delivery it can confirm.
        to_dispute: attested contracts that it can dispute.
        to_rule: disputed contracts that it has to rule on.
        pool_kinds: kinds of blocks for which it shares no pool yet.
        arbitrators: who may arbitrate what it proposes, the best record first; empty if it may
            propose nothing.
    """

    world: Survey
    points: int
    spendable: int
    thinking_reserve: int
    studies: tuple[int, ...]
    others: tuple[str, ...]
    signatures: tuple[Signature, ...]
    to_confirm: tuple[str, ...]
    to_dispute: tuple[str, ...]
    to_rule: tuple[str, ...]
    pool_kinds: tuple[str, ...]
    arbitrators: tuple[str, ...]

    @property
    def labours(self) -> int:
        """How many actions of two points fit the turn."""
        return min(self.points // LABOUR_POINTS, LABOURS_MAX)

    @property
    def signable(self) -> tuple[Signature, ...]:
        """The signatures that nothing hinders and that the agent can pay for."""
        return tuple(
            signature
            for signature in self.signatures
            if not signature.hindrance and signature.cost <= self.spendable
        )


def actions_max(points: int) -> int:
    """Return the most actions that an answer is offered in a turn of so many action points."""
    labours = range(min(points // LABOUR_POINTS, LABOURS_MAX) + 1)
    return FREE_MAX + max(
        works + min(points - works * LABOUR_POINTS, SPENDING_MAX) for works in labours
    )


def possible(observation: Observation) -> Possible:
    """Work out what the observation's agent can do and pay for.  (rules §6, §10)"""
    config, me = observation.config, observation.agent
    reserve = thinking_reserve(observation)
    may_contract = _open_contracts(observation) < config["max_open_contracts"]
    world = survey(observation)
    others = neighbours(observation, world)
    return Possible(
        world=world,
        points=config["action_points"],
        spendable=max(0, me["balance"] - reserve),
        thinking_reserve=reserve,
        studies=study_costs(me, config),
        others=others,
        signatures=_signatures(observation, world, may_contract),
        to_confirm=_attested(observation, confirming=True),
        to_dispute=_attested(observation, confirming=False),
        to_rule=tuple(
            contract["contract_id"]
            for contract in observation.contracts
            if contract["status"] == "disputed" and contract["arbitrator"] == observation.agent_id
        ),
        pool_kinds=tuple(k for k in BLOCK_KINDS if (observation.agent_id, k) not in world.pooled),
        arbitrators=_arbitrators(observation, world, others) if may_contract else (),
    )


def thinking_reserve(observation: Observation) -> int:
    """Return the most that this turn's thinking is likely to cost, in tokens.

    Nobody pays for more than its own overuse of the commons (rules §5), and an answer half as long
    again as the longest of the last turns is unlikely.
    """
    config = observation.config
    free = config["commons_per_agent"]
    longest = max(max(observation.output_tokens, default=0) * 3 // 2, 2 * free)
    return int((longest - free) * config["inference_price_bps"] // BPS)


def study_costs(agent: Mapping[str, Any], config: Mapping[str, int]) -> tuple[int, ...]:
    """Return what each of this turn's possible ``study`` actions would cost, in order."""
    level, progress = agent["study_level"], agent["study_progress"]
    costs: list[int] = []
    while len(costs) < LABOURS_MAX and level < config["max_study_level"]:
        costs.append(config["tuition"] * (level + 1))
        progress += 1
        if progress == level + 1:
            level, progress = level + 1, 0
    return tuple(costs)


def neighbours(observation: Observation, world: Survey) -> tuple[str, ...]:
    """Return the agents that this agent may want to name: those it deals with, then the others.

    In a small world that is everybody else. In a large one it is the agents of its own contracts,
    then the richest and the poorest, up to ``SMALL_ROSTER_AGENTS``.
    """
    if len(world.agents) <= SMALL_ROSTER_AGENTS:
        return tuple(other for other in world.agents if other != observation.agent_id)
    named = dict.fromkeys(partners(observation))
    named.update(dict.fromkeys(world.shown_to_all))
    named.pop(observation.agent_id, None)
    return tuple(named)[:SMALL_ROSTER_AGENTS]


def _arbitrators(
    observation: Observation, world: Survey, others: tuple[str, ...]
) -> tuple[str, ...]:
    """Return who may arbitrate: the best record first, then those who follow in the roster."""
    if len(others) < PARTIES_BESIDE_PROPOSER:
        return ()
    own_place = world.places[observation.agent_id]

    def standing(agent_id: str) -> tuple[int, int]:
        agent = world.agents[agent_id]
        record = agent["rulings_missed"] - agent["rulings_made"]
        return record, (world.places[agent_id] - own_place) % len(world.places)

    return tuple(sorted(others, key=standing)[:ARBITRATORS_MAX])


def partners(observation: Observation) -> list[str]:
    """Return the agents that this agent has open contracts with, oldest contract first."""
    named: dict[str, None] = {}
    for contract in observation.contracts:
        members = pool_members(contract) if contract["contract_type"] == "pool" else []
        for other in (contract["proposer"], contract["counterparty"], *members):
            named[other] = None
        named[contract["arbitrator"]] = None
    named.pop(observation.agent_id, None)
    return list(named)


def is_party(contract: Mapping[str, Any], agent_id: str) -> bool:
    """Tell whether the agent is a party or member of the contract, its arbitrator apart."""
    if contract["contract_type"] == "pool":
        return agent_id in pool_members(contract)
    return agent_id in (contract["proposer"], contract["counterparty"])


def signing_cost(contract: Mapping[str, Any], role: str) -> int:
    """Return what signing in the role moves into the contract, in tokens.  (rules §10)"""
    if role == "arbitrator":
        return int(contract["arbitrator_collateral"])
    terms, cost = contract["terms"], int(contract["counterparty_collateral"])
    match contract["contract_type"]:
        case "loan":
            return cost + (terms["principal"] if terms["lender"] == "counterparty" else 0)
        case "service":
            return cost + (terms["price"] if terms["provider"] == "proposer" else 0)
        case "information_sale":
            return cost + (terms["price"] if terms["seller"] == "proposer" else 0)
        case "insurance":
            insures = terms["insurer"] == "counterparty"
            return cost + int(terms["coverage"] if insures else terms["premium"])
        case _:
            return cost


def _open_contracts(observation: Observation) -> int:
    """Count as the engine does for ``max_open_contracts``: own proposals, and what it signed."""
    me = observation.agent_id
    return sum(
        contract["proposer"] == me or (me in contract["signatures"] and is_party(contract, me))
        for contract in observation.contracts
    )


def _signatures(
    observation: Observation, world: Survey, may_contract: bool
) -> tuple[Signature, ...]:
    me = observation.agent_id
    found: list[Signature] = []
    for contract in observation.contracts:
        if contract["status"] != "proposed" or me in contract["signatures"]:
            continue
        role: Role = "arbitrator" if contract["arbitrator"] == me else "counterparty"
        if role == "counterparty" and not is_party(contract, me):
            continue
        hindrance = _pool_hindrance(world, contract)
        if role == "counterparty" and not may_contract:
            hindrance = "you have too many open contracts"
        found.append(
            Signature(
                contract["contract_id"],
                role,
                signing_cost(contract, role),
                contract["proposed_turn"] + observation.config["sign_window"],
                hindrance,
            )
        )
    return tuple(found)


def _pool_hindrance(world: Survey, contract: Mapping[str, Any]) -> str:
    if contract["contract_type"] != "pool":
        return ""
    for member in pool_members(contract):
        if any((member, kind) in world.pooled for kind in contract["terms"]["kinds"]):
            return f"{member} is in an active pool of the same kind"
    return ""


def _attested(observation: Observation, *, confirming: bool) -> tuple[str, ...]:
    me = observation.agent_id
    return tuple(
        contract["contract_id"]
        for contract in observation.contracts
        if contract["status"] == "active"
        and contract["settlement"] == "attested"
        and me in (contract["proposer"], contract["counterparty"])
        and not (confirming and me in contract["confirmations"])
    )
