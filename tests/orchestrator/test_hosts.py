"""Calls to Ollama against a server that does what goes wrong in real runs."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from typing import Any

import pytest

from sim_orchestrator.minds.base import ModelsUnavailable
from sim_orchestrator.minds.hosts import Answer, HostPool, NoAnswer
from tests.orchestrator.stub_ollama import (
    MODEL,
    Behaviour,
    Drop,
    Flood,
    Hang,
    Http,
    Reply,
    Say,
    StubOllama,
    chat_body,
    say,
)

FREE_PORT_URL = "http://127.0.0.1:9"  # the discard port: nobody serves there


def ask(
    *stubs: StubOllama, calls: int = 1, seconds: float = 10.0, urls: tuple[str, ...] = ()
) -> list[Answer | NoAnswer]:
    """Ask so many times at once, with all of these hosts."""

    async def main() -> list[Answer | NoAnswer]:
        hosts = [*(stub.url for stub in stubs), *urls]
        pool = HostPool(hosts, parallel=64, reach_hint="start it")
        for each in pool.hosts:
            each.models = [MODEL]
        try:
            return await asyncio.gather(*(one(pool) for _ in range(calls)))
        finally:
            await pool.close()

    async def one(pool: HostPool) -> Answer | NoAnswer:
        return await pool.ask(
            MODEL,
            messages=[{"role": "user", "content": "now?"}],
            schema={"type": "object"},
            options={"num_ctx": 4096, "num_predict": 50, "temperature": 0.5},
            think=False,
            seconds=seconds,
            too_late="too late",
        )

    return asyncio.run(main())


def behaving(behave: Behaviour) -> StubOllama:
    return StubOllama(behave=behave)


def first(reply: Reply, then: Reply | None = None) -> Behaviour:
    """Do one thing at the first request and another ever after."""
    return lambda request, number: reply if number == 1 else (then or say())


def test_an_answer_comes_with_the_servers_own_counts():
    with StubOllama() as stub:
        assert ask(stub) == [
            Answer(
                text=json.dumps(
                    {"thought": "work", "notes": "I worked", "actions": [{"type": "job"}]}
                ),
                thinking="",
                prompt_tokens=1000,
                output_tokens=40,
                done_reason="stop",
                server_ms=5,
            )
        ]
        request = stub.requests[0]
    assert request["format"] == {"type": "object"}
    assert request["options"] == {"num_ctx": 4096, "num_predict": 50, "temperature": 0.5}
    assert request["think"] is False
    assert request["stream"] is False


def test_a_chunked_answer_is_read():
    body = chat_body(MODEL, Say("ü" * 5000))
    with behaving(lambda request, number: Http(200, body, chunked=True)) as stub:
        (found,) = ask(stub)
    assert isinstance(found, Answer)
    assert found.text == "ü" * 5000


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Flood(50_000_000), "larger than 8,388,608 bytes"),
        (Http(200, b"not json"), "sent no answer of Ollama's: it is no JSON object"),
        (Http(200, b"[]"), "sent no answer of Ollama's: it is no JSON object"),
        (Http(200, b"{}"), "sent no answer of Ollama's: its field message is missing"),
        (
            Http(200, b'{"message": {"role": "assistant", "content": 5}}'),
            "Ollama's: its field message.content has a value that Ollama never sends",
        ),
        (Http(200, b"[" * 100_000), "sent no answer of Ollama's: it is no JSON object"),
        (Http(200, b"\xff\xfe"), "sent no answer of Ollama's: it is no JSON object"),
        (Http(400, b'{"error": "invalid format"}'), "answered 400: invalid format"),
        (Http(400, b"[]"), "sent no answer of Ollama's: it is no JSON object"),
        (Say("text", output_tokens=0), "no generated tokens (eval_count) for an answer of 4 ch"),
        (Say("text", output_tokens=None), "no generated tokens (eval_count) for an answer of"),
        (Say("", thinking="hm", output_tokens=None), "no generated tokens (eval_count) for"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_an_answer_that_is_none_is_a_failure_and_not_asked_again(reply, reason):
    with behaving(lambda request, number: reply) as stub:
        (found,) = ask(stub)
        assert len(stub.requests) == 1
    assert isinstance(found, NoAnswer)
    assert reason in found.reason
    assert "\n" not in found.reason


def test_a_call_that_never_returns_is_given_up():
    with behaving(lambda request, number: Hang()) as stub:
        began = time.monotonic()
        assert ask(stub, seconds=0.3) == [NoAnswer("too late")]
        assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "fault",
    [
        Drop(),
        Drop(after_bytes=30),
        Drop(after_bytes=45),
        Http(503, b'{"error": "server busy, please try again"}'),
        Http(429, b"{}"),
        Http(500, b'{"error": "llama runner process has terminated"}'),
    ],
    ids=str,
)
def test_a_passing_trouble_is_tried_again(fault):
    with behaving(first(fault)) as stub:
        (found,) = ask(stub)
        assert len(stub.requests) == 2
    assert isinstance(found, Answer)


def test_a_lasting_fault_of_the_server_is_given_up_after_three_tries():
    with behaving(lambda request, number: Http(500, b'{"error": "out of memory"}')) as stub:
        (found,) = ask(stub)
        assert len(stub.requests) == 3
    assert isinstance(found, NoAnswer)
    assert found.reason == f"{stub.url} answered 500: out of memory"


@pytest.mark.parametrize("fault", [Drop(), Drop(after_bytes=30), Drop(after_bytes=45)], ids=str)
@pytest.mark.parametrize("reused", [False, True])
def test_an_answer_that_breaks_off_is_asked_for_three_times_and_no_more(fault, reused):
    good = int(reused)  # an answer that leaves its connection open for the next call

    def behave(request: dict[str, Any], number: int) -> Reply:
        return say() if number <= good else fault

    async def main(stub: StubOllama) -> Answer | NoAnswer:
        pool = HostPool([stub.url], parallel=1, reach_hint="")
        pool.hosts[0].models = [MODEL]
        request: dict[str, Any] = {"messages": [], "schema": {}, "options": {}, "think": False}
        try:
            for _ in range(good):
                await pool.ask(MODEL, seconds=5, too_late="", **request)
            return await pool.ask(MODEL, seconds=20, too_late="too late", **request)
        finally:
            await pool.close()

    with behaving(behave) as stub:
        found = asyncio.run(main(stub))
        assert len(stub.requests) == good + 3
    assert isinstance(found, NoAnswer)
    assert found.reason.startswith(f"{stub.url}: the ")


def test_waiting_for_a_connection_leaves_the_tries_of_faults():
    fault = Http(500, b'{"error": "out of memory"}')
    stub = behaving(lambda request, number: fault if number < 3 else say())
    stub.start()
    stub.stop()  # its port is known now, and closed

    def start() -> None:
        time.sleep(1.5)
        stub.start()

    nurse = threading.Thread(target=start)
    nurse.start()
    try:
        (found,) = ask(stub, seconds=30)
    finally:
        nurse.join()
        stub.stop()
    assert isinstance(found, Answer)
    assert len(stub.requests) == 3


def test_connections_that_were_closed_while_idle_are_no_broken_answers():
    async def main(stub: StubOllama) -> Answer | NoAnswer:
        pool = HostPool([stub.url], parallel=4, reach_hint="")
        pool.hosts[0].models = [MODEL]
        request: dict[str, Any] = {"messages": [], "schema": {}, "options": {}, "think": False}
        try:
            # Four connections: more than a call has tries.
            together = (pool.ask(MODEL, seconds=5, too_late="", **request) for _ in range(4))
            await asyncio.gather(*together)
            await asyncio.to_thread(stub.stop)
            await asyncio.to_thread(stub.start)
            return await pool.ask(MODEL, seconds=5, too_late="", **request)
        finally:
            await pool.close()

    with behaving(lambda request, number: say(after_seconds=0.1)) as stub:
        found = asyncio.run(main(stub))
    assert isinstance(found, Answer)


def test_a_cached_prompt_may_count_as_nothing_read():
    with behaving(lambda request, number: Say("text", prompt_tokens=None)) as stub:
        (found,) = ask(stub)
    assert isinstance(found, Answer)
    assert (found.prompt_tokens, found.output_tokens) == (0, 40)


def test_an_empty_answer_may_count_as_nothing_generated():
    with behaving(lambda request, number: Say("", output_tokens=None)) as stub:
        (found,) = ask(stub)
    assert isinstance(found, Answer)
    assert (found.text, found.output_tokens) == ("", 0)


def test_a_server_that_dies_and_returns_is_waited_for():
    stub = behaving(first(Hang()))
    stub.start()

    def restart() -> None:
        while not stub.requests:
            time.sleep(0.01)
        stub.stop()
        time.sleep(0.4)
        stub.start()

    nurse = threading.Thread(target=restart)
    nurse.start()
    try:
        (found,) = ask(stub, seconds=20)
    finally:
        nurse.join()
        stub.stop()
    assert isinstance(found, Answer)


def test_a_server_that_stays_away_costs_the_time_of_one_call():
    (found,) = ask(urls=(FREE_PORT_URL,), seconds=0.5)
    assert isinstance(found, NoAnswer)
    assert found.reason.startswith("too late (http://127.0.0.1:9")


def test_hosts_share_the_load():
    slow: Behaviour = lambda request, number: say(after_seconds=0.2)  # noqa: E731
    with behaving(slow) as one, behaving(slow) as two:
        ask(one, two, calls=20)
        assert len(one.requests) == len(two.requests) == 10


def test_a_host_that_is_away_is_replaced_by_one_that_is_there():
    with StubOllama() as stub:
        found = ask(stub, urls=(FREE_PORT_URL,), calls=10, seconds=5)
    assert all(isinstance(each, Answer) for each in found)


def test_a_model_that_vanishes_is_a_failure():
    with behaving(lambda request, number: Http(404, b'{"error": "model not found"}')) as stub:
        (found,) = ask(stub)
    assert isinstance(found, NoAnswer)
    assert "answered 404: model not found" in found.reason


def test_a_redirection_is_followed_to_another_server():
    with behaving(lambda request, number: Say("there")) as there:
        moved = Http(308, b"", location=f"{there.url}/api/chat")
        with behaving(lambda request, number: moved) as here:
            answers = ask(here, calls=3)
            assert [len(here.requests), len(there.requests)] == [3, 3]
    assert [found.text for found in answers if isinstance(found, Answer)] == ["there"] * 3


def test_lone_surrogates_do_not_get_through():
    with behaving(lambda request, number: Say("a\ud800b")) as stub:
        (found,) = ask(stub)
    assert isinstance(found, Answer)
    assert found.text == "a?b"


def test_a_cancelled_call_leaves_no_connection_to_the_next():
    async def main(stub: StubOllama) -> Answer | NoAnswer:
        pool = HostPool([stub.url], parallel=1, reach_hint="")
        pool.hosts[0].models = [MODEL]
        request: dict[str, Any] = {
            "messages": [],
            "schema": {},
            "options": {},
            "think": False,
            "too_late": "",
        }
        late = await pool.ask(MODEL, seconds=0.2, **request)
        assert isinstance(late, NoAnswer)
        try:
            return await pool.ask(MODEL, seconds=5, **request)
        finally:
            await pool.close()

    slow_first = first(Say("late", after_seconds=0.6), Say("in time", after_seconds=0.6))
    with behaving(slow_first) as stub:
        found = asyncio.run(main(stub))
    assert isinstance(found, Answer)
    assert found.text == "in time"


def check(urls: list[str], *models: str) -> dict[str, dict[str, Any]]:
    async def main() -> dict[str, dict[str, Any]]:
        pool = HostPool(urls, parallel=1, reach_hint="start it with `ollama serve`")
        try:
            return await pool.check(models)
        finally:
            await pool.close()

    return asyncio.run(main())


def test_the_check_finds_models_on_any_host_and_describes_them():
    with StubOllama(models=("a:latest",)) as one, StubOllama(models=("b:1b", "c:2b")) as two:
        found = check([one.url, two.url], "a", "b:1b")
    assert found["a"]["digest"] == "digest of a:latest"
    assert found["b:1b"]["context_length"] == 32_768
    assert found["b:1b"]["capabilities"] is None
    assert found["b:1b"]["details"] == {"family": "stub", "parameter_size": "1B"}


def test_the_check_tells_what_a_model_can_do_where_its_host_does():
    with StubOllama(capabilities={MODEL: ["completion", "tools"]}) as stub:
        assert check([stub.url], MODEL)[MODEL]["capabilities"] == ["completion", "tools"]


def test_a_model_that_is_not_pulled_is_said_with_the_command():
    with (
        StubOllama() as stub,
        pytest.raises(ModelsUnavailable, match=r"the model gemma3:27b is not .* `ollama pull gem"),
    ):
        check([stub.url], "gemma3:27b")


def test_an_ollama_that_is_down_is_said_with_the_command():
    with pytest.raises(ModelsUnavailable) as caught:
        check([FREE_PORT_URL], MODEL)
    assert str(caught.value) == (
        f"no Ollama at {FREE_PORT_URL} (it does not answer): start it with `ollama serve`"
    )


@pytest.mark.parametrize("url", ["http://[::1", "http://a:b", "a:99999999"])
def test_an_address_that_is_none_is_said(url):
    with pytest.raises(ModelsUnavailable, match="no address"):
        check([url], MODEL)


@pytest.mark.parametrize(
    ("models", "said"),
    [
        (("b:1", "a:1"), ", or choose one that is with --model: a:1, b:1$"),
        (tuple(f"m{i:02}:1b" for i in range(25)), "--model: m00:1b, .*, m19:1b and 5 more$"),
        ((), r"run `ollama pull gemma3:27b` there$"),
    ],
)
def test_a_model_that_is_missing_is_told_with_those_that_are_there(models, said):
    async def main() -> None:
        pool = HostPool([stub.url, other.url], parallel=1, reach_hint="start it")
        try:
            await pool.check(["gemma3:27b"])
        finally:
            await pool.close()

    with (
        StubOllama(models=models) as stub,
        StubOllama(models=models[:1]) as other,
        pytest.raises(ModelsUnavailable, match=said),
    ):
        asyncio.run(main())
