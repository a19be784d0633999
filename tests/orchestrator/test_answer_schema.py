"""The answer schema: whatever can be written under it, the engine applies."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from sim_engine.engine import Engine
from sim_engine.types.requests import ACTIONS_ADAPTER
from sim_orchestrator.answer_schema import answer_schema
from sim_orchestrator.context import build_messages
from sim_orchestrator.minds.base import CallRecord, Decision, Observation
from sim_orchestrator.observer import Observer
from sim_orchestrator.parsing import Parsed, parse_answer
from tests.orchestrator.in_process import InProcess
from tests.orchestrator.observations import agent, observation
from tests.orchestrator.schema_dice import SchemaDice

DATA = Path(__file__).parent / "data"

POINTS = {"job": 2, "mine": 2, "study": 2} | dict.fromkeys(
    ("speak", "confirm_delivery", "dispute_delivery", "arbitrator_ruling"), 0
)

OVERTAKEN = {
    "contract_not_active",
    "contract_not_disputed",
    "already_in_pool",
    "too_many_contracts",
}
"""What can only happen because another agent acted earlier in the same turn."""


def fixed_world(**changes: Any) -> Observation:
    fields = json.loads((DATA / "world.json").read_text(encoding="utf-8"))
    return Observation(**{**fields, **changes})


def accepts(seen: Observation, *actions: dict[str, Any]) -> bool:
    answer = {"thought": "", "notes": "", "actions": list(actions)}
    return bool(Draft202012Validator(answer_schema(seen)).is_valid(answer))


def offered(seen: Observation) -> set[str]:
    """Return all action types that the schema can produce, conditions apart."""
    schema = answer_schema(seen)
    dice = random.Random(1)
    answers = (SchemaDice(schema, dice).answer() for _ in range(800))
    return {action["type"] for answer in answers for action in answer["actions"]}


@pytest.mark.parametrize("points", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 100])
def test_the_prompt_names_the_most_actions_that_are_offered_and_no_more_are_read(points: int):
    seen = fixed_world()
    seen = dataclasses.replace(seen, config={**seen.config, "action_points": points})
    sequences = answer_schema(seen)["properties"]["actions"]["anyOf"]
    longest = max(len(sequence["prefixItems"]) for sequence in sequences)
    rules = build_messages(seen, budget_tokens=8_000)[0]["content"]
    assert f"up to {longest} actions" in rules
    answer = json.dumps({"actions": [{"type": "job"}] * (longest + 1)})
    read = parse_answer(answer, done_reason="stop", observation=seen)
    assert isinstance(read, Parsed)
    assert len(read.actions) == longest


def me(**changes: Any) -> dict[str, Any]:
    return {
        **agent("agent_0", **changes),
        "private": {"insights": [], "information": [], "receipts": []},
    }


async def play(engine: Engine, agents: list[str], turns: int, dice: random.Random) -> Counter[str]:
    """Let everybody answer by dice for so many turns; count what became of the actions."""
    config = json.loads(engine.config(operator=False))
    observer = Observer(InProcess(engine), dict.fromkeys(agents, ""), config)  # type: ignore[arg-type]
    counts: Counter[str] = Counter()
    for turn in range(1, turns + 1):
        seen = await observer.observations(await observer.look(), agents)
        submissions = []
        for agent_id, observed in seen.items():
            actions = SchemaDice(answer_schema(observed), dice).answer()["actions"]
            ACTIONS_ADAPTER.validate_python(actions)
            tokens = dice.randint(50, 400)
            observer.remember(
                agent_id, Decision(calls=(CallRecord(1, "dice", output_tokens=tokens),))
            )
            inference = {"output_tokens": tokens}
            submissions.append({"agent_id": agent_id, "actions": actions, "inference": inference})
        body = json.dumps({"turn": turn, "submissions": submissions}).encode()
        answer = json.loads(engine.submit_turn(body).content)
        observer.sealed(answer)
        for receipt in answer["receipts"]:
            counts[f"{receipt['type']} {receipt['status']}"] += 1
            counts[receipt.get("code", "applied")] += 1
            if receipt["status"] == "rejected" and receipt["code"] not in OVERTAKEN:
                pytest.fail(f"turn {turn}: {receipt}")
    return counts


@pytest.mark.parametrize(("roster", "balance"), [(4, 50_000), (6, 900), (12, 20_000)])
def test_what_the_schema_allows_the_engine_applies(tmp_path, roster, balance):
    agents = [f"agent_{place}" for place in range(roster)]
    engine = Engine.open(tmp_path / "sim.db")
    try:
        config = {"initial_balance": balance}
        init = {"seed": f"schema-{roster}", "agents": agents, "config": config}
        engine.init(json.dumps(init).encode())
        counts = asyncio.run(play(engine, agents, 25, random.Random(roster)))
    finally:
        engine.close()
    overtaken = sum(counts[code] for code in OVERTAKEN)
    assert overtaken <= 0.02 * counts["applied"]


def test_a_schema_is_valid_and_offers_everything_possible():
    seen = fixed_world()
    Draft202012Validator.check_schema(answer_schema(seen))
    assert offered(seen) == {
        "job",
        "mine",
        "study",
        "stake",
        "unstake",
        "burn",
        "transfer",
        "propose_contract",
        "sell_information",
        "sign_contract",
        "confirm_delivery",
        "dispute_delivery",
        "arbitrator_ruling",
        "speak",
    }


def test_an_agent_in_debt_is_offered_only_what_costs_nothing():
    seen = observation(agent=me(balance=-50))
    schema = answer_schema(seen)
    assert offered(seen) == {"job", "mine", "propose_contract", "sell_information", "speak"}
    dice = random.Random(2)
    for _ in range(300):
        for action in SchemaDice(schema, dice).answer()["actions"]:
            if action["type"] in ("propose_contract", "sell_information"):
                assert action["arbitrator_fee"] == 0
                assert action.get("terms", {}).get("lender") != "proposer"


def test_points_can_not_be_exceeded():
    dice = random.Random(3)
    for points in (1, 2, 3, 6, 40):
        seen = fixed_world()
        seen = dataclasses.replace(seen, config={**seen.config, "action_points": points})
        schema = answer_schema(seen)
        for _ in range(100):
            actions = SchemaDice(schema, dice).answer()["actions"]
            assert sum(POINTS.get(action["type"], 1) for action in actions) <= points


def test_one_payment_may_be_all_that_can_be_spent_and_two_half_of_it_each():
    seen = observation()  # 50,000, of which 150 are held back for thinking, 20 for a fee

    def stake(amount: int) -> dict[str, Any]:
        return {"type": "stake", "amount": amount}

    assert accepts(seen, stake(49_830) | {"fee": 20})
    assert not accepts(seen, stake(49_831))
    assert not accepts(seen, stake(1) | {"fee": 21})
    assert accepts(seen, stake(24_905), stake(24_905))
    assert not accepts(seen, stake(24_906), stake(1))


def test_bids_start_at_the_reserve_and_need_a_core_for_sale():
    bid = {"type": "bid_core", "amount": 15_000}
    seen = observation()
    assert accepts(seen, bid)
    assert not accepts(seen, {"type": "bid_core", "amount": 14_999})
    sold = [{"core_id": 0, "owner": "agent_1"}]
    assert not accepts(dataclasses.replace(seen, state={**seen.state, "cores": sold}), bid)


def test_there_is_one_job_a_turn():
    job, mine = {"type": "job"}, {"type": "mine"}
    assert accepts(observation(), job, mine, mine)
    assert not accepts(observation(), job, job)


def test_no_agent_names_itself_or_nobody():
    def transfer(to: str) -> dict[str, Any]:
        return {"type": "transfer", "to": to, "amount": 5, "memo": ""}

    assert accepts(observation(), transfer("agent_1"))
    assert not accepts(observation(), transfer("agent_0"))
    assert not accepts(observation(), transfer("agent_9"))


def test_a_signature_that_cannot_be_paid_is_not_offered():
    assert not accepts(
        fixed_world(), {"type": "sign_contract", "contract_id": "c35", "role": "counterparty"}
    )
    assert accepts(
        fixed_world(), {"type": "sign_contract", "contract_id": "c33", "role": "counterparty"}
    )
    assert not accepts(
        fixed_world(), {"type": "sign_contract", "contract_id": "c33", "role": "arbitrator"}
    )


def test_two_agents_alone_are_offered_no_contracts():
    assert "propose_contract" not in offered(observation(roster=2))


KEYWORDS = {
    "$defs",
    "$ref",
    "additionalProperties",
    "anyOf",
    "const",
    "enum",
    "maxItems",
    "maxLength",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "prefixItems",
    "properties",
    "required",
    "type",
}


def keywords(schema: Any) -> set[str]:
    """Return the keywords of a schema, without the names of properties and definitions."""
    if isinstance(schema, list):
        return set().union(*map(keywords, schema))
    if not isinstance(schema, dict):
        return set()
    found = set(schema)
    for key, inner in schema.items():
        if key in ("properties", "$defs"):
            found |= set().union(*map(keywords, inner.values()))
        elif key not in ("const", "enum"):
            found |= keywords(inner)
    return found


def test_only_keywords_are_used_that_llama_cpp_turns_into_a_grammar():
    assert keywords(answer_schema(fixed_world())) <= KEYWORDS


def test_texts_are_as_long_as_asked_for():
    schema = answer_schema(observation(), text_chars=40)
    assert schema["properties"]["thought"]["maxLength"] == 40
