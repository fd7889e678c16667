"""Asking chat streams for their usage, where the caller left that open.

A chat stream reports its tokens only if the request asks for them, in a chunk of its own
that has no choices. Neither the question nor the chunk is to be seen by the caller.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any

from energy_tracking.openai_client import sdk
from energy_tracking.settings import Settings, is_among_hosts
from energy_tracking.usage.payloads import Endpoint

# Hosts known to accept `stream_options.include_usage`.
USAGE_HOSTS = frozenset({"api.openai.com"})
# Azure's own endpoints accept it from this version of their API on.
# Source: https://learn.microsoft.com/azure/ai-services/openai/api-version-deprecation
AZURE_HOST_SUFFIX = ".openai.azure.com"
AZURE_USAGE_VERSION = "2024-09-01"


def may_ask_for_usage(
    client: Any,
    endpoint: Endpoint,
    options: Any,
    body: Mapping[str, Any],
    kwargs: Mapping[str, Any],
    settings: Settings,
) -> bool:
    """Whether a stream is to be asked for its usage.

    Args:
        client: The client that sends the request.
        endpoint: Where to.
        options: The SDK's options of the request.
        body: The request's JSON as it will be sent.
        kwargs: What else the SDK was asked with.
        settings: What the user says.
    """
    stream_options = body.get("stream_options", {})
    if (
        not endpoint.stream_options
        or settings.include_usage == "never"
        or not isinstance(stream_options, Mapping)
        or "include_usage" in stream_options
        or "stream_options" in (options.extra_json or {})
        or not isinstance(options.json_data, Mapping)
        or not sdk.is_sdk_stream(kwargs.get("stream_cls"))
        or not sdk.has_iterator(kwargs["stream_cls"])
    ):
        return False
    if settings.include_usage == "always":
        return True
    # Raw readers would see the extra chunk, and Azure's "on your data" refuses it.
    return (
        not _is_raw(options.headers)
        and "data_sources" not in body
        and _host_accepts_usage(client, settings)
    )


def _host_accepts_usage(client: Any, settings: Settings) -> bool:
    url = client.base_url
    if url.host in USAGE_HOSTS:
        return True
    if is_among_hosts(settings.include_usage_hosts, url.host, port_of(url)):
        return True
    version = client.default_query.get("api-version", "")
    return url.host.endswith(AZURE_HOST_SUFFIX) and (
        "/openai/v1" in url.path or version >= AZURE_USAGE_VERSION
    )


def port_of(url: Any) -> int:
    """The port of a client's URL, that of its scheme where it names none."""
    return url.port or (443 if url.scheme == "https" else 80)


def _is_raw(headers: object) -> bool:
    """Whether the caller is to get the HTTP response and not the SDK's object."""
    return isinstance(headers, Mapping) and any(
        isinstance(name, str) and name.lower() == sdk.RAW_RESPONSE_HEADER for name in headers
    )


def ask_for_usage(options: Any, body: Mapping[str, Any]) -> Any:
    """The options of a request that asks; nothing of the caller's is changed.

    Args:
        options: The SDK's options of the request.
        body: The request's JSON as it would be sent.
    """
    asking = copy(options)
    stream_options = {**body.get("stream_options", {}), "include_usage": True}
    asking.json_data = {**options.json_data, "stream_options": stream_options}
    return asking
