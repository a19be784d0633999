"""The OpenAPI document is valid, examples and answers obey it, and no input breaks the engine."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis import GenerationMode
from schemathesis.core.result import Ok

from sim_engine.api import problems
from sim_engine.api.app import create_app
from sim_engine.settings import Settings
from tests.api.server import Server, serving, world

KEY = "operator-key-of-these-tests"
ROSTER = ["agent_0", "agent_1", "agent_2"]
DOCUMENT: dict[str, Any] = create_app(Settings()).openapi()
EXAMPLES = DOCUMENT["components"]["examples"]
METHODS = {"get", "post"}


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in DOCUMENT["paths"].items():
        for method in METHODS & set(item):
            yield method, path, item[method]


def validator(schema: dict[str, Any]) -> Draft202012Validator:
    """A validator for a schema of the document, with its references."""
    return Draft202012Validator({"components": DOCUMENT["components"], **schema})


def test_document_is_valid():
    assert len(OPERATIONS) == len(list(operations()))
    assert [error.message for error in OpenAPIV31SpecValidator(DOCUMENT).iter_errors()] == []


def test_every_path_of_the_api_is_described():
    assert {f"{method.upper()} {path}" for method, path, _ in operations()} == {
        "POST /init",
        "POST /turn",
        "POST /actions",
        "GET /state",
        "GET /agent/{agent_id}",
        "GET /contract/{contract_id}",
        "GET /speech/{turn}",
        "GET /config",
        "GET /health",
        "GET /turns/{turn}",
        "GET /blocks",
        "GET /block/{hash}",
        "GET /contracts",
        "GET /entries",
        "GET /metrics",
        "GET /metrics/turns",
        "GET /schema/actions",
    }


def examples() -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Every example of the document with the schema that it stands beside."""
    for method, path, operation in operations():
        contents = [("request", operation.get("requestBody", {}).get("content", {}))]
        contents += [(code, one["content"]) for code, one in operation["responses"].items()]
        for name, content in contents:
            for about in content.values():
                for title, one in about.get("examples", {}).items():
                    name_of_one = one.get("$ref", "").rpartition("/")[2]
                    value = (one if "value" in one else EXAMPLES[name_of_one])["value"]
                    yield f"{method} {path} {name} {title}", about["schema"], value


@pytest.mark.parametrize(
    ("schema", "value"), [pytest.param(s, v, id=name) for name, s, v in examples()]
)
def test_example_obeys_its_schema(schema: dict[str, Any], value: Any):
    assert [error.message for error in validator(schema).iter_errors(value)] == []


def test_every_problem_is_described_somewhere():
    described = {
        code
        for _, _, operation in operations()
        for answer in operation["responses"].values()
        for code in answer["content"].get(problems.MEDIA_TYPE, {}).get("examples", {})
    }
    # What is said before any operation is found belongs to none.
    assert set(problems.KINDS) - described == {
        "bad_request",
        "head_too_large",
        "not_found",
        "method_not_allowed",
    }


def test_no_reference_leads_nowhere_and_no_schema_is_unused():
    text = str(DOCUMENT)
    schemas = DOCUMENT["components"]["schemas"]
    assert [name for name in schemas if f"'#/components/schemas/{name}'" not in text] == []


# -- against the live engine -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    path = tmp_path_factory.mktemp("openapi") / "sim.db"
    with serving(path, "--rate-limit", "0", SIM_OPERATOR_KEY=KEY) as server:
        with server.client(KEY) as client:
            assert client.post("/init", json=world(ROSTER)).status_code == 201
            play(client)
        yield server
        assert server.process.poll() is None, "the engine has died"
        assert [line for line in server.log if "fault=" in line] == []


def play(client: httpx.Client) -> None:
    """Leave something of every kind in the world."""
    parties = {"counterparty": "agent_1", "arbitrator": "agent_2", "duration": 3}
    loan = {"lender": "proposer", "principal": 100, "repayment": 110}
    service = {"provider": "counterparty", "price": 50, "description": "work"}
    pool = {
        "members": ["agent_1"],
        "kinds": ["mine"],
        "split": {"agent_0": 4_000, "agent_1": 6_000},
    }
    condition = {"type": "spoke", "agent": "agent_0", "contains": "x"}
    insurance = {
        "insurer": "counterparty",
        "premium": 1,
        "coverage": 5,
        "description": "",
        "condition": condition,
    }
    forward = {"seller": "proposer", "asset": {"kind": "compute", "cap": 9}, "price": 5}
    sale = {"to": "agent_1", "arbitrator": "agent_2", "price": 9, "title": "t", "content": "secret"}
    proposals = [
        {"contract_type": "loan", "terms": loan},
        {"contract_type": "service", "terms": service, "settlement": "attested"},
        {"contract_type": "pool", "terms": pool},
        {"contract_type": "insurance", "terms": insurance},
        {"contract_type": "forward", "terms": forward},
    ]
    first = [{"type": "propose_contract", **parties, **one} for one in proposals]
    signs = [{"type": "sign_contract", "contract_id": f"c{n}"} for n in range(1, 7)]
    turns: list[dict[str, Any]] = [
        {
            "agent_0": [*first, {"type": "sell_information", **sale}],
            "agent_1": [{"type": "mine"}] * 3,
            "agent_2": [{"type": "bid_core", "amount": 15_000}, {"type": "speak", "message": "hi"}],
        },
        {
            "agent_1": [{**sign, "role": "counterparty"} for sign in signs],
            "agent_2": [{**sign, "role": "arbitrator"} for sign in signs],
        },
        {
            "agent_0": [
                {"type": "dispute_delivery", "contract_id": "c2", "reason": "late"},
                {"type": "stake", "amount": 500},
                {"type": "burn", "amount": 100},
                {"type": "study"},
                {"type": "transfer", "to": "agent_9", "amount": 5},
            ]
        },
        {
            "agent_2": [{"type": "arbitrator_ruling", "contract_id": "c2", "ruling": "split"}],
            "agent_0": [{"type": "unstake", "amount": 100}, {"type": "mine"}, {"type": "mine"}],
        },
    ]
    for turn in turns:
        inference = {"output_tokens": 9_000, "model": "scripted"}
        submissions = [
            {"agent_id": agent, "actions": actions, "inference": inference}
            for agent, actions in turn.items()
        ]
        answer = client.post("/turn", json={"submissions": submissions})
        assert answer.status_code == 200, answer.text
    queued = {"agent_id": "agent_0", "actions": [{"type": "mine"}]}
    assert client.post("/actions", json=queued).status_code == 202


