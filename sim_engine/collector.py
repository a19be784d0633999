"""The garbage collector, told what kind of program this is."""

from __future__ import annotations

import gc
from typing import Final

YOUNG_OBJECTS: Final = 2_000_000
"""How many objects may be made before the collector looks at them."""


def settle_garbage_collector() -> None:
    """Keep the collector away from the world, which never becomes garbage, and let it run rarely.

    A turn of a large world makes hundreds of thousands of objects that reference counting frees;
    walking them, and the whole world, for cycles would double the turn. For processes that have no
    other job than one world.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 50, 100)
