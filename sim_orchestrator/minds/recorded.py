"""A mind that plays what another run has recorded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from sim_orchestrator.minds.base import CallLog, CallRecord, Decision, Observation
from sim_orchestrator.transcript import FILE_NAME, TurnRecord, read

Recording = Mapping[tuple[int, str], list[CallRecord]]
"""The calls of a run by turn and agent."""


def load_recording(run_dir: Path) -> Recording:
    """Read the calls of a run.  Raises TranscriptError."""
    calls: dict[tuple[int, str], list[CallRecord]] = defaultdict(list)
    for entry in read(run_dir / FILE_NAME):
        if not isinstance(entry, TurnRecord):
            turn, agent_id, call = entry
            calls[turn, agent_id].append(call)
    return calls


class RecordedMind:
    """Decides as the same agent decided in the same turn of the recording."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    async def decide(self, observation: Observation, log: CallLog) -> Decision:
        """Repeat the recorded calls, tokens and failures included."""
        place = observation.turn, observation.agent_id
        calls = self._recording.get(place, [])
        if not calls or not calls[-1].final:
            reason = f"the recording has no decision of {place[1]} in turn {place[0]}"
            calls = [CallRecord(attempt=1, model="recorded", failure=reason)]
        for call in calls[len(log.earlier()) :]:
            log.record(call)
        return Decision(calls=tuple(calls))
