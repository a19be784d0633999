"""What each action does, who acts first, and what fees buy: rules §6."""

from __future__ import annotations

import pytest

from tests.engine import oracle
from tests.engine.harness import (
    bid,
    burn,
    confirm,
    dispute,
    insurance,
    job,
    loan,
    mine,
    rule,
    sell,
    service,
    sign,
    speak,
    stake,
    study,
    transfer,
    unstake,
)

FIVE = ("a", "b", "c", "d", "e")


def said_by(world) -> list[str]:
    return [agent for agent, _ in world.speech(world.now)]


# -- order and fees --------------------------------------------------------------------------------


def test_higher_sum_of_fees_acts_first(open_world):
    world = open_world(FIVE)
    # Sums: a 0, b 7, c 3 + 5 = 8, d 1, e 2.
    fees = {"a": [0], "b": [7], "c": [3, 5], "d": [1], "e": [2]}
    world.turn({x: [speak(x, fee=fee) for fee in own] for x, own in fees.items()})
    assert said_by(world) == ["c", "c", "b", "e", "d", "a"]
    assert world.state()["fees"] == 7 + 8 + 1 + 2


def test_equal_fees_are_ordered_by_the_lower_draw_of_the_turn(open_world):
    world = open_world(FIVE, seed="order")
    for turn in (1, 2, 3):
        world.turn({x: [speak(x, fee=4)] for x in FIVE})
        expected = oracle.by_draw(FIVE, "order", "order", turn)
        assert said_by(world) == expected


def test_an_agents_own_actions_keep_the_order_of_the_request(open_world):
    world = open_world({"a": 10, "b": 0})
    answer = world.attempt({"a": [transfer("b", 11), transfer("b", 4), transfer("b", 7)]})
    assert answer.outcomes() == ["insufficient_funds", "applied", "insufficient_funds"]
    assert world.balances() == [6, 4]


def test_whoever_acts_later_can_spend_what_the_earlier_one_sent(open_world):
    world = open_world({"a": 101, "b": 0, "c": 0})
    answer = world.attempt({"b": [transfer("c", 100)], "a": [transfer("b", 100, fee=1)]})
    assert answer.outcomes("b") == ["applied"]
    assert world.balances() == [0, 0, 100]


def test_fees_are_collected_before_anybody_acts(open_world):
    world = open_world({"a": 1_000, "b": 3, "c": 0})
    # a acts first and sends b 10, too late for b's fee of 4, which was asked for before.
    answer = world.attempt({"b": [speak("x", fee=4)], "a": [transfer("b", 10, fee=9)]})
    assert answer.outcomes("b") == ["insufficient_funds"]
    assert world.balances() == [981, 13, 0]
    assert world.state()["fees"] == 9


def test_a_fee_is_paid_whether_the_action_succeeds_or_not(open_world):
    world = open_world({"a": 100, "b": 0})
    answer = world.attempt({"a": [transfer("nobody", 1, fee=9)]})
    assert answer.outcomes() == ["unknown_agent"]
    assert world.balances() == [91, 0]
    assert world.state()["fees"] == 9


def test_an_agent_that_cannot_pay_its_sum_of_fees_pays_nothing_and_counts_as_zero(open_world):
    world = open_world({"a": 11, "b": 100, "c": 100})
    # 6 + 6 = 12 > 11: both actions with a fee fall, the one without is applied, after b who paid 1.
    answer = world.attempt(
        {
            "a": [speak("one", fee=6), speak("free"), transfer("b", 1, fee=6)],
            "b": [speak("b", fee=1)],
        }
    )
    assert answer.outcomes("a") == ["insufficient_funds", "applied", "insufficient_funds"]
    assert world.balances() == [11, 99, 100]
    assert world.speech(1) == [("b", "b"), ("a", "free")]
    assert world.state()["fees"] == 1


def test_an_agent_in_debt_can_do_all_that_costs_nothing(open_world):
    config = {"commons_per_agent": 0, "job_fund_per_agent": 10_000, "mine_reward": 0}
    world = open_world({"a": 0, "b": 0}, config)
    answer = world.attempt(
        {"a": [speak("broke"), job(), mine(), transfer("b", 1)]}, tokens={"a": 10}
    )
    assert answer.outcomes() == ["applied", "applied", "applied", "insufficient_funds"]
    # −10 + 400 (the wage comes in a later phase), no debt is left for interest.
    assert world.balance("a") == 390


