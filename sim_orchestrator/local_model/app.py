"""Ollama's HTTP API, as far as chatting needs it, in front of one model."""

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException

from sim_orchestrator.local_model import describe
from sim_orchestrator.local_model.backend import Backend, Ending, Piece, Prompt
from sim_orchestrator.local_model.errors import ApiError
from sim_orchestrator.local_model.http import (
    ClientGoneError,
    LinesResponse,
    read_body,
    unless_gone,
)
from sim_orchestrator.local_model.model_file import with_tag
from sim_orchestrator.local_model.queue import Queue
from sim_orchestrator.local_model.requests import (
    ChatRequest,
    GenerateRequest,
    Message,
    ShowRequest,
    parse,
)

VERSION = "0.12.0+sim-economy"
"""The version of Ollama whose API is spoken, marked as not being Ollama."""

_CLIENT_CLOSED_REQUEST = 499
_READ = ["GET", "HEAD"]


@dataclass(frozen=True)
class _Asked:
    """A request for text that has been checked and fits.

    Args:
        body: What the client sent.
        prompt: What the model reads.
        started_ns: When the request arrived, on the monotonic clock.
        say: Puts a piece of the answer in the shape of the endpoint.
    """

    body: ChatRequest | GenerateRequest
    prompt: Prompt
    started_ns: int
    say: Callable[[str, str], dict[str, Any]]


class OllamaApi:
    """The endpoints.

    Args:
        backend: The loaded model.
        queue: Decides who may use it.
    """

    def __init__(self, backend: Backend, queue: Queue) -> None:
        self._backend = backend
        self._queue = queue

    async def root(self) -> Response:
        """Say what Ollama says, so that its clients find a server."""
        return PlainTextResponse("Ollama is running")

    async def version(self) -> Response:
        """Answer `GET /api/version`."""
        return JSONResponse({"version": VERSION})

    async def tags(self) -> Response:
        """Answer `GET /api/tags`."""
        return JSONResponse({"models": [describe.listed(self._backend)]})

    async def ps(self) -> Response:
        """Answer `GET /api/ps`."""
        return JSONResponse({"models": [describe.running(self._backend)]})

    async def show(self, request: Request) -> Response:
        """Answer `POST /api/show`."""
        body = parse(ShowRequest, await read_body(request))
        self._check_model(body.model or body.name)
        return JSONResponse(describe.shown(self._backend, body.verbose))

    async def chat(self, request: Request) -> Response:
        """Answer `POST /api/chat`."""
        started_ns = time.monotonic_ns()
        body = parse(ChatRequest, await read_body(request))
        self._check_model(body.model)
        if not body.messages:
            return self._loaded(body, _say_chat("", ""))
        think = self._check_abilities(body, body.messages)
        if body.tools or any(message.tool_calls for message in body.messages):
            raise ApiError(HTTPStatus.BAD_REQUEST, f'"{body.model}" does not support tools')
        prompt = await self._backend.chat_prompt(
            [message.model_dump(include={"role", "content"}) for message in body.messages],
            body.schema_of_answer(),
            think,
            body.options.num_ctx,
        )
        return await self._answer(request, _Asked(body, prompt, started_ns, _say_chat))

    async def generate(self, request: Request) -> Response:
        """Answer `POST /api/generate`."""
        started_ns = time.monotonic_ns()
        body = parse(GenerateRequest, await read_body(request))
        self._check_model(body.model)
        if not body.prompt:
            return self._loaded(body, _say_generate("", ""))
        for field in ("suffix", "template", "context"):
            if getattr(body, field):
                raise ApiError(
                    HTTPStatus.BAD_REQUEST,
                    f'"{body.model}" does not support {field}; write the prompt in full and send '
                    'it with "raw": true, or the conversation to /api/chat',
                )
        messages = [Message(role="user", content=body.prompt, images=body.images)]
        if body.system:
            messages.insert(0, Message(role="system", content=body.system))
        think = self._check_abilities(body, messages)
        schema, num_ctx = body.schema_of_answer(), body.options.num_ctx
        if body.raw:
            prompt = await self._backend.raw_prompt(body.prompt, schema, num_ctx)
        else:
            contents = [message.model_dump(include={"role", "content"}) for message in messages]
            prompt = await self._backend.chat_prompt(contents, schema, think, num_ctx)
        return await self._answer(request, _Asked(body, prompt, started_ns, _say_generate))

    async def _answer(self, request: Request, asked: _Asked) -> Response:
        """Generate, as a stream or as one object; stop the model when the client hangs up."""
        lines = self._lines(asked)
        if not asked.body.stream:
            return JSONResponse(await unless_gone(request, _joined(lines, asked.say)))
        # The first line is awaited here, so that a refusal still gets a status of its own.
        first = await unless_gone(request, anext(lines))
        return LinesResponse(first, lines)

    async def _lines(self, asked: _Asked) -> AsyncGenerator[dict[str, Any], None]:
        """Wait for a slot, generate, and yield each line of a streamed answer."""
        body = asked.body
        head = {"model": body.model}
        async with self._queue.turn():
            load_ns = time.monotonic_ns() - asked.started_ns
            answer = self._backend.generate(
                asked.prompt, body.options.sampling(), body.options.num_predict
            )
            async with aclosing(answer):
                async for event in answer:
                    head["created_at"] = describe.timestamp()
                    if isinstance(event, Piece):
                        said = asked.say(event.content, event.thinking)
                        yield {**head, **said, "done": False}
                    else:
                        total_ns = time.monotonic_ns() - asked.started_ns
                        counts = _counts(event, total_ns, load_ns)
                        yield {**head, **asked.say("", ""), "done": True, **counts}

    def _check_model(self, name: str) -> None:
        if not name:
            raise ApiError(HTTPStatus.BAD_REQUEST, "model is required")
        if with_tag(name).lower() != self._backend.model.name.lower():
            raise ApiError(HTTPStatus.NOT_FOUND, f"model '{name}' not found")

    def _check_abilities(
        self, body: ChatRequest | GenerateRequest, messages: list[Message]
    ) -> bool:
        """Refuse what this model can not do; return whether it shall think first."""
        if body.think and not self._backend.thinks:
            raise ApiError(HTTPStatus.BAD_REQUEST, f'"{body.model}" does not support thinking')
        if any(message.images for message in messages):
            raise ApiError(HTTPStatus.BAD_REQUEST, f'"{body.model}" does not support images')
        if body.logprobs:
            raise ApiError(HTTPStatus.BAD_REQUEST, f'"{body.model}" does not support logprobs')
        return self._backend.thinks if body.think is None else bool(body.think)

    def _loaded(self, body: ChatRequest | GenerateRequest, said: dict[str, Any]) -> Response:
        """Answer a request without a prompt: the model is loaded already, and it stays."""
        return JSONResponse(
            {
                "model": body.model,
                "created_at": describe.timestamp(),
                **said,
                "done": True,
                "done_reason": "unload" if body.unloads else "load",
            }
        )


