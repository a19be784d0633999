"""What is wrong with a malformed request, said for those who wrote it.

A place in a request is the list of the keys and positions that lead to it, as in
``["submissions", 0, "actions", 2, "amount"]``. No message repeats a value of the request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypedDict

from pydantic import ValidationError

ERRORS_MAX: Final = 50
"""How many errors of one request are listed; a number of the others follows."""

Place = list[str | int]


class PlacedError(TypedDict):
    """One thing that is wrong: where, and what would be right."""

    loc: Place
    message: str


def describe_validation_errors(error: ValidationError) -> list[PlacedError]:
    """List what is wrong with a body, at most ``ERRORS_MAX`` places and a count of the rest."""
    return describe_errors(error.errors(include_url=False, include_input=False))


def describe_errors(errors: Iterable[Mapping[str, Any]]) -> list[PlacedError]:
    """Put pydantic's own list of errors into the words of this API."""
    found: list[PlacedError] = []
    choices: dict[tuple[str | int, ...], list[PlacedError]] = {}
    for one in errors:
        place, choice = _read_place(one["loc"])
        said = PlacedError(loc=place, message=_message(one))
        if choice is None:
            found.append(said)
            continue
        # A value that may be of two kinds has errors of both: those of the kind it is not say
        # nothing.
        specific = choices.setdefault(tuple(choice), [])
        if place != choice or one["type"] not in _OTHER_KIND:
            specific.append(said)
    for where, specific in choices.items():
        found.extend(specific or [PlacedError(loc=list(where), message=_CHOICES[_name(where)])])
    if len(found) > ERRORS_MAX:
        rest = len(found) - ERRORS_MAX
        return [*found[:ERRORS_MAX], PlacedError(loc=[], message=f"and {rest:,} more errors")]
    return found


def _name(where: tuple[str | int, ...]) -> str:
    return next(str(part) for part in reversed(where) if isinstance(part, str))


def _read_place(loc: tuple[str | int, ...]) -> tuple[Place, Place | None]:
    """Leave out of a location what names a member of a union, as no such key is in the request.

    Returns:
        The place, and the place of the untagged union around it, if there is one.
    """
    place: Place = []
    choice: Place | None = None
    tag_follows = False
    for part in loc:
        if tag_follows and isinstance(part, str):
            tag_follows = part == "propose_contract"  # followed by the type of contract
            if place and _name(tuple(place)) in _CHOICES:
                choice = list(place)
            continue
        if part == "[key]":
            continue
        in_list = isinstance(part, int) and bool(place) and place[-1] in ("actions", "agents")
        place.append(part)
        tag_follows = in_list or part in ("condition", "asset", "split")
    return place, choice


_OTHER_KIND: Final = frozenset({"string_type", "dataclass_type", "dict_type", "literal_error"})

_CHOICES: Final[Mapping[str, str]] = {
    "agents": "must be an agent's id, or an object with agent_id and balance",
    "split": "must be 'equal', 'weight', or an object that gives each agent its basis points",
}

_WHOLE_NUMBER: Final = "must be a whole number, written without quotes, point or exponent"

_FIXED: Final[Mapping[str, str]] = {
    "missing": "is missing",
    "unexpected_keyword_argument": "is an unknown field: remove it, or mend its spelling",
    "extra_forbidden": "is an unknown field: remove it, or mend its spelling",
    "int_type": _WHOLE_NUMBER,
    "int_from_float": _WHOLE_NUMBER,
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number of fewer digits",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be a text",
    "string_unicode": "must be a text of valid Unicode",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "dataclass_type": "must be an object",
    "model_attributes_type": "must be an object",  # where a tag should tell which
}

_WORDED: Final[Mapping[str, Callable[[Mapping[str, Any]], str]]] = {
    "greater_than_equal": lambda context: f"must be at least {context['ge']}",
    "less_than_equal": lambda context: f"must be at most {context['le']}",
    "literal_error": lambda context: f"must be {context['expected']}",
    "too_short": lambda context: f"must have at least {context['min_length']} item(s)",
    "too_long": lambda context: f"must have at most {context['max_length']:,} items",
    "string_too_short": lambda context: f"must have at least {context['min_length']} character(s)",
    "string_too_long": lambda context: f"must have at most {context['max_length']:,} characters",
    "string_pattern_mismatch": lambda context: f"must match {context['pattern']}",
    "union_tag_invalid": lambda context: (
        f"has an unknown {context['discriminator']}: use one of {context['expected_tags']}"
    ),
    "union_tag_not_found": lambda context: f"needs the field {context['discriminator']}",
}


def _message(error: Mapping[str, Any]) -> str:
    kind = error["type"]
    if kind in _FIXED:
        return _FIXED[kind]
    if kind in _WORDED:
        return _WORDED[kind](error["ctx"])
    return str(error["msg"])
