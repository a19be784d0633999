"""Bodies, streams and clients that hang up: what is HTTP and not Ollama."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable
from http import HTTPStatus
from typing import Any, TypeVar

from fastapi import Request
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from sim_orchestrator.local_model.errors import ApiError

BODY_BYTES_MAX = 16 * 2**20

Result = TypeVar("Result")


class ClientGoneError(Exception):
    """Nobody is left to answer."""


class LinesResponse(StreamingResponse):
    """A stream of JSON objects, one a line.

    Args:
        first: The first object: whoever took it knows that the request was not refused.
        rest: The others; closed at the end and when the client hangs up.
    """

    media_type = "application/x-ndjson"

    def __init__(self, first: dict[str, Any], rest: AsyncGenerator[dict[str, Any], None]) -> None:
        self._first = first
        self._rest = rest
        super().__init__(self._lines())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._rest.aclose()

    async def _lines(self) -> AsyncGenerator[bytes, None]:
        yield _line(self._first)
        try:
            async for item in self._rest:
                yield _line(item)
        except ApiError as error:  # too late for a status: as in Ollama, the last line tells
            yield _line({"error": error.message})


def _line(item: dict[str, Any]) -> bytes:
    return json.dumps(item, ensure_ascii=False).encode() + b"\n"


async def read_body(request: Request) -> bytes:
    """Read a body of at most `BODY_BYTES_MAX`.

    Raises:
        ApiError: 413, it is larger.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise ApiError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"the body is larger than {BODY_BYTES_MAX} bytes",
            )
    return bytes(body)


async def unless_gone(request: Request, work: Awaitable[Result]) -> Result:
    """Do some work; cancel it when the client hangs up before it is done.

    Raises:
        ClientGoneError: The client hung up.
        Exception: Whatever the work raises.
    """
    working = asyncio.create_task(_done(work))
    watching = asyncio.create_task(_gone(request))
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGoneError
        return working.result()
    finally:
        working.cancel()
        watching.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)


async def _done(work: Awaitable[Result]) -> Result:
    return await work  # makes a coroutine, which a task needs, of any awaitable


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
