"""The engine over HTTP. This is the only module that knows the engine's URLs.

Reads are repeated while the engine is away for up to ``patience_seconds``; so is ``POST /turn``,
which is safe because a turn carries its number: the engine answers a turn that it has already
sealed with the stored answer, so no turn is lost and none is played twice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import httpx
import orjson

from sim_orchestrator.transport import AnswerTooLarge, StreamTransport, without_credentials

Json = dict[str, Any]

PROTOCOL_VERSION: Final = 1
"""The version of the rules and of the HTTP contract that this orchestrator knows."""

MAX_ANSWER_BYTES: Final = 2**30
"""The state of a million agents fits; anything larger is no answer of an engine."""

ANSWER_SECONDS: Final = 300.0
"""An engine that has taken a request and says nothing for so long is taken for dead."""

CHECK_SECONDS: Final = 10.0
"""An engine that does not say how it is within this time is not there."""

_PAUSES: Final = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
_AWAY: Final = frozenset({429, 502, 503, 504})


class EngineError(Exception):
    """The engine refused a request, or can not be reached. The text says what to do."""

    def __init__(self, message: str, *, code: str = "", status: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.status = status

    @property
    def refused(self) -> bool:
        """Whether the engine was there and said no, so that nothing has happened."""
        return 400 <= self.status < 500

    @property
    def overtaken(self) -> bool:
        """Whether the world has turns that somebody else has submitted."""
        return self.code in ("turn_sealed", "turn_out_of_order")


class EngineClient:
    """Speaks to one engine.

    Args:
        url: where the engine serves, e.g. ``http://127.0.0.1:3000``; credentials in it are used,
            but not shown.
        key: the operator key; empty for an open engine. It is sent and never written anywhere.
        patience_seconds: how long to wait for an engine that is away before giving up.
        advice: what to do about an engine that is away, for the error's text.
        lost: asked while the engine is away: why it will not return, or nothing while it may.

    Raises:
        EngineError: the address or the key is none.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str = "",
        patience_seconds: float = 60.0,
        advice: str = "start one with `sim-engine serve`, or name another with ENGINE_URL",
        lost: Callable[[], str] = str,
    ) -> None:
        if "://" not in url:
            url = f"http://{url}"
        self.url = without_credentials(url.rstrip("/"))
        self.patience_seconds = patience_seconds
        self._advice = advice
        self._lost = lost
        _check_address(url, self.url)
        headers = {"Content-Type": "application/json"}
        if key:
            if not (key.isascii() and key.isprintable()):
                raise EngineError("SIM_OPERATOR_KEY has characters that are not ASCII")
            headers["Authorization"] = f"Bearer {key}"
        self._http = httpx.AsyncClient(
            base_url=url,
            headers=headers,
            timeout=None,  # the transport bounds connecting, `_call` bounds the answer
            transport=StreamTransport(max_answer_bytes=MAX_ANSWER_BYTES),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def health(self) -> Json:
        """Return ``GET /health``, at once or not at all."""
        return await self._call("GET", "/health", patience_seconds=0.0)

    async def init(self, body: Mapping[str, Any]) -> Json:
        """Create the world, or find that the very same one is there already."""
        return await self._call("POST", "/init", orjson.dumps(body))

    async def config(self) -> dict[str, int]:
        """Return every key of the world's config and the protocol version; the seed is left out.

        Raises:
            EngineError: the engine speaks another version of the protocol.
        """
        config = await self._call("GET", "/config")
        spoken = config.get("protocol_version", "?")
        if spoken != PROTOCOL_VERSION:
            raise EngineError(
                f"the engine at {self.url} speaks protocol version {spoken}, this orchestrator "
                f"{PROTOCOL_VERSION}: install the same release of sim-economy for both",
                code="protocol_version",
                status=httpx.codes.CONFLICT,
            )
        config.pop("seed", None)
        return config

    async def state(self) -> Json:
        """Return the public world with its agents."""
        return await self._call("GET", "/state")

    async def agent(self, agent_id: str) -> Json:
        """Return one agent with its private part.  Raises EngineError without the right to it."""
        agent = await self._call("GET", f"/agent/{agent_id}")
        if "private" not in agent:
            raise EngineError(
                f"the engine at {self.url} does not show the private view of {agent_id}: "
                "set SIM_OPERATOR_KEY to the engine's operator key"
            )
        return agent

    async def speech(self, turn: int) -> list[Json]:
        """Return what was said in a sealed turn."""
        return list((await self._call("GET", f"/speech/{turn}"))["messages"])

    async def contract(self, contract_id: str) -> Json:
        """Return one contract as the operator may see it."""
        return await self._call("GET", f"/contract/{contract_id}")

    async def contracts(self) -> list[Json]:
        """Return every contract that ever was, page by page."""
        found: list[Json] = []
        after = ""
        while True:
            page = await self._call("GET", f"/contracts?limit=500{after}")
            found.extend(page["contracts"])
            if page.get("next_after") is None:
                return found
            after = f"&after={page['next_after']}"

    async def sealed_turn(self, turn: int) -> Json:
        """Return the stored answer of a sealed turn."""
        return await self._call("GET", f"/turns/{turn}")

    async def submit(self, turn: int, submissions: Sequence[Mapping[str, Any]]) -> Json:
        """Submit a turn and return its answer; the same turn again has the same answer."""
        body = orjson.dumps({"turn": turn, "submissions": submissions})
        try:
            return await self._call("POST", "/turn", body)
        except EngineError as error:
            if error.overtaken:
                raise EngineError(
                    f"turn {turn} can not be submitted ({error}): somebody else has submitted "
                    "turns to this world; only one orchestrator can drive it",
                    code=error.code,
                    status=error.status,
                ) from None
            raise

    async def _call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        patience_seconds: float | None = None,
    ) -> Json:
        began = time.monotonic()
        seconds = ANSWER_SECONDS if patience_seconds is None else CHECK_SECONDS
        attempt = 0
        while True:
            try:
                async with asyncio.timeout(seconds):
                    response = await self._http.request(method, path, content=body)
            except TimeoutError:
                trouble = EngineError(
                    f"{method} {self.url}{path} was not answered in {seconds:.0f} seconds"
                )
            except AnswerTooLarge as error:
                raise EngineError(f"{method} {self.url}{path}: {error}") from None
            except httpx.TransportError as error:
                trouble = EngineError(f"no engine at {self.url} ({error}): {self._advice}")
            else:
                if response.status_code < 300:
                    return self._json(response)
                trouble = self._problem(method, path, response)
                if response.status_code not in _AWAY or trouble.code == "halted":
                    raise trouble
            if lost := self._lost():
                raise EngineError(lost)
            patience = self.patience_seconds if patience_seconds is None else patience_seconds
            if time.monotonic() - began >= patience:
                raise trouble
            await asyncio.sleep(_PAUSES[min(attempt, len(_PAUSES) - 1)])
            attempt += 1

    def _json(self, response: httpx.Response) -> Json:
        try:
            found = orjson.loads(response.content)
        except orjson.JSONDecodeError:
            found = None
        if not isinstance(found, dict):
            raise EngineError(f"{self.url} does not answer like an engine: is ENGINE_URL right?")
        return found

    def _problem(self, method: str, path: str, response: httpx.Response) -> EngineError:
        """Read an error in the form of RFC 9457."""
        try:
            problem = orjson.loads(response.content)
        except orjson.JSONDecodeError:
            problem = None
        if not isinstance(problem, dict) or "code" not in problem:
            return EngineError(
                f"{self.url} does not answer like an engine ({method} {path}: "
                f"{response.status_code}): is ENGINE_URL right?",
                status=response.status_code,
            )
        places = "; ".join(
            f"{error.get('loc')}: {error.get('message')}" for error in problem.get("errors") or ()
        )
        said = problem.get("detail") or problem.get("title") or response.reason_phrase
        if response.status_code == httpx.codes.UNAUTHORIZED:
            said = "set SIM_OPERATOR_KEY to the engine's operator key"
        return EngineError(
            f"{method} {path} was refused with {response.status_code}: {said}"
            + (f" ({places})" if places else ""),
            code=str(problem["code"]),
            status=response.status_code,
        )


def _check_address(url: str, shown: str) -> None:
    try:
        parsed = httpx.URL(url)
        port_is_one = parsed.port is None or 0 < parsed.port < 2**16
        good = parsed.scheme in ("http", "https") and bool(parsed.host) and port_is_one
    except (ValueError, httpx.InvalidURL):
        good = False
    if not good:
        raise EngineError(
            f"{shown!r} is no address of an engine: write ENGINE_URL as http://host:3000"
        )
