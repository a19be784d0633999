"""Mining, the stake and burn lotteries, forks, rewards, difficulty and decay: rules §9."""

from __future__ import annotations

import random

import pytest

from tests.engine import oracle
from tests.engine.harness import burn, mine, speak, stake, study, transfer, unstake

# Two agents and one slot: D = 200, and two mine actions have power 200, so that every draw solves.
SURE = {"mine_slots": 1, "mine_power": 100}
NO_LUCK = {"stake_rate_bps": 0, "burn_rate_bps": 0}
ALL_LUCK = {"stake_rate_bps": 10_000, "burn_rate_bps": 10_000}
TRUST = {"mine": 3, "stake": 2, "burn": 2}
AB = ("a", "b")


def kinds(answer) -> list[tuple[str, str, str]]:
    return sorted((b["kind"], b["producer"], b["status"]) for b in answer.blocks)


# -- mine ------------------------------------------------------------------------------------------


def test_a_mine_block_pays_its_reward_and_all_the_fees(open_world):
    world = open_world(AB, SURE)
    previous = world.genesis["turn_hash"]
    answer = world.turn({"a": [mine(), mine(), speak("x", fee=7)], "b": [speak("y", fee=5)]})
    (block,) = answer.blocks
    assert block == {
        "hash": oracle.block_hash("mine", 1, oracle.GENESIS_HASH, 1, "a", previous),
        "kind": "mine",
        "height": 1,
        "parent_hash": oracle.GENESIS_HASH,
        "producer": "a",
        "status": "canonical",
        "reward": 1_612,
    }
    assert world.balances() == [50_000 - 7 + 1_612, 50_000 - 5]
    assert answer.supply["issued"] == 100_000 + 1_600
    assert world.state()["fees"] == 0
    assert world.state()["chain"] == {
        "height": 1,
        "tip_hash": block["hash"],
        "mine_difficulty": 200 * 10_156 // 10_000 + 1,
    }
    assert world.agent("a")["blocks_won"] == 1


def test_fees_pile_up_while_nobody_mines(open_world):
    world = open_world(AB, SURE)
    assert world.turn({"a": [speak("x", fee=7)]}).blocks == []
    assert world.turn({"b": [speak("y", fee=5)]}).blocks == []
    assert world.state()["fees"] == 12
    answer = world.turn({"b": [mine(), mine()]})
    assert [b["reward"] for b in answer.blocks] == [1_612]
    assert world.balances() == [49_993, 50_000 - 5 + 1_612]


def test_without_a_miner_there_is_no_stake_or_burn_block(open_world):
    world = open_world(AB, {**SURE, **ALL_LUCK})
    world.turn({"a": [stake(100), burn(100)]})
    for _ in range(5):
        assert world.rest().blocks == []


def test_the_race_is_the_draw_of_each_slot_against_power_and_difficulty(open_world):
    def slot_winners(seed):
        power = {"a": 100, "b": 100}
        return [
            [
                x
                for x in power
                if oracle.draw("mine", seed, 1, j, oracle.GENESIS_HASH, x) * 200 * 4
                < power[x] * 2**256
            ]
            for j in range(4)
        ]

    # A seed with which nobody solves slots 0 and 1, a alone slot 2, and b slot 3: the race
    # ends in slot 2.
    seed = oracle.seed_where(
        lambda s: slot_winners(s)[:3] == [[], [], ["a"]] and "b" in slot_winners(s)[3]
    )
    world = open_world(AB, seed=seed)
    assert kinds(world.turn({"a": [mine()], "b": [mine()]})) == [("mine", "a", "canonical")]

    # A seed with which no slot has a solver: no block, though two mine.
    seed = oracle.seed_where(lambda s: not any(slot_winners(s)))
    world = open_world(AB, seed=seed)
    assert world.turn({"a": [mine()], "b": [mine()]}).blocks == []


