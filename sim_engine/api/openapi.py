"""The OpenAPI document: bodies, answers, errors and examples, from the wire contract's types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter

from sim_engine import __version__
from sim_engine.api import examples, problems
from sim_engine.types import answers
from sim_engine.types.actions import Action, ProposeContract
from sim_engine.types.conditions import Condition
from sim_engine.types.requests import ACTIONS_ADAPTER, INIT_ADAPTER, QUEUE_ADAPTER, TURN_ADAPTER

Json = dict[str, Any]

REF_TEMPLATE: Final = "#/components/schemas/{model}"

DESCRIPTION: Final = """\
The authoritative world of a token economy. Amounts are whole tokens; a body with a field that is \
not described here is refused.

An engine without `SIM_OPERATOR_KEY` lets whoever reaches it do everything. With one, writing takes
\
the operator's key or, for `/actions`, an agent's; what is public can be read without a key."""

TAGS: Final = [
    {"name": "writing", "description": "Make a world, and what happens in it."},
    {"name": "reading", "description": "The world as of its last sealed turn, and its history."},
    {"name": "engine", "description": "How the engine is, and what it takes."},
]
"""What the paths are for: the headings under which tools list them."""

# Any request may be refused for these reasons.
_ALWAYS: Final = (
    "invalid_key",
    "foreign_page",
    "exposed",
    "malformed",
    "rate_limited",
    "internal_error",
)

# What is said before any operation is found belongs to none of them.
_REFUSALS: Final = [
    code
    for code in problems.KINDS
    if code not in ("bad_request", "head_too_large", "not_found", "method_not_allowed")
]

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

# The outer ones after those that they contain.
_UNIONS: Final[Mapping[str, Any]] = {
    "Condition": Condition,
    "ProposeContract": ProposeContract,
    "Action": Action,
}

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


def answer(name: str, about: str, *, headers: Json | None = None) -> Json:
    """Describe a JSON answer of the type with this name, which has an example in ``examples``."""
    described: Json = {
        "description": about,
        "content": {
            "application/json": {
                "schema": {"$ref": REF_TEMPLATE.format(model=name)},
                "examples": {"example": {"$ref": f"#/components/examples/{name}"}},
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
        named = described["content"][problems.MEDIA_TYPE]["examples"]
        named[code] = {"$ref": f"#/components/examples/{code}"}
        described["description"] = ", ".join(f"`{name}`" for name in named)
        if kind.status in _HEADERS:
            described["headers"] = _HEADERS[kind.status]
    return by_status


def _problem_example(code: str) -> Json:
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
    schemas: Json = _tidy(written["$defs"])
    schemas["ConfigAnswer"] = TypeAdapter(answers.ConfigAnswer).json_schema()
    return _with_named_unions(schemas, REF_TEMPLATE)


def action_list_schema() -> Json:
    """Write the JSON Schema of a list of actions, for decoders that are held to a schema."""
    template = "#/$defs/{model}"
    schemas = _tidy(ACTIONS_ADAPTER.json_schema(ref_template=template)["$defs"])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Actions",
        "type": "array",
        "items": {"$ref": template.format(model="Action")},
        "$defs": _with_named_unions(schemas, template),
    }


def _tidy(schema: Any) -> Any:
    """Drop the default of null that pydantic gives to fields that may be left out: none takes null.

    Titles that only repeat a field's name go as well.
    """
    if isinstance(schema, list):
        return [_tidy(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: _tidy(value) for key, value in schema.items() if (key, value) != ("default", None)}
    if isinstance(properties := kept.get("properties"), dict):
        for about in properties.values():
            about.pop("title", None)
    return kept


def _with_named_unions(schemas: Json, template: str) -> Json:
    """Give the tagged unions names of their own, instead of writing them out wherever they stand.

    pydantic writes the union of proposals inside that of actions, even into the mapping of its tag,
    where only a reference may stand.
    """
    for name, union in _UNIONS.items():
        written = TypeAdapter(union).json_schema(ref_template=template)
        del written["$defs"]
        written = _with_references(_tidy(written), schemas, template)
        reference = {"$ref": template.format(model=name)}
        schemas = {key: _replace(schema, written, reference) for key, schema in schemas.items()}
        schemas[name] = written
    return {name: _flat_mappings(schema) for name, schema in sorted(schemas.items())}


def _with_references(union: Any, schemas: Json, template: str) -> Any:
    """Refer from a union to those inside it that have their names already."""
    for name in _UNIONS:
        if name in schemas:
            union = _replace(union, schemas[name], {"$ref": template.format(model=name)})
    return union


def _replace(schema: Any, old: Json, new: Json) -> Any:
    if schema == old:
        return new
    if isinstance(schema, list):
        return [_replace(part, old, new) for part in schema]
    if isinstance(schema, dict):
        return {key: _replace(value, old, new) for key, value in schema.items()}
    return schema


def _flat_mappings(schema: Any) -> Any:
    """Write each value in the mapping of a tag as the bare reference that OpenAPI wants."""
    if isinstance(schema, list):
        return [_flat_mappings(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    flat = {key: _flat_mappings(value) for key, value in schema.items()}
    if isinstance(tag := flat.get("discriminator"), dict):
        tag["mapping"] = {
            value: ref if isinstance(ref, str) else ref["$ref"]
            for value, ref in tag["mapping"].items()
        }
    return flat


def _plain_parameters(document: Json) -> None:
    """Say of optional parameters what they take: in a URL or a header there is no null."""
    for path in document["paths"].values():
        for operation in path.values():
            for parameter in operation.get("parameters", ()):
                schema = parameter["schema"]
                options = [one for one in schema.pop("anyOf", ()) if one != {"type": "null"}]
                schema.update(*options)
                for repeated in ("title", "description"):
                    schema.pop(repeated, None)


def write_document(app: FastAPI) -> Json:
    """Write the OpenAPI document of the application, once."""
    if app.openapi_schema is None:
        document = get_openapi(
            title="sim-engine",
            version=__version__,
            description=DESCRIPTION,
            routes=app.routes,
            tags=TAGS,
            license_info={"name": "MIT", "identifier": "MIT"},
        )
        _plain_parameters(document)
        document["components"] = {
            "schemas": component_schemas(),
            "examples": {
                name: {"value": value}
                for name, value in [
                    *examples.ANSWERS.items(),
                    *((code, _problem_example(code)) for code in _REFUSALS),
                ]
            },
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
