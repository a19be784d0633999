"""Worlds and turns that benchmarks play, the same ones every time."""

from __future__ import annotations

from typing import Any

import orjson


def init_body(agents: int, seed: str = "benchmark") -> bytes:
    """Write the body that makes a world of so many agents."""
    return orjson.dumps({"seed": seed, "agents": [f"agent_{i}" for i in range(agents)]})


def turn_body(turn: int, agents: int, actions: int) -> bytes:
    """Write the body of a turn in which every agent thinks and acts, ``actions`` times in all.

    Of three actions one mines or studies, one works, and one moves tokens or talks; fees are
    common.
    """
    each = actions // agents
    return orjson.dumps(
        {
            "turn": turn,
            "submissions": [
                {
                    "agent_id": f"agent_{i}",
                    "actions": _actions(turn, i, agents)[-each:],
                    "inference": {
                        "output_tokens": 100 + (i * 37 + turn) % 400,
                        "prompt_tokens": 1_200,
                        "model": "gemma3:27b",
                        "duration_ms": 4_000,
                    },
                }
                for i in range(agents)
            ],
        }
    )


def _actions(turn: int, place: int, agents: int) -> list[dict[str, Any]]:
    moves: list[dict[str, Any]] = [
        {
            "type": "transfer",
            "to": f"agent_{(place + 1) % agents}",
            "amount": 5 + place % 7,
            "fee": place % 3,
        },
        {"type": "stake", "amount": 50},
        {"type": "burn", "amount": 20},
        {"type": "speak", "message": "Who lends me a hundred tokens until turn ten?"},
    ]
    return [
        {"type": "mine"} if (place + turn) % 3 else {"type": "study"},
        {"type": "job"},
        moves[(place + turn) % 4],
    ]