def test_each_mine_action_adds_power(open_world):
    power = {"a": 300, "b": 100}

    def wanted(seed):
        one = oracle.race(seed, 1, oracle.GENESIS_HASH, 200, 4, {"a": 100, "b": 100})
        three = oracle.race(seed, 1, oracle.GENESIS_HASH, 200, 4, power)
        return one == ["b"] and three == ["a"]

    seed = oracle.seed_where(wanted)
    world = open_world(AB, seed=seed)
    assert kinds(world.turn({"a": [mine()], "b": [mine()]})) == [("mine", "b", "canonical")]
    world = open_world(AB, seed=seed)
    answer = world.turn({"a": [mine(), mine(), mine()], "b": [mine()]})
    assert kinds(answer) == [("mine", "a", "canonical")]


def test_study_raises_mining_power_by_its_bonus(open_world):
    # One lesson in the same turn: power 1 × 100 × (10,000 + 1,000) // 10,000 = 110 against D
    # = 200 × 4 slots.
    def wanted(seed):
        args = (seed, 1, oracle.GENESIS_HASH, 200, 4)
        return oracle.race(*args, {"a": 100}) == [] and oracle.race(*args, {"a": 110}) == ["a"]

    seed = oracle.seed_where(wanted)
    assert open_world(AB, seed=seed).turn({"a": [mine()]}).blocks == []
    answer = open_world(AB, seed=seed).turn({"a": [mine(), study()]})
    assert kinds(answer) == [("mine", "a", "canonical")]


# -- stake and burn --------------------------------------------------------------------------------


def test_fresh_stake_has_no_weight_and_aged_stake_wins(open_world):
    world = open_world(AB, {**SURE, "stake_rate_bps": 10_000, "burn_rate_bps": 0})
    # Turn 1: staked this turn, age 0, total weight 0: no stake block.
    assert kinds(world.turn({"a": [mine(), mine()], "b": [stake(100)]})) == [
        ("mine", "a", "canonical")
    ]
    # D is 204 now, so three mine actions are sure. Turn 2: weight 100 × 1.
    answer = world.turn({"a": [mine(), mine(), mine()]})
    assert kinds(answer) == [("mine", "a", "canonical"), ("stake", "b", "canonical")]
    stake_block = next(b for b in answer.blocks if b["kind"] == "stake")
    mine_block = next(b for b in answer.blocks if b["kind"] == "mine")
    assert stake_block["parent_hash"] == mine_block["hash"]
    assert (mine_block["height"], stake_block["height"]) == (2, 3)
    assert (mine_block["reward"], stake_block["reward"]) == (1_600, 800)
    assert world.balances() == [50_000 + 3_200, 49_900 + 800]
    # The winner's age starts anew.
    assert world.agent("b")["stake_since"] == 2
    assert world.state()["chain"]["tip_hash"] == stake_block["hash"]
    assert world.state()["chain"]["height"] == 3


def test_stake_that_is_withdrawn_this_turn_has_no_weight(open_world):
    world = open_world(AB, {**SURE, "stake_rate_bps": 10_000, "burn_rate_bps": 0})
    world.turn({"b": [stake(100)]})
    answer = world.turn({"a": [mine(), mine()], "b": [unstake(100)]})
    assert kinds(answer) == [("mine", "a", "canonical")]


def test_a_burn_counts_in_the_turn_it_is_made_and_decays_after_the_draw(open_world):
    world = open_world(AB, {**SURE, "stake_rate_bps": 0, "burn_rate_bps": 10_000})
    answer = world.turn({"a": [mine(), mine()], "b": [burn(777)]})
    assert kinds(answer) == [("burn", "b", "canonical"), ("mine", "a", "canonical")]
    assert world.balances() == [51_600, 50_000 - 777 + 1_000]
    # 777 × 9,800 // 10,000 = 761 (7,614,600).
    assert world.agent("b")["burn_score"] == 761
    world.rest(3)
    # No mine block, no decay.
    assert world.agent("b")["burn_score"] == 761
    world.turn({"a": [mine(), mine(), mine()]})
    # 761 × 9,800 // 10,000 = 745 (7,457,800).
    assert world.agent("b")["burn_score"] == 745


