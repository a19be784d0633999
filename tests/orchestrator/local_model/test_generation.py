"""Real answers of the real model: shapes, counts, options, schemas."""

import asyncio
import json
from typing import Any

import httpx
import jsonschema
import ollama
import pytest

from sim_orchestrator.local_model import LocalModel
from tests.orchestrator.local_model.conftest import Chat

pytestmark = pytest.mark.embedded

MESSAGES = [{"role": "user", "content": "Count: one, two, three,"}]
GREEDY = {"num_predict": 12, "temperature": 0}
DECISION = {
    "type": "object",
    "properties": {
        "thought": {"type": "string", "maxLength": 30},
        "actions": {
            "type": "array",
            "minItems": 2,
            "maxItems": 2,
            "items": {
                "anyOf": [
                    {
                        "type": "object",
                        "properties": {"type": {"const": "mine"}},
                        "required": ["type"],
                        "additionalProperties": False,
                    },
                    {
                        "type": "object",
                        "properties": {
                            "type": {"const": "stake"},
                            "amount": {"type": "integer", "minimum": 17, "maximum": 233},
                        },
                        "required": ["type", "amount"],
                        "additionalProperties": False,
                    },
                ]
            },
        },
    },
    "required": ["thought", "actions"],
    "additionalProperties": False,
}


def test_chat_answers_in_ollamas_shape(chat: Chat, server: LocalModel):
    answer = chat().json()

    assert answer["model"] == server.model
    assert answer["message"]["role"] == "assistant"
    assert answer["message"]["content"]
    assert answer["done"] is True
    assert answer["created_at"].endswith("Z")


def test_counts_are_the_tokens_that_were_evaluated(chat: Chat):
    short = chat("Say hello.").json()
    longer = chat("Say hello." + " again" * 100).json()

    assert longer["prompt_eval_count"] == short["prompt_eval_count"] + 100
    assert short["eval_count"] == 12


def test_durations_are_nanoseconds_within_the_total(chat: Chat):
    answer = chat().json()

    parts = [answer[f"{part}_duration"] for part in ("load", "prompt_eval", "eval")]
    assert all(type(part) is int and part > 0 for part in parts)
    assert sum(parts) <= answer["total_duration"]
    assert answer["eval_duration"] > 1_000_000


def test_the_official_client_streams_what_it_gets_without_a_stream(client: ollama.Client):
    client.chat("smollm2:135m", MESSAGES, options=GREEDY)  # both below find the same cache
    whole = client.chat("smollm2:135m", MESSAGES, options=GREEDY)
    *parts, last = client.chat("smollm2:135m", MESSAGES, options=GREEDY, stream=True)

    assert "".join(part.message.content or "" for part in parts) == whole.message.content
    assert len(parts) > 1
    assert not any(part.done for part in parts)
    assert all(part.eval_count is None for part in parts)
    assert last.done
    assert (last.eval_count, last.prompt_eval_count) == (whole.eval_count, whole.prompt_eval_count)
    assert last.done_reason == whole.done_reason == "length"


def test_the_official_async_client_gets_the_same(server: LocalModel):
    async def ask() -> tuple[ollama.ChatResponse, str]:
        async with ollama.AsyncClient(host=server.url) as client:
            await client.chat(server.model, MESSAGES, options=GREEDY)
            whole = await client.chat(server.model, MESSAGES, options=GREEDY)
            parts = [
                part.message.content or ""
                async for part in await client.chat(
                    server.model, MESSAGES, options=GREEDY, stream=True
                )
            ]
        return whole, "".join(parts)

    whole, streamed = asyncio.run(ask())
    assert whole.message.content == streamed


