"""An engine in a process of its own that a test may kill at any moment.

Processes are forked from a server that has everything imported already, so that a hundred starts
take seconds. What is killed is the engine itself with its real ledger; HTTP is left out.
"""

from __future__ import annotations

import multiprocessing
import resource
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

from sim_engine.engine import Engine
from sim_engine.errors import RequestError

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.trust.driver"])

ANSWER_SECONDS = 60.0
"""How long a test waits for an answer that must come."""


def _limit_file_size(size: int | None) -> None:
    """Let no file of this process grow beyond so many bytes: a write beyond fails with EFBIG."""
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard if size is None else size, hard))


def _run(path: Path, wire: Connection) -> None:
    """Answer requests ``(method, arguments, keywords)`` until the wire is closed."""
    engine = Engine.open(path)
    wire.send(engine.turn)
    while True:
        try:
            method, arguments, keywords = wire.recv()
        except EOFError:
            engine.close()
            return
        try:
            answer: Any = None
            if method == "limit_file_size":
                _limit_file_size(*arguments)
            elif method == "halted":
                answer = engine.halted
            else:
                answer = getattr(engine, method)(*arguments, **keywords)
        except RequestError as refusal:
            answer = refusal.code
        wire.send(answer)


class EngineProcess:
    """A running engine on a ledger, and the wire to it."""

    def __init__(self, path: Path) -> None:
        """Start, and wait until the engine has read its world; ``turn`` is its last sealed one."""
        self._launch(path)
        self.turn: int | None = self.answer()

    @classmethod
    def launch(cls, path: Path) -> EngineProcess:
        """Start, and wait for nothing."""
        launched = cls.__new__(cls)
        launched._launch(path)
        return launched

    def _launch(self, path: Path) -> None:
        self._wire, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=_run, args=(path, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def __enter__(self) -> EngineProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.kill()

    def ask(self, method: str, *arguments: Any, **keywords: Any) -> None:
        """Send a request; its answer is there some time later."""
        self._wire.send((method, arguments, keywords))

    def answered_within(self, seconds: float) -> bool:
        """Wait for the answer for so long at most; tells whether it is there."""
        return self._wire.poll(seconds)

    def answer(self) -> Any:
        """Return the answer; the code of a refusal."""
        assert self._wire.poll(ANSWER_SECONDS), "the engine does not answer"
        return self._wire.recv()

    def call(self, method: str, *arguments: Any, **keywords: Any) -> Any:
        """Ask, and wait for the answer."""
        self.ask(method, *arguments, **keywords)
        return self.answer()

    def kill(self) -> None:
        """SIGKILL: nothing is finished, nothing is closed."""
        self._process.kill()
        self._process.join()
        self._wire.close()
