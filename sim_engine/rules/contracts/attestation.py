"""Contracts that people settle: confirmation, dispute, ruling, and silence.  (rules §10)"""

from __future__ import annotations

from sim_engine.rules.actions.checks import require_text
from sim_engine.rules.contracts import endings
from sim_engine.rules.contracts.kinds import promise_of
from sim_engine.rules.in_hand import Turn
from sim_engine.rules.rejections import Rejected
from sim_engine.rules.state import Agent, Contract, Dispute, Verdict
from sim_engine.types.actions import ArbitratorRuling, ConfirmDelivery, DisputeDelivery
from sim_engine.types.rejection_codes import RejectionCode


def confirm_delivery(turn: Turn, agent: Agent, action: ConfirmDelivery) -> None:
    """Confirm as a party; the payer's confirmation settles the contract in favour of the payee."""
    # CHECK
    contract = turn.world.contract(action.contract_id)
    _require_attesting_party(contract, agent)
    if agent.agent_id in contract.confirmations:
        raise Rejected(
            RejectionCode.ALREADY_CONFIRMED,
            f"{contract.contract_id} is confirmed by you already; the other party has to act",
        )
    # EFFECT
    contract.confirmations[agent.agent_id] = turn.number
    turn.changed_contracts[contract.number] = contract
    promise = promise_of(contract)
    if agent is promise.payer(contract):
        promise.keep(turn, contract)


def dispute_delivery(turn: Turn, agent: Agent, action: DisputeDelivery) -> None:
    """Bring an active attested contract before its arbitrator."""
    # CHECK
    require_text(turn.world, "reason", action.reason)
    contract = turn.world.contract(action.contract_id)
    _require_attesting_party(contract, agent)
    # EFFECT
    contract.dispute = Dispute(agent.agent_id, turn.number, action.reason)
    endings.set_status(turn.world, contract, "disputed")
    turn.changed_contracts[contract.number] = contract


def arbitrator_ruling(turn: Turn, agent: Agent, action: ArbitratorRuling) -> None:
    """Decide a disputed contract."""
    # CHECK
    require_text(turn.world, "reason", action.reason)
    contract = turn.world.contract(action.contract_id)
    require_party(contract, agent)
    if agent is not contract.arbitrator:
        raise Rejected(
            RejectionCode.WRONG_ROLE,
            f"only the arbitrator {contract.arbitrator.agent_id} rules on {contract.contract_id}",
        )
    if contract.status != "disputed":
        raise Rejected(
            RejectionCode.CONTRACT_NOT_DISPUTED,
            f"{contract.contract_id} is {contract.status}; only a disputed contract is ruled on",
        )
    # EFFECT
    contract.verdict = Verdict(action.ruling, turn.number, action.reason)
    promise = promise_of(contract)
    winner = None if action.ruling == "split" else contract.party(action.ruling)
    payer = promise.payer(contract)
    endings.rule(turn, contract, winner, payer, promise.pot(contract), promise.reason)


def advance_attested(turn: Turn, contract: Contract) -> None:
    """End a contract on which the arbitrator, or everybody, was silent for too long."""
    config = turn.world.config
    promise = promise_of(contract)
    if contract.dispute is not None:
        if turn.number >= contract.dispute.turn + config.ruling_window:
            endings.lapse(turn, contract, promise.payer(contract), promise.pot(contract))
    else:
        assert contract.due_turn is not None
        if turn.number >= contract.due_turn + config.attest_window:
            promise.fail_unattested(turn, contract)


def require_party(contract: Contract, agent: Agent) -> None:
    """Reject with ``not_a_party`` an agent that has no role in the contract."""
    if agent is not contract.arbitrator and agent not in contract.members:
        raise Rejected(
            RejectionCode.NOT_A_PARTY,
            f"you have no role in {contract.contract_id}; only its parties and arbitrator act"
            " on it",
        )


def _require_attesting_party(contract: Contract, agent: Agent) -> None:
    """Reject anybody but the two parties of an active attested contract."""
    require_party(contract, agent)
    if agent is contract.arbitrator:
        raise Rejected(
            RejectionCode.WRONG_ROLE,
            f"the arbitrator of {contract.contract_id} rules on a dispute;"
            " it neither confirms nor disputes",
        )
    if contract.status != "active":
        raise Rejected(
            RejectionCode.CONTRACT_NOT_ACTIVE,
            f"{contract.contract_id} is {contract.status}; only an active contract is"
            " confirmed or disputed",
        )
    if contract.settlement != "attested":
        raise Rejected(
            RejectionCode.SETTLEMENT_IS_AUTOMATIC,
            f"{contract.contract_id} settles by itself; there is nothing to confirm or dispute",
        )
