"""Attested ends: confirmations, disputes, rulings, lapses; rules §10.

Everybody starts with 1,000. The standing example is a service: a, the client, proposes; b, the
provider, signs; price 200, a's collateral 41, b's 101, the arbitrator's 251, its fee 50. After
activation in turn 2: a 1,000 − 200 − 41 − 50 = 709, b 899, z 749.
"""

from __future__ import annotations

import pytest

from tests.engine.harness import confirm, dispute, information, insurance, rule, service

THOUSAND = {"a": 1_000, "b": 1_000, "c": 1_000, "z": 1_000}
COUNTERS = (
    "contracts_settled",
    "contracts_defaulted",
    "disputes_lost",
    "rulings_made",
    "rulings_missed",
)


def counts(world) -> dict[str, dict[str, int]]:
    """The public counts that are not zero, by agent."""
    every = {x: world.agent(x) for x in world.roster}
    shown = {x: {name: view[name] for name in COUNTERS if view[name]} for x, view in every.items()}
    return {x: own for x, own in shown.items() if own}


def started(open_world, *, price=200, duration=3, **config):
    world = open_world(THOUSAND, config)
    cid = world.sign_all(
        service(
            price,
            duration=duration,
            proposer_collateral=41,
            counterparty_collateral=101,
            arbitrator_collateral=251,
        )
    )
    assert world.balances() == [909 - price, 899, 1_000, 749]
    assert world.contract(cid)["escrow"] == price + 41 + 101 + 251 + 50
    return world, cid


def ended(world, cid, status, turn):
    contract = world.contract(cid)
    assert (contract["status"], contract["ended_turn"], contract["escrow"]) == (status, turn, 0)
    world.check_books()


# -- confirmation ----------------------------------------------------------------------------------


def test_the_payers_confirmation_alone_settles_at_once(open_world):
    world, cid = started(open_world)
    world.turn({"a": [confirm(cid)]})
    ended(world, cid, "settled", 3)
    assert world.balances() == [750, 1_200, 1_000, 1_050]
    assert counts(world) == {"a": {"contracts_settled": 1}, "b": {"contracts_settled": 1}}


def test_both_confirmations_settle_at_once(open_world):
    world, cid = started(open_world)
    world.turn({"b": [confirm(cid)]})
    assert world.contract(cid)["status"] == "active"
    world.turn({"a": [confirm(cid)]})
    ended(world, cid, "settled", 4)
    assert world.balances() == [750, 1_200, 1_000, 1_050]


def test_the_payees_confirmation_by_the_due_turn_settles_after_the_attestation_window(open_world):
    world, cid = started(open_world, duration=2)
    assert world.contract(cid)["due_turn"] == 4
    world.rest()
    world.turn({"b": [confirm(cid)]})
    # Due in 4, attest_window 2: the end of turn 6.
    world.rest()
    assert world.contract(cid)["status"] == "active"
    world.rest()
    ended(world, cid, "settled", 6)
    assert world.balances() == [750, 1_200, 1_000, 1_050]
    assert counts(world) == {"a": {"contracts_settled": 1}, "b": {"contracts_settled": 1}}


def test_silence_is_the_payees_default(open_world):
    world, cid = started(open_world, duration=2)
    world.rest(4)
    ended(world, cid, "defaulted", 6)
    # a: 709 + 200 + 41 + 50 (101 × 5,000 // 10,000); b: 899 + 51.
    assert world.balances() == [1_000, 950, 1_000, 1_050]
    assert counts(world) == {"b": {"contracts_defaulted": 1}}


def test_a_payees_confirmation_after_the_due_turn_is_applied_without_effect(open_world):
    world, cid = started(open_world, duration=2)
    world.rest(2)
    assert world.now == 4
    world.turn({"b": [confirm(cid)]})
    world.rest()
    ended(world, cid, "defaulted", 6)
    assert world.balances() == [1_000, 950, 1_000, 1_050]


