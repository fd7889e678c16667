"""Objects that stand in for a client or a response in tests: they are passed through unchanged.

A mock answers every question about it, so nothing that it says of itself can be trusted. Whether
an object is one is seen from its class alone. A fake is an object of a class of the tests' own,
with methods of a client and without what a client sends requests with.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from energy_tracking.notices import log

_MOCK_CLASSES = ("NonCallableMock", "_SentinelObject")
# The parts of a client that run a model, and the methods by which they do.
_CLIENT_PARTS = (
    "chat.completions",
    "completions",
    "responses",
    "embeddings",
    "images",
    "audio.speech",
    "audio.transcriptions",
    "moderations",
)
_METHODS = ("create", "parse", "stream", "generate")
_INSTALLED = ("site-packages", "dist-packages")


def is_mock(given: object) -> bool:
    """Whether this is a mock or a sentinel of ``unittest.mock``, or of its backport."""
    return any(each.__name__ in _MOCK_CLASSES for each in type(given).__mro__)


def is_fake_client(given: object) -> bool:
    """Whether this has methods of an OpenAI client, and nothing that could send a request.

    Clients of other SDKs are of an installed package, or have or hold what sends requests.
    """
    methods = list(client_methods_of(given))
    return (
        bool(methods)
        and not any(map(is_installed, [type(given), *methods]))
        and not any(map(_sends_requests, [given, *attributes_of(given).values()]))
    )


def client_methods_of(given: object) -> Iterator[Any]:
    """The methods of an OpenAI client that run a model, as far as an object has them."""
    if isinstance(given, type | ModuleType):
        return
    for path in _CLIENT_PARTS:
        part = given
        for name in path.split("."):
            part = _get(part, name)
        yield from filter(callable, (_get(part, name) for name in _METHODS))


def attributes_of(given: object) -> dict[str, object]:
    """The attributes that an object has by itself, and not from its class."""
    found = _get(given, "__dict__")
    return dict(found) if isinstance(found, dict) else {}


def _get(given: object, name: str) -> Any:
    """An attribute; None where there is none, or it cannot be had.

    Args:
        given: Any object of the program; those that load something may fail in any way.
        name: Name of the attribute.
    """
    try:
        return getattr(given, name, None)
    except Exception:
        return None


def is_installed(defined: object) -> bool:
    """Whether a class or a function is of an installed package, and not the program's own."""
    if is_mock(defined):
        return False
    module = str(_get(_get(defined, "__func__") or defined, "__module__")).partition(".")[0]
    file = str(_get(sys.modules.get(module), "__file__"))
    return any(folder in file for folder in _INSTALLED)


def _sends_requests(held: object) -> bool:
    """Whether this is a client of any SDK, or of HTTP."""
    request = _get(held, "request")
    return callable(request) and not is_mock(held) and not is_mock(request)


def note_passed_through(door: str, given: object) -> None:
    """Say, for those who debug, that an object is left alone.

    Args:
        door: The function of ours that was given it.
        given: The object.
    """
    log("%s: a %s is passed through untracked", door, type(given).__name__, level=logging.DEBUG)
