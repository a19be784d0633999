"""The threads in which the engine works, so that the event loop stays free for everybody else."""

from __future__ import annotations

from asyncio import Task, create_task, shield
from collections.abc import Callable
from functools import partial
from typing import Final, ParamSpec, TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import Request

from sim_engine.engine import Engine

P = ParamSpec("P")
T = TypeVar("T")

READERS_MAX: Final = 16
QUEUERS_MAX: Final = 4
WRITERS_MAX: Final = 2


class Workers:
    """Runs the engine's methods in threads of three kinds, so that no kind can starve another.

    While a turn is processed, readers wait for it; they must not hold the threads that the next
    turn needs, and neither must agents that queue actions.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._readers = CapacityLimiter(READERS_MAX)
        self._queuers = CapacityLimiter(QUEUERS_MAX)
        self._writers = CapacityLimiter(WRITERS_MAX)
        self._states: dict[tuple[int | None, bool], Task[bytes]] = {}

    async def read(self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a method that reads."""
        return await to_thread.run_sync(partial(method, *args, **kwargs), limiter=self._readers)

    async def state(self, *, with_agents: bool) -> bytes:
        """Read the public world. After a seal the first to ask has it made, all others wait for it.

        Else each of them would queue for a thread and for the engine's lock, which the next turn
        may take before they are through.
        """
        ready = self.engine.ready_state(with_agents=with_agents)
        if ready is not None:
            return ready
        # Whoever asks after a turn was answered must see that turn or a later one.
        asked = (self.engine.turn, with_agents)
        making = self._states.get(asked)
        if making is None:
            making = create_task(self.read(self.engine.state, with_agents=with_agents))
            making.add_done_callback(lambda _: self._states.pop(asked))
            self._states[asked] = making
        return await shield(making)

    async def read_light(self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a method that reads a little of what is in memory: at once, if no turn is in hand.

        A change of threads costs several times what such a method does.
        """
        with self.engine.at_once() as held:
            if held:
                return method(*args, **kwargs)
        return await self.read(method, *args, **kwargs)

    async def queue(self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a method that queues an agent's actions."""
        return await to_thread.run_sync(partial(method, *args, **kwargs), limiter=self._queuers)

    async def write(self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a method that changes the world. It runs to its end even if the caller gives up."""
        return await to_thread.run_sync(partial(method, *args, **kwargs), limiter=self._writers)


def workers_of(request: Request) -> Workers:
    """Return the workers of the application that got a request."""
    workers: Workers = request.app.state.workers
    return workers
