"""The command ``sim-engine``: serve a world, or make one from a file."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from sim_engine import __version__
from sim_engine.engine import Engine
from sim_engine.errors import RequestError
from sim_engine.ledger.store import DatabaseInUse, ForeignDatabase
from sim_engine.settings import Settings, SettingsError, add_flags, read_settings

WRONG_USE: Final = 2
"""Exit status: nothing was done, as something outside the engine has to be mended first."""

REFUSED: Final = 1
"""Exit status: the engine, or the ledger, said no."""

SERVE_SETTINGS: Final = (
    "host",
    "port",
    "db_path",
    "operator_key",
    "allow_open",
    "max_body_bytes",
    "body_seconds",
    "rate_limit",
    "log_level",
)


class Unusable(Exception):
    """Something outside the engine has to be mended first; the text says what."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    parser = _parser()
    flags = parser.parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = flags.command
    try:
        return command(flags)
    except (SettingsError, Unusable, DatabaseInUse, ForeignDatabase) as error:
        print(f"sim-engine: {error}", file=sys.stderr)
        return WRONG_USE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sim-engine", description="The authoritative world of a token economy."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = commands.add_parser(
        "serve",
        help="serve a world over HTTP",
        description="Serve the world of a ledger over HTTP until SIGTERM or Ctrl-C.",
        epilog="From the environment only: ",
    )
    add_flags(serve, SERVE_SETTINGS)
    serve.set_defaults(command=_serve)

    init = commands.add_parser(
        "init",
        help="make a world from a file, without a server",
        description="Make the world of an empty ledger. Prints the answer of POST /init as JSON.",
    )
    init.add_argument("world", metavar="WORLD.json", help="a body of POST /init; - reads stdin")
    add_flags(init, ("db_path",))
    init.set_defaults(command=_init)
    return parser


def _serve(flags: argparse.Namespace) -> int:
    # The server is imported here, so that the other commands start without it.
    from sim_engine.api.app import create_app
    from sim_engine.api.logs import configure_logging
    from sim_engine.api.server import bind, serve

    settings = read_settings(flags)
    settings.check_exposure()
    configure_logging(settings.log_level)
    try:
        sockets = bind(settings.host, settings.port)
    except OSError as error:
        raise Unusable(
            f"can not listen on {settings.host}:{settings.port} ({error.strerror}); "
            "choose another address with HOST and PORT"
        ) from None
    engine = _open(settings, own_process=True)
    serve(create_app(settings, engine=engine), sockets)
    return 0


def _init(flags: argparse.Namespace) -> int:
    settings = read_settings(flags)
    body = _read(flags.world)
    engine = _open(settings)
    try:
        answer = engine.init(body)
    except RequestError as refusal:
        print(f"sim-engine: {flags.world}: {refusal.detail}", file=sys.stderr)
        for one in refusal.errors or ():
            place = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in one["loc"])
            print(f"  {place.lstrip('.') or '(whole file)'} {one['message']}", file=sys.stderr)
        return REFUSED
    finally:
        engine.close()
    said = "the world was made in" if answer.created else "this very world is already in"
    print(f"{said} {settings.db_path}", file=sys.stderr)
    print(answer.content.decode())
    return 0


def _read(name: str) -> bytes:
    if name == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise Unusable(f"can not read {name}: {error.strerror}") from None


def _open(settings: Settings, *, own_process: bool = False) -> Engine:
    try:
        return Engine.open(settings.db_path, own_process=own_process)
    except OSError as error:
        raise Unusable(
            f"can not open {settings.db_path} ({error.strerror}); name a file with DB_PATH"
        ) from None


if __name__ == "__main__":
    sys.exit(main())
