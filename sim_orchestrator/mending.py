"""Mends one action that a model wrote: its names and the types of its values, never its meaning.

The shape of the actions is read from the engine's own types, so whatever they know is mended alike.
Nothing is filled in, clamped or guessed: an action that is wrong in its meaning is dropped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from pydantic import ValidationError

from sim_engine.types.requests import ACTION_ADAPTER
from sim_orchestrator.lenient_json import Damaged, Mend, valid_unicode

Json = dict[str, Any]

_TYPE_KEYS: Final = ("type", "action", "actiontype", "name", "kind", "tool", "function")
_NESTS: Final = ("parameters", "params", "args", "arguments", "fields", "details", "input")
_ACTORS: Final = ("agentid", "agent", "actor", "player", "from", "sender")
_WHOLE: Final = re.compile(
    r"\s*(\d{1,20}|\d{1,3}(?:[,_]\d{3}){1,5})(?:\s*tokens?)?\s*", re.IGNORECASE
)


class Unmendable(Exception):
    """The action cannot be used; the text says why."""


def mend_action(item: Any, *, own_id: str, agents: Mapping[str, Any], mends: set[Mend]) -> Json:
    """Turn what a model wrote for an action into the action in wire form.

    Args:
        item: what stands in the list of actions.
        own_id: the agent that acts.
        agents: all agents of the world, by id.
        mends: what had to be mended is added here.

    Raises:
        Unmendable: it is no action that the engine could read.
    """
    if isinstance(item, Damaged):
        raise Unmendable(item.why)
    action = _named(item, mends)
    _refuse_foreign_actor(action, own_id, agents)
    mended = _Mender(mends).mend(action, _schema())
    try:
        ACTION_ADAPTER.validate_python(mended)
    except ValidationError as error:
        raise Unmendable(_first_error(error)) from error
    return dict(mended)


def action_name(text: Any) -> str | None:
    """Return the action type that a text spells, whatever its case, hyphens and spaces."""
    return _action_names().get(_folded(text)) if isinstance(text, str) else None


def looks_like_action(item: Any) -> bool:
    """Tell whether a value is meant as an action: it names one."""
    if isinstance(item, dict):
        return _type_key(item) is not None or _name_as_key(item) is not None
    return action_name(item) is not None


def _folded(text: str) -> str:
    """Return the letters and digits of a name only, in lower case."""
    return re.sub(r"[\W_]+", "", text[:64]).lower()


@lru_cache(maxsize=1)
def _schema() -> Json:
    return ACTION_ADAPTER.json_schema()


@lru_cache(maxsize=1)
def _action_names() -> dict[str, str]:
    return {_folded(name): name for name in _schema()["discriminator"]["mapping"]}


@lru_cache(maxsize=1)
def _with_amount() -> frozenset[str]:
    """Name the actions that take an amount: of these, a bare number can only be that."""
    schema = _schema()
    definitions = {
        name: schema["$defs"][reference.rpartition("/")[2]]
        for name, reference in schema["discriminator"]["mapping"].items()
        if isinstance(reference, str)  # a proposal is one of several objects, without an amount
    }
    return frozenset(name for name, one in definitions.items() if "amount" in one["properties"])


def _named(item: Any, mends: set[Mend]) -> Json:
    """Return the item as an object with its action's name under ``type``."""
    if isinstance(item, str):
        name = action_name(item)
        if name is None:
            raise Unmendable(f"{_short(item)} is no action")
        mends.add(Mend.BARE_NAME)
        return {"type": name}
    if not isinstance(item, dict):
        raise Unmendable(f"{_short(item)} is no action")
    key = _type_key(item)
    if key is not None:
        return _retyped(item, key, mends)
    key = _name_as_key(item)
    if key is None:
        named = next((item[k] for k in item if _folded(k) in _TYPE_KEYS), None)
        raise Unmendable(
            "it has no type" if named is None else f"there is no action of type {_short(named)}"
        )
    mends.add(Mend.TYPE_KEY)
    name, inner = action_name(key), item[key]
    fields = inner if isinstance(inner, dict) else {}
    if isinstance(inner, int | float | str) and not isinstance(inner, bool) and inner != "":
        if name not in _with_amount():
            raise Unmendable(f"{name} takes no {_short(inner)}")
        fields = {"amount": inner}
    return {"type": name, **fields}


def _type_key(item: Json) -> str | None:
    """Return the key that holds the action's name: ``type``, or one that models use instead."""
    by_fold: dict[str, str] = {_folded(key): key for key in reversed(item)}
    for candidate in _TYPE_KEYS:
        key = by_fold.get(candidate)
        if key is not None and action_name(item[key]) is not None:
            return key
    return None


def _name_as_key(item: Mapping[str, Any]) -> str | None:
    """Return the only key if it is an action's name, as in ``{"stake": {"amount": 5}}``."""
    if len(item) != 1:
        return None
    key = next(iter(item))
    return key if action_name(key) is not None else None


