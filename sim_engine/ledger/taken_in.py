"""Rebuild what a turn took in from its rows, to play it again.

The rows of ``submissions``, ``actions`` and ``inference`` can not be made from anything else; what
is refused here is what no engine would have taken in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

import orjson
from pydantic import TypeAdapter, ValidationError

from sim_engine.ledger import tables
from sim_engine.ledger.audit import key_of, read_json
from sim_engine.ledger.journal import Intake, Usage
from sim_engine.ledger.pages import PAYLOAD, QUEUED, Pages
from sim_engine.ledger.report import Broken, Difference
from sim_engine.ledger.rows import Values, to_json
from sim_engine.rules.in_hand import Submitted, make_plan
from sim_engine.rules.state import Agent
from sim_engine.types.actions import Action
from sim_engine.types.fields import Amount
from sim_engine.types.requests import ACTION_ADAPTER, ACTIONS_ADAPTER, ModelName, OutputTokens

TABLES: Final = ("submissions", "actions", "inference")

SENDER: Final = tables.place_of(tables.submissions.c.agent_id)
COUNT: Final = tables.place_of(tables.submissions.c.actions)
OWNER: Final = tables.place_of(tables.actions.c.agent_id)
USER: Final = tables.place_of(tables.inference.c.agent_id)
"""Places in whole rows of those tables."""

KNOWN_ACTIONS_MAX: Final = 1_000
"""How many actions are kept to be known again by their payloads."""

IN_ROSTER: Final = "an agent of the roster"

_USAGE_ADAPTER: Final = TypeAdapter(
    tuple[list[ModelName], list[Amount], list[OutputTokens], list[Amount]]
)
"""Columns of ``inference``: model, prompt tokens, output tokens, duration."""


class TakenIn:
    """What turns took in, among the agents of a world."""

    def __init__(self, pages: Pages, agents: Mapping[str, Agent]) -> None:
        """Read from an open ledger."""
        self._pages = pages
        self._agents = agents
        self._known: dict[str, Action] = {}
        """Actions by payload."""
        self.last_queued = 0
        """The last id that left the pending pool."""
        self.hashed: dict[str, tuple[int, str]] = {}
        """Number and digest of the rows of each table that the turn took in, as they are stored."""

    def of_turn(self, turn: int) -> Intake:
        """Rebuild what a turn took in. Raises Broken where no engine would have taken it in."""
        submissions = self._values("submissions", turn)
        payloads, queued, count, digest = self._pages.payloads_of_turn(turn)
        self.hashed["actions"] = count, digest
        inference = self._values("inference", turn)
        senders = self._owners("submissions", submissions, SENDER)
        users = self._owners("inference", inference, USER)
        self._check_queued(queued)
        requested = count - len(queued)
        counts = [row[COUNT] for row in submissions]
        if not _add_up(senders, counts, requested):
            _blame_a_submission(submissions, requested)
        if users != senders:
            _check_users(inference, users, senders)
        plan, agent_ids = make_plan(
            zip(senders, counts, strict=True), self._owners("actions", queued, OWNER)
        )
        actions = self._read_actions(turn, payloads)
        usage = _read_usage(inference)
        used = [(user, row[3]) for user, row in zip(users, usage, strict=True)]
        return Intake(
            Submitted(actions, plan, used),
            [(row[SENDER], row[COUNT]) for row in submissions],
            payloads,
            agent_ids,
            [row[QUEUED] for row in queued],
            usage,
        )

    def _check_queued(self, queued: Sequence[Values]) -> None:
        """Check that actions left the pool in the order of their ids. Raises Broken."""
        for row in queued:
            queued_id = row[QUEUED]
            if type(queued_id) is not int or queued_id <= self.last_queued:
                expected = f"an id above {self.last_queued}"
                raise Broken(Difference("actions", key_of("actions", row), queued_id, expected))
            self.last_queued = queued_id

    def _values(self, table: str, turn: int) -> Sequence[Values]:
        stored, digest = self._pages.values_of_turn(table, turn)
        self.hashed[table] = len(stored), digest
        return stored

    def _owners(self, table: str, stored: Sequence[Values], column: int) -> list[Agent]:
        """Find the agents that rows belong to. Raises Broken for one that is not in the roster."""
        agents = self._agents
        try:
            return [agents[row[column]] for row in stored]
        except (KeyError, TypeError):
            lost = next(row for row in stored if row[column] not in agents)
            raise Broken(Difference(table, key_of(table, lost), lost, IN_ROSTER)) from None

    def _read_actions(self, turn: int, payloads: list[Any]) -> list[Action]:
        """Read the payloads of a turn's actions. Raises Broken for one that is none.

        Most are said again and again, and need not be read again: no rule changes an action.
        """
        known = self._known
        if len(known) > KNOWN_ACTIONS_MAX:
            known.clear()
        try:
            new = list(set(payloads).difference(known))
            known.update(zip(new, _read_payloads(new), strict=True))
            return [known[payload] for payload in payloads]
        except (ValidationError, ValueError, TypeError):
            _blame_a_payload(self._pages.of_turn("actions", turn))
            raise


def _read_payloads(payloads: list[str]) -> list[Action]:
    """Validate actions all at once. Raises ValueError or ValidationError if one is none."""
    values = [orjson.loads(payload) for payload in payloads]
    if [to_json(value) for value in values] != payloads:
        raise ValueError("a payload is not written as an engine writes it")
    return ACTIONS_ADAPTER.validate_python(values)


def check_action(table: str, key: str, payload: Any) -> Any:
    """Read a payload, which must be a valid action. Raises Broken where it is none."""
    value = read_json(table, key, payload)
    try:
        ACTION_ADAPTER.validate_python(value)
    except ValidationError:
        raise Broken(Difference(table, key, payload, "a valid action")) from None
    return value


def _blame_a_payload(stored: Sequence[Values]) -> None:
    """Find the payload that is no action, or not written as one. Raises Broken for it."""
    for row in stored:
        key = key_of("actions", row)
        value = check_action("actions", key, row[PAYLOAD])
        if to_json(value) != row[PAYLOAD]:
            raise Broken(Difference("actions", key, row[PAYLOAD], to_json(value)))


def _add_up(senders: list[Agent], counts: list[Any], requested: int) -> bool:
    """Tell whether each agent submitted once, and their actions are as many as there are."""
    if len(set(senders)) < len(senders) or not set(map(type, counts)) <= {int}:
        return False
    return min(counts, default=0) >= 0 and sum(counts) == requested


def _blame_a_submission(submissions: Sequence[Values], requested: int) -> NoReturn:
    """Find the submission that no engine would have taken in. Raises Broken for it."""
    seen = set()
    left = requested
    for row in submissions:
        _, _, agent_id, count = row
        if type(count) is not int or not 0 <= count <= left or agent_id in seen:
            expected = f"the only submission of an agent, of at most {left} actions"
            raise Broken(Difference("submissions", key_of("submissions", row), row, expected))
        seen.add(agent_id)
        left -= count
    key = key_of("submissions", submissions[-1]) if submissions else "all"
    raise Broken(Difference("submissions", key, requested - left, f"{requested} actions"))


def _check_users(usage: Sequence[Values], users: list[Agent], senders: list[Agent]) -> None:
    """Check that usage was reported by submissions, in their order. Raises Broken."""
    left = iter(senders)
    for row, user in zip(usage, users, strict=True):
        if user not in left:
            expected = "usage of an agent that submitted, in the order of the submissions"
            raise Broken(Difference("inference", key_of("inference", row), row, expected))


def _read_usage(stored: Sequence[Values]) -> list[Usage]:
    """Validate what a turn's models used, all at once. Raises Broken for what can not be."""
    if not stored:
        return []
    _, agent_ids, models, prompts, outputs, _, _, durations, _ = zip(*stored, strict=True)
    try:
        _USAGE_ADAPTER.validate_python((models, prompts, outputs, durations))
    except ValidationError as error:
        row = stored[int(error.errors()[0]["loc"][1])]
        raise Broken(
            Difference("inference", key_of("inference", row), row, "a report of usage")
        ) from None
    return list(zip(agent_ids, models, prompts, outputs, durations, strict=True))
