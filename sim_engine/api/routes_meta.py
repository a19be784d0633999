"""What is said of the engine itself: health, metrics, the schema of actions."""

from __future__ import annotations

from functools import cache

import orjson
from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from sim_engine import __version__
from sim_engine.api import prometheus
from sim_engine.api.openapi import action_list_schema, answer, needs, refusals
from sim_engine.api.parameters import known_parameters_only
from sim_engine.api.responses import json_answer
from sim_engine.api.workers import workers_of

router = APIRouter(tags=["engine"], dependencies=[Depends(known_parameters_only)])


@cache
def _action_list_schema() -> bytes:
    """Write the schema at the first request: it takes longer than a start should."""
    return orjson.dumps(action_list_schema())


@router.get(
    "/health",
    summary="How the engine is",
    response_class=Response,
    responses={200: answer("HealthAnswer", "It answers."), **refusals()},
    openapi_extra=needs(),
)
async def health(request: Request) -> Response:
    """Tell the last sealed turn, and why the engine is halted if it is.

    A halted engine can still be read. This waits for nothing, not even for a turn in hand.
    """
    engine = workers_of(request).engine
    found = {"status": "ok", "turn": engine.turn, "version": __version__}
    if engine.halted is not None:
        found |= {"status": "halted", "reason": engine.halted}
    return json_answer(orjson.dumps(found))


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    responses={
        200: {
            "description": "The state of the world and of the process.",
            "content": {
                "text/plain": {
                    "schema": {"type": "string"},
                    "example": "# HELP sim_turn The last sealed turn.\n# TYPE sim_turn gauge\n"
                    "sim_turn 7\n",
                }
            },
        },
        **refusals(),
    },
    openapi_extra=needs(),
)
async def metrics(request: Request) -> Response:
    """Tell what the last sealed turn measured and how many requests were answered."""
    workers = workers_of(request)
    turn = workers.engine.turn
    row = {} if turn is None else await workers.read(workers.engine.metrics)
    content = prometheus.exposition(
        turn=row.get("turn", turn),
        halted=workers.engine.halted is not None,
        row=row,
        counts=request.app.state.counts,
    )
    return Response(content, headers={"Content-Type": prometheus.MEDIA_TYPE})


@router.get(
    "/schema/actions",
    summary="JSON Schema of a list of actions",
    response_class=Response,
    responses={
        200: {
            "description": "JSON Schema, draft 2020-12.",
            "content": {"application/schema+json": {"schema": {"type": "object"}}},
        },
        **refusals(),
    },
    openapi_extra=needs(),
)
async def actions_schema(request: Request) -> Response:
    """Show the shape of `actions`, for models whose decoding can be held to a schema."""
    return Response(_action_list_schema(), media_type="application/schema+json")
