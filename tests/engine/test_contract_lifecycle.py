"""Proposing, signing, escrow, expiry and what stays on record: rules §10."""

from __future__ import annotations

import pytest

from tests.engine.harness import (
    compute_forward,
    confirm,
    core_forward,
    information,
    insurance,
    loan,
    pool,
    sell,
    service,
    sign,
    transfer,
)

THOUSAND = {"a": 1_000, "b": 1_000, "c": 1_000, "z": 1_000}
MET = {"type": "balance_at_least", "agent": "a", "amount": 1}


def test_contracts_are_numbered_in_the_order_of_proposal(open_world):
    world = open_world(THOUSAND)
    world.turn({"a": [loan(1, 1), loan(2, 2)]})
    world.turn({"b": [loan(3, 3, counterparty="a")]})
    assert [world.contract(f"c{i}")["terms"]["principal"] for i in (1, 2, 3)] == [1, 2, 3]


def test_a_proposal_takes_the_number_of_the_order_of_acting(open_world):
    world = open_world(THOUSAND)
    world.turn({"a": [loan(1, 1)], "b": [loan(2, 2, counterparty="a", fee=1)]})
    assert world.contract("c1")["proposer"] == "b"
    assert world.contract("c2")["proposer"] == "a"


def test_a_proposal_shows_all_its_parts(open_world):
    world = open_world(THOUSAND)
    world.rest()
    world.turn(
        {"a": [loan(300, 330, duration=4, proposer_collateral=7, counterparty_collateral=9)]}
    )
    contract = world.contract("c1")
    expected = {
        "contract_id": "c1",
        "contract_type": "loan",
        "settlement": "automatic",
        "status": "proposed",
        "proposer": "a",
        "counterparty": "b",
        "arbitrator": "z",
        "terms": {"lender": "proposer", "principal": 300, "repayment": 330},
        "signatures": {"a": 2},
        "proposed_turn": 2,
        "proposer_collateral": 7,
        "counterparty_collateral": 9,
        "arbitrator_collateral": 250,
        "arbitrator_fee": 50,
        # Principal 300, collateral 7, the arbitrator's fee 50.
        "escrow": 357,
    }
    assert {key: contract[key] for key in expected} == expected
    assert contract["activated_turn"] is None
    assert contract["due_turn"] is None
    assert contract["ended_turn"] is None
    assert world.balances() == [643, 1_000, 1_000, 1_000]


def test_each_signature_moves_what_its_role_owes_and_the_last_activates(open_world):
    world = open_world(THOUSAND)
    world.turn(
        {"a": [loan(300, 330, duration=4, proposer_collateral=7, counterparty_collateral=9)]}
    )
    world.turn({"z": [sign("c1", "arbitrator")]})
    assert world.contract("c1")["status"] == "proposed"
    assert world.contract("c1")["escrow"] == 357 + 250
    assert world.balance("z") == 750
    world.turn({"b": [sign("c1")]})
    contract = world.contract("c1")
    assert contract["status"] == "active"
    assert contract["signatures"] == {"a": 1, "z": 2, "b": 3}
    assert (contract["activated_turn"], contract["due_turn"]) == (3, 7)
    # The principal left for the borrower: 7 + 9 + 250 + 50 stay.
    assert contract["escrow"] == 316
    assert world.balances() == [643, 1_000 - 9 + 300, 1_000, 750]
    world.check_books()


def test_all_signatures_fit_into_one_turn_when_the_proposer_acts_first(open_world):
    world = open_world(THOUSAND)
    world.turn(
        {"a": [loan(300, 330, fee=3)], "b": [sign("c1", fee=2)], "z": [sign("c1", "arbitrator")]}
    )
    assert world.contract("c1")["status"] == "active"
    assert world.contract("c1")["activated_turn"] == 1


@pytest.mark.parametrize(
    ("proposal", "proposer_pays", "counterparty_pays"),
    [
        (loan(300, 330), 300, 0),
        (loan(300, 330, lender="counterparty"), 0, 300),
        (core_forward(0, 200), 0, 0),
        (compute_forward(100, 200, seller="counterparty"), 0, 0),
        (service(200), 200, 0),
        (service(200, provider="proposer"), 0, 200),
        (service(200, condition=MET), 200, 0),
        (insurance(20, 300), 20, 300),
        (insurance(20, 300, insurer="proposer"), 300, 20),
        (insurance(0, 300, condition=MET), 0, 300),
        (information(80), 0, 80),
        (information(80, settlement="attested"), 0, 80),
        (sell("b", "z", 80), 0, 80),
        (pool(["b"], ["mine"], "equal"), 0, 0),
    ],
    ids=lambda value: str(value.get("contract_type", "sell")) if isinstance(value, dict) else None,
)
def test_what_each_type_escrows_on_signing(open_world, proposal, proposer_pays, counterparty_pays):
    world = open_world(THOUSAND)
    collateral = 0 if proposal.get("contract_type") == "pool" else 40
    if collateral:
        proposal = {**proposal, "proposer_collateral": 40, "counterparty_collateral": 30}
    world.turn({"a": [proposal]})
    assert world.balance("a") == 1_000 - proposer_pays - 50 - collateral
    assert world.contract("c1")["escrow"] == proposer_pays + 50 + collateral
    # The counterparty signs alone, so that nothing activates yet.
    world.turn({"b": [sign("c1")]})
    assert world.balance("b") == 1_000 - counterparty_pays - (30 if collateral else 0)
    world.check_books()


