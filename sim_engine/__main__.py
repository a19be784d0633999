"""The command ``sim-engine``: serve a world, make one, and see to the file that holds it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path
from typing import Final

from sim_engine import __version__
from sim_engine.engine import Engine
from sim_engine.errors import RequestError
from sim_engine.ledger.audit import verify_hashes
from sim_engine.ledger.export import MissingExtra, export
from sim_engine.ledger.file import (
    DatabaseInUse,
    ForeignDatabase,
    LedgerUnavailable,
    reaching,
    using,
)
from sim_engine.ledger.migrate import MigrationFailed, migrate
from sim_engine.ledger.replay import verify
from sim_engine.ledger.report import Progress
from sim_engine.ledger.views import VIEWS
from sim_engine.settings import SettingsError, add_flags, read_settings

WRONG_USE: Final = 2
"""Exit status: nothing was done, as something outside the engine has to be mended first."""

INTERRUPTED: Final = 130
"""Exit status: Ctrl-C, as shells say it."""

REFUSED: Final = 1
"""Exit status: the engine said no, or a ledger is not sound."""

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


OUTSIDE: Final = (
    SettingsError,
    Unusable,
    DatabaseInUse,
    ForeignDatabase,
    LedgerUnavailable,
    MigrationFailed,
    MissingExtra,
)
"""What ends a command with WRONG_USE and its text."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    parser = _parser()
    flags = parser.parse_args(arguments)
    if isinstance(sys.stdout, TextIOWrapper):
        # A name that the terminal's encoding lacks is shown by its codes, as stderr shows it.
        sys.stdout.reconfigure(errors="backslashreplace")
    command: Callable[[argparse.Namespace], int] = flags.command
    try:
        return command(flags)
    except OUTSIDE as error:
        with suppress(OSError):  # the status says it, too
            print(f"sim-engine: {error}", file=sys.stderr)
        return WRONG_USE
    except KeyboardInterrupt:
        print("sim-engine: interrupted", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sim-engine",
        description="The authoritative world of a token economy.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = commands.add_parser(
        "serve",
        allow_abbrev=False,
        help="serve a world over HTTP",
        description="Serve the world of a ledger over HTTP until SIGTERM or Ctrl-C.",
        epilog="From the environment only: ",
    )
    add_flags(serve, SERVE_SETTINGS)
    serve.set_defaults(command=_serve)

    init = commands.add_parser(
        "init",
        allow_abbrev=False,
        help="make a world from a file, without a server",
        description="Make the world of an empty ledger. Prints the answer of POST /init as JSON.",
    )
    init.add_argument("world", metavar="WORLD.json", help="a body of POST /init; - reads stdin")
    add_flags(init, ("db_path",))
    init.set_defaults(command=_init)
    _add_ledger_commands(commands)
    return parser


def _add_ledger_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    check = commands.add_parser(
        "verify",
        allow_abbrev=False,
        help="prove a ledger: play it again and compare every row",
        description="Play the world of a ledger again from genesis and compare every row with what "
        "is stored. Exit status 0 if the ledger is sound, 1 if it is not. An engine may go on "
        "using the file meanwhile.",
    )
    check.add_argument(
        "--quick", action="store_true", help="check the hash chain and the sums, play no rules"
    )
    check.set_defaults(command=_verify)

    write = commands.add_parser(
        "export",
        allow_abbrev=False,
        help="write a ledger out, one file a table",
        description="Write every table of a ledger into a directory, one file a table.",
    )
    write.add_argument("--format", choices=("csv", "parquet"), default="csv", help="default csv")
    write.add_argument("--views", action="store_true", help="write the views, too")
    write.add_argument("directory", metavar="DIR", type=Path, help="made if it is missing")
    add_flags(write, ("db_path",))
    write.set_defaults(command=_export)

    raise_version = commands.add_parser(
        "migrate",
        allow_abbrev=False,
        help="bring a ledger of an older version up to date",
        description="Bring a ledger of an older schema version up to date, after a backup.",
    )
    raise_version.set_defaults(command=_migrate)
    for parser in (check, raise_version):
        parser.add_argument(
            "db_path",
            metavar="FILE",
            type=Path,
            nargs="?",
            help="the ledger (variable DB_PATH, default sim.db)",
        )


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
    engine = Engine.open(settings.db_path, own_process=True)
    serve(create_app(settings, engine=engine), sockets)
    return 0


def _init(flags: argparse.Namespace) -> int:
    settings = read_settings(flags)
    body = _read(flags.world)
    engine = Engine.open(settings.db_path)
    try:
        with using(settings.db_path):
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
    _say(answer.content.decode())
    return 0


def _verify(flags: argparse.Namespace) -> int:
    path = _ledger(flags)
    check = verify_hashes if flags.quick else verify
    with _progress() as progress:
        report = check(path, progress)
    if report.sound:
        counted = ", ".join(
            f"{report.counts[table]:,} {table}"
            for table in ("turns", "actions", "entries", "blocks")
        )
        _say(f"{path} is sound: {counted}")
        _say(f"the last turn_hash is {report.turn_hash}")
        return 0
    for difference in report.differences:
        _say(str(difference))
    print(f"{path} is not sound: the engine did not write what stands there", file=sys.stderr)
    return REFUSED


@contextmanager
def _progress() -> Iterator[Progress]:
    """Show how far a verification has come, to whoever looks at a terminal."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield lambda turn, last: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = ("turns", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("turns", total=None)
        yield lambda turn, last: bar.update(task, completed=turn, total=last)


def _export(flags: argparse.Namespace) -> int:
    path = _ledger(flags)
    try:
        written = export(path, flags.directory, flags.format, views=flags.views)
    except OSError as error:
        raise Unusable(f"can not write to {flags.directory}: {error.strerror}") from None
    views = sum(name in VIEWS.tables for name in written)
    what = f"{len(written) - views} tables" + (f" and {views} views" if views else "")
    _say(f"{what}, {sum(written.values()):,} rows, written to {flags.directory}")
    return 0


def _migrate(flags: argparse.Namespace) -> int:
    path = _ledger(flags)
    try:
        done = migrate(path)
    except FileExistsError as error:
        raise Unusable(f"{error.filename} is there already; move it away first") from None
    if done.backup is None:
        _say(f"{path} has schema version {done.after}, which is the newest: nothing to do")
    else:
        _say(f"{path}: schema version {done.before} is now {done.after}; backup in {done.backup}")
    return 0


def _ledger(flags: argparse.Namespace) -> Path:
    """Return the path of a ledger that exists."""
    path = read_settings(flags).db_path
    with reaching(path):
        if not path.is_file():
            raise Unusable(f"there is no file {path}; name a ledger, or set DB_PATH")
        if path.stat().st_size == 0:
            raise Unusable(f"{path} is empty; name a ledger, or set DB_PATH")
    return path


def _say(text: str) -> None:
    """Print what a command found. Raises Unusable if nobody can read it."""
    try:
        print(text, flush=True)
    except OSError as error:
        # Python would try to print the rest when it ends, and end with a status of its own.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise Unusable(f"can not print what was found: {error.strerror}") from None


def _read(name: str) -> bytes:
    if name == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise Unusable(f"can not read {name}: {error.strerror}") from None


if __name__ == "__main__":
    sys.exit(main())
