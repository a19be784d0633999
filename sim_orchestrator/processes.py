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
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Final

from sim_orchestrator.engine_client import EngineClient, EngineError

START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 15.0

_PR_SET_PDEATHSIG: Final = 1

_RUNNING: Final[list[subprocess.Popen[bytes]]] = []
"""The servers that are to end with this process."""


class ServerFailed(Exception):
    """A server that the run needs did not start. The text says why."""


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

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid if self._process else 0

    async def start(self, *, key: str = "") -> None:
        """Start it and wait until it answers.  Raises ServerFailed."""
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
                if self._process.poll() is not None or time.monotonic() > ends_at:
                    raise ServerFailed(
                        f"the engine did not start: {_last_line(self._log_path) or error}"
                    ) from None
            await asyncio.sleep(0.03)

    def stop(self) -> None:
        """End it: with SIGTERM, and if it does not listen, without asking."""
        if self._process is not None:
            stop_server(self._process)
            self._process = None


@contextlib.asynccontextmanager
async def own_engine(db_path: Path, log_path: Path, *, key: str) -> AsyncIterator[EngineProcess]:
    """Run an engine for as long as the context lasts.  Raises ServerFailed."""
    engine = EngineProcess(db_path, log_path)
    await engine.start(key=key)
    try:
        yield engine
    finally:
        engine.stop()


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
    lines = path.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""