def test_the_stake_winner_is_the_first_whose_running_sum_exceeds_the_ticket(open_world):
    world = open_world(
        ("a", "b", "c", "d"), {**SURE, **NO_LUCK, "stake_rate_bps": 10_000, "action_points": 100}
    )
    world.turn({"c": [stake(700)]})
    world.turn({"b": [stake(2_000)]})
    world.turn({"d": [stake(500)]})
    since = {"b": 2, "c": 1, "d": 3}
    staked = {"b": 2_000, "c": 700, "d": 500}
    for turn in range(4, 14):
        answer = world.turn({"a": [mine()] * 20})
        (mined,) = [b for b in answer.blocks if b["kind"] == "mine"]
        weight = {x: staked[x] * min(turn - since[x], 10) for x in "bcd"}
        winner = oracle.lottery("stake", world.seed, turn, mined["hash"], 10_000, weight)
        (block,) = [b for b in answer.blocks if b["kind"] == "stake"]
        assert winner is not None
        assert block["producer"] == winner
        since[winner] = turn
        assert world.agent(winner)["stake_since"] == turn


def test_stake_age_is_capped(open_world):
    # In turn 12 b's stake is 11 turns old and c's 1; with the cap of 2 the weights are 200 and 100.
    weights = {"capped": {"b": 100 * 2, "c": 100}, "uncapped": {"b": 100 * 11, "c": 100}}
    for attempt in range(40):
        world = open_world(
            ("a", "b", "c"),
            {"stake_age_cap": 2, "mine_slots": 1, "stake_rate_bps": 10_000, "burn_rate_bps": 0},
            seed=f"cap-{attempt}",
        )
        world.turn({"b": [stake(100)]})
        world.rest_until(10)
        world.turn({"c": [stake(100)]})
        answer = world.turn({"a": [mine(), mine(), mine()]})
        (mined,) = [b for b in answer.blocks if b["kind"] == "mine"]
        (block,) = [b for b in answer.blocks if b["kind"] == "stake"]
        winner = {
            reading: oracle.lottery("stake", world.seed, 12, mined["hash"], 10_000, weight)
            for reading, weight in weights.items()
        }
        assert block["producer"] == winner["capped"]
        if winner["capped"] != winner["uncapped"]:
            return
    raise AssertionError("no seed told a capped age from an uncapped one")


# -- forks -----------------------------------------------------------------------------------------


def test_all_solvers_of_the_slot_fork_and_the_lower_draw_takes_all(open_world):
    world = open_world(AB, {**SURE, **NO_LUCK})
    answer = world.turn({"a": [mine(), mine(), speak("x", fee=9)], "b": [mine(), mine()]})
    hashes = {b["producer"]: b["hash"] for b in answer.blocks}
    previous = world.genesis["turn_hash"]
    assert hashes == {
        x: oracle.block_hash("mine", 1, oracle.GENESIS_HASH, 1, x, previous) for x in AB
    }
    winner = min(AB, key=lambda x: oracle.draw("fork", world.seed, hashes[x]))
    loser = "b" if winner == "a" else "a"
    assert kinds(answer) == sorted([("mine", winner, "canonical"), ("mine", loser, "orphaned")])
    rewards = {b["producer"]: b["reward"] for b in answer.blocks}
    assert rewards == {winner: 1_609, loser: 0}
    fee = {"a": 9, "b": 0}
    assert world.balance(winner) == 50_000 - fee[winner] + 1_609
    assert world.balance(loser) == 50_000 - fee[loser]
    assert world.agent(winner)["blocks_won"] == 1
    assert world.agent(loser)["blocks_won"] == 0
    # A fork is one turn with a mine block: 200 × 10,156 // 10,000 + 1.
    assert world.state()["chain"]["mine_difficulty"] == 204


@pytest.mark.parametrize(("trust_stake", "trust_burn", "kind"), [(3, 2, "stake"), (2, 3, "burn")])
def test_the_greater_trust_is_canonical_among_siblings(open_world, trust_stake, trust_burn, kind):
    config = {**SURE, **ALL_LUCK, "trust_stake": trust_stake, "trust_burn": trust_burn}
    world = open_world(AB, config)
    world.turn({"b": [stake(100), burn(100)]})
    answer = world.turn({"a": [mine(), mine()]})
    other = "burn" if kind == "stake" else "stake"
    assert kinds(answer) == sorted(
        [("mine", "a", "canonical"), (kind, "b", "canonical"), (other, "b", "orphaned")]
    )
    reward = {"stake": 800, "burn": 1_000}[kind]
    assert world.balances() == [51_600, 49_800 + reward]
    # Only a canonical stake block makes the stake young again.
    assert world.agent("b")["stake_since"] == (2 if kind == "stake" else 1)
    assert world.agent("b")["blocks_won"] == 1


