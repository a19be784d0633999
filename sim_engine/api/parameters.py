"""Parameters of queries: their bounds, and the refusal of those that an operation does not know."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from inspect import signature
from typing import Annotated, Any, Final, get_args, get_type_hints

from fastapi import Path, Query, Request
from fastapi.params import Query as QueryParameter

from sim_engine.api.problems import malformed_parameters
from sim_engine.observation import PAGE_MAX
from sim_engine.types.fields import AGENT_ID_PATTERN, MAX_AMOUNT
from sim_engine.validation import ERRORS_MAX, PlacedError

NAME_CHARS_MAX: Final = 200

Limit = Annotated[int, Query(ge=1, le=PAGE_MAX, description="most rows of the page")]
After = Annotated[int, Query(ge=0, le=MAX_AMOUNT, description="`next_after` of the page before")]
EntryAfter = Annotated[
    str | None,
    Query(
        pattern=r"^[0-9]{1,15}\.[0-9]{1,15}$",
        description="`next_after` of the page before: turn and place of the last entry",
    ),
]
TurnInPath = Annotated[int, Path(ge=0, le=MAX_AMOUNT, description="number of a sealed turn")]
NameInPath = Annotated[str, Path(max_length=NAME_CHARS_MAX)]
AgentFilter = Annotated[
    str | None, Query(pattern=AGENT_ID_PATTERN, description="party or arbitrator")
]


@cache
def _names(endpoint: Callable[..., Any]) -> frozenset[str]:
    """Read the names of an endpoint's query parameters, as they are written in a URL."""
    hints = get_type_hints(endpoint, include_extras=True)
    names = set()
    for name in signature(endpoint).parameters:
        for part in get_args(hints[name]):
            if isinstance(part, QueryParameter):
                names.add(part.alias or name)
    return frozenset(names)


async def known_parameters_only(request: Request) -> None:
    """Refuse parameters that the operation does not have, or that are there twice.

    What is misspelt would do nothing, and of two values one would be dropped, without a word.
    """
    given = [name for name, _ in request.query_params.multi_items()]
    if not given:
        return
    known = _names(request.scope["endpoint"])
    takes = f"this path takes {', '.join(sorted(known))}" if known else "this path takes none"
    wrong = {name: f"is an unknown parameter: {takes}" for name in given if name not in known}
    wrong |= {name: "is there twice" for name in known if given.count(name) > 1}
    if wrong:
        raise malformed_parameters(
            [
                PlacedError(loc=["query", name], message=message)
                for name, message in sorted(wrong.items())[:ERRORS_MAX]
            ]
        )
