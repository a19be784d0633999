"""Requests at the edge of what is well-formed, each audited against the rules' text."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.simulation.auditor import Auditor
from tests.simulation.simulate import engine_in_a_new_directory

MALFORMED = "malformed"
SPOKE = {"type": "spoke", "agent": "a", "contains": "x"}
SERVICE = {"provider": "counterparty", "price": 5, "description": "work", "condition": SPOKE}
ENTRIES = "SELECT turn, seq, source, target, amount FROM entries ORDER BY turn, seq"
LOAN = {"lender": "proposer", "principal": 5, "repayment": 5}


def propose(contract_type: str, terms: dict[str, Any], **fields: Any) -> dict[str, Any]:
    parties = {"counterparty": "b", "arbitrator": "c", "duration": 1}
    return {
        "type": "propose_contract",
        "contract_type": contract_type,
        "terms": terms,
        **parties,
        **fields,
    }


def pool(**terms: Any) -> dict[str, Any]:
    return {"members": ["b"], "kinds": ["mine"], "split": "equal"} | terms


def service(**condition: Any) -> dict[str, Any]:
    return propose("service", SERVICE | {"condition": condition})


def without(record: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name != key}


def sell(**fields: Any) -> dict[str, Any]:
    sale = {"type": "sell_information", "to": "b", "arbitrator": "c", "price": 5}
    return sale | {"title": "", "content": ""} | fields


def transfer(to: str, **fields: Any) -> dict[str, Any]:
    return {"type": "transfer", "to": to, "amount": 1, **fields}


ACTIONS: dict[str, tuple[dict[str, Any], str | None]] = {
    "the proposer among a pool's members": (
        propose("pool", pool(members=["b", "a"])),
        "invalid_terms",
    ),
    "a pool with oneself": (
        propose("pool", pool(members=["a"]), counterparty="a"),
        "invalid_terms",
    ),
    "the arbitrator among a pool's members": (
        propose("pool", pool(members=["b", "c"])),
        "self_dealing",
    ),
    "a share of nothing": (propose("pool", pool(split={"a": 10_000, "b": 0})), None),
    "no shares": (propose("pool", pool(split={})), "invalid_terms"),
    "a share for one of two": (propose("pool", pool(split={"a": 10_000})), "invalid_terms"),
    "shares beyond the whole": (
        propose("pool", pool(split={"a": 10_000, "b": 1})),
        "invalid_terms",
    ),
    "a negative share": (propose("pool", pool(split={"a": 10_001, "b": -1})), MALFORMED),
    "a split by another word": (propose("pool", pool(split="fair")), MALFORMED),
    "an arbitrator's collateral in a pool": (
        propose("pool", pool(), arbitrator_collateral=7),
        None,
    ),
    "a party's collateral in a pool": (
        propose("pool", pool(), counterparty_collateral=1),
        "invalid_terms",
    ),
    "a pool that is attested": (propose("pool", pool(), settlement="attested"), "invalid_terms"),
    "a pool without a counterparty": (without(propose("pool", pool()), "counterparty"), None),
    "a loan without a counterparty": (without(propose("loan", LOAN), "counterparty"), MALFORMED),
    "a pool with null": (propose("pool", pool(), counterparty=None), MALFORMED),
    "an odd member": (propose("pool", pool(members=["b", "x y"])), "unknown_agent"),
    "a transfer to nobody": (transfer(""), "unknown_agent"),
    "a transfer to a space": (transfer("a b"), "unknown_agent"),
    "a transfer to NUL": (transfer("\0"), "unknown_agent"),
    "a transfer to a long name": (transfer("x" * 5000), "unknown_agent"),
    "an empty memo": (transfer("b", memo=""), None),
    "a memo of NUL": (transfer("b", memo="\0"), None),
    "no contract's id": ({"type": "confirm_delivery", "contract_id": ""}, "unknown_contract"),
    "another script's digit": (
        {"type": "confirm_delivery", "contract_id": "c١"},
        "unknown_contract",
    ),
    "a number too long": (
        {"type": "confirm_delivery", "contract_id": "c" + "9" * 5000},
        "unknown_contract",
    ),
    "a space as speech": ({"type": "speak", "message": " "}, None),
    "noncharacters as speech": ({"type": "speak", "message": "a\0b\uffff\ufdd0"}, None),
    "half a character as speech": ({"type": "speak", "message": "\udc00"}, MALFORMED),
    "an empty description": (propose("service", SERVICE | {"description": ""}), None),
    "no description": (propose("service", without(SERVICE, "description")), MALFORMED),
    "no condition": (propose("service", without(SERVICE, "condition")), "invalid_terms"),
    "a condition on a loan": (propose("loan", LOAN | {"condition": SPOKE}), MALFORMED),
    "a condition on words of no length": (service(**(SPOKE | {"contains": ""})), None),
    "a condition on itself": (
        service(type="contract_defaulted", contract_id="c999"),
        "unknown_contract",
    ),
    "a condition on a level of 0": (
        service(type="study_level_at_least", agent="a", level=0),
        MALFORMED,
    ),
    "a condition on no action": (
        service(type="actions", agent="a", action="fly", at_least=1),
        MALFORMED,
    ),
    "a condition on genesis": (
        service(type="blocks_won", agent="a", kind="genesis", at_least=1),
        MALFORMED,
    ),
    "a condition on null": (
        service(type="blocks_won", agent="a", kind=None, at_least=1),
        MALFORMED,
    ),
    "an arbitrator at no risk": (propose("service", SERVICE, arbitrator_collateral=0), None),
    "a loan for ever": (
        propose("loan", LOAN | {"repayment": 2**53 - 1}, duration=2**53 - 1),
        None,
    ),
    "bids beyond all money": (
        {"type": "bid_core", "amount": 2**53 - 1, "quantity": 4},
        "insufficient_funds",
    ),
    "a sale to oneself": (sell(to="a"), "self_dealing"),
    "a sale without words": (sell(), None),
    "a sale that names its seller": (sell(seller="proposer"), MALFORMED),
    "a fee of nothing": ({"type": "mine", "fee": 0}, None),
    "a fee beyond all money": ({"type": "mine", "fee": 2**53 - 1}, "insufficient_funds"),
    "a fee beyond all numbers": ({"type": "mine", "fee": 2**53}, MALFORMED),
}


def used(**inference: Any) -> dict[str, Any]:
    return {"submissions": [{"agent_id": "a", "actions": [], "inference": inference}]}


def submitted(*names: str) -> dict[str, Any]:
    return {"submissions": [{"agent_id": name, "actions": []} for name in names]}


BODIES: dict[str, tuple[Any, bool]] = {
    "nothing": (submitted(), True),
    "all tokens there can be": (used(output_tokens=10**9), True),
    "one token more": (used(output_tokens=10**9 + 1), False),
    "less than none": (used(output_tokens=-1), False),
    "no output tokens": (used(prompt_tokens=1, model="x", duration_ms=1), False),
    "a model that is null": (used(output_tokens=1, model=None), False),
    "an agent twice": (submitted("a", "b", "a"), False),
    "an agent that does not exist": (submitted("a", "z"), False),
    "no actions": ({"submissions": [{"agent_id": "a"}]}, False),
    "no submissions": ({"turn": 1}, False),
    "turn 0": ({"turn": 0, "submissions": []}, False),
    "turn null": ({"turn": None, "submissions": []}, False),
    "an unknown field": ({"submissions": [], "x": 1}, False),
    "a list": ([], False),
    "a text": ("turn", False),
}


@pytest.fixture(scope="module")
def auditor() -> Iterator[Auditor]:
    """One world for all rows: the auditor knows what each finds."""
    config = {"max_open_contracts": 1000}
    with engine_in_a_new_directory() as port:
        one = Auditor(port, {"seed": "edges", "agents": ["a", "b", "c", "d"], "config": config})
        one.start()
        yield one


@pytest.mark.parametrize("name", ACTIONS)
def test_actions_at_the_edge(auditor, name):
    action, code = ACTIONS[name]
    answer = auditor.turn({"submissions": [{"agent_id": "a", "actions": [action]}]})
    got = MALFORMED if answer is None else answer["receipts"][0]["code"]
    assert got == code


@pytest.mark.parametrize("name", BODIES)
def test_bodies_at_the_edge(auditor, name):
    body, well_formed = BODIES[name]
    assert (auditor.turn(body) is not None) == well_formed


def test_the_order_of_keys_and_submissions_does_not_matter():
    made = []
    for reverse in (False, True):
        actions = [{"type": "transfer", "to": "b", "amount": 5, "fee": 1}]
        submissions = [
            {"agent_id": "a", "actions": actions},
            {"agent_id": "b", "actions": [{"type": "mine"}]},
        ]
        if reverse:
            submissions = [dict(reversed(one.items())) for one in reversed(submissions)]
        with engine_in_a_new_directory() as port:
            one = Auditor(port, {"seed": "order", "agents": ["a", "b"]})
            one.start()
            one.turn({"submissions": submissions})
            made.append(port.rows(ENTRIES))
    assert made[0] == made[1]
