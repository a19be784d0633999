"""Interest, the clock and the seal: rules §11 to §13, and the genesis of §3."""

from __future__ import annotations

import pytest

from tests.engine import oracle
from tests.engine.harness import bid, job, loan, mine, running, speak, stake, transfer, unstake


@pytest.mark.parametrize(
    ("debt", "interest"),
    [
        # ceil(1 × 100 / 10,000) = 1
        (1, 1),
        # ceil(1.00) = 1
        (100, 1),
        # ceil(1.01) = 2
        (101, 2),
        # The whole credit limit: exactly 100.
        (10_000, 100),
        # The part beyond the credit limit of 10,000 bears nothing.
        (70_000, 100),
    ],
)
def test_interest_is_a_ceiling_on_no_more_than_the_credit_limit(open_world, debt, interest):
    world = open_world({"a": 0, "b": 5}, {"commons_per_agent": 0, "core_count": 1})
    answer = world.turn(tokens={"a": debt})
    assert world.balances() == [-debt - interest, 5]
    # The dividend of the one unowned core is destroyed as well.
    assert answer.supply["destroyed"] == debt + interest
    assert ("agent:a", "destroyed", interest) in world.entries(1)


def test_no_interest_without_debt(open_world):
    world = open_world({"a": 10, "b": 0}, {"commons_per_agent": 0})
    world.turn(tokens={"a": 10})
    assert world.balances() == [0, 0]


def test_interest_compounds_turn_by_turn(open_world):
    world = open_world({"a": 0, "b": 0}, {"commons_per_agent": 0, "debt_interest_bps": 1_000})
    # 100 → 110 → 121 → 134 (ceil(12.1) = 13).
    world.turn(tokens={"a": 100})
    assert world.balance("a") == -110
    world.rest()
    assert world.balance("a") == -121
    world.rest()
    assert world.balance("a") == -134


def test_interest_is_taken_after_this_turns_income(open_world):
    world = open_world({"a": 0, "b": 500}, {"commons_per_agent": 0})
    world.turn({"b": [transfer("a", 100)]}, tokens={"a": 100})
    assert world.balances() == [0, 400]


# -- the order of the last phases ------------------------------------------------------------------


def test_stake_is_released_after_interest_and_before_suspension(open_world):
    world = open_world(
        {"a": 100, "b": 0}, {"commons_per_agent": 0, "credit_limit": 100, "unbonding_turns": 1}
    )
    world.turn({"a": [stake(100)]})
    world.turn({"a": [unstake(100)]})
    world.turn(tokens={"a": 150})
    # −150, interest ceil(min(150, 100)·1%) = 1, then 100 come back: −51 is within the limit of 100.
    assert (world.balance("a"), world.agent("a")["suspended"]) == (-51, False)


def test_a_proposal_expires_after_interest_and_before_suspension(open_world):
    world = open_world(
        {"a": 100, "b": 0, "z": 0},
        {"commons_per_agent": 0, "credit_limit": 100, "sign_window": 1, "arbitrator_fee": 0},
    )
    world.turn({"a": [loan(100, 100)]})
    world.turn(tokens={"a": 150})
    assert world.contract("c1")["status"] == "expired"
    assert (world.balance("a"), world.agent("a")["suspended"]) == (-51, False)


def test_dividends_come_before_contracts(open_world):
    config = {"commons_per_agent": 0, "core_count": 1, "core_reserve": 10}
    world = open_world({"a": 1_000, "b": 10, "z": 1_000}, config)
    world.turn({"b": [bid(10)], "a": [loan(100, 400, duration=1)]})
    world.turn(world.signatures("c1", loan(1, 1)))
    # b has 100; the 300 that a is charged are b's dividend, just in time for the repayment of 400.
    world.turn(tokens={"a": 300})
    assert world.contract("c1")["status"] == "settled"
    assert world.balance("b") == 0


def test_wages_and_mined_tokens_come_before_contracts(open_world):
    # One slot and D = 3 at most, against a power of at least 1 × 100: mining is sure.
    config = {"mine_slots": 1, "mine_power": 100, "difficulty_down_bps": 100}
    world = open_world({"a": 1_000, "b": 0, "z": 1_000}, {**config, "job_fund_per_agent": 10_000})
    world.sign_all(loan(100, 2_100, duration=1))
    # 100 + 400 + 1,600 = 2,100.
    world.turn({"b": [job(), mine()]})
    assert world.contract("c1")["status"] == "settled"
    assert world.balances() == [850 + 2_100, 0, 1_050]


