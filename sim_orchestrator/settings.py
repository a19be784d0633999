"""The settings of a run, from four places: defaults < run file < environment < flags."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import orjson
from pydantic import TypeAdapter, ValidationError

from sim_engine.types.config import Config
from sim_engine.types.requests import INIT_ADAPTER
from sim_orchestrator.context import least_tokens
from sim_orchestrator.minds.personas import persona
from sim_orchestrator.minds.scripted import ARCHETYPES
from sim_orchestrator.options import (
    BY_NAME,
    ENGINE_VARIABLES,
    OPTIONS,
    PREFIX,
    Option,
    SettingsError,
)
from sim_orchestrator.orchestrator import WORLD_CONFIG

Values = dict[str, Any]
"""Option names with their values, as one of the four places gives them."""


WORLD_ONLY: Final = ("agents", "seed", "own_engine", "report_durations")
"""What a world is made of besides its config, and its sealed turns: a resumed run can not change
it."""

_AGENT_KEYS: Final = {
    "id": str,
    "mind": str,
    "archetype": str,
    "model": str,
    "persona": str,
    "temperature": float,
    "num_ctx": int,
    "num_predict": int,
    "think": bool,
    "options": dict,
    "balance": int,
}


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """What is set for one agent; options are those of Ollama's API."""

    agent_id: str
    mind: str
    model: str
    persona: str
    options: Mapping[str, Any]
    think: bool
    archetype: str | None = None
    balance: int | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a run is told, checked and complete. ``None`` where an option is unset."""

    minds: str
    turns: int
    agents: tuple[AgentSettings, ...]
    world: Mapping[str, int]
    seed: str | None
    report_durations: bool
    parallel: int
    timeout: float
    deadline: float
    max_failures: int
    max_output_tokens: int | None
    max_minutes: float | None
    run_dir: str
    name: str | None
    engine_url: str
    own_engine: bool
    patience: float
    ollama_host: str
    model_file: str | None
    recording: str | None
    plain: bool

    @property
    def agent_ids(self) -> list[str]:
        """The roster, in order."""
        return [agent.agent_id for agent in self.agents]


_RUN: Final = {field.name for field in fields(Settings)}


def defaults() -> Values:
    """Return what every option is when nobody sets it."""
    return {option.name: option.default for option in OPTIONS} | {"world": dict(WORLD_CONFIG)}


def of_run(saved: Values) -> Values:
    """Complete the settings of a run by the defaults of options that are newer than the run."""
    return {option.name: option.default for option in OPTIONS} | saved


def from_file(path: Path) -> Values:
    """Read a run file (TOML).  Raises SettingsError."""
    try:
        with path.open("rb") as stream:
            found = tomllib.load(stream)
    except OSError as error:
        raise SettingsError(f"can not read the run file {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is no TOML: {error}") from None
    values: Values = {}
    for key, value in found.items():
        place = f"{key} in {path}"
        if key == "agents" and type(value) in (int, list):
            values[key] = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        elif key in ("world", "options"):
            values[key] = _table(value, place)
        elif key == "agent":
            values[key] = [_agent_table(entry, path) for entry in _list(value, place)]
            own = Counter(entry["id"] for entry in values[key])
            if max(own.values(), default=0) > 1:
                twice = own.most_common(1)[0][0]
                raise SettingsError(f"{path} has two [[agent]] tables for {twice!r}: make it one")
        elif key in BY_NAME:
            values[key] = BY_NAME[key].checked(value, place)
        else:
            raise SettingsError(_unknown(key, [*BY_NAME, "world", "options", "agent"], str(path)))
    if "agent" in values and "agents" not in values:
        values["agents"] = ",".join(entry["id"] for entry in values["agent"])
    return values


def from_environment(environment: Mapping[str, str]) -> Values:
    """Read the environment.  Raises SettingsError, also for a variable that nothing reads."""
    values: Values = {}
    known = [*(option.variable for option in OPTIONS), *ENGINE_VARIABLES]
    for variable in sorted(environment):
        if variable.startswith(PREFIX) and variable not in known and environment[variable]:
            raise SettingsError(_unknown_variable(variable, known))
    for option in OPTIONS:
        for variable in (option.also, option.variable):
            if variable and environment.get(variable):
                values[option.name] = option.from_text(environment[variable], variable)
    return values


def pairs(texts: Sequence[str], flag: str, convert: Callable[[str], Any]) -> Values:
    """Read the ``key=value`` of a flag that can be repeated.  Raises SettingsError.

    ``convert`` raises ValueError for what is no whole number where one is needed.
    """
    found: Values = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise SettingsError(f"{flag} {text!r}: write it as key=value")
        try:
            found[key.strip()] = convert(value.strip())
        except ValueError:
            raise SettingsError(f"{flag} {text!r}: {value!r} is no whole number") from None
    return found


def merge(*layers: Values) -> Values:
    """Lay values over each other: a later place wins, key by key in the world and the options."""
    merged: Values = {}
    for layer in layers:
        for key, value in layer.items():
            if key in ("world", "options"):
                merged[key] = {**merged.get(key, {}), **value}
            else:
                merged[key] = value
    return merged


def resolve(values: Values) -> Settings:
    """Check merged values and work out what each agent gets.  Raises SettingsError."""
    ids = roster(values["agents"])
    world = checked_world(values.get("world", {}))
    own = {entry["id"]: entry for entry in values.get("agent", ())}
    for agent_id in own:
        if agent_id not in ids:
            raise SettingsError(
                f"the run file sets agent {agent_id!r}, who is not among the agents: "
                f"{', '.join(ids[:10])}{' …' if len(ids) > 10 else ''}"
            )
    agents = tuple(
        _agent(index, agent_id, own.get(agent_id, {}), values) for index, agent_id in enumerate(ids)
    )
    _check_init(agents, world, values)
    config = whole_config(world)
    for agent in agents:
        if agent.mind in ("ollama", "local"):
            check_context(agent, agent.options["num_ctx"], config, "")
    if any(agent.mind == "ollama" for agent in agents) and not values["ollama_host"].strip(" ,"):
        raise SettingsError("OLLAMA_HOST names no host: write it as http://host:11434")
    if any(agent.mind == "recorded" for agent in agents) and not values["recording"]:
        raise SettingsError("recorded minds need a run to play: --recording runs/NAME")
    plain: Values = {option.name: values[option.name] for option in OPTIONS if option.name in _RUN}
    return Settings(**(plain | {"agents": agents, "world": world}))


def _agent(index: int, agent_id: str, own: Values, values: Values) -> AgentSettings:
    """Work out one agent's settings: its own, else those of the run."""
    either: Values = {"mind": values["minds"]} | values | own
    options = {**values.get("options", {}), **own.get("options", {})}
    _check_options(options)
    for key in ("temperature", "num_ctx", "num_predict"):
        if key in options:
            raise SettingsError(f"{key} is a setting of its own: write it outside the options")
        options[key] = either[key]
    role = either.get("archetype")
    if role is not None and role not in ARCHETYPES:
        raise SettingsError(
            f"agent {agent_id} has the archetype {role!r}: choose one of {', '.join(ARCHETYPES)}"
        )
    return AgentSettings(
        agent_id=agent_id,
        mind=either["mind"],
        model=either["model"],
        persona=persona(index) if either["persona"] is None else either["persona"],
        options=options,
        think=either["think"],
        archetype=role,
        balance=either.get("balance"),
    )


