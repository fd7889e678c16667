"""Other OpenAI instrumentations: what they have wrapped around the SDK's methods.

Some set a span only after the call, or never make it the current one, so that there is nothing
else to know them by while it runs. Which of them report a call ``telemetry.pipelines`` finds out.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from operator import attrgetter
from types import FunctionType, MethodType
from typing import Any

from energy_tracking.openai_client import sdk
from energy_tracking.openai_client.layers import is_of_sdk

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

_REQUEST = attrgetter(sdk.REQUEST)
_GETTERS = {path: (_REQUEST, attrgetter(method)) for path, method in METHODS.items()}

MAX_LAYERS = 32
"""How many layers of a method are looked at [1]."""


def wrappers_around(client: object, path: str) -> list[object]:
    """Whatever is wrapped around the methods that a call goes through.

    Args:
        client: An OpenAI client.
        path: Path of an ``Endpoint``.
    """
    wrappers: list[object] = []
    for get in _GETTERS.get(path, (_REQUEST,)):
        try:
            method = get(client)
        except AttributeError:
            continue
        if type(method) is not MethodType or not _is_of_sdk_alone(method.__func__):
            wrappers += _layers_of(method)
    return wrappers


@lru_cache(maxsize=64)
def _is_of_sdk_alone(function: object) -> bool:
    """Whether a method is the SDK's own function, with nothing around it or in between.

    It stays so: whoever wraps it makes another function of it.
    """
    return all(
        type(layer) is FunctionType and is_of_sdk(layer.__globals__.get("__name__"))
        for layer in _layers_of(function)
    )


def _layers_of(method: object) -> Iterator[object]:
    """The layers of a method, outermost first."""
    layer: Any = method
    for _ in range(MAX_LAYERS):
        if layer is None:
            return
        # A bound method of wrapt's keeps its wrapper on the function it was bound from.
        yield getattr(layer, "_self_wrapper", layer)
        layer = getattr(layer, "__wrapped__", None)
