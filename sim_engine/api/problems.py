"""Errors as problem details (RFC 9457), and the list of all that the engine can answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from sim_engine import errors
from sim_engine.validation import describe_errors

MEDIA_TYPE: Final = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem: its HTTP status, its title, and a detail as an example."""

    status: int
    title: str
    example: str


def _raised_as(error: type[errors.RequestError], example: str) -> Kind:
    """Describe a kind of problem that the engine itself raises."""
    return Kind(error.status, error.title, example)


KINDS: Final[Mapping[str, Kind]] = {
    "bad_request": Kind(400, "Bad request", "this can not be read as a request of HTTP/1.1"),
    "body_incomplete": Kind(
        400, "Body incomplete", "the connection closed before the body was complete"
    ),
    "key_required": Kind(
        401, "Key required", "this needs a key: send the header Authorization: Bearer <key>"
    ),
    "invalid_key": Kind(
        401,
        "Invalid key",
        "what the header Authorization shows is no key of this engine; send Authorization: Bearer "
        "<key>, or leave the header out for what is public",
    ),
    "forbidden": Kind(403, "Forbidden", "this is the operator's to do, and the key is an agent's"),
    "foreign_page": Kind(
        403,
        "Foreign page",
        "an engine without keys does not answer web pages of other sites; set SIM_OPERATOR_KEY to "
        "reach it under a public name",
    ),
    "exposed": Kind(
        403,
        "Engine exposed",
        "an engine without keys answers its own machine only: set SIM_OPERATOR_KEY, or "
        "SIM_ALLOW_OPEN=1 if something else guards the port",
    ),
    "not_found": Kind(404, "Not found", "there is nothing at this path; /docs lists every path"),
    "unknown_agent": _raised_as(errors.NotFound, "there is no agent 'agent_9' in this world"),
    "unknown_contract": _raised_as(errors.NotFound, "there is no contract 'c9' in this world"),
    "unknown_turn": _raised_as(errors.NotFound, "turn 9 is not sealed; the last one is 7"),
    "unknown_block": _raised_as(errors.NotFound, "there is no block with this hash"),
    "method_not_allowed": Kind(
        405, "Method not allowed", "this path takes other methods: see the header Allow"
    ),
    "body_too_slow": Kind(408, "Body too slow", "the body was not complete within 60 seconds"),
    "no_world": _raised_as(errors.NoWorld, "create a world first, with POST /init"),
    "world_exists": _raised_as(errors.WorldExists, "this ledger holds a different world already"),
    "turn_sealed": _raised_as(errors.TurnSealed, "turn 7 was sealed with another body"),
    "turn_out_of_order": _raised_as(errors.TurnOutOfOrder, "the next turn is 8, not 9"),
    "queue_full": _raised_as(errors.QueueFull, "the agent has queued as many actions as it may"),
    "idempotency_key_reused": _raised_as(
        errors.KeyReused, "this key came before, with another request; use a new one"
    ),
    "body_too_large": Kind(
        413, "Body too large", "the body is larger than 33,554,432 bytes, the most that is taken"
    ),
    "malformed": _raised_as(errors.Malformed, "1 place in the request is malformed; see errors"),
    "rate_limited": Kind(
        429, "Rate limited", "too many requests; wait as the header Retry-After says"
    ),
    "head_too_large": Kind(
        431, "Head too large", "path and headers of a request may have 65,536 bytes together"
    ),
    "internal_error": Kind(
        500, "Internal error", "the engine failed on this request; the world is unchanged"
    ),
    "halted": _raised_as(errors.Halted, "the engine takes no writes any more; /health says why"),
    "storage_failed": _raised_as(
        errors.StorageFailed, "the ledger could not be written; nothing is applied"
    ),
}
"""Every problem by its ``code``."""


class Problem(Exception):
    """A request that this boundary refuses. ``code`` is a key of ``KINDS``."""

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        places: Sequence[Mapping[str, Any]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail or KINDS[code].example
        self.places = places
        self.headers = dict(headers or {})
        if KINDS[code].status == 401:
            error = ', error="invalid_token"' if code == "invalid_key" else ""
            self.headers["WWW-Authenticate"] = f'Bearer realm="sim-engine"{error}'


def problem_body(
    code: str, status: int, title: str, detail: str, places: Sequence[Mapping[str, Any]] | None = ()
) -> dict[str, Any]:
    """Build the JSON object of a problem."""
    body: dict[str, Any] = {
        "type": f"urn:problem-type:sim-economy:{code}",
        "title": title,
        "status": status,
        "code": code,
        "detail": detail,
    }
    if places:
        body["errors"] = list(places)
    return body


def respond(problem: Problem) -> Response:
    """Answer with a problem."""
    kind = KINDS[problem.code]
    return _response(
        problem_body(problem.code, kind.status, kind.title, problem.detail, problem.places),
        problem.headers,
    )


def _response(body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    return Response(
        orjson.dumps(body), body["status"], headers=dict(headers or {}), media_type=MEDIA_TYPE
    )


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return respond(error)


async def _on_refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, errors.RequestError)
    return _response(
        problem_body(error.code, error.status, error.title, error.detail, error.errors)
    )


async def _on_bad_parameters(request: Request, error: Exception) -> Response:
    """Refuse a path, query or header parameter; the place starts with where it stands."""
    assert isinstance(error, RequestValidationError)
    return respond(malformed_parameters(describe_errors(error.errors())))


def malformed_parameters(places: Sequence[Mapping[str, Any]]) -> Problem:
    """Build the problem of parameters that are wrong."""
    count = "1 parameter is" if len(places) == 1 else f"{len(places)} parameters are"
    return Problem("malformed", f"{count} malformed; see errors", places=places)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    """Answer what the router has to say: no such path, no such method."""
    assert isinstance(error, HTTPException)
    codes = {404: "not_found", 405: "method_not_allowed"}
    return respond(Problem(codes.get(error.status_code, "bad_request"), headers=error.headers))


async def _on_fault(request: Request, error: Exception) -> Response:
    """Answer a fault without a word of what it was; the log says where it happened."""
    # The server closes the connection after a fault; a client that knows will not use it again.
    return respond(Problem("internal_error", headers={"Connection": "close"}))


def install_handlers(app: FastAPI) -> None:
    """Make every error of the application a problem."""
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(errors.RequestError, _on_refusal)
    app.add_exception_handler(RequestValidationError, _on_bad_parameters)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(Exception, _on_fault)
