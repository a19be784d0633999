"""Planted secrets reach nobody whom they do not concern: by no view, log, error or metric."""

from __future__ import annotations

import json
import logging
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from sim_engine.api.logs import LineFormatter
from sim_engine.engine import Engine
from tests.api.conftest import OpenApp
from tests.api.server import Server, serving, world

OPERATOR_KEY = "canary-operator-key-83c1"
SEED = "canary-seed-1f77"
SOLD, OFFERED, LAPSED, DISPUTED = (f"canary-content-{n}" for n in ("3a", "4b", "5c", "6d"))
QUEUED, MALFORMED, REJECTED = (f"canary-content-{n}" for n in ("7e", "8f", "9a"))
REASON = "a public reason"
# Wages of a fund so large that each turn's fund is a number which stands nowhere else.
CONFIG = {"job_fund_per_agent": 987_654_321, "insight_horizon": 4, "sign_window": 1}


@dataclass
class Planted:
    """A running engine with secrets in it, and who may know which."""

    server: Server
    keys: dict[str, str]
    secrets: dict[str, set[str]] = field(default_factory=dict)
    """Who may read a secret, besides the operator."""

    def client(self, caller: str | None) -> httpx.Client:
        return self.server.client(None if caller is None else self.keys[caller])


def sale(to: str, content: str, **more: Any) -> dict[str, Any]:
    fields = {"to": to, "arbitrator": "z", "price": 5, "title": "a title", "content": content}
    return {"type": "sell_information", **fields, **more}


def sign(contract_id: str, role: str = "counterparty") -> dict[str, Any]:
    return {"type": "sign_contract", "contract_id": contract_id, "role": role}


def turn(client: httpx.Client, **actions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    submissions = [{"agent_id": agent, "actions": some} for agent, some in actions.items()]
    answer = client.post("/turn", json={"submissions": submissions})
    assert answer.status_code == 200, answer.text
    return list(answer.json()["receipts"])


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planted]:
    path = tmp_path_factory.mktemp("canaries") / "sim.db"
    flags = ("--rate-limit", "0", "--log-level", "debug")
    with serving(path, *flags, SIM_OPERATOR_KEY=OPERATOR_KEY) as server:
        with server.client(OPERATOR_KEY) as operator:
            body = {**world(list("abcz"), agent_keys=True, config=CONFIG), "seed": SEED}
            keys = operator.post("/init", json=body).json()["agent_keys"]
            found = Planted(server, {**keys, "operator": OPERATOR_KEY})
            plant(found, operator)
        found.secrets |= {SEED: set(), SOLD: {"a", "b"}, DISPUTED: {"a", "b", "z"}}
        found.secrets |= {OFFERED: {"a"}, LAPSED: {"a"}, QUEUED: set(), MALFORMED: set()}
        found.secrets |= {REJECTED: set(), **{key: set() for key in found.keys.values()}}
        yield found


def plant(planted: Planted, operator: httpx.Client) -> None:
    """Sell, offer, dispute, queue and misspell secrets; learn what only a student may know."""
    attested = {"settlement": "attested"}
    turn(operator, a=[sale("b", SOLD), sale("b", DISPUTED, **attested), sale("b", LAPSED)])
    turn(
        operator,
        b=[sign("c1"), sign("c2")],
        z=[sign("c1", "arbitrator"), sign("c2", "arbitrator")],
        a=[sale("b", OFFERED), {"type": "study"}, {"type": "study"}],
    )
    dispute = {"type": "dispute_delivery", "contract_id": "c2", "reason": REASON}
    receipts = turn(operator, b=[dispute], c=[sale("nobody", REJECTED)])
    assert [receipt["status"] for receipt in receipts] == ["applied", "rejected"]
    student = operator.get("/agent/a").json()["private"]["insights"]
    coming = [one for one in student if one["about_turn"] > 3]
    assert [one["about_turn"] for one in coming] == [4, 5, 6]
    planted.secrets |= {str(one["job_fund"]): {"a"} for one in coming}
    with planted.client("c") as client:
        queued = {"agent_id": "c", "actions": [sale("b", QUEUED)]}
        assert client.post("/actions", json=queued).status_code == 202
    wrong = sale("b", MALFORMED, price=MALFORMED, fee=[MALFORMED])
    submission = {"agent_id": "a", "actions": [wrong]}
    refused = operator.post("/turn", json={"submissions": [submission], "seed": SEED})
    assert refused.status_code == 422
    assert MALFORMED not in refused.text
    assert SEED not in refused.text


