"""Plays a fixed, busy sequence of turns and prints every turn_hash.

``python -m tests.engine.play DB SEED TURNS``
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

from tests.engine import harness, strategies
from tests.engine.harness import EngineWorld, Json


def submissions(seed: str, turn: int) -> list[Json]:
    """The requests of one turn, the same for the same seed: everybody does a bit of all."""
    chance = random.Random(f"{seed}/{turn}")
    every = []
    for agent in chance.sample(strategies.AGENTS, len(strategies.AGENTS)):
        others = [x for x in strategies.AGENTS if x != agent]
        one, two = chance.sample(others, 2)
        cid = f"c{chance.randrange(1, 2 * turn + 2)}"
        choices = [
            harness.mine(),
            harness.mine(),
            harness.stake(chance.randrange(1, 50)),
            harness.burn(chance.randrange(1, 20)),
            harness.job(),
            harness.study(),
            harness.transfer(one, chance.randrange(1, 30), memo="für dich 🌍"),
            harness.speak(f"turn {turn}, says {agent}"),
            harness.bid(chance.randrange(40, 90), 1),
            harness.loan(5, 6, counterparty=one, arbitrator=two),
            harness.service(9, counterparty=one, arbitrator=two),
            harness.pool([one, two], ["mine", "stake"], "weight", arbitrator=others[-1]),
            harness.sell(one, two, 4),
            harness.sign(cid),
            harness.sign(cid, "arbitrator"),
            harness.dispute(cid),
            harness.rule(cid, "split"),
        ]
        picked = [{**x, "fee": chance.randrange(3)} for x in chance.sample(choices, 6)]
        inference = {"output_tokens": chance.randrange(60), "model": "scripted"}
        every.append({"agent_id": agent, "actions": picked, "inference": inference})
    return every


def play(world: EngineWorld, seed: str, first: int, last: int) -> list[str]:
    """Play the turns ``first`` … ``last``; their hashes."""
    hashes = []
    for turn in range(first, last + 1):
        body = {"turn": turn, "submissions": submissions(seed, turn)}
        response = world.client.post("/turn", json=body)
        assert response.status_code == 200, response.text
        hashes.append(str(response.json()["turn_hash"]))
    return hashes


def main(db_path: str, seed: str, turns: str) -> None:
    config = strategies.CONFIG
    with harness.open_world(Path(db_path), strategies.START, config, seed) as world:
        print(json.dumps([world.genesis["turn_hash"], *play(world, seed, 1, int(turns))]))


if __name__ == "__main__":
    main(*sys.argv[1:])
