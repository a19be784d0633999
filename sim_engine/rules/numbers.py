"""Integers, hashes and draws: the arithmetic that every other rule is written in.  (rules §1)"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

BPS: Final = 10_000
"""Basis points in a whole: a ratio r is applied as ``amount * r // BPS``."""

DRAW_BITS: Final = 256
"""Width of a draw: a SHA-256 digest read as a big-endian integer."""


def field(value: int | str) -> bytes:
    """Encode a hashed field: its decimal or text form in UTF-8 after a 4-byte big-endian length."""
    text = str(value).encode()
    return len(text).to_bytes(4, "big") + text


def _encoded(fields: Sequence[int | str]) -> bytes:
    """Encode fields one after the other, as ``field`` does."""
    parts: list[bytes] = []
    for value in fields:
        text = str(value).encode()
        parts.append(len(text).to_bytes(4, "big"))
        parts.append(text)
    return b"".join(parts)


def H(*fields: int | str) -> str:  # noqa: N802 - the name that the rules give it
    """Hash the fields to 64 hexadecimal digits.  (rules §1)"""
    return sha256(_encoded(fields)).hexdigest()


def draw(*fields: int | str) -> int:
    """Draw an integer that is uniform on 0 … 2^256 - 1 and fixed by the fields.  (rules §1)"""
    return int.from_bytes(sha256(_encoded(fields)).digest(), "big")


def pick(n: int, *fields: int | str) -> int:
    """Pick an integer that is uniform on 0 … n - 1 and fixed by the fields.  (rules §1)"""
    return draw(*fields) * n >> DRAW_BITS


class DrawFamily:
    """Draws that differ in their last field only, as one lottery's draws for all its agents do.

    The common fields are hashed once; ``DrawFamily(a, b).draw(field(c))`` is ``draw(a, b, c)`` in
    bytes.
    """

    __slots__ = ("_common",)

    def __init__(self, *common: int | str) -> None:
        """Hash the fields that all draws of the family share."""
        self._common = sha256(_encoded(common))

    def draw(self, last: bytes) -> bytes:
        """Finish a draw with an encoded last field (see ``field``).

        Returns the 32 bytes of the draw, which compare as the integers do that they stand for.
        """
        state = self._common.copy()
        state.update(last)
        return state.digest()


def portion(amount: int, ratio_bps: int) -> int:
    """Take a ratio (basis points) of an amount, rounded down."""
    return amount * ratio_bps // BPS


def apportion(total: int, weights: Sequence[int]) -> list[int]:
    """Split an integer exactly among weights, largest remainder first.  (rules §1)

    ``weights`` come in roster order, which decides ties. Returns one share a weight; they add up to
    ``total``, or are all 0 where no weight is positive.
    """
    whole = sum(weights)
    if whole == 0:
        return [0] * len(weights)
    products = [total * weight for weight in weights]
    shares = [product // whole for product in products]
    left_over = total - sum(shares)
    if left_over:
        remainders = [product % whole for product in products]
        # A reversed sort is stable too: equal remainders stay in roster order.
        by_remainder = sorted(range(len(weights)), key=remainders.__getitem__, reverse=True)
        for i in by_remainder[:left_over]:
            shares[i] += 1
    return shares
