"""How much a client may send, how long it may take, and how often it may ask."""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from fastapi import Request
from starlette.requests import ClientDisconnect

from sim_engine.api.problems import Problem

QUEUE_BODY_BYTES_MAX: Final = 2**20
"""The largest body of ``POST /actions``, which holds the actions of one agent only."""

_CALLERS_REMEMBERED: Final = 10_000


async def read_body(request: Request, *, bytes_max: int, seconds: float) -> bytes:
    """Read a whole body before anything looks into it.

    Raises:
        Problem: ``body_too_large`` as soon as it is known, by the header or by the bytes;
            ``body_too_slow`` when the body is not complete in time; ``body_incomplete`` when the
            client goes away before.
    """
    too_large = Problem(
        "body_too_large", f"the body is larger than {bytes_max:,} bytes, the most that is taken"
    )
    if int(request.headers.get("content-length") or 0) > bytes_max:
        raise too_large
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(seconds):
            async for part in request.stream():
                size += len(part)
                if size > bytes_max:
                    raise too_large
                parts.append(part)
    except TimeoutError:
        raise Problem(
            "body_too_slow",
            f"the body was not complete within {seconds:g} seconds; nothing is applied",
            headers={"Connection": "close"},
        ) from None
    except ClientDisconnect:
        raise Problem("body_incomplete") from None
    return parts[0] if len(parts) == 1 else b"".join(parts)


class RateLimiter:
    """A bucket of requests for each caller: it holds two seconds' worth and fills at a steady rate.

    Args:
        per_second: requests a second for one caller.
        clock: seconds that never go back.
    """

    def __init__(self, per_second: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._burst = 2.0 * per_second
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, caller: str) -> None:
        """Count a request.  Raises Problem ``rate_limited``, with ``Retry-After`` in seconds."""
        now = self._clock()
        left, since = self._buckets.pop(caller, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._per_second)
        allowed = left >= 1.0
        self._buckets[caller] = (left - 1.0 if allowed else left, now)
        if len(self._buckets) > _CALLERS_REMEMBERED:
            self._buckets.popitem(last=False)
        if not allowed:
            wait = math.ceil((1.0 - left) / self._per_second)
            raise Problem(
                "rate_limited",
                f"more than {self._per_second:,} requests a second; go on in {wait} s",
                headers={"Retry-After": str(wait)},
            )
