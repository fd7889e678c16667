"""Other OpenAI instrumentations: what they have wrapped around the SDK's methods.

Some set a span only after the call, or never make it the current one, so that there is nothing
else to know them by while it runs. Which of them report a call ``telemetry.pipelines`` finds out.
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter
from typing import Any

# Path -> the method of a client that a call to it goes through.
METHODS = {
    "/chat/completions": "chat.completions.create",
    "/completions": "completions.create",
    "/responses": "responses.create",
    "/embeddings": "embeddings.create",
    "/images/generations": "images.generate",
    "/images/edits": "images.edit",
    "/images/variations": "images.create_variation",
}

MAX_LAYERS = 32
"""How many layers of a method are looked at [1]."""


def wrappers_around(client: object, path: str) -> Iterator[object]:
    """Whatever is wrapped around the methods that a call goes through, and those themselves.

    Args:
        client: An OpenAI client.
        path: Path of an ``Endpoint``.
    """
    for name in ("request", METHODS.get(path)):
        if name is not None:
            yield from _layers_of(client, name)


def _layers_of(client: object, name: str) -> Iterator[object]:
    """The layers of a method, outermost first."""
    try:
        layer: Any = attrgetter(name)(client)
    except AttributeError:
        return
    for _ in range(MAX_LAYERS):
        if layer is None:
            return
        # A bound method of wrapt's keeps its wrapper on the function it was bound from.
        yield getattr(layer, "_self_wrapper", layer)
        layer = getattr(layer, "__wrapped__", None)