def _check_options(options: Values) -> None:
    """Refuse what no call can carry."""
    for key, value in options.items():
        try:
            orjson.dumps({key: value})
        except TypeError as error:
            raise SettingsError(f"the option {key} is {value!r}: {error}") from None


def roster(text: str) -> list[str]:
    """Return the ids that the option ``agents`` stands for.  Raises SettingsError."""
    text = text.strip()
    if re.fullmatch(r"-?[0-9]{1,20}", text):
        count = int(text)
        if not 1 <= count <= 100_000:
            raise SettingsError(f"agents is {count}: give a number from 1 to 100000, or ids")
        return [f"agent_{index}" for index in range(count)]
    return [part.strip() for part in text.split(",") if part.strip()]


def checked_world(overrides: Mapping[str, Any]) -> dict[str, int]:
    """Return what overrides a world's config, if it can.  Raises SettingsError."""
    known = [field.name for field in fields(Config)]
    for key in overrides:
        if key not in known:
            raise SettingsError(_unknown(key, known, "the world's config"))
    try:
        TypeAdapter(Config).validate_python(dict(overrides))
    except ValidationError as error:
        first = error.errors()[0]
        raise SettingsError(
            f"the world's {first['loc'][-1]} is {_written(first['input'])}: it {_must(first)}"
        ) from None
    return dict(overrides)


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _must(error: Mapping[str, Any]) -> str:
    """Say what a number that the engine would refuse must be."""
    if error["type"] == "greater_than_equal":
        return f"must be at least {error['ctx']['ge']}"
    if error["type"] == "less_than_equal":
        return f"must be at most {error['ctx']['le']}"
    return "must be a whole number"


