"""Starts the server as a process of its own: a crash of llama.cpp ends no run.

The process ends with the one that started it, however that ends: it reads a pipe whose other end
closes with its parent.
"""

import asyncio
import os
import re
import select
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import IO, Self

from sim_orchestrator.local_model.errors import LocalModelError

START_SECONDS = 300.0
"""How long a model may take to load: a large one is read from a slow disk."""

STOP_SECONDS = 5.0
LOOK_SECONDS = 0.25
"""How often a server is looked after."""

_READY = re.compile(r"Ollama API for (?P<model>\S+) at (?P<url>http://\S+)")
_LOG_TAIL_BYTES = 2000


def ready_line(model: str, url: str) -> str:
    """Return the one line that the server prints when it can be asked."""
    return f"Ollama API for {model} at {url}"


class LocalModel:
    """A running server.

    Attributes:
        url: Where it answers, for `ollama.Client(host=url)`.
        model: The name of its one model.
        log_path: Where it writes what llama.cpp reports.
    """

    def __init__(self, process: subprocess.Popen[str], model: str, url: str, log: Path) -> None:
        self._process = process
        self.model = model
        self.url = url
        self.log_path = log

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def port(self) -> int:
        """The port of its address."""
        return int(self.url.rpartition(":")[2])

    @property
    def has_ended(self) -> bool:
        """Whether its process is there no more."""
        return self._process.poll() is not None

    def go_on_in(self, other: "LocalModel") -> None:
        """Take the process of another one over, which was started in the place of this one's."""
        _stop(self._process)
        self._process = other._process

    def stop(self) -> None:
        """End it: by closing the pipe, and if it does not heed that, without asking."""
        _stop(self._process)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start_local_model(
    model_file: str | Path | None = None,
    *,
    log_path: Path,
    port: int = 0,
    context_tokens: int | None = None,
    threads: int | None = None,
    slots: int | None = None,
) -> LocalModel:
    """Start the server on a loopback port and wait until it can be asked.

    Args:
        model_file: A GGUF file; None is the default model.
        log_path: Where its standard error goes; it is appended to.
        port: Where it listens; 0 is any free port.
        context_tokens: The longest context that calls will ask for; a model that was trained for
            less has that. None leaves it to the server, as with the next two.
        threads: Threads that compute.
        slots: Requests computed at once.

    Raises:
        LocalModelError: It did not start; the text is its own reason.
    """
    given = {
        "--model": model_file,
        "--port": port,
        "--context-most": context_tokens,
        "--threads": threads,
        "--slots": slots,
    }
    command = [sys.executable, "-m", "sim_orchestrator.local_model", "--until-stdin-closes"]
    for flag, value in given.items():
        if value is not None:
            command += [flag, str(value)]
    package_root = str(Path(__file__).parents[2])
    paths = [package_root, *filter(None, [os.environ.get("PYTHONPATH")])]
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            command,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            # Ctrl-C is for the run, which may want to finish its turn with this model.
            start_new_session=True,
        )
    try:
        return _wait_until_ready(process, log_path, time.monotonic() + START_SECONDS)
    except BaseException:
        _stop(process)
        raise


@asynccontextmanager
async def running_server(
    model_file: str | Path | None = None, *, log_path: Path, context_tokens: int
) -> AsyncIterator[LocalModel]:
    """Run a server for as long as the context lasts, without blocking the event loop.

    One that crashes is started again at the same address: it costs the calls that it was at.

    Args:
        model_file: A GGUF file; None is the default model.
        log_path: Where its standard error goes.
        context_tokens: The longest context that calls will ask for.

    Raises:
        LocalModelError: It did not start; the text is its own reason.
    """
    start = partial(start_local_model, model_file, log_path=log_path, context_tokens=context_tokens)
    server = await asyncio.to_thread(start)
    keeper = asyncio.create_task(_keep_running(server, start))
    try:
        yield server
    finally:
        keeper.cancel()
        await asyncio.wait([keeper])
        await asyncio.to_thread(server.stop)


async def _keep_running(server: LocalModel, start: Callable[..., LocalModel]) -> None:
    """Start a server again whenever it has ended, until it can not be started any more."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        if server.has_ended:
            try:
                server.go_on_in(await asyncio.to_thread(start, port=server.port))
            except LocalModelError:
                return  # its log says why; calls to it fail from now on


def _wait_until_ready(process: subprocess.Popen[str], log: Path, ends_at: float) -> LocalModel:
    """Read the line that says where the server is."""
    output: IO[str] | None = process.stdout
    assert output is not None
    while time.monotonic() < ends_at:
        readable, _, _ = select.select([output], [], [], ends_at - time.monotonic())
        if not readable:
            break
        line = output.readline()
        if ready := _READY.match(line):
            output.close()
            return LocalModel(process, ready["model"], ready["url"], log)
        if not line:
            raise LocalModelError(f"the local model did not start: {_tail(log)}")
    raise LocalModelError(f"the local model took too long to load; its log is {log}")


def _stop(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _tail(log: Path) -> str:
    """Return what the server said last: its own complaint, or what llama.cpp reported."""
    text = log.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace").strip()
    _, complaint, reason = text.rpartition("error: ")
    return reason if complaint else text
