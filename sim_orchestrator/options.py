"""The options of a run, one row each.

Flag, run file key and environment variable (``SIM_`` and the name in capitals) follow from the row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

from sim_orchestrator.orchestrator import AGENT_IDS, MODEL, TURNS

MIND_KINDS: Final = ("ollama", "local", "scripted", "recorded")

PREFIX: Final = "SIM_"
ENGINE_VARIABLES: Final = (
    "SIM_OPERATOR_KEY",
    "SIM_ALLOW_OPEN",
    "SIM_MAX_BODY_BYTES",
    "SIM_BODY_SECONDS",
    "SIM_RATE_LIMIT",
    "SIM_LOG_LEVEL",
)
"""What an engine reads, in the same environment."""


class SettingsError(Exception):
    """A setting is wrong. The text names it and says what would be right."""


@dataclass(frozen=True, slots=True)
class Option:
    """One setting of a run.

    Attributes:
        name: its name in a run file; ``--max-minutes`` and ``SIM_MAX_MINUTES`` follow from it.
        kind: the type of its value.
        default: what it is when nobody sets it; ``None`` stands for ``unset``.
        unset: what the default does, in words, when it is ``None``.
        help: what it does, with its unit.
        least: the smallest number allowed.
        choices: the only values allowed.
        also: a further environment variable, which other tools know.
    """

    name: str
    kind: type
    default: Any
    help: str
    unset: str = ""
    least: float | None = None
    choices: tuple[str, ...] = ()
    also: str = ""

    @property
    def flag(self) -> str:
        """The command line's name for it."""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """The environment's name for it."""
        return PREFIX + self.name.upper()

    def from_text(self, text: str, place: str) -> Any:
        """Read a value from a flag or an environment variable.  Raises SettingsError."""
        if self.kind is bool:
            if text.lower() in ("1", "true", "yes", "on"):
                return True
            if text.lower() in ("0", "false", "no", "off", ""):
                return False
            raise SettingsError(f"{place} is {text!r}: say true or false")
        try:
            value = self.kind(text)
        except ValueError:
            wanted = "a whole number" if self.kind is int else "a number"
            raise SettingsError(f"{place} is {text!r}: it must be {wanted}") from None
        return self.checked(value, place)

    def checked(self, value: Any, place: str) -> Any:
        """Return a value of the right type within its bounds.  Raises SettingsError."""
        if self.kind is float and type(value) is int:
            value = float(value)
        if type(value) is not self.kind:
            raise SettingsError(
                f"{place} is {value!r}: it must be of type {self.kind.__name__}, "
                f"not {type(value).__name__}"
            )
        if isinstance(value, int | float) and not isinstance(value, bool):
            if not math.isfinite(value):
                raise SettingsError(f"{place} is {value}: it must be a finite number")
            if self.least is not None and value < self.least:
                raise SettingsError(f"{place} is {value}: it must be at least {self.least:g}")
        if self.choices and value not in self.choices:
            raise SettingsError(f"{place} is {value!r}: choose one of {', '.join(self.choices)}")
        return value


OPTIONS: Final = (
    Option("minds", str, "ollama", "what decides for the agents", choices=MIND_KINDS),
    Option("turns", int, TURNS, "the turn after which the run is over", least=1),
    Option("agents", str, ",".join(AGENT_IDS), "how many agents, or their ids with commas"),
    Option("model", str, MODEL, "the model that thinks for every agent that names no other"),
    Option("persona", str, None, "who every agent is told to be", unset="eight characters in turn"),
    Option("temperature", float, 0.7, "how freely the model chooses its words", least=0),
    Option("num_ctx", int, 8192, "context window of a call (tokens)", least=512),
    Option("num_predict", int, 512, "the most that one answer may have (tokens)", least=16),
    Option("think", bool, False, "let models that can think before they answer do so"),
    Option("parallel", int, 8, "calls in flight at once", least=1),
    Option("timeout", float, 300.0, "the longest one call may take (seconds)", least=0.01),
    Option("deadline", float, 900.0, "the longest a turn waits for answers (seconds)", least=0.01),
    Option(
        "max_failures", int, 3, "stop when every agent has failed so many turns in a row", least=1
    ),
    Option(
        "max_output_tokens",
        int,
        None,
        "stop after the turn in which the run has generated so many tokens",
        unset="no limit",
        least=1,
    ),
    Option(
        "max_minutes",
        float,
        None,
        "stop after the turn in which so many minutes have passed",
        unset="no limit",
        least=0,
    ),
    Option("seed", str, None, "the secret text all draws come from", unset="a random one"),
    Option("report_durations", bool, True, "tell the engine how long calls took, which it seals"),
    Option("run_dir", str, "runs", "the directory that holds the runs"),
    Option("name", str, None, "the run's directory in it", unset="date, time and minds"),
    Option(
        "engine_url", str, "http://127.0.0.1:3000", "where the engine serves", also="ENGINE_URL"
    ),
    Option(
        "own_engine", bool, False, "start an engine for this run; sim.db goes into its directory"
    ),
    Option("patience", float, 60.0, "how long an engine may be away (seconds)", least=0),
    Option(
        "ollama_host",
        str,
        "http://127.0.0.1:11434",
        "Ollama, or several with commas: each call goes to the one with the fewest in flight",
        also="OLLAMA_HOST",
    ),
    Option("model_file", str, None, "GGUF file for local minds", unset="the embedded SmolLM2-135M"),
    Option("recording", str, None, "run directory that recorded minds play", unset="none"),
    Option("plain", bool, False, "plain lines even on a terminal"),
)

BY_NAME: Final = {option.name: option for option in OPTIONS}
