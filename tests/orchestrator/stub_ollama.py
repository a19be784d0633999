"""A server on a real port that speaks Ollama's API and misbehaves as it is told."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MODEL = "stub:1b"
DECISION = {"thought": "work", "notes": "I worked", "actions": [{"type": "job"}]}


@dataclass(frozen=True)
class Say:
    """An answer as a model gives it."""

    content: str
    output_tokens: int | None = 40
    prompt_tokens: int | None = 1000
    thinking: str = ""
    done_reason: str = "stop"
    after_seconds: float = 0.0


@dataclass(frozen=True)
class Http:
    """Any bytes under any status."""

    status: int
    body: bytes
    chunked: bool = False
    location: str = ""


@dataclass(frozen=True)
class Hang:
    """Nothing, ever."""


@dataclass(frozen=True)
class Drop:
    """A connection that closes in the middle of the answer."""

    after_bytes: int = 0


@dataclass(frozen=True)
class Flood:
    """A body of so many bytes."""

    size: int


Reply = Say | Http | Hang | Drop | Flood
Behaviour = Callable[[dict[str, Any], int], Reply]


def say(decision: Any = DECISION, **fields: Any) -> Say:
    return Say(json.dumps(decision), **fields)


def agent_of(request: dict[str, Any], roster: int = 8) -> str:
    """Find out which agent a prompt is for: the one that it says the reader is."""
    text = request["messages"][1]["content"]
    return next(f"agent_{i}" for i in range(roster) if f"YOU ARE agent_{i}," in text)


@dataclass
class StubOllama:
    """Serves until it is stopped; ``requests`` has every chat request in order of arrival.

    A model whose ``capabilities`` are told and lack thinking refuses to think, as Ollama does.
    """

    behave: Behaviour = field(default=lambda request, number: say())
    models: tuple[str, ...] = (MODEL,)
    context_length: int = 32_768
    capabilities: Mapping[str, Sequence[str]] = field(default_factory=dict)
    port: int = 0
    requests: list[dict[str, Any]] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0

    def __enter__(self) -> StubOllama:
        self.start()
        return self

    def __exit__(self, *ignored: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(ready,), daemon=True)
        self._thread.start()
        assert ready.wait(10)

    def stop(self) -> None:
        """Close the port and every connection, as a server that dies does."""
        if self._loop.is_running():
            self._loop.call_soon_threadsafe(self._stopped.set)
            self._thread.join(10)

    def _serve(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._main(ready))
        self._loop.close()

    async def _main(self, ready: threading.Event) -> None:
        self._stopped = asyncio.Event()
        server = await asyncio.start_server(
            self._connected, "127.0.0.1", self.port, limit=2**24, backlog=512
        )
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await self._stopped.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = 0
                for line in head.split("\r\n"):
                    if line.lower().startswith("content-length:"):
                        length = int(line.split(":")[1])
                body = await reader.readexactly(length)
                path = head.split(" ")[1]
                if not await self._answer(path, body, writer):
                    return
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _answer(self, path: str, body: bytes, writer: asyncio.StreamWriter) -> bool:
        if path == "/api/chat":
            request = json.loads(body)
            self.requests.append(request)
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            try:
                return await self._chat(request, writer)
            finally:
                self.in_flight -= 1
        if path == "/api/tags":
            models = [{"model": name, "digest": f"digest of {name}"} for name in self.models]
            return await _send(writer, 200, json.dumps({"models": models}).encode())
        if path == "/api/show":
            shown: dict[str, Any] = {
                "details": {"family": "stub", "parameter_size": "1B"},
                "model_info": {"stub.context_length": self.context_length},
            }
            model = json.loads(body)["model"]
            if model in self.capabilities:
                shown["capabilities"] = list(self.capabilities[model])
            return await _send(writer, 200, json.dumps(shown).encode())
        return await _send(writer, 404, b'{"error": "not found"}')

    async def _chat(self, request: dict[str, Any], writer: asyncio.StreamWriter) -> bool:
        reply = self.behave(request, len(self.requests))
        able = self.capabilities.get(request["model"], ["thinking"])
        if request["think"] and "thinking" not in able:
            refusal = {"error": f'"{request["model"]}" does not support thinking'}
            return await _send(writer, 400, json.dumps(refusal).encode())
        if isinstance(reply, Say):
            await asyncio.sleep(reply.after_seconds)
            return await _send(writer, 200, chat_body(request["model"], reply))
        if isinstance(reply, Http):
            return await _send(
                writer, reply.status, reply.body, chunked=reply.chunked, location=reply.location
            )
        if isinstance(reply, Drop):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"[: reply.after_bytes])
            await writer.drain()
            return False
        if isinstance(reply, Flood):
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {reply.size}\r\n\r\n".encode())
            for _ in range(reply.size // 65_536):
                writer.write(b"x" * 65_536)
                await writer.drain()
            return False
        await asyncio.sleep(3600)
        return False


def chat_body(model: str, reply: Say) -> bytes:
    message = {"role": "assistant", "content": reply.content}
    if reply.thinking:
        message["thinking"] = reply.thinking
    counts = {"prompt_eval_count": reply.prompt_tokens, "eval_count": reply.output_tokens}
    return json.dumps(
        {
            "model": model,
            "created_at": "2026-01-01T00:00:00Z",
            "message": message,
            "done": True,
            "done_reason": reply.done_reason,
            "total_duration": 5_000_000,
            **{name: count for name, count in counts.items() if count is not None},
            "eval_duration": 4_000_000,
        }
    ).encode()


async def _send(
    writer: asyncio.StreamWriter,
    status: int,
    body: bytes,
    *,
    chunked: bool = False,
    location: str = "",
) -> bool:
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n"
    if location:
        head += f"Location: {location}\r\n"
    if chunked:
        writer.write(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        for start in range(0, len(body), 7):
            part = body[start : start + 7]
            writer.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        writer.write(b"0\r\n\r\n")
    else:
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    await writer.drain()
    return True
