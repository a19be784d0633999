"""Billing, dividends and suspension: rules §5."""

from __future__ import annotations

import pytest

from tests.engine.harness import bid, job, transfer

ABC = ("a", "b", "c")


def test_inference_within_the_commons_is_free_for_everybody(open_world):
    world = open_world(ABC, {"commons_per_agent": 100})
    # U = 300 = C = 3 × 100: nothing is billed, though a alone used three times its share.
    answer = world.turn(tokens={"a": 300})
    assert answer.billing["output_tokens"] == 300
    assert answer.billing["commons"] == 300
    assert answer.billing["billed_tokens"] == 0
    assert answer.billing["fees"] == 0
    assert world.balances() == [50_000] * 3


def test_one_token_over_the_commons_is_billed_to_the_one_who_overused(open_world):
    world = open_world(ABC, {"commons_per_agent": 100})
    answer = world.turn(tokens={"a": 101, "b": 100, "c": 100})
    assert answer.billing["billed_tokens"] == 1
    assert world.balances() == [49_999, 50_000, 50_000]


def test_excess_is_apportioned_by_overuse_and_the_odd_unit_goes_to_the_largest_remainder(
    open_world,
):
    world = open_world(ABC, {"commons_per_agent": 100})
    # U = 650, C = 300, excess 350. Overuse 300, 150, 0; W = 450.
    # a: 350·300 = 105,000 = 233·450 + 150; b: 350·150 = 52,500 = 116·450 + 300. The unit left
    # goes to b: 117.
    answer = world.turn(tokens={"a": 400, "b": 250})
    assert answer.billing["billed_tokens"] == 350
    assert answer.billing["fees"] == 350
    assert world.balances() == [50_000 - 233, 50_000 - 117, 50_000]
    rows = world.rows(
        "SELECT agent_id, output_tokens, billed_tokens, fee FROM inference ORDER BY agent_id"
    )
    assert rows[:2] == [("a", 400, 233, 233), ("b", 250, 117, 117)]


def test_equal_remainders_go_to_the_earlier_in_roster_order_not_in_the_request(open_world):
    world = open_world(ABC, {"commons_per_agent": 10})
    # U = 35, C = 30, excess 5; overuse 5 and 5: 2 each with remainder 5 each; the odd one to a.
    world.turn(tokens={"c": 5, "b": 15, "a": 15})
    assert world.balances() == [50_000 - 3, 50_000 - 2, 50_000]


def test_price_is_floored_for_each_agent(open_world):
    world = open_world(ABC, {"commons_per_agent": 100, "inference_price_bps": 12_345})
    # 233·12,345 // 10,000 = 287 (2,876,385); 117·12,345 // 10,000 = 144 (1,444,365).
    answer = world.turn(tokens={"a": 400, "b": 250})
    assert answer.billing["billed_tokens"] == 350
    assert answer.billing["fees"] == 287 + 144
    assert world.balances() == [50_000 - 287, 50_000 - 144, 50_000]


def test_absent_agents_count_for_the_commons(open_world):
    world = open_world(("a", "b", "c", "d"), {"commons_per_agent": 100})
    # C = 400 although three agents say nothing: U = 450 bills 50.
    assert world.turn(tokens={"a": 450}).billing["billed_tokens"] == 50


def test_billing_charges_even_into_debt(open_world):
    world = open_world({"a": 100, "b": 0, "c": 0}, {"commons_per_agent": 100})
    # 100 − 233 = −133; interest ceil(133·100 / 10,000) = ceil(1.33) = 2.
    world.turn(tokens={"a": 400, "b": 250})
    # b: 0 − 117 = −117; interest ceil(1.17) = 2.
    assert world.balances() == [-135, -119, 0]


def test_billing_comes_before_actions(open_world):
    world = open_world({"a": 100, "b": 0, "c": 0}, {"commons_per_agent": 0})
    answer = world.attempt({"a": [transfer("b", 51), transfer("b", 50)]}, tokens={"a": 50})
    assert answer.outcomes("a") == ["insufficient_funds", "applied"]


