"""What clients send: the request bodies of Ollama's API, checked before anything is computed."""

import json
import re
from http import HTTPStatus
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from sim_orchestrator.local_model.errors import ApiError

SEEDS = 2**32
"""llama.cpp's random generator knows this many seeds; larger ones wrap around."""

_RANDOM_SEED = -1
_DURATION = re.compile(r"[+-]?(0|((\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h))+)")


def _whole(value: object) -> object:
    """Take 8192.0 for 8192: JSON has one kind of number, and Ollama takes it so."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _duration(value: object) -> object:
    if isinstance(value, str) and not _DURATION.fullmatch(value):
        raise ValueError(f"time: invalid duration {json.dumps(value)}")
    return value


def _absent_if_null(value: object) -> object:
    return {k: v for k, v in value.items() if v is not None} if isinstance(value, dict) else value


Whole = Annotated[int, BeforeValidator(_whole)]
Fraction = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Penalty = Annotated[float, Field(ge=-2, le=2)]


class Options(BaseModel):
    """Ollama's `options`: its names, its defaults.  Those it does not know it ignores; so do we."""

    model_config = ConfigDict(strict=True)

    num_ctx: Annotated[Whole, Field(ge=1)] | None = None
    num_predict: Whole = -1
    seed: Whole = _RANDOM_SEED
    stop: list[str] = []
    temperature: Fraction = 0.8
    top_k: Annotated[Whole, Field(ge=0)] = 40
    top_p: Annotated[Fraction, Field(le=1)] = 0.9
    min_p: Annotated[Fraction, Field(le=1)] = 0.0
    typical_p: Annotated[Fraction, Field(le=1)] = 1.0
    repeat_last_n: Annotated[Whole, Field(ge=-1)] = 64
    repeat_penalty: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.1
    presence_penalty: Penalty = 0.0
    frequency_penalty: Penalty = 0.0

    def sampling(self) -> dict[str, Any]:
        """Return the options in llama.cpp's words, without the limits on length."""
        fields = self.model_dump(exclude={"num_ctx", "num_predict", "seed"})
        if self.seed != _RANDOM_SEED:
            fields["seed"] = self.seed % SEEDS
        return fields


class Message(BaseModel):
    """One message of a chat."""

    model_config = ConfigDict(strict=True)

    role: Literal["system", "user", "assistant", "tool"]
    content: str = ""
    images: list[Any] = []
    tool_calls: list[Any] = []


class _ModelRequest(BaseModel):
    """What the two ways of asking for text have in common."""

    model_config = ConfigDict(strict=True)

    model: str = ""
    stream: bool = True
    format: Any = None
    think: bool | Literal["low", "medium", "high"] | None = None
    keep_alive: Annotated[int | float | str | None, BeforeValidator(_duration)] = None
    options: Annotated[Options, BeforeValidator(_absent_if_null)] = Options()
    logprobs: bool = False

    @property
    def unloads(self) -> bool:
        """Whether `keep_alive` says that the model should go at once."""
        if isinstance(self.keep_alive, str):
            return re.fullmatch(r"[+-]?[0.]+\D*", self.keep_alive) is not None
        return self.keep_alive == 0

    def schema_of_answer(self) -> dict[str, Any] | None:
        """Return the JSON Schema that the answer must follow, if `format` asks for one.

        Raises:
            ApiError: 400, `format` is neither `"json"` nor an object.
        """
        if self.format is None or self.format == "":
            return None
        if self.format == "json":
            return {"type": "object"}
        if isinstance(self.format, dict):
            return self.format
        raise ApiError(
            HTTPStatus.BAD_REQUEST,
            f'invalid format: {json.dumps(self.format)}; expected "json" or a valid JSON Schema '
            "object",
        )


class ChatRequest(_ModelRequest):
    """The body of `POST /api/chat`."""

    messages: list[Annotated[Message, BeforeValidator(_absent_if_null)]] = []
    tools: list[Any] = []


class GenerateRequest(_ModelRequest):
    """The body of `POST /api/generate`."""

    prompt: str = ""
    system: str = ""
    raw: bool = False
    suffix: str = ""
    template: str = ""
    context: list[int] = []
    images: list[Any] = []


class ShowRequest(BaseModel):
    """The body of `POST /api/show`; `name` is the older name of `model`."""

    model_config = ConfigDict(strict=True)

    model: str = ""
    name: str = ""
    verbose: bool = False


Request = TypeVar("Request", bound=BaseModel)


def parse(kind: type[Request], body: bytes) -> Request:
    """Read a request body.

    Raises:
        ApiError: 400, there is no body, it is no JSON object, or a field has a wrong type or value.
    """
    if not body.strip():
        raise ApiError(HTTPStatus.BAD_REQUEST, "missing request body")
    try:
        fields = json.loads(body, parse_constant=_no_number)
        json.dumps(fields, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:  # ValueError: also text that is no Unicode
        raise ApiError(HTTPStatus.BAD_REQUEST, f"the body is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise ApiError(HTTPStatus.BAD_REQUEST, "the body must be a JSON object")
    try:
        return kind.model_validate(_absent_if_null(fields))
    except ValidationError as error:
        raise ApiError(HTTPStatus.BAD_REQUEST, _complaint(error)) from error


def _no_number(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON number")


def _complaint(error: ValidationError) -> str:
    """Name the first thing that is wrong, and where."""
    first = error.errors(include_url=False, include_context=False)[0]
    place = [str(part) for part in first["loc"]]
    what = first["msg"].removeprefix("Value error, ")
    if len(place) > 1 and place[0] == "options":
        return f'option "{place[1]}" is invalid: {what}'
    return f'"{".".join(place)}" is invalid: {what}'
