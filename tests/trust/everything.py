"""A small world in which everything has happened: every kind of row that a ledger can hold.

It is played through the engine itself, in process. ``python -m tests.trust.everything FILE`` makes
one to look at.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import orjson

from sim_engine.engine import Engine

Json = dict[str, Any]
Plan = Mapping[str, Sequence[Json]]

AGENTS: Final = ["a", "b", "c", "d", "poor", "z"]
TURNS: Final = 12

WORLD: Final[Json] = {
    "seed": "everything",
    "agents": [
        {"agent_id": agent_id, "balance": 40 if agent_id == "poor" else 20_000}
        for agent_id in AGENTS
    ],
    "agent_keys": True,
    "config": {
        "action_points": 60,
        "commons_per_agent": 20,
        "core_count": 3,
        "core_reserve": 50,
        "credit_limit": 300,
        "tuition": 5,
        "mine_power": 100,
        "mine_slots": 2,
        "difficulty_up_bps": 8_000,
        "mine_reward": 90,
        "stake_rate_bps": 9_000,
        "burn_rate_bps": 9_000,
    },
}


def act(kind: str, **fields: Any) -> Json:
    return {"type": kind, **fields}


def propose(contract_type: str, counterparty: str | None, terms: Json, **more: Any) -> Json:
    parties = {} if counterparty is None else {"counterparty": counterparty}
    given = {"arbitrator": "z", "duration": 2, **parties, "terms": terms, **more}
    return act("propose_contract", contract_type=contract_type, **given)


def _loan(counterparty: str, **more: Any) -> Json:
    terms = {"lender": "proposer", "principal": 100, "repayment": 120}
    return propose("loan", counterparty, terms, **more)


def _service(**more: Any) -> Json:
    terms: Json = {"provider": "counterparty", "price": 33, "description": "schöne Arbeit 🌍"}
    if "condition" in more:
        return propose("service", "b", terms | {"condition": more.pop("condition")}, **more)
    return propose("service", "b", terms, settlement="attested", counterparty_collateral=9, **more)


def _insurance(**more: Any) -> Json:
    terms: Json = {"insurer": "counterparty", "premium": 4, "coverage": 70, "description": "rain"}
    if "condition" in more:
        return propose("insurance", "b", terms | {"condition": more.pop("condition")}, **more)
    return propose("insurance", "b", terms, settlement="attested", **more)


_CORE: Final = {"seller": "proposer", "asset": {"kind": "core", "core_id": 0}, "price": 61}
_COMPUTE: Final = {"seller": "counterparty", "asset": {"kind": "compute", "cap": 80}, "price": 7}
_POOL: Final = {"members": ["b", "c"], "kinds": ["mine", "stake"], "split": "weight"}

PROPOSALS: Final[list[Json]] = [
    _loan("b"),  # c1 settled
    _loan("poor", counterparty_collateral=30),  # c2 defaulted: the borrower has spent it
    _service(),  # c3 settled: both confirm
    _service(),  # c4 ruled
    _service(),  # c5 lapsed
    _service(condition={"type": "spoke", "agent": "b", "contains": "DONE"}, duration=5),  # c6
    _insurance(condition={"type": "balance_below", "agent": "a", "amount": 1}),  # c7 settled
    _insurance(),  # c8 ruled: the insured's claim
    act("sell_information", to="b", arbitrator="z", price=5, title="hint", content="private text"),
    propose("pool", None, _POOL, duration=40),  # c10 active to the end
    propose("forward", "b", _CORE, duration=4),  # c11
    propose("forward", "b", _COMPUTE, duration=3),  # c12
    _loan("d"),  # c13 expired: nobody signs
]

LATE_PROPOSALS: Final = [_loan("b", duration=9), _service(duration=9), _loan("b")]
"""``c14`` ends active, ``c15`` disputed, ``c16`` proposed."""


def _sign(number: int, role: str = "counterparty") -> Json:
    return act("sign_contract", contract_id=f"c{number}", role=role)


def _about(kind: str, number: int, **more: Any) -> Json:
    return act(kind, contract_id=f"c{number}", **more)


SCRIPT: Final[dict[int, Plan]] = {
    1: {"a": [act("bid_core", amount=90, quantity=2, fee=3), *PROPOSALS]},
    2: {
        "b": [_sign(number) for number in (1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)],
        "poor": [_sign(2)],
        "c": [_sign(10)],
        "z": [_sign(number, "arbitrator") for number in range(1, 13)],
    },
    3: {
        "a": [_about("confirm_delivery", 3), _about("dispute_delivery", 4, reason="late — née")],
        "b": [_about("confirm_delivery", 3), act("speak", message="all DOne, d'accord?")],
        "poor": [act("transfer", to="d", amount=100, memo="spent")],
    },
    4: {
        "a": [_about("dispute_delivery", 5, reason="?"), _about("dispute_delivery", 8, reason="!")],
        "z": [_about("arbitrator_ruling", 4, ruling="split", reason="both")],
    },
    5: {"z": [_about("arbitrator_ruling", 8, ruling="proposer")]},
    TURNS - 2: {"a": LATE_PROPOSALS},
    TURNS - 1: {
        "b": [_sign(14), _sign(15)],
        "z": [_sign(14, "arbitrator"), _sign(15, "arbitrator")],
    },
    TURNS: {"b": [_about("dispute_delivery", 15, reason="no")], "c": [act("unstake", amount=8)]},
}


def _routine(agent_id: str, turn: int) -> list[Json]:
    """What an agent does every turn besides its script; some of it is rejected."""
    place = AGENTS.index(agent_id)
    if agent_id in ("poor", "z"):
        return [act("speak", message=f"turn {turn}")] if turn % 5 == 0 else []
    return [
        act("mine"),
        act("mine", fee=place),
        *([act("stake", amount=40 + place)] if turn % 3 == place % 3 else []),
        *([act("burn", amount=11)] if turn % 2 else []),
        *([act("unstake", amount=7)] if turn % 4 == 3 else []),
        *([act("study")] if turn % 4 == place % 4 else []),
        act("job"),
        *([act("bid_core", amount=60 + turn)] if turn == 4 else []),
        *([act("transfer", to="nobody", amount=1)] if turn % 6 == 0 else []),
    ]


def turn_body(turn: int) -> bytes:
    """The request of a turn."""
    script = SCRIPT.get(turn, {})
    submissions = []
    for place, agent_id in enumerate(AGENTS):
        actions = [*script.get(agent_id, []), *_routine(agent_id, turn)]
        if agent_id == "poor":
            tokens = 900 if turn in (6, 9) else 0
        else:
            tokens = 10 * place + turn
        usage = {
            "output_tokens": tokens,
            "prompt_tokens": 70,
            "model": "scripted",
            "duration_ms": 3,
        }
        submissions.append({"agent_id": agent_id, "actions": actions, "inference": usage})
    return orjson.dumps({"turn": turn, "submissions": submissions})


def queue_body(turn: int) -> bytes:
    """A request that queues actions for a turn."""
    actions = [act("speak", message=f"queued for {turn}"), act("transfer", to="a", amount=turn)]
    return orjson.dumps({"agent_id": "d", "actions": actions})


def play(engine: Engine, first: int = 1, last: int = TURNS) -> None:
    """Play turns with queued actions and keys of idempotency; some are left in the pool."""
    for turn in range(first, last + 1):
        engine.submit_turn(turn_body(turn), idempotency_key=f"turn-{turn}" if turn % 2 else None)
        if turn % 3 == 0:
            engine.enqueue(queue_body(turn + 1), idempotency_key=f"queue-{turn}")


def make(path: Path) -> None:
    """Make the ledger of the whole world in a new file, and leave no file beside it."""
    engine = Engine.open(path)
    engine.init(orjson.dumps(WORLD))
    play(engine)
    engine.close()


if __name__ == "__main__":
    make(Path(sys.argv[1]))