def test_the_arbitrators_fee_and_collateral_may_be_agreed(open_world):
    world = open_world(THOUSAND)
    cid = world.sign_all(service(100, arbitrator_fee=0, arbitrator_collateral=600))
    assert world.balance("z") == 400
    assert world.balance("a") == 900
    world.turn({"a": [confirm(cid)]})
    assert world.balances() == [900, 1_100, 1_000, 1_000]


def test_an_automatic_contract_may_go_without_arbitrators_collateral(open_world):
    world = open_world(THOUSAND)
    world.sign_all(loan(10, 10, arbitrator_collateral=0))
    assert world.balance("z") == 1_000


def test_a_proposal_expires_at_the_end_of_its_window_and_everything_returns(open_world):
    world = open_world(THOUSAND)
    world.turn({"a": [loan(300, 330, proposer_collateral=7)]})
    world.turn({"z": [sign("c1", "arbitrator")]})
    world.rest()
    assert world.contract("c1")["status"] == "proposed"
    # Proposed in 1, window 3: the end of turn 4.
    world.rest()
    contract = world.contract("c1")
    assert (contract["status"], contract["ended_turn"], contract["escrow"]) == ("expired", 4, 0)
    assert world.balances() == [1_000] * 4
    assert world.attempt({"b": [sign("c1")]}).outcomes() == ["contract_not_open"]
    for x in "abz":
        assert world.agent(x)["contracts_defaulted"] == 0
        assert world.agent(x)["contracts_settled"] == 0


def test_the_last_turn_of_the_window_still_counts(open_world):
    world = open_world(THOUSAND)
    world.turn({"a": [loan(300, 330)]})
    world.turn({"z": [sign("c1", "arbitrator")]})
    world.rest()
    world.turn({"b": [sign("c1")]})
    contract = world.contract("c1")
    assert (contract["status"], contract["activated_turn"]) == ("active", 4)


def test_a_signature_that_cannot_be_paid_is_rejected_and_may_come_later(open_world):
    world = open_world({"a": 1_000, "b": 5, "z": 1_000})
    world.turn({"a": [service(100, counterparty_collateral=6)]})
    assert world.attempt({"b": [sign("c1")]}).outcomes() == ["insufficient_funds"]
    assert world.contract("c1")["signatures"] == {"a": 1}
    world.turn({"z": [transfer("b", 1), sign("c1", "arbitrator")]})
    world.turn({"b": [sign("c1")]})
    assert world.contract("c1")["status"] == "active"
    assert world.balance("b") == 0


def test_open_contracts_are_limited_for_the_proposer_from_the_proposal(open_world):
    world = open_world(THOUSAND, {"max_open_contracts": 2})
    answer = world.attempt({"a": [loan(1, 1), loan(1, 1), loan(1, 1)]})
    assert answer.outcomes() == ["applied", "applied", "too_many_contracts"]
    # They expire at the end of turn 1 + 3 and make room.
    world.rest(2)
    assert world.attempt({"a": [loan(1, 1)]}).outcomes() == ["too_many_contracts"]
    assert world.attempt({"a": [loan(1, 1)]}).outcomes() == ["applied"]


def test_open_contracts_are_limited_for_a_counterparty_from_its_signature(open_world):
    world = open_world(THOUSAND, {"max_open_contracts": 1})
    world.turn({"a": [loan(1, 1)], "c": [loan(1, 1)]})
    # Two proposals name b; only what b has signed counts, and its own proposal is free as well.
    assert world.attempt({"b": [sign("c1"), sign("c2")]}).outcomes() == [
        "applied",
        "too_many_contracts",
    ]


def test_an_arbitrator_may_serve_any_number_of_contracts(open_world):
    world = open_world({**THOUSAND, "z": 10_000}, {"max_open_contracts": 1})
    world.turn({"a": [loan(1, 1)], "c": [loan(1, 1)]})
    world.turn({"z": [sign("c1", "arbitrator"), sign("c2", "arbitrator")]})
    assert world.attempt({"z": [loan(1, 1, arbitrator="a")]}).outcomes() == ["applied"]


def test_a_contract_may_last_as_long_as_a_number_can_say(open_world):
    world = open_world(THOUSAND)
    cid = world.sign_all(loan(1, 1, duration=2**53 - 1))
    world.rest(3)
    assert world.contract(cid)["status"] == "active"
    assert world.contract(cid)["due_turn"] == 2 + 2**53 - 1


def test_ended_contracts_leave_the_state_and_stay_readable(open_world):
    world = open_world(THOUSAND)
    world.turn({"a": [loan(1, 1)]})
    assert [c["contract_id"] for c in world.state()["contracts"]] == ["c1"]
    world.rest(3)
    assert world.state()["contracts"] == []
    assert world.contract("c1")["status"] == "expired"
    assert world.rows("SELECT contract_id, status, proposer, counterparty FROM contracts") == [
        ("c1", "expired", "a", "b")
    ]