def test_points_are_spent_by_applied_actions_only(open_world):
    world = open_world({"a": 1_000, "b": 0}, {"action_points": 2})
    answer = world.attempt(
        {"a": [transfer("b", 9_999), transfer("nobody", 1), mine(), transfer("b", 1)]}
    )
    assert answer.outcomes() == [
        "insufficient_funds",
        "unknown_agent",
        "applied",
        "action_points_exhausted",
    ]


@pytest.mark.parametrize(
    ("costs", "one"),
    [
        (2, mine()),
        (1, stake(1)),
        (1, burn(1)),
        (2, study()),
        (1, transfer("b", 1)),
        (0, speak("x")),
    ],
)
def test_each_action_costs_its_points(open_world, costs, one):
    world = open_world(config={"action_points": 4, "speech_per_turn": 100})
    fill = [stake(1)] * (4 - costs)
    answer = world.attempt({"a": [*fill, one, stake(1)]})
    # Were it cheaper, a point would be left for the last action; were it dearer, it would not
    # fit itself.
    assert answer.outcomes()[-2:] == ["applied", "action_points_exhausted"]


def test_job_costs_two_points(open_world):
    world = open_world(config={"action_points": 2})
    assert world.attempt({"a": [stake(1), job()]}).outcomes() == [
        "applied",
        "action_points_exhausted",
    ]
    assert world.attempt({"a": [job(), stake(1)]}).outcomes() == [
        "applied",
        "action_points_exhausted",
    ]


def test_contract_actions_cost_their_points(open_world):
    """One to propose, sign, sell or bid; none to confirm, dispute or rule."""
    world = open_world(("a", "b", "z"), {"action_points": 1, "core_reserve": 1})

    def costs_one(agent, one):
        answer = world.attempt({agent: [one, stake(1)]})
        assert answer.outcomes(agent) == ["applied", "action_points_exhausted"], one

    def costs_none(agent, one):
        assert world.attempt({agent: [stake(1), one]}).outcomes(agent) == ["applied"] * 2, one

    costs_one("a", service(1, duration=9))
    costs_one("b", sign("c1"))
    costs_one("z", sign("c1", "arbitrator"))
    costs_none("b", confirm("c1"))
    costs_none("a", dispute("c1"))
    costs_none("z", rule("c1", "split"))
    costs_one("a", sell("b", "z", 1))
    costs_one("a", bid(1))


def test_a_rejected_job_or_speech_does_not_count_as_this_turns(open_world):
    world = open_world({"a": 5, "b": 0}, {"speech_per_turn": 1, "max_message_chars": 3})
    answer = world.attempt({"a": [job(fee=9), speak("long"), job(), speak("yes"), speak("no")]})
    assert answer.outcomes() == [
        "insufficient_funds",
        "too_long",
        "applied",
        "applied",
        "speech_limit",
    ]


def test_fees_of_queued_actions_count_for_the_order_and_are_paid_with_the_others(open_world):
    world = open_world(("a", "b", "c"))
    queued = {"agent_id": "b", "actions": [speak("queued", fee=5)]}
    assert world.client.post("/actions", json=queued).status_code == 202
    world.turn({"a": [speak("a", fee=4)], "b": [speak("own")], "c": [speak("c", fee=3)]})
    assert world.speech(1) == [("b", "own"), ("b", "queued"), ("a", "a"), ("c", "c")]
    assert world.state()["fees"] == 12


HUGE = 2**53 - 1


@pytest.mark.parametrize(
    "one",
    [
        bid(HUGE, 4),
        stake(HUGE),
        burn(HUGE),
        transfer("b", HUGE),
        loan(HUGE, HUGE, proposer_collateral=HUGE, arbitrator_fee=HUGE),
        insurance(HUGE, HUGE, arbitrator_collateral=HUGE, proposer_collateral=HUGE),
        sell("b", "z", HUGE, proposer_collateral=HUGE, arbitrator_fee=HUGE),
    ],
    ids=lambda one: one["type"],
)
def test_the_largest_amounts_are_unaffordable_and_no_fault(open_world, one):
    world = open_world(("a", "b", "z"))
    assert world.refused("a", one)["code"] == "insufficient_funds"
    world.check_books()


