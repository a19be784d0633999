"""Settings that nothing would read are refused by name, as misspelt ones are.

What is set for a whole run is a default, and may find nobody to use it: a run file with a model can
be tried with scripted minds. What is set for one agent, or said in a flag, is meant.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Final

from sim_orchestrator.options import BY_NAME, SettingsError
from sim_orchestrator.settings import Values, roster

_ASKED: Final = ("ollama", "local")

READERS: Final[Mapping[str, tuple[str, ...]]] = {
    "model": ("ollama",),
    "ollama_host": ("ollama",),
    "model_file": ("local",),
    "recording": ("recorded",),
    "archetype": ("scripted",),
    "persona": _ASKED,
    "temperature": _ASKED,
    "num_ctx": _ASKED,
    "num_predict": _ASKED,
    "think": _ASKED,
    "options": _ASKED,
}
"""The minds that read a setting; all others are read whatever the minds are."""


def refuse_idle(in_file: Values, environment: Values, flags: Values, values: Values) -> None:
    """Refuse what a new run was told in vain.  Raises SettingsError.

    Args:
        in_file: what the run file says.
        environment: what the environment says.
        flags: what the flags say.
        values: all of it, merged.
    """
    if in_file.get("own_engine") and "engine_url" in in_file:
        raise SettingsError(
            "engine_url in the run file does nothing: own_engine starts an engine for this run; "
            "leave one of them out"
        )
    overridden = "minds" in environment or "minds" in flags
    for entry in in_file.get("agent", ()):
        _check_agent(entry, values["minds"], overridden=overridden)
    _check_flags(flags, values)


def refuse_idle_on_resume(flags: Values, values: Values) -> None:
    """Refuse flags that a run that goes on is told in vain.  Raises SettingsError.

    Args:
        flags: what the flags say.
        values: the settings of the run with them.
    """
    for name in ("name", "run_dir"):
        if name in flags:
            raise SettingsError(
                f"{BY_NAME[name].flag} does nothing with --resume, which names the run's directory"
            )
    _check_flags(flags, values)


def _check_agent(entry: Values, minds: str, *, overridden: bool) -> None:
    """Refuse what the mind of an agent does not read.

    Minds that a flag or the environment has put in the place of those that the file was written
    for may leave the agents' models unread, but no archetype: that is none of a model.
    """
    mind = entry.get("mind", minds)
    for key in entry:
        if mind in READERS.get(key, (mind,)):
            continue
        if overridden and "mind" not in entry and key != "archetype":
            continue
        raise SettingsError(
            f"{key} of agent {entry['id']} does nothing: its mind is {mind}, and "
            f"{_read_by(key, {mind})}"
        )


def _check_flags(flags: Values, values: Values) -> None:
    if values["own_engine"] and "engine_url" in flags:
        raise SettingsError(
            "--engine-url does nothing: this run has an engine of its own (own_engine); leave one "
            "of them out"
        )
    own = {entry["id"]: entry["mind"] for entry in values.get("agent", ()) if "mind" in entry}
    minds = {str(own.get(agent_id, values["minds"])) for agent_id in roster(values["agents"])}
    for name, value in flags.items():
        if value is False or minds.intersection(READERS.get(name, minds)):
            continue
        flag = BY_NAME[name].flag if name in BY_NAME else "--option"
        raise SettingsError(
            f"{flag} does nothing: the minds are {', '.join(sorted(minds))}, and "
            f"{_read_by(name, minds)}"
        )


def _read_by(name: str, minds: Set[str]) -> str:
    also = "; that of local minds is model_file" if name == "model" and "local" in minds else ""
    return f"only {' and '.join(READERS[name])} minds read it{also}"
