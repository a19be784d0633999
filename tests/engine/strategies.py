"""Hypothesis strategies for whole turns: mostly lawful, often colliding, sometimes out of reach."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st

from tests.engine import harness
from tests.engine.harness import Json

AGENTS = ("a", "b", "c", "d", "e")
# Small enough that agents run out of money, points, stake and cores all the time.
CONFIG = {
    "initial_balance": 900,
    "core_reserve": 50,
    "commons_per_agent": 20,
    "credit_limit": 300,
    "min_arbitrator_collateral": 20,
    "arbitrator_fee": 5,
    "action_points": 8,
    "mine_slots": 2,
    "job_fund_per_agent": 200,
    "max_open_contracts": 4,
    "sign_window": 2,
    "attest_window": 1,
    "ruling_window": 2,
    "unbonding_turns": 1,
}
START = {"a": 900, "b": 900, "c": 300, "d": 40, "e": 0}

agents = st.sampled_from(AGENTS)
contract_ids = st.sampled_from([f"c{i}" for i in range(1, 7)])
small = st.integers(1, 60) | st.sampled_from([100, 300, 901])
fees: st.SearchStrategy[Json] = st.sampled_from([{}, {}, {"fee": 0}, {"fee": 1}, {"fee": 30}])
collaterals = st.sampled_from([0, 0, 7, 50])


@st.composite
def proposals(draw: st.DrawFn) -> Json:
    common: dict[str, Any] = {
        "counterparty": draw(agents),
        "arbitrator": draw(agents),
        "duration": draw(st.integers(1, 3)),
        "proposer_collateral": draw(collaterals),
        "counterparty_collateral": draw(collaterals),
    }
    party = draw(st.sampled_from(["proposer", "counterparty"]))
    condition = draw(
        st.sampled_from(
            [
                None,
                {"type": "balance_below", "agent": "c", "amount": 250},
                {"type": "actions", "agent": "b", "action": "job", "at_least": 1},
                {"type": "spoke", "agent": "a", "contains": "y"},
                {"type": "contract_defaulted", "contract_id": "c1"},
            ]
        )
    )
    price = draw(small)
    kind = draw(
        st.sampled_from(["loan", "core", "compute", "service", "insurance", "info", "pool"])
    )
    if kind == "loan":
        return harness.loan(price, draw(small), lender=party, **common)
    if kind == "core":
        return harness.core_forward(draw(st.integers(0, 3)), price, seller=party, **common)
    if kind == "compute":
        return harness.compute_forward(draw(small), price, seller=party, **common)
    if kind == "service":
        return harness.service(price, provider=party, condition=condition, **common)
    if kind == "insurance":
        return harness.insurance(3, price, insurer=party, condition=condition, **common)
    if kind == "info":
        settlement = draw(st.sampled_from(["automatic", "attested"]))
        return harness.information(price, seller=party, settlement=settlement, **common)
    kinds = draw(st.sampled_from([["mine"], ["stake", "burn"], ["mine", "burn"]]))
    members = [common["counterparty"]]
    return harness.pool(
        members,
        kinds,
        draw(st.sampled_from(["equal", "weight"])),
        arbitrator=common["arbitrator"],
        duration=common["duration"],
    )


def actions(mining: bool = True) -> st.SearchStrategy[Json]:
    """One action of any type."""
    roles = st.sampled_from(["counterparty", "counterparty", "arbitrator", "proposer"])
    rulings = st.sampled_from(["proposer", "counterparty", "split"])
    kinds = [
        st.just(harness.study()),
        st.just(harness.job()),
        st.builds(harness.stake, small),
        st.builds(harness.unstake, small),
        st.builds(harness.burn, small),
        st.builds(harness.transfer, agents | st.just("nobody"), small),
        st.builds(harness.bid, st.sampled_from([40, 50, 70, 90]), st.integers(1, 5)),
        st.builds(harness.speak, st.sampled_from(["hey", "no", "y"])),
        proposals(),
        st.builds(harness.sign, contract_ids, roles),
        st.builds(harness.sign, contract_ids, roles),
        st.builds(harness.confirm, contract_ids),
        st.builds(harness.dispute, contract_ids),
        st.builds(harness.rule, contract_ids, rulings),
        st.builds(harness.sell, agents, agents, small),
    ]
    if mining:
        kinds += [st.just(harness.mine())] * 3
    return st.builds(lambda action, fee: {**action, **fee}, st.one_of(kinds), fees)


def turns(mining: bool = True) -> st.SearchStrategy[list[Json]]:
    """The submissions of one turn: some agents, each with some actions and some tokens."""
    one = st.fixed_dictionaries(
        {
            "agent_id": agents,
            "actions": st.lists(actions(mining), max_size=6),
            "inference": st.builds(lambda n: {"output_tokens": n}, st.integers(0, 120)),
        }
    )
    return st.lists(one, max_size=5, unique_by=lambda submission: submission["agent_id"])


def plays(mining: bool = True, most: int = 8) -> st.SearchStrategy[list[list[Json]]]:
    return st.lists(turns(mining), min_size=1, max_size=most)
