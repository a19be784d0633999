"""llama.cpp: loads the model, counts tokens, generates text.

The engine is llama.cpp's own HTTP server, which `xllamacpp` runs on threads of this process behind
a random port and a random key.  It caches the prompt of its slot: a request that begins like the
one before it has only the rest evaluated.
"""

import json
import os
import secrets
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Self

import httpx

from sim_orchestrator.local_model.errors import ApiError, LocalModelError
from sim_orchestrator.local_model.model_file import ModelFile

BATCH_TOKENS = 256
"""Prompt tokens evaluated between two looks at whether the client is still there."""

_PROMPT_CACHE_MIB = 512
_SIDE_CONNECTIONS = 3  # for counting tokens while the slots compute
_LOG_ERRORS_ONLY = 1
_NEWLINES = ("\n", "\r", "\t", "Ċ", "č", "ĉ", "<0x0A>", "<0x0D>", "<0x09>")  # in each vocabulary
_NS_PER_MS = 1_000_000


@dataclass(frozen=True)
class BackendConfig:
    """How the model is run.

    Args:
        threads: Threads that compute.
        context_tokens: The context of each slot, prompt and answer together.
        slots: Requests computed at once, each with a context of its own.
    """

    threads: int
    context_tokens: int
    slots: int


@dataclass(frozen=True)
class Prompt:
    """A prompt that fits, ready to be generated from.

    Args:
        path: Where llama.cpp's server takes it.
        body: What it takes, without how to sample.
        tokens: How long it is.
        answer_tokens_max: How many tokens are left for the answer.
    """

    path: str
    body: dict[str, Any]
    tokens: int
    answer_tokens_max: int


@dataclass(frozen=True)
class Piece:
    """A piece of an answer: text for the reader, or a model's thinking before it."""

    content: str = ""
    thinking: str = ""


@dataclass(frozen=True)
class Ending:
    """Why an answer ended, and what it took.  Durations are in nanoseconds."""

    reason: str
    prompt_tokens: int
    prompt_cached_tokens: int
    prompt_ns: int
    answer_tokens: int
    answer_ns: int