def _retyped(item: Mapping[str, Any], key: str, mends: set[Mend]) -> Json:
    name = action_name(item[key])
    if key != "type":
        mends.add(Mend.TYPE_KEY)
    if name != item[key]:
        mends.add(Mend.NAME)
    action = {other: value for other, value in item.items() if other not in (key, "type")}
    for nest in [k for k in action if _folded(k) in _NESTS and isinstance(action[k], dict)]:
        inner = action.pop(nest)
        if isinstance(inner, Damaged):
            raise Unmendable(inner.why)
        mends.add(Mend.NESTED)
        action = {**inner, **action}
    return {"type": name, **action}


def _refuse_foreign_actor(
    action: Mapping[str, Any], own_id: str, agents: Mapping[str, Any]
) -> None:
    """Refuse an action that another agent is meant to do."""
    for key, value in action.items():
        named = value if _folded(key) in _ACTORS and isinstance(value, str) else own_id
        if named != own_id and named in agents:
            raise Unmendable(f"it is an action of {named}, and you are {own_id}")


class _Mender:
    """Walks a value along the schema it should have, and mends names and types on the way."""

    def __init__(self, mends: set[Mend]) -> None:
        self.mends = mends

    def mend(self, value: Any, schema: Mapping[str, Any]) -> Any:
        """Return the value as the schema would have it, as far as spelling goes."""
        schema = self._resolve(value, schema)
        if isinstance(value, dict) and "properties" in schema:
            return self._object(value, schema["properties"])
        if schema.get("type") == "array":
            return self._list(value, schema["items"])
        if schema.get("type") == "integer":
            return self._integer(value)
        if isinstance(value, dict) and isinstance(schema.get("additionalProperties"), dict):
            return {k: self.mend(v, schema["additionalProperties"]) for k, v in value.items()}
        if isinstance(value, str):
            return self._text(value, schema)
        return value

    def _resolve(self, value: Any, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        """Follow references, and choose the alternative that the value is meant as."""
        while True:
            if "$ref" in schema:
                schema = _schema()["$defs"][schema["$ref"].rpartition("/")[2]]
            elif "discriminator" in schema:
                chosen = self._alternative(value, schema["discriminator"])
                if chosen is None:
                    return {}
                schema = {"$ref": chosen} if isinstance(chosen, str) else chosen
            elif "anyOf" in schema:
                wanted = "object" if isinstance(value, dict) else "string"
                schema = next(s for s in schema["anyOf"] if s.get("type") == wanted)
            else:
                return schema

    def _alternative(self, value: Any, discriminator: Mapping[str, Any]) -> Any:
        """Return the alternative whose tag the value carries: a reference or a schema."""
        if not isinstance(value, dict):
            return None
        tag = discriminator["propertyName"]
        names = {_folded(name): ref for name, ref in discriminator["mapping"].items()}
        said = next((v for k, v in value.items() if _folded(k) == _folded(tag)), None)
        return names.get(_folded(said)) if isinstance(said, str) else None

    def _object(self, value: Mapping[str, Any], properties: Mapping[str, Any]) -> Json:
        names = {_folded(name): name for name in properties}
        mended: Json = {}
        for key, inner in value.items():
            name = names.get(_folded(key))
            if name is None:
                self.mends.add(Mend.UNKNOWN_FIELD)
            elif inner is None:
                self.mends.add(Mend.NULL)
            elif name == key or (name not in mended and name not in value):
                if name != key:
                    self.mends.add(Mend.FIELD)
                mended[name] = self.mend(inner, properties[name])
        return mended

    def _list(self, value: Any, items: Mapping[str, Any]) -> Any:
        if isinstance(value, str):
            self.mends.add(Mend.ONE_FOR_LIST)
            value = [value]
        return [self.mend(item, items) for item in value] if isinstance(value, list) else value

    def _integer(self, value: Any) -> Any:
        """Return the whole number that a text or a decimal plainly is."""
        if isinstance(value, float) and value.is_integer():
            self.mends.add(Mend.NUMBER)
            return int(value)
        if isinstance(value, str) and (whole := _WHOLE.fullmatch(value)):
            self.mends.add(Mend.NUMBER)
            return int(re.sub("[,_]", "", whole[1]))
        return value

    def _text(self, value: str, schema: Mapping[str, Any]) -> str:
        known = schema.get("enum") or ([schema["const"]] if "const" in schema else None)
        if known is not None:
            spelt = {_folded(name): name for name in known}.get(_folded(value), value)
            if spelt != value:
                self.mends.add(Mend.VALUE)
            return str(spelt)
        return valid_unicode(value, self.mends)


def _first_error(error: ValidationError) -> str:
    """Say in one sentence what is wrong with an action."""
    first = error.errors(include_url=False, include_input=False)[0]
    names = set(_action_names().values())
    where = ".".join(str(part) for part in first["loc"] if str(part) not in names)
    return f"{where}: {first['msg']}" if where else str(first["msg"])


def _short(value: Any) -> str:
    text = repr(value) if isinstance(value, str | int | float | None) else type(value).__name__
    return text if len(text) <= 60 else text[:60] + "…"
