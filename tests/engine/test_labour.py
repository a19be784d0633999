"""Wages: rules §8."""

from __future__ import annotations

from tests.engine import oracle
from tests.engine.harness import job, study

ABC = ("a", "b", "c")


def test_wages_are_paid_in_full_while_the_fund_lasts(open_world):
    world = open_world(ABC, {"job_fund_per_agent": 10_000})
    # The fund is at least 10,000 × 3 × 2,000 // 10,000 = 6,000; due are 2 × 400.
    answer = world.turn({"a": [job()], "b": [job()]})
    assert world.balances() == [50_400, 50_400, 50_000]
    assert answer.supply["issued"] == 150_000 + 800


def test_the_fund_of_a_turn_follows_its_draw(open_world):
    world = open_world(ABC, {"job_fund_per_agent": 100}, seed="wages")
    # pick(16001, "labour", "wages", 1) = 8,547: 300 × 10,547 // 10,000 = 316.
    assert oracle.labour_fund("wages", 1, 3, 100) == 316
    world.rest()
    assert world.state()["job_fund"] == 316
    for turn in (2, 3, 4):
        world.rest()
        assert world.state()["job_fund"] == oracle.labour_fund("wages", turn, 3, 100)


def test_too_small_a_fund_is_apportioned_by_what_is_due(open_world):
    world = open_world(ABC, {"job_fund_per_agent": 100}, seed="wages")
    # c studies to level 1 in this turn: due 400, 400 and 400 × 12,500 // 10,000 = 500; the
    # fund is 316.
    # 316·400 = 126,400 = 97·1,300 + 300; 316·500 = 158,000 = 121·1,300 + 700. The odd unit
    # goes to c.
    answer = world.turn({"a": [job()], "b": [job()], "c": [job(), study()]})
    assert world.balances() == [50_097, 50_097, 50_000 - 200 + 122]
    assert answer.supply["issued"] == 150_000 + 316


def test_an_odd_unit_among_equals_goes_to_the_earlier_in_roster_order(open_world):
    world = open_world(ABC, {"job_fund_per_agent": 100}, seed="wages")
    world.rest(2)
    # Turn 3: 300 × 12,906 // 10,000 = 387 for two: 194 and 193.
    world.turn({"b": [job()], "a": [job()]})
    assert world.balances() == [50_194, 50_193, 50_000]


def test_study_raises_the_wage_by_its_bonus(open_world):
    world = open_world({"a": 10_000}, {"job_fund_per_agent": 10**6, "wage_bonus_bps": 1_234})
    world.turn({"a": [study(), study(), study()]})
    # Level 2 after 1,000 of tuition; 400 × (10,000 + 2·1,234) // 10,000 = 498 (4,987,200).
    world.turn({"a": [job()]})
    assert world.balance("a") == 9_000 + 498


def test_a_rejected_job_earns_nothing(open_world):
    world = open_world(ABC, {"job_fund_per_agent": 10_000, "action_points": 5})
    assert world.attempt({"a": [job(), job()]}).outcomes() == ["applied", "once_per_turn"]
    assert world.balance("a") == 50_400
