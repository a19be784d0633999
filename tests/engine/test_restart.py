"""A world that is closed and opened again goes on as if nothing had happened."""

from __future__ import annotations

import pytest

from tests.engine import harness, strategies
from tests.engine.harness import (
    burn,
    compute_forward,
    confirm,
    core_forward,
    dispute,
    mine,
    pool,
    rule,
    service,
    stake,
    study,
)
from tests.engine.play import play

TURNS = 24


def test_a_restarted_world_gives_the_hashes_of_one_that_never_stopped(tmp_path):
    args = (strategies.START, strategies.CONFIG, "restart")
    with harness.open_world(tmp_path / "whole.db", *args) as world:
        whole = play(world, "restart", 1, TURNS)
        expected = world.fingerprint(), world.entries()
    hashes = []
    with harness.open_world(tmp_path / "parts.db", *args) as world:
        hashes += play(world, "restart", 1, 3)
    for first in range(4, TURNS + 1, 3):
        with harness.reopened(world) as again:
            hashes += play(again, "restart", first, first + 2)
    assert hashes == whole
    with harness.reopened(world) as again:
        assert (again.fingerprint(), again.entries()) == expected


def test_a_restart_changes_nothing_that_can_be_seen(tmp_path):
    args = (strategies.START, strategies.CONFIG, "seen")
    paths = ["/state", "/config", "/health", "/contracts", "/blocks", "/entries", "/metrics/turns"]
    paths += [f"/agent/{x}" for x in strategies.AGENTS]
    with harness.open_world(tmp_path / "sim.db", *args) as world:
        play(world, "seen", 1, 12)
        paths += [f"/contract/{c['contract_id']}" for c in world.state()["contracts"]]
        paths += [f"/{what}/{turn}" for what in ("speech", "turns") for turn in (1, 7, 12)]
        before = {path: world.get(path) for path in paths}
    with harness.reopened(world) as again:
        assert {path: again.get(path) for path in paths} == before


def test_a_fresh_file_knows_no_world_and_a_used_one_does(tmp_path):
    with harness.open_world(tmp_path / "sim.db", ("a",)) as world:
        world.rest()
    with harness.reopened(world) as again:
        assert again.now == 1
        response = again.client.post("/init", json={"agents": ["z"], "seed": "other"})
        assert response.status_code == 409


def test_unbonding_and_bids_and_insights_survive(tmp_path):
    agents = {"a": 1_000, "b": 1_000}
    with harness.open_world(tmp_path / "sim.db", agents, {"core_reserve": 10}) as world:
        world.turn({"a": [harness.stake(100), harness.study(), harness.bid(20)]})
        world.turn({"a": [harness.unstake(60)]})
        before = world.agent("a")
    with harness.reopened(world) as again:
        assert again.agent("a") == before
        again.rest(3)
        # 1,000 − 100 − 200 − 10 + 60.
        assert again.balance("a") == 750
        assert again.agent("a")["cores"] == [0]


# In this world next to nothing costs anything, so that much can change without a token moving.
FREE = {
    "action_points": 12,
    "tuition": 0,
    "mine_reward": 0,
    "stake_reward": 0,
    "burn_reward": 0,
    "mine_slots": 1,
    "burn_rate_bps": 0,
    "stake_rate_bps": 10_000,
    "min_arbitrator_collateral": 0,
    "arbitrator_fee": 0,
    "attest_window": 0,
    "ruling_window": 1,
    "sign_window": 1,
}
MINING = [mine()] * 6


def a_lesson(world):
    world.turn({"a": [study(), study()]})
    assert (world.agent("a")["study_level"], world.agent("a")["study_progress"]) == (1, 1)
    assert world.insights("a")


def a_block_without_reward(world):
    world.turn({"a": MINING})
    assert world.agent("a")["blocks_won"] == 1


def a_decay(world):
    world.turn({"b": [burn(1_000)]})
    world.turn({"a": MINING})
    assert world.agent("b")["burn_score"] == 980


def a_stake_made_young(world):
    world.turn({"b": [stake(10)]})
    world.turn({"a": MINING})
    assert world.agent("b")["stake_since"] == 2


def a_ruling(world):
    cid = world.sign_all(service(1))
    world.turn({"a": [dispute(cid)]})
    world.turn({"z": [rule(cid, "split")]})
    assert world.agent("z")["rulings_made"] == 1


def a_lost_dispute(world):
    cid = world.sign_all(service(1))
    world.turn({"a": [dispute(cid)]})
    world.turn({"z": [rule(cid, "proposer")]})
    assert world.agent("b")["disputes_lost"] == 1


def a_missed_ruling(world):
    cid = world.sign_all(service(1))
    world.turn({"a": [dispute(cid)]})
    world.rest()
    assert world.agent("z")["rulings_missed"] == 1


def a_default(world):
    world.sign_all(service(1, duration=1))
    world.rest()
    assert world.agent("b")["contracts_defaulted"] == 1


def a_confirmation(world):
    cid = world.sign_all(service(1))
    world.turn({"b": [confirm(cid)]})
    assert "b" in world.contract(cid)["confirmations"]


def a_settled_pool(world):
    world.sign_all(pool(["b"], ["mine"], "equal", duration=1))
    world.rest()
    assert world.agent("b")["contracts_settled"] == 1


def an_expired_pool(world):
    world.turn({"a": [pool(["b"], ["mine"], "equal")]})
    world.rest()
    assert world.contract("c1")["status"] == "expired"


def a_forward_that_nets_to_nothing(world):
    cid = world.sign_all(compute_forward(5, 5, duration=1))
    # 5 · 150 + 5 tokens in all: 5 are billed, and b alone has used more than its share.
    world.turn(tokens={"b": 155, "a": 150, "c": 150, "d": 150, "z": 150})
    assert world.contract(cid)["ended_turn"] == world.now


def a_core_that_was_never_there(world):
    world.sign_all(core_forward(0, 60_000, duration=1))
    world.rest()
    assert [world.agent(x)["contracts_defaulted"] for x in "ab"] == [1, 1]


SILENT = [
    a_lesson,
    a_block_without_reward,
    a_decay,
    a_stake_made_young,
    a_ruling,
    a_lost_dispute,
    a_missed_ruling,
    a_default,
    a_confirmation,
    a_settled_pool,
    an_expired_pool,
    a_forward_that_nets_to_nothing,
    a_core_that_was_never_there,
]


@pytest.mark.parametrize("happening", SILENT, ids=lambda happening: happening.__name__)
def test_what_changes_without_a_token_moving_is_kept(happening):
    agents = ("a", "b", "c", "d", "z")
    with harness.scratch() as folder:
        with harness.open_world(folder / "sim.db", agents, FREE) as world:
            happening(world)
            world.check_books()
            contracts = world.get("/contracts")
            before = world.fingerprint(), contracts
        with harness.reopened(world) as again:
            assert (again.fingerprint(), again.get("/contracts")) == before
            again.check_books()


def test_what_conditions_have_counted_survives(tmp_path):
    done = {"type": "actions", "agent": "c", "action": "mine", "at_least": 2}
    with harness.open_world(tmp_path / "sim.db", ("a", "b", "c", "z"), FREE) as world:
        cid = world.sign_all(service(1, condition=done, duration=9))
        world.turn({"c": [mine()]})
    with harness.reopened(world) as again:
        again.turn({"c": [mine()]})
        assert again.contract(cid)["status"] == "settled"
