"""How often the command line looks for objects that nothing but each other refers to."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

RARELY = 500_000
"""After so many more objects than were freed Python looks for such cycles, not after 700: more than
calls that are held back are made of [1]."""


@contextmanager
def collected_rarely() -> Iterator[None]:
    """Look for cycles rarely in the block, which reads lines.

    Calls that are held until a later copy of them comes are objects that stay, and Python would
    look at them again and again: a fifth of what a line costs. None of them is in a cycle.
    """
    before = gc.get_threshold()
    if before[0]:
        gc.set_threshold(RARELY, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