VIEWS = [
    "/health",
    "/state",
    "/config",
    *[f"/agent/{agent}" for agent in "abcz"],
    *[f"/contract/c{number}" for number in range(1, 5)],
    "/contracts",
    "/blocks",
    "/entries?limit=1000",
    *[f"/turns/{number}" for number in range(1, 4)],
    *[f"/speech/{number}" for number in range(1, 4)],
    "/metrics",
    "/metrics/turns",
    "/openapi.json",
    "/schema/actions",
    "/docs",
    # and errors
    "/agent/nobody",
    "/contract/c99",
    "/turns/99",
    "/nowhere",
    "/contracts?agent=%20",
]


@pytest.mark.parametrize("caller", ["a", "b", "c", "z", None])
def test_views_show_secrets_to_those_whom_they_concern(planted: Planted, caller: str | None):
    with planted.client(caller) as client:
        shown = {view: client.get(view).text for view in VIEWS}
    for secret, readers in planted.secrets.items():
        leaks = [view for view, text in shown.items() if secret in text]
        assert bool(leaks) == (caller in readers), (secret, caller, leaks)


def test_operator_sees_what_the_engine_knows(planted: Planted):
    """The probes above are not blind: all but keys and what was never applied can be seen."""
    with planted.client("operator") as client:
        shown = "".join(client.get(view).text for view in VIEWS)
    unseen = {secret for secret in planted.secrets if secret not in shown}
    assert unseen == {QUEUED, MALFORMED, REJECTED, *planted.keys.values()}


def test_nobody_posts_or_asks_with_a_query_that_is_logged(planted: Planted):
    with planted.client("a") as client:
        client.get("/state", params={"key": planted.keys["a"]})
        client.post("/turn", json={"submissions": [{"agent_id": SOLD, "actions": SOLD}]})
        client.get("/agent/a", headers={"Authorization": f"Bearer {MALFORMED}"})
        client.get("/health?last")
    planted.server.wait_for("path=/health status=422")
    log = "\n".join(planted.server.log)
    assert "path=/state status=422" in log
    assert log.count("event=turn ") == 3
    for secret in planted.secrets:
        assert secret not in log, secret


def test_lines_of_the_log_are_fields(planted: Planted):
    with planted.client("b") as client:
        client.get("/agent/b")
    planted.server.wait_for("path=/agent/b status=200")
    seen = {"time", "level", "event"}
    for line in planted.server.log:
        assert re.fullmatch(r'(\w+=("(\\.|[^"\\])*"|[^\s"]+)( |$))+', line), line
        assert seen <= set(re.findall(r"(\w+)=", line))
    requests = planted.server.lines("request")
    # The kind is told too: an agent may be called operator.
    (request, *_) = [
        one for one in requests if (one["path"], one["caller"]) == ("/agent/b", "agent:b")
    ]
    assert request["method"] == "GET"
    assert request["status"] == "200"
    assert float(request["ms"]) > 0


# -- faults ----------------------------------------------------------------------------------------


