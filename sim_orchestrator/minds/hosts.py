"""The Ollama hosts of a run: who has which model, who is least busy, who is away."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpx
import orjson
from pydantic import ValidationError

from sim_engine.types.fields import MAX_AMOUNT, MAX_OUTPUT_TOKENS
from sim_orchestrator.minds.base import ModelsUnavailable
from sim_orchestrator.minds.ollama_library import ollama
from sim_orchestrator.transport import AnswerTooLarge, StreamTransport, without_credentials

MAX_ANSWER_BYTES: Final = 8 * 2**20
"""No decision needs more; a server that sends more is broken, and is not read to the end."""

CHECK_SECONDS: Final = 20.0
"""How long a host may take to say which models it has."""

LISTED_MODELS: Final = 20
"""How many models of the hosts are listed when one is missing."""

_PAUSES: Final = (0.1, 0.25, 0.5, 1.0, 2.0)
_RETRIES_OF_FAULTS: Final = 2
_BUSY: Final = frozenset({429, 503})

# What the official client raises when an answer is not what Ollama sends.
_UNREADABLE: Final = (ValueError, TypeError, AttributeError, RecursionError)


@dataclass(frozen=True, slots=True)
class Answer:
    """A model's answer, with what it thought apart from it and the server's own counts."""

    text: str
    thinking: str
    prompt_tokens: int
    output_tokens: int
    done_reason: str
    server_ms: int


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Why a call gave no answer."""

    reason: str


class Client(ollama.AsyncClient):
    """The official client, with a cheaper way to ask.

    Its ``chat`` copies the request through pydantic and the standard library's JSON. For a schema
    of tens of thousands of bytes that takes longer than everything else that a call costs us.
    """

    async def ask(self, encoded: bytes) -> ollama.ChatResponse:
        """Send ``POST /api/chat`` as ``chat`` does; raises what ``chat`` raises.

        Args:
            encoded: the request as JSON.
        """
        response = await self._request_raw(  # type: ignore[no-untyped-call]
            "POST", "/api/chat", content=encoded
        )
        return ollama.ChatResponse(**response.json())


@dataclass(slots=True)
class Host:
    """One Ollama server."""

    url: str
    client: Client
    models: Collection[str] = ()
    in_flight: int = 0
    away_until: float = 0.0


def host(url: str) -> Host:
    """Make a client for one server; it keeps its connections open between calls.

    Raises:
        ModelsUnavailable: the text is no address.
    """
    try:
        client = Client(
            host=url,
            # A request that is sent again is a whole generation: `HostPool.ask` counts those.
            transport=StreamTransport(max_answer_bytes=MAX_ANSWER_BYTES, resend=False),
            trust_env=False,
        )
    except (ValueError, httpx.InvalidURL):
        raise ModelsUnavailable(
            f"{without_credentials(url)!r} is no address of an Ollama server: "
            "write OLLAMA_HOST as http://host:11434"
        ) from None
    return Host(url=without_credentials(url), client=client)


