"""Contracts in force: delivery, dispute, ruling, and every end they can have (rules §10)."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import proposals
from .conditions import is_met
from .numbers import part

if TYPE_CHECKING:
    from .world import World

Action = dict[str, Any]
Contract = dict[str, Any]
Breaches = dict[str, Callable[[], bool]]

PAYEE = {"service": "provider", "information_sale": "seller"}


def account(contract: Contract) -> str:
    """Return the account that holds everything of a contract."""
    return f"contract:{contract['contract_id']}"


def pay(world: "World", contract: Contract, who: str, amount: int) -> None:
    """Pay an agent out of what the contract holds."""
    world.move(account(contract), f"agent:{who}", amount)


def payee_of(contract: Contract) -> str:
    """Return who is paid when all goes well: provider, seller, or insured."""
    if contract["contract_type"] == "insurance":
        return proposals.other_than(contract, proposals.party_in(contract, "insurer"))
    return proposals.party_in(contract, PAYEE[contract["contract_type"]])


def payer_of(contract: Contract) -> str:
    """Return the other party."""
    return proposals.other_than(contract, payee_of(contract))


def pot(contract: Contract) -> int:
    """Return what the two parties may dispute about, in tokens."""
    key = "coverage" if contract["contract_type"] == "insurance" else "price"
    return int(contract["terms"][key])


def collateral(contract: Contract, who: str) -> int:
    """Return the collateral that one of the two parties put up."""
    role = "proposer" if who == contract["proposer"] else "counterparty"
    return int(contract[f"{role}_collateral"])


# -- the ends ------------------------------------------------------------------------------------


def end(world: "World", contract: Contract, status: str) -> None:
    """Close a contract whose account has been emptied."""
    if world.books.balance(account(contract)) != 0:
        raise ArithmeticError(f"{contract['contract_id']} ended while it still held tokens")
    contract["status"] = status
    contract["ended_turn"] = world.turn


def return_collaterals(world: "World", contract: Contract) -> None:
    """Give both parties their collateral back."""
    for who in (contract["proposer"], contract["counterparty"]):
        pay(world, contract, who, collateral(contract, who))


def pay_arbitrator(world: "World", contract: Contract) -> None:
    """Give the arbitrator its fee, and its collateral back."""
    both = contract["arbitrator_fee"] + contract["arbitrator_collateral"]
    pay(world, contract, contract["arbitrator"], both)


def slash_to_other(world: "World", contract: Contract, loser: str) -> None:
    """Give a part of one party's collateral to the other, and the rest back."""
    held = collateral(contract, loser)
    slashed = part(held, world.config["slash_bps"])
    winner = proposals.other_than(contract, loser)
    pay(world, contract, winner, slashed + collateral(contract, winner))
    pay(world, contract, loser, held - slashed)


def settle(world: "World", contract: Contract) -> None:
    """End well: collaterals return, both parties count it."""
    return_collaterals(world, contract)
    pay_arbitrator(world, contract)
    for who in proposals.parties(contract):
        world.agents[who]["contracts_settled"] += 1
    end(world, contract, "settled")


def default(world: "World", contract: Contract, defaulters: list[str]) -> None:
    """End badly, after the parties have been paid out."""
    pay_arbitrator(world, contract)
    for who in defaulters:
        world.agents[who]["contracts_defaulted"] += 1
    end(world, contract, "defaulted")


def collect(world: "World", contract: Contract, debtor: str, debt: int) -> None:
    """Let a debtor pay from its balance, then from its collateral, then not at all."""
    creditor = proposals.other_than(contract, debtor)
    from_balance = min(debt, max(0, world.balance(debtor)))
    world.move(f"agent:{debtor}", f"agent:{creditor}", from_balance)
    missing = debt - from_balance
    if missing == 0:
        settle(world, contract)
        return
    held = collateral(contract, debtor)
    taken = min(missing, held)
    pay(world, contract, creditor, taken)
    destroyed = part(held - taken, world.config["slash_bps"])
    world.move(account(contract), "destroyed", destroyed)
    pay(world, contract, debtor, held - taken - destroyed)
    pay(world, contract, creditor, collateral(contract, creditor))
    default(world, contract, [debtor])


# -- phase 7 -------------------------------------------------------------------------------------


def walk(world: "World") -> None:
    """Look after every contract, in ascending number (rules §10)."""
    for contract in world.contracts.values():
        if contract["status"] == "disputed":
            last_turn = contract["dispute"]["turn"] + world.config["ruling_window"]
            if world.turn >= last_turn:
                lapse(world, contract)
        elif contract["status"] == "active":
            if contract["settlement"] == "attested":
                if world.turn >= contract["due_turn"] + world.config["attest_window"]:
                    end_of_attestation(world, contract)
            elif world.turn > contract["activated_turn"]:
                step_automatic(world, contract)


def step_automatic(world: "World", contract: Contract) -> None:
    """Look at the condition, then at the due turn."""
    kind, terms = contract["contract_type"], contract["terms"]
    is_due = world.turn >= contract["due_turn"]
    if "condition" in terms and is_met(world, contract, terms["condition"]):
        pay(world, contract, payee_of(contract), pot(contract))
        settle(world, contract)
    elif not is_due:
        return
    elif kind == "loan":
        borrower = proposals.other_than(contract, proposals.party_in(contract, "lender"))
        collect(world, contract, borrower, terms["repayment"])
    elif kind == "forward" and terms["asset"]["kind"] == "core":
        deliver_core(world, contract)
    elif kind == "forward":
        settle_compute(world, contract)
    elif kind == "service":
        pay(world, contract, payer_of(contract), pot(contract))
        slash_to_other(world, contract, payee_of(contract))
        default(world, contract, [payee_of(contract)])
    elif kind == "insurance":
        pay(world, contract, payer_of(contract), pot(contract))
        settle(world, contract)
    else:
        settle(world, contract)


