"""From proposal to activation or expiry, and the walk over all open contracts.  (rules §10, §12)"""

from __future__ import annotations

from sim_engine.rules.actions.checks import require_funds
from sim_engine.rules.books import Reason
from sim_engine.rules.contracts import endings
from sim_engine.rules.contracts.attestation import advance_attested, require_party
from sim_engine.rules.contracts.conditions import check_names, check_numbers
from sim_engine.rules.contracts.kinds import KINDS, kind_of
from sim_engine.rules.contracts.pool import require_no_other_pool
from sim_engine.rules.in_hand import Turn
from sim_engine.rules.rejections import Rejected
from sim_engine.rules.state import IN_ROSTER_ORDER, Agent, Contract, World
from sim_engine.types.actions import (
    ProposeForward,
    ProposeInformationSale,
    ProposeInsurance,
    ProposeLoan,
    ProposePool,
    ProposeService,
    SellInformation,
    SignContract,
)
from sim_engine.types.fields import Role
from sim_engine.types.rejection_codes import RejectionCode
from sim_engine.types.terms import InformationTerms, PoolTerms

AnyProposal = (
    ProposeLoan
    | ProposeForward
    | ProposeService
    | ProposeInsurance
    | ProposeInformationSale
    | ProposePool
)


def propose_contract(turn: Turn, agent: Agent, action: AnyProposal) -> None:
    """Open a proposal; what the proposer owes up front moves into escrow at once."""
    # CHECK
    world = turn.world
    _check_terms(world, agent, action)
    contract = _draft(turn, agent, action)
    _require_different(contract, action)
    _require_free_to_sign(world, contract, agent)
    owed = _owed_on_signing(contract, "proposer")
    require_funds(agent, owed, "the proposal")
    # EFFECT
    world.last_contract = contract.number
    world.open_contracts[contract.number] = contract
    world.contract_counts["proposed"] = world.contract_counts.get("proposed", 0) + 1
    _sign(turn, contract, agent, owed)


def sell_information(turn: Turn, agent: Agent, action: SellInformation) -> None:
    """Propose an information sale as its seller."""
    proposal = ProposeInformationSale(
        type="propose_contract",
        contract_type="information_sale",
        fee=action.fee,
        counterparty=action.to,
        arbitrator=action.arbitrator,
        settlement=action.settlement,
        duration=action.duration,
        proposer_collateral=action.proposer_collateral,
        counterparty_collateral=action.counterparty_collateral,
        terms=InformationTerms(
            seller="proposer", price=action.price, title=action.title, content=action.content
        ),
    )
    # What may be left out may be set to None, but not built with it.
    proposal.arbitrator_collateral = action.arbitrator_collateral
    proposal.arbitrator_fee = action.arbitrator_fee
    propose_contract(turn, agent, proposal)


def sign_contract(turn: Turn, agent: Agent, action: SignContract) -> None:
    """Sign in a role and pay what it owes up front; the last signature activates the contract."""
    # CHECK
    world = turn.world
    contract = world.contract(action.contract_id)
    require_party(contract, agent)
    role = _role_of(contract, agent)
    if action.role != role:
        raise Rejected(
            RejectionCode.WRONG_ROLE,
            f"your role in {contract.contract_id} is {role}; sign as that",
        )
    if contract.status != "proposed":
        raise Rejected(
            RejectionCode.CONTRACT_NOT_OPEN,
            f"{contract.contract_id} is {contract.status}; only a proposed contract is signed",
        )
    if agent.agent_id in contract.signatures:
        raise Rejected(
            RejectionCode.ALREADY_SIGNED,
            f"{contract.contract_id} carries your signature already; wait for the others",
        )
    _require_free_to_sign(world, contract, agent)
    owed = _owed_on_signing(contract, role)
    require_funds(agent, owed, f"signing {contract.contract_id} as {role}")
    # EFFECT
    _sign(turn, contract, agent, owed)
    if _signatures_missing(contract) == 0:
        endings.set_status(world, contract, "active")
        contract.activated_turn = turn.number
        contract.due_turn = turn.number + contract.duration
        kind_of(contract).activate(turn, contract)


def advance_contracts(turn: Turn) -> None:
    """Walk the open contracts in ascending number, each seeing what became of those before."""
    for contract in list(turn.world.open_contracts.values()):
        if contract.status == "proposed":
            continue
        if contract.settlement == "attested":
            advance_attested(turn, contract)
        elif contract.activated_turn != turn.number:
            tally = contract.tally
            kind_of(contract).advance(turn, contract)
            if contract.tally != tally:
                turn.changed_contracts[contract.number] = contract


def expire_proposals(turn: Turn) -> None:
    """Refund the proposals that were not signed by all in time."""
    world = turn.world
    for contract in list(world.open_contracts.values()):
        last_turn = contract.proposed_turn + world.config.sign_window
        if contract.status != "proposed" or turn.number < last_turn:
            continue
        for agent_id in contract.signatures:
            agent = world.agents[agent_id]
            owed = _owed_on_signing(contract, _role_of(contract, agent))
            endings.pay(turn, contract, agent, owed, Reason.RETURN)
        endings.close(turn, contract, "expired")


