"""What holds for every path: methods, problems, replays, paging, health and metrics."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.api.conftest import OpenApp

READS = [
    "/state",
    "/agent/a",
    "/contract/c1",
    "/contracts",
    "/speech/1",
    "/config",
    "/turns/1",
    "/blocks",
    "/block/abc",
    "/entries",
    "/metrics/turns",
]


@pytest.fixture
def client(open_app: OpenApp) -> TestClient:
    return open_app(["a", "b", "z"])


def turn(client: TestClient, *actions: dict[str, Any], agent: str = "a", **more: Any) -> Any:
    body = {"submissions": [{"agent_id": agent, "actions": list(actions)}], **more}
    return client.post("/turn", json=body)


def problem(answer: Any) -> str:
    """The code of an answer that must be a problem in every respect."""
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == answer.status_code
    assert body["type"] == f"urn:problem-type:sim-economy:{body['code']}"
    assert body["title"]
    assert body["detail"]
    return str(body["code"])


# -- methods and paths -----------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/nowhere", "/agent", "/agent/", "/state/", "/turns", "//"])
def test_unknown_paths(client: TestClient, path: str):
    answer = client.get(path, follow_redirects=False)
    assert (answer.status_code, problem(answer)) == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/turn", "POST"),
        ("POST", "/state", "GET"),
        ("DELETE", "/agent/a", "GET"),
        ("PUT", "/init", "POST"),
        ("PATCH", "/actions", "POST"),
    ],
)
def test_wrong_methods_name_the_right_ones(
    client: TestClient, method: str, path: str, allowed: str
):
    answer = client.request(method, path)
    assert (answer.status_code, problem(answer)) == (405, "method_not_allowed")
    assert answer.headers["allow"] == allowed


@pytest.mark.parametrize("path", ["/state", "/health", "/metrics", "/agent/nobody"])
def test_head_is_get_without_a_body(client: TestClient, path: str):
    got, head = client.get(path), client.head(path)
    assert head.status_code == got.status_code
    assert head.headers["content-type"] == got.headers["content-type"]
    assert head.content == b""
    if path != "/metrics":  # it counts the very request
        assert head.headers["content-length"] == got.headers["content-length"]


def test_options_name_the_methods_of_a_path(client: TestClient):
    answer = client.options("/state")
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"
    assert client.options("/turn").headers["allow"] == "OPTIONS, POST"
    assert client.options("/nowhere").status_code == 404
    assert "access-control-allow-origin" not in answer.headers


# -- worlds that are not there, engines that are halted --------------------------------------------


@pytest.mark.parametrize("path", READS)
def test_without_a_world_there_is_nothing_to_read(open_app: OpenApp, path: str):
    answer = open_app().get(path)
    assert (answer.status_code, problem(answer)) == (409, "no_world")
    assert "POST /init" in answer.json()["detail"]


def test_without_a_world_there_is_nothing_to_play(open_app: OpenApp):
    client = open_app()
    assert problem(turn(client)) == "no_world"
    queued = {"agent_id": "a", "actions": [{"type": "mine"}]}
    assert problem(client.post("/actions", json=queued)) == "no_world"
    assert client.get("/health").json() == {"status": "ok", "turn": None, "version": "0.1.0"}
    assert client.get("/metrics").text.startswith("# HELP sim_halted ")


def test_a_halted_engine_reads_says_why_and_takes_no_writes(client: TestClient):
    client.app.state.workers.engine.halted = "the sum of all accounts is 1"  # type: ignore[attr-defined]
    health = client.get("/health")
    assert health.status_code == 200
    assert health.json()["status"] == "halted"
    assert health.json()["reason"] == "the sum of all accounts is 1"
    assert client.get("/state").status_code == 200
    assert "\nsim_halted 1\n" in client.get("/metrics").text
    queued = {"agent_id": "a", "actions": [{"type": "mine"}]}
    for refused in (turn(client), client.post("/actions", json=queued)):
        assert (refused.status_code, problem(refused)) == (503, "halted")


# -- bodies ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff\xfe",
        b'{"submissions": []} x',
        b'{"submissions": NaN}',
        b'{"submissions": [], "turn": 1.0}',
        b'{"submissions": [], "turn": 1e0}',
        b'{"submissions": [], "turn": "1"}',
        b'{"submissions": [{"agent_id": "\\ud800", "actions": []}]}',
        b'{"submissions": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"submissions": [{"agent_id": "a", "actions": []}, {"agent_id": "a", "actions": []}]}',
        b'{"submissions": [{"agent_id": "nobody", "actions": []}]}',
    ],
    ids=lambda body: body[:40].decode("latin-1"),
)
def test_malformed_bodies_change_nothing(client: TestClient, body: bytes):
    before = client.get("/state").content
    answer = client.post("/turn", content=body)
    assert (answer.status_code, problem(answer)) == (422, "malformed")
    assert answer.json()["errors"]
    for error in answer.json()["errors"]:
        assert set(error) == {"loc", "message"}
        assert isinstance(error["loc"], list)
    assert client.get("/state").content == before


def test_the_type_of_a_body_does_not_matter(client: TestClient):
    """`curl -d` says that it sends a form."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = client.post("/turn", content=b'{"submissions": []}', headers=headers)
    assert answer.status_code == 200


