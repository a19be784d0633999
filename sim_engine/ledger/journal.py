"""A processed turn written up as the rows that are stored for it, sealed.

The engine commits these rows; the verifier writes them up again from a replay and compares. There
is one way from a turn to its rows, so that both mean the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import orjson

from sim_engine.ledger import rows
from sim_engine.ledger.metrics import contracts_by_status, metrics_row
from sim_engine.ledger.rows import Row
from sim_engine.ledger.seal import digest_rows, seal
from sim_engine.rules.in_hand import Submitted, Turn
from sim_engine.rules.state import World

Usage = tuple[str, str, int, int, int]
"""agent id, model, prompt tokens, output tokens, duration (ms)"""


@dataclass(slots=True)
class Intake:
    """What a turn took in: resolved for the rules, and as it is stored.

    ``payloads`` and ``agent_ids`` go with ``submitted.actions``, one for each.
    """

    submitted: Submitted
    submissions: list[tuple[str, int]]
    """(agent id, number of its own actions) in the order of the request."""
    payloads: list[str]
    """Each action as it was submitted, as canonical JSON."""
    agent_ids: list[str]
    queued_ids: list[int]
    """Ids of the actions from the pending pool, which are the last of all."""
    usage: list[Usage]
    """What models used, one for each of ``submitted.inference``."""

    @property
    def requested(self) -> int:
        """How many actions came with the request itself."""
        return len(self.payloads) - len(self.queued_ids)

    def request_hash(self) -> str:
        """Hash what the request said, so that the same request is known again."""
        # Canonical JSON has no line breaks, so that the joined payloads stand for one list only.
        own = "\n".join(self.payloads[: self.requested])
        parts = (orjson.dumps(self.submissions), own.encode(), orjson.dumps(self.usage))
        return sha256(b"".join(sha256(part).digest() for part in parts)).hexdigest()


@dataclass(slots=True)
class SealedTurn:
    """All rows of a turn by table, in the order of the columns."""

    turn: int
    turn_hash: str
    appended: dict[str, list[Row]]
    """Rows of history, by table."""
    agents: list[Row]
    """Agents that the turn changed, as ``rows.agent_row`` writes them; at genesis all of them, as
    ``rows.new_agent_row`` does."""
    cores: list[Row]
    contracts: list[Row]
    taken: list[int]
    """Ids that left the pending pool."""
    digests: dict[str, str]
    """What the seal covers: a digest for each part of the turn."""


HISTORY: Final = (
    "submissions",
    "actions",
    "inference",
    "entries",
    "blocks",
    "speech_log",
    "turn_metrics",
)
"""The tables of history that a seal covers row by row; ``turns`` holds the seal itself."""


def write_up(turn: Turn, intake: Intake) -> SealedTurn:
    """Write a processed turn up and seal it; sets ``world.turn_hash``."""
    world = turn.world
    appended = {
        "submissions": [
            (turn.number, seq, agent_id, count)
            for seq, (agent_id, count) in enumerate(intake.submissions)
        ],
        "actions": _action_rows(turn, intake),
        "inference": _inference_rows(turn, intake),
        "entries": world.books.entries,
        "blocks": [rows.block_row(block, seq) for seq, block in enumerate(turn.blocks)],
        "speech_log": [
            (turn.number, seq, agent.agent_id, message)
            for seq, (agent, message) in enumerate(turn.speeches)
        ],
        "turn_metrics": [metrics_row(turn)],
    }
    agents = [rows.agent_row(agent) for agent in turn.all_changed_agents()]
    cores = [
        (core.core_id, core.owner and core.owner.agent_id)
        for _, core in sorted(turn.changed_cores.items())
    ]
    contracts = [
        rows.contract_row(contract) for _, contract in sorted(turn.changed_contracts.items())
    ]
    state = _turn_state(turn, intake.request_hash())
    covered = {**appended, "agents": agents, "cores": cores, "contracts": contracts}
    digests = _digests(covered, state)
    appended["turns"] = [_seal(world, digests, state)]
    return SealedTurn(
        turn.number,
        world.turn_hash,
        appended,
        agents,
        cores,
        contracts,
        intake.queued_ids,
        digests,
    )


def write_up_genesis(world: World, config_rows: list[Row]) -> SealedTurn:
    """Write the genesis of a world up and seal it as turn 0; sets ``world.turn_hash``."""
    appended: dict[str, list[Row]] = {
        "config": config_rows,
        "entries": list(world.books.entries),
        "blocks": [rows.block_row(world.tip, 0)],
    }
    agents = [rows.new_agent_row(agent) for agent in world.roster]
    cores: list[Row] = [(core.core_id, None) for core in world.cores]
    books = world.books
    state = (
        *("", 0, world.commons, 0, 0, "[]"),
        *(account.balance for account in (books.issuance, books.destroyed)),
        *(account.balance for account in (books.fees, books.cores)),
        *(world.tip.hash, world.mine_difficulty, 0, "{}"),
    )
    covered = {**appended, "agents": agents, "cores": cores}
    digests = _digests(covered, state)
    appended["turns"] = [_seal(world, digests, state)]
    return SealedTurn(0, world.turn_hash, appended, agents, cores, [], [], digests)


def _digests(covered: dict[str, list[Row]], state: Row) -> dict[str, str]:
    """Hash each part of a turn, and the state in its own row of ``turns``."""
    digests = {name: digest_rows(part) for name, part in covered.items()}
    digests["turns"] = digest_rows([state])
    return digests


def _seal(world: World, digests: dict[str, str], state: Row) -> Row:
    """Seal a turn over its digests; returns the whole row of ``turns``."""
    world.turn_hash = seal(world.turn, world.turn_hash, digests)
    return (world.turn, world.turn_hash, *state, rows.to_json(digests))


def _turn_state(turn: Turn, request_hash: str) -> Row:
    """Write the row of ``turns`` less its turn, its hash and the digests that the hash covers."""
    world = turn.world
    books = world.books
    dividends = [[paid.core_id, paid.owner, paid.amount] for paid in turn.dividends]
    return (
        request_hash,
        turn.output_tokens,
        world.commons,
        turn.billed_tokens,
        sum(turn.inference_fees.values()),
        rows.in_order(dividends),
        books.issuance.balance,
        books.destroyed.balance,
        books.fees.balance,
        books.cores.balance,
        world.tip.hash,
        world.mine_difficulty,
        world.last_contract,
        rows.to_json(contracts_by_status(world)),
    )


def _action_rows(turn: Turn, intake: Intake) -> list[Row]:
    number = turn.number
    queued_ids = [None] * intake.requested + intake.queued_ids
    written: list[Row] = []
    for seq, agent_id, action, payload, rejected, queued in zip(
        range(len(turn.outcomes)),
        intake.agent_ids,
        intake.submitted.actions,
        intake.payloads,
        turn.outcomes,
        queued_ids,
        strict=True,
    ):
        if rejected is None:
            status, code, message = "applied", None, None
        else:
            status, code, message = "rejected", rejected.code.value, rejected.message
        written.append(
            (
                number,
                seq,
                agent_id,
                action.type,
                payload,
                status,
                code,
                message,
                action.fee,
                queued,
            )
        )
    return written


def _inference_rows(turn: Turn, intake: Intake) -> list[Row]:
    number = turn.number
    billed = turn.billed
    fees = turn.inference_fees
    return [
        (
            number,
            agent_id,
            model,
            prompt_tokens,
            output_tokens,
            billed.get(agent, 0),
            fees.get(agent, 0),
            duration_ms,
            seq,
        )
        for seq, (agent, _), (agent_id, model, prompt_tokens, output_tokens, duration_ms) in zip(
            range(len(intake.usage)), turn.submitted.inference, intake.usage, strict=True
        )
    ]
