"""The auditor's own rules against numbers computed by hand."""

from typing import Any

import pytest

from tests.simulation.reference import World, numbers
from tests.simulation.reference.blocks import best_path
from tests.simulation.reference.shape import is_well_formed

QUIET = {"mine_reward": 0, "stake_reward": 0, "burn_reward": 0, "arbitrator_fee": 50}


def make_world(*balances: int, **config: int) -> World:
    """A world of agents a, b, c, … with the given balances."""
    names = "abcdefgh"[: len(balances)]
    agents = [
        {"agent_id": name, "balance": balance}
        for name, balance in zip(names, balances, strict=True)
    ]
    return World({"seed": "by hand", "agents": agents, "config": QUIET | config}, "hash of genesis")


def play(world: World, **actions: list[dict[str, Any]]) -> dict[str, Any]:
    """Process one turn in which each agent does what its keyword lists."""
    body = {
        "submissions": [{"agent_id": who, "actions": listed} for who, listed in actions.items()]
    }
    assert is_well_formed(body, world.agents)
    return world.process(body)


def codes(answer: dict[str, Any]) -> list[str | None]:
    return [receipt["code"] for receipt in answer["receipts"]]


def propose(contract_type: str, terms: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "type": "propose_contract",
        "contract_type": contract_type,
        "counterparty": "b",
        "arbitrator": "c",
        "duration": 1,
        "terms": terms,
        **fields,
    }


def sign(role: str, cid: str = "c1") -> dict[str, Any]:
    return {"type": "sign_contract", "contract_id": cid, "role": role}


def activate(world: World, proposal: dict[str, Any]) -> None:
    """Let a propose, then b and c sign in the turn after."""
    assert codes(play(world, a=[proposal])) == [None]
    assert codes(play(world, b=[sign("counterparty")], c=[sign("arbitrator")])) == [None, None]


def balances(world: World) -> list[int]:
    return [world.balance(who) for who in world.roster]


SERVICE = {"provider": "counterparty", "price": 101, "description": "work"}
LOAN = {"lender": "proposer", "principal": 100, "repayment": 120}


def test_the_test_vector_of_the_rules():
    expected = "b6c84657330388bc70864f583a93ac47c54f0e4e8a966b97224a148cd7ebb38d"
    assert numbers.digest("ticket", "slim-demo", 1, 0, "M", "g", 1).hex() == expected


@pytest.mark.parametrize(
    ("total", "weights", "expected"),
    [
        (10, {"a": 1, "b": 1, "c": 1}, {"a": 4, "b": 3, "c": 3}),
        (7, {"a": 5, "b": 3, "c": 2}, {"a": 4, "b": 2, "c": 1}),  # 3.5, 2.1, 1.4
        (1, {"b": 2, "a": 2}, {"a": 1, "b": 0}),  # a is earlier in the roster
        (5, {"a": 0, "b": 0}, {"a": 0, "b": 0}),
        (2**53, {"a": 2**53, "b": 2**53}, {"a": 2**52, "b": 2**52}),
    ],
)
def test_apportion(total, weights, expected):
    assert numbers.apportion(total, weights, "abc") == expected


def test_only_overuse_beyond_the_commons_is_billed():
    world = make_world(50, 50, inference_price_bps=5000, core_count=3)
    used = {"a": 401, "b": 100}
    answer = world.process(
        {
            "submissions": [
                {"agent_id": who, "actions": [], "inference": {"output_tokens": tokens}}
                for who, tokens in used.items()
            ]
        }
    )
    # 501 − 300 = 201 tokens, all a's; 100 of fees; 33 for each of three unowned cores, 1 left over
    assert answer["billing"]["billed_tokens"] == 201
    assert answer["billing"]["fees"] == 100
    assert world.books.balance("cores") == 1
    # debt of 50 at 1 % costs 0.5, rounded up
    assert balances(world) == [-51, 50]
    assert answer["supply"] == {"issued": 100, "destroyed": 100, "circulating": 0}


def test_interest_stops_at_the_credit_limit_and_debt_beyond_it_suspends():
    world = make_world(0, 0, credit_limit=1000, commons_per_agent=1)
    inference = {"output_tokens": 5001}
    world.process({"submissions": [{"agent_id": "a", "actions": [], "inference": inference}]})
    assert world.balance("a") == -4999 - 10  # 5001 − 2 of the commons, and 1 % of 1000
    assert world.agents["a"]["suspended"]
    assert not world.agents["b"]["suspended"]