READS = [
    "/state",
    "/state?agents=false",
    "/agent/agent_0",
    "/agent/agent_1",
    *[f"/contract/c{number}" for number in range(1, 7)],
    "/contracts?limit=2",
    "/contracts?status=ruled",
    "/speech/1",
    "/config",
    "/turns/1",
    "/turns/3",
    "/blocks",
    "/blocks?from=1&status=canonical",
    "/entries?limit=3",
    "/entries?after=1.2&account=agent:agent_0",
    "/metrics/turns",
    "/metrics/turns?limit=2",
    "/health",
]


@pytest.mark.parametrize("key", [KEY, None], ids=["operator", "public"])
@pytest.mark.parametrize("path", READS)
def test_live_answer_obeys_its_schema(engine: Server, path: str, key: str | None):
    with engine.client(key) as client:
        response = client.get(path)
    assert response.status_code == 200, response.text
    template = next(
        one for _, one, _ in operations() if len(one.split("/")) == len(path.split("/"))
        and path.partition("?")[0].startswith(one.partition("{")[0])
        and ("{" in one or one == path.partition("?")[0])
    )  # fmt: skip
    content = DOCUMENT["paths"][template]["get"]["responses"]["200"]["content"]
    schema = content["application/json"]["schema"]
    assert [e.message for e in validator(schema).iter_errors(response.json())] == []


def test_blocks_can_be_read_one_by_one(engine: Server):
    with engine.client() as client:
        blocks = client.get("/blocks").json()["blocks"]
        assert blocks[0]["kind"] == "genesis"
        assert [client.get(f"/block/{block['hash']}").json() for block in blocks] == blocks


def test_published_schema_of_actions_accepts_actions_and_nothing_else(engine: Server):
    with engine.client() as client:
        response = client.get("/schema/actions")
    assert response.headers["content-type"] == "application/schema+json"
    schema = response.json()
    Draft202012Validator.check_schema(schema)
    accepts = Draft202012Validator(schema).is_valid
    assert accepts([{"type": "mine"}, {"type": "stake", "amount": 5, "fee": 1}])
    assert not accepts([{"type": "mine", "amount": 1}])
    assert not accepts([{"type": "stake"}])
    assert not accepts([{"type": "stake", "amount": 0}])
    assert not accepts({"type": "mine"})


SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
OPERATIONS = [found.ok() for found in SCHEMA.get_all_operations() if isinstance(found, Ok)]


def inputs() -> Iterator[Any]:
    """Operations with the kinds of input that they have: one without any can get nothing wrong."""
    for operation in OPERATIONS:
        yield pytest.param(operation, GenerationMode.POSITIVE, id=f"{operation.label}-right")
        if operation.body or list(operation.iter_parameters()):
            yield pytest.param(operation, GenerationMode.NEGATIVE, id=f"{operation.label}-wrong")


@pytest.mark.parametrize(("operation", "mode"), list(inputs()))
def test_no_input_is_answered_outside_the_document(
    engine: Server, operation: Any, mode: GenerationMode
):
    known = cycle(ROSTER)

    @settings(
        max_examples=25 if operation.body else 8,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode))
    def answers(case: schemathesis.Case[Any]) -> None:
        if case.path == "/turn" and isinstance(case.body, dict):
            # Agents of this world, else every turn would be refused before an action is looked at.
            submissions = case.body.get("submissions")
            for submission in submissions if isinstance(submissions, list) else ():
                if isinstance(submission, dict) and "agent_id" in submission:
                    submission["agent_id"] = next(known)
        case.call_and_validate(
            base_url=engine.url,
            headers={"Authorization": f"Bearer {KEY}"},
            # A body may have its shape and be refused: for a turn number, an id, a sum of balances.
            excluded_checks=[schemathesis.checks.positive_data_acceptance],
        )

    answers()
