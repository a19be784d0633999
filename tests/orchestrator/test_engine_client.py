from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

import sim_engine
from sim_orchestrator import engine_client
from sim_orchestrator.engine_client import PROTOCOL_VERSION, EngineClient, EngineError

Answer = tuple[int, Any]


class ScriptedEngine:
    """Gives the answers of a list, one a request, and the last one ever after."""

    def __init__(self) -> None:
        self.answers: list[Answer] = [(200, {})]
        self.requests: list[tuple[str, str, bytes, str]] = []
        engine = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                key = self.headers.get("Authorization") or ""
                engine.requests.append((self.command, self.path, self.rfile.read(length), key))
                status, content = engine.answers[0]
                if len(engine.answers) > 1:
                    engine.answers.pop(0)
                body = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                self.do_GET()

            def log_message(self, *ignored: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def scripted() -> Iterator[ScriptedEngine]:
    engine = ScriptedEngine()
    yield engine
    engine.close()


def call(
    url: str, method: Callable[[EngineClient], Coroutine[Any, Any, Any]], **settings: Any
) -> Any:
    async def main() -> Any:
        client = EngineClient(url, **settings)
        try:
            return await method(client)
        finally:
            await client.close()

    return asyncio.run(main())


def refusal(url: str, method: Callable[[EngineClient], Coroutine[Any, Any, Any]]) -> EngineError:
    with pytest.raises(EngineError) as caught:
        call(url, method, patience_seconds=0.3)
    return caught.value


def test_the_key_is_sent(scripted):
    call(scripted.url, lambda client: client.health(), key="k")
    assert scripted.requests == [("GET", "/health", b"", "Bearer k")]


def test_a_turn_is_the_same_bytes_however_often_it_is_sent(scripted):
    scripted.answers = [(503, {"code": "busy"}), (429, {}), (502, b"<html>"), (200, {"turn": 7})]
    part = {"agent_id": "ü", "actions": [{"type": "job"}]}
    assert call(scripted.url, lambda client: client.submit(7, [part])) == {"turn": 7}
    bodies = [body for _, _, body, _ in scripted.requests]
    assert len(bodies) == 4
    assert len(set(bodies)) == 1
    assert json.loads(bodies[0]) == {"turn": 7, "submissions": [part]}


def test_a_halted_engine_is_not_waited_for(scripted):
    scripted.answers = [(503, {"code": "halted", "detail": "an invariant failed: sum is 3"})]
    error = refusal(scripted.url, lambda client: client.submit(1, []))
    assert "an invariant failed: sum is 3" in str(error)
    assert len(scripted.requests) == 1


def test_a_malformed_turn_says_where(scripted):
    errors = [{"loc": "submissions.0", "message": "unknown"}]
    scripted.answers = [(422, {"title": "malformed", "code": "malformed", "errors": errors})]
    error = refusal(scripted.url, lambda client: client.submit(1, []))
    assert str(error) == "POST /turn was refused with 422: malformed (submissions.0: unknown)"
    assert error.refused


@pytest.mark.parametrize("body", [b"<html>hello</html>", b"[]", b"null"])
def test_what_is_no_engine_is_recognised(scripted, body):
    scripted.answers = [(200, body)]
    assert "is ENGINE_URL right?" in str(refusal(scripted.url, lambda client: client.state()))


def test_a_private_view_that_is_not_shown_asks_for_the_key(scripted):
    scripted.answers = [(200, {"agent_id": "a", "balance": 1})]
    assert "SIM_OPERATOR_KEY" in str(refusal(scripted.url, lambda client: client.agent("a")))


def test_an_engine_that_is_away_is_named_after_some_patience():
    began = time.monotonic()
    error = refusal("http://127.0.0.1:9", lambda client: client.state())
    assert "no engine at http://127.0.0.1:9" in str(error)
    assert "sim-engine serve" in str(error)
    assert time.monotonic() - began >= 0.3


def test_contracts_are_read_page_by_page(scripted):
    scripted.answers = [
        (200, {"contracts": [{"contract_id": "c1"}], "next_after": 1}),
        (200, {"contracts": [{"contract_id": "c2"}], "next_after": None}),
    ]
    found = call(scripted.url, lambda client: client.contracts())
    assert [each["contract_id"] for each in found] == ["c1", "c2"]
    assert scripted.requests[1][1].endswith("&after=1")


def test_the_seed_is_left_out_of_the_config(scripted):
    config = {"tuition": 200, "protocol_version": PROTOCOL_VERSION}
    scripted.answers = [(200, {**config, "seed": "secret"})]
    assert call(scripted.url, lambda client: client.config()) == config


def test_the_protocol_is_that_of_the_engine_beside_it():
    assert PROTOCOL_VERSION == sim_engine.PROTOCOL_VERSION


@pytest.mark.parametrize(("config", "spoken"), [({"protocol_version": 7}, "7"), ({}, "?")])
def test_an_engine_of_another_protocol_is_refused(scripted, config, spoken):
    scripted.answers = [(200, config)]
    error = refusal(scripted.url, lambda client: client.config())
    assert str(error) == (
        f"the engine at {scripted.url} speaks protocol version {spoken}, this orchestrator "
        f"{PROTOCOL_VERSION}: install the same release of sim-economy for both"
    )


def test_an_engine_that_is_lost_is_not_waited_for():
    reasons = iter(["", "", "it has burnt down"])
    with pytest.raises(EngineError, match=r"^it has burnt down$"):
        call("http://127.0.0.1:9", EngineClient.state, lost=lambda: next(reasons))


def test_what_to_do_about_an_engine_that_is_away_can_be_told():
    with pytest.raises(EngineError, match=r"no engine at http://127\.0\.0\.1:9 .*: look there$"):
        call("http://127.0.0.1:9", EngineClient.health, advice="look there")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:99999", "http://[::1", "ftp://127.0.0.1:3000", "http://:3000", ""]
)
def test_an_address_that_is_none_is_said(url):
    with pytest.raises(EngineError, match="write ENGINE_URL as http://host:3000"):
        EngineClient(url)


def test_an_address_may_leave_its_scheme_out(scripted):
    address = scripted.url.removeprefix("http://")
    assert call(address, lambda client: client.health()) == {}


def test_a_key_that_no_header_can_carry_is_said():
    with pytest.raises(EngineError, match="SIM_OPERATOR_KEY"):
        EngineClient("http://127.0.0.1:3000", key="schlüssel")


def test_a_key_that_is_missing_is_asked_for_by_its_name(scripted):
    scripted.answers = [(401, {"code": "key_required", "detail": "send a header"})]
    assert "SIM_OPERATOR_KEY" in str(refusal(scripted.url, lambda client: client.state()))


def test_another_server_is_recognised_by_its_errors(scripted):
    scripted.answers = [(404, b"Not Found")]
    error = refusal(scripted.url, lambda client: client.health())
    assert str(error).startswith(f"{scripted.url} does not answer like an engine")


def test_an_engine_that_hangs_is_waited_for_as_long_as_patience_lasts(monkeypatch):
    """The time that answers take counts as well as the pauses between them."""
    monkeypatch.setattr(engine_client, "ANSWER_SECONDS", 0.3)
    monkeypatch.setattr(engine_client, "CHECK_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = "http://{}:{}".format(*silent.getsockname())
        for ask in (EngineClient.state, EngineClient.health):
            began = time.monotonic()
            with pytest.raises(EngineError, match="was not answered"):
                call(url, ask, patience_seconds=0.6)
            assert time.monotonic() - began < 2
