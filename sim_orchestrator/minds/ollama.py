"""A mind that asks a language model behind Ollama's API."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sim_orchestrator.answer_schema import answer_schema
from sim_orchestrator.context import ContextTooSmall, build_messages, repair_messages
from sim_orchestrator.minds.base import CallLog, CallRecord, Decision, Observation
from sim_orchestrator.minds.hosts import Answer, HostPool, NoAnswer, encodable
from sim_orchestrator.parsing import Parsed, ParseFailure, parse_answer

REPAIR_ATTEMPT: Final = 2

Messages = Sequence[dict[str, str]]


class OllamaMind:
    """Asks once, and once more with the error quoted when the answer can not be read.

    Args:
        pool: the hosts to ask.
        model: the model to ask.
        options: Ollama's options; ``num_ctx`` and ``num_predict`` (tokens) are among them.
        think: whether the model may think before it answers.
        timeout: the longest one call may take (seconds).
    """

    def __init__(
        self,
        pool: HostPool,
        *,
        model: str,
        options: Mapping[str, Any],
        think: bool,
        timeout: float,
    ) -> None:
        self.model = model
        self.options = dict(options)
        self._pool = pool
        self._think = think
        self._timeout = timeout

    async def decide(self, observation: Observation, log: CallLog) -> Decision:
        """Decide on one turn; what goes wrong is in the decision's calls."""
        calls = list(log.earlier())
        while not calls or not calls[-1].final:
            call = await self._attempt(observation, log, calls)
            log.record(call)
            calls.append(call)
        return Decision(calls=tuple(calls))

    async def _attempt(
        self, observation: Observation, log: CallLog, before: Sequence[CallRecord]
    ) -> CallRecord:
        """Make the next call: the first, or the repair of the one before."""
        attempt = len(before) + 1
        try:
            async with asyncio.timeout(log.seconds_left()):
                await self._pool.slots.acquire()
        except TimeoutError:
            return self._failed(attempt, (), 0, "the turn's deadline passed before it was asked")
        try:
            messages = self._messages(observation, before)
        except ContextTooSmall as error:
            self._pool.slots.release()
            return self._failed(attempt, (), 0, str(error))
        try:
            started = time.monotonic()
            left = log.seconds_left()
            found = await self._pool.ask(
                self.model,
                messages=messages,
                schema=answer_schema(observation),
                options=self.options,
                think=self._think,
                seconds=min(self._timeout, left),
                too_late=(
                    f"no answer within {self._timeout:g} seconds"
                    if self._timeout < left
                    else "the turn's deadline passed before its answer came"
                ),
            )
        finally:
            self._pool.slots.release()
        duration_ms = round((time.monotonic() - started) * 1000)
        if isinstance(found, NoAnswer):
            return self._failed(attempt, messages, duration_ms, found.reason)
        return self._read(observation, attempt, messages, duration_ms, found)

    def _messages(self, observation: Observation, before: Sequence[CallRecord]) -> Messages:
        if not before:
            budget = int(self.options["num_ctx"]) - int(self.options["num_predict"])
            return build_messages(observation, budget_tokens=budget)
        last = before[-1]
        return repair_messages(last.messages, last.raw, str(last.failure))

    def _read(
        self,
        observation: Observation,
        attempt: int,
        messages: Messages,
        duration_ms: int,
        answer: Answer,
    ) -> CallRecord:
        found = parse_answer(
            answer.text,
            done_reason=answer.done_reason,
            observation=observation,
            thinking=answer.thinking,
        )
        failed = isinstance(found, ParseFailure)
        parsed = Parsed() if isinstance(found, ParseFailure) else found
        return CallRecord(
            attempt=attempt,
            model=self.model,
            messages=messages,
            options=self.options,
            raw=answer.text,
            thinking=answer.thinking,
            actions=parsed.actions,
            thought=encodable(parsed.thought),
            notes=encodable(parsed.notes),
            mends=parsed.mends,
            dropped=found.dropped,
            failure=found.error if isinstance(found, ParseFailure) else None,
            final=not failed or attempt >= REPAIR_ATTEMPT,
            prompt_tokens=answer.prompt_tokens,
            output_tokens=answer.output_tokens,
            duration_ms=duration_ms,
            server_ms=answer.server_ms,
            done_reason=answer.done_reason,
        )

    def _failed(
        self, attempt: int, messages: Messages, duration_ms: int, reason: str
    ) -> CallRecord:
        return CallRecord(
            attempt=attempt,
            model=self.model,
            messages=messages,
            options=self.options,
            failure=reason,
            duration_ms=duration_ms,
        )
