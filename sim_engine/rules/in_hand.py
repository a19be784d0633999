"""The turn in hand: what was submitted for it, and what its phases leave for one another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sim_engine.rules.rejections import Rejected
from sim_engine.rules.state import Agent, Block, Contract, Core, World
from sim_engine.types.actions import Action
from sim_engine.types.conditions import ActionType

Plan = dict[Agent, Sequence[int]]
"""The places of each agent's actions among all of a turn, in its own order."""


@dataclass(slots=True)
class Dividend:
    """What an owned core paid to its owner in this turn."""

    core_id: int
    owner: str
    amount: int


@dataclass(slots=True)
class Submitted:
    """Everything that was handed in for a turn, resolved to the agents of the world.

    ``actions`` is flat, in the order of the receipts: those of the request first, queued ones after
    them. ``plan`` holds the agents that act.
    """

    actions: list[Action]
    plan: Plan
    inference: list[tuple[Agent, int]]
    """The output tokens of each agent whose thinking was reported."""


def make_plan(
    requested: Iterable[tuple[Agent, int]], queued: Iterable[Agent]
) -> tuple[Plan, list[str]]:
    """Number the actions of a turn: those of each agent's submission, then the queued ones.

    Takes how many actions each agent submitted, and whose the queued ones are, one by one. Returns
    the plan, and the agent of each action by its id.
    """
    plan: Plan = {}
    agent_ids: list[str] = []
    first = 0
    for agent, count in requested:
        if count:
            plan[agent] = range(first, first + count)
            agent_ids += [agent.agent_id] * count
            first += count
    waiting: dict[Agent, list[int]] = {}
    for seq, agent in enumerate(queued, start=first):
        waiting.setdefault(agent, []).append(seq)
        agent_ids.append(agent.agent_id)
    for agent, places in waiting.items():
        plan[agent] = [*plan.get(agent, ()), *places]
    return plan, agent_ids


@dataclass(slots=True, eq=False)
class Turn:
    """One turn while its phases run. Only the phases of ``rules.turn`` write to it."""

    world: World
    number: int
    submitted: Submitted
    outcomes: list[Rejected | None] = field(init=False)
    """What became of each action: None if it was applied."""
    output_tokens: int = field(init=False)
    """What all reported together."""
    seq: int = 0
    """Place of the action in hand in ``submitted.actions``."""

    billed: dict[Agent, int] = field(default_factory=dict)
    """Output tokens that each agent is billed for."""
    billed_tokens: int = 0
    inference_fees: dict[Agent, int] = field(default_factory=dict)
    """What each agent paid to ``cores`` for them (tokens)."""
    dividends: list[Dividend] = field(default_factory=list)
    mines: dict[Agent, int] = field(default_factory=dict)
    """Applied ``mine`` actions by agent."""
    workers: dict[Agent, None] = field(default_factory=dict)
    speeches: list[tuple[Agent, str]] = field(default_factory=list)
    speech_counts: dict[Agent, int] = field(default_factory=dict)
    unit_bids: dict[Agent, list[int]] = field(default_factory=dict)
    """The amounts of an agent's unit bids, numbered from 0 in the order of bidding (rules §7)."""
    blocks: list[Block] = field(default_factory=list)
    changed_agents: set[Agent] = field(default_factory=set)
    """Agents with a change that is no movement of tokens."""
    changed_contracts: dict[int, Contract] = field(default_factory=dict)
    changed_cores: dict[int, Core] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin with nothing rejected."""
        self.outcomes = [None] * len(self.submitted.actions)
        self.output_tokens = sum([tokens for _, tokens in self.submitted.inference])

    @property
    def reference(self) -> str:
        """The action in hand as the reference of an entry."""
        return f"action:{self.seq}"

    def hand_over(self, core: Core, owner: Agent) -> None:
        """Give a core to an agent."""
        core.owner = owner
        self.changed_cores[core.core_id] = core

    def applied(self, agent: Agent, action_type: ActionType) -> int:
        """Count the agent's applied actions of a type, once all have acted."""
        return sum(
            self.outcomes[seq] is None and self.submitted.actions[seq].type == action_type
            for seq in self.submitted.plan.get(agent, ())
        )

    def all_changed_agents(self) -> list[Agent]:
        """List the agents that differ from before the turn, in roster order."""
        changed: set[int | None] = {account.position for account in self.world.books.touched}
        changed.update([agent.position for agent in self.changed_agents])
        roster = self.world.roster
        return [roster[place] for place in sorted(p for p in changed if p is not None)]
