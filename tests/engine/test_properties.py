"""What holds whatever is requested: rules §2, §6, §9, §13."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from sim_engine.rules.blockchain import resolve_forks
from sim_engine.rules.state import Block
from tests.engine import harness, oracle, strategies
from tests.engine.harness import EngineWorld, Json
from tests.engine.play import play

ROOT = Path(__file__).parents[2]
TRUST = {"mine": 3, "stake": 2, "burn": 2}
FEW = settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
MANY = settings(max_examples=200, deadline=None)


@contextmanager
def a_world(config: dict[str, int] | None = None) -> Iterator[EngineWorld]:
    whole = {**strategies.CONFIG, **(config or {})}
    with (
        harness.scratch() as folder,
        harness.open_world(folder / "sim.db", strategies.START, whole) as world,
    ):
        yield world


def submit(world: EngineWorld, submissions: list[Json]) -> Json:
    response = world.client.post("/turn", json={"submissions": submissions})
    assert response.status_code == 200, response.text
    return dict(response.json())


# -- the books -------------------------------------------------------------------------------------


@FEW
@given(plays=strategies.plays())
def test_all_accounts_sum_to_zero_and_agree_with_their_entries_after_every_turn(plays):
    """And nothing but the balances of agents and issuance is ever below zero."""
    with a_world() as world:
        world.check_books()
        for submissions in plays:
            submit(world, submissions)
            world.check_books()


@FEW
@given(plays=strategies.plays(), bad=st.integers(0, 7))
def test_a_refused_request_moves_nothing(plays, bad):
    with a_world() as world:
        for i, submissions in enumerate(plays):
            if i == bad:
                before = world.fingerprint()
                broken = [*submissions, {"agent_id": "nobody", "actions": []}]
                answer = world.client.post("/turn", json={"submissions": broken})
                assert answer.status_code == 422
                assert world.fingerprint() == before
            submit(world, submissions)


def without_turn_hash(world: EngineWorld) -> Json:
    state = world.state()
    return {key: value for key, value in state.items() if key != "turn_hash"}


def free_of_fees(submissions: list[Json]) -> list[Json]:
    return [
        {**one, "actions": [{**action, "fee": 0} for action in one["actions"]]}
        for one in submissions
    ]


def only_applied(submissions: list[Json], answer: Json) -> list[Json]:
    applied = {
        (receipt["agent_id"], receipt["index"])
        for receipt in answer["receipts"]
        if receipt["status"] == "applied"
    }
    return [
        {
            **one,
            "actions": [
                action
                for index, action in enumerate(one["actions"])
                if (one["agent_id"], index) in applied
            ],
        }
        for one in submissions
    ]


@FEW
@given(plays=strategies.plays(mining=False))
def test_a_rejected_action_moves_nothing_and_costs_no_points(plays):
    """A world that never heard of the rejected actions is the same world, but for its hashes.

    Without mining, since block hashes depend on what was submitted; without fees, which even a
    rejected action pays.
    """
    with a_world() as world, a_world() as other:
        for submissions in map(free_of_fees, plays):
            answer = submit(world, submissions)
            again = submit(other, only_applied(submissions, answer))
            assert [r["status"] for r in again["receipts"]] == ["applied"] * len(again["receipts"])
            assert without_turn_hash(other) == without_turn_hash(world)


@FEW
@given(plays=strategies.plays())
def test_nobody_pays_for_more_than_its_own_overuse(plays):
    with a_world() as world:
        for submissions in plays:
            answer = submit(world, submissions)
            used = {s["agent_id"]: s["inference"]["output_tokens"] for s in submissions}
            excess = max(0, sum(used.values()) - 20 * 5)
            billed = dict(
                world.rows(
                    "SELECT agent_id, billed_tokens FROM inference WHERE turn = ?", answer["turn"]
                )
            )
            assert answer["billing"]["billed_tokens"] == excess
            weights = [max(0, used.get(agent, 0) - 20) for agent in strategies.AGENTS]
            shares = dict(zip(strategies.AGENTS, oracle.apportion(excess, weights), strict=True))
            for agent in used:
                assert billed.get(agent, 0) == shares[agent] <= max(0, used[agent] - 20)


# -- damaged requests ------------------------------------------------------------------------------

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.sampled_from(["a", "b", "c1", "mine", "loan", "automatic", "equal", "type"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=5,
)


def places(value: object, place: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every place in a JSON value, the whole of it first."""
    inner: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    return [place, *(deep for key, one in inner for deep in places(one, (*place, key)))]


def replaced(value: Any, place: tuple[str | int, ...], new: object) -> Any:
    if not place:
        return new
    copied: Any = dict(value) if isinstance(value, dict) else list(value)
    copied[place[0]] = replaced(value[place[0]], place[1:], new)
    return copied


@settings(max_examples=100, deadline=None)
@given(data=st.data(), submissions=strategies.turns(), new=JSON_VALUES)
def test_a_damaged_request_is_answered_and_never_a_fault(shared_world, data, submissions, new):
    """Whatever stands wherever: the turn is played, or the body is refused and nothing happens."""
    body = {"submissions": submissions}
    place = data.draw(st.sampled_from(places(body)), label="place")
    before = shared_world.state()
    answer = shared_world.client.post("/turn", json=replaced(body, place, new))
    if answer.status_code == 200:
        assert answer.json()["turn"] == before["turn"] + 1
    else:
        assert answer.status_code in (409, 422), answer.text
        assert shared_world.state() == before


