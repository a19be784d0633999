"""docs/orchestrator.md shows a prompt as it is sent, and says what agents remember and are.

The prompt is built from a world that is played here. Where it has changed, write the new one into
the document: ``python -m tests.orchestrator.test_prompt_document``.
"""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sim_engine.engine import Engine
from sim_orchestrator.context import build_messages
from sim_orchestrator.context.private import CONTENT_CHARS_MAX, MISTAKES_CHARS_MAX
from sim_orchestrator.context.private import NOTES_CHARS_MAX as NOTES_CHARS_SHOWN
from sim_orchestrator.context.public import MESSAGE_CHARS_MAX, MESSAGES_MAX
from sim_orchestrator.minds.base import CallRecord, Decision, Observation
from sim_orchestrator.minds.personas import PERSONAS
from sim_orchestrator.observer import HISTORY_TURNS, SPEECH_TURNS, Observer
from sim_orchestrator.options import BY_NAME
from sim_orchestrator.parsing import Parsed, parse_answer
from sim_orchestrator.settings import defaults, init_body, merge, resolve
from tests.orchestrator.in_process import InProcess

DOCUMENT = Path(__file__).parents[2] / "docs" / "orchestrator.md"
BEGIN, END = "<!-- the prompt begins -->\n", "<!-- the prompt ends -->\n"
SHOWN_TO = "agent_1"


def speak(message: str) -> dict[str, Any]:
    return {"type": "speak", "message": message}


LOAN = {
    "type": "propose_contract",
    "contract_type": "loan",
    "counterparty": "agent_1",
    "arbitrator": "agent_2",
    "duration": 5,
    "terms": {"lender": "proposer", "principal": 500, "repayment": 550},
}
ANSWERS: Sequence[Mapping[str, Any]] = (
    {
        "agent_0": {"actions": [{"type": "job"}, {"type": "stake", "amount": 2000}]},
        "agent_1": {
            "notes": "agent_3 looks for a partner.",
            "actions": [{"type": "mine"}, {"type": "mine"}, speak("Who shares luck with me?")],
        },
        "agent_2": {"actions": [{"type": "job"}, {"type": "study"}]},
        "agent_3": {"actions": [{"type": "burn", "amount": 900}, speak("I burn, I win.")]},
    },
    {
        "agent_0": {"actions": [{"type": "job"}, LOAN, speak("I lend 500 for 550.")]},
        "agent_1": {
            "notes": "Mine on. A pool with agent_3?",
            "actions": [
                {"type": "mine"},
                {"type": "bid_core", "amount": 100},
                {"type": "steal", "from": "agent_0"},
            ],
        },
        "agent_2": {"actions": [{"type": "job"}, {"type": "mine"}]},
        "agent_3": {
            "actions": [{"type": "transfer", "to": "agent_1", "amount": 40, "memo": "Pool?"}]
        },
    },
)
TOKENS = {"agent_0": 210, "agent_1": 260, "agent_2": 140, "agent_3": 90}


def decide(seen: Observation, answer: Mapping[str, Any]) -> Decision:
    """Read an answer as it would be read if a model gave it."""
    raw = json.dumps(answer)
    found = parse_answer(raw, done_reason="stop", observation=seen)
    assert isinstance(found, Parsed)
    call = CallRecord(
        attempt=1,
        model="m",
        raw=raw,
        actions=found.actions,
        notes=found.notes,
        dropped=found.dropped,
        output_tokens=TOKENS[seen.agent_id],
    )
    return Decision(calls=(call,))


async def play(engine: Engine, personas: Mapping[str, str]) -> Observation:
    """Play the answers; return what the shown agent sees then."""
    config = json.loads(engine.config(operator=False))
    observer = Observer(InProcess(engine), personas, config)  # type: ignore[arg-type]
    for turn, answers in enumerate(ANSWERS, 1):
        observed = await observer.observations(await observer.look(), personas)
        parts = []
        for agent_id, seen in observed.items():
            decision = decide(seen, answers[agent_id])
            observer.remember(agent_id, decision)
            inference = {"output_tokens": TOKENS[agent_id]}
            parts.append(
                {"agent_id": agent_id, "actions": decision.actions, "inference": inference}
            )
        body = json.dumps({"turn": turn, "submissions": parts}).encode()
        observer.sealed(json.loads(engine.submit_turn(body).content))
    return (await observer.observations(await observer.look(), [SHOWN_TO]))[SHOWN_TO]


def prompt() -> str:
    """Return the prompt as the document shows it: each message in a block of its own."""
    settings = resolve(merge(defaults(), {"agents": "4", "seed": "docs"}))
    budget = BY_NAME["num_ctx"].default - BY_NAME["num_predict"].default
    with tempfile.TemporaryDirectory() as scratch:
        engine = Engine.open(Path(scratch) / "sim.db")
        try:
            body = init_body(settings.agents, settings.world, settings.seed or "")
            engine.init(json.dumps(body).encode())
            personas = {agent.agent_id: agent.persona for agent in settings.agents}
            seen = asyncio.run(play(engine, personas))
        finally:
            engine.close()
    messages = build_messages(seen, budget_tokens=budget)
    return "\n".join(
        f"`{message['role']}`:\n\n```text\n{message['content']}\n```\n" for message in messages
    )


def documented() -> tuple[str, str, str]:
    """Return the document's text before the prompt, the prompt, and what follows it."""
    before, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)
    shown, _, after = rest.partition(END)
    return before, shown, after


def part(title: str) -> str:
    """Return a section of the document."""
    return DOCUMENT.read_text(encoding="utf-8").split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_the_document_shows_a_prompt_as_it_is_sent():
    assert documented()[1] == f"\n{prompt()}\n"


def test_the_document_says_how_much_an_agent_remembers():
    text = " ".join(part("What an agent remembers").split())
    for said in (
        f"what was said in the last {SPEECH_TURNS} turns: the newest {MESSAGES_MAX} messages, "
        f"{MESSAGE_CHARS_MAX} characters of each",
        f"of the last {HISTORY_TURNS} turns what one core paid",
        f"{NOTES_CHARS_SHOWN} characters of them",
        f"{MISTAKES_CHARS_MAX} characters of it",
        f"{CONTENT_CHARS_MAX:,} characters of each",
    ):
        assert said in text


def test_the_document_lists_the_characters_that_agents_are_given():
    listed = re.findall(r"^\d\. (.+)$", part("Who the agents are"), re.MULTILINE)
    assert listed == list(PERSONAS)


if __name__ == "__main__":
    before, _, after = documented()
    DOCUMENT.write_text(f"{before}{BEGIN}\n{prompt()}\n{END}{after}", encoding="utf-8")
