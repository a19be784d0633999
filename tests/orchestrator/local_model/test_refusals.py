"""What is refused: in Ollama's words where it has some, before a stream begins."""

from typing import Any

import httpx
import ollama
import pytest

from sim_orchestrator.local_model import LocalModel
from tests.orchestrator.local_model.conftest import Chat

pytestmark = pytest.mark.embedded

UNKNOWN = {"type": "object", "properties": {"a": {"type": "whole"}}}
IMPOSSIBLE = {
    "type": "object",
    "properties": {"a": {"type": "integer", "minimum": 5, "maximum": 1}},
    "required": ["a"],
    "additionalProperties": False,
}


def refusal(response: httpx.Response) -> tuple[int, str]:
    (error,) = response.json().values()
    return response.status_code, error


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", ["/api/chat", "/api/generate", "/api/show"])
def test_an_unknown_model_is_not_found(http: httpx.Client, path: str, stream: bool):
    answer = http.post(path, json={"model": "nope", "stream": stream})

    assert refusal(answer) == (404, "model 'nope' not found")


def test_the_official_client_sees_what_ollama_would_say(client: ollama.Client):
    with pytest.raises(ollama.ResponseError) as caught:
        client.chat("nope:1b", [{"role": "user", "content": "hi"}])

    assert caught.value.status_code == 404
    assert "model 'nope:1b' not found" in caught.value.error


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": ""}, "model is required"),
        ({"format": "xml"}, 'invalid format: "xml"; expected "json" or a valid JSON Schema object'),
        ({"format": UNKNOWN}, "invalid JSON schema in format: at #/properties/a"),
        ({"format": {"$ref": "#/nowhere"}}, "invalid JSON schema in format: at #"),
        ({"format": {"enum": []}}, "invalid JSON schema in format: at #"),
        ({"think": True}, '"smollm2:135m" does not support thinking'),
        ({"think": "high"}, '"smollm2:135m" does not support thinking'),
        ({"think": "much"}, '"think'),
        ({"tools": [{}]}, '"smollm2:135m" does not support tools'),
        ({"logprobs": True}, '"smollm2:135m" does not support logprobs'),
        ({"keep_alive": "soon"}, 'time: invalid duration "soon"'),
        ({"stream": "yes"}, '"stream" is invalid'),
        ({"messages": "hello"}, '"messages" is invalid'),
        ({"messages": [{"role": "king", "content": "hi"}]}, '"messages.0.role" is invalid'),
        ({"messages": [{"role": "user", "content": 5}]}, '"messages.0.content" is invalid'),
        (
            {"messages": [{"role": "user", "content": "hi", "images": ["aGk="]}]},
            '"smollm2:135m" does not support images',
        ),
        ({"options": {"num_ctx": 0}}, 'option "num_ctx" is invalid'),
        ({"options": {"num_ctx": "8192"}}, 'option "num_ctx" is invalid'),
        ({"options": {"num_predict": 1.5}}, 'option "num_predict" is invalid'),
        ({"options": {"seed": True}}, 'option "seed" is invalid'),
        ({"options": {"temperature": -1}}, 'option "temperature" is invalid'),
        ({"options": {"top_p": 1.5}}, 'option "top_p" is invalid'),
        ({"options": {"top_k": -1}}, 'option "top_k" is invalid'),
        ({"options": {"stop": "\n"}}, 'option "stop" is invalid'),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
def test_a_wrong_request_is_refused_before_it_is_computed(
    chat: Chat, changes: dict[str, Any], message: str, stream: bool
):
    status, error = refusal(chat(**{"stream": stream, **changes}))

    assert status == 400
    assert message in error


@pytest.mark.parametrize("field", ["suffix", "template", "context"])
def test_what_generate_can_not_do_is_said(http: httpx.Client, server: LocalModel, field: str):
    value = [1] if field == "context" else "x"
    answer = http.post("/api/generate", json={"model": server.model, "prompt": "a", field: value})

    status, error = refusal(answer)
    assert status == 400
    assert f"does not support {field}" in error


def test_a_schema_that_nothing_can_follow_is_refused(chat: Chat):
    status, error = refusal(chat(format=IMPOSSIBLE))

    assert status == 400
    assert "invalid JSON schema in format" in error
    assert chat().status_code == 200


def test_a_failure_within_a_stream_is_its_last_line(client: ollama.Client):
    messages = [{"role": "user", "content": "What do you do?"}]
    stream = client.chat("smollm2:135m", messages, format=IMPOSSIBLE, stream=True)

    with pytest.raises(ollama.ResponseError, match="invalid JSON schema in format"):
        list(stream)


@pytest.mark.parametrize("stream", [True, False])
def test_a_prompt_longer_than_the_context_is_refused_not_cut(chat: Chat, stream: bool):
    status, error = refusal(chat("word " * 9000, stream=stream))

    assert status == 400
    assert "the input length exceeds the context length: the prompt has 90" in error
    assert "the context 8192" in error


def test_num_ctx_is_a_limit_of_the_request(chat: Chat, http: httpx.Client, server: LocalModel):
    status, error = refusal(chat("word " * 200, options={"num_ctx": 128}))
    raw = {"model": server.model, "prompt": "word " * 200, "raw": True, "options": {"num_ctx": 128}}

    assert status == 400
    assert "the context 128; " in error
    assert refusal(http.post("/api/generate", json=raw))[0] == 400
    assert chat("word " * 200, options={"num_ctx": 512}).status_code == 200
    assert chat("word " * 200, options={"num_ctx": 10**6}).status_code == 200


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "missing request body"),
        (b"{", "the body is not JSON"),
        (b"\xff\xfe", "the body is not JSON"),
        (b"[1]", "the body must be a JSON object"),
        (b"[" * 100_000, "the body is not JSON"),
        (b'{"model": "\\ud800"}', "the body is not JSON"),
        (b'{"model": "smollm2:135m", "options": {"top_p": NaN}}', "NaN is no JSON number"),
    ],
)
@pytest.mark.parametrize("path", ["/api/chat", "/api/generate", "/api/show"])
def test_a_malformed_body_is_refused(http: httpx.Client, path: str, body: bytes, message: str):
    status, error = refusal(http.post(path, content=body))

    assert status == 400
    assert message in error


def test_a_huge_body_is_refused(http: httpx.Client):
    assert refusal(http.post("/api/chat", content=b" " * (16 * 2**20 + 1)))[0] == 413


def test_null_is_as_good_as_absent(chat: Chat):
    answer = chat(format=None, think=None, keep_alive=None, tools=None, options={"seed": None})

    assert answer.status_code == 200


def test_what_is_not_served_says_so(http: httpx.Client):
    status, error = refusal(http.post("/api/pull", json={"model": "gemma3:27b"}))
    assert status == 404
    assert "one local model only" in error
    assert refusal(http.get("/api/chat"))[0] == 405


def test_a_page_that_rebinds_its_name_gets_nothing(http: httpx.Client):
    assert http.get("/api/tags", headers={"host": "attacker.example"}).status_code == 400
