"""Stopping a run by signal: the first stops it cleanly, a second one at once."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Interrupt:
    """Turns SIGINT and SIGTERM into the end of a run.

    The first signal cancels the task that plays, unless it is in the middle of sealing a turn: then
    the turn is finished first. The second ends the process without further ado.

    Args:
        on_first: called at the first signal, before anything is cancelled.
        on_second: called at the second, before the process ends.
    """

    def __init__(self, on_first: Callable[[], None], on_second: Callable[[], None]) -> None:
        self.signal: signal.Signals | None = None
        self._on_first = on_first
        self._on_second = on_second
        self._task: asyncio.Task[object] | None = None
        self._sealing = False

    @property
    def exit_code(self) -> int:
        """The exit code that shells expect of a program ended by the signal."""
        return 128 + (self.signal or signal.SIGINT)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Handle the signals while the current task plays."""
        loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        for each in SIGNALS:
            loop.add_signal_handler(each, self._received, each)
        try:
            yield
        finally:
            for each in SIGNALS:
                loop.remove_signal_handler(each)

    @contextmanager
    def sealing(self) -> Iterator[None]:
        """Let nothing be cancelled between submitting a turn and recording it."""
        self._sealing = True
        try:
            yield
        finally:
            self._sealing = False
        if self.signal is not None:
            raise asyncio.CancelledError

    def let_finish(self) -> None:
        """Cancel nothing any more: the play is over, and its summary is to be written."""
        self._task = None

    def _received(self, number: signal.Signals) -> None:
        if self.signal is not None:
            self._on_second()
            os._exit(128 + number)
        self.signal = number
        self._on_first()
        if self._task is not None and not self._sealing:
            self._task.cancel()
