"""What a mind sees, what it answers, and the protocol that every mind follows.

All of it is plain data: an observation can be written down, and a decision can be replayed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

SCRIPTED_MODEL = "scripted"
"""The model name of decisions that no language model made; the ledger shows it as it is."""


class ModelsUnavailable(Exception):
    """A model's server can not be reached or lacks the model. The text says what mends it."""


@dataclass(frozen=True, slots=True)
class Observation:
    """All that one agent may know when it decides on a turn.

    Attributes:
        turn: the number of the turn to be decided, which is the last sealed turn plus one.
        agent_id: who decides.
        config: ``GET /config``: every key of the world's config (rules §14).
        state: ``GET /state`` with its list of agents; the same object for all agents of a turn.
        agent: ``GET /agent/{agent_id}`` with its ``private`` part.
        speech: what was said in the last two turns, oldest first:
            ``{"turn", "agent_id", "message", "seq"}``.
        contracts: the agent's own contracts that have not ended, as it may see them: proposals
            that name it (signed by it or not), active and disputed ones, in ascending number.
        history: the last five sealed turns, oldest first, the same object for all agents:
            ``{"turn", "applied": {action type: count}, "output_tokens", "billed_tokens", "fees",
            "core_income", "blocks": [Block…]}``. ``core_income`` is what one core paid (tokens),
            ``fees`` the inference fees of all agents, ``applied["job"]`` how many shared the wages.
        core_income: ``core_income`` of those turns, oldest first.
        output_tokens: what this agent's own mind generated in each of those turns, oldest first.
        received: transfers that reached the agent in the last turn: ``{"from", "amount", "memo"}``.
        persona: who the agent is told to be; may be empty.
        notes: what the agent wrote to itself in its last answer; empty at first.
        dropped: what of its answer of the last turn could not be used, one sentence each, which may
            quote the answer.
        failure: why that answer gave no decision, in one sentence, which may quote it too; empty
            where no answer came; ``None`` if it gave a decision, or if the agent was not asked.
    """

    turn: int
    agent_id: str
    config: Mapping[str, int]
    state: Mapping[str, Any]
    agent: Mapping[str, Any]
    speech: Sequence[Mapping[str, Any]] = ()
    contracts: Sequence[Mapping[str, Any]] = ()
    history: Sequence[Mapping[str, Any]] = ()
    core_income: Sequence[int] = ()
    output_tokens: Sequence[int] = ()
    received: Sequence[Mapping[str, Any]] = ()
    persona: str = ""
    notes: str = ""
    dropped: Sequence[str] = ()
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One attempt to get a decision, as it is written to the transcript.

    Attributes:
        attempt: 1 for the first call of a turn, 2 for the repair call.
        model: the model that was asked; ``scripted`` where none was.
        messages: the messages sent.
        options: the options sent, ``num_ctx`` and ``num_predict`` among them.
        raw: the answer's text as it came; empty where none came.
        thinking: what the model thought before it, where the server tells that apart.
        actions: the actions that parsing found in it.
        thought: the reasoning that the agent gave.
        notes: what the agent wants to be told next turn.
        mends: what parsing had to mend, one short phrase each.
        dropped: actions that could not be used, one sentence each.
        failure: why this attempt gave no decision; ``None`` if it gave one.
        final: whether the decision is made with this attempt (or given up with it).
        prompt_tokens: tokens read, as the server counted them.
        output_tokens: tokens generated, as the server counted them.
        duration_ms: from request to answer, as the orchestrator measured it.
        server_ms: the time the server reports for itself.
        done_reason: why the server stopped: ``stop`` or ``length``.
    """

    attempt: int
    model: str
    messages: Sequence[dict[str, str]] = field(default_factory=list)
    options: Mapping[str, Any] = field(default_factory=dict)
    raw: str = ""
    thinking: str = ""
    actions: Sequence[dict[str, Any]] = field(default_factory=list)
    thought: str = ""
    notes: str = ""
    mends: Sequence[str] = field(default_factory=list)
    dropped: Sequence[str] = field(default_factory=list)
    failure: str | None = None
    final: bool = True
    prompt_tokens: int = 0
    output_tokens: int = 0
    duration_ms: int = 0
    server_ms: int = 0
    done_reason: str = ""

    @property
    def answered(self) -> bool:
        """Whether the model said anything, be it of use or not."""
        return bool(self.raw or self.thinking or self.output_tokens or self.done_reason)


@dataclass(frozen=True, slots=True)
class Decision:
    """What a mind decided: the actions to submit, and every call that it took to get there.

    A mind that failed has no actions and says why in ``failure``; it never makes a decision up.
    """

    calls: tuple[CallRecord, ...]

    @property
    def actions(self) -> list[dict[str, Any]]:
        """The actions to submit, in order."""
        return list(self.calls[-1].actions)

    @property
    def notes(self) -> str:
        """What the agent wants to be told next turn."""
        return self.calls[-1].notes

    @property
    def failure(self) -> str | None:
        """Why there is no decision; ``None`` when there is one."""
        return self.calls[-1].failure

    @property
    def dropped(self) -> Sequence[str]:
        """What of the answer that counts could not be used, one sentence each."""
        return self.calls[-1].dropped

    @property
    def own_failure(self) -> str | None:
        """What was wrong with the agent's own words, if they gave no decision.

        Empty where no answer came: a server that is away is not the agent's doing. ``None`` when
        there is a decision.
        """
        if self.failure is None:
            return None
        return next((str(call.failure) for call in reversed(self.calls) if call.answered), "")


class CallLog(Protocol):
    """One agent's calls of one turn: those already paid for, and where to write the next."""

    def earlier(self) -> Sequence[CallRecord]:
        """Return the calls already made for this turn by a run that was interrupted."""
        ...

    def seconds_left(self) -> float:
        """Return how long this turn may still take."""
        ...

    def record(self, call: CallRecord) -> None:
        """Write a call down before its answer is used."""
        ...


class Mind(Protocol):
    """Decides for one agent."""

    async def decide(self, observation: Observation, log: CallLog) -> Decision:
        """Decide on one turn.

        Every call is given to ``log`` as soon as its answer is there, so that no paid answer is
        lost to a crash; calls that ``log`` already holds are used and not made again. Failures of a
        model are data in the decision, never exceptions.
        """
        ...


@dataclass(slots=True)
class Minds:
    """The minds of a run, and what their servers say about the models that they ask.

    Attributes:
        by_agent: who decides for each agent.
        models: what is known of each model, for ``run.json``.
        notes: where a model does not get what was asked for, in one sentence each, for people.
    """

    by_agent: dict[str, Mind] = field(default_factory=dict)
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, others: Minds) -> None:
        """Take in the minds of other agents."""
        self.by_agent.update(others.by_agent)
        self.models.update(others.models)
        self.notes.extend(others.notes)
