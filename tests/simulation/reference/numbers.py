"""Hashes, draws and exact division (rules §1)."""

import hashlib
from collections.abc import Mapping, Sequence

MAX_AMOUNT = 2**53 - 1
TEN_THOUSAND = 10_000


def digest(*fields: int | str) -> bytes:
    """Return H: SHA-256 over the fields, each prefixed by its length in 4 bytes (rules §1)."""
    data = b""
    for field in fields:
        text = str(field).encode("utf-8")
        data += len(text).to_bytes(4, "big") + text
    return hashlib.sha256(data).digest()


def draw(*fields: int | str) -> int:
    """Return H of the fields read as a 256-bit big-endian integer (rules §1)."""
    return int.from_bytes(digest(*fields), "big")


def pick(n: int, *fields: int | str) -> int:
    """Return a number that is uniform on 0 … n−1 (rules §1)."""
    return (draw(*fields) * n) >> 256


def apportion(total: int, weights: Mapping[str, int], roster: Sequence[str]) -> dict[str, int]:
    """Split `total` exactly by weight; the largest remainders get the odd units (rules §1).

    Ties among remainders go to the earlier in `roster`. Nothing is allotted if all weights are 0.
    """
    sum_of_weights = sum(weights.values())
    if sum_of_weights == 0:
        return dict.fromkeys(weights, 0)
    share = {who: total * w // sum_of_weights for who, w in weights.items()}
    left_over = total - sum(share.values())
    by_remainder = sorted(
        weights, key=lambda who: (-(total * weights[who] % sum_of_weights), roster.index(who))
    )
    for who in by_remainder[:left_over]:
        share[who] += 1
    return share


def part(amount: int, bps: int) -> int:
    """Return `bps` basis points of an amount, rounded down (rules §1)."""
    return amount * bps // TEN_THOUSAND
