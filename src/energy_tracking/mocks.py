"""Objects that stand in for a client or a response in tests: they are passed through unchanged.

A mock answers every question about it, so nothing that it says of itself can be trusted. Whether
an object is one is seen from its class alone. A fake is an object of a class of the tests' own,
with the methods of a client and without what a client sends requests with.
"""

from __future__ import annotations

import logging

logger = logging.getLogger("energy_tracking")

_CLIENT_METHODS = ("chat.completions.create", "responses.create", "embeddings.create")
# Clients of other SDKs, and wrappers around a client of OpenAI's, have one of these.
_OF_REAL_CLIENTS = ("_client", "client", "base_url")


def is_mock(given: object) -> bool:
    """Whether this is a mock of ``unittest.mock``, or of its backport."""
    return any(each.__name__ == "NonCallableMock" for each in type(given).__mro__)


def is_fake_client(given: object) -> bool:
    """Whether this has methods of an OpenAI client, and nothing that could send a request."""
    if isinstance(given, type) or any(hasattr(given, name) for name in _OF_REAL_CLIENTS):
        return False
    methods = (_find_attribute(given, path) for path in _CLIENT_METHODS)
    return any(map(callable, methods))


def _find_attribute(given: object, path: str) -> object:
    """An attribute of an attribute, None where there is none.

    Args:
        given: The object.
        path: Names, with dots between them.
    """
    for name in path.split("."):
        given = getattr(given, name, None)
    return given


def note_passed_through(door: str, given: object) -> None:
    """Say, for those who debug, that an object is left alone.

    Args:
        door: The function of ours that was given it.
        given: The object.
    """
    logger.debug("%s: a %s is passed through untracked", door, type(given).__name__)