def test_equal_trust_among_siblings_goes_to_the_lower_draw(open_world):
    seen = set()
    for i in range(12):
        world = open_world(AB, {**SURE, **ALL_LUCK}, seed=f"sibling-{i}")
        world.turn({"b": [stake(100), burn(100)]})
        answer = world.turn({"a": [mine(), mine()]})
        leaves = {b["hash"]: b["kind"] for b in answer.blocks if b["kind"] != "mine"}
        assert sorted(leaves.values()) == ["burn", "stake"]
        winner = leaves[oracle.by_draw(leaves, "fork", world.seed)[0]]
        assert [b["kind"] for b in answer.canonical() if b["kind"] != "mine"] == [winner]
        seen.add(winner)
    assert seen == {"stake", "burn"}


def test_trust_wins_over_the_draw_between_forks(open_world):
    """A candidate with a stake block on it beats one without, whatever their draws."""
    outvoted = 0
    for i in range(30):
        world = open_world(
            AB, {**SURE, "stake_rate_bps": 5_000, "burn_rate_bps": 0}, seed=f"trust-{i}"
        )
        world.turn({"a": [stake(100)]})
        answer = world.turn({"a": [mine(), mine()], "b": [mine(), mine()]})
        mined = {b["hash"] for b in answer.blocks if b["kind"] == "mine"}
        carriers = {b["parent_hash"] for b in answer.blocks if b["kind"] == "stake"}
        if len(carriers) == 1:
            canonical = {b["hash"] for b in answer.canonical() if b["kind"] == "mine"}
            assert canonical == carriers
            outvoted += canonical != {oracle.by_draw(mined, "fork", world.seed)[0]}
    assert outvoted > 0


# -- difficulty ------------------------------------------------------------------------------------


def test_difficulty_falls_while_nobody_mines_and_rises_with_each_block(open_world):
    world = open_world(AB, {**SURE, **NO_LUCK})
    # 200 × 9,375 // 10,000 = 187; × 9,375 = 175 (1,753,125).
    world.rest()
    assert world.state()["chain"]["mine_difficulty"] == 187
    world.rest()
    assert world.state()["chain"]["mine_difficulty"] == 175
    # 175 × 10,156 // 10,000 + 1 = 177 + 1 (1,777,300).
    world.turn({"a": [mine(), mine()]})
    assert world.state()["chain"]["mine_difficulty"] == 178


def test_difficulty_never_falls_below_one(open_world):
    world = open_world(["a"], {"mine_power": 2, "difficulty_down_bps": 100})
    world.rest()
    assert world.state()["chain"]["mine_difficulty"] == 1
    world.rest(3)
    assert world.state()["chain"]["mine_difficulty"] == 1


# -- everything together ---------------------------------------------------------------------------


