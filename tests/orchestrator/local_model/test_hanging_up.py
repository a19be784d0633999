"""A client that goes away takes its work with it."""

import asyncio
from typing import Any

import httpx
import pytest

from sim_orchestrator.local_model import LocalModel
from tests.orchestrator.local_model.conftest import ANSWER_SECONDS, Chat

pytestmark = pytest.mark.embedded

# Fills the whole context: minutes of work, far more than a test may take.
ENDLESS: dict[str, Any] = {
    "messages": [{"role": "user", "content": "Count without an end."}],
    "format": {"type": "array", "items": {"const": 1234567}, "minItems": 1900},
    "options": {"num_predict": -1},
}


def test_closing_a_stream_frees_the_slot(http: httpx.Client, chat: Chat, server: LocalModel):
    body = {**ENDLESS, "model": server.model}
    with http.stream("POST", "/api/chat", json=body) as response:
        assert next(response.iter_lines())

    assert chat().status_code == 200  # the only slot is free


def test_giving_up_on_an_answer_frees_the_slot(server: LocalModel, chat: Chat):
    body = {**ENDLESS, "model": server.model, "stream": False}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{server.url}/api/chat", json=body, timeout=1.0)

    assert chat().status_code == 200


@pytest.mark.parametrize("stream", [True, False])
def test_who_gives_up_waiting_leaves_the_queue(server: LocalModel, chat: Chat, stream: bool):
    async def crowd() -> list[BaseException | httpx.Response]:
        body = {**ENDLESS, "model": server.model, "stream": stream}
        async with httpx.AsyncClient(base_url=server.url, timeout=ANSWER_SECONDS) as client:
            asks = [asyncio.create_task(client.post("/api/chat", json=body)) for _ in range(4)]
            await asyncio.sleep(0.5)
            for ask in asks:
                ask.cancel()
            return await asyncio.gather(*asks, return_exceptions=True)

    assert all(isinstance(end, asyncio.CancelledError) for end in asyncio.run(crowd()))
    assert chat().status_code == 200
