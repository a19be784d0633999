"""A client for crowds: one connection each, and no more work than a request needs."""

from __future__ import annotations

import asyncio


class Connection:
    """A keep-alive connection on plain streams: hundreds of them cost this process little."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take over open streams; use ``to``."""
        self._reader = reader
        self._writer = writer

    @classmethod
    async def to(cls, port: int) -> Connection:
        """Connect to the engine."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Return status and content of the answer."""
        head = f"{method} {path} HTTP/1.1\r\nHost: engine\r\nContent-Length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)
        raw = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = int(raw.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return int(raw.split(None, 2)[1]), await self._reader.readexactly(length)

    async def close(self) -> None:
        """Close the connection."""
        self._writer.close()
        await self._writer.wait_closed()
