"""Pools: rules §10. c is no member, and mines where a pool shares stake and burn rewards."""

from __future__ import annotations

import pytest

from tests.engine.harness import burn, mine, pool, sign, speak, stake

AGENTS = {"a": 10_000, "b": 10_000, "c": 10_000, "d": 10_000, "z": 10_000}
CONFIG = {
    "mine_slots": 1,
    "action_points": 40,
    "stake_rate_bps": 0,
    "burn_rate_bps": 0,
    "commons_per_agent": 0,
}
# Five agents: D = 500 and falls while contracts are signed; six mine actions are sure to solve.
MINING = [mine()] * 6


def pooled(open_world, split, kinds=("mine",), members=("b",), duration=5, **config):
    """A pool that a proposes; active from turn 2, so that it shares from turn 3 on."""
    world = open_world(AGENTS, {**CONFIG, **config})
    cid = world.sign_all(pool(members, kinds, split, duration=duration))
    assert world.contract(cid)["status"] == "active"
    return world, cid


def gains(world, *agents):
    return [world.balance(x) - 10_000 for x in agents]


def test_equal_shares_of_reward_and_fees_with_the_odd_token_to_the_earlier(open_world):
    world, _ = pooled(open_world, "equal")
    answer = world.turn({"b": [*MINING, speak("x", fee=7)]})
    # 1,607 for two: 804 for a, 803 for b. a paid 50 to the arbitrator's escrow, b a fee of 7.
    assert answer.blocks[0]["reward"] == 1_607
    assert gains(world, "a", "b") == [804 - 50, 803 - 7]
    # First to the producer, then through the pool.
    assert ("agent:b", "agent:a", 804) in world.entries(3)


def test_agreed_shares_in_basis_points(open_world):
    world, _ = pooled(open_world, {"a": 7_000, "b": 3_000})
    world.turn({"a": [*MINING, speak("x", fee=7)]})
    # 1,607: 70% is 1,124.9, 30% is 482.1; the odd token goes to the larger remainder, a.
    assert gains(world, "a", "b") == [1_125 - 50 - 7, 482]


def test_shares_by_mining_power(open_world):
    world, _ = pooled(open_world, "weight")
    world.turn({"a": [mine()] * 15, "b": [mine()] * 5})
    # 1,600 by power 1,500 to 500, whoever of the two took the block.
    assert gains(world, "a", "b") == [1_200 - 50, 400]


def test_shares_by_stake_weight(open_world):
    world = open_world(AGENTS, {**CONFIG, "stake_rate_bps": 10_000})
    world.turn({"a": [pool(["b"], ["stake"], "weight"), stake(100)]})
    world.turn({"b": [sign("c1"), stake(300)], "z": [sign("c1", "arbitrator")]})
    world.turn({"c": MINING})
    # Turn 3: a 100 × 2 turns, b 300 × 1 turn; 800 by 200 to 300.
    assert world.rows("SELECT kind, status FROM blocks WHERE turn = 3 ORDER BY height") == [
        ("mine", "canonical"),
        ("stake", "canonical"),
    ]
    assert gains(world, "a", "b", "c") == [320 - 50 - 100, 480 - 300, 1_600]


def test_shares_by_burn_weight_before_the_decay(open_world):
    world, _ = pooled(open_world, "weight", kinds=("burn",), burn_rate_bps=10_000)
    # 1,000 by 100 to 201: 332.2 and 667.8.
    world.turn({"a": [burn(100)], "b": [burn(201)], "c": MINING})
    assert gains(world, "a", "b") == [332 - 50 - 100, 668 - 201]


def test_three_members_share(open_world):
    world, _ = pooled(open_world, "equal", members=("b", "d"))
    world.turn({"d": MINING})
    # 1,600 = 3 × 533 + 1.
    assert gains(world, "a", "b", "d") == [534 - 50, 533, 533]


@pytest.mark.parametrize(("kind", "reward"), [("stake", 800), ("burn", 1_000)])
def test_only_the_agreed_kinds_are_shared(open_world, kind, reward):
    world, _ = pooled(open_world, "equal", kinds=("mine",), **{f"{kind}_rate_bps": 10_000})
    world.turn({"b": [stake(100) if kind == "stake" else burn(100)]})
    world.turn({"b": MINING})
    assert gains(world, "a", "b") == [800 - 50, 800 - 100 + reward]


def test_what_others_win_is_not_shared(open_world):
    world, _ = pooled(open_world, "equal")
    world.turn({"c": MINING})
    assert gains(world, "a", "b", "c") == [-50, 0, 1_600]


def test_sharing_starts_after_the_turn_of_activation_and_includes_the_due_turn(open_world):
    world = open_world(AGENTS, CONFIG)
    world.turn({"a": [pool(["b"], ["mine"], "equal", duration=2)]})
    world.turn({"b": [sign("c1"), *MINING], "z": [sign("c1", "arbitrator")]})
    assert gains(world, "a", "b") == [-50, 1_600]
    world.rest()
    world.turn({"b": MINING})
    assert gains(world, "a", "b") == [750, 2_400]
    contract = world.contract("c1")
    assert (contract["status"], contract["ended_turn"]) == ("settled", 4)
    world.turn({"b": MINING})
    assert gains(world, "a", "b") == [750, 4_000]
    # The arbitrator has its collateral back and its fee.
    assert gains(world, "z") == [50]
    assert [world.agent(x)["contracts_settled"] for x in ("a", "b", "z")] == [1, 1, 0]


