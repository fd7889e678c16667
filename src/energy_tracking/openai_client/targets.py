"""Where the SDK sends a request, and whether a model runs there.

Most clients send most of their requests to one place: it is found out once for each URL of a
client, and anew once the client has another one.
"""

from __future__ import annotations

import weakref
from contextlib import suppress
from posixpath import normpath
from typing import Any
from urllib.parse import unquote, urlsplit

from energy_tracking.frozen import frozen
from energy_tracking.openai_client import sdk
from energy_tracking.usage.endpoints import Endpoint, endpoint_of
from energy_tracking.usage.measured_energy import may_measure


@frozen()
class Target:
    """Where a request goes: what the SDK makes of a client's URL and a request's.

    Attributes:
        host: Name or address.
        port: The one that is named, or that of the scheme.
        path: The whole path, from the root, without a slash at its end.
    """

    host: str
    port: int
    path: str


@frozen()
class Route:
    """What is known of a request before it is sent, apart from its body.

    Attributes:
        target: Where it goes.
        endpoint: What it asks for there; None where it runs no model.
        provider: ``gen_ai.provider.name``; empty where it runs no model.
        measures: Whether the server may report measured energy outside of a response's body.
    """

    target: Target
    endpoint: Endpoint | None
    provider: str
    measures: bool


UNKNOWN_HOST = (
    "hidden reasoning is not counted; name the host in include_usage_hosts if it takes"
    " stream_options.include_usage"
)
"""What a partial call's reason says where its server is not known to take the option (see
``usage_hosts``, which calls that are no streams do without)."""

MAX_KNOWN = 256
"""Pairs of a client's URL and a request's that are remembered [1]."""

# With the URL itself, which keeps its id from being another one's, and what the client's class
# shows it by. The client is not kept: another one that was given the same URL is of another kind,
# perhaps.
_known: dict[tuple[int, str, str], tuple[Any, object, weakref.ref[Any], Route]] = {}


def route_of(client: Any, options: Any) -> Route:
    """Where the SDK sends a request, and what it asks whom for there.

    Args:
        client: The client.
        options: The SDK's options of the request.
    """
    # An immutable object: another URL is another object.
    kept, url = client.__dict__.get(sdk.BASE_URL.name), str(options.url)
    key = id(kept), options.method, url
    shown_by: object = type(client).base_url
    known = _known.get(key)
    if known is not None and known[1] is shown_by and known[2]() is client:
        return known[3]
    base_url = client.base_url
    target = target_of(base_url, url)
    endpoint = endpoint_of(options.method, target.path)
    measures = may_measure(target.host)
    if endpoint is None:
        return Route(target, None, "", measures)  # requests that fetch have a path each
    provider = sdk.provider_of_client(client, target.host, target.path)
    route = Route(target, endpoint, provider, measures)
    if sdk.kept_url(client) is base_url:
        if len(_known) >= MAX_KNOWN:
            _known.clear()
        _known[key] = base_url, shown_by, weakref.ref(client), route
    return route


def target_of(base_url: Any, url: object) -> Target:
    """Where the SDK sends a request.

    Args:
        base_url: The client's URL.
        url: That of the request: relative to the client's, with slashes before it or without,
            or a whole one.
    """
    # Of slashes before it, the SDK takes two for the beginning of a host, and drops that.
    whole = urlsplit(str(url).lstrip("/"))
    if whole.scheme and whole.hostname:
        port = whole.port or _port_of_scheme(whole.scheme)
        return Target(whole.hostname.rstrip("."), port, _tidy(whole.path))
    port = base_url.port or _port_of_scheme(base_url.scheme)
    return Target(base_url.host.rstrip("."), port, _tidy(f"{base_url.path}/{whole.path}"))


def _port_of_scheme(scheme: str) -> int:
    return 443 if scheme == "https" else 80


def _tidy(path: str) -> str:
    """A path as servers read it: decoded, without dots, and with one slash where there are more.

    None stands at its end.
    """
    return normpath("/" + unquote(path).lstrip("/"))


def is_inference(client: Any, options: Any) -> bool:
    """Whether a request runs a model, as far as that can be seen.

    Args:
        client: The client that sends it.
        options: The SDK's options of the request.
    """
    with suppress(Exception):
        return route_of(client, options).endpoint is not None
    return False
