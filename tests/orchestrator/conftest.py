from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sim_orchestrator.processes import EngineProcess


class Engine:
    """A real engine on a free port; its world is a file that survives it."""

    def __init__(self, directory: Path) -> None:
        self.db = directory / "sim.db"
        self.log = directory / "engine.log"
        self._process = EngineProcess(self.db, self.log)
        self._over = threading.Event()

    @property
    def url(self) -> str:
        return self._process.url

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self) -> None:
        """Start it, on the port it had before."""
        asyncio.run(self._process.start())

    def start_later(self, seconds: float) -> None:
        """Start it from a thread, which lives as long as the engine: it dies with its parent."""

        def start() -> None:
            time.sleep(seconds)
            self.start()
            self._over.wait()

        threading.Thread(target=start, daemon=True).start()

    def stop(self) -> None:
        self._process.stop()

    def close(self) -> None:
        self.stop()
        self._over.set()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    directory = tmp_path / "engine"
    directory.mkdir()
    engine = Engine(directory)
    engine.start()
    yield engine
    engine.close()


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Run in an empty directory, with nothing set from outside."""
    for name in list(os.environ):
        if name.startswith(("SIM_", "OLLAMA_")) or name == "ENGINE_URL":
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
