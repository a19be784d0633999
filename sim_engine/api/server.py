"""Serving over TCP: uvicorn with a deadline for every stage of a connection."""

from __future__ import annotations

import asyncio
import resource
import signal
import socket
from collections import deque
from typing import Any, Final

import orjson
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from sim_engine.api import problems
from sim_engine.api.logs import event

HEAD_SECONDS: Final = 10.0
"""How long a client may take from connecting, or from its first byte, to the end of a head."""

HEAD_BYTES_MAX: Final = 2**16
"""How large the head of a request may be."""

PIPELINED_MAX: Final = 1_000
"""How many requests a connection may have sent ahead of their answers."""

UPGRADE_WITH_BODY: Final = (
    "a request with a body can not offer an upgrade; send it without (curl: without --http2)"
)

IDLE_SECONDS: Final = 30
"""How long a connection is kept open between two requests."""

STALLED_SECONDS: Final = 60.0
"""How long a client may take nothing of an answer that waits for it, or may go on sending a request
that was answered."""

GRACE_SECONDS: Final = 20
"""How long requests in hand may go on after a signal to stop; a turn always runs to its end."""

OPEN_FILES: Final = 65_536
"""How many files the process asks to have open; most of them are connections."""

UNREAD_BYTES_MAX: Final = 2**28
"""How much of a body that was already answered is read before the connection is cut."""


