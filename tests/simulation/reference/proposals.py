"""Contracts until they are in force: proposing, signing, activating, expiring (rules §10)."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import settlement
from .pools import in_active_pool, members

if TYPE_CHECKING:
    from .world import World

Action = dict[str, Any]
Contract = dict[str, Any]
Breaches = dict[str, Callable[[], bool]]

ALWAYS_AUTOMATIC = ("loan", "forward", "pool")
NEEDS_CONDITION = ("service", "insurance")
OPEN = ("proposed", "active", "disputed")


def draft(world: "World", who: str, action: Action) -> Contract:
    """Return the contract that a proposal describes, with every default filled in."""
    if action["type"] == "sell_information":
        contract_type, counterparty = "information_sale", action["to"]
        terms = {"seller": "proposer"} | {key: action[key] for key in ("price", "title", "content")}
    else:
        contract_type, terms = action["contract_type"], action["terms"]
        counterparty = action.get("counterparty")
        if counterparty is None:
            counterparty = terms["members"][0]
    return {
        "contract_type": contract_type,
        "proposer": who,
        "counterparty": counterparty,
        "arbitrator": action["arbitrator"],
        "settlement": action.get("settlement", "automatic"),
        "duration": action.get("duration", 1),
        "proposer_collateral": action.get("proposer_collateral", 0),
        "counterparty_collateral": action.get("counterparty_collateral", 0),
        "arbitrator_collateral": action.get(
            "arbitrator_collateral", world.config["min_arbitrator_collateral"]
        ),
        "arbitrator_fee": action.get("arbitrator_fee", world.config["arbitrator_fee"]),
        "terms": terms,
    }


def parties(contract: Contract) -> list[str]:
    """Return the two parties, or all members of a pool; the arbitrator is none."""
    if contract["contract_type"] == "pool":
        return members(contract)
    return [contract["proposer"], contract["counterparty"]]


def party_in(contract: Contract, role_word: str) -> str:
    """Return the agent that the terms name by `proposer` or `counterparty`."""
    return str(contract[contract["terms"][role_word]])


def other_than(contract: Contract, agent_id: str) -> str:
    """Return the other of the two parties."""
    both = [contract["proposer"], contract["counterparty"]]
    both.remove(agent_id)
    return str(both[0])


def owed_on_signing(contract: Contract, who: str) -> int:
    """Return what an agent's signature moves into the contract, in tokens."""
    if who == contract["arbitrator"]:
        return int(contract["arbitrator_collateral"])
    owed = 0
    if who == contract["proposer"]:
        owed += contract["arbitrator_fee"] + contract["proposer_collateral"]
    elif who == contract["counterparty"]:
        owed += contract["counterparty_collateral"]
    terms = contract["terms"]
    kind = contract["contract_type"]
    if kind == "loan" and who == party_in(contract, "lender"):
        owed += terms["principal"]
    elif kind in ("service", "information_sale"):
        paid = party_in(contract, "provider" if kind == "service" else "seller")
        owed += terms["price"] if who != paid else 0
    elif kind == "insurance":
        is_insurer = who == party_in(contract, "insurer")
        owed += terms["coverage"] if is_insurer else terms["premium"]
    return int(owed)


# -- checks --------------------------------------------------------------------------------------


def proposal_breaches(world: "World", who: str, action: Action) -> Breaches:
    """Return what can be wrong with a proposal."""
    contract = draft(world, who, action)
    terms = contract["terms"]
    is_pool = contract["contract_type"] == "pool"
    return {
        "too_long": lambda: too_long(world, terms),
        "invalid_terms": lambda: invalid_terms(world, contract),
        "unknown_agent": lambda: any(
            named not in world.agents
            for named in [*parties(contract), contract["arbitrator"], *named_in_condition(terms)]
        ),
        "unknown_contract": lambda: (
            terms.get("condition", {}).get("type") == "contract_defaulted"
            and terms["condition"]["contract_id"] not in world.contracts
        ),
        "self_dealing": lambda: (
            contract["arbitrator"] in parties(contract)
            or contract["proposer"] == contract["counterparty"]
        ),
        "already_in_pool": lambda: is_pool and in_active_pool(world, who, terms["kinds"]),
        "too_many_contracts": lambda: has_too_many(world, who),
        "insufficient_funds": lambda: not world.can_pay(who, owed_on_signing(contract, who)),
    }


def named_in_condition(terms: dict[str, Any]) -> list[str]:
    """Return the agent that the condition speaks of, if there is one."""
    condition = terms.get("condition", {})
    return [condition["agent"]] if "agent" in condition else []


def too_long(world: "World", terms: dict[str, Any]) -> bool:
    """Tell whether any text of the terms exceeds its limit in code points."""
    short = [terms.get("title", ""), terms.get("description", "")]
    short.append(terms.get("condition", {}).get("contains", ""))
    return (
        any(len(text) > world.config["max_message_chars"] for text in short)
        or len(terms.get("content", "")) > world.config["max_content_chars"]
    )