def test_the_payer_may_confirm_until_the_end_of_the_window(open_world):
    world, cid = started(open_world, duration=2)
    world.rest(3)
    world.turn({"a": [confirm(cid)]})
    ended(world, cid, "settled", 6)


def test_a_provider_may_be_the_proposer(open_world):
    world = open_world(THOUSAND)
    cid = world.sign_all(service(200, provider="proposer", proposer_collateral=41))
    assert world.balances() == [909, 800, 1_000, 750]
    world.turn({"a": [confirm(cid)]})
    assert world.contract(cid)["status"] == "active"
    world.turn({"b": [confirm(cid)]})
    assert world.balances() == [1_150, 800, 1_000, 1_050]


# -- disputes and rulings --------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["a", "b"])
def test_either_party_may_dispute_while_active(open_world, who):
    world, cid = started(open_world)
    world.turn({who: [dispute(cid, "no good")]})
    contract = world.contract(cid)
    assert contract["status"] == "disputed"
    assert contract["ended_turn"] is None
    assert contract["escrow"] == 643
    assert contract["dispute"] == {"by": who, "turn": 3, "reason": "no good"}
    assert [c["contract_id"] for c in world.state()["contracts"]] == [cid]


def test_a_dispute_is_open_to_the_last_turn_of_the_attestation_window(open_world):
    world, cid = started(open_world, duration=2)
    world.rest(3)
    world.turn({"a": [dispute(cid)]})
    assert (world.now, world.contract(cid)["status"]) == (6, "disputed")


@pytest.mark.parametrize(
    ("ruling", "balances", "loser"),
    [
        # Pot 200 and 50 of b's 101 → a; b 51 back: a 709 + 200 + 41 + 50, b 899 + 51.
        ("proposer", [1_000, 950], "b"),
        # Pot 200 and 20 of a's 41 → b; a 21 back: a 709 + 21, b 899 + 101 + 200 + 20.
        ("counterparty", [730, 1_220], "a"),
    ],
)
def test_a_ruling_gives_the_pot_and_a_slash_of_the_losers_collateral_to_the_winner(
    open_world, ruling, balances, loser
):
    world, cid = started(open_world)
    world.turn({"a": [dispute(cid)]})
    world.turn({"z": [rule(cid, ruling, reason="I looked")]})
    ended(world, cid, "ruled", 4)
    assert world.contract(cid)["ruling"] == {"ruling": ruling, "turn": 4, "reason": "I looked"}
    assert world.balances() == [*balances, 1_000, 1_050]
    assert counts(world) == {loser: {"disputes_lost": 1}, "z": {"rulings_made": 1}}


@pytest.mark.parametrize(
    ("price", "client", "provider"),
    [
        # Half each: 100 and 100.
        (200, 709 + 41 + 100, 899 + 101 + 100),
        # 201: the odd token to the payer.
        (201, 708 + 41 + 101, 899 + 101 + 100),
    ],
)
def test_a_split_halves_the_pot_and_returns_collaterals(open_world, price, client, provider):
    world, cid = started(open_world, price=price)
    world.turn({"b": [dispute(cid)]})
    world.turn({"z": [rule(cid, "split")]})
    ended(world, cid, "ruled", 4)
    assert world.balances() == [client, provider, 1_000, 1_050]
    assert counts(world) == {"z": {"rulings_made": 1}}


def test_the_odd_token_of_a_split_goes_to_the_payer_also_when_it_is_the_counterparty(open_world):
    world = open_world(THOUSAND)
    cid = world.sign_all(service(201, provider="proposer"))
    world.turn({"a": [dispute(cid)]})
    world.turn({"z": [rule(cid, "split")]})
    assert world.balances() == [950 + 100, 799 + 101, 1_000, 1_050]