# -- replays ---------------------------------------------------------------------------------------


def test_a_turn_with_its_number_is_played_once(client: TestClient):
    first = turn(client, {"type": "mine"}, turn=1)
    again = turn(client, {"type": "mine"}, turn=1)
    assert "Idempotent-Replay" not in first.headers
    assert again.headers["Idempotent-Replay"] == "true"
    assert again.content == first.content == client.get("/turns/1").content
    assert problem(turn(client, {"type": "job"}, turn=1)) == "turn_sealed"
    assert problem(turn(client, turn=3)) == "turn_out_of_order"
    assert client.get("/health").json()["turn"] == 1


def test_a_turn_with_a_key_is_played_once(client: TestClient):
    def post(key: str, *actions: dict[str, Any]) -> Any:
        body = {"submissions": [{"agent_id": "a", "actions": list(actions)}]}
        return client.post("/turn", json=body, headers={"Idempotency-Key": key})

    first, again = post("k-1", {"type": "mine"}), post("k-1", {"type": "mine"})
    assert again.headers["Idempotent-Replay"] == "true"
    assert again.content == first.content
    assert post("k-1", {"type": "job"}).status_code == 409
    assert post("k-2", {"type": "mine"}).json()["turn"] == 2


def test_a_key_that_sealed_a_turn_seals_no_other(client: TestClient):
    def post(number: int, key: str) -> Any:
        headers = {"Idempotency-Key": key}
        return client.post("/turn", json={"turn": number, "submissions": []}, headers=headers)

    assert post(1, "k-1").status_code == 200
    assert problem(post(2, "k-1")) == "idempotency_key_reused"
    assert client.get("/health").json()["turn"] == 1
    assert post(2, "k-2").json()["turn"] == 2
    # The number decides: under any key this is the request that was answered before.
    assert post(1, "k-2").headers["Idempotent-Replay"] == "true"


def test_queued_actions_with_a_key_are_queued_once(client: TestClient):
    queued = {"agent_id": "a", "actions": [{"type": "mine"}, {"type": "speak", "message": "x"}]}
    keyed = {**queued, "idempotency_key": "k-1"}
    first = client.post("/actions", json=keyed)
    again = client.post("/actions", json=queued, headers={"Idempotency-Key": "k-1"})
    assert [first.status_code, again.status_code] == [202, 202]
    assert first.json() == again.json() == {"agent_id": "a", "ids": [1, 2], "for_turn": 1}
    assert "Idempotent-Replay" not in first.headers
    assert again.headers["Idempotent-Replay"] == "true"
    assert [one["queued_id"] for one in turn(client).json()["receipts"]] == [1, 2]


@pytest.mark.parametrize("key", ["", "a b", "k" * 201, "schl\xfcssel"])
def test_keys_of_idempotency_are_printable(client: TestClient, key: str):
    headers = {"Idempotency-Key": key.encode("latin-1")}
    answer = client.post("/turn", content=b'{"submissions": []}', headers=headers)
    assert (answer.status_code, problem(answer)) == (422, "malformed")
    assert answer.json()["errors"][0]["loc"] == ["header", "Idempotency-Key"]


# -- queries ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "parameter"),
    [
        ("/state?agents=maybe", "agents"),
        ("/state?agent=false", "agent"),
        ("/health?verbose=1", "verbose"),
        ("/blocks?limit=0", "limit"),
        ("/blocks?limit=1001", "limit"),
        ("/blocks?from=-1", "from"),
        ("/blocks?status=lost", "status"),
        ("/blocks?after=x", "after"),
        ("/blocks?limit=1&limit=2", "limit"),
        ("/contracts?type=bond", "type"),
        ("/contracts?status=open", "status"),
        ("/contracts?agent=a%20b", "agent"),
        ("/entries?after=3", "after"),
        ("/entries?turn=1.5", "turn"),
        ("/metrics/turns?after=9007199254740992", "after"),
    ],
)
def test_wrong_parameters_are_named(client: TestClient, path: str, parameter: str):
    answer = client.get(path)
    assert (answer.status_code, problem(answer)) == (422, "malformed")
    assert [error["loc"] for error in answer.json()["errors"]] == [["query", parameter]]


