"""Servers that a run starts for itself and ends with itself."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Final

from sim_orchestrator.engine_client import EngineClient, EngineError

START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 15.0

RESTARTS_MAX: Final = 3
"""How often in a row an engine of our own is started again before the run gives up on it."""

CALM_SECONDS: Final = 60.0
"""An engine that has run for so long has recovered: its next end is the first in a row again."""

LOOK_SECONDS: Final = 0.1
"""How often an engine of our own is looked after."""

_LOG_TAIL_BYTES: Final = 4_096
_PR_SET_PDEATHSIG: Final = 1

_RUNNING: Final[list[subprocess.Popen[bytes]]] = []
"""The servers that are to end with this process."""


class ServerFailed(Exception):
    """A server that the run needs did not start. The text says why.

    ``killed`` tells that somebody else ended it, which says nothing about a next time.
    """

    def __init__(self, text: str, *, killed: bool = False) -> None:
        super().__init__(text)
        self.killed = killed


class EngineProcess:
    """An engine of our own: ``python -m sim_engine serve`` on a free loopback port.

    It ignores the terminal's Ctrl-C, so that the run can finish its turn first, and on Linux it
    ends with the process that started it, however that one ends.

    Args:
        db_path: the file of the world; it is made if it is not there.
        log_path: where its output goes.
    """

    def __init__(self, db_path: Path, log_path: Path) -> None:
        self._db_path = db_path
        self._log_path = log_path
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0
        self.lost = ""
        """Why it ended and is not started again; empty while it runs or may return."""

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid if self._process else 0

    def client(self, *, key: str, patience_seconds: float = 60.0) -> EngineClient:
        """Return a client of it, which does not wait for an engine that is lost."""
        return EngineClient(
            self.url,
            key=key,
            patience_seconds=patience_seconds,
            advice=f"it is the run's own; its log is {self._log_path}",
            lost=lambda: self.lost,
        )

    def ending(self) -> str:
        """Say how it ended, if it did."""
        code = self._process.poll() if self._process else None
        if code is None:
            return ""
        return f"ended with exit status {code}" if code >= 0 else f"was ended by {_signal(-code)}"

    def last_words(self) -> str:
        """Say what it wrote last, if it ended by itself."""
        ended_itself = self._process is not None and (self._process.poll() or 0) > 0
        line = _last_line(self._log_path) if ended_itself else ""
        return f"; the last line of {self._log_path} is: {line}" if line else ""

    async def start(self, *, key: str = "") -> None:
        """Start it, or start it again once it has ended, and wait until it answers.

        Raises ServerFailed.
        """
        self.stop()
        self.port = self.port or _free_port()
        self._process = start_server(
            [sys.executable, "-m", "sim_engine", "serve"],
            {"HOST": "127.0.0.1", "PORT": str(self.port), "DB_PATH": str(self._db_path)},
            self._log_path,
        )
        client = EngineClient(self.url, key=key)
        try:
            await self._wait_for(client)
        except BaseException:
            self.stop()
            raise
        finally:
            await client.close()

    async def _wait_for(self, client: EngineClient) -> None:
        ends_at = time.monotonic() + START_SECONDS
        assert self._process is not None
        while True:
            try:
                await client.health()
                return
            except EngineError as error:
                code = self._process.poll()
                if code is not None:
                    killed = code < 0
                    why = f"it {self.ending()}" if killed else _last_line(self._log_path)
                    raise ServerFailed(
                        f"the engine did not start: {why or error}", killed=killed
                    ) from None
                if time.monotonic() > ends_at:
                    raise ServerFailed(
                        f"the engine did not answer within {START_SECONDS:.0f} seconds; "
                        f"its log is {self._log_path}"
                    ) from None
            await asyncio.sleep(0.03)

    def stop(self) -> None:
        """End it: with SIGTERM, and if it does not listen, without asking."""
        if self._process is not None:
            stop_server(self._process)
            self._process = None


@contextlib.asynccontextmanager
async def own_engine(
    db_path: Path, log_path: Path, *, key: str, note: Callable[[str], None]
) -> AsyncIterator[EngineProcess]:
    """Run an engine for as long as the context lasts; one that ends is started again.

    Args:
        db_path: the file of the world.
        log_path: where its output goes.
        key: the operator key.
        note: told when the engine has ended and is started again.

    Raises:
        ServerFailed: it did not start.
    """
    engine = EngineProcess(db_path, log_path)
    await engine.start(key=key)
    keeper = asyncio.create_task(_keep_running(engine, key, note))
    try:
        yield engine
    finally:
        keeper.cancel()
        await asyncio.wait([keeper])
        engine.stop()


async def _keep_running(engine: EngineProcess, key: str, note: Callable[[str], None]) -> None:
    """Start an engine again whenever it has ended, on its file and port.

    Its file holds every turn that was answered, and a turn that was not is submitted again under
    its number. An engine that halts goes on to answer, and is left alone. One that will not start
    any more, or ends again and again, is given up.
    """
    restarts, started = 0, time.monotonic()
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        ending = engine.ending()
        if not ending:
            continue
        if time.monotonic() - started >= CALM_SECONDS:
            restarts = 0
        if restarts == RESTARTS_MAX:
            engine.lost = (
                f"the run's own engine {ending}, after it had been started again {restarts} times "
                f"in a row{engine.last_words()}"
            )
            return
        while restarts < RESTARTS_MAX and (not engine.pid or engine.ending()):
            restarts += 1
            note(
                f"the run's own engine {ending}: starting it again, {restarts} of {RESTARTS_MAX}"
                f"{engine.last_words()}"
            )
            try:
                await engine.start(key=key)
            except ServerFailed as error:
                if error.killed and restarts < RESTARTS_MAX:
                    continue
                engine.lost = f"the run's own engine {ending}, and it did not come back: {error}"
                return
            except OSError as error:
                engine.lost = (
                    f"the run's own engine {ending}, and could not be started again:"
                    f" {error.strerror}"
                )
                return
        started = time.monotonic()


def start_server(
    command: list[str], environment: Mapping[str, str], log_path: Path
) -> subprocess.Popen[bytes]:
    """Start a server in a session of its own, with its output in a file."""
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
    _RUNNING.append(process)
    return process


def stop_server(process: subprocess.Popen[bytes]) -> None:
    """End a server that `start_server` started."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    _RUNNING.remove(process)


def kill_servers() -> None:
    """End every server that this process has started, without asking."""
    for process in _RUNNING:
        process.kill()


def die_with_parent() -> None:
    """Ask Linux to end this process when its parent ends; elsewhere do nothing."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


# Loaded before any fork: a forked child should not have to load a library.
_LIBC: Final = ctypes.CDLL(None) if sys.platform == "linux" else None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _last_line(path: Path) -> str:
    try:
        with path.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _LOG_TAIL_BYTES))
            lines = log.read().decode(errors="replace").strip().splitlines()
    except FileNotFoundError:
        return ""  # somebody has tidied it away
    return lines[-1] if lines else ""


def _signal(number: int) -> str:
    known = {each.value: each.name for each in signal.Signals}
    return known.get(number, f"signal {number}")
