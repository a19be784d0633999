"""Contracts in words: what each is about, who gives what, and what a signature costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sim_orchestrator.context.words import claim, quoted

Contract = Mapping[str, Any]
DESCRIPTION_CHARS_MAX: Final = 160
"""How much of a description, a title or a reason a prompt shows."""


def summary(contract: Contract) -> str:
    """Say in one line what a contract is about, naming its parties."""
    return f"{contract['contract_id']} {contract['contract_type']}: {_about(contract)}"


def _about(contract: Contract) -> str:
    terms = contract["terms"]
    match contract["contract_type"]:
        case "loan":
            lender, borrower = _sides(contract, terms["lender"])
            return (
                f"{lender} lends {borrower} {terms['principal']}, gets {terms['repayment']} back"
                f"{_when(contract)}"
            )
        case "forward":
            seller, buyer = _sides(contract, terms["seller"])
            return (
                f"{seller} sells {buyer} {_asset(terms['asset'])} for {terms['price']}"
                f"{_when(contract)}"
            )
        case "service":
            provider, client = _sides(contract, terms["provider"])
            return (
                f"{provider} works for {client} for {terms['price']}{_when(contract)}; "
                + _described(contract)
            )
        case "insurance":
            insurer, insured = _sides(contract, terms["insurer"])
            return (
                f"{insurer} insures {insured}: premium {terms['premium']}, coverage "
                f"{terms['coverage']}{_when(contract)}; {_described(contract)}"
            )
        case "information_sale":
            seller, buyer = _sides(contract, terms["seller"])
            title = claim(seller, terms["title"], DESCRIPTION_CHARS_MAX)
            return f"{seller} sells {buyer} information for {terms['price']}; {title}"
        case _:
            members = ", ".join([contract["proposer"], *terms["members"]])
            return f"{members} share {', '.join(terms['kinds'])} rewards{_when(contract)}"


def _sides(contract: Contract, role: str) -> tuple[str, str]:
    """Return the agent in the role and the other party."""
    other = "counterparty" if role == "proposer" else "proposer"
    return contract[role], contract[other]


def _when(contract: Contract) -> str:
    due = contract["due_turn"]
    return f" within {contract['duration']} turns" if due is None else f" by turn {due}"


def _asset(asset: Mapping[str, Any]) -> str:
    if asset["kind"] == "core":
        return f"core {asset['core_id']}"
    return f"its inference fees up to {asset['cap']}"


def _described(contract: Contract) -> str:
    terms = contract["terms"]
    text = claim(contract["proposer"], terms["description"], DESCRIPTION_CHARS_MAX)
    if terms.get("condition"):
        text += f"; if {_condition(terms['condition'])}"
    return text


def _condition(condition: Mapping[str, Any]) -> str:
    fields = [
        f"{name} {quoted(value, DESCRIPTION_CHARS_MAX) if isinstance(value, str) else value}"
        for name, value in condition.items()
        if name != "type" and value is not None
    ]
    return " ".join([condition["type"], *fields])


def debt_of(contract: Contract, agent_id: str) -> int:
    """Return what the agent owes when an active contract is due, in tokens; 0 if nothing."""
    terms = contract["terms"]
    if contract["status"] != "active":
        return 0
    if contract["contract_type"] == "loan":
        lender, _ = _sides(contract, terms["lender"])
        is_party = agent_id in (contract["proposer"], contract["counterparty"])
        return int(terms["repayment"]) if is_party and agent_id != lender else 0
    if contract["contract_type"] == "forward":
        _, buyer = _sides(contract, terms["seller"])
        return int(terms["price"]) if agent_id == buyer else 0
    return 0