def test_a_sum_of_fees_beyond_all_bounds_is_unaffordable(open_world):
    world = open_world(("a", "b"))
    answer = world.attempt({"a": [speak("x", fee=HUGE), mine(fee=HUGE), stake(1)]})
    assert answer.outcomes() == ["insufficient_funds", "insufficient_funds", "applied"]


def test_receipts_keep_the_order_of_the_request_whoever_acts_first(open_world):
    world = open_world(FIVE)
    answer = world.turn(
        {"e": [speak("1"), mine()], "a": [speak("2", fee=50)], "c": [stake(1, fee=3)]}
    )
    assert [(r["agent_id"], r["index"], r["type"]) for r in answer.receipts()] == [
        ("e", 0, "speak"),
        ("e", 1, "mine"),
        ("a", 0, "speak"),
        ("c", 0, "stake"),
    ]


# -- transfer --------------------------------------------------------------------------------------


def test_transfer_moves_exactly_the_amount_and_may_empty_the_balance(open_world):
    world = open_world({"a": 50, "b": 7})
    world.turn({"a": [transfer("b", 50, memo="all of it")]})
    assert world.balances() == [0, 57]
    assert ("agent:a", "agent:b", 50) in world.entries(1)


# -- stake -----------------------------------------------------------------------------------------


def test_stake_locks_tokens_from_this_turn_on(open_world):
    world = open_world({"a": 1_000, "b": 0})
    world.rest(2)
    world.turn({"a": [stake(300)]})
    agent = world.agent("a")
    assert (agent["balance"], agent["staked"], agent["stake_since"]) == (700, 300, 3)


def test_adding_to_a_stake_dilutes_its_age(open_world):
    world = open_world({"a": 1_000, "b": 0})
    world.turn({"a": [stake(100)]})
    world.rest_until(5)
    # T = 6: a = min(6 − 1, 10) = 5; a' = 100·5 // 150 = 3; stake_since = 6 − 3.
    world.turn({"a": [stake(50)]})
    assert world.agent("a")["staked"] == 150
    assert world.agent("a")["stake_since"] == 3
    world.rest_until(20)
    # T = 21: a = min(21 − 3, 10) = 10; a' = 150·10 // 200 = 7; stake_since = 14.
    world.turn({"a": [stake(50)]})
    assert world.agent("a")["staked"] == 200
    assert world.agent("a")["stake_since"] == 14


def test_two_stakes_in_one_turn_start_at_that_turn(open_world):
    world = open_world({"a": 1_000, "b": 0})
    world.rest()
    world.turn({"a": [stake(10), stake(990)]})
    assert world.agent("a")["stake_since"] == 2


def test_unstaked_tokens_are_liquid_after_the_unbonding_turns(open_world):
    world = open_world({"a": 1_000, "b": 0})
    world.turn({"a": [stake(400)]})
    # T = 2, released in the clock phase of turn 2 + 3 = 5.
    world.turn({"a": [unstake(150)]})
    agent = world.agent("a")
    assert (agent["balance"], agent["staked"]) == (600, 250)
    assert agent["unbonding"] == [{"amount": 150, "release_turn": 5}]
    world.turn({"a": [unstake(50)]})
    world.rest_until(4)
    assert world.balance("a") == 600
    world.rest()
    agent = world.agent("a")
    assert (agent["balance"], agent["unbonding"]) == (750, [{"amount": 50, "release_turn": 6}])
    world.rest()
    assert world.agent("a")["balance"] == 800
    assert world.agent("a")["unbonding"] == []


def test_released_stake_can_be_spent_only_in_the_turn_after_the_release(open_world):
    world = open_world({"a": 100, "b": 0}, {"unbonding_turns": 1})
    world.turn({"a": [stake(100)]})
    world.turn({"a": [unstake(100)]})
    assert world.attempt({"a": [transfer("b", 100)]}).outcomes() == ["insufficient_funds"]
    assert world.attempt({"a": [transfer("b", 100)]}).outcomes() == ["applied"]


