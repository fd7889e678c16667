"""Asking chat streams for their usage, where the caller left that open.

A chat stream reports its tokens only if the request asks for them, in a chunk of its own
that has no choices. Neither the question nor the chunk is to be seen by the caller.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any

from energy_tracking.openai_client import sdk
from energy_tracking.openai_client.targets import UNKNOWN_HOST, Target
from energy_tracking.openai_client.usage_hosts import takes_usage_option
from energy_tracking.settings import Settings
from energy_tracking.usage.endpoints import Endpoint

RAW_RESPONSE = "pass stream_options, since raw responses are not asked for their usage"
"""What a partial call's reason says where the caller reads the response raw."""


def plan_usage(
    client: Any,
    target: Target,
    endpoint: Endpoint,
    options: Any,
    body: Mapping[str, Any],
    stream_cls: Any,
    settings: Settings,
) -> tuple[bool, str | None]:
    """Decide whether a stream is asked for its usage.

    Args:
        client: The client that sends the request.
        target: Where to.
        endpoint: What that is.
        options: The SDK's options of the request.
        body: The request's JSON as it will be sent.
        stream_cls: The class of stream that the SDK is asked for.
        settings: What the user says.

    Returns:
        Whether it is, and what the user can do about it where it is not, if anything.
    """
    stream_options = body.get("stream_options", {})
    if (
        not endpoint.stream_options
        or settings.include_usage == "never"
        or not isinstance(stream_options, Mapping)
        or "include_usage" in stream_options
        or "stream_options" in (options.extra_json or {})
        or not isinstance(options.json_data, Mapping)
        or not sdk.is_sdk_stream(stream_cls)
        or not sdk.has_iterator(stream_cls)
    ):
        return False, None
    if settings.include_usage == "always":
        return True, None
    if _is_raw(options.headers):
        # Its reader would see the extra chunk.
        return False, RAW_RESPONSE
    if "data_sources" in body:
        # Azure's "on your data" refuses the option.
        return False, None
    if takes_usage_option(client, target, settings):
        return True, None
    return False, UNKNOWN_HOST


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