@pytest.fixture(scope="module")
def shared_world() -> Iterator[EngineWorld]:
    """One world for all damaged requests."""
    with a_world() as world:
        yield world


# -- the chain -------------------------------------------------------------------------------------


def test_stake_and_burn_blocks_stand_on_mine_blocks_only():
    with a_world({"stake_rate_bps": 9_000, "burn_rate_bps": 9_000, "mine_slots": 1}) as world:
        play(world, "chain", 1, 40)
        blocks = world.rows("SELECT hash, kind, parent_hash, height, turn, status FROM blocks")
        by_hash = {row[0]: row for row in blocks}
        for _, kind, parent, height, turn, _ in blocks:
            if kind == "genesis":
                continue
            above = by_hash[parent]
            assert height == above[3] + 1
            # Nothing is ever built on an orphan: a turn's blocks are final when it is sealed.
            assert above[5] == "canonical" or above[4] == turn
            if kind in ("stake", "burn"):
                assert above[1] == "mine"
                assert above[4] == turn
        kinds = {(row[1], row[5]) for row in blocks}
        assert kinds >= {(k, s) for k in TRUST for s in ("canonical", "orphaned")}
        # The canonical blocks are one chain from the tip back to genesis.
        at, path = world.state()["chain"]["tip_hash"], []
        while at:
            path.append(at)
            at = by_hash[at][2]
        assert sorted(path) == sorted(row[0] for row in blocks if row[5] == "canonical")


@st.composite
def trees(draw: st.DrawFn) -> list[tuple[str, str, int]]:
    """(hash, kind, index of the parent) for each block after the root, parents first."""
    size = draw(st.integers(0, 14))
    kinds = st.sampled_from(["mine", "mine", "stake", "burn"])
    return [
        (f"{draw(st.integers(0, 2**32)):x}-{i}", draw(kinds), draw(st.integers(0, i)))
        for i in range(size)
    ]


@MANY
@given(
    tree=trees(),
    root_kind=st.sampled_from(["mine", "mine", "genesis", "stake", "burn"]),
    trust=st.fixed_dictionaries({kind: st.integers(1, 4) for kind in TRUST}),
    order=st.randoms(use_true_random=False),
)
def test_fork_resolution_equals_brute_force(tree, root_kind, trust, order):
    root = Block(hash="root", kind=root_kind, height=0, parent_hash="", producer="", turn=0)
    blocks, nodes = [root], []
    for i, (hash_, kind, parent) in enumerate(tree):
        above = blocks[parent]
        block = Block(
            hash=hash_,
            kind=kind,
            height=above.height + 1,
            parent_hash=above.hash,
            producer=f"p{i}",
            turn=1,
        )
        blocks.append(block)
        nodes.append(oracle.Node(hash_, kind, above.hash, f"p{i}", above.height + 1))
    rest = blocks[1:]
    order.shuffle(rest)
    expected = oracle.canonical_path("seed", "root", nodes, trust, root_kind)
    assert set(resolve_forks([root, *rest], seed="seed", trust=trust)) == set(expected)


def test_fork_resolution_is_not_limited_in_depth():
    chain = [Block(hash="0", kind="mine", height=0, parent_hash="", producer="", turn=0)]
    for i in range(1, 5_000):
        chain.append(
            Block(hash=str(i), kind="mine", height=i, parent_hash=str(i - 1), producer="p", turn=1)
        )
    rival = Block(hash="x", kind="burn", height=1, parent_hash="0", producer="p", turn=1)
    path = resolve_forks([*chain, rival], seed="s", trust=TRUST)
    assert set(path) == {str(i) for i in range(5_000)}


# -- determinism -----------------------------------------------------------------------------------


@pytest.mark.parametrize("hash_seed", ["1", "4242"])
def test_another_process_reaches_the_same_hashes(tmp_path, hash_seed):
    with harness.open_world(
        tmp_path / "here.db", strategies.START, strategies.CONFIG, "process"
    ) as world:
        here = [world.genesis["turn_hash"], *play(world, "process", 1, 25)]
        applied = world.rows("SELECT COUNT(DISTINCT type) FROM actions WHERE status = 'applied'")
        assert applied[0][0] >= 10
    run = subprocess.run(
        [sys.executable, "-m", "tests.engine.play", str(tmp_path / "there.db"), "process", "25"],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert json.loads(run.stdout) == here


@settings(FEW, max_examples=10)
@given(plays=strategies.plays(mining=False), order=st.randoms(use_true_random=False))
def test_the_order_of_submissions_in_a_request_decides_nothing(plays, order):
    """Without mining: receipts keep the order of the request, and block hashes depend on them."""
    with a_world() as world, a_world() as other:
        for submissions in plays:
            shuffled = list(submissions)
            order.shuffle(shuffled)
            one, two = submit(world, submissions), submit(other, shuffled)
            key = {(r["agent_id"], r["index"]): r for r in one["receipts"]}
            assert {(r["agent_id"], r["index"]): r for r in two["receipts"]} == key
            assert without_turn_hash(other) == without_turn_hash(world)