def test_a_stream_is_json_lines(http: httpx.Client, server: LocalModel):
    body = {"model": server.model, "messages": MESSAGES, "options": GREEDY}
    response = http.post("/api/chat", json=body)

    assert response.headers["content-type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in response.text.splitlines()]
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    assert all(line["model"] == server.model for line in lines)


def test_generate_answers_like_chat(client: ollama.Client):
    client.chat("smollm2:135m", MESSAGES, options=GREEDY)
    chatted = client.chat("smollm2:135m", MESSAGES, options=GREEDY)
    generated = client.generate("smollm2:135m", MESSAGES[0]["content"], options=GREEDY)
    streamed = client.generate("smollm2:135m", MESSAGES[0]["content"], options=GREEDY, stream=True)

    assert generated.response == chatted.message.content
    assert generated.prompt_eval_count == chatted.prompt_eval_count
    assert "".join(part.response or "" for part in streamed) == generated.response


def test_generate_takes_a_system_message(client: ollama.Client):
    prompt = MESSAGES[0]["content"]
    plain = client.generate("smollm2:135m", prompt, options=GREEDY)
    told = client.generate("smollm2:135m", prompt, system="x " * 60, options=GREEDY)

    assert told.prompt_eval_count is not None
    assert plain.prompt_eval_count is not None
    assert told.prompt_eval_count > plain.prompt_eval_count + 30


def test_generate_raw_continues_the_text_itself(client: ollama.Client):
    raw = client.generate("smollm2:135m", "one two three four five", raw=True, options=GREEDY)

    assert raw.prompt_eval_count == 5
    assert raw.response
    assert raw.done_reason == "length"


def test_generate_raw_with_a_schema(client: ollama.Client):
    raw = client.generate(
        "smollm2:135m", "The agent's name is", raw=True, format={"enum": ["bob"]}, options=GREEDY
    )

    assert raw.response == '"bob"'
    assert raw.done_reason == "stop"


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
@pytest.mark.parametrize(
    ("keep_alive", "reason"), [("5m", "load"), (0, "unload"), ("0s", "unload")]
)
def test_without_a_prompt_the_model_is_only_loaded(
    http: httpx.Client, server: LocalModel, path: str, keep_alive: Any, reason: str
):
    answer = http.post(path, json={"model": server.model, "keep_alive": keep_alive}).json()

    assert (answer["done"], answer["done_reason"]) == (True, reason)
    assert http.get("/api/ps").json()["models"]  # it stays


@pytest.mark.parametrize("temperature", [0, 1.5])
def test_an_answer_follows_its_schema(chat: Chat, temperature: float):
    options = {"num_predict": 200, "temperature": temperature, "seed": 1}
    answer = chat("What do you do?", format=DECISION, options=options).json()

    assert answer["done_reason"] == "stop"
    jsonschema.validate(json.loads(answer["message"]["content"]), DECISION)
    assert "\n" not in answer["message"]["content"]


def test_a_schema_of_pydantic_with_references_and_a_union_is_followed(chat: Chat):
    schema = {
        "$defs": {
            "Mine": {"type": "object", "properties": {"type": {"const": "mine"}},
                     "required": ["type"], "additionalProperties": False},
        },
        "oneOf": [{"$ref": "#/$defs/Mine"}],
        "discriminator": {"propertyName": "type", "mapping": {"mine": "#/$defs/Mine"}},
    }  # fmt: skip
    answer = chat("What do you do?", format=schema, options={"num_predict": 40}).json()

    assert json.loads(answer["message"]["content"]) == {"type": "mine"}


def test_format_json_gives_an_object(chat: Chat):
    content = chat("The weather in JSON.", format="json").json()["message"]["content"]

    assert content.lstrip().startswith("{")


def test_an_answer_ends_with_stop_or_with_length(chat: Chat):
    short = chat(format={"enum": ["yes"]}).json()
    cut = chat(options={"num_predict": 2}).json()

    assert (short["done_reason"], short["message"]["content"]) == ("stop", '"yes"')
    assert (cut["done_reason"], cut["eval_count"]) == ("length", 2)


def test_the_context_ends_an_answer(chat: Chat):
    prompt_tokens = chat().json()["prompt_eval_count"]
    schema = {"type": "array", "items": {"const": 1}, "minItems": 100}
    options = {"num_predict": -1, "num_ctx": prompt_tokens + 9}
    answer = chat(format=schema, options=options).json()

    assert (answer["done_reason"], answer["eval_count"]) == ("length", 9)


def test_a_stop_text_ends_the_answer_and_is_left_out(chat: Chat):
    whole = chat().json()["message"]["content"]
    middle = whole[len(whole) // 2]
    answer = chat(options={"stop": [middle]}).json()

    assert answer["done_reason"] == "stop"
    assert answer["message"]["content"] == whole[: whole.index(middle)]


def test_the_same_seed_gives_the_same_answer_and_another_seed_another(chat: Chat):
    def ask(seed: int) -> str:
        options = {"temperature": 1.2, "seed": seed, "num_predict": 10}
        return str(chat("Tell a story.", options=options).json()["message"]["content"])

    ask(1)  # the others find the prompt in the cache
    assert ask(1) == ask(1) == ask(1 + 2**32)
    assert len({ask(1), ask(2), ask(3)}) == 3


def test_temperature_zero_needs_no_seed(chat: Chat):
    chat("Tell a story.")
    answers = {chat("Tell a story.").json()["message"]["content"] for _ in range(3)}

    assert len(answers) == 1


def test_top_k_one_is_greedy(chat: Chat):
    chat()
    greedy = chat(options={"temperature": 0}).json()["message"]["content"]
    only_the_best = chat(options={"temperature": 2, "top_k": 1}).json()["message"]["content"]
    nearly_nothing = chat(options={"temperature": 2, "top_p": 0.0001}).json()["message"]["content"]

    assert only_the_best == greedy
    assert nearly_nothing == greedy


def test_whole_numbers_may_be_written_with_a_point(chat: Chat):
    assert chat(options={"num_predict": 3.0}).json()["eval_count"] == 3


def test_options_that_ollama_does_not_know_either_are_ignored(chat: Chat):
    assert chat(options={"num_gpu": 1, "num_thread": 8, "no_such": "x"}).status_code == 200


def test_think_may_be_switched_off_where_there_is_none(chat: Chat):
    assert "thinking" not in chat(think=False).json()["message"]


def test_an_answer_can_be_begun_for_the_model(http: httpx.Client, server: LocalModel):
    begun = [*MESSAGES, {"role": "assistant", "content": "Four, five, six, seven,"}]
    body = {"model": server.model, "messages": begun, "options": GREEDY, "stream": False}

    content = http.post("/api/chat", json=body).json()["message"]["content"]
    assert content.lstrip().startswith("eight")
