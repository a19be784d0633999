"""One turn's decisions: all minds at once, and the rule for those that are not asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from sim_orchestrator.minds.base import (
    CallRecord,
    Decision,
    Mind,
    Observation,
)
from sim_orchestrator.transcript import Transcript, TranscriptLog

NOT_ASKED: Final = 0
"""The attempt number of a decision that no mind was asked for."""


async def decide_all(
    observations: Mapping[str, Observation],
    minds: Mapping[str, Mind],
    transcript: Transcript,
    *,
    ends_at: float,
    decided: Callable[[str, Decision], None],
) -> dict[str, Decision]:
    """Ask every mind at once; a decision that the transcript holds is not asked for again.

    Args:
        observations: what each agent sees.
        minds: who decides for it.
        transcript: where calls are written before they count.
        ends_at: when the turn's deadline passes (seconds on the monotonic clock).
        decided: called with each decision as it comes in.
    """

    async def decide(agent_id: str, observation: Observation) -> Decision:
        decision = transcript.decision(observation.turn, agent_id)
        if decision is None and observation.agent["suspended"]:
            decision = work_off_debt(observation)
            transcript.record_call(observation.turn, agent_id, decision.calls[-1])
        if decision is None:
            log = TranscriptLog(transcript, observation.turn, agent_id, ends_at)
            decision = await minds[agent_id].decide(observation, log)
        decided(agent_id, decision)
        return decision

    tasks = [asyncio.create_task(decide(*item)) for item in observations.items()]
    try:
        return dict(zip(observations, await asyncio.gather(*tasks), strict=True))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def work_off_debt(observation: Observation) -> Decision:
    """Decide for a suspended agent, whose model is not asked while it lasts.  (rules §5)"""
    staked = int(observation.agent["staked"])
    actions: list[dict[str, Any]] = [{"type": "unstake", "amount": staked}] if staked else []
    actions.append({"type": "job"})
    call = CallRecord(
        attempt=NOT_ASKED,
        model="",
        actions=actions,
        thought="suspended for debt: takes its stake back and works",
    )
    return Decision(calls=(call,))


def submission(agent_id: str, decision: Decision, *, durations: bool) -> dict[str, Any]:
    """Return an agent's part of ``POST /turn``; the tokens of all its attempts are counted.

    Args:
        agent_id: whose part it is.
        decision: what it decided.
        durations: whether to say how long its calls took. A turn seals that, and no two runs
            measure the same.
    """
    part: dict[str, Any] = {"agent_id": agent_id, "actions": decision.actions}
    asked = [call for call in decision.calls if call.attempt != NOT_ASKED]
    if asked:
        part["inference"] = {
            "output_tokens": sum(call.output_tokens for call in asked),
            "prompt_tokens": sum(call.prompt_tokens for call in asked),
            "model": asked[-1].model,
        }
        if durations:
            part["inference"]["duration_ms"] = sum(call.duration_ms for call in asked)
    return part
