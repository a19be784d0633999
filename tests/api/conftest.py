"""Fixtures of the API's tests: an application in process, with a world in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from sim_engine.api.app import create_app
from sim_engine.settings import Settings
from tests.api.server import world

OpenApp = Callable[..., TestClient]


@pytest.fixture
def open_app(tmp_path: Path) -> Iterator[OpenApp]:
    """Start applications with settings of their own; all are stopped at the end of the test."""
    numbers = count()
    with ExitStack() as stack:

        def opening(agents: list[str] | None = None, **settings: Any) -> TestClient:
            path = tmp_path / f"sim-{next(numbers)}.db"
            app = create_app(Settings(**{"db_path": path, **settings}))
            client = stack.enter_context(TestClient(app, raise_server_exceptions=False))
            if agents is not None:
                key = settings.get("operator_key")
                headers = {"Authorization": f"Bearer {key}"} if key else {}
                made = client.post("/init", json=world(agents), headers=headers)
                assert made.status_code == 201, made.text
            return client

        yield opening