def test_a_winner_in_debt_shares_out_all_the_same(open_world):
    world, _ = pooled(open_world, "equal")
    world.turn({"b": MINING}, tokens={"b": 12_000})
    # −2,000 + 1,600 − 800 = −1,200; interest ceil(12.00) = 12.
    assert world.balance("b") == -1_212
    assert gains(world, "a") == [750]


def test_pools_of_other_kinds_stand_side_by_side(open_world):
    world = open_world(AGENTS, {**CONFIG, "burn_rate_bps": 10_000})
    mining = pool(["b"], ["mine"], "equal")
    burning = pool(["c"], ["burn", "stake"], "equal")
    world.turn({"a": [mining, burning]})
    arbiter = [sign("c1", "arbitrator"), sign("c2", "arbitrator")]
    world.turn({"b": [sign("c1")], "c": [sign("c2")], "z": arbiter})
    world.turn({"a": [burn(10), *MINING]})
    # 1,600 shared with b, 1,000 shared with c.
    assert gains(world, "a", "b", "c") == [800 + 500 - 10 - 100, 800, 500]


def test_the_pool_names_its_first_member_as_counterparty(open_world):
    world = open_world(AGENTS, CONFIG)
    world.turn({"a": [pool(["d", "b"], ["mine"], {"a": 5_000, "b": 2_500, "d": 2_500})]})
    contract = world.contract("c1")
    assert contract["counterparty"] == "d"
    world.turn({"a": [pool(["b"], ["burn"], "equal", counterparty="b")]})
    assert world.contract("c2")["counterparty"] == "b"


def test_all_members_must_sign(open_world):
    world = open_world(AGENTS, CONFIG)
    world.turn({"a": [pool(["b", "d"], ["mine"], "equal")]})
    world.turn({"b": [sign("c1")], "z": [sign("c1", "arbitrator")]})
    assert world.contract("c1")["status"] == "proposed"
    world.turn({"d": [sign("c1")]})
    assert world.contract("c1")["status"] == "active"
    assert world.contract("c1")["signatures"] == {"a": 1, "b": 2, "z": 2, "d": 3}


def test_a_pool_that_is_not_signed_expires(open_world):
    world = open_world(AGENTS, CONFIG)
    world.turn({"a": [pool(["b", "d"], ["mine"], "equal")]})
    world.turn({"b": [sign("c1")], "z": [sign("c1", "arbitrator")]})
    world.rest(2)
    assert world.contract("c1")["status"] == "expired"
    assert gains(world, *AGENTS) == [0] * 5


# -- one active pool per agent and kind ------------------------------------------------------------


def test_a_signature_is_refused_while_its_signer_is_in_an_active_pool_of_that_kind(open_world):
    world = open_world(AGENTS, CONFIG)
    one, two = pool(["b"], ["mine", "burn"], "equal"), pool(["b"], ["burn"], "equal")
    world.turn({"a": [one], "c": [two]})
    mine_pool = next(c for c in world.state()["contracts"] if c["proposer"] == "a")["contract_id"]
    burn_pool = "c2" if mine_pool == "c1" else "c1"
    world.turn({"b": [sign(mine_pool)], "z": [sign(mine_pool, "arbitrator")]})
    receipt = world.refused("b", sign(burn_pool))
    assert receipt["code"] == "already_in_pool"


def test_a_signature_is_refused_if_it_would_activate_while_any_member_is_in_another(open_world):
    world = open_world(AGENTS, CONFIG)
    world.turn({"a": [pool(["b"], ["mine"], "equal"), pool(["c"], ["mine"], "equal")]})
    # c itself is in no pool and its signature is not the last: it stands.
    world.turn({"b": [sign("c1")], "z": [sign("c1", "arbitrator")], "c": [sign("c2")]})
    # The arbitrator's would activate c2 while a is in c1.
    assert world.refused("z", sign("c2", "arbitrator"))["code"] == "already_in_pool"
    assert world.contract("c2")["status"] == "proposed"


def test_the_arbitrators_own_pools_do_not_matter(open_world):
    world = open_world(AGENTS, CONFIG)
    world.sign_all(pool(["z"], ["mine"], "equal", arbitrator="d"))
    world.sign_all(pool(["c"], ["mine"], "equal"), proposer="b")
    assert world.contract("c2")["status"] == "active"


def test_a_pool_that_has_ended_makes_room(open_world):
    world = open_world(AGENTS, CONFIG)
    world.sign_all(pool(["b"], ["mine"], "equal", duration=1))
    world.rest()
    world.sign_all(pool(["b"], ["mine"], "equal", duration=1))
    assert world.contract("c2")["status"] == "active"
