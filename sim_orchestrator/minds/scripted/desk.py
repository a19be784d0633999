"""What an archetype works at: its turn's budget of points and tokens, and its list of actions."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, Final

from sim_orchestrator.minds.base import Observation

POINTS: Final = {
    "mine": 2,
    "study": 2,
    "job": 2,
    "confirm_delivery": 0,
    "dispute_delivery": 0,
    "arbitrator_ruling": 0,
    "speak": 0,
}
"""Action points by action type; every other action takes one.  (rules §6)"""

Contract = Any
"""A contract as the engine shows it: a JSON object."""


class Desk:
    """One agent's turn in the making.

    An action is taken only if points and tokens suffice, counting those taken before it.
    """

    def __init__(self, observation: Observation, seed: str) -> None:
        self.seen = observation
        self.turn = observation.turn
        self.me = observation.agent_id
        self.config = observation.config
        self.agent = observation.agent
        self.seed = seed
        self.dice = self.dice_for(f"turn {observation.turn}")
        self.points = self.config["action_points"]
        self.funds = max(0, int(self.agent["balance"]))
        self.actions: list[dict[str, Any]] = []

    def dice_for(self, occasion: str) -> random.Random:
        """Return dice that fall the same way whenever this agent meets the same occasion."""
        return random.Random(f"{self.seed}/{self.me}/{occasion}")

    def take(self, action_type: str, *, cost: int = 0, **fields: Any) -> bool:
        """Add an action if it can be paid for; return whether it was added.

        Args:
            action_type: the type of the action.
            cost: the tokens it moves away from this agent, its fee aside.
            fields: the action's other fields.
        """
        points = POINTS.get(action_type, 1)
        cost += fields.get("fee", 0)
        if points > self.points or (cost and cost > self.funds):
            return False
        self.points -= points
        self.funds -= cost
        self.actions.append({"type": action_type, **fields})
        return True

    def every(self, turns: int, *, after: int = 0) -> bool:
        """Return whether this is one of the turns ``after + turns``, ``after + 2 × turns``, …"""
        return self.turn > after and (self.turn - after) % turns == 0

    def others(self) -> list[str]:
        """Return everybody else, beginning with the neighbour in the roster."""
        roster = [agent["agent_id"] for agent in self.seen.state["agents"]]
        place = roster.index(self.me)
        return roster[place + 1 :] + roster[:place]

    def partners(self, count: int) -> list[str] | None:
        """Return other agents to make a contract with, different ones in every turn."""
        others = self.others()
        if len(others) < count:
            return None
        start = self.turn % len(others)
        return (others[start:] + others[:start])[:count]

    def contracts(self, *statuses: str) -> Iterator[Contract]:
        """Return this agent's contracts that have one of these statuses."""
        for contract in self.seen.contracts:
            if contract["status"] in statuses:
                yield contract

    def propose(
        self,
        contract_type: str,
        terms: dict[str, Any],
        *,
        up_front: int = 0,
        duration: int = 4,
        **fields: Any,
    ) -> bool:
        """Propose a contract to the partners of this turn; return whether that was possible.

        Args:
            contract_type: one of the six types.
            terms: the type's terms.
            up_front: what the proposer pays in with its signature by these terms (tokens).
            duration: turns from activation to the due turn.
            fields: settlement and collaterals.
        """
        partners = self.partners(2)
        if partners is None:
            return False
        cost = up_front + fields.get("proposer_collateral", 0) + self.config["arbitrator_fee"]
        return self.take(
            "propose_contract",
            cost=cost,
            contract_type=contract_type,
            counterparty=partners[0],
            arbitrator=partners[1],
            duration=duration,
            terms=terms,
            **fields,
        )
