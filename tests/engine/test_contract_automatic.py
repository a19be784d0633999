"""Automatic ends of loans, forwards, services, insurances and information sales: rules §10.

Everybody starts with 1,000. The arbitrator z pays a collateral of 250 and gets it back with the
proposer's fee of
50, so that an undisturbed contract leaves z with 1,050 and costs the proposer a 50.
"""

from __future__ import annotations

import pytest

from tests.engine.harness import (
    bid,
    compute_forward,
    core_forward,
    information,
    insurance,
    loan,
    sell,
    service,
    speak,
    stake,
    transfer,
)

THOUSAND = {"a": 1_000, "b": 1_000, "c": 1_000, "z": 1_000}
SPOKE = {"type": "spoke", "agent": "b", "contains": "done"}


def counters(world, name: str) -> dict[str, int]:
    return {x: world.agent(x)[name] for x in world.roster if world.agent(x)[name]}


# -- loan ------------------------------------------------------------------------------------------


def test_a_loan_is_repaid_at_its_due_turn(open_world):
    world = open_world(THOUSAND)
    cid = world.sign_all(loan(300, 330, duration=2, counterparty_collateral=100))
    # a: 1,000 − 300 − 50; b: 1,000 − 100 + 300; z: 1,000 − 250.
    assert world.balances() == [650, 1_200, 1_000, 750]
    assert world.contract(cid)["due_turn"] == 4
    world.rest()
    assert world.balances() == [650, 1_200, 1_000, 750]
    world.rest()
    # b: 1,200 − 330 + 100; a: 650 + 330; z: 750 + 250 + 50.
    assert world.balances() == [980, 970, 1_000, 1_050]
    contract = world.contract(cid)
    assert (contract["status"], contract["ended_turn"], contract["escrow"]) == ("settled", 4, 0)
    assert counters(world, "contracts_settled") == {"a": 1, "b": 1}
    assert counters(world, "contracts_defaulted") == {}


def test_a_loan_may_be_lent_by_the_counterparty(open_world):
    world = open_world(THOUSAND)
    world.sign_all(loan(300, 330, lender="counterparty", duration=1, proposer_collateral=100))
    # a: 1,000 − 100 − 50 + 300; b: 1,000 − 300.
    assert world.balances() == [1_150, 700, 1_000, 750]
    world.rest()
    assert world.balances() == [1_150 - 330 + 100, 1_030, 1_000, 1_050]


def test_a_borrower_that_spent_it_all_loses_its_collateral_and_the_rest_is_the_lenders_loss(
    open_world,
):
    world = open_world(THOUSAND)
    cid = world.sign_all(loan(300, 330, duration=2, counterparty_collateral=100))
    # b keeps 100 of its 1,200.
    world.turn({"b": [transfer("c", 1_100)]})
    world.rest()
    # 100 from the balance, the missing 230 from the collateral of 100: 130 are lost.
    assert world.balances() == [650 + 200, 0, 2_100, 1_050]
    assert world.contract(cid)["status"] == "defaulted"
    assert counters(world, "contracts_defaulted") == {"b": 1}
    assert counters(world, "contracts_settled") == {}
    world.check_books()


def test_collateral_that_remains_after_a_default_is_slashed(open_world):
    world = open_world(THOUSAND)
    world.sign_all(loan(300, 330, duration=2, counterparty_collateral=401, proposer_collateral=20))
    # b: 1,000 − 401 + 300 = 899; it keeps 100.
    world.turn({"b": [transfer("c", 799)]})
    answer = world.rest()
    # Missing 230 of 401 leave 171: 171 × 5,000 // 10,000 = 85 destroyed, 86 back. a gets its
    # 20 back.
    assert world.balances() == [1_000 - 300 - 50 + 330, 86, 1_799, 1_050]
    assert answer.supply["destroyed"] == 85


