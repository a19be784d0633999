"""What each agent gets to see, on a real engine."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from sim_orchestrator.engine_client import EngineClient
from sim_orchestrator.minds.base import CallRecord, Decision, Observation
from sim_orchestrator.observer import Observer, history_entry, involved, may_read

SALE = {
    "type": "sell_information",
    "to": "bob",
    "arbitrator": "cid",
    "price": 50,
    "title": "a secret",
    "content": "canary-1177",
    "settlement": "attested",
    "duration": 5,
}
ROSTER = ("ann", "bob", "cid", "dan")


def play(engine: Any, *turns: dict[str, list[dict[str, Any]]]) -> dict[str, Observation]:
    """Play these turns; return what everybody sees then."""

    async def main() -> Mapping[str, Observation]:
        client = EngineClient(engine.url)
        try:
            await client.init({"seed": "s", "agents": list(ROSTER)})
            observer = Observer(client, dict.fromkeys(ROSTER, "P"), await client.config())
            for number, actions in enumerate(turns, 1):
                await observer.look()
                parts = [
                    {"agent_id": name, "actions": done, "inference": {"output_tokens": 400}}
                    for name, done in actions.items()
                ]
                observer.sealed(await client.submit(number, parts))
            observer.remember("ann", decided(70, notes="mind the gap"))
            observer.remember("bob", decided(0, failure="prose"))
            observer.remember("cid", decided(9, dropped=["action 2: it has no type"]))
            away = CallRecord(attempt=1, model="m", failure="http://x: no connection")
            observer.remember("dan", Decision(calls=(away,)))
            return await observer.observations(await observer.look(), ROSTER)
        finally:
            await client.close()

    return dict(asyncio.run(main()))


def decided(tokens: int, **fields: Any) -> Decision:
    first = CallRecord(attempt=1, model="m", output_tokens=tokens, final=False)
    return Decision(calls=(first, CallRecord(attempt=2, model="m", output_tokens=1, **fields)))


def contents(seen: Observation) -> list[str]:
    return [contract["terms"].get("content", "-") for contract in seen.contracts]


def test_everybody_sees_the_world_and_only_its_own_part(engine):
    seen = play(engine, {"ann": [{"type": "job"}, {"type": "study"}], "bob": [{"type": "job"}]})
    ann, bob = seen["ann"], seen["bob"]
    assert ann.state is bob.state
    assert ann.turn == 2
    assert ann.agent["private"]["insights"]
    assert not bob.agent["private"]["insights"]
    assert ann.history[0]["applied"] == {"job": 2, "study": 1}
    assert ann.history[0]["output_tokens"] == 800
    assert ann.core_income == (ann.history[0]["fees"] // 4,)
    assert (ann.notes, ann.output_tokens, ann.persona) == ("mind the gap", (71,), "P")
    assert bob.notes == ""
    told = {name: (each.dropped, each.failure) for name, each in seen.items()}
    assert told == {
        "ann": ([], None),
        "bob": ([], "prose"),
        "cid": (["action 2: it has no type"], None),
        "dan": ([], ""),
    }


def test_what_was_wrong_with_an_answer_outlives_a_repair_that_never_came():
    prose = CallRecord(attempt=1, model="m", raw="hm", failure="no JSON", final=False)
    late = CallRecord(attempt=2, model="m", failure="no answer within 3 seconds")
    assert Decision(calls=(prose, late)).own_failure == "no JSON"
    assert Decision(calls=(late,)).own_failure == ""
    assert Decision(calls=(prose, CallRecord(attempt=2, model="m", raw="{}"))).own_failure is None


def test_a_transfer_and_its_memo_reach_the_recipient_alone(engine):
    async def main() -> Mapping[str, Observation]:
        client = EngineClient(engine.url)
        try:
            await client.init({"seed": "s", "agents": list(ROSTER)})
            observer = Observer(client, dict.fromkeys(ROSTER, "P"), await client.config())
            paid = {"type": "transfer", "to": "bob", "amount": 7, "memo": "for the loan"}
            refused = {"type": "transfer", "to": "bob", "amount": 10**9, "memo": "never"}
            actions = [{"type": "job"}, refused, paid]
            observer.sealed(await client.submit(1, [{"agent_id": "ann", "actions": actions}]))
            observer.remember("ann", decided(0, actions=actions))
            return await observer.observations(await observer.look(), ROSTER)
        finally:
            await client.close()

    seen = asyncio.run(main())
    assert seen["bob"].received == [{"from": "ann", "amount": 7, "memo": "for the loan"}]
    assert not seen["cid"].received


def test_speech_of_the_last_two_turns_is_heard_by_all(engine):
    def speaks(text: str) -> dict[str, list[dict[str, Any]]]:
        return {"ann": [{"type": "speak", "message": text}]}

    seen = play(engine, speaks("one"), speaks("two"), speaks("three"))
    heard = [(each["turn"], each["message"]) for each in seen["dan"].speech]
    assert heard == [(2, "two"), (3, "three")]


def test_a_secret_is_seen_by_those_who_may_read_it_and_when(engine):
    offered = play(engine, {"ann": [SALE]})
    assert {name: contents(seen) for name, seen in offered.items()} == {
        "ann": ["canary-1177"],
        "bob": ["-"],
        "cid": ["-"],
        "dan": [],
    }
    assert "canary-1177" not in str(offered["dan"])
    assert "canary-1177" not in str(offered["bob"])


def test_a_buyer_reads_it_from_activation_and_the_arbitrator_from_a_dispute(engine):
    def sign(role: str) -> dict[str, Any]:
        return {"type": "sign_contract", "contract_id": "c1", "role": role}

    dispute = {"type": "dispute_delivery", "contract_id": "c1", "reason": "stale"}
    signed = {"bob": [sign("counterparty")], "cid": [sign("arbitrator")]}
    seen = play(engine, {"ann": [SALE]}, signed, {"bob": [dispute]})
    assert contents(seen["bob"]) == ["canary-1177"]
    assert contents(seen["cid"]) == ["canary-1177"]
    active = {
        "status": "active",
        "proposer": "ann",
        "counterparty": "bob",
        "arbitrator": "cid",
        "terms": {"seller": "proposer"},
    }
    assert may_read("ann", active)
    assert may_read("bob", active)
    assert not may_read("cid", active)


def test_a_pool_concerns_all_its_members():
    pool = {
        "proposer": "a",
        "counterparty": "b",
        "arbitrator": "d",
        "terms": {"members": ["b", "c"]},
    }
    assert involved(pool) == ["a", "b", "c", "d"]


def test_what_a_core_paid_is_known_without_an_owner_too():
    billing = {"output_tokens": 9, "billed_tokens": 8, "fees": 103, "dividends": []}
    answer = {"turn": 1, "receipts": [], "blocks": [], "billing": billing}
    assert history_entry(answer, 4)["core_income"] == 25
    owned = [{"core_id": 1, "owner": "a", "amount": 26}]
    answer = {**answer, "billing": {**billing, "dividends": owned}}
    assert history_entry(answer, 4)["core_income"] == 26