def faulty(client: TestClient, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """Make a method of the engine fail with a message that quotes what somebody sent."""

    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError(f"can not bind parameter {SOLD}")

    monkeypatch.setattr(Engine, method, fail)


@pytest.mark.parametrize(
    ("engine_method", "method", "path"),
    [("state", "GET", "/state"), ("submit_turn", "POST", "/turn"), ("init", "POST", "/init")],
)
def test_a_fault_is_answered_and_logged_without_its_message(
    open_app: OpenApp,
    monkeypatch: pytest.MonkeyPatch,
    engine_method: str,
    method: str,
    path: str,
):
    client = open_app(["a", "b"])
    before = client.get("/config").text
    with monkeypatch.context() as patched:
        faulty(client, patched, engine_method)
        answer = client.request(method, path, json={"submissions": []})
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "internal_error"
    for word in (SOLD, "RuntimeError", "Traceback", ".py", "bind"):
        assert word not in answer.text
    assert client.get("/config").text == before
    assert client.get("/health").json()["status"] == "ok"


def test_a_fault_in_a_running_engine_is_one_line_and_stops_nobody(tmp_path: Path):
    with serving(tmp_path / "sim.db") as server, server.client() as client:
        assert client.post("/init", json=world(["a", "b"])).status_code == 201
        turn(client, a=[{"type": "speak", "message": SOLD}])
        with closing(sqlite3.connect(tmp_path / "sim.db")) as ledger:
            ledger.execute("ALTER TABLE speech_log RENAME TO another")
        answer = client.get("/speech/1")
        assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
        assert answer.headers["connection"] == "close"
        assert client.get("/state").status_code == 200
        assert server.stop() == 0
    (line,) = [line for line in server.log if "fault=" in line]
    assert "level=error" in line
    assert "sim_engine/ledger/queries.py:" in line
    assert not [line for line in server.log if SOLD in line or "speech_log" in line]
    assert all(line.startswith("time=") for line in server.log)


@pytest.mark.parametrize(
    ("table", "statement"),
    [
        ("contracts", "UPDATE contracts SET terms = replace(terms, '\"title\"', '\"uitle\"')"),
        ("contracts", "UPDATE contracts SET duration = terms"),
        (None, "UPDATE contracts SET terms = CAST(terms || X'ff' AS TEXT)"),
        (
            "config",
            "UPDATE config SET value = (SELECT value FROM config WHERE key = 'seed')"
            " WHERE key = 'tuition'",
        ),
        (
            "pending_actions",
            "UPDATE pending_actions SET payload = replace(payload, 'sell', 'tell')",
        ),
        (None, "UPDATE pending_actions SET payload = CAST(payload || X'ff' AS TEXT)"),
        ("agent_keys", "UPDATE agent_keys SET key_hash = 'x'"),
    ],
)
def test_a_ledger_that_makes_no_sense_is_not_quoted_to_anybody(
    tmp_path: Path, table: str | None, statement: str
):
    path = tmp_path / "sim.db"
    with serving(path, SIM_OPERATOR_KEY=OPERATOR_KEY) as server:
        with server.client(OPERATOR_KEY) as operator:
            body = {**world(list("abz"), agent_keys=True), "seed": SEED}
            assert operator.post("/init", json=body).status_code == 201
            turn(operator, a=[sale("b", OFFERED)])
            queued = {"agent_id": "a", "actions": [sale("b", QUEUED)]}
            assert operator.post("/actions", json=queued).status_code == 202
        assert server.stop() == 0
    with closing(sqlite3.connect(path, isolation_level=None)) as ledger:
        assert ledger.execute(statement).rowcount > 0
    with serving(path, SIM_OPERATOR_KEY=OPERATOR_KEY) as server:
        with server.client() as client:
            told = [client.get("/health"), client.get("/state"), client.get("/metrics")]
        assert server.stop() == 0
    assert told[0].json()["status"] == "halted"
    assert (f"rows of {table} make no sense" if table else "no UTF-8") in told[1].text
    for text in [*(answer.text for answer in told), *server.log]:
        assert not [secret for secret in (SEED, OFFERED, QUEUED) if secret in text]


def test_log_of_a_fault_names_its_place_and_not_its_message(capsys: pytest.CaptureFixture[str]):
    handler = logging.StreamHandler()
    handler.setFormatter(LineFormatter())
    logger = logging.getLogger("uvicorn.error.of_this_test")
    logger.addHandler(handler)
    logger.propagate = False
    try:
        json.loads(SOLD)
    except ValueError:
        logger.exception("Exception in ASGI application\n")
    line = capsys.readouterr().err
    assert "fault=JSONDecodeError" in line
    assert "decoder.py:" in line
    assert "test_canaries.py:" in line
    assert SOLD not in line
    assert line.count("\n") == 1