def test_a_borrower_in_debt_pays_from_its_collateral_alone(open_world):
    world = open_world(THOUSAND, {"commons_per_agent": 0})
    world.sign_all(loan(300, 330, duration=1, counterparty_collateral=1_000))
    # b: 1,000 − 1,000 + 300 = 300, billed 400: −100. Dividends of 400 to unowned cores are
    # destroyed.
    answer = world.turn(tokens={"b": 400})
    # 330 from 1,000 leave 670: 335 destroyed, 335 back: −100 + 335; the contract comes before
    # interest.
    assert world.balances() == [980, 235, 1_000, 1_050]
    assert answer.supply["destroyed"] == 400 + 335


def test_a_borrower_with_the_exact_amount_settles(open_world):
    world = open_world(THOUSAND)
    cid = world.sign_all(loan(300, 330, duration=1))
    world.turn({"b": [transfer("c", 970)]})
    assert world.contract(cid)["status"] == "settled"
    assert world.balances() == [980, 0, 1_970, 1_050]


@pytest.mark.parametrize(("slash_bps", "destroyed"), [(0, 0), (3_333, 56), (10_000, 171)])
def test_slash_follows_the_config(open_world, slash_bps, destroyed):
    world = open_world(THOUSAND, {"slash_bps": slash_bps})
    world.sign_all(loan(300, 330, duration=1, counterparty_collateral=401))
    # As above: 171 × 3,333 // 10,000 = 56 (569,943).
    answer = world.turn({"b": [transfer("c", 799)]})
    assert answer.supply["destroyed"] == destroyed
    assert world.balance("b") == 171 - destroyed


# -- forward of a core -----------------------------------------------------------------------------

CORE = {"core_reserve": 100, "core_count": 2}


def core_world(open_world, seller_collateral=101, buyer_collateral=61):
    """a owns core 0 (paid 100) and sells it to b for 200, due in turn 5."""
    world = open_world(THOUSAND, CORE)
    world.turn({"a": [bid(100)]})
    forward = core_forward(
        0,
        200,
        duration=2,
        proposer_collateral=seller_collateral,
        counterparty_collateral=buyer_collateral,
    )
    cid = world.sign_all(forward)
    # a: 1,000 − 100 − 50 − 101; b: 1,000 − 61.
    assert world.balances("a", "b") == [749, 939]
    return world, cid


def test_a_core_changes_hands_against_its_price(open_world):
    world, cid = core_world(open_world)
    world.rest()
    assert world.cores()[0] == "a"
    world.rest()
    assert world.cores()[0] == "b"
    assert world.agent("b")["cores"] == [0]
    assert world.agent("a")["cores"] == []
    assert world.balances() == [749 + 200 + 101, 939 - 200 + 61, 1_000, 1_050]
    assert world.contract(cid)["status"] == "settled"
    assert world.contract(cid)["ended_turn"] == 5


def test_a_seller_without_the_core_pays_part_of_its_collateral_to_the_buyer(open_world):
    world = open_world(THOUSAND, CORE)
    cid = world.sign_all(
        core_forward(1, 200, duration=1, proposer_collateral=101, counterparty_collateral=61)
    )
    # 101 × 5,000 // 10,000 = 50 to b, 51 back; b's own 61 return.
    world.rest()
    assert world.contract(cid)["status"] == "defaulted"
    assert world.balances() == [1_000 - 50 - 101 + 51, 1_000 + 50, 1_000, 1_050]
    assert counters(world, "contracts_defaulted") == {"a": 1}


def test_a_buyer_that_cannot_pay_loses_part_of_its_collateral_to_the_seller(open_world):
    world, cid = core_world(open_world)
    world.turn({"b": [transfer("c", 740)]})
    world.rest()
    # b has 199 of 200. 61 × 5,000 // 10,000 = 30 to a, 31 back.
    assert world.contract(cid)["status"] == "defaulted"
    assert world.cores()[0] == "a"
    assert world.balances("a", "b") == [749 + 101 + 30, 199 + 31]
    assert counters(world, "contracts_defaulted") == {"b": 1}