# -- genesis ---------------------------------------------------------------------------------------


def test_genesis_gives_each_agent_its_balance_from_issuance(open_world):
    world = open_world({"a": 5, "b": 0, "c": 7})
    assert world.balances() == [5, 0, 7]
    state = world.state()
    assert state["turn"] == 0
    assert state["supply"] == {"issued": 12, "destroyed": 0, "circulating": 12}
    assert world.entries(0) == [("issuance", "agent:a", 5), ("issuance", "agent:c", 7)]
    assert world.cores() == dict.fromkeys(range(4))


def test_an_agent_without_a_balance_of_its_own_gets_the_initial_one(tmp_path):
    agents = ["a", {"agent_id": "b"}, {"agent_id": "c", "balance": 0}]
    with running(tmp_path / "sim.db") as client:
        client.post("/init", json={"agents": agents, "config": {"initial_balance": 9}})
        shown = client.get("/state").json()["agents"]
        assert [(a["agent_id"], a["balance"]) for a in shown] == [("a", 9), ("b", 9), ("c", 0)]


def test_genesis_block_has_the_hash_of_the_rules(open_world):
    world = open_world()
    assert world.genesis["genesis_hash"] == oracle.GENESIS_HASH
    block = world.get(f"/block/{oracle.GENESIS_HASH}")
    assert (block["height"], block["kind"], block["producer"]) == (0, "genesis", "")
    assert block["parent_hash"] == ""
    chain = world.state()["chain"]
    assert (chain["height"], chain["tip_hash"]) == (0, oracle.GENESIS_HASH)


@pytest.mark.parametrize(
    ("agents", "power", "difficulty"), [(3, 100, 300), (1, 1, 1), (4, 25, 100)]
)
def test_difficulty_starts_at_agents_times_mine_power(open_world, agents, power, difficulty):
    world = open_world([f"n{i}" for i in range(agents)], {"mine_power": power})
    assert world.state()["chain"]["mine_difficulty"] == difficulty


# -- seal ------------------------------------------------------------------------------------------


def test_every_turn_has_a_hash_of_its_own_that_is_stored(open_world):
    world = open_world(("a", "b"))
    hashes = [world.genesis["turn_hash"]]
    hashes += [world.rest().turn_hash for _ in range(3)]
    assert len(set(hashes)) == 4
    assert world.rows("SELECT turn, turn_hash FROM turns ORDER BY turn") == list(enumerate(hashes))
    assert world.state()["turn_hash"] == hashes[-1]


def test_same_requests_give_the_same_hashes(open_world):
    hashes = []
    for _ in range(2):
        world = open_world(("a", "b"), seed="same")
        hashes.append([world.turn({"a": [stake(5)]}).turn_hash, world.rest().turn_hash])
    assert hashes[0] == hashes[1]


@pytest.mark.parametrize(
    "other",
    [
        {"a": [stake(6)]},
        {"b": [stake(5)]},
        {"a": [stake(5), speak("x")]},
        {"a": [stake(5), transfer("nobody", 1)]},
    ],
)
def test_any_difference_in_what_a_turn_took_in_changes_its_hash(open_world, other):
    one = open_world(("a", "b")).turn({"a": [stake(5)]}).turn_hash
    two = open_world(("a", "b")).attempt(other).turn_hash
    assert one != two


def test_any_difference_in_the_world_changes_the_first_hash(open_world):
    worlds = [
        open_world(("a", "b")),
        open_world(("b", "a")),
        open_world(("a", "b"), seed="other"),
        open_world(("a", "b"), {"tuition": 201}),
        open_world({"a": 50_000, "b": 49_999}),
    ]
    assert len({world.genesis["turn_hash"] for world in worlds}) == 5


def test_reported_tokens_and_models_are_sealed(open_world):
    hashes = set()
    for tokens, model in [(1, "x"), (1, "y"), (2, "x")]:
        inference = {"output_tokens": tokens, "model": model}
        one = {"agent_id": "a", "actions": [], "inference": inference}
        world = open_world(("a", "b"))
        hashes.add(world.client.post("/turn", json={"submissions": [one]}).json()["turn_hash"])
    assert len(hashes) == 3
