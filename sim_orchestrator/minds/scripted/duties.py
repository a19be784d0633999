"""What every archetype does about its contracts before it does anything else."""

from __future__ import annotations

from typing import Final

from sim_orchestrator.context.possible import signing_cost
from sim_orchestrator.minds.scripted.desk import Contract, Desk

SIGNATURES_A_TURN: Final = 2

ROLE_TERM: Final = {"service": "provider", "insurance": "insurer", "information_sale": "seller"}
"""Which term names a role: the payee's, but for an insurance the payer's.  (rules §10)"""


def duties(desk: Desk) -> None:
    """Rule, confirm, dispute and sign."""
    for contract in desk.contracts("disputed"):
        if contract["arbitrator"] == desk.me:
            _rule(desk, contract)
    for contract in desk.contracts("active"):
        if contract["settlement"] == "attested" and contract["arbitrator"] != desk.me:
            _attest(desk, contract)
    signed = 0
    for contract in desk.contracts("proposed"):
        if signed < SIGNATURES_A_TURN and desk.me not in contract["signatures"]:
            signed += _sign(desk, contract)


def _rule(desk: Desk, contract: Contract) -> None:
    """Decide by the dice of the contract; now and then an arbitrator forgets."""
    roll = desk.dice_for(f"rule {contract['contract_id']}").random()
    if roll < 0.9:
        ruling = "proposer" if roll < 0.35 else "counterparty" if roll < 0.7 else "split"
        desk.take(
            "arbitrator_ruling",
            contract_id=contract["contract_id"],
            ruling=ruling,
            reason=f"heard both sides; {ruling}",
        )


def _attest(desk: Desk, contract: Contract) -> None:
    """Say once whether it was kept: a payee mostly says yes, a payer only sometimes."""
    if desk.me in (contract["confirmations"] or ()):
        return
    contract_id = contract["contract_id"]
    roll = desk.dice_for(f"attest {contract_id}").random()
    insurance = contract["contract_type"] == "insurance"
    named = contract[contract["terms"][ROLE_TERM[contract["contract_type"]]]]
    payee = (named != desk.me) if insurance else (named == desk.me)
    if insurance and payee:
        # a claim is a dispute by the insured
        confirm, dispute = False, roll < 0.6
    elif payee:
        confirm, dispute = roll < 0.5, False
    else:
        confirm, dispute = roll < 0.35, roll >= 0.65
    if confirm:
        desk.take("confirm_delivery", contract_id=contract_id)
    elif dispute:
        desk.take("dispute_delivery", contract_id=contract_id, reason="not what was agreed")


def _sign(desk: Desk, contract: Contract) -> bool:
    role = "arbitrator" if contract["arbitrator"] == desk.me else "counterparty"
    cost = signing_cost(contract, role)
    if cost > desk.funds // 2:
        return False
    return desk.take("sign_contract", cost=cost, contract_id=contract["contract_id"], role=role)
