"""Objects that stand in for a client or a response in tests: they are passed through unchanged.

A mock answers every question about it, so nothing that it says of itself can be trusted. Whether
an object is one is seen from its class alone.
"""

from __future__ import annotations

import logging

logger = logging.getLogger("energy_tracking")


def is_mock(given: object) -> bool:
    """Whether this is a mock of ``unittest.mock``, or of its backport."""
    return any(each.__name__ == "NonCallableMock" for each in type(given).__mro__)


def note_passed_through(door: str, given: object) -> None:
    """Say, for those who debug, that an object is left alone.

    Args:
        door: The function of ours that was given it.
        given: The object.
    """
    logger.debug("%s: a %s is passed through untracked", door, type(given).__name__)
