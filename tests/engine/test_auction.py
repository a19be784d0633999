"""The auction of compute cores: rules §7."""

from __future__ import annotations

from tests.engine import oracle
from tests.engine.harness import bid

ABC = ("a", "b", "c")
CHEAP = {"core_reserve": 100}


def test_winners_pay_the_highest_losing_bid(open_world):
    world = open_world(ABC, CHEAP)
    # Unit bids: 300 300 300 (a), 200 | 200 (b), 150 (c). Four cores: the price is the losing 200.
    answer = world.turn({"a": [bid(300, 3)], "b": [bid(200, 2)], "c": [bid(150)]})
    assert world.cores() == {0: "a", 1: "a", 2: "a", 3: "b"}
    assert world.balances() == [50_000 - 3 * 200, 50_000 - 200, 50_000]
    assert answer.supply["destroyed"] == 4 * 200


def test_the_reserve_is_the_price_when_cores_are_left(open_world):
    world = open_world(ABC, CHEAP)
    world.turn({"a": [bid(999)], "b": [bid(500)]})
    assert world.cores() == {0: "a", 1: "b", 2: None, 3: None}
    assert world.balances() == [49_900, 49_900, 50_000]


def test_the_reserve_is_the_price_when_bids_exactly_fill_the_cores(open_world):
    world = open_world(ABC, CHEAP)
    world.turn({"a": [bid(400, 4)]})
    assert world.balances() == [50_000 - 4 * 100, 50_000, 50_000]


def test_what_is_left_is_sold_in_a_later_turn_in_ascending_ids(open_world):
    world = open_world(ABC, CHEAP)
    world.turn({"b": [bid(100)]})
    world.rest()
    # Three are left; c outbids a; prices: the reserve, as only three unit bids stand.
    world.turn({"a": [bid(100, 2)], "c": [bid(120)]})
    assert world.cores() == {0: "b", 1: "c", 2: "a", 3: "a"}
    assert world.balances() == [49_800, 49_900, 49_900]


def test_ties_are_broken_by_the_lower_draw_of_each_unit_bid(open_world):
    world = open_world(ABC, CHEAP, seed="auction")
    units = [(agent, k) for agent in "ab" for k in range(4)]
    by_draw = sorted(units, key=lambda unit: oracle.draw("bid", "auction", 1, *unit))
    # The draws order them a0 < b3 < a1 < b2 < a3 < b1 < b0 < a2.
    assert by_draw[:4] == [("a", 0), ("b", 3), ("a", 1), ("b", 2)]
    world.turn({"b": [bid(200, 4)], "a": [bid(200, 4)]})
    assert world.cores() == {0: "a", 1: "b", 2: "a", 3: "b"}
    assert world.balances() == [49_600, 49_600, 50_000]


def test_unit_bids_are_numbered_through_all_bids_of_an_agent(open_world):
    world = open_world(ABC, {"core_reserve": 100, "core_count": 3}, seed="auction")
    # a0 bids 300; at 200 stand a1 a2 b0 b1, whose draws order them a1 < b1 < b0 < a2.
    world.turn({"a": [bid(300), bid(200, 2)], "b": [bid(200, 2)]})
    assert world.cores() == {0: "a", 1: "a", 2: "b"}
    # Price 200 (b0 lost): a pays 400 of the 700 held, b pays 200 of 400.
    assert world.balances() == [49_600, 49_800, 50_000]


def test_bids_are_held_so_the_same_tokens_cannot_bid_twice(open_world):
    world = open_world({"a": 500, "b": 0}, CHEAP)
    answer = world.attempt({"a": [bid(200, 2), bid(101), bid(100)]})
    assert answer.outcomes() == ["applied", "insufficient_funds", "applied"]
    # Three unit bids for four cores: the reserve.
    assert world.balances() == [200, 0]


def test_a_losing_bid_returns_in_full(open_world):
    world = open_world({"a": 500, "b": 500}, {"core_reserve": 100, "core_count": 1})
    world.turn({"a": [bid(400)], "b": [bid(300)]})
    assert world.cores() == {0: "a"}
    assert world.balances() == [200, 500]
    assert world.rows("SELECT COUNT(*) FROM entries WHERE target LIKE 'bid:%'") == [(2,)]


def test_the_reserve_applies_to_each_bid(open_world):
    world = open_world(ABC, CHEAP)
    assert world.attempt({"a": [bid(99), bid(100)]}).outcomes() == ["below_reserve", "applied"]


def test_nothing_is_for_sale_once_all_cores_are_sold(open_world):
    world = open_world(ABC, CHEAP)
    world.turn({"a": [bid(100, 4)]})
    assert world.attempt({"b": [bid(100)]}).outcomes() == ["no_core_for_sale"]
