"""Check what no seal covers yet: what waits for the next turn, and what its senders were answered.

It has no history that it could be made from. But an engine that opens the ledger goes on with it,
and what it then seals must be what an engine takes in.
"""

from __future__ import annotations

import re
from collections.abc import Container
from typing import Any, Final

from sim_engine.ledger import tables
from sim_engine.ledger.audit import read_json, shown_in_key
from sim_engine.ledger.pages import Pages
from sim_engine.ledger.report import Broken, Difference
from sim_engine.ledger.rows import to_json
from sim_engine.ledger.store import DIGEST_BYTES
from sim_engine.ledger.taken_in import IN_ROSTER, check_action
from sim_engine.types.fields import MAX_AMOUNT

HASH: Final = re.compile("[0-9a-f]{64}")

ACTIONS: Final = tables.pending_actions.name
REQUESTS: Final = tables.pending_requests.name
KEYS: Final = tables.agent_keys.name


def check_pool(pages: Pages, agents: Container[str], *, last_turn: int, last_queued: int) -> None:
    """Check the pool of a ledger. Raises Broken with the first thing that no engine has written.

    ``last_queued`` is the last id that left the pool.
    """
    given = _last_id_given(pages, last_queued)
    for pending_id, agent_id, payload in pages.select(
        f"SELECT * FROM {tables.itself(ACTIONS)} ORDER BY id"
    ):
        key = f"id={pending_id}"
        if not last_queued < pending_id <= given:
            raise Broken(Difference(ACTIONS, key, pending_id, f"{last_queued + 1} … {given}"))
        if agent_id not in agents:
            raise Broken(Difference(ACTIONS, key, agent_id, IN_ROSTER))
        written = to_json(check_action(ACTIONS, key, payload))
        if written != payload:
            raise Broken(Difference(ACTIONS, key, payload, written))
    for row in pages.select(
        f"SELECT * FROM {tables.itself(REQUESTS)} ORDER BY agent_id, idempotency_key"
    ):
        _check_request(row, agents, last_turn)
    for agent_id, key_hash in pages.select(f"SELECT * FROM {tables.itself(KEYS)}"):
        if not isinstance(key_hash, bytes) or len(key_hash) != DIGEST_BYTES:
            expected = f"{DIGEST_BYTES} bytes"
            raise Broken(Difference(KEYS, f"agent_id={agent_id}", "something else", expected))


def _last_id_given(pages: Pages, last_queued: int) -> int:
    """Read the last id that was given to a queued action, so that none is given twice."""
    found = pages.select(f"SELECT seq FROM sqlite_sequence WHERE name = '{ACTIONS}'")
    given = found[-1][0] if found else 0
    if len(found) > 1 or type(given) is not int or not last_queued <= given <= MAX_AMOUNT:
        stored = [row[0] for row in found]
        raise Broken(
            Difference("sqlite_sequence", f"name={ACTIONS}", stored, f"from {last_queued} on")
        )
    return given


def _check_request(row: tuple[Any, ...], agents: Container[str], last_turn: int) -> None:
    agent_id, idempotency_key, request_hash, ids, for_turn = row
    key = f"{shown_in_key('agent_id', agent_id)}, "
    key += shown_in_key("idempotency_key", idempotency_key)
    if agent_id not in agents:
        raise Broken(Difference(REQUESTS, key, agent_id, IN_ROSTER))
    if not isinstance(request_hash, str) or not HASH.fullmatch(request_hash):
        raise Broken(Difference(REQUESTS, key, request_hash, "a hash"))
    found = read_json(REQUESTS, key, ids)
    if not isinstance(found, list) or not {int}.issuperset(map(type, found)):
        raise Broken(Difference(REQUESTS, key, ids, "[id, …]"))
    if type(for_turn) is not int or not 1 <= for_turn <= last_turn + 1:
        raise Broken(Difference(REQUESTS, key, for_turn, f"1 … {last_turn + 1}"))