def test_unstaking_does_not_change_the_age_of_the_rest(open_world):
    world = open_world({"a": 1_000, "b": 0})
    world.turn({"a": [stake(400)]})
    world.rest(3)
    world.turn({"a": [unstake(399)]})
    assert world.agent("a")["stake_since"] == 1


def test_a_stake_after_everything_was_unstaked_starts_anew(open_world):
    world = open_world({"a": 1_000, "b": 0})
    world.turn({"a": [stake(100)]})
    world.rest(4)
    world.turn({"a": [unstake(100), stake(10)]})
    # staked is 0 in between, so a = 0 and stake_since = 6.
    assert (world.agent("a")["staked"], world.agent("a")["stake_since"]) == (10, 6)


# -- burn ------------------------------------------------------------------------------------------


def test_burn_destroys_tokens_and_adds_to_the_score(open_world):
    world = open_world({"a": 1_000, "b": 0})
    world.turn({"a": [burn(30)]})
    answer = world.turn({"a": [burn(12)]})
    agent = world.agent("a")
    assert (agent["balance"], agent["burn_score"]) == (958, 42)
    assert answer.supply == {"issued": 1_000, "destroyed": 42, "circulating": 958}


# -- study -----------------------------------------------------------------------------------------


def test_study_costs_more_at_each_level_and_needs_more_lessons(open_world):
    world = open_world({"a": 10_000, "b": 0}, {"job_fund_per_agent": 0})
    # Level 0 → 1: one lesson of 200. Level 1 → 2: two lessons of 400. Level 2 → 3: three of 600.
    seen = []
    for _ in range(6):
        world.turn({"a": [study()]})
        agent = world.agent("a")
        seen.append((agent["balance"], agent["study_level"], agent["study_progress"]))
    assert seen == [
        (9_800, 1, 0),
        (9_400, 1, 1),
        (9_000, 2, 0),
        (8_400, 2, 1),
        (7_800, 2, 2),
        (7_200, 3, 0),
    ]


def test_several_lessons_in_one_turn_count_one_after_the_other(open_world):
    world = open_world({"a": 10_000, "b": 0})
    # 200 + 400 + 400 = 1,000 for two levels.
    answer = world.turn({"a": [study(), study(), study()]})
    agent = world.agent("a")
    assert (agent["balance"], agent["study_level"], agent["study_progress"]) == (9_000, 2, 0)
    assert answer.supply["destroyed"] == 1_000


def test_study_reveals_the_funds_of_the_coming_turns(open_world):
    world = open_world(("a", "b", "c"), {"insight_horizon": 2}, seed="study")
    world.rest(2)
    world.turn({"a": [study()]})
    expected = [
        {"learned_turn": 3, "about_turn": t, "job_fund": oracle.labour_fund("study", t, 3)}
        for t in (4, 5)
    ]
    assert world.insights("a") == expected
    assert world.insights("b") == []
    for insight in expected:
        world.rest()
        assert world.state()["job_fund"] == insight["job_fund"]


def test_a_rejected_study_reveals_nothing(open_world):
    world = open_world({"a": 199, "b": 0})
    assert world.attempt({"a": [study()]}).outcomes() == ["insufficient_funds"]
    assert world.insights("a") == []


# -- speech ----------------------------------------------------------------------------------------


def test_speech_is_public_in_the_turn_it_was_said(open_world):
    world = open_world(("a", "b"))
    world.turn({"a": [speak("hello"), speak("Grüße, 世界 🌍")]})
    world.rest()
    assert world.speech(1) == [("a", "hello"), ("a", "Grüße, 世界 🌍")]
    assert world.speech(2) == []


@pytest.mark.parametrize("character", ["x", "ß", "🌍"])
def test_length_of_text_is_counted_in_code_points(open_world, character):
    world = open_world(("a", "b"), {"max_message_chars": 20})
    answer = world.attempt({"a": [speak(character * 20), speak(character * 21)]})
    assert answer.outcomes() == ["applied", "too_long"]
