"""The three requests that write: ``/init``, ``/turn`` and ``/actions``."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request
from starlette.responses import Response

from sim_engine.api import examples
from sim_engine.api.access import any_key, caller_of, operator_only
from sim_engine.api.limits import QUEUE_BODY_BYTES_MAX, read_body
from sim_engine.api.logs import event
from sim_engine.api.openapi import REPLAY_HEADER, answer, body, needs, refusals
from sim_engine.api.parameters import known_parameters_only
from sim_engine.api.responses import json_answer
from sim_engine.api.workers import workers_of
from sim_engine.settings import Settings

router = APIRouter(tags=["writing"], dependencies=[Depends(known_parameters_only)])

_BODY = ("body_incomplete", "body_too_slow", "body_too_large", "malformed")
_WRITE = (*_BODY, "halted", "storage_failed")

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        pattern=r"^[!-~]+$",
        description="any text of your own; the same key with the same body has the same answer",
    ),
]


async def _whole_body(request: Request, bytes_max: int) -> bytes:
    settings: Settings = request.app.state.settings
    return await read_body(
        request, bytes_max=min(bytes_max, settings.max_body_bytes), seconds=settings.body_seconds
    )


@router.post(
    "/init",
    summary="Create the world",
    status_code=201,
    response_class=Response,
    dependencies=[Depends(operator_only)],
    responses={
        201: answer("InitAnswer", "The world that was made."),
        200: answer("InitAnswer", "It exists, made by this request."),
        **refusals("key_required", "forbidden", "world_exists", *_WRITE),
    },
    openapi_extra=body("InitRequest", examples.INIT_REQUESTS) | needs(operator=True),
)
async def init(request: Request) -> Response:
    """Create the world of an empty ledger: config, genesis block, agents.

    The same request again changes nothing and has the same answer, without the agents' keys, which
    are shown once.
    """
    workers = workers_of(request)
    content = await _whole_body(request, request.app.state.settings.max_body_bytes)
    made = await workers.write(workers.engine.init, content)
    return json_answer(made.content, 201 if made.created else 200)


@router.post(
    "/turn",
    summary="Submit all actions of a turn and process it",
    response_class=Response,
    dependencies=[Depends(operator_only)],
    responses={
        200: answer("TurnAnswer", "The sealed turn.", headers=REPLAY_HEADER),
        **refusals(
            "key_required",
            "forbidden",
            "no_world",
            "turn_sealed",
            "turn_out_of_order",
            "idempotency_key_reused",
            *_WRITE,
        ),
    },
    openapi_extra=body("TurnRequest", examples.TURN_REQUESTS) | needs(operator=True),
)
async def submit_turn(request: Request, idempotency_key: IdempotencyKey = None) -> Response:
    """Process the next turn with what its agents submit; an agent that is absent does nothing.

    An action that breaks a rule is no error of the request: its receipt says `rejected` and why.
    The number `turn`, or the header `Idempotency-Key`, makes it safe to send the same request
    again.
    """
    workers = workers_of(request)
    content = await _whole_body(request, request.app.state.settings.max_body_bytes)
    started = time.perf_counter()
    sealed = await workers.write(workers.engine.submit_turn, content, idempotency_key)
    if not sealed.replayed:
        event("turn", **sealed.summary, ms=(time.perf_counter() - started) * 1_000)
    return json_answer(sealed.content, replayed=sealed.replayed)


@router.post(
    "/actions",
    summary="Queue one agent's actions for the next turn",
    status_code=202,
    response_class=Response,
    dependencies=[Depends(any_key)],
    responses={
        202: answer(
            "QueueAnswer",
            "The actions wait for the next turn.",
            headers=REPLAY_HEADER,
        ),
        **refusals(
            "key_required",
            "forbidden",
            "unknown_agent",
            "no_world",
            "queue_full",
            "idempotency_key_reused",
            *_WRITE,
        ),
    },
    openapi_extra=body("QueueRequest", examples.QUEUE_REQUESTS) | needs(any_key=True),
)
async def queue_actions(request: Request, idempotency_key: IdempotencyKey = None) -> Response:
    """Store actions that the next `POST /turn` takes, after that agent's own submission.

    They survive a restart of the engine. An agent's key queues for its own agent only. The key of
    idempotency may stand in the body or in the header; the body's counts. What a model used to
    decide on them is not reported here, but by whoever submits the turn (`POST /turn`).
    """
    workers = workers_of(request)
    content = await _whole_body(request, QUEUE_BODY_BYTES_MAX)
    queued = await workers.queue(
        workers.engine.enqueue,
        content,
        only_agent=caller_of(request).agent_id,
        idempotency_key=idempotency_key,
    )
    return json_answer(queued.content, 202, replayed=queued.replayed)
