"""What surrounds every request: its log line, its way through the gate, HEAD and OPTIONS."""

from __future__ import annotations

import time
from typing import Final

from starlette.datastructures import Headers
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sim_engine.api.access import Access, Caller
from sim_engine.api.limits import RateLimiter
from sim_engine.api.logs import event
from sim_engine.api.problems import Problem, respond
from sim_engine.api.prometheus import RequestCounts

_PATH_CHARS_MAX: Final = 200


class RequestLog:
    """Writes one line a request and counts it. Queries and bodies are never written."""

    def __init__(self, app: ASGIApp, counts: RequestCounts) -> None:
        self._app = app
        self._counts = counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and note what was answered; a fault is noted as 500."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status, size = 500, 0

        async def noting(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
            elif message["type"] == "http.response.body":
                size += len(message.get("body", b""))
            await send(message)

        method = scope["method"]  # the answer to HEAD is made as that to GET
        try:
            await self._app(scope, receive, noting)
        finally:
            seconds = time.perf_counter() - started
            route = scope.get("route")
            template = route.path if isinstance(route, Route) else "-"
            self._counts.add(method, template, status, seconds)
            caller: Caller | None = scope.get("state", {}).get("caller")
            event(
                "request",
                method=method,
                path=scope["path"][:_PATH_CHARS_MAX],
                status=status,
                ms=seconds * 1_000,
                bytes=size,
                caller=caller and (f"agent:{caller.agent_id}" if caller.agent_id else caller.kind),
                peer=_peer(scope),
            )


class Gate:
    """Lets a request in: finds out who sends it, and whether it comes too often or from afar."""

    def __init__(self, app: ASGIApp, access: Access, limiter: RateLimiter | None) -> None:
        self._app = app
        self._access = access
        self._limiter = limiter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Note the caller in the scope, or refuse."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            scope.setdefault("state", {})["caller"] = self._admit(scope)
        except Problem as problem:
            await respond(problem)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _admit(self, scope: Scope) -> Caller:
        headers = Headers(scope=scope)
        self._access.check_origin(scope, headers)
        try:
            caller = self._access.identify(headers)
        except Problem:
            self._count(f"peer {_peer(scope)}")  # guessing at keys is limited as well
            raise
        if not caller.is_operator:
            self._count(f"agent {caller.agent_id}" if caller.agent_id else f"peer {_peer(scope)}")
        return caller

    def _count(self, name: str) -> None:
        if self._limiter is not None:
            self._limiter.take(name)


class HeadAndOptions:
    """Answers HEAD as GET without its body, and OPTIONS with the methods of a path."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Translate the two methods; everything else passes."""
        if scope["type"] == "http" and scope["method"] == "HEAD":
            await self._as_get(scope, receive, send)
        elif scope["type"] == "http" and scope["method"] == "OPTIONS":
            await self._app(scope, receive, _allowing(send))
        else:
            await self._app(scope, receive, send)

    async def _as_get(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def without_body(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        inner = {**scope, "method": "GET"}  # a copy: the server must go on to know it as HEAD
        try:
            await self._app(inner, receive, without_body)
        finally:
            if "route" in inner:
                scope["route"] = inner["route"]


def _allowing(send: Send) -> Send:
    """Turn "method not allowed", all that the router has to say to OPTIONS, into its answer."""
    translating = False

    async def translate(message: Message) -> None:
        nonlocal translating
        if message["type"] == "http.response.start" and message["status"] == 405:
            translating = True
            methods = set(Headers(raw=message["headers"])["allow"].split(", ")) | {"OPTIONS"}
            if "GET" in methods:
                methods.add("HEAD")
            allow = ", ".join(sorted(methods)).encode()
            message = {**message, "status": 204, "headers": [(b"allow", allow)]}
        elif translating:
            message = {**message, "body": b""}
        await send(message)

    return translate


def _peer(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client else "-"
