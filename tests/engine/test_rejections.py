"""One row per rejection code, and which code names an action that breaks two rules: rules §6."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from tests.engine.harness import (
    EngineWorld,
    Json,
    bid,
    burn,
    compute_forward,
    confirm,
    core_forward,
    dispute,
    insurance,
    job,
    loan,
    mine,
    pool,
    propose,
    rule,
    sell,
    service,
    sign,
    speak,
    stake,
    study,
    transfer,
    unstake,
)

AGENTS = {"a": 1_000, "b": 1_000, "c": 1_000, "poor": 10, "z": 2_000}
CONFIG = {"core_reserve": 100, "max_message_chars": 40, "max_content_chars": 60}
MET = {"type": "balance_at_least", "agent": "a", "amount": 1}
LONG = "x" * 41

Setup = Callable[[EngineWorld], object]


def nothing(world: EngineWorld) -> None:
    """The world as it was created."""


def cores_sold(world: EngineWorld) -> None:
    world.turn({"c": [bid(100, 4)]})


def proposed(proposal: Json) -> Setup:
    def setup(world: EngineWorld) -> None:
        world.turn({"a": [proposal]})

    return setup


def active(proposal: Json) -> Setup:
    def setup(world: EngineWorld) -> None:
        world.sign_all(proposal)

    return setup


def then(*setups: Setup) -> Setup:
    def setup(world: EngineWorld) -> None:
        for one in setups:
            one(world)

    return setup


def played(**actions: Sequence[Json]) -> Setup:
    def setup(world: EngineWorld) -> None:
        world.turn(actions)

    return setup


def in_a_pool(world: EngineWorld) -> None:
    """a and b are in an active pool for mine blocks, c1; c has proposed another to b, c2."""
    world.turn({"a": [pool(["b"], ["mine"], "equal", duration=90)]})
    world.turn({"c": [pool(["b"], ["mine"], "equal")]})
    world.turn(world.signatures("c1", pool(["b"], ["mine"], "equal")))


ATTESTED = service(100, counterparty_collateral=50)
AUTOMATIC = service(100, condition=MET | {"amount": 10**9}, duration=50)


@dataclass(frozen=True)
class Row:
    """In the world that ``setup`` makes, the last of ``actions`` is rejected with ``code``."""

    name: str
    code: str
    agent: str
    actions: Sequence[Json]
    setup: Setup = nothing
    config: dict[str, int] = field(default_factory=dict)
    numbers: Sequence[int] = ()


CODES = [
    Row("points", "action_points_exhausted", "a", [mine(), mine(), mine(), stake(1)]),
    Row("points left", "action_points_exhausted", "a", [mine(), mine(), stake(1), mine()]),
    Row("job twice", "once_per_turn", "a", [job(), job()]),
    Row("speech", "speech_limit", "a", [speak("1"), speak("2"), speak("3")], numbers=[2]),
    Row("message", "too_long", "a", [speak(LONG)], numbers=[40]),
    Row("memo", "too_long", "a", [transfer("b", 1, memo=LONG)], numbers=[40]),
    Row("title", "too_long", "a", [sell("b", "z", 1, title=LONG)], numbers=[40]),
    Row("content", "too_long", "a", [sell("b", "z", 1, content="x" * 61)], numbers=[60]),
    Row("description", "too_long", "a",
        [propose("service", {"provider": "proposer", "price": 1, "description": LONG},
                 settlement="attested")], numbers=[40]),
    Row("contains", "too_long", "a",
        [service(1, condition={"type": "spoke", "agent": "b", "contains": LONG})], numbers=[40]),
    Row("dispute reason", "too_long", "a", [dispute("c1", LONG)], active(ATTESTED), numbers=[40]),
    Row("ruling reason", "too_long", "z", [rule("c1", "split", reason=LONG)],
        then(active(ATTESTED), played(a=[dispute("c1")])), numbers=[40]),
    Row("transfer", "unknown_agent", "a", [transfer("nobody", 1)]),
    Row("counterparty", "unknown_agent", "a", [loan(1, 1, counterparty="nobody")]),
    Row("arbitrator", "unknown_agent", "a", [loan(1, 1, arbitrator="nobody")]),
    Row("member", "unknown_agent", "a", [pool(["b", "nobody"], ["mine"], "equal")]),
    Row("buyer", "unknown_agent", "a", [sell("nobody", "z", 1)]),
    Row("agent of a condition", "unknown_agent", "a",
        [service(1, condition={"type": "blocks_won", "agent": "nobody", "at_least": 1})]),
    Row("to oneself", "self_dealing", "a", [transfer("a", 1)]),
    Row("contract with oneself", "self_dealing", "a", [loan(1, 1, counterparty="a")]),
    Row("own arbitrator", "self_dealing", "a", [loan(1, 1, arbitrator="a")]),
    Row("counterparty as arbitrator", "self_dealing", "a", [loan(1, 1, arbitrator="b")]),
    Row("sale to oneself", "self_dealing", "a", [sell("a", "z", 1)]),
    Row("member as arbitrator", "self_dealing", "a",
        [pool(["b", "c"], ["mine"], "equal", arbitrator="c")]),
    Row("transfer of too much", "insufficient_funds", "a", [transfer("b", 1_001)],
        numbers=[1_001, 1_000]),
    Row("fee", "insufficient_funds", "poor", [speak("x", fee=11)], numbers=[11, 10]),
    Row("stake", "insufficient_funds", "poor", [stake(11)], numbers=[11, 10]),
    Row("burn", "insufficient_funds", "poor", [burn(11)], numbers=[11, 10]),
    Row("tuition", "insufficient_funds", "poor", [study()], numbers=[200, 10]),
    Row("bid", "insufficient_funds", "a", [bid(400, 3)], numbers=[1_200, 1_000]),
    Row("proposer's escrow", "insufficient_funds", "a", [loan(900, 1, proposer_collateral=51)],
        numbers=[1_001, 1_000]),
    Row("counterparty's escrow", "insufficient_funds", "b", [sign("c1")],
        proposed(loan(1_001, 1, lender="counterparty")), numbers=[1_001, 1_000]),
    Row("arbitrator's escrow", "insufficient_funds", "z", [sign("c1", "arbitrator")],
        proposed(loan(1, 1, arbitrator_collateral=2_001)), numbers=[2_001, 2_000]),
    Row("unstake", "insufficient_stake", "a", [stake(5), unstake(6)], numbers=[6, 5]),
    Row("nothing staked", "insufficient_stake", "a", [unstake(1)]),
    Row("level", "max_study_level", "a", [study(), study()], config={"max_study_level": 1},
        numbers=[1]),
    Row("sold out", "no_core_for_sale", "a", [bid(100)], cores_sold),
    Row("cheap bid", "below_reserve", "a", [bid(99)], numbers=[99, 100]),
    Row("sign", "unknown_contract", "b", [sign("c9")]),
    Row("confirm", "unknown_contract", "b", [confirm("c9")]),
    Row("dispute", "unknown_contract", "b", [dispute("c9")]),
    Row("rule", "unknown_contract", "b", [rule("c9", "split")]),
    Row("no such id", "unknown_contract", "b", [sign("C1")], proposed(loan(1, 1))),
    Row("contract of a condition", "unknown_contract", "a",
        [service(1, condition={"type": "contract_defaulted", "contract_id": "c1"})]),
    Row("outsider signs", "not_a_party", "c", [sign("c1")], proposed(loan(1, 1))),
    Row("outsider confirms", "not_a_party", "c", [confirm("c1")], active(ATTESTED)),
    Row("outsider disputes", "not_a_party", "c", [dispute("c1")], active(ATTESTED)),
    Row("outsider rules", "not_a_party", "c", [rule("c1", "split")],
        then(active(ATTESTED), played(a=[dispute("c1")]))),
    Row("counterparty as arbitrator", "wrong_role", "b", [sign("c1", "arbitrator")],
        proposed(loan(1, 1))),
    Row("arbitrator as counterparty", "wrong_role", "z", [sign("c1")], proposed(loan(1, 1))),
    Row("arbitrator confirms", "wrong_role", "z", [confirm("c1")], active(ATTESTED)),
    Row("arbitrator disputes", "wrong_role", "z", [dispute("c1")], active(ATTESTED)),
    Row("party rules", "wrong_role", "b", [rule("c1", "counterparty")],
        then(active(ATTESTED), played(a=[dispute("c1")]))),
    Row("proposer signs again", "already_signed", "a", [sign("c1", "proposer")],
        proposed(loan(1, 1))),
    Row("counterparty signs again", "already_signed", "b", [sign("c1"), sign("c1")],
        proposed(loan(1, 1))),
    Row("arbitrator signs again", "already_signed", "z",
        [sign("c1", "arbitrator"), sign("c1", "arbitrator")], proposed(loan(1, 1))),
    Row("member signs again", "already_signed", "b", [sign("c1"), sign("c1")],
        proposed(pool(["b", "c"], ["mine"], "equal"))),
    Row("sign active", "contract_not_open", "b", [sign("c1")], active(ATTESTED)),
    Row("sign expired", "contract_not_open", "b", [sign("c1")],
        then(proposed(loan(1, 1)), lambda world: world.rest(3))),
    Row("confirm proposed", "contract_not_active", "b", [confirm("c1")], proposed(ATTESTED)),
    Row("dispute proposed", "contract_not_active", "a", [dispute("c1")], proposed(ATTESTED)),
    Row("confirm disputed", "contract_not_active", "a", [confirm("c1")],
        then(active(ATTESTED), played(b=[dispute("c1")]))),
    Row("dispute disputed", "contract_not_active", "a", [dispute("c1")],
        then(active(ATTESTED), played(b=[dispute("c1")]))),
    Row("confirm settled", "contract_not_active", "b", [confirm("c1")],
        then(active(ATTESTED), played(a=[confirm("c1")]))),
    Row("rule active", "contract_not_disputed", "z", [rule("c1", "split")], active(ATTESTED)),
    Row("rule ruled", "contract_not_disputed", "z", [rule("c1", "split")],
        then(active(ATTESTED), played(a=[dispute("c1")]), played(z=[rule("c1", "split")]))),
    Row("confirm automatic", "settlement_is_automatic", "b", [confirm("c1")], active(AUTOMATIC)),
    Row("dispute automatic", "settlement_is_automatic", "a", [dispute("c1")], active(AUTOMATIC)),
    Row("payee confirms again", "already_confirmed", "b", [confirm("c1"), confirm("c1")],
        active(ATTESTED)),
    Row("pool of the same kind", "already_in_pool", "b", [sign("c2")], in_a_pool),
    Row("another pool of the same kind", "already_in_pool", "a",
        [pool(["c"], ["stake", "mine"], "equal")], in_a_pool),
    Row("contracts of a member", "too_many_contracts", "c", [loan(1, 1), sign("c1")],
        proposed(pool(["b", "c"], ["mine"], "equal")), config={"max_open_contracts": 1}),
    Row("contracts", "too_many_contracts", "a", [loan(1, 1), loan(1, 1)],
        config={"max_open_contracts": 1}, numbers=[1]),
    Row("attested loan", "invalid_terms", "a", [loan(1, 1, settlement="attested")]),
    Row("attested forward", "invalid_terms", "a", [compute_forward(1, 1, settlement="attested")]),
    Row("attested pool", "invalid_terms", "a",
        [pool(["b"], ["mine"], "equal", settlement="attested")]),
    Row("automatic service without condition", "invalid_terms", "a",
        [service(1, settlement="automatic")]),
    Row("attested service with condition", "invalid_terms", "a",
        [service(1, condition=MET, settlement="attested")]),
    Row("automatic insurance without condition", "invalid_terms", "a",
        [insurance(1, 1, settlement="automatic")]),
    Row("attested insurance with condition", "invalid_terms", "a",
        [insurance(1, 1, condition=MET, settlement="attested")]),
    Row("duplicate member", "invalid_terms", "a", [pool(["b", "b"], ["mine"], "equal")]),
    Row("proposer as member", "invalid_terms", "a", [pool(["b", "a"], ["mine"], "equal")]),
    Row("duplicate kind", "invalid_terms", "a", [pool(["b"], ["mine", "mine"], "equal")]),
    Row("split names another", "invalid_terms", "a",
        [pool(["b"], ["mine"], {"a": 5_000, "c": 5_000})]),
    Row("split forgets one", "invalid_terms", "a",
        [pool(["b", "c"], ["mine"], {"a": 5_000, "b": 5_000})]),
    Row("split of 99.99%", "invalid_terms", "a", [pool(["b"], ["mine"], {"a": 5_000, "b": 4_999})],
        numbers=[10_000]),
    Row("split of 100.01%", "invalid_terms", "a",
        [pool(["b"], ["mine"], {"a": 5_000, "b": 5_001})], numbers=[10_000]),
    Row("pool with collateral", "invalid_terms", "a",
        [pool(["b"], ["mine"], "equal", proposer_collateral=1)]),
    Row("pool with members' collateral", "invalid_terms", "a",
        [pool(["b"], ["mine"], "equal", counterparty_collateral=1)]),
    Row("pool counterparty is no first member", "invalid_terms", "a",
        [pool(["b", "c"], ["mine"], "equal", counterparty="c")]),
    Row("arbitrator's collateral", "invalid_terms", "a", [service(1, arbitrator_collateral=249)],
        numbers=[250]),
    Row("core of a forward", "invalid_terms", "a", [core_forward(4, 1)], numbers=[4]),
    Row("core of a condition", "invalid_terms", "a",
        [service(1, condition={"type": "core_owned", "core_id": 4, "agent": "b"})], numbers=[4]),
    Row("quantity", "invalid_terms", "a", [bid(100, 5)], numbers=[5, 4]),
]  # fmt: skip

ALL_CODES = [
    "action_points_exhausted",
    "once_per_turn",
    "speech_limit",
    "too_long",
    "unknown_agent",
    "self_dealing",
    "insufficient_funds",
    "insufficient_stake",
    "max_study_level",
    "no_core_for_sale",
    "below_reserve",
    "unknown_contract",
    "not_a_party",
    "wrong_role",
    "already_signed",
    "contract_not_open",
    "contract_not_active",
    "contract_not_disputed",
    "settlement_is_automatic",
    "already_confirmed",
    "already_in_pool",
    "too_many_contracts",
    "invalid_terms",
]

ORDER = [
    # an unpaid fee, then points
    Row("fee, points", "insufficient_funds", "poor",
        [mine(), mine(), mine(), burn(1, fee=11)], numbers=[11]),
    Row("fee, unknown agent", "insufficient_funds", "poor", [transfer("nobody", 1, fee=11)]),
    # points, then once_per_turn and speech_limit
    Row("points, once", "action_points_exhausted", "a", [mine(), mine(), job(), job()]),
    Row("points, too long", "action_points_exhausted", "a",
        [mine(), mine(), mine(), transfer("b", 1, memo=LONG)]),
    Row("points, terms", "action_points_exhausted", "a", [mine(), mine(), mine(), bid(100, 5)]),
    Row("points, money", "action_points_exhausted", "a",
        [mine(), mine(), mine(), transfer("b", 9_999)]),
    # speech_limit, then too_long
    Row("limit, too long", "speech_limit", "a", [speak("1"), speak("2"), speak(LONG)]),
    # too_long, then invalid_terms and the rest
    Row("too long, terms", "too_long", "a",
        [propose("service", {"provider": "proposer", "price": 1, "description": LONG})]),
    Row("too long, agent", "too_long", "a", [transfer("nobody", 1, memo=LONG)]),
    Row("too long, contract", "too_long", "a", [dispute("c9", LONG)]),
    Row("too long, money", "too_long", "a", [transfer("b", 9_999, memo=LONG)]),
    # invalid_terms, then unknown_agent, …
    Row("terms, agent", "invalid_terms", "a",
        [loan(1, 1, settlement="attested", counterparty="nobody")]),
    Row("terms, contract", "invalid_terms", "a",
        [service(1, settlement="attested",
                 condition={"type": "contract_defaulted", "contract_id": "c9"})]),
    Row("terms, self", "invalid_terms", "a", [loan(1, 1, settlement="attested", arbitrator="a")]),
    Row("terms, state", "invalid_terms", "a", [bid(100, 5)], cores_sold),
    Row("terms, reserve", "invalid_terms", "a", [bid(99, 5)]),
    Row("terms, number of contracts", "invalid_terms", "a",
        [loan(1, 1), loan(1, 1, settlement="attested")], config={"max_open_contracts": 1}),
    Row("terms, money", "invalid_terms", "a", [loan(9_999, 1, settlement="attested")]),
    # unknown_agent, then unknown_contract, self_dealing, …
    Row("agent, contract", "unknown_agent", "a",
        [service(1, counterparty="nobody",
                 condition={"type": "contract_defaulted", "contract_id": "c9"})]),
    Row("agent, self", "unknown_agent", "a", [loan(1, 1, counterparty="nobody", arbitrator="a")]),
    Row("agent, number of contracts", "unknown_agent", "a",
        [loan(1, 1), loan(1, 1, counterparty="nobody")], config={"max_open_contracts": 1}),
    Row("agent, money", "unknown_agent", "a", [transfer("nobody", 9_999)]),
    # unknown_contract, then self_dealing
    Row("contract, self", "unknown_contract", "a",
        [service(1, arbitrator="a",
                 condition={"type": "contract_defaulted", "contract_id": "c9"})]),
    # self_dealing, then the rest
    Row("self, number of contracts", "self_dealing", "a",
        [loan(1, 1), loan(1, 1, arbitrator="a")], config={"max_open_contracts": 1}),
    Row("self, money", "self_dealing", "a", [transfer("a", 9_999)]),
    # not_a_party, then wrong_role and the state
    Row("party, state", "not_a_party", "c", [sign("c1")], active(ATTESTED)),
    Row("party, not disputed", "not_a_party", "c", [rule("c1", "split")], active(ATTESTED)),
    # wrong_role, then the state
    Row("role, not open", "wrong_role", "b", [sign("c1", "arbitrator")], active(ATTESTED)),
    Row("role, not disputed", "wrong_role", "b", [rule("c1", "split")], active(ATTESTED)),
    Row("role, not active", "wrong_role", "z", [confirm("c1")], proposed(ATTESTED)),
    Row("role, automatic", "wrong_role", "z", [dispute("c1")], active(AUTOMATIC)),
    # the state, in the order in which the rules name its codes
    Row("not open, already signed", "contract_not_open", "b", [sign("c1")], active(ATTESTED)),
    Row("not active, automatic", "contract_not_active", "b", [confirm("c1")], proposed(AUTOMATIC)),
    Row("not active, confirmed", "contract_not_active", "b", [confirm("c1")],
        then(active(ATTESTED), played(b=[confirm("c1")]), played(a=[confirm("c1")]))),
    Row("no core, reserve", "no_core_for_sale", "a", [bid(99)], cores_sold),
    Row("reserve, money", "below_reserve", "poor", [bid(99)]),
    Row("no core, money", "no_core_for_sale", "poor", [bid(100)], cores_sold),
    Row("level, money", "max_study_level", "a", [study(), burn(700), study()],
        config={"max_study_level": 1, "tuition": 300}),
    Row("signed, number of contracts", "already_signed", "b", [sign("c1"), sign("c1")],
        proposed(loan(1, 1)), config={"max_open_contracts": 1}),
    Row("signed, money", "already_signed", "b", [sign("c1"), sign("c1")],
        proposed(loan(900, 1, lender="counterparty"))),
    # already_in_pool, then too_many_contracts, then money
    Row("pool, number of contracts", "already_in_pool", "b", [sign("c2")], in_a_pool,
        config={"max_open_contracts": 1}),
    Row("number of contracts, money", "too_many_contracts", "a", [loan(1, 1), loan(9_999, 1)],
        config={"max_open_contracts": 1}),
]  # fmt: skip


def check(open_world, row: Row) -> None:
    world = open_world(AGENTS, {**CONFIG, **row.config})
    row.setup(world)
    receipt = world.refused(row.agent, *row.actions)
    assert receipt["code"] == row.code
    # The sentence tells the agent what to do: it is a sentence, and it names the numbers.
    message = receipt["message"]
    assert len(message.split()) >= 3, message
    said = {int(n.replace(",", "")) for n in re.findall(r"\d[\d,]*", message)}
    assert said >= set(row.numbers), message
    world.check_books()


@pytest.mark.parametrize("row", CODES, ids=[f"{row.code}: {row.name}" for row in CODES])
def test_rejection(open_world, row):
    check(open_world, row)


@pytest.mark.parametrize("row", ORDER, ids=[f"{row.code}: {row.name}" for row in ORDER])
def test_the_first_broken_rule_names_the_code(open_world, row):
    check(open_world, row)


def test_every_code_of_the_rules_has_a_row():
    assert len(ALL_CODES) == 23
    assert {row.code for row in CODES} == set(ALL_CODES)


def test_codes_are_documented_in_openapi(open_world):
    world = open_world(("a",))
    described = str(world.get("/openapi.json"))
    assert [code for code in ALL_CODES if code not in described] == []


def test_a_rejected_action_is_recorded_with_its_code(open_world):
    world = open_world(AGENTS)
    world.attempt({"a": [transfer("nobody", 1), stake(2)]})
    assert world.rows("SELECT agent_id, type, status, code FROM actions ORDER BY turn, seq") == [
        ("a", "transfer", "rejected", "unknown_agent"),
        ("a", "stake", "applied", None),
    ]


@pytest.mark.parametrize("length", [64, 65, 100_000])
def test_a_message_repeats_no_more_of_a_name_than_a_name_can_be_long(open_world, length):
    """Messages are public, and stay in the ledger for ever."""
    world = open_world(AGENTS)
    for action in (transfer("x" * length, 1), confirm("c" + "9" * (length - 1))):
        message = world.refused("a", action)["message"]
        assert len(message) < 200
        assert ("…" in message) == (length > 64)
