"""Other OpenAI instrumentations: whether one of them reports a call's tokens.

They are known by the wrappers that they put on the SDK's methods. Some set a span only after
the call, so that there is nothing else to know them by while it runs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from operator import attrgetter
from typing import Any

PEERS = ("opentelemetry.", "openinference.", "openlit.", "logfire.")
"""How the modules of instrumentations begin that put tokens on spans."""

PACKAGES = ("opentelemetry.instrumentation", "openinference", "openlit", "logfire")
"""What is imported wherever one of them is: a quick look that spares a long one."""

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


def is_reported_elsewhere(client: object, path: str) -> bool:
    """Whether another instrumentation reports the tokens of calls to this endpoint.

    Args:
        client: An OpenAI client.
        path: Path of an ``Endpoint``.
    """
    if not any(package in sys.modules for package in PACKAGES):
        return False
    return any(
        module.startswith(PEERS)
        for name in ("request", METHODS.get(path))
        if name is not None
        for module in _wrapper_modules(client, name)
    )


def _wrapper_modules(client: object, name: str) -> Iterator[str]:
    """The modules of whatever is wrapped around a method, outermost first."""
    try:
        layer: Any = attrgetter(name)(client)
    except AttributeError:
        return
    while layer is not None:
        # A bound method of wrapt's keeps its wrapper on the function it was bound from.
        wrapper = getattr(layer, "_self_wrapper", layer)
        of_function = getattr(wrapper, "__globals__", None)
        # The name in a function's globals is its own; `functools.wraps` copies the other.
        yield str(of_function["__name__"] if of_function else type(wrapper).__module__)
        layer = getattr(layer, "__wrapped__", None)
