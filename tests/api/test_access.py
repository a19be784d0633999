"""Who may do what: the operator, agents with keys, everybody else, and web pages of other sites."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from sim_engine.api.app import create_app
from sim_engine.settings import Settings
from tests.api.conftest import OpenApp
from tests.api.server import world

OPERATOR_KEY = "operator-key-of-these-tests"
SEED = "seed-0"
SALE = {"to": "b", "arbitrator": "z", "price": 9, "title": "a hint", "content": "the content"}


@dataclass
class Keyed:
    """An engine with keys, and a world in which `a` has studied and sold something to `b`."""

    client: TestClient
    keys: dict[str, str | None]

    def ask(self, caller: str, method: str, path: str, **more: Any) -> Any:
        key = self.keys[caller]
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        return self.client.request(method, path, headers=headers, **more)

    def turn(self, **actions: list[dict[str, Any]]) -> None:
        submissions = [{"agent_id": agent, "actions": some} for agent, some in actions.items()]
        answer = self.ask("operator", "POST", "/turn", json={"submissions": submissions})
        assert answer.status_code == 200, answer.text
        assert {r["status"] for r in answer.json()["receipts"]} == {"applied"}, answer.text


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    path = tmp_path_factory.mktemp("access") / "sim.db"
    settings = Settings(db_path=path, operator_key=OPERATOR_KEY)
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        known: dict[str, str | None] = {"operator": OPERATOR_KEY, "public": None, "wrong": "guess"}
        engine = Keyed(client, known)
        made = engine.ask("operator", "POST", "/init", json=world(list("abcz"), agent_keys=True))
        assert made.status_code == 201
        engine.keys |= made.json()["agent_keys"]
        engine.turn(a=[{"type": "study"}, {"type": "sell_information", **SALE}])
        engine.turn(
            b=[{"type": "sign_contract", "contract_id": "c1", "role": "counterparty"}],
            z=[{"type": "sign_contract", "contract_id": "c1", "role": "arbitrator"}],
            a=[{"type": "speak", "message": "sold"}],
        )
        yield engine


EMPTY_TURN: dict[str, Any] = {"turn": 3, "submissions": [], "unknown": 1}  # never applied
QUEUED = {"agent_id": "a", "actions": [{"type": "speak", "message": "hello"}]}


@pytest.mark.parametrize(
    ("method", "path", "body", "statuses"),
    [
        # operator, the agent a, another agent, nobody's key, no key
        ("POST", "/init", world(2), [409, 403, 403, 401, 401]),
        ("POST", "/turn", EMPTY_TURN, [422, 403, 403, 401, 401]),
        ("POST", "/actions", QUEUED, [202, 202, 403, 401, 401]),
        ("GET", "/state", None, [200, 200, 200, 401, 200]),
        ("GET", "/agent/a", None, [200, 200, 200, 401, 200]),
        ("GET", "/contract/c1", None, [200, 200, 200, 401, 200]),
        ("GET", "/contracts", None, [200, 200, 200, 401, 200]),
        ("GET", "/config", None, [200, 200, 200, 401, 200]),
        ("GET", "/speech/2", None, [200, 200, 200, 401, 200]),
        ("GET", "/turns/1", None, [200, 200, 200, 401, 200]),
        ("GET", "/blocks", None, [200, 200, 200, 401, 200]),
        ("GET", "/entries", None, [200, 200, 200, 401, 200]),
        ("GET", "/metrics", None, [200, 200, 200, 401, 200]),
        ("GET", "/metrics/turns", None, [200, 200, 200, 401, 200]),
        ("GET", "/health", None, [200, 200, 200, 401, 200]),
        ("GET", "/schema/actions", None, [200, 200, 200, 401, 200]),
    ],
)
def test_who_may_ask(keyed: Keyed, method: str, path: str, body: Any, statuses: list[int]):
    callers = ["operator", "a", "b", "wrong", "public"]
    answers = [keyed.ask(caller, method, path, json=body) for caller in callers]
    assert [answer.status_code for answer in answers] == statuses


def test_refusals_name_what_is_missing(keyed: Keyed):
    answer = keyed.ask("public", "POST", "/turn", json=EMPTY_TURN)
    assert answer.json()["code"] == "key_required"
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="sim-engine"'
    answer = keyed.ask("wrong", "GET", "/state")
    assert answer.json()["code"] == "invalid_key"
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
    answer = keyed.ask("a", "POST", "/turn", json=EMPTY_TURN)
    assert answer.json()["code"] == "forbidden"
    assert "WWW-Authenticate" not in answer.headers


@pytest.mark.parametrize(
    "shown",
    [
        f"Basic {OPERATOR_KEY}",
        OPERATOR_KEY,
        "Bearer",
        "Bearer ",
        f"Bearer {OPERATOR_KEY}x",
        f"Bearer {OPERATOR_KEY[:-1]}",
        f"Bearer {OPERATOR_KEY} {OPERATOR_KEY}",
        "Bearer \xe4\xf6",
    ],
)
def test_only_the_whole_key_as_bearer_counts(keyed: Keyed, shown: str):
    answer = keyed.client.get("/state", headers={"Authorization": shown.encode("latin-1")})
    assert answer.status_code == 401


def test_name_of_the_scheme_has_no_case(keyed: Keyed):
    headers = {"Authorization": f"bEARER {OPERATOR_KEY}"}
    assert "seed" in keyed.client.get("/config", headers=headers).json()


@pytest.mark.parametrize(
    ("caller", "sees"), [("operator", True), ("a", True), ("b", False), ("public", False)]
)
def test_private_view_is_for_the_agent_and_the_operator(keyed: Keyed, caller: str, sees: bool):
    agent = keyed.ask(caller, "GET", "/agent/a").json()
    assert ("private" in agent) == sees
    if sees:
        assert [one["about_turn"] for one in agent["private"]["insights"]] == [2, 3, 4, 5]
        assert [one["type"] for one in agent["private"]["receipts"]] == ["speak"]


@pytest.mark.parametrize(
    ("caller", "sees"),
    [("operator", True), ("a", True), ("b", True), ("z", False), ("c", False), ("public", False)],
)
def test_content_is_for_seller_buyer_and_operator(keyed: Keyed, caller: str, sees: bool):
    (listed,) = keyed.ask(caller, "GET", "/contracts").json()["contracts"]
    alone = keyed.ask(caller, "GET", "/contract/c1").json()
    for contract in (listed, alone):
        assert contract["terms"].get("content") == ("the content" if sees else None)
        assert contract["terms"]["title"] == "a hint"


@pytest.mark.parametrize(
    ("caller", "sees"), [("operator", True), ("a", False), ("z", False), ("public", False)]
)
def test_seed_is_for_the_operator(keyed: Keyed, caller: str, sees: bool):
    assert keyed.ask(caller, "GET", "/config").json().get("seed") == (SEED if sees else None)


def test_bought_information_is_in_the_private_view_of_its_buyer(keyed: Keyed):
    bought = {"contract_id": "c1", "title": "a hint", "content": "the content"}
    assert keyed.ask("b", "GET", "/agent/b").json()["private"]["information"] == [bought]
    assert keyed.ask("z", "GET", "/agent/z").json()["private"]["information"] == []


def test_an_agent_queues_for_itself_whatever_the_body_says(keyed: Keyed):
    answer = keyed.ask("b", "POST", "/actions", json={**QUEUED, "agent_id": "c"})
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


def test_keys_are_shown_once_and_stored_as_hashes(keyed: Keyed):
    again = keyed.ask("operator", "POST", "/init", json=world(list("abcz"), agent_keys=True))
    assert again.status_code == 200
    assert "agent_keys" not in again.json()
    ledger = keyed.client.app.state.settings.db_path  # type: ignore[attr-defined]
    files = [path.read_bytes() for path in ledger.parent.iterdir()]
    for agent in "abcz":
        key = keyed.keys[agent]
        assert key is not None
        assert not any(key.encode() in content for content in files)


# -- engines without keys --------------------------------------------------------------------------


def test_open_engine_takes_everybody_for_the_operator(open_app: OpenApp):
    client = open_app(["a", "b"])
    assert client.get("/config").json()["seed"] == SEED
    assert "private" in client.get("/agent/a").json()
    assert client.post("/turn", json={"submissions": []}).status_code == 200
    # A key that is not asked for does no harm, so that one client can serve both kinds of engine.
    assert client.get("/state", headers={"Authorization": "Bearer x"}).status_code == 200


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({"Host": "127.0.0.1:3000"}, True),
        ({"Host": "[::1]:3000"}, True),
        ({"Host": "localhost:3000"}, True),
        ({"Host": "engine:3000"}, True),
        ({"Host": "host.docker.internal:3000"}, True),
        ({"Host": "rebound.example.com:3000"}, False),
        ({"Host": "localhost:3000", "Origin": "http://localhost:3000"}, True),
        ({"Host": "localhost:3000", "Origin": "https://example.com"}, False),
        ({"Host": "localhost:3000", "Origin": "http://localhost:8080"}, False),
        ({"Host": "localhost:3000", "Origin": "null"}, False),
        ({"Host": "a.com:3000", "Origin": "http://a.com:3000"}, False),
        ({"Host": "[::1"}, False),
        ({"Host": "localhost:3000", "Origin": "http://[::1"}, False),
    ],
)
def test_open_engine_is_no_tool_of_web_pages(
    open_app: OpenApp, headers: dict[str, str], allowed: bool
):
    client = open_app(["a"])
    read = client.get("/state", headers=headers)
    written = client.post("/turn", json={"submissions": []}, headers=headers)
    assert [read.status_code, written.status_code] == ([200, 200] if allowed else [403, 403])
    if not allowed:
        assert read.json()["code"] == "foreign_page"
        assert client.get("/health").json()["turn"] == 0


def test_keys_or_the_operators_word_lift_the_guard_of_open_engines(open_app: OpenApp):
    foreign = {"Host": "sim.example.com", "Origin": "https://example.com"}
    keyed = open_app(["a"], operator_key=OPERATOR_KEY)
    assert keyed.get("/state", headers=foreign).status_code == 200
    allowed = open_app(["a"], allow_open=True)
    assert allowed.get("/state", headers=foreign).status_code == 200


def test_open_engine_answers_its_own_machine_only(tmp_path: Path):
    """As under another server, which was told to listen everywhere."""
    app = create_app(Settings(db_path=tmp_path / "sim.db"))
    with TestClient(app, base_url="http://192.168.1.5:3000") as client:
        answer = client.get("/health")
    assert (answer.status_code, answer.json()["code"]) == (403, "exposed")
