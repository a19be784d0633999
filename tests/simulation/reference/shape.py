"""What a well-formed turn looks like; anything else is refused whole (rules §6, `docs/api.md`).

A shape is a function that says whether a JSON value has it. Objects know all their keys: an
unknown one, a missing one and a `null` are malformed.
"""

from collections.abc import Callable, Mapping
from typing import Any

from .actions import POINTS
from .numbers import MAX_AMOUNT

Shape = Callable[[Any], bool]

MAX_OUTPUT_TOKENS = 10**9


def integer(minimum: int, maximum: int = MAX_AMOUNT) -> Shape:
    """Accept whole numbers in bounds; `true` and `1.0` are none."""
    return lambda value: type(value) is int and minimum <= value <= maximum


def text(min_chars: int = 0) -> Shape:
    """Accept text that is valid Unicode, that is: without lone surrogates."""
    return lambda value: (
        isinstance(value, str)
        and len(value) >= min_chars
        and not any("\ud800" <= char <= "\udfff" for char in value)
    )


def one_of(*words: str) -> Shape:
    """Accept one of a few words."""
    return lambda value: isinstance(value, str) and value in words


def non_empty_list(item: Shape) -> Shape:
    """Accept a list with at least one item, each of the given shape."""
    return lambda value: isinstance(value, list) and bool(value) and all(map(item, value))


def record(required: Mapping[str, Shape], optional: Mapping[str, Shape] | None = None) -> Shape:
    """Accept an object with all required keys, perhaps the optional ones, and no others."""
    every = {**required, **(optional or {})}
    return lambda value: (
        isinstance(value, dict)
        and all(key in value for key in required)
        and all(key in every and every[key](value[key]) for key in value)
    )


def tagged(key: str, shapes: Mapping[str, Shape]) -> Shape:
    """Accept an object whose `key` names which of the shapes it must have."""
    return lambda value: (
        isinstance(value, dict)
        and isinstance(value.get(key), str)
        and value[key] in shapes
        and shapes[value[key]](value)
    )


ANY = text()
PARTY = one_of("proposer", "counterparty")
KIND = one_of("mine", "stake", "burn")
SETTLEMENT = one_of("automatic", "attested")

CONDITION = tagged(
    "type",
    {
        name: record({"type": ANY, **fields}, optional)
        for name, fields, optional in (
            ("blocks_won", {"agent": ANY, "at_least": integer(1)}, {"kind": KIND}),
            ("actions", {"agent": ANY, "action": one_of(*POINTS), "at_least": integer(1)}, {}),
            ("spoke", {"agent": ANY, "contains": ANY}, {}),
            ("balance_below", {"agent": ANY, "amount": integer(1)}, {}),
            ("balance_at_least", {"agent": ANY, "amount": integer(1)}, {}),
            ("study_level_at_least", {"agent": ANY, "level": integer(1)}, {}),
            ("core_owned", {"core_id": integer(0), "agent": ANY}, {}),
            ("inference_fees_at_least", {"agent": ANY, "amount": integer(1)}, {}),
            ("contract_defaulted", {"contract_id": ANY}, {}),
        )
    },
)

ASSET = tagged(
    "kind",
    {
        "core": record({"kind": ANY, "core_id": integer(0)}),
        "compute": record({"kind": ANY, "cap": integer(1)}),
    },
)


def split(value: Any) -> bool:
    """Accept `equal`, `weight`, or basis points by agent."""
    if isinstance(value, dict):
        return all(text()(key) and integer(0)(bps) for key, bps in value.items())
    return value in ("equal", "weight")


TERMS: dict[str, Shape] = {
    "loan": record({"lender": PARTY, "principal": integer(1), "repayment": integer(1)}),
    "forward": record({"seller": PARTY, "asset": ASSET, "price": integer(1)}),
    "service": record(
        {"provider": PARTY, "price": integer(1), "description": ANY}, {"condition": CONDITION}
    ),
    "insurance": record(
        {"insurer": PARTY, "premium": integer(0), "coverage": integer(1), "description": ANY},
        {"condition": CONDITION},
    ),
    "information_sale": record(
        {"seller": PARTY, "price": integer(1), "title": ANY, "content": ANY}
    ),
    "pool": record({"members": non_empty_list(ANY), "kinds": non_empty_list(KIND), "split": split}),
}

COMMON_TERMS: dict[str, Shape] = {
    "settlement": SETTLEMENT,
    "proposer_collateral": integer(0),
    "counterparty_collateral": integer(0),
    "arbitrator_fee": integer(0),
}


def proposal(contract_type: str) -> Shape:
    """Return the shape of a proposal; only a pool may leave out its counterparty."""
    required: dict[str, Shape] = {
        "type": ANY,
        "contract_type": ANY,
        "arbitrator": ANY,
        "duration": integer(1),
        "terms": TERMS[contract_type],
    }
    optional = COMMON_TERMS | {"arbitrator_collateral": integer(0), "fee": integer(0)}
    (optional if contract_type == "pool" else required)["counterparty"] = ANY
    return record(required, optional)


def action_of(fields: Mapping[str, Shape], optional: Mapping[str, Shape] | None = None) -> Shape:
    """Return the shape of an action: its own fields, its type, perhaps a fee."""
    return record({"type": ANY, **fields}, {"fee": integer(0), **(optional or {})})


ACTION = tagged(
    "type",
    {
        "mine": action_of({}),
        "stake": action_of({"amount": integer(1)}),
        "unstake": action_of({"amount": integer(1)}),
        "burn": action_of({"amount": integer(1)}),
        "study": action_of({}),
        "job": action_of({}),
        "transfer": action_of({"to": ANY, "amount": integer(1)}, {"memo": ANY}),
        "propose_contract": tagged("contract_type", {name: proposal(name) for name in TERMS}),
        "sign_contract": action_of(
            {"contract_id": ANY, "role": one_of("proposer", "counterparty", "arbitrator")}
        ),
        "confirm_delivery": action_of({"contract_id": ANY}),
        "dispute_delivery": action_of({"contract_id": ANY, "reason": ANY}),
        "arbitrator_ruling": action_of(
            {"contract_id": ANY, "ruling": one_of("proposer", "counterparty", "split")},
            {"reason": ANY},
        ),
        "sell_information": action_of(
            {"to": ANY, "arbitrator": ANY, "price": integer(1), "title": ANY, "content": ANY},
            COMMON_TERMS | {"duration": integer(1), "arbitrator_collateral": integer(0)},
        ),
        "bid_core": action_of({"amount": integer(1)}, {"quantity": integer(1)}),
        "speak": action_of({"message": text(1)}),
    },
)

INFERENCE = record(
    {"output_tokens": integer(0, MAX_OUTPUT_TOKENS)},
    {"prompt_tokens": integer(0), "model": ANY, "duration_ms": integer(0)},
)

SUBMISSION = record(
    {"agent_id": ANY, "actions": lambda value: isinstance(value, list) and all(map(ACTION, value))},
    {"inference": INFERENCE},
)


def is_well_formed(body: Any, agents: Mapping[str, Any]) -> bool:
    """Tell whether a turn's body is one that is applied, and not refused with 422."""
    outer = record({"submissions": lambda v: isinstance(v, list)}, {"turn": integer(1)})
    if not outer(body) or not all(map(SUBMISSION, body["submissions"])):
        return False
    named = [submission["agent_id"] for submission in body["submissions"]]
    return len(set(named)) == len(named) and all(who in agents for who in named)