def test_study_costs_more_on_each_level_and_tells_the_funds_to_come():
    world = make_world(10_000, insight_horizon=2)
    play(world, a=[{"type": "study"}] * 3)
    agent = world.agents["a"]
    assert (agent["study_level"], agent["study_progress"]) == (2, 0)
    assert world.balance("a") == 10_000 - 200 - 400 - 400
    assert [insight["about_turn"] for insight in agent["insights"]] == [2, 3] * 3


def test_stake_ages_and_is_diluted():
    world = make_world(1000)
    play(world, a=[{"type": "stake", "amount": 100}])
    for _ in range(3):
        play(world)
    play(world, a=[{"type": "stake", "amount": 100}])  # turn 5: age 4 of 100 is age 2 of 200
    assert world.agents["a"]["stake_since"] == 3


def test_unstaked_tokens_come_back_after_the_unbonding_turns():
    world = make_world(100, unbonding_turns=2)
    play(world, a=[{"type": "stake", "amount": 60}, {"type": "unstake", "amount": 25}])
    play(world)
    assert balances(world) == [40]
    play(world)
    assert balances(world) == [65]
    assert world.staked("a") == 35


def test_wages_are_shared_out_when_the_fund_is_too_small():
    world = make_world(0, 0, 0, job_fund_per_agent=5, job_wage=100)
    answer = play(world, a=[{"type": "job"}], b=[{"type": "job"}])
    fund = 15 * (2000 + numbers.pick(16001, "labour", "by hand", 1)) // 10_000
    assert balances(world) == [fund - fund // 2, fund // 2, 0]
    assert answer["supply"]["issued"] == fund


def test_all_winners_of_cores_pay_the_highest_losing_bid():
    world = make_world(100, 100, 100, core_count=2, core_reserve=10)
    bids = {"a": 12, "b": 20, "c": 15}
    play(world, **{who: [{"type": "bid_core", "amount": n}] for who, n in bids.items()})
    assert world.cores == ["b", "c"]
    assert balances(world) == [100, 88, 88]
    assert world.books.balance("destroyed") == 24


def test_a_lone_bidder_pays_the_reserve():
    world = make_world(100, core_count=2, core_reserve=10)
    play(world, a=[{"type": "bid_core", "amount": 30, "quantity": 1}])
    assert world.cores == ["a", None]
    assert balances(world) == [90]


def test_fees_are_paid_even_for_rejected_actions_and_wait_for_a_miner():
    world = make_world(100, 5, mine_slots=1, mine_reward=7, stake_rate_bps=0, burn_rate_bps=0)
    answer = play(
        world,
        a=[{"type": "transfer", "to": "b", "amount": 1000, "fee": 30}],
        b=[{"type": "speak", "message": "x", "fee": 6}, {"type": "speak", "message": "y"}],
    )
    assert codes(answer) == ["insufficient_funds", "insufficient_funds", None]
    assert world.books.balance("fees") == 30
    answer = play(world, b=[{"type": "mine"}] * 2)  # two of two agents' power: it cannot miss
    assert [block["reward"] for block in answer["blocks"]] == [37]
    assert balances(world) == [70, 42]


def mine_block(name: str, parent: str, kind: str = "mine", height: int = 1) -> dict[str, Any]:
    return {"hash": name, "parent_hash": parent, "kind": kind, "height": height}


def test_the_most_trusted_leaf_wins():
    trust = {"mine": 3, "stake": 2, "burn": 1}
    tree = [
        mine_block("m1", "root"),
        mine_block("m2", "root"),
        mine_block("s", "m2", "stake", 2),
        mine_block("b", "m1", "burn", 2),
    ]
    assert [block["hash"] for block in best_path(tree, "root", trust, "seed")] == ["m2", "s"]


def test_blocks_that_do_not_follow_a_mine_block_are_dropped_with_their_descendants():
    trust = {"mine": 1, "stake": 50, "burn": 50}
    tree = [
        mine_block("m", "root"),
        mine_block("s on root", "root", "stake"),
        mine_block("s", "m", "stake", 2),
        mine_block("b on s", "s", "burn", 3),
        mine_block("m on b", "b on s", "mine", 4),
    ]
    assert [block["hash"] for block in best_path(tree, "root", trust, "seed")] == ["m", "s"]


def test_burns_decay_with_each_mine_block_and_the_difficulty_moves():
    world = make_world(1000, mine_slots=1, burn_rate_bps=10_000, stake_rate_bps=0, burn_reward=9)
    answer = play(world, a=[{"type": "burn", "amount": 101}, {"type": "mine"}])
    assert [block["kind"] for block in answer["blocks"]] == ["mine", "burn"]
    assert world.agents["a"]["burn_score"] == 98  # 101 × 0.98 = 98.98
    assert world.difficulty == 102  # 100 × 1.0156 = 101.56, and one more
    play(world)
    assert world.difficulty == 95  # 102 × 0.9375 = 95.625


def test_a_loan_is_repaid():
    world = make_world(1000, 1000, 1000)
    activate(world, propose("loan", LOAN))
    assert balances(world) == [850, 1100, 750]
    play(world)
    assert world.contracts["c1"]["status"] == "settled"
    assert balances(world) == [970, 980, 1050]


@pytest.mark.parametrize(
    ("collateral", "lender_gets", "destroyed", "borrower_keeps"),
    [
        (0, 30, 0, 0),
        (40, 70, 0, 0),  # 50 of 120 are lost
        (121, 120, 15, 16),  # 90 taken, 31 remain, half of it destroyed
    ],
)
def test_a_loan_in_default(collateral, lender_gets, destroyed, borrower_keeps):
    world = make_world(1000, 1000, 1000)
    activate(world, propose("loan", LOAN, counterparty_collateral=collateral))
    spare = world.balance("b") - 30
    play(world, b=[{"type": "transfer", "to": "c", "amount": spare}])
    assert world.contracts["c1"]["status"] == "defaulted"
    assert balances(world) == [850 + lender_gets, borrower_keeps, 1050 + spare]
    assert world.books.balance("destroyed") == destroyed
    assert world.agents["b"]["contracts_defaulted"] == 1
    assert world.agents["a"]["contracts_defaulted"] == 0


@pytest.mark.parametrize(
    ("ruling", "client", "provider"),
    [
        ("proposer", 1000 - 50 + 20, 1000 - 20),  # half of 41 is slashed
        ("counterparty", 1000 - 50 - 101 - 5, 1000 + 101 + 5),
        ("split", 1000 - 50 - 50, 1000 + 50),  # the odd token stays with the payer
    ],
)
def test_a_ruling_divides_the_pot(ruling, client, provider):
    world = make_world(1000, 1000, 1000)
    collaterals = {"proposer_collateral": 11, "counterparty_collateral": 41}
    activate(world, propose("service", SERVICE, settlement="attested", **collaterals))
    dispute = {"type": "dispute_delivery", "contract_id": "c1", "reason": "no"}
    play(world, a=[dispute])
    play(world, c=[{"type": "arbitrator_ruling", "contract_id": "c1", "ruling": ruling}])
    assert world.contracts["c1"]["status"] == "ruled"
    assert balances(world) == [client, provider, 1050]


def test_an_arbitrator_that_does_not_rule_loses_its_collateral():
    world = make_world(1000, 1000, 1000, ruling_window=1)
    activate(world, propose("service", SERVICE, settlement="attested", arbitrator_collateral=251))
    play(world, b=[{"type": "dispute_delivery", "contract_id": "c1", "reason": "no"}])
    assert world.contracts["c1"]["status"] == "disputed"
    play(world)
    assert world.contracts["c1"]["status"] == "lapsed"
    assert balances(world) == [1125, 1125, 749]
    assert world.books.balance("destroyed") == 1


@pytest.mark.parametrize(("late", "status"), [(False, "settled"), (True, "defaulted")])
def test_a_provider_must_confirm_by_the_due_turn(late, status):
    world = make_world(1000, 1000, 1000, attest_window=1)
    activate(world, propose("service", SERVICE, settlement="attested"))
    if late:
        play(world)
    confirm = {"type": "confirm_delivery", "contract_id": "c1"}
    assert codes(play(world, b=[confirm])) == [None]
    if not late:
        play(world)
    assert world.contracts["c1"]["status"] == status
    assert balances(world) == ([950, 1000, 1050] if late else [849, 1101, 1050])


def test_a_compute_forward_moves_the_net_only():
    world = make_world(1000, 1000, 1000, commons_per_agent=1)
    asset = {"kind": "compute", "cap": 500}
    activate(world, propose("forward", {"seller": "proposer", "asset": asset, "price": 40}))
    inference = {"output_tokens": 103}
    world.process({"submissions": [{"agent_id": "b", "actions": [], "inference": inference}]})
    # b was charged 100, a owes 100, b owes 40
    assert balances(world) == [950 - 60, 1000 - 100 + 60, 1050]


def test_a_pool_shares_each_reward_from_the_turn_after_activation():
    config = {"mine_slots": 1, "mine_reward": 1001, "stake_rate_bps": 0, "burn_rate_bps": 0}
    world = make_world(1000, 1000, 1000, action_points=9, **config)
    pool = {"members": ["b"], "kinds": ["mine"], "split": "equal"}
    activate(world, propose("pool", pool, duration=2))
    before = balances(world)
    play(world, b=[{"type": "mine"}] * 4)
    # 1001 in halves: the odd token to a, earlier in the roster
    assert [now - was for now, was in zip(balances(world), before, strict=True)] == [501, 500, 0]


def test_a_proposal_that_nobody_signs_expires_with_everything_refunded():
    world = make_world(1000, 1000, 1000, sign_window=1)
    play(world, a=[propose("loan", LOAN)])
    assert balances(world) == [850, 1000, 1000]
    play(world, c=[sign("arbitrator")])
    assert world.contracts["c1"]["status"] == "expired"
    assert balances(world) == [1000, 1000, 1000]


@pytest.mark.parametrize(
    ("actions", "code"),
    [
        ([{"type": "mine", "fee": 2**53 - 1}] * 1, "insufficient_funds"),
        ([propose("service", SERVICE | {"description": "d" * 501})], "too_long"),
        ([propose("service", SERVICE, arbitrator="x")], "invalid_terms"),
        ([propose("service", SERVICE, arbitrator="x", settlement="attested")], "unknown_agent"),
        ([propose("loan", LOAN, counterparty="a", arbitrator="x")], "unknown_agent"),
        ([propose("loan", LOAN, counterparty="a", proposer_collateral=10**9)], "self_dealing"),
        ([propose("loan", LOAN, arbitrator="b")], "self_dealing"),
        ([propose("loan", LOAN, proposer_collateral=10**9)], "insufficient_funds"),
        ([{"type": "bid_core", "amount": 1, "quantity": 5}], "invalid_terms"),
        ([{"type": "bid_core", "amount": 1, "quantity": 4}], "below_reserve"),
        ([{"type": "transfer", "to": "a", "amount": 10**9}], "self_dealing"),
        ([{"type": "transfer", "to": "x", "amount": 1, "memo": "m" * 501}], "too_long"),
    ],
)
def test_the_first_failing_check_names_the_code(actions, code):
    world = make_world(1000, 1000, 1000)
    assert codes(play(world, a=actions)) == [code]


def test_a_rejected_action_costs_no_points():
    world = make_world(1000, 1000, action_points=2)
    poor = {"type": "stake", "amount": 10**9}
    assert codes(play(world, a=[poor, {"type": "job"}, {"type": "job"}, poor])) == [
        "insufficient_funds",
        None,
        "action_points_exhausted",
        "action_points_exhausted",
    ]


@pytest.mark.parametrize(
    "action",
    [
        {"type": "stake", "amount": 0},
        {"type": "stake", "amount": True},
        {"type": "stake", "amount": 1.0},
        {"type": "stake", "amount": 2**53},
        {"type": "stake"},
        {"type": "mine", "fee": None},
        {"type": "mine", "power": 3},
        {"type": "unheard_of"},
        {"type": "speak", "message": ""},
        {"type": "speak", "message": "\ud800"},
        propose("pool", {"members": [], "kinds": ["mine"], "split": "equal"}),
        propose("pool", {"members": ["b"], "kinds": ["mine"], "split": "fair"}),
        propose("loan", LOAN | {"principal": 0}),
        propose("loan", LOAN | {"condition": None}),
        propose("service", SERVICE | {"condition": {"type": "spoke", "agent": "a"}}),
    ],
)
def test_malformed_actions(action):
    body = {"submissions": [{"agent_id": "a", "actions": [action]}]}
    assert not is_well_formed(body, {"a": None})
