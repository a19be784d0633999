"""The engine as its users meet it: the HTTP API, and `sim.db` read beside it."""

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from sim_engine.api.app import create_app
from sim_engine.ledger.audit import verify_hashes
from sim_engine.ledger.replay import verify
from sim_engine.settings import Settings

Row = tuple[Any, ...]


class Lifespan:
    """Starts and stops an application as a server does, without a server's socket."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app
        self.to_app: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        self.from_app: asyncio.Queue[Any] = asyncio.Queue()

    async def start(self) -> None:
        """Start the application; a failure to start is raised."""
        scope: dict[str, Any] = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
        self.task = asyncio.create_task(self._serve(scope))
        await self._tell("startup")

    async def stop(self) -> None:
        """Stop the application and wait for it."""
        await self._tell("shutdown")
        await self.task

    async def _serve(self, scope: dict[str, Any]) -> None:
        await self.app(scope, self.to_app.get, self.from_app.put)

    async def _tell(self, what: str) -> None:
        await self.to_app.put({"type": f"lifespan.{what}"})
        answer = await self.from_app.get()
        if answer["type"] != f"lifespan.{what}.complete":
            raise AssertionError(f"the engine refused its {what}: {answer}")


class EnginePort:
    """One engine in this process, on one database file, that can be restarted."""

    def __init__(self, db_path: Path, operator_key: str | None = None) -> None:
        self.db_path = db_path
        self.operator_key = operator_key
        self.loop = asyncio.new_event_loop()
        self.start()

    def start(self) -> None:
        """Start the engine on its file."""
        app = create_app(Settings(db_path=self.db_path, operator_key=self.operator_key))
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1")
        self.lifespan = Lifespan(app)
        # One task makes all requests: threads that serve them are kept for as long as it lives.
        self.waiting: asyncio.Queue[tuple[httpx.Request, asyncio.Future[httpx.Response]]]
        self.waiting = asyncio.Queue()
        self.loop.run_until_complete(self.lifespan.start())
        self.sender = self.loop.create_task(self._send_all())

    async def _send_all(self) -> None:
        while True:
            request, answered = await self.waiting.get()
            try:
                answered.set_result(await self.client.send(request))
            except (httpx.HTTPError, AssertionError) as error:  # no well-formed HTTP answer
                answered.set_exception(error)

    def _send(self, request: httpx.Request) -> httpx.Response:
        answered: asyncio.Future[httpx.Response] = self.loop.create_future()
        self.waiting.put_nowait((request, answered))
        return self.loop.run_until_complete(answered)

    def stop(self) -> None:
        """Stop the engine; its file stays."""
        self.sender.cancel()
        self.loop.run_until_complete(asyncio.wait([self.sender]))
        self.loop.run_until_complete(self.lifespan.stop())
        self.loop.run_until_complete(self.client.aclose())

    def restart(self) -> None:
        """Stop the engine and start another one on the same file."""
        self.stop()
        self.start()

    def prove(self) -> None:
        """Have the ledger verified in both ways: what an engine wrote must be found sound."""
        for check in (verify, verify_hashes):
            report = check(self.db_path, lambda turn, last: None)
            if not report.sound:
                raise AssertionError(f"{check.__name__}: {report.differences[0]}")

    def close(self) -> None:
        """Stop the engine for good."""
        self.stop()
        self.loop.close()

    def _authorization(self, key: str | None) -> dict[str, str]:
        shown = self.operator_key if key is None else key
        return {"Authorization": f"Bearer {shown}"} if shown else {}

    def post(self, path: str, body: Any, key: str | None = None) -> tuple[int, Any, dict[str, str]]:
        """Send a body, escaped so that broken Unicode arrives too; return the whole answer."""
        content = json.dumps(body).encode("ascii")
        headers = {"Content-Type": "application/json", **self._authorization(key)}
        request = self.client.build_request("POST", path, content=content, headers=headers)
        response = self._send(request)
        return response.status_code, response.json(), dict(response.headers)

    def get(self, path: str, key: str | None = None) -> Any:
        """Return what a key shows of a view; an answer other than 200 is an error.

        Without `key` it is the operator's; the empty one stands for somebody who has none.
        """
        headers = self._authorization(key)
        response = self._send(self.client.build_request("GET", path, headers=headers))
        if response.status_code != 200:
            raise AssertionError(f"GET {path}: {response.status_code} {response.text[:500]}")
        return response.json()

    def rows(self, query: str, *parameters: int | str) -> list[Row]:
        """Return rows of `sim.db`, read as any other program would."""
        uri = f"{self.db_path.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            return connection.execute(query, parameters).fetchall()