def test_when_both_sides_fail_both_collaterals_return(open_world):
    world = open_world(THOUSAND, CORE)
    cid = world.sign_all(
        core_forward(1, 200, duration=1, proposer_collateral=101, counterparty_collateral=61)
    )
    world.turn({"b": [transfer("c", 740)]})
    assert world.contract(cid)["status"] == "defaulted"
    assert world.balances() == [950, 199 + 61, 1_740, 1_050]
    assert counters(world, "contracts_defaulted") == {"a": 1, "b": 1}


def test_a_seller_may_deliver_what_it_buys_until_the_due_turn(open_world):
    world = open_world(THOUSAND, CORE)
    cid = world.sign_all(core_forward(0, 200, duration=1))
    world.turn({"a": [bid(100)]})
    assert world.contract(cid)["status"] == "settled"
    assert world.cores()[0] == "b"


# -- forward of compute ----------------------------------------------------------------------------

METERED = {"commons_per_agent": 0, "core_count": 1}


def test_only_the_net_of_a_compute_forward_moves_to_the_seller(open_world):
    world = open_world(THOUSAND, METERED)
    world.turn({"a": [compute_forward(500, 200, duration=2, proposer_collateral=30)]})
    # Activation turn 2 itself does not count: only turns 3 and 4.
    world.turn(world.signatures("c1", compute_forward(500, 200)), tokens={"b": 7})
    world.turn(tokens={"b": 40, "c": 9})
    world.turn(tokens={"b": 60})
    # b was charged 100 in the window; it owes 200: the net of 100 goes to a.
    assert world.contract("c1")["status"] == "settled"
    assert world.balances() == [950 + 100, 1_000 - 107 - 100, 991, 1_050]
    world.rest()
    assert world.balances()[:2] == [1_050, 793]


def test_only_the_net_of_a_compute_forward_moves_to_the_buyer_up_to_the_cap(open_world):
    world = open_world(THOUSAND, METERED)
    cid = world.sign_all(compute_forward(450, 200, duration=1))
    world.turn(tokens={"b": 600})
    # min(450, 600) − 200 = 250 from a to b.
    assert world.contract(cid)["status"] == "settled"
    assert world.balances() == [950 - 250, 1_000 - 600 + 250, 1_000, 1_050]


def test_a_compute_forward_that_nets_to_nothing_settles(open_world):
    world = open_world(THOUSAND, METERED)
    cid = world.sign_all(compute_forward(200, 200, duration=1))
    world.turn(tokens={"b": 600})
    assert world.contract(cid)["status"] == "settled"
    assert world.balances() == [950, 400, 1_000, 1_050]


def test_the_debtor_of_the_net_defaults_like_a_borrower(open_world):
    world = open_world(THOUSAND, METERED)
    cid = world.sign_all(compute_forward(900, 100, duration=1, proposer_collateral=301))
    # a: 1,000 − 50 − 301 = 649, keeps 149. It owes 600 − 100 = 500: 149 from the balance, 301 of
    # collateral for the missing 351; 50 are lost to b.
    world.turn({"a": [transfer("c", 500)]}, tokens={"b": 600})
    assert world.contract(cid)["status"] == "defaulted"
    assert world.balances() == [0, 400 + 450, 1_500, 1_050]
    assert counters(world, "contracts_defaulted") == {"a": 1}


def test_a_compute_forward_counts_fees_not_tokens(open_world):
    world = open_world(THOUSAND, {**METERED, "inference_price_bps": 5_000})
    cid = world.sign_all(compute_forward(500, 100, duration=1))
    # 601 billed tokens are 300 of fees: the net of 200 goes to b.
    world.turn(tokens={"b": 601})
    assert world.contract(cid)["status"] == "settled"
    assert world.balances("a", "b") == [950 - 200, 1_000 - 300 + 200]