def invalid_terms(world: "World", contract: Contract) -> bool:
    """Tell whether config or the contract's type forbids a value of the proposal."""
    kind, terms = contract["contract_type"], contract["terms"]
    attested = contract["settlement"] == "attested"
    minimum = world.config["min_arbitrator_collateral"]
    core_ids = [
        terms.get("asset", {}).get("core_id", 0),
        terms.get("condition", {}).get("core_id", 0),
    ]
    return (
        (attested and kind in ALWAYS_AUTOMATIC)
        or (kind in NEEDS_CONDITION and ("condition" in terms) == attested)
        or (attested and contract["arbitrator_collateral"] < minimum)
        or any(core_id >= world.config["core_count"] for core_id in core_ids)
        or (kind == "pool" and invalid_pool(contract))
    )


def invalid_pool(contract: Contract) -> bool:
    """Tell whether a pool's members, kinds, split or collaterals contradict each other."""
    terms, split = contract["terms"], contract["terms"]["split"]
    everybody = members(contract)
    return (
        len(set(everybody)) < len(everybody)
        or len(set(terms["kinds"])) < len(terms["kinds"])
        or contract["counterparty"] != terms["members"][0]
        or contract["proposer_collateral"] > 0
        or contract["counterparty_collateral"] > 0
        or (
            isinstance(split, dict)
            and (set(split) != set(everybody) or sum(split.values()) != 10_000)
        )
    )


def has_too_many(world: "World", who: str) -> bool:
    """Tell whether an agent has as many open contracts as it may have."""
    count = 0
    for contract in world.contracts.values():
        signed = who in parties(contract) and who in contract["signatures"]
        if contract["status"] in OPEN and signed:
            count += 1
    return count >= world.config["max_open_contracts"]


def right_role(contract: Contract, who: str) -> str | None:
    """Return the role in which an agent takes part in a contract, None if in none."""
    if who == contract["proposer"]:
        return "proposer"
    if who == contract["arbitrator"]:
        return "arbitrator"
    return "counterparty" if who in parties(contract) else None


def signature_breaches(world: "World", who: str, action: Action) -> Breaches:
    """Return what can be wrong with a signature."""
    contract = world.contracts.get(action["contract_id"])
    if contract is None:
        return {"unknown_contract": lambda: True}
    role = right_role(contract, who)
    return {
        "not_a_party": lambda: role is None,
        "wrong_role": lambda: role != action["role"],
        "contract_not_open": lambda: contract["status"] != "proposed",
        "already_signed": lambda: who in contract["signatures"],
        "already_in_pool": lambda: breaks_pool_rule(world, contract, who),
        "too_many_contracts": lambda: role != "arbitrator" and has_too_many(world, who),
        "insufficient_funds": lambda: not world.can_pay(who, owed_on_signing(contract, who)),
    }


def breaks_pool_rule(world: "World", contract: Contract, who: str) -> bool:
    """Tell whether a signature would put an agent into a second pool of a kind."""
    if contract["contract_type"] != "pool":
        return False
    concerned = [who] if who in members(contract) else []
    if not missing_signatures(contract) - {who}:
        concerned = members(contract)
    return any(in_active_pool(world, one, contract["terms"]["kinds"]) for one in concerned)


def missing_signatures(contract: Contract) -> set[str]:
    """Return who has yet to sign."""
    return {*parties(contract), contract["arbitrator"]} - set(contract["signatures"])


# -- effects -------------------------------------------------------------------------------------


def propose(world: "World", who: str, action: Action) -> None:
    """Open a proposal with its proposer's signature and escrow."""
    contract = draft(world, who, action)
    cid = f"c{len(world.contracts) + 1}"
    contract |= {
        "contract_id": cid,
        "status": "proposed",
        "signatures": {},
        "proposed_turn": world.turn,
        "activated_turn": None,
        "due_turn": None,
        "ended_turn": None,
        "confirmations": {},
        "dispute": None,
        "ruling": None,
    }
    world.contracts[cid] = contract
    put_signature(world, contract, who)


def sign(world: "World", who: str, action: Action) -> None:
    """Add a signature; the last one activates the contract."""
    contract = world.contracts[action["contract_id"]]
    put_signature(world, contract, who)
    if not missing_signatures(contract):
        activate(world, contract)


def put_signature(world: "World", contract: Contract, who: str) -> None:
    """Record a signature and move what it owes."""
    contract["signatures"][who] = world.turn
    account = f"contract:{contract['contract_id']}"
    world.move(f"agent:{who}", account, owed_on_signing(contract, who))


def activate(world: "World", contract: Contract) -> None:
    """Bring a contract into force, with what its type does at once."""
    contract["status"] = "active"
    contract["activated_turn"] = world.turn
    contract["due_turn"] = world.turn + contract["duration"]
    terms = contract["terms"]
    if contract["contract_type"] == "loan":
        lender = party_in(contract, "lender")
        settlement.pay(world, contract, other_than(contract, lender), terms["principal"])
    elif contract["contract_type"] == "insurance":
        settlement.pay(world, contract, party_in(contract, "insurer"), terms["premium"])
    elif contract["contract_type"] == "information_sale" and contract["settlement"] == "automatic":
        settlement.pay(world, contract, party_in(contract, "seller"), terms["price"])
        settlement.settle(world, contract)


def expire(world: "World") -> None:
    """Refund every proposal that was not signed in time (rules §12)."""
    for contract in world.contracts.values():
        last_turn = contract["proposed_turn"] + world.config["sign_window"]
        if contract["status"] == "proposed" and world.turn >= last_turn:
            for who in contract["signatures"]:
                settlement.pay(world, contract, who, owed_on_signing(contract, who))
            settlement.end(world, contract, "expired")
