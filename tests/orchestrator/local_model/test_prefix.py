"""A prompt that begins like the one before it is evaluated from where it differs."""

import asyncio

import httpx
import pytest

from sim_orchestrator.local_model import LocalModel
from tests.orchestrator.local_model.conftest import ANSWER_SECONDS, Chat

pytestmark = pytest.mark.embedded


def test_the_same_prompt_again_is_in_the_cache(chat: Chat):
    chat("A prompt that nobody has sent before.")
    again = chat("A prompt that nobody has sent before.").json()

    assert again["prompt_cached_count"] == again["prompt_eval_count"] - 1


def test_a_new_prompt_is_evaluated(chat: Chat):
    rules = " ".join(f"Rule {number} of a new world." for number in range(15))
    answer = chat(rules).json()

    assert answer["prompt_eval_count"] - answer["prompt_cached_count"] > 100


def test_agents_who_ask_at_once_share_the_public_world(server: LocalModel):
    rules = " ".join(f"Rule {number} says no." for number in range(20))
    world = " ".join(f"agent_{number} has {number}00 tokens." for number in range(12))

    async def ask(client: httpx.AsyncClient, agent: int) -> tuple[int, int]:
        messages = [
            {"role": "system", "content": rules},
            {"role": "user", "content": f"{world}\nYou are agent_{agent}. You have {agent} debts."},
        ]
        body = {
            "model": server.model,
            "messages": messages,
            "stream": False,
            "options": {"num_predict": 2},
        }
        answer = (await client.post("/api/chat", json=body)).json()
        return answer["prompt_eval_count"], answer["prompt_cached_count"]

    async def turn() -> list[tuple[int, int]]:
        async with httpx.AsyncClient(base_url=server.url, timeout=ANSWER_SECONDS) as client:
            return list(await asyncio.gather(*(ask(client, agent) for agent in range(4))))

    counts = asyncio.run(turn())
    evaluated = sorted(prompt - cached for prompt, cached in counts)
    assert min(prompt for prompt, _ in counts) > 250
    assert evaluated[-1] > 200  # one agent's prompt is read in full
    assert evaluated[-2] < 40  # of the others' only what is their own