def _check_init(agents: Sequence[AgentSettings], world: Mapping[str, int], values: Values) -> None:
    """Refuse here what the engine would refuse: ids, balances, the seed."""
    body = init_body(agents, world, values["seed"] or "unset")
    try:
        INIT_ADAPTER.validate_python(body)
    except ValidationError as error:
        first = max(error.errors(), key=lambda each: len(each["loc"]))  # the most exact one
        raise SettingsError(_refused(first, body)) from None
    ids = [agent.agent_id for agent in agents]
    if len(set(ids)) < len(ids):
        twice = next(name for name in ids if ids.count(name) > 1)
        raise SettingsError(f"agent {twice!r} is named twice")


def _refused(error: Mapping[str, Any], body: Mapping[str, Any]) -> str:
    """Say which seed, id or balance the engine would refuse, and what it would take."""
    place, *where = error["loc"]
    if place == "seed":
        many = f"{len(body['seed']):,}"
        return f"the seed has {many} characters: it must have 1 to 1,000, which UTF-8 can hold"
    if not where:
        return f"there are {len(body['agents']):,} agents: there must be from 1 to 1,000,000"
    entry = body["agents"][where[0]]
    agent_id, balance = (entry, None) if isinstance(entry, str) else entry.values()
    if where[-1] == "balance":
        return f"the balance of agent {agent_id} is {balance}: it {_must(error)}"
    return (
        f"{agent_id!r} is no agent's id: write 1 to 64 of the characters A to Z, a to z, 0 to 9, "
        "'_', '.' and '-'"
    )


def whole_config(world: Mapping[str, int]) -> dict[str, int]:
    """Return every key of a world's config, from what overrides it."""
    config = Config(**world)
    return {field.name: getattr(config, field.name) for field in fields(Config)}


def check_context(
    agent: AgentSettings, num_ctx: int, config: Mapping[str, int], whose: str
) -> None:
    """Refuse a context window in which nothing could be asked.  Raises SettingsError.

    Args:
        agent: who is to be asked.
        num_ctx: the window (tokens).
        config: every key of the world's config.
        whose: says where the window comes from; empty for the settings.
    """
    answer = int(agent.options["num_predict"])
    least = least_tokens(config, agent.persona) + answer
    if num_ctx < least:
        raise SettingsError(
            f"a context of {num_ctx} tokens{whose} holds no prompt of {agent.agent_id}: with "
            f"num_predict {answer} and its persona, num_ctx must be at least {least}"
        )


def init_body(
    agents: Sequence[AgentSettings], world: Mapping[str, int], seed: str
) -> dict[str, Any]:
    """Return the body of ``POST /init`` for a run."""
    roster = [
        agent.agent_id
        if agent.balance is None
        else {"agent_id": agent.agent_id, "balance": agent.balance}
        for agent in agents
    ]
    return {"seed": seed, "agents": roster, "config": dict(world)}


def _agent_table(entry: Any, path: Path) -> Values:
    entry = _table(entry, f"agent in {path}")
    if not isinstance(entry.get("id"), str):
        raise SettingsError(f'an [[agent]] in {path} has no id: add id = "agent_0"')
    checked: Values = {}
    for key, value in entry.items():
        place = f"{key} of agent {entry['id']} in {path}"
        if key not in _AGENT_KEYS:
            raise SettingsError(_unknown(key, list(_AGENT_KEYS), f"agent {entry['id']} in {path}"))
        if key == "options":
            checked[key] = _table(value, place)
            continue
        option = BY_NAME.get("minds" if key == "mind" else key)
        plain = Option(key, _AGENT_KEYS[key], None, "")
        checked[key] = (option or plain).checked(value, place)
    return checked


def _table(value: Any, place: str) -> Values:
    if not isinstance(value, dict):
        raise SettingsError(f"{place} is {value!r}: it must be a table")
    return dict(value)


def _list(value: Any, place: str) -> list[Any]:
    if not isinstance(value, list):
        raise SettingsError(f"{place} must be written as [[agent]], once for each agent")
    return value


def _unknown_variable(variable: str, known: Sequence[str]) -> str:
    by_name = {each.removeprefix(PREFIX): each for each in known}  # all begin alike
    near = difflib.get_close_matches(variable.removeprefix(PREFIX), by_name, n=1)
    hint = f"did you mean {by_name[near[0]]}?" if near else "`run --help` lists those that are"
    return f"{variable} is no setting of the orchestrator or of the engine: {hint}"


def _unknown(key: str, known: Sequence[str], place: str) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    hint = f": did you mean {near[0]}?" if near else f"; it knows {', '.join(known)}"
    return f"{place} does not know {key!r}{hint}"
