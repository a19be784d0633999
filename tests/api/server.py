"""A real engine in a process of its own, on a port that the system chose."""

from __future__ import annotations

import io
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx

from sim_engine.__main__ import main

ROOT = Path(__file__).parents[2]
START_SECONDS = 30.0


class Server:
    """A running `sim-engine serve`, its address, and the log lines that it has written so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.log: list[str] = []
        self.url = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line.rstrip("\n"))

    def wait_until_listening(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self.url:
            for line in list(self.log):
                if found := re.search(r"(?:event=listening url=|running on )(http\S+)", line):
                    self.url = found[1]
            assert self.process.poll() is None, "\n".join(self.log)
            assert time.monotonic() < deadline, "\n".join(self.log)
            time.sleep(0.02)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def wait_for(self, text: str) -> None:
        """Wait until a line with the text was logged, which may be after an answer was read."""
        deadline = time.monotonic() + 10
        while not any(text in line for line in list(self.log)):
            assert time.monotonic() < deadline, "\n".join(self.log[-20:])
            time.sleep(0.01)

    def stop(self) -> int:
        """End the server as a service manager does; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(30)
        self._reader.join(5)
        return status

    def kill(self) -> None:
        """End the server at once, if it is not ended, and read what is left of its log."""
        self.process.kill()
        self.process.wait(30)
        self._reader.join(5)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def client(self, key: str | None = None) -> httpx.Client:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30)

    def lines(self, event: str) -> list[dict[str, str]]:
        """The log lines of an event, as their fields."""
        found = [dict(re.findall(r'(\w+)=("(?:\\.|[^"])*"|\S*)', line)) for line in self.log]
        return [line for line in found if line.get("event") == event]


def environment(**variables: str) -> dict[str, str]:
    """What a process of the engine is given: nothing of this one's settings."""
    return {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), **variables}


@dataclass(frozen=True)
class Said:
    """What a command left behind."""

    returncode: int
    stdout: str
    stderr: str


def run(*arguments: str, cwd: Path, stdin: str = "", **variables: str) -> Said:
    """Run `sim-engine` to its end: `serve` in a process of its own, the rest in this one."""
    if arguments[0] == "serve":
        done = subprocess.run(
            [sys.executable, "-m", "sim_engine", *arguments],
            env=environment(**variables),
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return Said(done.returncode, done.stdout, done.stderr)
    stdout, stderr = io.StringIO(), io.StringIO()
    with (
        chdir(cwd),
        patch.dict(os.environ, variables, clear=True),
        patch("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()))),
        redirect_stdout(stdout),
        redirect_stderr(stderr),
    ):
        status = main(arguments)
    return Said(status, stdout.getvalue(), stderr.getvalue())


SERVE = ("sim_engine", "serve", "--port", "0")


@contextmanager
def serving(
    db_path: Path, *flags: str, program: Sequence[str] = SERVE, **variables: str
) -> Iterator[Server]:
    command = [sys.executable, "-m", *program, *flags]
    given = environment(DB_PATH=str(db_path), **variables)
    with subprocess.Popen(
        command, env=given, cwd=db_path.parent, stderr=subprocess.PIPE, text=True
    ) as process:
        server = Server(process)
        try:
            server.wait_until_listening()
            yield server
        finally:
            server.kill()


def world(agents: list[Any] | int = 3, **more: Any) -> Mapping[str, Any]:
    """A body of POST /init."""
    roster = agents if isinstance(agents, list) else [f"agent_{i}" for i in range(agents)]
    return {"seed": "seed-0", "agents": roster, **more}
