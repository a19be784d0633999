"""What a turn of prompts and answer schemas costs us, before any model is asked.

    python -m benchmarks.context [--agents 1000] [--turns 3]

Everybody sees the same crowded world and has said something in it; times are processor seconds.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time

from benchmarks.decision_worlds import world
from sim_orchestrator.answer_schema import answer_schema
from sim_orchestrator.context import build_messages
from sim_orchestrator.minds.base import Observation

CONTEXT_TOKENS = 4_000
WORLD_NUMBER = 44  # of the decision benchmark: an old world with contracts, of eight agents


def crowd(seen: Observation, size: int, turn: int) -> list[Observation]:
    """Show a world of one agent to a crowd of such agents, who all share its public part."""
    agents = [
        {**seen.agent, "agent_id": f"agent_{place}", "balance": 1_000 + place}
        for place in range(size)
    ]
    speech = [
        {"turn": turn - 1, "agent_id": agent["agent_id"], "message": "Who lends me 500?", "seq": 0}
        for agent in agents
    ]
    state = {**seen.state, "agents": agents, "turn": turn - 1}
    return [
        dataclasses.replace(
            seen, turn=turn, agent_id=agent["agent_id"], agent=agent, state=state, speech=speech
        )
        for agent in agents
    ]


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description="What prompts and schemas cost us.")
    parser.add_argument("--agents", type=int, default=1_000)
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    with world(WORLD_NUMBER) as place:
        seen = place.observation
    for turn in range(seen.turn, seen.turn + options.turns):
        everybody = crowd(seen, options.agents, turn)
        started = time.process_time()
        for each in everybody:
            build_messages(each, budget_tokens=CONTEXT_TOKENS)
        built = time.process_time()
        written = sum(len(json.dumps(answer_schema(each))) for each in everybody)
        ended = time.process_time()
        print(
            f"turn {turn}: {options.agents} agents, prompts {built - started:.2f} s, "
            f"schemas {ended - built:.2f} s ({written // options.agents} bytes each)"
        )


if __name__ == "__main__":
    main()
