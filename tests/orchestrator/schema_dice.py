"""Draws answers from an answer schema by dice, like a model that knows only the grammar."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any


class SchemaDice:
    """Draws values of a JSON Schema of the kind that ``answer_schema`` makes."""

    def __init__(self, schema: Mapping[str, Any], dice: random.Random) -> None:
        self._schema = schema
        self._dice = dice

    def answer(self) -> dict[str, Any]:
        """Draw a whole answer."""
        return dict(self._draw(self._schema))

    def _draw(self, schema: Mapping[str, Any]) -> Any:
        if "$ref" in schema:
            return self._draw(self._schema["$defs"][schema["$ref"].rpartition("/")[2]])
        if "anyOf" in schema:
            return self._draw(self._dice.choice(schema["anyOf"]))
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._dice.choice(schema["enum"])
        if schema["type"] == "object":
            return {
                name: self._draw(inner)
                for name, inner in schema["properties"].items()
                if name in schema["required"] or self._dice.random() < 0.5
            }
        if schema["type"] == "array":
            return [self._draw(place) for place in schema["prefixItems"]]
        if schema["type"] == "integer":
            # The bounds are where a schema is wrong, if it is.
            low, high = schema["minimum"], schema["maximum"]
            return self._dice.choice((low, high, self._dice.randint(low, high)))
        return "x" * self._dice.randint(schema.get("minLength", 0), schema["maxLength"])
