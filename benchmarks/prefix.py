"""How much of each prompt the embedded model evaluates when agents share its beginning.

    python -m benchmarks.prefix [--agents 4] [--turns 2] [--num-predict 40] [--model FILE]

Every agent of a turn asks at once, with the real context and answer schema of its world: first as
they are, then each behind a word of its own, so that no prompt begins like another. Between turns
the public world changes. Tokens are exact; seconds and their ratio are of this run.
"""

import argparse
import asyncio
import dataclasses
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from benchmarks.decision_worlds import World, world
from sim_orchestrator.answer_schema import answer_schema
from sim_orchestrator.context import build_messages
from sim_orchestrator.local_model import LocalModel, start_local_model
from sim_orchestrator.minds.base import Observation

CONTEXT_TOKENS = 8192
WORLD_NUMBER = 19  # of the decision benchmark: eight agents, some turns old
NS_PER_SECOND = 1e9


@dataclasses.dataclass(frozen=True)
class Call:
    """What one call took."""

    turn: int
    agent_id: str
    prompt_tokens: int
    evaluated_tokens: int
    prompt_seconds: float
    answer_tokens: int
    answer_seconds: float


def seen_by(observation: Observation, agent_id: str, later_turns: int) -> Observation:
    """Show a world to another of its agents, some turns later: every balance has moved."""
    agents = [
        {**agent, "balance": agent["balance"] + 37 * later_turns}
        for agent in observation.state["agents"]
    ]
    me = next(agent for agent in agents if agent["agent_id"] == agent_id)
    private: dict[str, list[Any]] = {"insights": [], "information": [], "receipts": []}
    return dataclasses.replace(
        observation,
        turn=observation.turn + later_turns,
        agent_id=agent_id,
        state={**observation.state, "agents": agents, "turn": observation.turn + later_turns - 1},
        agent={**me, "private": private},
        contracts=[],
    )


async def ask(
    client: httpx.AsyncClient, model: str, seen: Observation, num_predict: int, first_word: str
) -> Call:
    """Make one call as an agent does; a first word, if any, stands before all else."""
    messages = build_messages(seen, budget_tokens=CONTEXT_TOKENS - num_predict)
    messages[0]["content"] = first_word + messages[0]["content"]
    body = {
        "model": model,
        "messages": messages,
        "stream": False,
        "format": answer_schema(seen),
        "options": {"num_predict": num_predict, "num_ctx": CONTEXT_TOKENS, "seed": 1},
    }
    answer: Mapping[str, Any] = (await client.post("/api/chat", json=body)).json()
    if "error" in answer:
        raise SystemExit(answer["error"])
    return Call(
        turn=seen.turn,
        agent_id=seen.agent_id,
        prompt_tokens=answer["prompt_eval_count"],
        evaluated_tokens=answer["prompt_eval_count"] - answer["prompt_cached_count"],
        prompt_seconds=answer["prompt_eval_duration"] / NS_PER_SECOND,
        answer_tokens=answer["eval_count"],
        answer_seconds=answer["eval_duration"] / NS_PER_SECOND,
    )


async def play(
    server: LocalModel, played: World, options: argparse.Namespace, *, shared: bool
) -> tuple[list[Call], float]:
    """Play all turns; return the calls in the order they were served, and the seconds in all."""
    calls: list[Call] = []
    started = time.monotonic()
    async with httpx.AsyncClient(base_url=server.url, timeout=None) as client:
        for turn in range(options.turns):
            asks = [
                ask(
                    client,
                    server.model,
                    seen_by(played.observation, agent_id, turn),
                    options.num_predict,
                    "" if shared else f"{agent_id} {turn}: ",
                )
                for agent_id in played.agent_ids[: options.agents]
            ]
            for served in asyncio.as_completed(asks):
                calls.append(await served)
    return calls, time.monotonic() - started


def show(title: str, calls: Sequence[Call], seconds: float) -> None:
    print(f"\n{title}")
    print(" turn  agent     prompt  evaluated  prompt s  answer s")
    for call in calls:
        print(
            f"{call.turn:5}  {call.agent_id:8} {call.prompt_tokens:7}  {call.evaluated_tokens:9}"
            f"  {call.prompt_seconds:8.2f}  {call.answer_seconds:8.2f}"
        )
    prompt_speed = sum(c.evaluated_tokens for c in calls) / sum(c.prompt_seconds for c in calls)
    answer_speed = sum(c.answer_tokens for c in calls) / sum(c.answer_seconds for c in calls)
    print(
        f"in all {seconds:.1f} s, {seconds / len(calls):.2f} s a call; "
        f"{prompt_speed:.0f} prompt tokens/s, {answer_speed:.0f} answer tokens/s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--agents", type=int, default=4, choices=range(1, 7))
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--num-predict", type=int, default=40)
    parser.add_argument("--model", type=Path, help="a .gguf file (default: the embedded model)")
    parser.add_argument("--slots", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    with (
        world(WORLD_NUMBER) as played,
        tempfile.TemporaryDirectory() as folder,
        start_local_model(
            options.model,
            log_path=Path(folder) / "server.log",
            slots=options.slots,
            threads=options.threads,
        ) as server,
    ):
        shared, shared_seconds = asyncio.run(play(server, played, options, shared=True))
        show("prompts that begin alike", shared, shared_seconds)
        own, own_seconds = asyncio.run(play(server, played, options, shared=False))
        show("prompts that begin with a word of their own", own, own_seconds)
    evaluated = sum(call.evaluated_tokens for call in shared)
    without = sum(call.evaluated_tokens for call in own)
    print(
        f"\nevaluated per call: {evaluated / len(shared):.0f} instead of {without / len(own):.0f} "
        f"prompt tokens, {without / evaluated:.1f} times fewer; "
        f"seconds per call {own_seconds / shared_seconds:.1f} times fewer"
    )


if __name__ == "__main__":
    main()
