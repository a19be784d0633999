"""First come, first served, for as many as the model has slots."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

from sim_orchestrator.local_model.errors import ApiError


class Queue:
    """Lets a few requests compute at once and a bounded number wait.

    Args:
        slots: How many compute at once.
        waiting_max: How many may wait; the next is refused.
    """

    def __init__(self, slots: int, waiting_max: int) -> None:
        self._slots = asyncio.Semaphore(slots)
        self._waiting_max = waiting_max
        self._waiting = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a slot and hold it; who is cancelled while waiting leaves the queue.

        Raises:
            ApiError: 503, in Ollama's words, the queue is full.
        """
        if self._slots.locked() and self._waiting >= self._waiting_max:
            raise ApiError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "server busy, please try again.  maximum pending requests exceeded",
            )
        self._waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._slots.release()
