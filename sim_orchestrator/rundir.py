"""A run's directory: ``run.json`` says what was run and what it came to."""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson

from sim_orchestrator.transcript import FILE_NAME

RUN_FILE: Final = "run.json"
DB_FILE: Final = "sim.db"
ENGINE_LOG: Final = "engine.log"
MODEL_LOG: Final = "model.log"

_LOG_IS: Final = "its log is"
"""The words by which an error sends its reader to a server's log."""

_PACKAGES: Final = ("sim-economy", "ollama", "httpx", "xllamacpp")


class RunError(Exception):
    """A run's directory is not what it should be. The text says what to do."""


class RunDirectory:
    """The files of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._made = False

    @property
    def transcript(self) -> Path:
        """The file of its calls and turns."""
        return self.path / FILE_NAME

    @property
    def db(self) -> Path:
        """The file of its world, if it has an engine of its own."""
        return self.path / DB_FILE

    def create(self) -> None:
        """Make the directory and take it for this run.

        Raises RunError when it holds a run already, or one that is just being started.
        """
        try:
            self._made = not self.path.exists()
            self.path.mkdir(parents=True, exist_ok=True)
            if self.transcript.exists():
                raise FileExistsError
            (self.path / RUN_FILE).touch(exist_ok=False)
        except FileExistsError:
            raise RunError(
                f"{self.path} holds a run already: go on with it by --resume {self.path}, "
                "or choose another --name"
            ) from None
        except OSError as error:
            raise RunError(f"can not make {self.path}: {error.strerror}") from None

    def discard(self) -> None:
        """Remove what was written for a run that never began."""
        (self.path / RUN_FILE).unlink(missing_ok=True)
        if self.transcript.exists() and not self.transcript.stat().st_size:
            self.transcript.unlink()

    def leave(self, said: str = "") -> None:
        """Remove what was made for a run that never began.

        Args:
            said: why it did not; where this tells of a log, the logs stay.
        """
        run_file = self.path / RUN_FILE
        with contextlib.suppress(OSError):
            if run_file.exists():
                if run_file.stat().st_size:
                    return
                run_file.unlink()
            if self._made and _LOG_IS not in said:
                logs = (self.path / ENGINE_LOG, self.path / MODEL_LOG)
                for path in (*logs, *self.path.glob(f"{DB_FILE}*")):
                    path.unlink(missing_ok=True)
            self.path.rmdir()

    def load(self) -> dict[str, Any]:
        """Read ``run.json``.  Raises RunError."""
        path = self.path / RUN_FILE
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise RunError(f"{self.path} holds no run: there is no {RUN_FILE} in it") from None
        except OSError as error:
            raise RunError(f"can not read {path}: {error.strerror}") from None
        if not content:
            raise RunError(f"{self.path} holds a run that never began")
        try:
            found = orjson.loads(content)
        except orjson.JSONDecodeError as error:
            raise RunError(f"{path} is damaged: {error}") from None
        if not isinstance(found, dict) or "settings" not in found:
            raise RunError(f"{path} is no file of a run")
        return found

    def save(self, content: dict[str, Any]) -> None:
        """Write ``run.json`` whole or not at all.  Raises RunError."""
        path = self.path / RUN_FILE
        beside = path.with_suffix(".json.new")
        try:
            beside.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n")
            beside.replace(path)
        except OSError as error:
            raise RunError(f"can not write {path}: {error.strerror}") from None


def versions() -> dict[str, str]:
    """Return the versions that shaped a run."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # an extra that is not installed
    return found


@dataclass(frozen=True, slots=True)
class TimePlayed:
    """How long a run was played.

    Attributes:
        seconds: the time of all sessions whose end is known.
        sessions: how many there are.
        unknown: how many of them were killed, or are being played, so that their end is not known.
    """

    seconds: float
    sessions: int
    unknown: int = 0


def time_played(sessions: Sequence[Mapping[str, Any]]) -> TimePlayed:
    """Add the sessions of ``run.json`` up; older ones have no seconds, but start and end."""
    known = [session for session in sessions if "ended" in session]
    seconds = sum(
        session["seconds"]
        if "seconds" in session
        else _moment(session["ended"]) - _moment(session["started"])
        for session in known
    )
    return TimePlayed(seconds, len(sessions), len(sessions) - len(known))


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def now() -> str:
    """Return the time of day in UTC, for people."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def checked_name(name: str) -> str:
    """Return the name of a new run's directory if it can be one.  Raises RunError."""
    if name in (".", "..") or "/" in name or not name.isprintable():
        raise RunError(
            f"--name {name!r} is no name of a run: it is one directory, made in --run-dir, "
            "and has no slash"
        )
    return name


def default_name(minds: str) -> str:
    """Return a directory name that sorts by time."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{minds}"
