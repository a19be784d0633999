"""A state machine that drives contracts of all types through every end status: rules §10.

Every rule plays one turn; after it the engine's contracts, balances, escrow and public counts are
those of the model.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.engine import harness
from tests.engine.contract_model import (
    ARBITRATOR,
    ATTEST_WINDOW,
    BANK,
    COUNTERS,
    KINDS,
    REACHABLE,
    RULING_WINDOW,
    SIGN_WINDOW,
    Books,
    Deal,
)

START, DEALS = 1_000, 30
ROSTER = [f"p{i}" for i in range(DEALS)] + [f"q{i}" for i in range(DEALS)]
CONFIG = {
    "sign_window": SIGN_WINDOW,
    "attest_window": ATTEST_WINDOW,
    "ruling_window": RULING_WINDOW,
    "core_count": DEALS + 1,
    "core_reserve": 0,
    "action_points": 100,
}
NEVER_SOLD = DEALS
ROLES = ("counterparty", "arbitrator")
amounts = st.sampled_from([0, 40, 101, 333])
durations = st.integers(1, 3)


class Contracts(RuleBasedStateMachine):
    """Deals, each between parties of its own; one arbitrator; a bank for what is spent."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        folder = self.stack.enter_context(harness.scratch())
        agents = dict.fromkeys(ROSTER, START) | {BANK: 0, ARBITRATOR: 1_000_000}
        self.world = self.stack.enter_context(harness.open_world(folder / "sim.db", agents, CONFIG))
        self.books = Books(dict(agents))
        self.deals: list[Deal] = []
        self.now = 0
        self.cores_sold = 0

    def teardown(self) -> None:
        self.stack.close()

    def play(self, **actions: list[harness.Json]) -> None:
        """Play the turn whose actions the model has been told of, then what time brings.

        The proposals of earlier turns are signed by all, unless they are abandoned.
        """
        for deal in self.those("proposed"):
            if deal.turn < self.now and not deal.abandoned:
                for role in ROLES:
                    if role not in deal.signed:
                        deal.sign(self.books, role, self.now)
                        signs = actions.setdefault(deal.signer(role), [])
                        signs.append(harness.sign(deal.cid, role))
        self.world.turn(actions)
        for deal in self.deals:
            if deal.due and self.now > deal.due - deal.duration:
                deal.phase_seven(self.books, self.now)
            deal.clock(self.books, self.now)

    def one(self, data: st.DataObject, *statuses: str, attested: bool | None = None) -> Deal:
        return data.draw(st.sampled_from(self.those(*statuses, attested=attested)), label="deal")

    def those(self, *statuses: str, attested: bool | None = None) -> list[Deal]:
        return [
            deal
            for deal in self.deals
            if deal.status in statuses and (attested is None or deal.attested is attested)
        ]

    # -- rules -------------------------------------------------------------------------------------

    def open(self, kind: str, p_pays: bool, collaterals: tuple[int, int], **more: Any) -> Deal:
        """Tell the model of a new deal."""
        number = len(self.deals)
        p_collateral, q_collateral = (0, 0) if kind == "pool" else collaterals
        deal = Deal(
            cid=f"c{number + 1}",
            kind=kind,
            p=f"p{number}",
            q=f"q{number}",
            p_pays=p_pays,
            p_collateral=p_collateral,
            q_collateral=q_collateral,
            core_id=NEVER_SOLD,
            turn=self.now,
            **more,
        )
        deal.sign(self.books, "proposer", self.now)
        self.deals.append(deal)
        return deal

    @rule(
        kind=st.sampled_from(KINDS),
        p_pays=st.booleans(),
        collaterals=st.tuples(amounts, amounts),
        duration=durations,
        delivers=st.booleans(),
        abandoned=st.sampled_from([False, False, False, False, True]),
    )
    @precondition(lambda self: len(self.deals) < DEALS)
    def propose(self, kind, p_pays, collaterals, duration, delivers, abandoned):
        self.now += 1
        deal = self.open(
            kind, p_pays, collaterals, duration=duration, delivers=delivers, abandoned=abandoned
        )
        actions: dict[str, list[harness.Json]] = {}
        if kind == "forward" and delivers:
            # The seller buys the next core in this turn's auction, for nothing at a reserve of 0.
            deal.core_id = self.cores_sold
            self.cores_sold += 1
            actions.setdefault(deal.payee, []).append(harness.bid(1))
        actions.setdefault(deal.p, []).append(deal.proposal())
        self.play(**actions)

    @rule(data=st.data(), role=st.sampled_from(ROLES))
    @precondition(lambda self: any(deal.abandoned for deal in self.those("proposed")))
    def sign_abandoned(self, data, role):
        self.now += 1
        abandoned = [deal for deal in self.those("proposed") if deal.abandoned]
        deal = data.draw(st.sampled_from(abandoned), label="deal")
        role = role if role not in deal.signed else next(r for r in ROLES if r not in deal.signed)
        deal.sign(self.books, role, self.now)
        self.play(**{deal.signer(role): [harness.sign(deal.cid, role)]})

    @rule(data=st.data())
    @precondition(lambda self: any(not d.attested and "/" in d.kind for d in self.those("active")))
    def say_the_word(self, data):
        self.now += 1
        deal = self.one(data, "active", attested=False)
        deal.spoken = deal.kind.endswith("/automatic")
        self.play(**{deal.payee: [harness.speak(f"here is {deal.word.upper()} as agreed")]})

    @rule(data=st.data(), by_payer=st.booleans())
    @precondition(lambda self: self.those("active", attested=True))
    def confirm(self, data, by_payer):
        self.now += 1
        deal = self.one(data, "active", attested=True)
        agent = deal.payer if by_payer or deal.payee in deal.confirmed else deal.payee
        deal.confirm(self.books, agent, self.now)
        self.play(**{agent: [harness.confirm(deal.cid)]})

    @rule(data=st.data(), by_payer=st.booleans())
    @precondition(lambda self: self.those("active", attested=True))
    def dispute(self, data, by_payer):
        self.now += 1
        deal = self.one(data, "active", attested=True)
        deal.dispute(self.now)
        agent = deal.payer if by_payer else deal.payee
        self.play(**{agent: [harness.dispute(deal.cid)]})

    @rule(data=st.data(), ruling=st.sampled_from(["proposer", "counterparty", "split"]))
    @precondition(lambda self: self.those("disputed"))
    def decide(self, data, ruling):
        self.now += 1
        deal = self.one(data, "disputed")
        deal.rule(self.books, ruling, self.now)
        self.play(**{ARBITRATOR: [harness.rule(deal.cid, ruling)]})

    @rule(data=st.data(), payer=st.booleans(), keep=st.sampled_from([0, 150]))
    @precondition(lambda self: self.those("active"))
    def spend(self, data, payer, keep):
        """A party gives away what it has, so that it cannot pay when it must."""
        self.now += 1
        deal = self.one(data, "active")
        agent = deal.payer if payer else deal.payee
        amount = self.books.balance[agent] - keep
        if amount <= 0:
            self.play()
            return
        self.books.pay(agent, -amount)
        self.books.pay(BANK, amount)
        self.play(**{agent: [harness.transfer(BANK, amount)]})

    @rule()
    def wait(self):
        self.now += 1
        self.play()

    # -- what must hold ----------------------------------------------------------------------------

    @invariant()
    def books_balance(self):
        self.world.check_books()

    @invariant()
    def contracts_are_those_of_the_model(self):
        shown = {c["contract_id"]: c for c in self.world.state()["contracts"]}
        assert shown.keys() == {deal.cid for deal in self.deals if deal.open}
        for deal in self.deals:
            if deal.open or deal.ended == self.now:
                contract = shown.get(deal.cid) or self.world.contract(deal.cid)
                seen = contract["status"], contract["ended_turn"], contract["escrow"]
                assert seen == (deal.status, deal.ended, deal.escrow()), (deal, contract)

    @invariant()
    def agents_are_those_of_the_model(self):
        state = self.world.state()
        assert state["supply"]["destroyed"] == self.books.destroyed
        zero = dict.fromkeys(COUNTERS, 0)
        for agent in state["agents"]:
            name = agent["agent_id"]
            assert agent["balance"] == self.books.balance[name], name
            counts = {counter: agent[counter] for counter in COUNTERS}
            assert counts == self.books.counts.get(name, zero), name