def create_app(api: OllamaApi, host: str) -> FastAPI:
    """Route the endpoints and put every error in Ollama's shape.

    Args:
        api: The endpoints.
        host: The address that is listened on.
    """
    app = FastAPI(openapi_url=None)
    # A page in a browser must not reach the model through a name that resolves to this machine.
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[host, "127.0.0.1", "localhost"])
    for path, endpoint, methods in (
        ("/", api.root, _READ),
        ("/api/version", api.version, _READ),
        ("/api/tags", api.tags, _READ),
        ("/api/ps", api.ps, _READ),
        ("/api/show", api.show, ["POST"]),
        ("/api/chat", api.chat, ["POST"]),
        ("/api/generate", api.generate, ["POST"]),
    ):
        app.add_api_route(path, endpoint, methods=methods, response_model=None)

    @app.exception_handler(ApiError)
    async def refused(_request: Request, error: ApiError) -> Response:
        return JSONResponse({"error": error.message}, error.status)

    @app.exception_handler(HTTPException)
    async def misdirected(request: Request, error: HTTPException) -> Response:
        what = f"{request.method} {request.url.path}: {error.detail}"
        return JSONResponse(
            {"error": f"{what}; this server answers for one local model only"}, error.status_code
        )

    @app.exception_handler(ClientGoneError)
    async def gone(_request: Request, _error: ClientGoneError) -> Response:
        return Response(status_code=_CLIENT_CLOSED_REQUEST)

    return app


def _say_chat(content: str, thinking: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": content}
    return {"message": {**message, "thinking": thinking} if thinking else message}


def _say_generate(content: str, thinking: str) -> dict[str, Any]:
    said = {"response": content}
    return {**said, "thinking": thinking} if thinking else said


def _counts(ending: Ending, total_ns: int, load_ns: int) -> dict[str, Any]:
    """Return the last line's figures; `prompt_cached_count` is the one that Ollama has not."""
    return {
        "done_reason": ending.reason,
        "total_duration": total_ns,
        "load_duration": load_ns,
        "prompt_eval_count": ending.prompt_tokens,
        "prompt_cached_count": ending.prompt_cached_tokens,
        "prompt_eval_duration": ending.prompt_ns,
        "eval_count": ending.answer_tokens,
        "eval_duration": ending.answer_ns,
    }


async def _joined(
    lines: AsyncGenerator[dict[str, Any], None], say: Callable[[str, str], dict[str, Any]]
) -> dict[str, Any]:
    """Put a stream together into the one object that a client gets who wants no stream."""
    content, thinking = [], []
    last: dict[str, Any] = {}
    async with aclosing(lines):
        async for last in lines:
            said = last.get("message", last)
            content.append(said.get("content", said.get("response", "")))
            thinking.append(said.get("thinking", ""))
    return {**last, **say("".join(content), "".join(thinking))}
