"""The command line: ``sim-orchestrator run | demo | replay | report``."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

from rich.console import Console

from sim_engine.types.config import Config
from sim_orchestrator import __version__
from sim_orchestrator.engine_client import EngineError
from sim_orchestrator.idle import refuse_idle, refuse_idle_on_resume
from sim_orchestrator.local_model import LocalModelError
from sim_orchestrator.minds.base import ModelsUnavailable
from sim_orchestrator.options import OPTIONS, SettingsError
from sim_orchestrator.processes import ServerFailed
from sim_orchestrator.replay import replay
from sim_orchestrator.report import report
from sim_orchestrator.run import run
from sim_orchestrator.rundir import RunDirectory, RunError, default_name
from sim_orchestrator.settings import (
    WORLD_ONLY,
    Values,
    checked_world,
    defaults,
    from_environment,
    from_file,
    merge,
    of_run,
    pairs,
    whole_config,
)
from sim_orchestrator.transcript import TranscriptError

EXIT_CAN_NOT_BEGIN = 2
EXIT_INTERRUPTED = 130
LINE_WIDTH = 110

DEMO: Values = {
    "minds": "local",
    "agents": "4",
    "turns": 8,
    "own_engine": True,
    "timeout": 600.0,  # all agents wait for one small server, on a machine that may be busy
    # A very small model repeats the example in its prompt word for word unless it is let loose,
    # and says too little to exceed the usual commons: here it pays for its thinking as others do.
    "temperature": 1.3,
    "world": {"commons_per_agent": 30},
}
"""What ``demo`` plays when nothing else is said: real inference on any machine."""

_TROUBLES = (
    EngineError,
    LocalModelError,
    ModelsUnavailable,
    RunError,
    ServerFailed,
    SettingsError,
    TranscriptError,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code.

    0: done. 1: stopped by a failure, or a replay that differs. 2: it could not begin. 130: by
    SIGINT.
    """
    arguments = _parser().parse_args(argv)
    console = Console(width=None if sys.stdout.isatty() else LINE_WIDTH, soft_wrap=False)
    try:
        return _command(arguments, console)
    except _TROUBLES as error:
        print(f"sim-orchestrator: {error}", file=sys.stderr)
        return EXIT_CAN_NOT_BEGIN
    except KeyboardInterrupt:
        print("sim-orchestrator: stopped before the run began", file=sys.stderr)
        return EXIT_INTERRUPTED


def _command(arguments: argparse.Namespace, console: Console) -> int:
    if arguments.command == "report":
        report(arguments.directory, console)
        return 0
    if arguments.command == "replay":
        return asyncio.run(replay(arguments.directory, console))
    flags = _flags(arguments)
    environment = from_environment(os.environ)
    if arguments.command == "demo":
        named = {"name": default_name("demo")}
        values = merge(defaults(), DEMO, named, environment, flags)
        refuse_idle({}, environment, flags, values)
        return asyncio.run(run(values, resume=None, console=console))
    if arguments.resume is not None:
        values = _resumed(arguments, environment, flags)
        return asyncio.run(run(values, resume=arguments.resume, console=console))
    in_file = from_file(arguments.config) if arguments.config else {}
    values = merge(defaults(), in_file, environment, flags)
    refuse_idle(in_file, environment, flags, values)
    return asyncio.run(run(values, resume=None, console=console))


def _flags(arguments: argparse.Namespace) -> Values:
    """Read the flags that were given."""
    given: Values = {}
    for option in OPTIONS:
        value = getattr(arguments, option.name, None)
        if value is not None:
            given[option.name] = (
                value if isinstance(value, bool) else option.from_text(value, option.flag)
            )
    if arguments.world:
        given["world"] = pairs(arguments.world, "--world", int)
    if arguments.option:
        given["options"] = pairs(arguments.option, "--option", _number_or_text)
    return given


def _resumed(arguments: argparse.Namespace, environment: Values, flags: Values) -> Values:
    """Lay the environment and the flags over what the run was started with."""
    if arguments.config:
        raise SettingsError("--resume goes on with the run's own settings: leave --config out")
    saved = of_run(RunDirectory(arguments.resume).load()["settings"])
    values = merge(saved, environment, flags)
    # What is not overridden is what the engine has by default: both worlds are compared whole.
    was: Values = {**whole_config(checked_world(saved.get("world", {})))}
    wanted: Values = {**whole_config(checked_world(values.get("world", {})))}
    was |= {key: saved.get(key) for key in WORLD_ONLY}
    wanted |= {key: values.get(key) for key in WORLD_ONLY}
    for key, value in wanted.items():
        if value != was[key]:
            raise SettingsError(
                f"{key} can not change when a run goes on: it is {_shown(was[key])} in "
                f"{arguments.resume}, not {_shown(value)}"
            )
    values["world"] = saved.get("world", {})
    refuse_idle_on_resume(flags, values)
    return values


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _number_or_text(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sim-orchestrator",
        description="Lets language models live in a token economy.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_play(commands, "run", "play turns on an engine, or go on with a run")
    _add_play(
        commands, "demo", "4 agents think with an embedded model for 8 turns, on an own engine"
    )
    for name, text in (
        ("replay", "play a run's transcript on a new engine and compare every turn_hash"),
        ("report", "print a run's summary again"),
    ):
        command = commands.add_parser(name, help=text, description=text.capitalize() + ".")
        command.add_argument("directory", type=Path, metavar="RUN", help="the run's directory")
    return parser


def _add_play(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str
) -> None:
    command = commands.add_parser(
        name,
        help=text,
        usage="%(prog)s [--flag VALUE …]",
        allow_abbrev=False,
        description=text.capitalize() + ".",
        epilog=_epilog(DEMO["world"] if name == "demo" else {}),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    preset = DEMO if name == "demo" else {}
    if name == "run":
        command.add_argument("--config", type=Path, metavar="FILE", help="a run file (TOML)")
        command.add_argument(
            "--resume", type=Path, metavar="RUN", help="go on with the run in this directory"
        )
    for option in OPTIONS:
        default = preset.get(option.name, option.default)
        shown = (
            option.unset
            if default is None
            else str(default).lower()
            if option.kind is bool
            else str(default)
        )
        said = f"{option.help} (default: {shown})".replace("%", "%%")
        if option.kind is bool:
            command.add_argument(
                option.flag, dest=option.name, action=argparse.BooleanOptionalAction, help=said
            )
        else:
            metavar = "{" + ",".join(option.choices) + "}" if option.choices else "VALUE"
            command.add_argument(option.flag, dest=option.name, metavar=metavar, help=said)
    command.add_argument(
        "--world",
        action="append",
        metavar="KEY=VALUE",
        help="a key of the world's config, listed below; can be repeated",
    )
    command.add_argument(
        "--option",
        action="append",
        metavar="KEY=VALUE",
        help="a further option of Ollama's, such as top_p=0.9; can be repeated",
    )


def _epilog(preset: Mapping[str, int]) -> str:
    world = [
        f"  {field.name}={field.default}"
        + (f" (here {preset[field.name]})" if field.name in preset else "")
        for field in fields(Config)
    ]
    return "\n".join(
        [
            "What has a default is an environment variable too, SIM_ and its name in capitals:",
            "SIM_TURNS. ENGINE_URL and OLLAMA_HOST are read as well. A run file (TOML) uses the",
            "same names, with tables [world], [options] and [[agent]]. Flags win over the",
            "environment, and that over the run file. An engine that asks for a key gets that in",
            "SIM_OPERATOR_KEY.",
            "",
            "World keys and the engine's defaults:",
            *world,
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