# -- service ---------------------------------------------------------------------------------------


def test_a_service_pays_as_soon_as_its_condition_is_met(open_world):
    world = open_world(THOUSAND)
    cid = world.sign_all(
        service(200, condition=SPOKE, proposer_collateral=20, counterparty_collateral=101)
    )
    assert world.balances() == [730, 899, 1_000, 750]
    world.turn({"b": [speak("Well DONE!")]})
    contract = world.contract(cid)
    assert (contract["status"], contract["ended_turn"]) == ("settled", 3)
    assert world.balances() == [750, 1_200, 1_000, 1_050]
    assert counters(world, "contracts_settled") == {"a": 1, "b": 1}


def test_a_service_not_rendered_by_its_due_turn_slashes_the_provider_for_the_client(open_world):
    world = open_world(THOUSAND)
    cid = world.sign_all(
        service(
            200, condition=SPOKE, duration=2, proposer_collateral=20, counterparty_collateral=101
        )
    )
    world.turn({"c": [speak("done")]})
    world.turn({"b": [speak("nearly")]})
    # Price back to a, 101 × 5,000 // 10,000 = 50 of b's collateral as well; 51 back to b.
    assert world.contract(cid)["status"] == "defaulted"
    assert world.balances() == [730 + 200 + 20 + 50, 899 + 51, 1_000, 1_050]
    assert counters(world, "contracts_defaulted") == {"b": 1}


def test_a_service_may_be_rendered_in_its_due_turn(open_world):
    world = open_world(THOUSAND)
    cid = world.sign_all(service(200, condition=SPOKE, duration=2))
    world.rest()
    world.turn({"b": [speak("done")]})
    assert world.contract(cid)["status"] == "settled"


def test_what_was_done_in_the_turn_of_activation_does_not_count(open_world):
    world = open_world(THOUSAND)
    proposal = service(200, condition=SPOKE, duration=1)
    world.turn({"a": [proposal]})
    signs = world.signatures("c1", proposal)
    world.turn({**signs, "b": [*signs["b"], speak("done")]})
    assert world.contract("c1")["status"] == "active"
    world.rest()
    assert world.contract("c1")["status"] == "defaulted"


# -- insurance -------------------------------------------------------------------------------------

POOR = {"type": "balance_below", "agent": "a", "amount": 500}


def test_a_triggered_insurance_pays_its_coverage(open_world):
    world = open_world(THOUSAND)
    cid = world.sign_all(insurance(20, 300, condition=POOR, counterparty_collateral=40))
    # a: 1,000 − 20 − 50; b: 1,000 − 300 − 40 + 20.
    assert world.balances() == [930, 680, 1_000, 750]
    world.turn({"a": [stake(431)]})
    assert world.contract(cid)["status"] == "settled"
    assert world.balances() == [499 + 300, 720, 1_000, 1_050]
    assert counters(world, "contracts_settled") == {"a": 1, "b": 1}


def test_an_insurance_without_its_event_returns_the_coverage(open_world):
    world = open_world(THOUSAND)
    cid = world.sign_all(insurance(20, 300, condition=POOR, duration=2, counterparty_collateral=40))
    world.turn({"a": [stake(430)]})
    assert world.contract(cid)["status"] == "active"
    world.rest()
    # a has exactly 500: not below.
    assert world.contract(cid)["status"] == "settled"
    assert world.balances() == [500, 680 + 300 + 40, 1_000, 1_050]
    assert counters(world, "contracts_defaulted") == {}


def test_an_insurer_may_propose(open_world):
    world = open_world(THOUSAND)
    world.sign_all(insurance(20, 300, insurer="proposer", condition=POOR, duration=1))
    assert world.balances() == [1_000 - 300 - 50 + 20, 980, 1_000, 750]
    # a itself falls to 499 by then: b is paid.
    world.turn({"a": [stake(171)]})
    assert world.balances() == [499, 1_280, 1_000, 1_050]


