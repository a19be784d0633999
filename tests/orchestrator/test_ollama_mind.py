"""One decision of a mind that asks a model, against a server that answers as models do."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from sim_orchestrator.minds.base import CallRecord, Decision
from sim_orchestrator.minds.hosts import HostPool
from sim_orchestrator.minds.ollama import OllamaMind
from tests.orchestrator.observations import observation
from tests.orchestrator.stub_ollama import (
    MODEL,
    Behaviour,
    Hang,
    Http,
    Reply,
    Say,
    StubOllama,
    say,
)

JOB = {"type": "job"}


@dataclass
class Log:
    """A call log in memory."""

    before: Sequence[CallRecord] = ()
    ends_at: float = 1e12
    calls: list[CallRecord] = field(default_factory=list)

    def earlier(self) -> Sequence[CallRecord]:
        return self.before

    def seconds_left(self) -> float:
        return self.ends_at - time.monotonic()

    def record(self, call: CallRecord) -> None:
        self.calls.append(call)


def decide(
    behave: Behaviour,
    log: Log | None = None,
    *,
    timeout: float = 5.0,
    options: dict[str, Any] | None = None,
) -> tuple[Decision, list[dict[str, Any]]]:
    """Let a mind decide once; return the decision and the requests that the server got."""

    async def main(stub: StubOllama) -> Decision:
        pool = HostPool([stub.url], parallel=2, reach_hint="")
        pool.hosts[0].models = [MODEL]
        mind = OllamaMind(
            pool,
            model=MODEL,
            options={"num_ctx": 8192, "num_predict": 300} | (options or {}),
            think=False,
            timeout=timeout,
        )
        try:
            return await mind.decide(observation(), log or Log())
        finally:
            await pool.close()

    with StubOllama(behave=behave) as stub:
        return asyncio.run(main(stub)), stub.requests


def test_a_good_answer_is_a_decision():
    log = Log()
    decision, requests = decide(lambda request, number: say(), log)
    assert decision.actions == [JOB]
    assert (decision.notes, decision.failure) == ("I worked", None)
    (call,) = decision.calls
    assert log.calls == [call]
    assert (call.attempt, call.model, call.final) == (1, MODEL, True)
    assert (call.prompt_tokens, call.output_tokens, call.server_ms) == (1000, 40, 5)
    assert call.messages == requests[0]["messages"]
    assert requests[0]["options"]["num_ctx"] == 8192
    assert requests[0]["format"]["type"] == "object"


STAKE = {"type": "stake", "amount": 30}
CUT_OFF = '{"thought": "t", "actions": [{"type": "job"}, {"type": "stake", "am'
OF_ANOTHER = '{"actions": [{"agent_id": "agent_1", "type": "mine"}, {"type": "job"}]}'
ODD_ANSWERS = [
    ("fenced", "```json\n" + json.dumps({"actions": [JOB]}) + "\n```", [JOB]),
    ("prose around", f"Sure! {json.dumps({'actions': [JOB]})} Good luck.", [JOB]),
    ("after thinking", f"<think>hm</think>{json.dumps({'actions': [JOB]})}", [JOB]),
    ("a list", json.dumps([JOB]), [JOB]),
    ("numbers as strings", '{"actions": [{"type": "stake", "amount": "30"}]}', [STAKE]),
    ("numbers as floats", '{"actions": [{"type": "stake", "amount": 30.0}]}', [STAKE]),
    ("cut off", CUT_OFF, [JOB]),
    ("for another agent", OF_ANOTHER, [JOB]),
    ("unknown action", '{"actions": [{"type": "fly"}, {"type": "job"}]}', [JOB]),
]


@pytest.mark.parametrize(("content", "actions"), [row[1:] for row in ODD_ANSWERS])
def test_an_odd_answer_is_mended_and_not_asked_again(content, actions):
    done_reason = "length" if content == CUT_OFF else "stop"
    decision, requests = decide(lambda request, number: Say(content, done_reason=done_reason))
    assert decision.actions == actions
    assert decision.calls[0].mends or decision.calls[0].dropped
    assert len(requests) == 1


def test_ten_thousand_actions_are_cut_to_a_sane_number():
    many = json.dumps({"actions": [{"type": "speak", "message": str(i)} for i in range(10_000)]})
    decision, _ = decide(lambda request, number: Say(many))
    assert len(decision.actions) == 6
    assert "9994 actions" in decision.dropped[-1]


@pytest.mark.parametrize("content", ["", "I would rather not.", "{", "null"])
def test_what_can_not_be_read_gets_one_repair_call_that_quotes_it(content):
    def behave(request: dict[str, Any], number: int) -> Reply:
        return Say(content, output_tokens=7) if number == 1 else say()

    decision, requests = decide(behave)
    assert decision.actions == [JOB]
    first, second = decision.calls
    assert (first.final, second.final) == (False, True)
    assert first.failure
    assert first.output_tokens + second.output_tokens == 47
    assert requests[1]["messages"][:2] == requests[0]["messages"]
    quoted = str(first.failure).replace('"', "'")
    assert quoted in requests[1]["messages"][-1]["content"]


def test_an_answer_of_thinking_alone_gets_a_repair_call_that_says_so():
    def behave(request: dict[str, Any], number: int) -> Reply:
        return Say("", thinking="hm …", done_reason="length") if number == 1 else say()

    decision, requests = decide(behave)
    first, second = decision.calls
    assert (first.thinking, second.thinking) == ("hm …", "")
    assert "it never stopped thinking" in requests[1]["messages"][-1]["content"]
    assert decision.actions == [JOB]


def test_after_the_repair_call_it_is_a_failure_with_no_actions():
    decision, requests = decide(lambda request, number: Say("No.", done_reason="stop"))
    assert len(requests) == 2
    assert decision.actions == []
    assert decision.failure is not None


def test_a_call_that_was_paid_for_is_not_made_again():
    paid = CallRecord(
        attempt=1,
        model=MODEL,
        messages=[{"role": "user", "content": "before the crash"}],
        raw="no json",
        failure="there is no JSON in it",
        final=False,
        output_tokens=9,
    )
    decision, requests = decide(lambda request, number: say(), Log(before=[paid]))
    assert len(requests) == 1
    assert requests[0]["messages"][0]["content"] == "before the crash"
    assert decision.calls[0] == paid
    assert decision.actions == [JOB]


def test_a_refusal_costs_the_turn_and_no_repair_call():
    refusal = Http(400, b'{"error": "prompt too long"}')
    decision, requests = decide(lambda request, number: refusal)
    assert len(requests) == 1
    assert decision.calls[0].final
    assert "prompt too long" in str(decision.failure)


def test_a_call_has_its_own_limit_and_the_turn_a_deadline():
    decision, _ = decide(lambda request, number: Hang(), timeout=0.2)
    assert decision.failure == "no answer within 0.2 seconds"
    late = Log(ends_at=time.monotonic() + 0.3)
    decision, _ = decide(lambda request, number: Hang(), late)
    assert decision.failure == "the turn's deadline passed before its answer came"


def test_a_repair_call_is_not_made_after_the_deadline():
    late = Log(ends_at=time.monotonic() + 0.5)
    slow_prose = Say("prose", after_seconds=0.4)
    decision, _ = decide(
        lambda request, number: slow_prose if number == 1 else Hang(), late, timeout=30
    )
    assert len(decision.calls) == 2
    assert "deadline" in str(decision.failure)


def test_a_context_that_holds_nothing_is_a_failure():
    decision, requests = decide(lambda request, number: say(), options={"num_ctx": 600})
    assert requests == []
    assert decision.failure