class GuardedProtocol(HttpToolsProtocol):
    """HTTP/1.1 for clients that may be slow, half open or hostile.

    uvicorn limits how long a connection may idle after an answer. This adds what it leaves open: a
    client that connects and says nothing, one that sends a head or a trailer without end, one that
    does not read its answer, one that goes on sending after it was refused. And requests that were
    sent whole are answered before what follows them is refused.
    """

    _deadline: asyncio.TimerHandle | None = None
    _in_head = True
    _completed_now = False
    _between = False
    _head_bytes = 0
    _refused = False
    _running: RequestResponseCycle | None = None
    _flushing: asyncio.TimerHandle | None = None
    _after_chunk_head = False
    _trailer_bytes = 0
    _unread = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect the head of a request soon."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let the deadline go with the connection."""
        self._relax()
        self._stop_flushing()
        super().connection_lost(exc)
        # Each of these leads back here: such a circle would stay until the garbage collector runs.
        self.pipeline.clear()
        self._running = None

    def data_received(self, data: bytes) -> None:
        """Count what belongs to a head or a trailer that is not complete yet."""
        was_after_chunk_head = self._after_chunk_head
        self._completed_now = False
        super().data_received(data)
        if self._in_head:
            # With the end of a request only the beginning of the next head can have come.
            self._head_bytes = 0 if self._completed_now else self._head_bytes + len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self._refuse("head_too_large")
        elif was_after_chunk_head and self._after_chunk_head:
            # Nothing of it was body: the chunk is the last one, and this is the trailer.
            self._trailer_bytes += len(data)
            if self._trailer_bytes > HEAD_BYTES_MAX:
                self.transport.abort()
        if self._goes_on_after_its_answer() and self._deadline is None:
            self._deadline = self.loop.call_later(STALLED_SECONDS, self.transport.abort)
        if self._is_idle() and self.timeout_keep_alive_task is None:
            # Line ends between two requests are no request; uvicorn stops its timer for any byte.
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take the fields of a head; those of a trailer mean nothing to anybody here."""
        if self._in_head:
            super().on_header(name, value)

    def on_chunk_header(self) -> None:
        """Expect the body of a chunk, or the trailer."""
        self._after_chunk_head = True
        self._trailer_bytes = 0

    def on_message_complete(self) -> None:
        """Be ready for the next request."""
        self._after_chunk_head = False
        self._completed_now = self._between = True
        self._relax()
        if not self._refused:
            super().on_message_complete()

    def on_message_begin(self) -> None:
        """Expect the rest of the head soon."""
        super().on_message_begin()
        self._in_head = True
        self._between = False
        if self._deadline is None:
            self._expect_head()

    def on_headers_complete(self) -> None:
        """From here on the application sets the limits: it knows what may be sent."""
        self._relax()
        self._in_head = False
        self._head_bytes = 0
        self._unread = 0
        if self._refused:
            return
        fields = sum(len(name) + len(value) for name, value in self.headers)
        if len(self.url) + fields > HEAD_BYTES_MAX:
            self._refuse("head_too_large")
        elif len(self.pipeline) >= PIPELINED_MAX:
            self._refuse(
                "bad_request", f"more than {PIPELINED_MAX} requests wait for their answers"
            )
        elif not self.parser.should_upgrade():
            super().on_headers_complete()
        elif self._has_body():
            # The parser would skip it.
            self._refuse("bad_request", UPGRADE_WITH_BODY)
        else:
            super().on_headers_complete()
            self.cycle.keep_alive = False  # the parser reads no further

    def on_body(self, body: bytes) -> None:
        """Forget what belongs to a request that is answered, up to a limit."""
        self._after_chunk_head = False
        if self._refused:
            return
        if self.cycle.response_complete:
            self._unread += len(body)
            if self._unread > UNREAD_BYTES_MAX:
                self.transport.abort()
            return
        super().on_body(body)

    def on_response_complete(self) -> None:
        """Go on with the next request that waits, and read no more of them until none does."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._flush()
        elif self.pipeline:
            self.flow.pause_reading()

    def pause_writing(self) -> None:
        """See that an answer that can not be written for now is read one day."""
        super().pause_writing()
        self._flush()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection; one whose answer is still being read gets the time it needs."""
        super().timeout_keep_alive_handler()
        self._flush()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP with a problem like all others."""
        self._refuse("bad_request")

    def _unsupported_upgrade_warning(self) -> None:
        """Leave it: a client may offer an upgrade, and go on without."""

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Remember which request is being answered."""
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _refuse(self, code: str, detail: str = "") -> None:
        """Answer a request that never reached the application, and close the connection.

        If requests before it are still to be answered, these are answered, and the connection is
        closed without a word: whatever came between would be taken for the answer to the first.
        """
        if self._refused:
            return
        self._refused = True
        whole = [cycle for cycle, _ in self.pipeline if not cycle.more_body]
        if self._running and not self._running.response_complete and not self._running.more_body:
            whole.append(self._running)
        if whole:
            self._relax()
            self.pipeline = deque(item for item in self.pipeline if not item[0].more_body)
            whole[0].keep_alive = False  # the last that came
            return
        kind = problems.KINDS[code]
        content = orjson.dumps(
            problems.problem_body(code, kind.status, kind.title, detail or kind.example)
        )
        head = (
            f"HTTP/1.1 {kind.status} {kind.title}\r\n"
            f"content-type: {problems.MEDIA_TYPE}\r\ncontent-length: {len(content)}\r\n"
            "connection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + content)
        self.transport.close()

    def _goes_on_after_its_answer(self) -> bool:
        """Tell whether a request that was answered is still being sent."""
        cycle = self.cycle
        return cycle is not None and bool(cycle.response_complete and cycle.more_body)

    def _expect_head(self) -> None:
        self._relax()
        self._deadline = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def _relax(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _is_idle(self) -> bool:
        """Tell whether every request was answered, and none has begun."""
        cycle = self.cycle
        return self._between and cycle is not None and bool(cycle.response_complete)

    def _has_body(self) -> bool:
        """Tell whether the head in hand says that a body follows."""
        fields = dict(self.headers)
        return b"transfer-encoding" in fields or fields.get(b"content-length", b"0") != b"0"

    def _flush(self) -> None:
        """Cut the connection if nobody goes on reading what waits to be written."""
        waiting = self.transport.get_write_buffer_size()
        if waiting and self._flushing is None:
            self._flushing = self.loop.call_later(STALLED_SECONDS, self._cut_if_stalled, waiting)

    def _stop_flushing(self) -> None:
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None

    def _cut_if_stalled(self, waiting: int) -> None:
        self._flushing = None
        if self.transport.get_write_buffer_size() == waiting:
            self.transport.abort()
        else:
            self._flush()


def bind(host: str, port: int) -> list[socket.socket]:
    """Take the addresses of a host, before anything slow is done.

    Raises:
        OSError: an address is taken, is not of this machine, or the name has none.
    """
    taken: list[socket.socket] = []
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            # Named as TCP, which is when asyncio sends answers without waiting for more to send.
            listening = socket.socket(family, kind, protocol)
            taken.append(listening)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listening.bind(address)
    except OSError:
        for listening in taken:
            listening.close()
        raise
    return taken


class Server(uvicorn.Server):
    """uvicorn with this module's limits; it logs where it listens."""

    def __init__(self, app: FastAPI) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=GuardedProtocol,
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,  # a caller's address is that of its connection
                timeout_keep_alive=IDLE_SECONDS,
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say where in one line that programs and people can read."""
        await super().startup(sockets)
        for listening in sockets or []:
            host, port = listening.getsockname()[:2]
            event("listening", url=f"http://{f'[{host}]' if ':' in host else host}:{port}")


def serve(app: FastAPI, sockets: list[socket.socket]) -> None:
    """Serve until SIGTERM or SIGINT; the turn in hand is finished first."""
    server = Server(app)
    # uvicorn takes the signals once it runs, and raises them again once it has stopped, for whoever
    # had a handler before: to stop in order is all that either asks for, and it may come earlier.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.handle_exit)
    # Every connection is an open file, and the usual limit is made for programs with a few.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, OPEN_FILES)), hard))
    server.run(sockets)
    event("stopped")