class Chain:
    """The chain of a world as the rules say it must grow, computed beside the engine."""

    def __init__(self, world, seed):
        self.world, self.seed = world, seed
        self.config = world.config
        self.difficulty = max(1, len(world.roster) * self.config["mine_power"])
        self.tip, self.tip_kind, self.height = oracle.GENESIS_HASH, "mine", 0
        self.previous = world.genesis["turn_hash"]
        self.turn = 0

    def weights(self, agents, turn):
        cap = self.config["stake_age_cap"]
        staked = {
            a["agent_id"]: a["staked"] * min(turn - a["stake_since"], cap) if a["staked"] else 0
            for a in agents
        }
        return staked, {a["agent_id"]: a["burn_score"] for a in agents}

    def expected(self, agents, mines):
        """The nodes of this turn and the canonical path; ``agents`` are views before the turn."""
        turn, cfg = self.turn + 1, self.config
        bonus = cfg["mine_bonus_bps"]
        power = {
            a["agent_id"]: mines[a["agent_id"]]
            * cfg["mine_power"]
            * (10_000 + bonus * a["study_level"])
            // 10_000
            for a in agents
            if mines.get(a["agent_id"])
        }
        stakes, burns = self.weights(agents, turn)
        nodes = []
        slots = cfg["mine_slots"]
        for miner in oracle.race(self.seed, turn, self.tip, self.difficulty, slots, power):
            at = oracle.block_hash("mine", self.height + 1, self.tip, turn, miner, self.previous)
            nodes.append(oracle.Node(at, "mine", self.tip, miner, self.height + 1))
            for kind, weight in (("stake", stakes), ("burn", burns)):
                rate = cfg[f"{kind}_rate_bps"]
                won = oracle.lottery(kind, self.seed, turn, at, rate, weight)
                if won is not None:
                    above = self.height + 2
                    hash_ = oracle.block_hash(kind, above, at, turn, won, self.previous)
                    nodes.append(oracle.Node(hash_, kind, at, won, above))
        return nodes, oracle.canonical_path(self.seed, self.tip, nodes, TRUST, self.tip_kind)

    def grow(self, answer, nodes, path):
        self.turn += 1
        self.previous = answer.turn_hash
        by_hash = {node.hash: node for node in nodes}
        for hash_ in path[1:]:
            self.tip, self.height = hash_, by_hash[hash_].height
        up, down = self.config["difficulty_up_bps"], self.config["difficulty_down_bps"]
        if nodes:
            self.difficulty = self.difficulty * up // 10_000 + 1
        else:
            self.difficulty = max(1, self.difficulty * down // 10_000)


@pytest.mark.parametrize("seed", ["long-1", "long-2", "long-3"])
def test_forty_turns_of_blocks_are_those_of_the_rules(open_world, seed):
    """Race, lotteries, forks, rewards, difficulty, decay and stake age, block by block."""
    chance = random.Random(seed)
    world = open_world(("a", "b", "c", "d", "e"), {"action_points": 8}, seed=seed)
    chain = Chain(world, seed)
    setup = {
        "a": [stake(1_000), study()],
        "b": [stake(500), burn(300)],
        "c": [burn(700)],
        "d": [stake(77)],
    }
    answer = world.turn(setup)
    chain.grow(answer, [], [chain.tip])
    seen, pot = set(), 0
    for _ in range(40):
        mines = {x: chance.randrange(5) for x in world.roster}
        before = {a["agent_id"]: a for a in world.state()["agents"]}
        nodes, path = chain.expected(list(before.values()), mines)
        fee = {x: chance.randrange(3) for x in world.roster}
        answer = world.turn({x: [mine(fee=fee[x])] * n for x, n in mines.items()})
        pot += sum(fee[x] * n for x, n in mines.items())
        pays = {"mine": 1_600 + pot, "stake": 800, "burn": 1_000}
        pot = 0 if nodes else pot
        assert {b["hash"]: b for b in answer.blocks} == {
            n.hash: {
                "hash": n.hash,
                "kind": n.kind,
                "height": n.height,
                "parent_hash": n.parent,
                "producer": n.producer,
                "status": "canonical" if n.hash in path else "orphaned",
                "reward": pays[n.kind] if n.hash in path else 0,
            }
            for n in nodes
        }
        chain.grow(answer, nodes, path)
        assert world.state(agents="false")["chain"] == {
            "height": chain.height,
            "tip_hash": chain.tip,
            "mine_difficulty": chain.difficulty,
        }
        won_stake = {n.producer for n in nodes if n.kind == "stake" and n.hash in path}
        for agent in world.state()["agents"]:
            x = agent["agent_id"]
            if agent["staked"]:
                since = chain.turn if x in won_stake else before[x]["stake_since"]
                assert agent["stake_since"] == since
            score = before[x]["burn_score"]
            assert agent["burn_score"] == (score * 9_800 // 10_000 if nodes else score)
        seen |= {(n.kind, n.hash in path) for n in nodes}
    assert seen >= {(kind, at) for kind in ("mine", "stake", "burn") for at in (True, False)}
    world.check_books()


def test_mined_tokens_can_be_spent_in_the_next_turn_only(open_world):
    world = open_world({"a": 0, "b": 0}, SURE)
    answer = world.attempt({"a": [mine(), mine(), transfer("b", 1)]})
    assert answer.outcomes() == ["applied", "applied", "insufficient_funds"]
    assert world.attempt({"a": [transfer("b", 1_600)]}).outcomes() == ["applied"]
