"""The OpenAPI document: bodies, answers, errors and examples, from the wire contract's types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter

from sim_engine import __version__
from sim_engine.api import problems
from sim_engine.types import answers
from sim_engine.types.requests import ACTIONS_ADAPTER, INIT_ADAPTER, QUEUE_ADAPTER, TURN_ADAPTER

Json = dict[str, Any]

REF_TEMPLATE: Final = "#/components/schemas/{model}"

DESCRIPTION: Final = """\
The authoritative world of a token economy. Amounts are whole tokens; a body with a field that is \
not described here is refused.

An engine without `SIM_OPERATOR_KEY` lets whoever reaches it do everything. With one, writing takes
\
the operator's key or, for `/actions`, an agent's; what is public can be read without a key."""

# Any request may be refused for these reasons.
_ALWAYS: Final = (
    "invalid_key",
    "foreign_page",
    "exposed",
    "malformed",
    "rate_limited",
    "internal_error",
)

_BODIES: Final[Mapping[str, TypeAdapter[Any]]] = {
    "InitRequest": INIT_ADAPTER,
    "TurnRequest": TURN_ADAPTER,
    "QueueRequest": QUEUE_ADAPTER,
}

_ANSWERS: Final = (
    answers.InitAnswer,
    answers.TurnAnswer,
    answers.QueueAnswer,
    answers.StateAnswer,
    answers.OneAgentAnswer,
    answers.ContractAnswer,
    answers.SpeechAnswer,
    answers.HealthAnswer,
    answers.BlockAnswer,
    answers.BlockPage,
    answers.ContractPage,
    answers.EntryPage,
    answers.TurnMetricsPage,
    answers.ProblemAnswer,
)

_HEADERS: Final[Mapping[int, Json]] = {
    401: {
        "WWW-Authenticate": {
            "description": "names the scheme, Bearer",
            "schema": {"type": "string"},
        }
    },
    429: {
        "Retry-After": {
            "description": "seconds to wait",
            "schema": {"type": "integer", "minimum": 1},
        }
    },
}

REPLAY_HEADER: Final[Json] = {
    "Idempotent-Replay": {
        "description": "`true` when the answer was given before, to the same request",
        "schema": {"type": "string", "const": "true"},
    }
}


def answer(name: str, example: Any, *, about: str, headers: Json | None = None) -> Json:
    """Describe a JSON answer of the type with this name."""
    described: Json = {
        "description": about,
        "content": {
            "application/json": {
                "schema": {"$ref": REF_TEMPLATE.format(model=name)},
                "example": example,
            }
        },
    }
    if headers:
        described["headers"] = headers
    return described


def refusals(*codes: str) -> dict[int | str, Json]:
    """Describe the problems that an operation can answer with, besides those that all can."""
    by_status: dict[int | str, Json] = {}
    for code in (*codes, *_ALWAYS):
        kind = problems.KINDS[code]
        described = by_status.setdefault(
            kind.status,
            {
                "description": "",
                "content": {
                    problems.MEDIA_TYPE: {
                        "schema": {"$ref": REF_TEMPLATE.format(model="ProblemAnswer")},
                        "examples": {},
                    }
                },
            },
        )
        described["content"][problems.MEDIA_TYPE]["examples"][code] = {"value": _example(code)}
        named = described["content"][problems.MEDIA_TYPE]["examples"]
        described["description"] = ", ".join(f"`{name}`" for name in named)
        if kind.status in _HEADERS:
            described["headers"] = _HEADERS[kind.status]
    return by_status


def _example(code: str) -> Json:
    kind = problems.KINDS[code]
    places = None
    if code == "malformed":
        place = ["submissions", 0, "actions", 1, "amount"]
        places = [{"loc": place, "message": "must be at least 1"}]
    return problems.problem_body(code, kind.status, kind.title, kind.example, places)


def body(name: str, examples: Mapping[str, Json]) -> Json:
    """Describe the body of an operation, whose type has this name."""
    return {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"$ref": REF_TEMPLATE.format(model=name)},
                    "examples": {title: {"value": value} for title, value in examples.items()},
                }
            },
        }
    }


def needs(*, operator: bool = False, any_key: bool = False) -> Json:
    """Describe which key an operation takes; none of the two means that a key shows more."""
    if operator:
        return {"security": [{"operatorKey": []}]}
    if any_key:
        return {"security": [{"operatorKey": []}, {"agentKey": []}]}
    return {"security": [{}, {"operatorKey": []}, {"agentKey": []}]}


def component_schemas() -> Json:
    """Write the schemas of every body and every answer."""
    adapters = [*_BODIES.values(), *(TypeAdapter(model) for model in _ANSWERS)]
    _, written = TypeAdapter.json_schemas(
        [(str(place), "validation", adapter) for place, adapter in enumerate(adapters)],
        ref_template=REF_TEMPLATE,
    )
    schemas: Json = tidy(written["$defs"])
    return schemas


def action_list_schema() -> Json:
    """Write the JSON Schema of a list of actions, for decoders that are held to a schema."""
    schema = tidy(ACTIONS_ADAPTER.json_schema())
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Actions", **schema}


def tidy(schema: Any) -> Any:
    """Drop the default of null that pydantic gives to fields that may be left out: none takes null.

    Titles that only repeat a field's name go as well.
    """
    if isinstance(schema, list):
        return [tidy(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: tidy(value) for key, value in schema.items() if (key, value) != ("default", None)}
    if isinstance(properties := kept.get("properties"), dict):
        for about in properties.values():
            about.pop("title", None)
    return kept


def write_document(app: FastAPI) -> Json:
    """Write the OpenAPI document of the application, once."""
    if app.openapi_schema is None:
        document = get_openapi(
            title="sim-engine",
            version=__version__,
            description=DESCRIPTION,
            routes=app.routes,
            license_info={"name": "MIT", "identifier": "MIT"},
        )
        document["components"] = {
            "schemas": component_schemas(),
            "securitySchemes": {
                "operatorKey": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "the text of SIM_OPERATOR_KEY; it may do everything",
                },
                "agentKey": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "an agent's key, from `/init` with `agent_keys`; it may queue "
                    "actions for its agent and read what is private to it",
                },
            },
        }
        app.openapi_schema = document
    return app.openapi_schema
