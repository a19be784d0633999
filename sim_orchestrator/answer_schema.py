"""The JSON Schema of an answer: only what the agent can do and pay for now, with its own numbers.

A server that decodes under the schema (Ollama's ``format``) can then generate nothing that is
malformed, names nobody who does not exist, exceeds the action points or, all in all, the balance.

How that is written: the list of actions is one of a few fixed sequences, so many actions of two
points, then so many of one, then free ones. A sequence with n spending actions bounds each by 1/n
of what can be spent; a sequence with one lets it spend everything. Contracts that wait for the
agent are dealt out over the places of a sequence, so that none is decided twice. llama.cpp turns
all this into a grammar, and sequences cost it next to nothing; what it does not know
(``uniqueItems``, sums) is not used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from sim_orchestrator.context.possible import LABOUR_POINTS, Possible, possible
from sim_orchestrator.context.survey import survey
from sim_orchestrator.minds.base import Observation
from sim_orchestrator.proposal_schema import (
    Schema,
    action_schema,
    amount_schema,
    proposal_schemas,
    refer,
    text_schema,
)

TEXT_CHARS: Final = 240
"""The default length of ``thought`` and ``notes``, in characters."""

_MESSAGE_CHARS: Final = 160
_REASON_CHARS: Final = 120
_SPENDING_MAX: Final = 3
"""The most actions of one point in an answer."""

_DECISIONS_MAX: Final = 2
"""The most free decisions on contracts in an answer."""


def answer_schema(observation: Observation, *, text_chars: int = TEXT_CHARS) -> Schema:
    """Build the schema of the answer that the agent can give now.

    Args:
        observation: what the agent knows.
        text_chars: the most characters of ``thought`` and of ``notes``; small models fill them.

    Returns:
        a JSON Schema (draft 2020-12) of ``{"thought", "notes", "actions"}``.
    """
    definitions = _Definitions(observation)
    sequences = [definitions.sequence(*counts) for counts in _counts(definitions)]
    text = {"type": "string", "maxLength": text_chars}
    return {
        "type": "object",
        "properties": {"thought": text, "notes": text, "actions": {"anyOf": sequences}},
        "required": ["thought", "notes", "actions"],
        "additionalProperties": False,
        "$defs": definitions.made,
    }


def _counts(definitions: _Definitions) -> Iterator[tuple[int, int, int, int]]:
    """Yield how many labours, spending actions, decisions and speeches each sequence has."""
    can = definitions.can
    for labours in range(can.labours, -1, -1):
        for spendings in range(_SPENDING_MAX + 1):
            if labours * LABOUR_POINTS + spendings > can.points:
                break
            if spendings and not definitions.offers_spending(labours, spendings):
                break
            for decisions in range(min(len(definitions.waiting), _DECISIONS_MAX) + 1):
                for speeches in (0, 1):
                    if labours + spendings + decisions + speeches:
                        yield labours, spendings, decisions, speeches


class _Definitions:
    """Makes the definitions that the sequences of one answer refer to, each once."""

    def __init__(self, observation: Observation) -> None:
        self.observation = observation
        self.can: Possible = possible(observation)
        self.made: dict[str, Schema] = {}
        self.waiting = _decidable(self.can)
        # One bound for the proposals of all sequences: they are the largest part of the schema.
        limit = self.can.spendable // _SPENDING_MAX
        self.proposals, shared = proposal_schemas(observation, self.can, limit)
        self.made.update(shared)

    def sequence(self, labours: int, spendings: int, decisions: int, speeches: int) -> Schema:
        """Build the schema of one sequence of actions."""
        places = [self._labour(place, labours) for place in range(labours)]
        places += [self._spending(place, labours, spendings) for place in range(spendings)]
        places += [self._decision(place, decisions) for place in range(decisions)]
        places += [self._refer("speak", [self._speak()])] * speeches
        count = len(places)
        return {"type": "array", "prefixItems": places, "minItems": count, "maxItems": count}

    def offers_spending(self, labours: int, spendings: int) -> bool:
        """Tell whether every place for an action of one point has something to offer."""
        return all(self._spendings(place, labours, spendings) for place in range(spendings))

    def _refer(self, name: str, alternatives: Sequence[Schema]) -> Schema:
        if name not in self.made:
            one = len(alternatives) == 1
            self.made[name] = alternatives[0] if one else {"anyOf": list(alternatives)}
        return refer(name)

    def _labour(self, place: int, labours: int) -> Schema:
        kinds = ["mine"]
        if self._studies(labours):
            kinds.append("study")
        if place == 0:
            kinds.insert(0, "job")
        return self._refer("_or_".join(kinds), [action_schema(kind) for kind in kinds])

    def _studies(self, labours: int) -> bool:
        """Tell whether so many studies leave at least half of what can be spent."""
        costs = self.can.studies[:labours]
        return len(costs) == labours > 0 and 2 * sum(costs) <= self.can.spendable

    def _limit(self, labours: int, spendings: int) -> int:
        """Return what each of so many spending actions may spend beside the labours."""
        # One bound whatever the number of labours keeps the definitions few.
        costs = sum(self.can.studies) if labours and self._studies(1) else 0
        return max(0, self.can.spendable - costs) // spendings

    def _spending(self, place: int, labours: int, spendings: int) -> Schema:
        name = f"spend_{labours}_{spendings}_{place}"
        return self._refer(name, self._spendings(place, labours, spendings))

    def _spendings(self, place: int, labours: int, spendings: int) -> list[Schema]:
        limit = self._limit(labours, spendings)
        found = [
            action_schema(
                "sign_contract",
                contract_id={"const": signature.contract_id},
                role={"const": signature.role},
            )
            for signature in self.can.signable[place::spendings]
            if signature.cost <= limit
        ]
        if limit:
            found.append(self._refer(f"pay_{limit}", self._payments(limit)))
        if place == 0:
            if self.observation.agent["staked"]:
                amount = amount_schema(self.observation.agent["staked"])
                found.append(action_schema("unstake", amount=amount))
            if self.proposals:
                found.append(self._refer("proposal", self.proposals))
        return found

    def _payments(self, limit: int) -> list[Schema]:
        amount = amount_schema(limit)
        found = [action_schema("stake", amount=amount), action_schema("burn", amount=amount)]
        if self.can.others:
            to = self._refer("others", [{"enum": list(self.can.others)}])
            memo = self._refer("memo", [text_schema(_REASON_CHARS)])
            found.append(action_schema("transfer", to=to, amount=amount, memo=memo))
        least = max(1, self.observation.config["core_reserve"])
        if survey(self.observation).unsold_cores and limit >= least:
            found.append(action_schema("bid_core", amount=amount_schema(limit, least)))
        return found

    def _decision(self, place: int, decisions: int) -> Schema:
        name = f"decide_{decisions}_{place}"
        return self._refer(name, [d for group in self.waiting[place::decisions] for d in group])

    def _speak(self) -> Schema:
        longest = min(_MESSAGE_CHARS, self.observation.config["max_message_chars"])
        return action_schema("speak", message=text_schema(longest, least=1))


def _decidable(can: Possible) -> list[list[Schema]]:
    """Return, for each contract that the agent can decide on without points, the ways to decide."""
    reason = text_schema(_REASON_CHARS)
    ways: dict[str, list[Schema]] = {}
    for contract_id in can.to_rule:
        ruling: Schema = {"enum": ["proposer", "counterparty", "split"]}
        rule = action_schema("arbitrator_ruling", contract_id={"const": contract_id}, ruling=ruling)
        ways.setdefault(contract_id, []).append(rule)
    for contract_id in can.to_confirm:
        confirm = action_schema("confirm_delivery", contract_id={"const": contract_id})
        ways.setdefault(contract_id, []).append(confirm)
    for contract_id in can.to_dispute:
        dispute = action_schema(
            "dispute_delivery", contract_id={"const": contract_id}, reason=reason
        )
        ways.setdefault(contract_id, []).append(dispute)
    return list(ways.values())
