"""Fixtures of the engine's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from typing import Any

import pytest

from tests.engine import harness
from tests.engine.harness import EngineWorld

OpenWorld = Callable[..., EngineWorld]


@pytest.fixture
def open_world() -> Iterator[OpenWorld]:
    """Open as many worlds as a test wants; all are closed at its end."""
    numbers = count()
    with ExitStack() as stack:
        folder = stack.enter_context(harness.scratch())

        def opening(*args: Any, **kwargs: Any) -> EngineWorld:
            path = folder / f"sim-{next(numbers)}.db"
            return stack.enter_context(harness.open_world(path, *args, **kwargs))

        yield opening
