"""An engine in a process of its own, for benchmarks that measure what a client sees."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

START_SECONDS_MAX: Final = 60


@dataclass(frozen=True, slots=True)
class Server:
    """A running engine."""

    client: httpx.Client
    pid: int

    def peak_memory_bytes(self) -> int:
        """Return the most memory that the engine has had so far (Linux)."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024


@contextmanager
def serving(db_path: Path) -> Iterator[Server]:
    """Serve a ledger on a free loopback port until the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "DB_PATH": str(db_path),
        "PORT": str(port),
        "SIM_MAX_BODY_BYTES": str(256 * 2**20),
    }
    command = [sys.executable, "-m", "sim_engine", "serve"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=600) as client:
            _wait(client)
            yield Server(client, process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def _wait(client: httpx.Client) -> None:
    ends = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < ends:
        try:
            client.get("/health")
        except httpx.ConnectError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(f"the engine did not answer within {START_SECONDS_MAX} seconds")
