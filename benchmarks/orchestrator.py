"""What the orchestrator itself costs a call: its CPU time, against a server with a fixed answer.

    python -m benchmarks.orchestrator [--agents 64] [--calls 256] [--rounds 3]

The prompts and schemas are those of a real world with so many agents. The server runs in a process
of its own and answers after 20 ms, so that calls overlap; wall time is therefore not shown. Rows 1
to 3 make the same call; row 4 does all that a decision takes: context, schema, call, parsing, and a
line in the transcript. Each figure is the median of some rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import httpx
import ollama

from sim_orchestrator.answer_schema import answer_schema
from sim_orchestrator.context import build_messages
from sim_orchestrator.deciding import decide_all, submission
from sim_orchestrator.engine_client import EngineClient
from sim_orchestrator.minds.base import Mind, Observation
from sim_orchestrator.minds.hosts import Answer, HostPool
from sim_orchestrator.minds.ollama import OllamaMind
from sim_orchestrator.minds.personas import persona
from sim_orchestrator.minds.scripted import ScriptedMind, archetype
from sim_orchestrator.observer import Observer
from sim_orchestrator.processes import own_engine
from sim_orchestrator.transcript import Transcript

MODEL: Final = "fixed"
TURNS_BEFORE: Final = 4
ANSWER_SECONDS: Final = 0.02
BUDGET_TOKENS: Final = 7_500
OPTIONS: Final = {"num_ctx": 8192, "num_predict": 512, "temperature": 0.7}
DECISION: Final = {
    "thought": "Work pays now, and a block may come; I keep the rest for the next loan.",
    "notes": "c3 is due in two turns",
    "actions": [{"type": "job"}, {"type": "mine"}, {"type": "speak", "message": "Good work!"}],
}

Call = Callable[[Observation], Awaitable[object]]


def serve(pipe: Connection) -> None:
    """Answer every request with the same decision, on a free port."""
    content = json.dumps(DECISION)
    body = json.dumps(
        {
            "model": MODEL,
            "created_at": "2026-01-01T00:00:00Z",
            "message": {"role": "assistant", "content": content},
            "done": True,
            "done_reason": "stop",
            "total_duration": 20_000_000,
            "prompt_eval_count": 1500,
            "eval_count": 60,
        }
    ).encode()
    answer = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                await reader.readexactly(length)
                await asyncio.sleep(ANSWER_SECONDS)
                writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def main() -> None:
        server = await asyncio.start_server(connected, "127.0.0.1", 0, backlog=1024)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


async def observe(agents: int) -> Mapping[str, Observation]:
    """Play a few scripted turns on a real engine; return what every agent sees then."""
    roster = [f"agent_{place}" for place in range(agents)]
    personas = {agent_id: persona(place) for place, agent_id in enumerate(roster)}
    minds: dict[str, Mind] = {
        agent_id: ScriptedMind(archetype(place), "bench") for place, agent_id in enumerate(roster)
    }
    with tempfile.TemporaryDirectory() as scratch:
        async with AsyncExitStack() as stack:
            files = Path(scratch)
            process = await stack.enter_async_context(
                own_engine(files / "sim.db", files / "engine.log", key="", note=print)
            )
            engine = EngineClient(process.url)
            stack.push_async_callback(engine.close)
            await engine.init({"seed": "bench", "agents": roster})
            observer = Observer(engine, personas, await engine.config())
            transcript = stack.enter_context(Transcript(files / "transcript.jsonl"))
            for turn in range(1, TURNS_BEFORE + 1):
                seen = await observer.observations(await observer.look(), roster)
                decisions = await decide_all(
                    seen, minds, transcript, ends_at=float("inf"), decided=observer.remember
                )
                parts = [
                    submission(name, decision, durations=True)
                    for name, decision in decisions.items()
                ]
                observer.sealed(await engine.submit(turn, parts))
            return await observer.observations(await observer.look(), roster)


async def cpu_ms(call: Call, seen: Sequence[Observation], at_once: int, calls: int) -> float:
    """Make calls, so many at once; return the CPU time of this process for each (ms)."""
    gate = asyncio.Semaphore(at_once)

    async def one(place: int) -> None:
        async with gate:
            await call(seen[place % len(seen)])

    await asyncio.gather(*(one(place) for place in range(at_once)))  # opens the connections
    began = time.process_time()
    await asyncio.gather(*(one(place) for place in range(calls)))
    return (time.process_time() - began) / calls * 1000


async def with_official_clients(
    url: str, seen: Sequence[Observation], clients: int, at_once: int, calls: int
) -> float:
    """Use the official client as it comes, on so many connection pools."""
    limits = httpx.Limits(max_connections=-(-at_once // clients))
    pools = [ollama.AsyncClient(host=url, limits=limits) for _ in range(clients)]
    busy = [0] * clients
    prompts = {id(each): (build(each), answer_schema(each)) for each in seen}

    async def call(observation: Observation) -> object:
        place = min(range(clients), key=busy.__getitem__)
        busy[place] += 1
        messages, schema = prompts[id(observation)]
        try:
            return await pools[place].chat(
                model=MODEL, messages=messages, format=schema, options=OPTIONS, think=False
            )
        finally:
            busy[place] -= 1

    try:
        return await cpu_ms(call, seen, at_once, calls)
    finally:
        for pool in pools:
            await pool.close()  # type: ignore[no-untyped-call]


async def with_our_transport(
    url: str, seen: Sequence[Observation], at_once: int, calls: int
) -> float:
    """Make the call as the orchestrator does."""
    pool = host_pool(url, at_once)
    prompts = {id(each): (build(each), answer_schema(each)) for each in seen}

    async def call(observation: Observation) -> object:
        messages, schema = prompts[id(observation)]
        found = await pool.ask(
            MODEL,
            messages=messages,
            schema=schema,
            options=OPTIONS,
            think=False,
            seconds=60,
            too_late="too late",
        )
        if not isinstance(found, Answer):
            raise RuntimeError(f"a call failed: {found.reason}")
        return found

    try:
        return await cpu_ms(call, seen, at_once, calls)
    finally:
        await pool.close()


async def whole_decisions(url: str, seen: Sequence[Observation], at_once: int, calls: int) -> float:
    """Do all that one decision takes."""
    pool = host_pool(url, at_once)
    mind = OllamaMind(pool, model=MODEL, options=OPTIONS, think=False, timeout=60)
    with (
        tempfile.TemporaryDirectory() as scratch,
        Transcript(Path(scratch) / "transcript.jsonl") as transcript,
    ):

        async def call(observation: Observation) -> object:
            decision = await mind.decide(observation, _Log(transcript, observation))
            if decision.failure:
                raise RuntimeError(f"a decision failed: {decision.failure}")
            return decision

        try:
            return await cpu_ms(call, seen, at_once, calls)
        finally:
            await pool.close()


class _Log:
    """Writes every call, as a run does, but never finds one that was made before."""

    def __init__(self, transcript: Transcript, observation: Observation) -> None:
        self._transcript = transcript
        self._observation = observation

    def earlier(self) -> Sequence[Any]:
        return ()

    def seconds_left(self) -> float:
        return 60.0

    def record(self, call: Any) -> None:
        seen = self._observation
        self._transcript.record_call(seen.turn, seen.agent_id, call)


def host_pool(url: str, at_once: int) -> HostPool:
    """Make a pool that knows already what its one host has."""
    pool = HostPool([url], parallel=at_once, reach_hint="")
    pool.hosts[0].models = [MODEL]
    return pool


def build(observation: Observation) -> list[dict[str, str]]:
    """Build the messages with the budget of a run's default settings."""
    return build_messages(observation, budget_tokens=BUDGET_TOKENS)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--agents", type=int, default=64)
    parser.add_argument("--calls", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    seen = list(asyncio.run(observe(arguments.agents)).values())
    prompt, schema = (len(json.dumps(part(seen[0]))) for part in (build, answer_schema))
    print(f"{arguments.agents} agents, prompts of {prompt:,} bytes, schemas of {schema:,} bytes")
    print("CPU time of this process for each call (ms)")
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{ours.recv()}"
    rows: dict[str, Callable[[int, int], Awaitable[float]]] = {
        "official client, one pool": lambda n, c: with_official_clients(url, seen, 1, n, c),
        "official client, 8 pools": lambda n, c: with_official_clients(url, seen, 8, n, c),
        "official client, our way to ask": lambda n, c: with_our_transport(url, seen, n, c),
        "a whole decision": lambda n, c: whole_decisions(url, seen, n, c),
    }
    columns = (8, 64, 256)
    print(f"{'':<32}" + "".join(f"{at_once:>12} at once" for at_once in columns))
    try:
        for name, measure in rows.items():
            figures = [
                statistics.median(
                    asyncio.run(_run(measure, at_once, arguments.calls))
                    for _ in range(arguments.rounds)
                )
                for at_once in columns
            ]
            print(f"{name:<32}" + "".join(f"{figure:>20.2f}" for figure in figures), flush=True)
    finally:
        server.terminate()
        server.join()


async def _run(measure: Callable[[int, int], Awaitable[float]], at_once: int, calls: int) -> float:
    return await measure(at_once, max(calls, 2 * at_once))


if __name__ == "__main__":
    main()
