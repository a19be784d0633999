"""What is played, and the loop that plays it.

The four names below are the defaults of a run. A run file, ``SIM_*`` environment variables and
flags override them, in this order: see ``sim-orchestrator run --help``.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from sim_orchestrator.deciding import decide_all, submission
from sim_orchestrator.observer import Sight, history_entry
from sim_orchestrator.transcript import TurnRecord

if TYPE_CHECKING:
    from sim_orchestrator.minds.base import Decision
    from sim_orchestrator.run import Ending, Run

MODEL: Final = "gemma3:27b"
AGENT_IDS: Final = [f"agent_{i}" for i in range(8)]
TURNS: Final = 50
WORLD_CONFIG: Final = {
    "initial_balance": 50_000,
    "action_points": 6,
    "commons_per_agent": 150,
    "inference_price_bps": 10_000,
    "core_count": 4,
    "core_reserve": 15_000,
}


async def play(run: Run) -> Ending:
    """Play turns until the run is over; return why it is."""
    sight = await run.observer.look()
    while (ending := run.ending(sight.turn)) is None:
        sight = await play_turn(run, sight)
    return ending


async def play_turn(run: Run, sight: Sight) -> Sight:
    """Ask every mind for its actions and seal the turn; return the world after it."""
    started = time.monotonic()
    turn = sight.turn + 1
    run.display.turn_started(turn)
    observations = await run.observer.observations(sight, run.settings.agent_ids)
    decisions = await decide_all(
        observations,
        run.minds,
        run.transcript,
        ends_at=started + run.settings.deadline,
        decided=run.decided,
    )
    return await seal_turn(run, turn, decisions, started)


async def seal_turn(
    run: Run, turn: int, decisions: Mapping[str, Decision], started: float
) -> Sight:
    """Submit a turn's decisions and record what came of them; return the world after it."""
    durations = run.settings.report_durations
    submissions = [
        submission(agent_id, decisions[agent_id], durations=durations) for agent_id in decisions
    ]
    run.transcript.sync()  # nothing is played that is not on the disk
    with run.interrupt.sealing():
        answer = await run.engine.submit(turn, submissions)
        run.observer.sealed(answer)
        sight = await run.observer.look()
        record = turn_record(answer, sight, submissions)
        run.sealed(record, seconds=time.monotonic() - started)
    return sight


def turn_record(answer: Any, sight: Sight, submissions: list[dict[str, Any]]) -> TurnRecord:
    """Sum a sealed turn up for the transcript."""
    receipts = answer["receipts"]
    entry = history_entry(answer, len(sight.state["cores"]))
    return TurnRecord(
        turn=answer["turn"],
        turn_hash=answer["turn_hash"],
        agents={
            agent["agent_id"]: [
                agent["balance"],
                agent["staked"],
                sum(lot["amount"] for lot in agent["unbonding"]),
                agent["burn_score"],
                agent["study_level"],
                len(agent["cores"]),
            ]
            for agent in sight.state["agents"]
        },
        blocks=[
            {key: block[key] for key in ("kind", "producer", "status", "reward")}
            for block in answer["blocks"]
        ],
        applied=entry["applied"],
        rejected=Counter(each["code"] for each in receipts if each["status"] == "rejected"),
        output_tokens=entry["output_tokens"],
        billed_tokens=entry["billed_tokens"],
        fees=entry["fees"],
        core_income=entry["core_income"],
        supply=answer["supply"],
        queued=len(receipts) - sum(len(part["actions"]) for part in submissions),
    )
