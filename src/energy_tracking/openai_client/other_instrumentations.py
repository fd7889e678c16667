"""Other OpenAI instrumentations: what they have wrapped around the SDK's methods.

Some set a span only after the call, or never make it the current one, so that there is nothing
else to know them by while it runs. Which of them report a call ``telemetry.pipelines`` finds out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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

_GET_REQUEST = attrgetter(sdk.REQUEST)
_GETTERS = {path: attrgetter(method) for path, method in METHODS.items()}

MAX_LAYERS = 32
"""How many layers of a method are looked at [1]."""


def wrappers_around(client: object, path: str) -> Sequence[object]:
    """Whatever is wrapped around the methods that a call goes through.

    Args:
        client: An OpenAI client.
        path: Path of an ``Endpoint``.
    """
    request = _GET_REQUEST(client)
    try:
        method = _GETTERS.get(path, _GET_REQUEST)(client)
    except AttributeError:
        method = request
    if (
        type(request) is MethodType
        and type(method) is MethodType
        # Of another class, they may be equal to the SDK's, as wrapt's are, or have no hash.
        and type(request.__func__) is type(method.__func__) is FunctionType
        and _are_of_sdk_alone(request.__func__, method.__func__)
    ):
        return ()
    return [*_wrappers_in(request), *_wrappers_in(method)]


def _wrappers_in(method: object) -> list[object]:
    """The layers of a method, unless all of them are the SDK's."""
    function = method.__func__ if type(method) is MethodType else None
    if type(function) is FunctionType and _are_of_sdk_alone(function):
        return []
    return list(_layers_of(method))


@lru_cache(maxsize=64)
def _are_of_sdk_alone(*functions: FunctionType) -> bool:
    """Whether methods are the SDK's own functions, with nothing around them or in between.

    They stay so: whoever wraps one makes another function of it.
    """
    return all(
        type(layer) is FunctionType and is_of_sdk(layer.__globals__.get("__name__"))
        for function in functions
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
