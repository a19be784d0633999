"""What is said of a malformed body: where it is wrong, what would be right, and no value of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from sim_engine.types.requests import INIT_ADAPTER, QUEUE_ADAPTER, TURN_ADAPTER
from sim_engine.validation import ERRORS_MAX, describe_validation_errors

WHOLE = "must be a whole number, written without quotes, point or exponent"
UNKNOWN = "is an unknown field: remove it, or mend its spelling"
ACTION = ["submissions", 0, "actions", 0]


def described(adapter: TypeAdapter[Any], body: Any) -> list[tuple[list[str | int], str]]:
    with pytest.raises(ValidationError) as refused:
        adapter.validate_python(body)
    return [(one["loc"], one["message"]) for one in describe_validation_errors(refused.value)]


def turn(*actions: Any, **more: Any) -> dict[str, Any]:
    return {"submissions": [{"agent_id": "a", "actions": list(actions), **more}]}


def transfer(**fields: Any) -> dict[str, Any]:
    return {"type": "transfer", "to": "b", "amount": 1, **fields}


def propose(contract_type: str, terms: Any, **more: Any) -> dict[str, Any]:
    return {
        "type": "propose_contract",
        "contract_type": contract_type,
        "counterparty": "b",
        "arbitrator": "c",
        "duration": 2,
        "terms": terms,
        **more,
    }


SERVICE = {"provider": "proposer", "price": 1, "description": ""}
POOL = {"members": ["b"], "kinds": ["mine"], "split": "equal"}


@pytest.mark.parametrize("amount", [1.0, True, "1", None, [1], 1e3], ids=repr)
def test_amounts_are_whole_numbers(amount: Any):
    assert described(TURN_ADAPTER, turn(transfer(amount=amount))) == [([*ACTION, "amount"], WHOLE)]


@pytest.mark.parametrize(
    ("action", "place", "message"),
    [
        (transfer(amount=2**53), ["amount"], f"must be at most {2**53 - 1}"),
        (transfer(amount=0), ["amount"], "must be at least 1"),
        (transfer(to=None), ["to"], "must be a text"),
        ({"type": "transfer", "to": "b"}, ["amount"], "is missing"),
        ({"type": "stake", "amount": 1, "stake": 1}, ["stake"], UNKNOWN),
        ({"type": "speak", "message": ""}, ["message"], "must have at least 1 character(s)"),
        ({"amount": 1}, [], "needs the field 'type'"),
        (5, [], "must be an object"),
        (
            propose("service", {**SERVICE, "condition": {"type": "actions", "agent": "a",
                                                         "action": "mine", "at_least": 0}}),
            ["terms", "condition", "at_least"],
            "must be at least 1",
        ),
        (
            propose("service", {**SERVICE, "condition": None}),
            ["terms", "condition"],
            "must be an object",
        ),
        (
            propose("forward", {"seller": "proposer", "price": 1,
                                "asset": {"kind": "core", "core_id": -1}}),
            ["terms", "asset", "core_id"],
            "must be at least 0",
        ),
        (propose("loan", SERVICE, settlement="q"), ["settlement"],
         "must be 'automatic' or 'attested'"),
        (propose("pool", {**POOL, "kinds": []}), ["terms", "kinds"],
         "must have at least 1 item(s)"),
        (propose("pool", {**POOL, "split": "q"}), ["terms", "split"],
         "must be 'equal', 'weight', or an object that gives each agent its basis points"),
        (propose("pool", {**POOL, "split": {"b": -1}}), ["terms", "split", "b"],
         "must be at least 0"),
    ],
)  # fmt: skip
def test_place_and_message_of_a_wrong_action(action: Any, place: list[str | int], message: str):
    assert ([*ACTION, *place], message) in described(TURN_ADAPTER, turn(action))


def test_unknown_types_are_answered_with_the_known_ones():
    ((place, message),) = described(TURN_ADAPTER, turn({"type": "mien"}))
    assert place == ACTION
    assert message.startswith("has an unknown 'type': use one of 'mine', ")
    ((place, message),) = described(TURN_ADAPTER, turn(propose("lone", {})))
    assert place == ACTION
    assert message.startswith("has an unknown 'contract_type': use one of 'loan', ")


@pytest.mark.parametrize(
    ("body", "place", "message"),
    [
        ({"agents": [5]}, ["agents", 0],
         "must be an agent's id, or an object with agent_id and balance"),
        ({"agents": ["a b"]}, ["agents", 0], "must match ^[A-Za-z0-9_.-]{1,64}$"),
        ({"agents": [{"agent_id": "a", "balance": -1}]}, ["agents", 0, "balance"],
         "must be at least 0"),
        ({"agents": []}, ["agents"], "must have at least 1 item(s)"),
        ({"agents": ["a"], "config": {"tax": 1}}, ["config", "tax"], UNKNOWN),
        ({"agents": ["a"], "config": {"core_count": 0}}, ["config", "core_count"],
         "must be at least 1"),
        ({"agents": ["a"], "agent_keys": 1}, ["agent_keys"], "must be true or false"),
        ({"agents": ["a"], "seed": "x" * 1001}, ["seed"], "must have at most 1,000 characters"),
        ({}, ["agents"], "is missing"),
        ([], [], "must be an object"),
    ],
)  # fmt: skip
def test_place_and_message_of_a_wrong_world(body: Any, place: list[str | int], message: str):
    assert described(INIT_ADAPTER, body) == [(place, message)]


def test_list_of_errors_is_bounded():
    found = described(TURN_ADAPTER, turn({"type": "mine", **{f"x{i}": 1 for i in range(1_000)}}))
    assert len(found) == ERRORS_MAX + 1
    assert found[-1] == ([], "and 950 more errors")


def test_a_list_is_looked_at_up_to_its_first_wrong_item():
    """Of millions of wrong items each would cost a kilobyte to say so."""
    wrong = [{"type": "stake"}, {"type": "stake", "amount": -1}]
    assert [place for place, _ in described(TURN_ADAPTER, turn({"type": "mine"}, *wrong))] == [
        ["submissions", 0, "actions", 1, "amount"]
    ]
    million = {"agent_id": "a", "actions": [{}] * 1_000_000}
    assert len(described(QUEUE_ADAPTER, million)) == 1
    assert len(described(INIT_ADAPTER, {"agents": [None] * 1_000_000})) == 1
    assert len(described(TURN_ADAPTER, {"submissions": [None] * 1_000_000})) == 1


def test_no_value_of_a_request_is_repeated():
    secret = "canary-7f3a"
    bodies: list[tuple[TypeAdapter[Any], Any]] = [
        (TURN_ADAPTER, turn({"type": secret}, {"type": "speak", "message": [secret]})),
        (TURN_ADAPTER, turn(propose("information_sale", {"content": [secret], "seller": secret}))),
        (INIT_ADAPTER, {"agents": [secret + "!"], "seed": [secret]}),
        (QUEUE_ADAPTER, {"agent_id": [secret], "actions": secret, "idempotency_key": secret * 50}),
    ]
    for adapter, body in bodies:
        assert secret not in json.dumps(described(adapter, body))
