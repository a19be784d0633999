"""Structured log lines, ``key=value``, on stderr: one a request, one a turn, one a fault.

A line holds names, numbers and codes. No body, key, seed, query string or text of an agent is ever
handed to a logger here; of an exception only its type and its place in the source are written,
because its message may quote what somebody sent.
"""

from __future__ import annotations

import json
import logging
import re
import time
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any, Final

LOGGER: Final = logging.getLogger("sim_engine")

_PLAIN: Final = re.compile(r"[A-Za-z0-9_./:,*{}@+-]+")
_ROOT: Final = Path(__file__).parents[2]


class LineFormatter(logging.Formatter):
    """Writes a record as one line of ``key=value``."""

    def format(self, record: logging.LogRecord) -> str:
        """Give time (UTC), level and event, then the fields in the order they were given."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        fields: dict[str, Any] = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
        }
        given = getattr(record, "fields", None)
        if given is None:  # a library speaks
            fields |= {"event": record.name, "message": record.getMessage().strip()}
        else:
            fields |= {"event": record.msg, **given}
        if record.exc_info and record.exc_info[0] is not None:
            fields |= {
                "fault": record.exc_info[0].__qualname__,
                "at": _place(record.exc_info[2]),
            }
        return " ".join(f"{name}={_text(value)}" for name, value in fields.items())


def _place(trace: TracebackType | None) -> str:
    """Name the lines of source that a fault passed through, the innermost last, without values."""
    places = []
    for frame in traceback.extract_tb(trace)[-12:]:
        path = Path(frame.filename)
        name = path.relative_to(_ROOT) if path.is_relative_to(_ROOT) else path.name
        places.append(f"{name}:{frame.lineno}:{frame.name}")
    return " < ".join(reversed(places))


def _text(value: Any) -> str:
    if value is None:
        return "-"
    text = f"{value:.1f}" if isinstance(value, float) else str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)


def event(name: str, **fields: Any) -> None:
    """Log an event with its fields at the level ``info``."""
    if LOGGER.isEnabledFor(logging.INFO):
        LOGGER.info(name, extra={"fields": fields})


def configure_logging(level: str, *, server_speaks: bool = False) -> None:
    """Send the lines of the engine, and what uvicorn has to say, to stderr.

    ``server_speaks`` keeps what uvicorn says when it starts and stops, besides warnings and faults.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(LineFormatter())
    for name in ("sim_engine", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(level.upper())
    for name in ("uvicorn.error", "uvicorn.access", "uvicorn.asgi"):
        logging.getLogger(name).handlers = []
    logging.getLogger("uvicorn.access").propagate = False  # one line a request is enough
    least = logging.INFO if server_speaks else logging.WARNING
    logging.getLogger("uvicorn.error").setLevel(max(least, logging.getLevelName(level.upper())))
