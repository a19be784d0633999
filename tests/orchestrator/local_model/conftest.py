"""One server with the real model for all tests of this directory."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import ollama
import pytest

from sim_orchestrator.local_model import LocalModel, start_local_model

Chat = Callable[..., httpx.Response]

ANSWER_SECONDS = 100.0


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalModel]:
    """A model that is not installed fails here, with the command that installs it."""
    log = tmp_path_factory.mktemp("local_model") / "server.log"
    with start_local_model(log_path=log) as running:
        yield running


@pytest.fixture
def client(server: LocalModel) -> Iterator[ollama.Client]:
    with ollama.Client(host=server.url, timeout=ANSWER_SECONDS) as connected:
        yield connected


@pytest.fixture
def http(server: LocalModel) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=ANSWER_SECONDS) as connected:
        yield connected


@pytest.fixture
def chat(http: httpx.Client, server: LocalModel) -> Chat:
    """Ask without a stream, 12 tokens at temperature 0 where nothing else is said."""

    def ask(content: str = "Say hello.", **changes: Any) -> httpx.Response:
        body: dict[str, Any] = {
            "model": server.model,
            "messages": [{"role": "user", "content": content}],
            "stream": False,
            **changes,
        }
        body["options"] = {"num_predict": 12, "temperature": 0, **changes.get("options", {})}
        return http.post("/api/chat", json=body)

    return ask
