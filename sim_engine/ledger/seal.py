"""The seal: a hash over all that a turn took in and changed, chained.  (rules §13)

Each part of a turn (its submissions, its entries, the agents that it changed, …) is hashed as the
rows that are stored for it. ``turn_hash`` covers those digests and the previous ``turn_hash``.
Anyone with ``sim.db`` can hash the rows of history again, and find the digests of changed state
again by replaying the turns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Final

import orjson

from sim_engine.ledger.rows import Row
from sim_engine.rules.numbers import H

CHUNK_ROWS: Final = 8_192
"""Rows that are encoded at a time, so that a large turn never stands in memory encoded."""

EMPTY: Final = sha256(b"").hexdigest()
"""The digest of no rows."""


def digest_rows(rows: Sequence[Row]) -> str:
    """Hash rows, in their order, to 64 hexadecimal digits."""
    if not rows:
        return EMPTY
    if len(rows) <= CHUNK_ROWS:
        return sha256(orjson.dumps(rows)).hexdigest()
    starts = range(0, len(rows), CHUNK_ROWS)
    return digest_chunks(orjson.dumps(rows[start : start + CHUNK_ROWS]) for start in starts)


def digest_chunks(encoded: Iterable[bytes]) -> str:
    """Hash rows that are encoded already, ``CHUNK_ROWS`` of them in each chunk but the last."""
    state = sha256()
    for chunk in encoded:
        state.update(chunk)
    return state.hexdigest()


def seal(turn: int, previous_turn_hash: str, digests: Mapping[str, str]) -> str:
    """Return the turn_hash over the digests of a turn's parts, in the order of their names."""
    parts = [text for name in sorted(digests) for text in (name, digests[name])]
    return H("turn", turn, previous_turn_hash, *parts)