def test_a_ruling_may_come_in_the_last_turn_of_its_window(open_world):
    world, cid = started(open_world)
    world.turn({"a": [dispute(cid)]})
    # Disputed in turn 3, ruling_window 3: through turn 6.
    world.rest(2)
    world.turn({"z": [rule(cid, "counterparty")]})
    ended(world, cid, "ruled", 6)


def test_an_arbitrator_that_fails_to_rule_loses_its_collateral_to_the_parties(open_world):
    world, cid = started(open_world)
    world.turn({"a": [dispute(cid)]})
    world.rest(2)
    assert world.contract(cid)["status"] == "disputed"
    answer = world.rest()
    ended(world, cid, "lapsed", 6)
    # 251 → 125 each, one destroyed; fee and pot to a, collaterals back.
    assert world.balances() == [709 + 50 + 200 + 41 + 125, 899 + 101 + 125, 1_000, 749]
    assert answer.supply["destroyed"] == 1
    assert counts(world) == {"z": {"rulings_missed": 1}}


def test_a_lapse_returns_the_fee_to_the_proposer_and_the_pot_to_the_payer(open_world):
    world = open_world(THOUSAND)
    cid = world.sign_all(service(200, provider="proposer"))
    world.turn({"a": [dispute(cid)]})
    world.rest(3)
    # a, the provider, has its 50 back; b, the client, its 200; the 250 of z go half each.
    assert world.contract(cid)["status"] == "lapsed"
    assert world.balances() == [1_125, 1_125, 1_000, 750]


def test_a_dispute_after_the_payees_confirmation_is_still_a_dispute(open_world):
    world, cid = started(open_world)
    world.turn({"b": [confirm(cid)]})
    world.turn({"a": [dispute(cid)]})
    world.rest(3)
    assert world.contract(cid)["status"] == "lapsed"


def test_a_dispute_and_its_ruling_fit_into_one_turn(open_world):
    world, cid = started(open_world)
    world.turn({"z": [rule(cid, "split")], "a": [dispute(cid, fee=1)]})
    ended(world, cid, "ruled", 3)


def test_a_confirmation_fits_into_the_turn_of_activation(open_world):
    world = open_world(THOUSAND)
    proposal = service(200)
    world.turn({"a": [proposal]})
    signs = {x: [{**acts[0], "fee": 1}] for x, acts in world.signatures("c1", proposal).items()}
    world.turn({**signs, "a": [confirm("c1")]})
    ended(world, "c1", "settled", 2)


# -- insurance -------------------------------------------------------------------------------------


def insured(open_world, **more):
    """b insures a: premium 20, coverage 300, collaterals 31 and 41.

    a: 1,000 − 20 − 50 − 31 = 899; b: 1,000 − 300 − 41 + 20 = 679.
    """
    world = open_world(THOUSAND)
    cid = world.sign_all(
        insurance(20, 300, duration=2, proposer_collateral=31, counterparty_collateral=41, **more)
    )
    assert world.balances() == [899, 679, 1_000, 750]
    return world, cid


def test_an_insurer_that_confirms_pays_out(open_world):
    world, cid = insured(open_world)
    world.turn({"b": [confirm(cid)]})
    ended(world, cid, "settled", 3)
    assert world.balances() == [899 + 31 + 300, 679 + 41, 1_000, 1_050]
    assert counts(world) == {"a": {"contracts_settled": 1}, "b": {"contracts_settled": 1}}


def test_the_insureds_own_confirmation_pays_nothing(open_world):
    world, cid = insured(open_world)
    world.turn({"a": [confirm(cid)]})
    world.rest(3)
    # Due in 4, window 2: coverage back at the end of 6, nothing slashed.
    ended(world, cid, "settled", 6)
    assert world.balances() == [930, 679 + 300 + 41, 1_000, 1_050]


