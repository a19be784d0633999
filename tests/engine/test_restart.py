"""A world that is closed and opened again goes on as if nothing had happened."""

from __future__ import annotations

from tests.engine import harness, strategies
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
