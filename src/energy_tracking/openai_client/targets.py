"""Where the SDK sends a request, and whether a model runs there."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from energy_tracking.openai_client.usage_hosts import port_of
from energy_tracking.usage.endpoints import endpoint_of


class Target(NamedTuple):
    """Where a request goes: what the SDK makes of a client's URL and a request's.

    Attributes:
        host: Name or address.
        port: The one that is named, or that of the scheme.
        path: The whole path, from the root.
    """

    host: str
    port: int
    path: str


def target_of(base_url: Any, url: str) -> Target:
    """Where the SDK sends a request.

    Args:
        base_url: The client's URL.
        url: That of the request: relative to the client's, with a slash before it or without,
            or a whole one.
    """
    whole = urlsplit(url)
    if whole.netloc:
        port = whole.port or (443 if whole.scheme == "https" else 80)
        return Target(whole.hostname or "", port, whole.path)
    path = f"{base_url.path.rstrip('/')}/{whole.path.lstrip('/')}"
    return Target(base_url.host, port_of(base_url), path)


def is_inference(client: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Whether a request runs a model, as far as that can be seen.

    Args:
        client: The client that sends it.
        args: The arguments of the SDK's ``request``.
        kwargs: Its keyword arguments.
    """
    with suppress(Exception):
        options = kwargs["options"] if "options" in kwargs else args[1]
        path = target_of(client.base_url, options.url).path
        return endpoint_of(options.method, path) is not None
    return False