def test_an_insurance_without_a_claim_ends_settled(open_world):
    world, cid = insured(open_world)
    world.rest(3)
    assert world.contract(cid)["status"] == "active"
    world.rest()
    ended(world, cid, "settled", 6)
    assert world.balances() == [930, 1_020, 1_000, 1_050]
    assert counts(world) == {"a": {"contracts_settled": 1}, "b": {"contracts_settled": 1}}


@pytest.mark.parametrize(
    ("ruling", "balances", "loser"),
    [
        # a 899 + 31 + 300 + 20 (41 × 5,000 // 10,000); b 679 + 21.
        ("proposer", [1_250, 700], "b"),
        # b 679 + 41 + 300 + 15 (31 × 5,000 // 10,000); a 899 + 16.
        ("counterparty", [915, 1_035], "a"),
        # a 899 + 31 + 150; b 679 + 41 + 150.
        ("split", [1_080, 870], None),
    ],
)
def test_a_claim_is_a_dispute_by_the_insured(open_world, ruling, balances, loser):
    world, cid = insured(open_world)
    world.turn({"a": [dispute(cid, "it happened")]})
    world.turn({"z": [rule(cid, ruling)]})
    ended(world, cid, "ruled", 4)
    assert world.balances() == [*balances, 1_000, 1_050]
    lost = {loser: {"disputes_lost": 1}} if loser else {}
    assert counts(world) == {**lost, "z": {"rulings_made": 1}}


def test_a_claim_that_nobody_rules_on_returns_the_coverage_to_the_insurer(open_world):
    world, cid = insured(open_world)
    world.turn({"a": [dispute(cid)]})
    world.rest(3)
    ended(world, cid, "lapsed", 6)
    assert world.balances() == [899 + 31 + 50 + 125, 679 + 41 + 300 + 125, 1_000, 750]


# -- information -----------------------------------------------------------------------------------


def test_attested_information_ends_as_a_service_does(open_world):
    def sold():
        world = open_world(THOUSAND)
        # a sells to b for 80, collateral 31: a 919, b 920.
        return world, world.sign_all(
            information(80, settlement="attested", duration=1, proposer_collateral=31)
        )

    world, cid = sold()
    world.turn({"b": [confirm(cid)]})
    ended(world, cid, "settled", 3)
    assert world.balances() == [919 + 31 + 80, 920, 1_000, 1_050]

    world, cid = sold()
    world.turn({"a": [confirm(cid)]})
    world.rest(2)
    ended(world, cid, "settled", 5)
    assert world.balances() == [1_030, 920, 1_000, 1_050]

    world, cid = sold()
    world.rest(3)
    ended(world, cid, "defaulted", 5)
    # 31 × 5,000 // 10,000 = 15 to b.
    assert world.balances() == [919 + 16, 920 + 80 + 15, 1_000, 1_050]
    assert counts(world) == {"a": {"contracts_defaulted": 1}}

    world, cid = sold()
    world.turn({"b": [dispute(cid)]})
    shown = world.agent("z")["private"]["information"]
    assert [i["content"] for i in shown] in ([], ["the secret"])
    world.turn({"z": [rule(cid, "counterparty")]})
    ended(world, cid, "ruled", 4)
    assert world.balances() == [935, 1_015, 1_000, 1_050]


# -- what is on show -------------------------------------------------------------------------------


def test_confirmations_are_public(open_world):
    world, cid = started(open_world)
    assert not world.contract(cid)["confirmations"]
    world.turn({"b": [confirm(cid)]})
    assert "b" in world.contract(cid)["confirmations"]
    assert "a" not in world.contract(cid)["confirmations"]


def test_two_contracts_are_counted_one_by_one(open_world):
    world = open_world(THOUSAND, {"min_arbitrator_collateral": 10})
    one = world.sign_all(service(10))
    two = world.sign_all(service(10))
    world.turn({"a": [confirm(one), confirm(two)]})
    assert counts(world) == {"a": {"contracts_settled": 2}, "b": {"contracts_settled": 2}}
