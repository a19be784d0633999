"""What a run has come to so far: a fold over the lines of its transcript.

The live display, the summary at the end and ``report`` all read the same tally, so they agree.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sim_orchestrator.deciding import NOT_ASKED
from sim_orchestrator.minds.base import CallRecord
from sim_orchestrator.transcript import Entry, TurnRecord

BASIS: int = 10_000


@dataclass(slots=True)
class ModelTally:
    """What one model was asked and answered."""

    calls: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    duration_ms: int = 0
    fees: int = 0


@dataclass(slots=True)
class Tally:
    """Counts of a run.

    Args:
        config: the world's config, for what thinking costs.
        roster: the agents in order.
    """

    config: Mapping[str, int]
    roster: Sequence[str]
    turns: int = 0
    turn_hash: str = ""
    decisions: int = 0
    failed_decisions: int = 0
    repaired: int = 0
    not_asked: int = 0
    output_tokens: int = 0
    last_failure: str = ""
    failures: Counter[str] = field(default_factory=Counter)
    failing: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    mends: Counter[str] = field(default_factory=Counter)
    dropped: int = 0
    applied: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    blocks: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    rewards: Counter[str] = field(default_factory=Counter)
    models: dict[str, ModelTally] = field(default_factory=dict)
    fees: int = 0
    supply: Mapping[str, int] = field(default_factory=dict)
    wealth: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    agents: Mapping[str, Sequence[int]] = field(default_factory=dict)
    in_a_row: dict[str, int] = field(default_factory=dict)
    queued: int = 0
    _thinking: dict[str, tuple[str, int]] = field(default_factory=dict)

    def add(self, entry: Entry) -> None:
        """Count one line of a transcript."""
        if isinstance(entry, TurnRecord):
            self._add_turn(entry)
        else:
            self.add_call(entry[1], entry[2])

    def add_call(self, agent_id: str, call: CallRecord) -> None:
        """Count one call."""
        if call.attempt == NOT_ASKED:
            self.not_asked += 1
            self.in_a_row.pop(agent_id, None)
            return
        model = self.models.setdefault(call.model, ModelTally())
        model.calls += 1
        model.prompt_tokens += call.prompt_tokens
        model.output_tokens += call.output_tokens
        model.duration_ms += call.duration_ms
        self.output_tokens += call.output_tokens
        spent = self._thinking.get(agent_id, ("", 0))[1]
        self._thinking[agent_id] = call.model, spent + call.output_tokens
        self.mends.update(call.mends)
        self.dropped += len(call.dropped)
        if not call.final:
            return
        self.decisions += 1
        if call.failure is None:
            self.in_a_row[agent_id] = 0
            self.repaired += call.attempt > 1
        else:
            self.in_a_row[agent_id] = self.in_a_row.get(agent_id, 0) + 1
            self.failed_decisions += 1
            self.failures[call.failure] += 1
            self.failing[call.failure].add(agent_id)
            self.last_failure = call.failure

    def _add_turn(self, turn: TurnRecord) -> None:
        self.turns = turn.turn
        self.turn_hash = turn.turn_hash
        self.applied.update(turn.applied)
        self.rejected.update(turn.rejected)
        for block in turn.blocks:
            self.blocks[block["kind"], block["producer"], block["status"]] += 1
            self.rewards[block["kind"]] += int(block["reward"])
        self.fees += turn.fees
        self.supply = turn.supply
        self.agents = turn.agents
        self.queued += turn.queued
        for agent_id, holdings in turn.agents.items():
            self.wealth[agent_id].append(sum(holdings[:3]))
        self._charge(turn)

    def _charge(self, turn: TurnRecord) -> None:
        """Share the turn's inference fees out to the models that caused them.  (rules §5)"""
        commons = self.config["commons_per_agent"]
        over = [
            max(0, self._thinking.get(agent_id, ("", 0))[1] - commons) for agent_id in self.roster
        ]
        for agent_id, billed in zip(self.roster, apportion(turn.billed_tokens, over), strict=True):
            if billed:
                model = self._thinking[agent_id][0]
                self.models[model].fees += billed * self.config["inference_price_bps"] // BASIS
        self._thinking.clear()


def apportion(total: int, weights: Sequence[int]) -> list[int]:
    """Split an integer by weights, exactly; units left over go to the largest remainders.

    The rule is that of rules §1; ties go to the earlier weight.
    """
    whole = sum(weights)
    if whole == 0:
        return [0] * len(weights)
    shares = [total * weight // whole for weight in weights]
    left = total - sum(shares)
    order = sorted(
        range(len(weights)), key=lambda place: (-(total * weights[place] % whole), place)
    )
    for place in order[:left]:
        shares[place] += 1
    return shares