def _check_terms(world: World, proposer: Agent, action: AnyProposal) -> None:
    """Reject texts, terms and names that the rules forbid, in the order of the rules."""
    kind = KINDS[action.contract_type]
    condition = kind.condition(action.terms)
    kind.check_texts(world, action.terms)
    if action.settlement not in kind.settlements:
        raise Rejected(
            RejectionCode.INVALID_TERMS,
            f"a {action.contract_type} settles {' or '.join(sorted(kind.settlements))} only",
        )
    kind.check_terms(world, proposer, action, action.terms)
    least = world.config.min_arbitrator_collateral
    if (
        action.settlement != "automatic"
        and action.arbitrator_collateral is not None
        and action.arbitrator_collateral < least
    ):
        raise Rejected(
            RejectionCode.INVALID_TERMS,
            f"the arbitrator of an attested contract puts up at least {least} tokens",
        )
    if condition is not None:
        check_numbers(world, condition)
    for agent_id in _named_agents(action):
        world.agent(agent_id)
    if condition is not None:
        check_names(world, condition)


def _named_agents(action: AnyProposal) -> list[str]:
    parties = action.terms.members if isinstance(action, ProposePool) else [action.counterparty]
    return [*parties, action.arbitrator]


def _draft(turn: Turn, proposer: Agent, action: AnyProposal) -> Contract:
    """Build the contract that the proposal would open."""
    world = turn.world
    config = world.config
    *others, arbitrator = (world.agents[agent_id] for agent_id in _named_agents(action))
    members = sorted({proposer, *others}, key=IN_ROSTER_ORDER)
    return Contract(
        number=world.last_contract + 1,
        contract_type=action.contract_type,
        settlement=action.settlement,
        proposer=proposer,
        counterparty=others[0],
        arbitrator=arbitrator,
        members=tuple(members),
        terms=action.terms,
        duration=action.duration,
        proposer_collateral=action.proposer_collateral,
        counterparty_collateral=action.counterparty_collateral,
        arbitrator_collateral=(
            config.min_arbitrator_collateral
            if action.arbitrator_collateral is None
            else action.arbitrator_collateral
        ),
        arbitrator_fee=(
            config.arbitrator_fee if action.arbitrator_fee is None else action.arbitrator_fee
        ),
        proposed_turn=turn.number,
    )


def _require_different(contract: Contract, action: AnyProposal) -> None:
    """Reject with ``self_dealing`` a contract in which an agent has two roles."""
    named = [contract.proposer.agent_id, *_named_agents(action)]
    if len(set(named)) != len(named):
        raise Rejected(
            RejectionCode.SELF_DEALING,
            "proposer, counterparty (or members) and arbitrator must all be different agents",
        )


def _require_free_to_sign(world: World, contract: Contract, agent: Agent) -> None:
    """Reject a signature that pools or the number of open contracts stand against."""
    if isinstance(contract.terms, PoolTerms):
        if agent is not contract.arbitrator:
            require_no_other_pool(world, agent, contract.terms)
        if contract.signatures and _signatures_missing(contract) == 1:
            for member in contract.members:
                require_no_other_pool(world, member, contract.terms)
    limit = world.config.max_open_contracts
    if agent is not contract.arbitrator and agent.open_contracts >= limit:
        raise Rejected(
            RejectionCode.TOO_MANY_CONTRACTS,
            f"you have {agent.open_contracts} open contracts, the limit is {limit};"
            " let some end first",
        )


def _signatures_missing(contract: Contract) -> int:
    return len(contract.members) + 1 - len(contract.signatures)


def _role_of(contract: Contract, agent: Agent) -> Role:
    """Return an agent's role; every member of a pool but its proposer is a counterparty."""
    if agent is contract.proposer:
        return "proposer"
    return "arbitrator" if agent is contract.arbitrator else "counterparty"


def _owed_on_signing(contract: Contract, role: Role) -> int:
    """Return what a role pays into escrow with its signature (tokens)."""
    if role == "arbitrator":
        return contract.arbitrator_collateral
    up_front = kind_of(contract).up_front(contract.terms, role)
    if role == "proposer":
        return up_front + contract.proposer_collateral + contract.arbitrator_fee
    return up_front + contract.counterparty_collateral


def _sign(turn: Turn, contract: Contract, agent: Agent, owed: int) -> None:
    """Enter a signature with its payment."""
    turn.world.books.move(agent.liquid, contract.account, owed, Reason.ESCROW, contract.contract_id)
    contract.signatures[agent.agent_id] = turn.number
    if agent is not contract.arbitrator:
        agent.open_contracts += 1
        turn.changed_agents.add(agent)
    turn.changed_contracts[contract.number] = contract