def deliver_core(world: "World", contract: Contract) -> None:
    """Exchange a core against its price, or find who could not."""
    seller = proposals.party_in(contract, "seller")
    buyer = proposals.other_than(contract, seller)
    core_id, price = contract["terms"]["asset"]["core_id"], contract["terms"]["price"]
    defaulters = []
    if world.cores[core_id] != seller:
        defaulters.append(seller)
    if not world.can_pay(buyer, price):
        defaulters.append(buyer)
    if not defaulters:
        world.move(f"agent:{buyer}", f"agent:{seller}", price)
        world.cores[core_id] = buyer
        settle(world, contract)
        return
    if len(defaulters) == 2:
        return_collaterals(world, contract)
    else:
        slash_to_other(world, contract, defaulters[0])
    default(world, contract, defaulters)


def settle_compute(world: "World", contract: Contract) -> None:
    """Move the net between the price and the buyer's inference fees."""
    seller = proposals.party_in(contract, "seller")
    buyer = proposals.other_than(contract, seller)
    charged = sum(
        world.history[turn]["inference_fees"][buyer]
        for turn in range(contract["activated_turn"] + 1, contract["due_turn"] + 1)
    )
    net = min(contract["terms"]["asset"]["cap"], charged) - contract["terms"]["price"]
    if net >= 0:
        collect(world, contract, seller, net)
    else:
        collect(world, contract, buyer, -net)


def lapse(world: "World", contract: Contract) -> None:
    """Punish an arbitrator that did not rule in time."""
    half = contract["arbitrator_collateral"] // 2
    for who in (contract["proposer"], contract["counterparty"]):
        pay(world, contract, who, half)
    world.move(account(contract), "destroyed", contract["arbitrator_collateral"] - 2 * half)
    pay(world, contract, contract["proposer"], contract["arbitrator_fee"])
    pay(world, contract, payer_of(contract), pot(contract))
    return_collaterals(world, contract)
    world.agents[contract["arbitrator"]]["rulings_missed"] += 1
    end(world, contract, "lapsed")


def end_of_attestation(world: "World", contract: Contract) -> None:
    """Close an attested contract that nobody disputed and no payer confirmed."""
    payee, payer = payee_of(contract), payer_of(contract)
    confirmed_turn = contract["confirmations"].get(payee)
    if contract["contract_type"] == "insurance":
        pay(world, contract, payer, pot(contract))
        settle(world, contract)
    elif confirmed_turn is not None and confirmed_turn <= contract["due_turn"]:
        pay(world, contract, payee, pot(contract))
        settle(world, contract)
    else:
        pay(world, contract, payer, pot(contract))
        slash_to_other(world, contract, payee)
        default(world, contract, [payee])


# -- actions -------------------------------------------------------------------------------------


def breaches(world: "World", who: str, action: Action) -> Breaches:
    """Return what can be wrong with a confirmation, a dispute or a ruling."""
    reason_chars = len(action.get("reason", ""))
    found: Breaches = {"too_long": lambda: reason_chars > world.config["max_message_chars"]}
    contract = world.contracts.get(action["contract_id"])
    if contract is None:
        return found | {"unknown_contract": lambda: True}
    role = proposals.right_role(contract, who)
    found["not_a_party"] = lambda: role is None
    if action["type"] == "arbitrator_ruling":
        found["wrong_role"] = lambda: role != "arbitrator"
        found["contract_not_disputed"] = lambda: contract["status"] != "disputed"
        return found
    found["wrong_role"] = lambda: role == "arbitrator"
    found["contract_not_active"] = lambda: contract["status"] != "active"
    found["settlement_is_automatic"] = lambda: contract["settlement"] == "automatic"
    if action["type"] == "confirm_delivery":
        found["already_confirmed"] = lambda: who in contract["confirmations"]
    return found


def confirm(world: "World", who: str, action: Action) -> None:
    """Confirm delivery; the payer's word is enough to pay out at once."""
    contract = world.contracts[action["contract_id"]]
    contract["confirmations"][who] = world.turn
    if who == payer_of(contract):
        pay(world, contract, payee_of(contract), pot(contract))
        settle(world, contract)


def dispute(world: "World", who: str, action: Action) -> None:
    """Hand the contract to its arbitrator."""
    contract = world.contracts[action["contract_id"]]
    contract["status"] = "disputed"
    contract["dispute"] = {"agent_id": who, "turn": world.turn, "reason": action["reason"]}


def rule(world: "World", who: str, action: Action) -> None:
    """Divide the pot as the arbitrator says."""
    contract = world.contracts[action["contract_id"]]
    contract["ruling"] = action["ruling"]
    if action["ruling"] == "split":
        half = pot(contract) // 2
        pay(world, contract, payee_of(contract), half)
        pay(world, contract, payer_of(contract), pot(contract) - half)
        return_collaterals(world, contract)
    else:
        winner = str(contract[action["ruling"]])
        loser = proposals.other_than(contract, winner)
        pay(world, contract, winner, pot(contract))
        slash_to_other(world, contract, loser)
        world.agents[loser]["disputes_lost"] += 1
    pay_arbitrator(world, contract)
    world.agents[who]["rulings_made"] += 1
    end(world, contract, "ruled")
