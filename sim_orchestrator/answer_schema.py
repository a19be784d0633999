"""The JSON Schema of an answer: only what the agent can do and pay for now, with its own numbers.

A server that decodes under the schema (Ollama's ``format``) can then generate nothing that is
malformed, names nobody who does not exist, exceeds the action points or, all in all, the balance.

How that is written: the list of actions is one of a few fixed sequences, so many actions of two
points, then so many of one, then free ones. A sequence with n spending actions bounds each by 1/n
of what can be spent; a sequence with one lets it spend everything. Contracts that wait for the
agent are dealt out over the places of a sequence, so that none is decided twice. llama.cpp turns
all this into a grammar, and sequences cost it next to nothing; what it does not know
(``uniqueItems``, sums) is not used. An answer without any action is not offered, since work is free
and paid; ``parse_answer`` accepts one all the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from sim_orchestrator.context.possible import (
    FREE_MAX,
    LABOUR_POINTS,
    SPENDING_MAX,
    Possible,
    possible,
)
from sim_orchestrator.minds.base import Observation
from sim_orchestrator.proposal_schema import (
    Schema,
    action_schema,
    amount_schema,
    either,
    proposal_schemas,
    refer,
    text_schema,
)

TEXT_CHARS_MIN: Final = 60
TEXT_CHARS_MAX: Final = 600
_MESSAGE_CHARS_MIN: Final = 80
_REASON_CHARS: Final = 120
_FEE_MAX: Final = 20
_FEE_PART: Final = 20
"""A payment is offered a fee of at most a twentieth of what it may spend."""


def text_chars_that_are_free(config: Mapping[str, int]) -> int:
    """Return how long thought and notes may be so that the whole answer costs nothing, about.

    As many characters each as there are free tokens for each agent: the two then take half of those
    tokens, and the actions have the rest.
    """
    return min(max(config["commons_per_agent"], TEXT_CHARS_MIN), TEXT_CHARS_MAX)


def answer_schema(observation: Observation, *, text_chars: int | None = None) -> Schema:
    """Build the schema of the answer that the agent can give now.

    Args:
        observation: what the agent knows.
        text_chars: the most characters of ``thought`` and of ``notes``; small models fill them.
            The default follows from the tokens that are free in this world.

    Returns:
        a JSON Schema (draft 2020-12) of ``{"thought", "notes", "actions"}``.
    """
    can = possible(observation)
    longest = text_chars_that_are_free(observation.config) if text_chars is None else text_chars
    labour, spending = _Labour(can), _Spending(observation, can)
    free = _Free(observation, can, max(_MESSAGE_CHARS_MIN, longest * 2 // 3))
    sequences = [
        _sequence([*labour.places(works), *spending.places(works, payments), *free.places(rest)])
        for works in range(can.labours, -1, -1)
        for payments in spending.counts(works)
        for rest in range(free.most + 1)
        if works + payments + rest
    ]
    text = text_schema(longest)
    return {
        "type": "object",
        "properties": {"thought": text, "notes": text, "actions": {"anyOf": sequences}},
        "required": ["thought", "notes", "actions"],
        "additionalProperties": False,
        "$defs": {**labour.made, **spending.made, **free.made},
    }


def _sequence(places: list[Schema]) -> Schema:
    count = len(places)
    return {"type": "array", "prefixItems": places, "minItems": count, "maxItems": count}


class _Places:
    """Definitions that sequences refer to, each made once."""

    def __init__(self) -> None:
        self.made: dict[str, Schema] = {}

    def define(self, name: str, alternatives: list[Schema]) -> Schema:
        """Define a name as one of the alternatives, and return a reference to it."""
        self.made[name] = either(alternatives)
        return refer(name)


class _Labour(_Places):
    """The actions of two points: ``job`` once, ``mine``, and ``study`` if it can be paid."""

    def __init__(self, can: Possible) -> None:
        super().__init__()
        self.can = can
        for studies in (False, True):
            kinds = ["mine", "study"] if studies else ["mine"]
            works = [action_schema(kind) for kind in kinds]
            name = "or_study" if studies else "only"
            self.define(f"work_{name}", works)
            self.define(f"job_{name}", [action_schema("job"), *works])

    def places(self, works: int) -> list[Schema]:
        """Return the places of so many works; the first may be the job."""
        name = "or_study" if _may_study(self.can, works) else "only"
        return [refer(f"work_{name}" if place else f"job_{name}") for place in range(works)]


def _may_study(can: Possible, times: int) -> bool:
    """Tell whether so many studies leave at least half of what can be spent."""
    costs = can.studies[:times]
    return len(costs) == times > 0 and 2 * sum(costs) <= can.spendable


class _Spending(_Places):
    """The actions of one point: signatures, payments, and one proposal or withdrawal."""

    def __init__(self, observation: Observation, can: Possible) -> None:
        super().__init__()
        self.observation = observation
        self.can = can
        self.limits: set[int] = set()
        # One bound for the proposals of all sequences: they are the largest part of the schema.
        proposals, shared = proposal_schemas(observation, can, can.spendable // SPENDING_MAX)
        self.made.update(shared)
        self.first: list[Schema] = [self.define("proposal", proposals)] if proposals else []
        staked = observation.agent["staked"]
        if staked:
            self.first.append(action_schema("unstake", amount=amount_schema(staked)))
        self.signatures = {
            signature.contract_id: self.define(
                f"sign_{signature.contract_id}",
                [
                    action_schema(
                        "sign_contract",
                        contract_id={"const": signature.contract_id},
                        role={"const": signature.role},
                    )
                ],
            )
            for signature in can.signable
        }

    def counts(self, works: int) -> Iterator[int]:
        """Yield how many places a sequence with so many works can have."""
        yield 0
        for payments in range(1, SPENDING_MAX + 1):
            if works * LABOUR_POINTS + payments > self.can.points:
                return
            if not all(self._offers(place, works, payments) for place in range(payments)):
                return
            yield payments

    def places(self, works: int, payments: int) -> list[Schema]:
        """Return the places of so many payments beside so many works."""
        after_work = 1 if works else 0
        return [refer(f"pay_{after_work}_{payments}_{place}") for place in range(payments)]

    def _offers(self, place: int, works: int, payments: int) -> bool:
        """Define a place, unless nothing could stand there."""
        name = f"pay_{1 if works else 0}_{payments}_{place}"
        if name not in self.made:
            offered = self._offered(place, works, payments)
            if not offered:
                return False
            self.define(name, offered)
        return True

    def _offered(self, place: int, works: int, payments: int) -> list[Schema]:
        # One bound whatever the number of works keeps the definitions few.
        studies = sum(self.can.studies) if works and _may_study(self.can, 1) else 0
        limit = max(0, self.can.spendable - studies) // payments
        found = [
            self.signatures[signature.contract_id]
            for signature in self.can.signable[place::payments]
            if signature.cost <= limit
        ]
        if limit:
            found.append(self._payments(limit))
        return found + self.first if place == 0 else found

    def _payments(self, limit: int) -> Schema:
        """Define the ways to spend up to the limit."""
        if limit in self.limits:
            return refer(f"up_to_{limit}")
        self.limits.add(limit)
        most_fee = min(_FEE_MAX, limit // _FEE_PART)
        fee = {"fee": amount_schema(most_fee)} if most_fee else {}
        most = limit - most_fee
        amount = self.define(f"amount_{limit}", [amount_schema(most)])
        found = [
            action_schema("stake", amount=amount, **fee),
            action_schema("burn", amount=amount, **fee),
        ]
        if self.can.others:
            self.made.setdefault("others", {"enum": list(self.can.others)})
            self.made.setdefault("memo", text_schema(_REASON_CHARS))
            found.append(
                action_schema(
                    "transfer", to=refer("others"), amount=amount, memo=refer("memo"), **fee
                )
            )
        least = max(1, self.observation.config["core_reserve"])
        if self.can.world.unsold_cores and most >= least:
            found.append(action_schema("bid_core", amount=amount_schema(most, least), **fee))
        return self.define(f"up_to_{limit}", found)


class _Free(_Places):
    """The actions without points: decisions on contracts, and speech."""

    def __init__(self, observation: Observation, can: Possible, message_chars: int) -> None:
        super().__init__()
        waiting = [
            self.define(f"decide_{contract_id}", ways)
            for contract_id, ways in _decisions(can).items()
        ]
        config = observation.config
        longest = min(message_chars, config["max_message_chars"])
        speak = self.define(
            "speak", [action_schema("speak", message=text_schema(longest, least=1))]
        )
        self.most = min(FREE_MAX, len(waiting) + 1)
        for count in range(1, self.most + 1):
            for place in range(count):
                speaks = count - place <= config["speech_per_turn"]
                offered = waiting[place::count] + ([speak] if speaks else [])
                self.define(f"free_{count}_{place}", offered or waiting)

    def places(self, count: int) -> list[Schema]:
        """Return the places of so many free actions."""
        return [refer(f"free_{count}_{place}") for place in range(count)]


def _decisions(can: Possible) -> dict[str, list[Schema]]:
    """Return, for each contract that the agent can decide on without points, the ways to decide."""
    ways: dict[str, list[Schema]] = {}
    for contract_id in can.to_rule:
        ruling: Schema = {"enum": ["proposer", "counterparty", "split"]}
        rule = action_schema("arbitrator_ruling", contract_id={"const": contract_id}, ruling=ruling)
        ways.setdefault(contract_id, []).append(rule)
    for contract_id in can.to_confirm:
        confirm = action_schema("confirm_delivery", contract_id={"const": contract_id})
        ways.setdefault(contract_id, []).append(confirm)
    for contract_id in can.to_dispute:
        reason = text_schema(_REASON_CHARS)
        dispute = action_schema(
            "dispute_delivery", contract_id={"const": contract_id}, reason=reason
        )
        ways.setdefault(contract_id, []).append(dispute)
    return ways
