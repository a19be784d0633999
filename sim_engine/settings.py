"""What an engine can be told from outside: environment variables, and flags that override them."""

from __future__ import annotations

import argparse
import ipaddress
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

MIB: Final = 2**20


class SettingsError(ValueError):
    """A setting has a value that can not be used. The text says which, and what would do."""


def _flag(text: str) -> bool:
    known = {
        "1": True,
        "true": True,
        "yes": True,
        "0": False,
        "false": False,
        "no": False,
        "": False,
    }
    if text.lower() not in known:
        raise SettingsError(f"{text!r} is neither 1 nor 0")
    return known[text.lower()]


def _integer(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit()) or not low <= int(text) <= high:
            raise SettingsError(f"{text!r} is no whole number from {low:,} to {high:,}")
        return int(text)

    return parse


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 86_400:
        raise SettingsError(f"{text!r} is no number of seconds above 0 and up to 86,400")
    return seconds


def _log_level(text: str) -> str:
    if text.lower() not in ("debug", "info", "warning", "error"):
        raise SettingsError(f"{text!r} is none of debug, info, warning, error")
    return text.lower()


def _operator_key(text: str) -> str | None:
    if not text:
        return None
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise SettingsError("a key is made of printable ASCII characters without spaces")
    return text


def _setting(default: Any, variable: str, parse: Callable[[str], Any], about: str) -> Any:
    """Declare a setting: its default, its variable, how its text is read, and its help."""
    return field(default=default, metadata={"variable": variable, "parse": parse, "about": about})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one engine. Without arguments: open, on a loopback address, on ``sim.db``."""

    host: str = _setting("127.0.0.1", "HOST", str, "address to listen on")
    port: int = _setting(
        3000, "PORT", _integer(0, 65_535), "port to listen on; 0 takes a free one and logs it"
    )
    db_path: Path = _setting(  # noqa: RUF009 - this is dataclasses.field under another name
        Path("sim.db"), "DB_PATH", Path, "the world's SQLite file"
    )
    operator_key: str | None = _setting(
        None,
        "SIM_OPERATOR_KEY",
        _operator_key,
        "key that the operator must show; without one the engine is open to whoever reaches it",
    )
    allow_open: bool = _setting(
        False,
        "SIM_ALLOW_OPEN",
        _flag,
        "serve without a key on an address that others can reach",
    )
    max_body_bytes: int = _setting(
        32 * MIB,
        "SIM_MAX_BODY_BYTES",
        _integer(1_024, 2**31),
        "largest body of a request; a larger one is answered with 413",
    )
    body_seconds: float = _setting(
        60.0, "SIM_BODY_SECONDS", _seconds, "how long a client may take to send a body"
    )
    rate_limit: int = _setting(
        500,
        "SIM_RATE_LIMIT",
        _integer(0, 1_000_000),
        "requests a second for each agent's key and each address without a key, with twice as many "
        "in a burst; the operator has no limit; 0 switches it off",
    )
    log_level: str = _setting(
        "info", "SIM_LOG_LEVEL", _log_level, "debug, info, warning or error; logs go to stderr"
    )

    @property
    def is_open(self) -> bool:
        """Tell whether whoever reaches the engine is its operator."""
        return self.operator_key is None

    def check_exposure(self) -> None:
        """Raise SettingsError for an engine that anybody could reach and nobody needs a key for."""
        if self.is_open and not self.allow_open and not is_loopback(self.host):
            raise SettingsError(
                f"HOST={self.host} can be reached from other machines, and without a key whoever "
                "reaches the engine may do everything. Set SIM_OPERATOR_KEY to a long random text, "
                "or keep HOST=127.0.0.1, or say SIM_ALLOW_OPEN=1 if something else guards the port."
            )


# Keys stay out of the flags: the arguments of a process can be read by every user of its machine.
_NO_FLAG: Final = frozenset({"operator_key"})


def is_loopback(host: str) -> bool:
    """Tell whether a name or address to listen on can be reached from its own machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def add_flags(parser: argparse.ArgumentParser, names: Sequence[str]) -> None:
    """Give a parser the flags of the named settings; each says its variable and its default."""
    for setting in fields(Settings):
        if setting.name not in names:
            continue
        variable, parse = setting.metadata["variable"], setting.metadata["parse"]
        if setting.name in _NO_FLAG:
            parser.epilog = f"{parser.epilog or ''}{variable}: {setting.metadata['about']}. "
            continue
        options: dict[str, Any] = {"type": _argument(parse), "metavar": variable}
        if parse is _flag:
            options = {"action": "store_const", "const": True}
        default = "0" if parse is _flag else setting.default
        parser.add_argument(
            f"--{setting.name.replace('_', '-')}",
            dest=setting.name,
            default=None,
            help=f"{setting.metadata['about']} (variable {variable}, default {default})",
            **options,
        )


def _argument(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """Let argparse name the flag in front of what the parser of a setting says."""

    def convert(text: str) -> Any:
        try:
            return parse(text)
        except SettingsError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


def read_settings(
    flags: argparse.Namespace | None = None, environment: Mapping[str, str] | None = None
) -> Settings:
    """Build the settings from defaults, environment and flags, each overriding those before it.

    Raises:
        SettingsError: a variable has a value that can not be used; the text names it.
    """
    environment = os.environ if environment is None else environment
    given: dict[str, Any] = {}
    for setting in fields(Settings):
        flag = getattr(flags, setting.name, None)
        variable = setting.metadata["variable"]
        if flag is not None:
            given[setting.name] = flag
        elif variable in environment:
            try:
                given[setting.name] = setting.metadata["parse"](environment[variable])
            except SettingsError as error:
                raise SettingsError(f"{variable}: {error}") from None
    return Settings(**given)