# -- information -----------------------------------------------------------------------------------


@pytest.mark.parametrize("proposal", [information(80), sell("b", "z", 80)], ids=["full", "short"])
def test_information_is_paid_for_and_settled_at_activation(open_world, proposal):
    world = open_world(THOUSAND)
    cid = world.sign_all(
        {**proposal, "proposer_collateral": 30, "counterparty_collateral": 10}, proposer="a"
    )
    contract = world.contract(cid)
    assert contract["contract_type"] == "information_sale"
    assert (contract["status"], contract["activated_turn"], contract["ended_turn"]) == (
        "settled",
        2,
        2,
    )
    assert world.balances() == [1_000 - 50 + 80, 920, 1_000, 1_050]
    assert counters(world, "contracts_settled") == {"a": 1, "b": 1}
    bought = {"contract_id": cid, "title": "a hint", "content": "the secret"}
    assert world.agent("b")["private"]["information"] == [bought]


def test_the_short_form_lasts_one_turn_and_sells_as_the_proposer(open_world):
    world = open_world(THOUSAND)
    cid = world.sign_all(sell("b", "z", 80, settlement="attested"))
    contract = world.contract(cid)
    assert (contract["proposer"], contract["counterparty"]) == ("a", "b")
    assert contract["terms"]["seller"] == "proposer"
    assert contract["due_turn"] == contract["activated_turn"] + 1
    assert contract["settlement"] == "attested"


def test_the_content_reaches_the_buyer_with_the_activation_and_nobody_else(open_world):
    world = open_world(THOUSAND)
    proposal = information(80, settlement="attested")
    world.turn({"a": [proposal]})
    assert world.agent("b")["private"]["information"] == []
    world.turn(world.signatures("c1", proposal))
    assert [i["content"] for i in world.agent("b")["private"]["information"]] == ["the secret"]
    assert world.agent("c")["private"]["information"] == []
    assert world.agent("z")["private"]["information"] == []


# -- the order of contracts ------------------------------------------------------------------------


def test_contracts_end_in_ascending_number_each_seeing_those_before(open_world):
    """b owes on two loans at once and can pay one and a half: the lower number comes first."""
    world = open_world(THOUSAND)
    world.turn({"a": [loan(100, 400, duration=1)], "c": [loan(100, 400, duration=1)]})
    lender = {world.contract(cid)["proposer"]: cid for cid in ("c1", "c2")}
    first, second = sorted(lender, key=lambda x: lender[x])
    signs = world.signatures("c1", loan(1, 1)), world.signatures("c2", loan(1, 1))
    world.turn({x: signs[0][x] + signs[1][x] for x in "bz"})
    # b: 1,000 + 200; keeps 600.
    world.turn({"b": [transfer("z", 600)]})
    assert world.contract("c1")["status"] == "settled"
    assert world.contract("c2")["status"] == "defaulted"
    assert world.balances(first, second, "b") == [850 + 400, 850 + 200, 0]


def test_a_repayment_can_fund_the_next_contract_of_the_same_turn(open_world):
    """c1 repays a, who can only then pay what it owes on c2."""
    one = loan(300, 330, duration=2)
    two = loan(100, 300, duration=1, counterparty="a")
    world = open_world({"a": 400, "b": 1_000, "c": 1_000, "z": 1_000})
    world.turn({"a": [one]})
    world.turn({**world.signatures("c1", one), "c": [two]})
    world.turn(world.signatures("c2", two))
    # a: 400 − 300 − 50 + 100 = 150. Both are due in turn 4: + 330 from c1, then − 300 for c2.
    world.rest()
    assert world.contract("c1")["status"] == "settled"
    assert world.contract("c2")["status"] == "settled"
    assert world.balance("a") == 180