@pytest.mark.parametrize("number", ["x", "-1", "1.5", "9007199254740992", "9" * 400])
def test_wrong_turn_numbers_are_named(client: TestClient, number: str):
    for path in ("/turns", "/speech"):
        answer = client.get(f"{path}/{number}")
        assert (answer.status_code, problem(answer)) == (422, "malformed")
        assert answer.json()["errors"][0]["loc"] == ["path", "turn"]


@pytest.mark.parametrize(
    ("path", "rows", "more"),
    [
        ("/entries", "entries", ""),
        ("/entries", "entries", "&account=agent:a"),
        ("/entries", "entries", "&turn=2"),
        ("/blocks", "blocks", ""),
        ("/blocks", "blocks", "&from=2&status=canonical"),
        ("/contracts", "contracts", ""),
        ("/contracts", "contracts", "&status=proposed&type=loan&agent=z"),
        ("/metrics/turns", "turns", ""),
    ],
)
def test_pages_join_to_the_whole(client: TestClient, path: str, rows: str, more: str):
    terms = {"lender": "proposer", "principal": 5, "repayment": 6}
    loan = {
        "type": "propose_contract",
        "contract_type": "loan",
        "counterparty": "b",
        "arbitrator": "z",
        "duration": 9,
        "terms": terms,
    }
    for _ in range(4):
        answer = turn(client, {"type": "mine"}, {"type": "mine"}, loan)
        assert {one["status"] for one in answer.json()["receipts"]} == {"applied"}
    whole = client.get(f"{path}?limit=1000{more}").json()
    assert whole["next_after"] is None
    assert len(whole[rows]) > 1
    for limit in (1, 2, 3):
        joined: list[Any] = []
        after = ""
        for _ in range(len(whole[rows]) + 1):
            page = client.get(f"{path}?limit={limit}{more}{after}").json()
            assert len(page[rows]) <= limit
            joined += page[rows]
            if page["next_after"] is None:
                break
            after = f"&after={page['next_after']}"
        assert joined == whole[rows]


# -- metrics ---------------------------------------------------------------------------------------


def test_metrics_are_in_the_text_format_and_agree_with_the_world(client: TestClient):
    turn(client, {"type": "burn", "amount": 77}, {"type": "unstake", "amount": 9})
    client.get("/agent/nobody")
    answer = client.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    samples: dict[str, float] = {}
    described: set[str] = set()
    for line in answer.text.splitlines():
        if found := re.fullmatch(r"# TYPE (\w+) (counter|gauge)", line):
            assert found[1] not in described
            described.add(found[1])
        elif not line.startswith("# HELP "):
            found = re.fullmatch(
                r'((\w+)(?:\{\w+="[^"\\]*"(?:,\w+="[^"\\]*")*\})?) ([0-9.]+)', line
            )
            assert found, line
            assert found[2] in described
            assert found[1] not in samples
            samples[found[1]] = float(found[3])
    state = client.get("/state").json()
    assert samples["sim_turn"] == 1
    assert samples["sim_halted"] == 0
    assert samples["sim_tokens_issued_total"] == state["supply"]["issued"]
    assert samples["sim_tokens_circulating"] == state["supply"]["circulating"]
    assert samples['sim_turn_destroyed_tokens{reason="burn"}'] == 77
    assert samples['sim_turn_actions{status="applied"}'] == 1
    assert samples['sim_turn_actions{status="rejected"}'] == 1
    labels = 'method="GET",route="/agent/{agent_id}",status="404"'
    assert samples[f"sim_http_requests_total{{{labels}}}"] == 1
    assert "nobody" not in answer.text


def test_rows_of_metrics_agree_with_the_turns(client: TestClient):
    for _ in range(3):
        turn(client, {"type": "burn", "amount": 5, "fee": 2})
    rows = client.get("/metrics/turns").json()["turns"]
    assert [row["turn"] for row in rows] == [1, 2, 3]
    for row in rows:
        sealed = client.get(f"/turns/{row['turn']}").json()
        assert {name: row[name] for name in sealed["supply"]} == sealed["supply"]
        assert row["fees"] == 2
        assert row["destroyed_by_reason"]["burn"] == 5
    assert json.loads(json.dumps(rows)) == rows
