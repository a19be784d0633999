"""From the bytes of a request to what the rules and the ledger take in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar, get_args

import orjson
from pydantic import TypeAdapter, ValidationError

from sim_engine.errors import Malformed
from sim_engine.ledger.journal import Intake, Usage
from sim_engine.rules.in_hand import Submitted, make_plan
from sim_engine.rules.state import Agent, World
from sim_engine.types.actions import Action
from sim_engine.types.conditions import ActionType
from sim_engine.types.requests import TurnRequest
from sim_engine.validation import PlacedError, describe_validation_errors

T = TypeVar("T")

_BARE_PAYLOADS: Final = {name: f'{{"type":"{name}"}}' for name in get_args(ActionType)}
"""The payloads of actions without fields, which are most of what is submitted."""


@dataclass(slots=True)
class Pending:
    """An action that waits for the next turn."""

    pending_id: int
    agent: Agent
    action: Action
    payload: str


def parse(body: bytes, adapter: TypeAdapter[T]) -> tuple[Any, T]:
    """Parse and validate a body.

    Returns the plain JSON value beside the validated request, because the ledger keeps actions as
    they were submitted. Raises Malformed, which names each place that is wrong.
    """
    try:
        # orjson refuses NaN, lone surrogates and endless nesting, and reads integers beyond 64 bits
        # as floats, which the strict types refuse.
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Malformed(f"the body is not JSON: {error}", [_at([], str(error))]) from None
    try:
        return value, adapter.validate_python(value)
    except ValidationError as error:
        raise Malformed(
            "the body does not have the shape of this request; see errors",
            [dict(one) for one in describe_validation_errors(error)],
        ) from None


def canonical_payload(action: dict[str, Any]) -> str:
    """Write a valid action as it was submitted, with its keys in order."""
    if len(action) == 1:
        return _BARE_PAYLOADS[action["type"]]
    return orjson.dumps(action, option=orjson.OPT_SORT_KEYS).decode()


def take_in(world: World, value: Any, request: TurnRequest, pending: Sequence[Pending]) -> Intake:
    """Resolve a valid request to the agents of a world; what waits in the pool comes after it.

    Raises Malformed for an agent that is unknown or there twice.
    """
    actions: list[Action] = []
    payloads: list[str] = []
    senders: dict[Agent, int] = {}
    inference: list[tuple[Agent, int]] = []
    usage: list[Usage] = []
    errors: list[dict[str, Any]] = []
    for place, (submission, raw) in enumerate(
        zip(request.submissions, value["submissions"], strict=True)
    ):
        agent = world.agents.get(submission.agent_id)
        if agent is None or agent in senders:
            errors.append(_wrong_agent(place, known=agent is not None))
            continue
        senders[agent] = len(submission.actions)
        actions += submission.actions
        payloads += [canonical_payload(action) for action in raw["actions"]]
        used = submission.inference
        if used is not None:
            tokens = used.output_tokens
            inference.append((agent, tokens))
            usage.append((agent.agent_id, used.model, used.prompt_tokens, tokens, used.duration_ms))
    if errors:
        raise Malformed("some submissions name no agent of this world, or one twice", errors)
    actions += [waiting.action for waiting in pending]
    payloads += [waiting.payload for waiting in pending]
    plan, agent_ids = make_plan(senders.items(), [waiting.agent for waiting in pending])
    return Intake(
        Submitted(actions, plan, inference),
        [(agent.agent_id, count) for agent, count in senders.items()],
        payloads,
        agent_ids,
        [waiting.pending_id for waiting in pending],
        usage,
    )


def _wrong_agent(place: int, *, known: bool) -> dict[str, Any]:
    said = (
        "this agent has a submission already; put all its actions into one"
        if known
        else "there is no such agent; GET /state lists the roster"
    )
    return _at(["submissions", place, "agent_id"], said)


def _at(place: list[str | int], message: str) -> dict[str, Any]:
    return dict(PlacedError(loc=place, message=message))
