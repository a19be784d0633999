"""A small HTTP/1.1 transport for httpx on plain asyncio streams.

httpx brings everything a client needs, but its own connection pool costs a millisecond and more of
CPU a call when dozens are in flight. The orchestrator talks to a handful of servers that it knows,
so this transport keeps idle connections on stacks and does nothing else. It also refuses answers
that are too large, before they fill the memory.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

import httpx

Header = tuple[bytes, bytes]

_Place = tuple[str, str, int]
"""scheme, host, port"""

MAX_HEAD_BYTES: Final = 65_536


def without_credentials(url: str) -> str:
    """Return an address as it may be shown and written down: without user name and password."""
    scheme, separator, rest = url.rpartition("://")
    place, slash, path = rest.partition("/")
    return f"{scheme}{separator}{place.rpartition('@')[2]}{slash}{path}"


class AnswerTooLarge(httpx.TransportError):
    """A server's answer is larger than the caller is ready to read."""


class _Stale(Exception):
    """The server closed an idle connection before it read our request."""


class _Connection:
    """One connection: writes a request, reads an answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.used = False

    async def exchange(self, head: bytes, body: bytes, limit: int) -> tuple[httpx.Response, bool]:
        """Send one request; return the answer and whether the connection can be used again."""
        self.writer.write(head + body)
        try:
            raw = await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            if self.used and not error.partial:
                raise _Stale from error
            raise httpx.RemoteProtocolError("the server closed the connection") from error
        except ConnectionError as error:
            if self.used:
                raise _Stale from error
            raise
        self.used = True
        status, headers = _parse_head(raw)
        fields = {name.lower(): value for name, value in headers}
        content, reusable = await self._content(status, fields, limit)
        keep = reusable and fields.get(b"connection", b"").lower() != b"close"
        plain = [item for item in headers if item[0].lower() != b"transfer-encoding"]
        return httpx.Response(status, headers=plain, content=content), keep

    async def _content(
        self, status: int, fields: dict[bytes, bytes], limit: int
    ) -> tuple[bytes, bool]:
        if status in (204, 304):
            return b"", True
        if fields.get(b"transfer-encoding", b"").lower() == b"chunked":
            return await self._chunks(limit), True
        if b"content-length" in fields:
            size = _number(fields[b"content-length"], 10)
            _check_size(size, limit)
            return await self.reader.readexactly(size), True
        parts: list[bytes] = []
        total = 0
        while part := await self.reader.read(MAX_HEAD_BYTES):
            total += len(part)
            _check_size(total, limit)
            parts.append(part)
        return b"".join(parts), False

    async def _chunks(self, limit: int) -> bytes:
        parts: list[bytes] = []
        total = 0
        while True:
            line = await self.reader.readuntil(b"\r\n")
            size = _number(line.split(b";")[0].strip(), 16)
            if size == 0:
                while await self.reader.readuntil(b"\r\n") != b"\r\n":
                    pass  # trailers say nothing that we use
                return b"".join(parts)
            total += size
            _check_size(total, limit)
            parts.append(await self.reader.readexactly(size))
            await self.reader.readexactly(2)

    @property
    def lost(self) -> bool:
        """Whether the server is known to have closed it."""
        return self.reader.at_eof() or self.reader.exception() is not None

    def close(self) -> None:
        self.writer.close()


def _open_one(idle: list[_Connection]) -> _Connection | None:
    """Take the last idle connection that is open, as far as is known; close those that are not."""
    while idle:
        connection = idle.pop()
        if not connection.lost:
            return connection
        connection.close()
    return None


def _number(text: bytes, base: int) -> int:
    try:
        return int(text, base)
    except ValueError:
        raise httpx.RemoteProtocolError(f"not a length: {text[:40]!r}") from None


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise AnswerTooLarge(f"the answer is larger than {limit:,} bytes")


def _parse_head(raw: bytes) -> tuple[int, list[Header]]:
    first, *lines = raw[:-4].split(b"\r\n")
    parts = first.split(None, 2)
    if len(parts) < 2 or not parts[0].startswith(b"HTTP/1.") or not parts[1].isdigit():
        raise httpx.RemoteProtocolError(f"not an HTTP answer: {first[:60]!r}")
    headers: list[Header] = []
    for line in lines:
        name, _, value = line.partition(b":")
        headers.append((name, value.strip()))
    return int(parts[1]), headers


def _head(request: httpx.Request) -> bytes:
    lines: Sequence[bytes] = [
        request.method.encode() + b" " + request.url.raw_path + b" HTTP/1.1",
        *(name + b": " + value for name, value in request.headers.raw),
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _place(url: httpx.URL) -> _Place:
    """Tell where the server of an address is: answers may redirect to another one."""
    return url.scheme, url.host, url.port or (443 if url.scheme == "https" else 80)


class StreamTransport(httpx.AsyncBaseTransport):
    """Keeps connections to a few servers and sends requests over them.

    How many requests are in flight is the caller's business; every one has a connection of its own.

    Args:
        max_answer_bytes: a larger answer is refused with AnswerTooLarge.
        connect_seconds: how long a connection may take to open.
        resend: whether a request whose reused connection closes without a word is sent again at
            once. The server may have read it: only for requests that cost nothing to repeat.
    """

    def __init__(
        self, *, max_answer_bytes: int, connect_seconds: float = 5.0, resend: bool = True
    ) -> None:
        self._limit = max_answer_bytes
        self._resend = resend
        self._connect_seconds = connect_seconds
        self._idle: defaultdict[_Place, list[_Connection]] = defaultdict(list)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and read the whole answer.  Raises httpx.TransportError."""
        head, body = _head(request), await request.aread()
        place = _place(request.url)
        idle = self._idle[place]
        while True:
            connection = _open_one(idle) or await self._connect(*place)
            try:
                response, keep = await connection.exchange(head, body, self._limit)
            except _Stale as error:
                connection.close()
                if not self._resend:
                    raise httpx.ReadError("the connection broke before an answer came") from error
                continue  # it was closed while idle; if the server is dead, connecting fails
            except asyncio.LimitOverrunError as error:
                connection.close()
                raise httpx.RemoteProtocolError(
                    f"the head of the answer has more than {MAX_HEAD_BYTES:,} bytes"
                ) from error
            except (OSError, EOFError) as error:
                connection.close()
                raise httpx.ReadError("the connection broke in the middle of an answer") from error
            except BaseException:
                connection.close()  # cancelled in the middle: what comes next on it is not ours
                raise
            if keep:
                idle.append(connection)
            else:
                connection.close()
            return response

    async def _connect(self, scheme: str, host: str, port: int) -> _Connection:
        context = ssl.create_default_context() if scheme == "https" else None
        try:
            async with asyncio.timeout(self._connect_seconds):
                return _Connection(
                    *await asyncio.open_connection(host, port, limit=MAX_HEAD_BYTES, ssl=context)
                )
        except TimeoutError:
            raise httpx.ConnectTimeout(f"no connection to {host}:{port}") from None
        except OSError as error:
            raise httpx.ConnectError(f"no connection to {host}:{port}: {error}") from error

    async def aclose(self) -> None:
        """Close the idle connections."""
        for idle in self._idle.values():
            while idle:
                idle.pop().close()