def test_dividends_pay_the_owner_destroy_the_rest_and_carry_the_remainder(open_world):
    world = open_world(ABC, {"commons_per_agent": 100, "core_reserve": 1_000})
    world.turn({"c": [bid(1_000)]})
    assert world.cores() == {0: "c", 1: None, 2: None, 3: None}
    assert world.balance("c") == 49_000
    # P = 350, q = 350 // 4 = 87; core 0 pays c 87, three unowned cores destroy 261, 2 stay.
    answer = world.turn(tokens={"a": 400, "b": 250})
    assert answer.billing["dividends"] == [{"core_id": 0, "owner": "c", "amount": 87}]
    assert world.balance("c") == 49_087
    assert world.state()["accounts"]["cores"] == 2
    assert answer.supply["destroyed"] == 1_000 + 261
    # P = 2, q = 0: nothing is paid, 2 stay.
    world.rest()
    assert world.state()["accounts"]["cores"] == 2
    # P = 2 + 350 = 352, q = 88, remainder 0.
    answer = world.turn(tokens={"a": 400, "b": 250})
    assert answer.billing["dividends"] == [{"core_id": 0, "owner": "c", "amount": 88}]
    assert world.balance("c") == 49_175
    assert world.state()["accounts"]["cores"] == 0
    assert answer.supply["destroyed"] == 1_261 + 3 * 88


def test_a_core_bought_this_turn_earns_this_turns_dividend(open_world):
    world = open_world(ABC, {"commons_per_agent": 100, "core_reserve": 1_000, "core_count": 1})
    # One core: P = 350 and q is all of it.
    world.turn({"c": [bid(1_000)]}, tokens={"a": 400, "b": 250})
    assert world.balance("c") == 50_000 - 1_000 + 350


def test_each_core_of_one_owner_pays(open_world):
    world = open_world(ABC, {"commons_per_agent": 100, "core_reserve": 1_000})
    world.turn({"c": [bid(1_000, 2)], "b": [bid(1_000)]})
    owners = world.cores()
    answer = world.turn(tokens={"a": 400, "b": 250})
    assert [(d["core_id"], d["owner"], d["amount"]) for d in answer.billing["dividends"]] == [
        (core_id, owner, 87) for core_id, owner in owners.items() if owner
    ]
    assert world.balance("c") == 48_000 + 174


@pytest.mark.parametrize(
    ("start", "balance", "suspended"),
    [
        # −99 − ceil(0.99) = −100, which is the limit itself.
        (1, -100, False),
        # −100 − ceil(1.00) = −101 is below the limit of 100.
        (0, -101, True),
    ],
)
def test_an_agent_below_minus_the_credit_limit_is_suspended(open_world, start, balance, suspended):
    world = open_world({"a": start, "b": 0}, {"commons_per_agent": 0, "credit_limit": 100})
    world.turn(tokens={"a": 100})
    assert world.balance("a") == balance
    assert world.agent("a")["suspended"] is suspended
    assert [x["suspended"] for x in world.state()["agents"]] == [suspended, False]


def test_a_suspended_agent_works_itself_out(open_world):
    world = open_world(
        {"a": 0, "b": 0},
        {"commons_per_agent": 0, "credit_limit": 100, "job_fund_per_agent": 10_000},
    )
    world.turn(tokens={"a": 500})
    # −500, interest on no more than the limit: ceil(100·1%) = 1.
    assert world.balance("a") == -501
    assert world.agent("a")["suspended"] is True
    world.turn({"a": [job()]})
    # −501 + 400 = −101; interest ceil(min(101, 100)·1%) = 1: −102, still suspended.
    assert (world.balance("a"), world.agent("a")["suspended"]) == (-102, True)
    world.turn({"a": [job()]})
    assert (world.balance("a"), world.agent("a")["suspended"]) == (298, False)