class HostPool:
    """Shares calls among hosts.

    Args:
        urls: the addresses of the servers.
        parallel: how many calls may be in flight at once, on all hosts together.
        reach_hint: what to do when a host can not be reached, for the error's text.
    """

    def __init__(self, urls: Sequence[str], *, parallel: int, reach_hint: str) -> None:
        self.hosts = [host(url) for url in urls]
        self.slots = asyncio.Semaphore(parallel)
        self._reach_hint = reach_hint

    async def close(self) -> None:
        """Close all connections."""
        for each in self.hosts:
            await each.client.close()  # type: ignore[no-untyped-call]

    async def check(self, models: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Find every model on some host; return what the hosts say about each.

        Returns:
            For each model its digest, context length, details and capabilities; ``None`` for what
            the host does not say.

        Raises:
            ModelsUnavailable: a host does not answer, or no host has a model.
        """
        described: dict[str, dict[str, Any]] = {}
        there: set[str] = set()
        for each in self.hosts:
            digests = await self._models_of(each)
            there.update(digests)
            each.models = [model for model in models if _tagged(model) in digests]
            for model in each.models:
                if model not in described:
                    described[model] = {"digest": digests[_tagged(model)]}
                    described[model].update(await self._describe(each, model))
        for model in models:
            if model not in described:
                where = " or ".join(each.url for each in self.hosts)
                more = len(there) - LISTED_MODELS
                listed = ", ".join(sorted(there)[:LISTED_MODELS])
                raise ModelsUnavailable(
                    f"the model {model} is not on {where}: run `ollama pull {model}` there"
                    + (f", or choose one that is with --model: {listed}" if there else "")
                    + (f" and {more} more" if more > 0 else "")
                )
        return described

    async def _models_of(self, each: Host) -> dict[str, str]:
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                listed = await each.client.list()
        except (TimeoutError, ConnectionError, httpx.HTTPError) as error:
            said = str(error) if isinstance(error, httpx.HTTPError) else "it does not answer"
            raise ModelsUnavailable(
                f"no Ollama at {each.url} ({said}): {self._reach_hint}"
            ) from None
        except (ollama.ResponseError, *_UNREADABLE) as error:
            raise ModelsUnavailable(
                f"{each.url} does not answer like Ollama ({_wrong_with(error)[:120]}): "
                f"{self._reach_hint}"
            ) from None
        return {_tagged(model.model): model.digest or "" for model in listed.models if model.model}

    async def _describe(self, each: Host, model: str) -> dict[str, Any]:
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                shown = await each.client.show(model)
        except (
            TimeoutError,
            ConnectionError,
            httpx.HTTPError,
            ollama.ResponseError,
            *_UNREADABLE,
        ) as error:
            raise ModelsUnavailable(
                f"{each.url} can not show its model {model}: {_wrong_with(error) or 'no answer'}"
            ) from None
        lengths = [
            value
            for key, value in (shown.modelinfo or {}).items()
            if key.endswith(".context_length") and isinstance(value, int)
        ]
        return {
            "context_length": lengths[0] if lengths else None,
            "details": shown.details.model_dump(exclude_none=True) if shown.details else {},
            "capabilities": shown.capabilities,
        }

    async def ask(
        self,
        model: str,
        *,
        messages: Sequence[Mapping[str, str]],
        schema: Mapping[str, Any],
        options: Mapping[str, Any],
        think: bool,
        seconds: float,
        too_late: str,
    ) -> Answer | NoAnswer:
        """Make one call, on whichever host is least busy; wait for one that is away to return.

        What may have cost a generation is tried three times at most: faults of a server, and
        answers that break off. A connection that can not be opened costs nothing but time.

        Args:
            model: the model to ask.
            messages: the messages to send.
            schema: the JSON Schema that the answer must follow.
            options: Ollama's options.
            think: whether the model may think before it answers.
            seconds: how long it may take, waiting included.
            too_late: the reason to give when that time is over.
        """
        request = orjson.dumps(
            {
                "model": model,
                "messages": messages,
                "stream": False,
                "think": think,
                "format": schema,
                "options": options,
            }
        )
        trouble = ""
        faults = 0
        try:
            async with asyncio.timeout(seconds):
                for attempt in itertools.count():
                    each = self._least_busy(model)
                    if each is None:
                        return NoAnswer(f"no host has the model {model}")
                    found = await self._call(each, request)
                    if not isinstance(found, _Trouble):
                        return found
                    trouble = found.reason
                    faults += found.fault
                    if faults > _RETRIES_OF_FAULTS:
                        return NoAnswer(trouble)
                    pause = _PAUSES[min(attempt, len(_PAUSES) - 1)]
                    each.away_until = time.monotonic() + pause
                    if len(self.hosts) == 1 or all(self._is_away(other) for other in self.hosts):
                        await asyncio.sleep(pause)
        except TimeoutError:
            pass
        return NoAnswer(f"{too_late} ({trouble})" if trouble else too_late)

    def _is_away(self, each: Host) -> bool:
        return each.away_until > time.monotonic()

    def _least_busy(self, model: str) -> Host | None:
        able = [each for each in self.hosts if model in each.models]
        return min(able, key=lambda each: (self._is_away(each), each.in_flight), default=None)

    async def _call(self, each: Host, request: bytes) -> Answer | NoAnswer | _Trouble:
        each.in_flight += 1
        try:
            response = await each.client.ask(request)
        except AnswerTooLarge as error:
            return NoAnswer(str(error))
        except (ConnectionError, httpx.ConnectTimeout):
            # The library's own text asks to install Ollama, which may run or be another server.
            return _Trouble(f"{each.url}: no connection", fault=False)
        except httpx.HTTPError as error:
            return _Trouble(f"{each.url}: {error}", fault=True)
        except ollama.ResponseError as error:
            return _refused(each, error)
        except _UNREADABLE as error:
            return NoAnswer(f"{each.url} sent no answer of Ollama's: {_wrong_with(error)}")
        finally:
            each.in_flight -= 1
        return _counted(each, response)


def _counted(each: Host, response: ollama.ChatResponse) -> Answer | NoAnswer:
    """Take an answer with its counts, unless they can not be: agents pay by them.

    A prompt that the server has cached may be counted as nothing read.
    """
    read, written = response.prompt_eval_count or 0, response.eval_count or 0
    if not (0 <= read <= MAX_AMOUNT and 0 <= written <= MAX_OUTPUT_TOKENS):
        return NoAnswer(f"{each.url} counts {read} tokens read and {written} generated")
    text, thinking = response.message.content or "", response.message.thinking or ""
    if not written and (text or thinking):
        return NoAnswer(
            f"{each.url} counts no generated tokens (eval_count) for an answer of "
            f"{len(text) + len(thinking):,} characters"
        )
    return Answer(
        text=encodable(text),
        thinking=encodable(thinking),
        prompt_tokens=read,
        output_tokens=written,
        done_reason=response.done_reason or "",
        server_ms=max(0, response.total_duration or 0) // 1_000_000,
    )


def _wrong_with(error: Exception) -> str:
    """Say in our own words what is wrong with an answer that the official client could not read."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"]))
        what = "is missing" if first["type"] == "missing" else "has a value that Ollama never sends"
        return f"its field {field} {what}"
    if isinstance(error, _UNREADABLE):
        return "it is no JSON object"
    return str(error)


def _refused(each: Host, error: ollama.ResponseError) -> NoAnswer | _Trouble:
    """Tell whether it is worth to ask again: a model that is gone now may come back."""
    said = f"{each.url} answered {error.status_code}: {str(error.error)[:300]}"
    if error.status_code in _BUSY:
        return _Trouble(said, fault=False)
    if error.status_code == 404 or error.status_code >= 500:
        return _Trouble(said, fault=True)
    return NoAnswer(said)


@dataclass(frozen=True, slots=True)
class _Trouble:
    """A call that failed and may be tried again; a fault of the server's own only a few times."""

    reason: str
    fault: bool


def _tagged(model: str) -> str:
    """Return a model's full name: Ollama reads ``gemma3`` as ``gemma3:latest``."""
    return model if ":" in model.rsplit("/", 1)[-1] else f"{model}:latest"


def encodable(text: str) -> str:
    """Replace lone surrogates, which JSON can smuggle into a text and no UTF-8 can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="replace").decode()
    return text