class Backend:
    """A loaded model.  Made by `load`; `aclose` ends its connections, not the engine's threads."""

    def __init__(self, engine: Any, client: httpx.AsyncClient, model: ModelFile) -> None:
        self._engine = engine  # owns the threads: they end with it
        self._client = client
        self.model = model
        self.context_tokens = 0
        self.parameters = 0
        self.quantization = ""
        self.template = ""
        self.thinks = False
        self._newline_bias = _newline_bias(model)

    @classmethod
    async def load(cls, model: ModelFile, config: BackendConfig) -> Self:
        """Load a model, which takes about a second for 100 MB.

        Raises:
            LocalModelError: `xllamacpp` is not installed, or llama.cpp can not load the file.
        """
        key = secrets.token_urlsafe(32)
        engine = _start_engine(model, config, key)
        client = httpx.AsyncClient(
            base_url=engine.listening_address,
            headers={"Authorization": f"Bearer {key}"},
            timeout=None,  # an answer takes as long as it takes; who asked may hang up
            # llama.cpp closes idle connections, and one that it is just closing would fail a
            # request; it has few threads for connections, so the rest of a crowd waits here.
            limits=httpx.Limits(
                max_connections=config.slots + _SIDE_CONNECTIONS, max_keepalive_connections=0
            ),
            trust_env=False,
        )
        backend = cls(engine, client, model)
        await backend._describe()
        return backend

    async def aclose(self) -> None:
        """Close the connections to the engine."""
        await self._client.aclose()

    async def chat_prompt(
        self,
        messages: list[dict[str, Any]],
        schema: dict[str, Any] | None,
        think: bool,
        num_ctx: int | None,
    ) -> Prompt:
        """Prepare a chat.

        Args:
            messages: Roles and contents.
            schema: The JSON Schema of the answer, or None for free text.
            think: Whether a model that can think before it answers shall do so.
            num_ctx: The context in tokens that the client wants, or None for all there is.

        Raises:
            ApiError: 400, the prompt is too long, or the schema or the messages are impossible.
        """
        body: dict[str, Any] = {
            "messages": messages,
            "chat_template_kwargs": {"enable_thinking": think},
            **self._constraint(schema),
        }
        rendered = await self._ask("/apply-template", body)
        return await self._fitted("/v1/chat/completions", body, rendered["prompt"], num_ctx)

    async def raw_prompt(
        self, text: str, schema: dict[str, Any] | None, num_ctx: int | None
    ) -> Prompt:
        """Prepare a text that is continued as it stands, without the model's chat template.

        Raises:
            ApiError: 400, the prompt is too long, or the schema is impossible.
        """
        constraint = self._constraint(schema)
        # A template is rendered only to have the schema checked before it is this request's turn.
        await self._ask("/apply-template", {"messages": [_HELLO], **constraint})
        return await self._fitted("/completion", {"prompt": text, **constraint}, text, num_ctx)

    async def generate(
        self, prompt: Prompt, sampling: dict[str, Any], num_predict: int
    ) -> AsyncGenerator[Piece | Ending, None]:
        """Yield the answer as it comes, and its ending; who stops listening stops the model.

        Args:
            prompt: What to answer.
            sampling: Options in llama.cpp's words.
            num_predict: The most tokens to generate; below 1, what the context leaves.

        Raises:
            ApiError: The engine refuses, or fails half-way.
        """
        room = prompt.answer_tokens_max
        body = {
            **prompt.body,
            **sampling,
            "n_predict": min(num_predict, room) if num_predict > 0 else room,
            "stream": True,
            "cache_prompt": True,
        }
        async with self._client.stream("POST", prompt.path, json=body) as response:
            if response.status_code != HTTPStatus.OK:
                await response.aread()
                raise _refusal(response.json()["error"])
            reason, ending = "stop", None
            async for line in response.aiter_lines():
                kind, _, data = line.partition(": ")
                if data in ("", "[DONE]"):
                    continue
                event = json.loads(data)
                if kind == "error" or "error" in event:
                    raise _refusal(event.get("error", event))
                piece, reason = _read(event, reason)
                if piece.content or piece.thinking:
                    yield piece
                if "timings" in event:
                    ending = _ending(reason, event["timings"])
        if ending is None:
            raise ApiError(HTTPStatus.INTERNAL_SERVER_ERROR, "llama.cpp broke off in the answer")
        yield ending

    def _constraint(self, schema: dict[str, Any] | None) -> dict[str, Any]:
        """Hold the answer to a schema, on one line: a small model fills pages with indentation."""
        return {} if schema is None else {"json_schema": schema, "logit_bias": self._newline_bias}

    async def _fitted(
        self, path: str, body: dict[str, Any], text: str, num_ctx: int | None
    ) -> Prompt:
        """Count the tokens of a prompt and refuse one that leaves no room for an answer."""
        question = {"content": text, "add_special": True, "parse_special": True}
        tokens = len((await self._ask("/tokenize", question))["tokens"])
        context = min(num_ctx or self.context_tokens, self.context_tokens)
        if tokens >= context:
            raise ApiError(
                HTTPStatus.BAD_REQUEST,
                f"the input length exceeds the context length: the prompt has {tokens} tokens, "
                f"the context {context}; shorten the prompt, or raise options.num_ctx (at most "
                f"{self.context_tokens}, which is what this server was started with)",
            )
        return Prompt(path, body, tokens, context - tokens)

    async def _ask(self, path: str, body: dict[str, Any]) -> Any:
        response = await self._client.post(path, json=body)
        answer = response.json()
        if response.status_code != HTTPStatus.OK:
            raise _refusal(answer["error"])
        return answer

    async def _describe(self) -> None:
        """Ask the engine what it has loaded."""
        props = (await self._client.get("/props")).json()
        meta = (await self._client.get("/v1/models")).json()["data"][0]["meta"]
        self.context_tokens = props["default_generation_settings"]["n_ctx"]
        self.template = props["chat_template"]
        self.quantization = props["model_ftype"]
        self.parameters = meta["n_params"]
        prompts = [
            (
                await self._ask(
                    "/apply-template",
                    {"messages": [_HELLO], "chat_template_kwargs": {"enable_thinking": think}},
                )
            )["prompt"]
            for think in (False, True)
        ]
        self.thinks = prompts[0] != prompts[1]


