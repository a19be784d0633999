from __future__ import annotations

from pathlib import Path

import pytest

from tests.trust import everything


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger of a world in which everything has happened; for copies, not to be changed."""
    path = tmp_path_factory.mktemp("trust") / "sound.db"
    everything.make(path)
    return path
