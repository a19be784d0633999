"""A world in which contracts of every type are broken, by either side and by both, and one is kept.

``CULPRITS`` says who breaks which one.
"""

from __future__ import annotations

from tests.engine import harness
from tests.engine.harness import EngineWorld, Json

AGENTS = {"a": 5_000, "b": 5_000, "p": 100, "n": 0, "z": 5_000}
"""``p`` has too little for what it promises, ``n`` never has anything; ``z`` judges."""

CONFIG = {
    "action_points": 60,
    "commons_per_agent": 0,
    "core_count": 3,
    "core_reserve": 10,
    "min_arbitrator_collateral": 20,
    "arbitrator_fee": 5,
}

_NEVER: Json = {"type": "spoke", "agent": "b", "contains": "never said"}

PROPOSALS: list[Json] = [
    harness.core_forward(0, 50, duration=2),  # c1 kept: the core is b's from turn 5
    harness.core_forward(0, 60, duration=2),  # c2
    harness.core_forward(1, 900, duration=2, counterparty="p", counterparty_collateral=10),  # c3
    harness.core_forward(2, 900, duration=2, counterparty="p", proposer_collateral=12),  # c4
    harness.loan(500, 600, duration=2, counterparty="p"),  # c5
    harness.loan(10, 20, duration=2, counterparty="p", counterparty_collateral=40),  # c6
    harness.compute_forward(
        900, 5, "counterparty", duration=2, counterparty="p", counterparty_collateral=30
    ),  # c7
    harness.compute_forward(10, 2_000, duration=2, counterparty="p"),  # c8
    harness.service(40, condition=_NEVER, duration=2, counterparty_collateral=9),  # c9
    harness.service(41, duration=2),  # c10
    harness.information(42, duration=2, settlement="attested", proposer_collateral=7),  # c11
    harness.loan(70, 80, duration=2),  # c12 kept
    harness.core_forward(2, 30, duration=2, counterparty="n"),  # c13
]

CULPRITS = {
    "c2": "a",
    "c3": "p",
    "c4": "ap",
    "c5": "p",
    "c6": "p",
    "c7": "p",
    "c8": "p",
    "c9": "b",
    "c10": "b",
    "c11": "a",
    "c13": "an",
}


def play(world: EngineWorld) -> None:
    """Play until every contract has ended."""
    world.turn({"a": [harness.bid(100, 2)]})
    world.turn({"a": PROPOSALS})
    contracts = {f"c{number}": one for number, one in enumerate(PROPOSALS, start=1)}
    signing: dict[str, list[Json]] = {agent_id: [] for agent_id in AGENTS}
    for contract_id, proposal in contracts.items():
        for agent_id, signatures in world.signatures(contract_id, proposal).items():
            signing[agent_id] += signatures
    world.turn(signing)
    world.turn({"p": [harness.transfer("b", world.balance("p"))]}, tokens={"a": 300})
    world.rest(3)