_HELLO = {"role": "user", "content": "hello"}


def _start_engine(model: ModelFile, config: BackendConfig, key: str) -> Any:
    """Load the model into llama.cpp and start its server on a free loopback port."""
    # Read by OpenMP when it is loaded. Threads that spin while they wait for one another make two
    # threads 25 times slower than one on a machine that is busy with other work.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        import xllamacpp
    except ImportError as error:
        raise LocalModelError(
            "the embedded model needs xllamacpp: install the project with its extra `local`, "
            "in a clone of it with `pip install '.[local]'`, or run `make demo` once"
        ) from error
    params = xllamacpp.CommonParams()
    params.model.path = str(model.path)
    params.n_ctx = config.context_tokens * config.slots
    params.n_parallel = config.slots
    params.cpuparams.n_threads = config.threads
    params.cpuparams_batch.n_threads = config.threads
    params.n_batch = BATCH_TOKENS
    params.n_ubatch = BATCH_TOKENS
    # On a CPU, flash attention evaluates prompts 1.2 times as fast but generates half as fast from
    # a prompt of 2,000 tokens; with the prefix cached, generating is most of the work.
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.swa_full = True  # without it, models with sliding windows can not reuse a prefix
    params.cache_ram_mib = _PROMPT_CACHE_MIB
    params.api_keys = [key]
    params.endpoint_slots = False
    params.ui = False
    params.verbosity = _LOG_ERRORS_ONLY
    try:
        return xllamacpp.Server(params)
    except RuntimeError as error:
        raise LocalModelError(
            f"llama.cpp can not load {model.path}: the lines above say why. A file that is cut "
            "off or of a newer kind of model must be replaced"
        ) from error


def _newline_bias(model: ModelFile) -> list[list[Any]]:
    """Forbid every token with a line break or tab: in JSON they can only stand between values."""
    vocabulary = model.metadata.get("tokenizer.ggml.tokens", [])
    return [
        [token_id, False]
        for token_id, text in enumerate(vocabulary)
        if any(newline in text for newline in _NEWLINES)
    ]


def _read(event: dict[str, Any], reason: str) -> tuple[Piece, str]:
    """Read one event of either of llama.cpp's streams: a chat's or a raw completion's."""
    if "choices" not in event:
        length = event.get("stop_type") == "limit"
        return Piece(content=event.get("content") or ""), "length" if length else reason
    choice = event["choices"][0]
    delta = choice["delta"]
    piece = Piece(delta.get("content") or "", delta.get("reasoning_content") or "")
    return piece, choice["finish_reason"] or reason


def _ending(reason: str, timings: dict[str, Any]) -> Ending:
    return Ending(
        reason=reason,
        prompt_tokens=timings["cache_n"] + timings["prompt_n"],
        prompt_cached_tokens=timings["cache_n"],
        prompt_ns=round(timings["prompt_ms"] * _NS_PER_MS),
        answer_tokens=timings["predicted_n"],
        answer_ns=round(timings["predicted_ms"] * _NS_PER_MS),
    )


def _refusal(error: dict[str, Any]) -> ApiError:
    """Say in Ollama's words what llama.cpp refused: a schema is the client's fault."""
    message = str(error.get("message", error))
    if "schema" in message or "grammar" in message:
        what = message.partition("JSON schema error ")[2] or message
        return ApiError(HTTPStatus.BAD_REQUEST, f"invalid JSON schema in format: {what}")
    return ApiError(HTTPStatus(error.get("code", HTTPStatus.INTERNAL_SERVER_ERROR)), message)
