"""The bodies of the three writing requests: ``/init``, ``/turn`` and ``/actions``."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Final

from pydantic import FailFast, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from sim_engine.types.actions import Action
from sim_engine.types.config import Config
from sim_engine.types.fields import (
    AGENT_ID_PATTERN,
    MAX_OUTPUT_TOKENS,
    OMITTABLE,
    SHAPE,
    Amount,
    Positive,
    Text,
)

AgentId = Annotated[str, Field(strict=True, pattern=AGENT_ID_PATTERN)]
ModelName = Annotated[str, Field(strict=True, max_length=256)]
OutputTokens = Annotated[int, Field(strict=True, ge=0, le=MAX_OUTPUT_TOKENS)]
IdempotencyKey = Annotated[str, Field(strict=True, min_length=1, max_length=200)]


@dataclass(slots=True, kw_only=True, config=SHAPE)
class NewAgent:
    """An agent that starts with a balance of its own (tokens)."""

    agent_id: AgentId
    balance: Annotated[Amount | None, OMITTABLE] = None


@dataclass(slots=True, kw_only=True, config=SHAPE)
class InitRequest:
    """``POST /init``: seed, roster and config of a new world.  (rules §3)"""

    agents: Annotated[
        list[AgentId | NewAgent], Field(min_length=1, max_length=1_000_000), FailFast()
    ]
    config: Config = field(default_factory=Config)
    seed: Annotated[
        Annotated[str, Field(strict=True, min_length=1, max_length=1_000)] | None, OMITTABLE
    ] = None
    agent_keys: Annotated[bool, Field(strict=True)] = False


@dataclass(slots=True, kw_only=True, config=SHAPE)
class Inference:
    """What an agent's LLM used this turn, all attempts counted."""

    output_tokens: OutputTokens
    prompt_tokens: Amount = 0
    model: ModelName = ""
    duration_ms: Amount = 0


@dataclass(slots=True, kw_only=True, config=SHAPE)
class Submission:
    """One agent's part of a turn: its actions in order, and what deciding on them cost."""

    agent_id: Text
    actions: Annotated[list[Action], FailFast()]
    inference: Annotated[Inference | None, OMITTABLE] = None


@dataclass(slots=True, kw_only=True, config=SHAPE)
class TurnRequest:
    """``POST /turn``: the submissions of a turn; an agent that is absent does nothing."""

    submissions: Annotated[list[Submission], FailFast()]
    turn: Annotated[Positive | None, OMITTABLE] = None


@dataclass(slots=True, kw_only=True, config=SHAPE)
class QueueRequest:
    """``POST /actions``: one agent's actions for the next turn."""

    agent_id: Text
    actions: Annotated[list[Action], Field(min_length=1), FailFast()]
    idempotency_key: Annotated[IdempotencyKey | None, OMITTABLE] = None


INIT_ADAPTER: Final = TypeAdapter(InitRequest)
TURN_ADAPTER: Final = TypeAdapter(TurnRequest)
QUEUE_ADAPTER: Final = TypeAdapter(QueueRequest)
ACTION_ADAPTER: Final[TypeAdapter[Action]] = TypeAdapter(Action)
ACTIONS_ADAPTER: Final[TypeAdapter[list[Action]]] = TypeAdapter(list[Action])
