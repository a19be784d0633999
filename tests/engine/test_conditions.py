"""Every type of condition, met and not met: rules §10.

The contract is a service between a (client) and b (provider), activated in turn 2 with three turns
to run. Its
condition is looked at in turns 3, 4 and 5; in turn 5, its due turn, it defaults if it was never
met.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.engine.harness import (
    EngineWorld,
    Json,
    bid,
    burn,
    job,
    loan,
    mine,
    service,
    sign,
    speak,
    stake,
    study,
    transfer,
)

AGENTS = {"a": 10_000, "b": 10_000, "c": 10_000, "z": 10_000}
CONFIG = {
    "mine_slots": 1,
    "action_points": 20,
    "core_reserve": 100,
    "commons_per_agent": 0,
    "stake_rate_bps": 10_000,
    "burn_rate_bps": 0,
    "job_fund_per_agent": 100_000,
    "tuition": 1,
}
MINING = [mine()] * 9

Play = Callable[[EngineWorld], object]


def turns(*plays: dict[str, Any]) -> Play:
    """Play the turns 3, 4 and 5 of the window; what is not given is an empty turn."""

    def play(world: EngineWorld) -> None:
        for one in [*plays, {}, {}, {}][:3]:
            if world.contract("c1")["status"] == "active":
                world.turn(
                    {x: acts for x, acts in one.items() if x != "tokens"}, tokens=one.get("tokens")
                )

    return play


def blocks_won(n: int, kind: str | None = None, agent: str = "a") -> Json:
    base = {"type": "blocks_won", "agent": agent, "at_least": n}
    return base if kind is None else {**base, "kind": kind}


def acted(n: int, action: str, agent: str = "a") -> Json:
    return {"type": "actions", "agent": agent, "action": action, "at_least": n}


CASES = [
    # blocks_won: canonical blocks in the window only
    ("blocks: one of one", blocks_won(1), turns({}, {"a": MINING}), 4),
    ("blocks: one of two", blocks_won(2), turns({"a": MINING}), None),
    ("blocks: two turns", blocks_won(2), turns({"a": MINING}, {}, {"a": MINING}), 5),
    ("blocks: another's", blocks_won(1), turns({"b": MINING}), None),
    ("blocks: of the kind", blocks_won(1, "mine"), turns({"a": MINING}), 3),
    ("blocks: another kind", blocks_won(1, "burn"), turns({"a": MINING}), None),
    (
        "blocks: a stake block",
        blocks_won(1, "stake", "b"),
        turns({"b": [stake(5)]}, {"a": MINING}),
        4,
    ),
    ("blocks: of any kind", blocks_won(1, None, "b"), turns({"b": [stake(5)]}, {"a": MINING}), 4),
    # actions: applied ones
    ("actions: enough", acted(2, "burn"), turns({"a": [burn(1), burn(1)]}), 3),
    ("actions: over turns", acted(2, "burn"), turns({"a": [burn(1)]}, {"a": [burn(1)]}), 4),
    ("actions: too few", acted(3, "burn"), turns({"a": [burn(1)]}, {"a": [burn(1)]}), None),
    ("actions: another type", acted(1, "burn"), turns({"a": [stake(1)]}), None),
    ("actions: another agent", acted(1, "burn"), turns({"b": [burn(1)]}), None),
    ("actions: a job", acted(1, "job", "c"), turns({"c": [job()]}), 3),
    # spoke: contains, whatever the case
    (
        "spoke: said it",
        {"type": "spoke", "agent": "a", "contains": "Straße"},
        turns({"a": [speak("in der STRAßE dort")]}),
        3,
    ),
    (
        "spoke: another word",
        {"type": "spoke", "agent": "a", "contains": "yes"},
        turns({"a": [speak("no")]}),
        None,
    ),
    (
        "spoke: another agent",
        {"type": "spoke", "agent": "a", "contains": "yes"},
        turns({"b": [speak("yes")]}),
        None,
    ),
    (
        "spoke: not across messages",
        {"type": "spoke", "agent": "a", "contains": "yes"},
        turns({"a": [speak("ye"), speak("s")]}),
        None,
    ),
    # balances: at the contracts phase of the turn
    (
        "below: met",
        {"type": "balance_below", "agent": "c", "amount": 9_000},
        turns({}, {"c": [burn(951)]}),
        4,
    ),
    (
        "below: equal is not below",
        {"type": "balance_below", "agent": "c", "amount": 9_000},
        turns({}, {"c": [burn(950)]}),
        None,
    ),
    (
        "at least: met",
        {"type": "balance_at_least", "agent": "c", "amount": 10_350},
        turns({"c": [job()]}),
        3,
    ),
    (
        "at least: one short",
        {"type": "balance_at_least", "agent": "c", "amount": 10_351},
        turns({"c": [job()]}),
        None,
    ),
    # study
    (
        "study: reached",
        {"type": "study_level_at_least", "agent": "c", "level": 2},
        turns({"c": [study()]}, {"c": [study(), study()]}),
        4,
    ),
    (
        "study: progress is no level",
        {"type": "study_level_at_least", "agent": "c", "level": 2},
        turns({"c": [study()]}, {"c": [study()]}),
        None,
    ),
    # cores
    (
        "core: bought",
        {"type": "core_owned", "core_id": 0, "agent": "c"},
        turns({"c": [bid(100)]}),
        3,
    ),
    (
        "core: another's",
        {"type": "core_owned", "core_id": 0, "agent": "c"},
        turns({"b": [bid(100)]}),
        None,
    ),
    (
        "core: another one",
        {"type": "core_owned", "core_id": 1, "agent": "c"},
        turns({"c": [bid(100)]}),
        None,
    ),
    # inference fees, summed over the window
    (
        "fees: reached",
        {"type": "inference_fees_at_least", "agent": "c", "amount": 30},
        turns({"tokens": {"c": 10}}, {"tokens": {"c": 20}}),
        4,
    ),
    (
        "fees: short",
        {"type": "inference_fees_at_least", "agent": "c", "amount": 31},
        turns({"tokens": {"c": 10}}, {"tokens": {"c": 20}}),
        None,
    ),
    (
        "fees: another's",
        {"type": "inference_fees_at_least", "agent": "c", "amount": 10},
        turns({"tokens": {"b": 50}}),
        None,
    ),
]


@pytest.mark.parametrize(
    ("condition", "play", "met_in"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_condition(open_world, condition, play, met_in):
    world = open_world(AGENTS, CONFIG)
    # What happens up to and in the turn of activation counts for nothing: only the window does.
    world.turn({"a": [service(10, condition=condition)]})
    warm_up = {"a": [burn(1), speak("yes yes"), *MINING], "b": [], "z": []}
    signs = world.signatures("c1", service(10))
    world.turn({x: [*signs.get(x, []), *warm_up[x]] for x in warm_up}, tokens={"c": 50})
    assert world.balance("c") == 9_950
    play(world)
    contract = world.contract("c1")
    if met_in is None:
        assert (contract["status"], contract["ended_turn"]) == ("defaulted", 5)
    else:
        assert (contract["status"], contract["ended_turn"]) == ("settled", met_in)


def test_a_condition_on_the_state_may_hold_from_the_start_and_is_met_in_the_first_turn(open_world):
    world = open_world(AGENTS)
    rich = {"type": "balance_at_least", "agent": "c", "amount": 1}
    cid = world.sign_all(service(10, condition=rich))
    assert world.contract(cid)["status"] == "active"
    world.rest()
    assert (world.contract(cid)["status"], world.contract(cid)["ended_turn"]) == ("settled", 3)


def test_the_default_of_a_lower_numbered_contract_is_seen_in_the_same_turn(open_world):
    world = open_world(AGENTS)
    bad = loan(100, 5_000, duration=2)
    watching = {"type": "contract_defaulted", "contract_id": "c1"}
    good = service(10, condition=watching, counterparty="c", duration=9)
    world.turn({"a": [bad, good]})
    signs = {"b": world.signatures("c1", bad)["b"], "c": world.signatures("c2", good)["c"]}
    arbitrates = world.signatures("c1", bad)["z"] + world.signatures("c2", good)["z"]
    world.turn({**signs, "z": arbitrates})
    world.turn({"b": [transfer("c", 10_100)]})
    assert world.contract("c2")["status"] == "active"
    world.rest()
    assert (world.contract("c1")["status"], world.contract("c1")["ended_turn"]) == ("defaulted", 4)
    assert (world.contract("c2")["status"], world.contract("c2")["ended_turn"]) == ("settled", 4)


def test_a_contract_that_settles_never_meets_contract_defaulted(open_world):
    world = open_world(AGENTS)
    good = loan(100, 100, duration=1)
    watching = service(
        10,
        condition={"type": "contract_defaulted", "contract_id": "c1"},
        counterparty="c",
        duration=2,
    )
    world.turn({"a": [good, watching]})
    signs = {"b": world.signatures("c1", good)["b"], "c": world.signatures("c2", watching)["c"]}
    arbitrates = world.signatures("c1", good)["z"] + world.signatures("c2", watching)["z"]
    world.turn({**signs, "z": arbitrates})
    world.rest(2)
    assert world.contract("c1")["status"] == "settled"
    assert world.contract("c2")["status"] == "defaulted"


@pytest.mark.parametrize(("amount", "status"), [(15, "settled"), (16, "active")])
def test_inference_fees_are_counted_at_their_price(open_world, amount, status):
    world = open_world(AGENTS, {"commons_per_agent": 0, "inference_price_bps": 5_000})
    fees = {"type": "inference_fees_at_least", "agent": "c", "amount": amount}
    cid = world.sign_all(service(10, condition=fees))
    # 30 tokens are 15 of fees.
    world.turn(tokens={"c": 30})
    assert world.contract(cid)["status"] == status


@pytest.mark.parametrize("rejected", [transfer("nobody", 1), transfer("b", 10**9)])
def test_rejected_actions_do_not_count(open_world, rejected):
    world = open_world(AGENTS)
    cid = world.sign_all(service(10, condition=acted(1, "transfer")))
    world.refused("a", rejected)
    assert world.contract(cid)["status"] == "active"


def test_orphaned_blocks_do_not_count(open_world):
    """a and b both solve; only the one whose block is canonical has won a block."""
    world = open_world(AGENTS, {**CONFIG, "stake_rate_bps": 0})
    world.turn(
        {
            x: [
                service(
                    10, condition=blocks_won(1, "mine", x), counterparty="b" if x == "a" else "a"
                )
            ]
            for x in "ab"
        }
    )
    of = {c["proposer"]: c["contract_id"] for c in world.state()["contracts"]}
    signs = {x: [sign(of[y])] for x, y in ("ab", "ba")}
    world.turn({**signs, "z": [sign(cid, "arbitrator") for cid in of.values()]})
    answer = world.turn({"a": MINING, "b": MINING})
    assert len(answer.blocks) == 2
    (winner,) = [block["producer"] for block in answer.canonical()]
    loser = "b" if winner == "a" else "a"
    assert world.contract(of[winner])["status"] == "settled"
    assert world.contract(of[loser])["status"] == "active"


def test_the_condition_is_looked_at_before_the_due_turn(open_world):
    """A service that is rendered in its very due turn is paid; it does not default."""
    world = open_world(AGENTS)
    poor = {"type": "balance_below", "agent": "c", "amount": 5}
    cid = world.sign_all(service(10, condition=poor, duration=1))
    world.turn({"c": [transfer("z", 9_996)]})
    assert world.contract(cid)["status"] == "settled"
