"""The auditor's own economy: docs/rules.md written a second time, for clarity and not for speed.

Nothing here may import the engine. State is plain dictionaries, counts are made by walking the
whole history, and every check of an action is looked up in the order the rules list them, so that
a mistake shared with the engine would have to be made twice, in two different shapes.
"""

from .world import World

__all__ = ["World"]