def test_contracts_end_as_the_model_says():
    run_state_machine_as_test(
        Contracts,
        settings=settings(
            max_examples=20,
            stateful_step_count=24,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


# -- every end of every kind, on purpose -----------------------------------------------------------


def drive(machine: Contracts, kind: str, status: str) -> None:
    """The shortest way of one deal to one end."""

    def step(**actions: list[harness.Json]) -> None:
        machine.play(**actions)
        machine.books_balance()
        machine.contracts_are_those_of_the_model()
        machine.agents_are_those_of_the_model()

    machine.propose(kind, True, (40, 101), 2, status == "settled", status == "expired")
    (deal,) = machine.deals
    machine.now += 1
    step()
    if status == "expired":
        machine.now += 1
        step()
    if status in ("ruled", "lapsed"):
        machine.now += 1
        deal.dispute(machine.now)
        step(**{deal.payer: [harness.dispute(deal.cid)]})
    if status == "ruled":
        machine.now += 1
        deal.rule(machine.books, "counterparty", machine.now)
        step(**{ARBITRATOR: [harness.rule(deal.cid, "counterparty")]})
    if status == "settled" and deal.attested:
        machine.now += 1
        deal.confirm(machine.books, deal.payer, machine.now)
        step(**{deal.payer: [harness.confirm(deal.cid)]})
    if status == "settled" and kind == "service/automatic":
        machine.now += 1
        deal.spoken = True
        step(**{deal.payee: [harness.speak(deal.word)]})
    if status == "defaulted" and kind == "loan":
        machine.now += 1
        amount = machine.books.balance[deal.payee]
        machine.books.pay(deal.payee, -amount)
        machine.books.pay(BANK, amount)
        step(**{deal.payee: [harness.transfer(BANK, amount)]})
    for _ in range(5):
        if deal.open:
            machine.now += 1
            step()
    assert deal.status == status


@pytest.mark.parametrize(
    ("kind", "status"), [(kind, end) for kind in KINDS for end in sorted(REACHABLE[kind])]
)
def test_every_kind_of_contract_reaches_every_end(kind, status):
    machine = Contracts()
    try:
        drive(machine, kind, status)
    finally:
        machine.teardown()


def test_the_model_knows_all_types_and_all_ends():
    assert {kind.partition("/")[0] for kind in KINDS} == {
        "loan",
        "forward",
        "service",
        "insurance",
        "information_sale",
        "pool",
    }
    assert set().union(*REACHABLE.values()) == {
        "settled",
        "defaulted",
        "ruled",
        "lapsed",
        "expired",
    }
