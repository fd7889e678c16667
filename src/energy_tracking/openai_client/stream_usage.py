"""Asking chat streams for their usage, where the caller left that open.

A chat stream reports its tokens only if the request asks for them, in a chunk of its own
that has no choices. Neither the question nor the chunk is to be seen by the caller.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from functools import lru_cache
from types import new_class
from typing import Any, Self, get_origin

from energy_tracking.settings import Settings, is_among_hosts
from energy_tracking.usage.payloads import Endpoint

RAW_RESPONSE_HEADER = "x-stainless-raw-response"

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
        or not _is_sdk_stream(kwargs.get("stream_cls"))
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
    version = getattr(client, "_api_version", "") or ""
    return url.host.endswith(AZURE_HOST_SUFFIX) and (
        "/openai/v1" in url.path or version >= AZURE_USAGE_VERSION
    )


def port_of(url: Any) -> int:
    """The port of a client's URL, that of its scheme where it names none."""
    return url.port or (443 if url.scheme == "https" else 80)


def _is_raw(headers: object) -> bool:
    """Whether the caller is to get the HTTP response and not the SDK's object."""
    return isinstance(headers, Mapping) and any(
        isinstance(name, str) and name.lower() == RAW_RESPONSE_HEADER for name in headers
    )


def asking_for_usage(
    options: Any, body: Mapping[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What to call the SDK with so that it asks; nothing of the caller's is changed.

    Args:
        options: The SDK's options of the request, which are among the arguments.
        body: The request's JSON as it would be sent.
        args: What the SDK was asked with.
        kwargs: The same.
    """
    asking = copy(options)
    stream_options = {**body.get("stream_options", {}), "include_usage": True}
    asking.json_data = {**options.json_data, "stream_options": stream_options}
    kwargs = {**kwargs, "stream_cls": _without_usage_chunk(kwargs["stream_cls"])}
    if "options" in kwargs:
        return args, kwargs | {"options": asking}
    return (args[0], asking, *args[2:]), kwargs


def _is_sdk_stream(stream_cls: Any) -> bool:
    from openai import AsyncStream, Stream

    return (get_origin(stream_cls) or stream_cls) in (Stream, AsyncStream)


@lru_cache(maxsize=64)
def _without_usage_chunk(stream_cls: Any) -> Any:
    """A stream class that leaves out the chunk we asked for and the caller did not.

    Its instances turn into the SDK's own class as soon as they are made.
    """
    from openai import AsyncStream

    sdk_class: Any = get_origin(stream_cls) or stream_cls

    def __init__(self: Any, **kwargs: Any) -> None:
        sdk_class.__init__(self, **kwargs)
        if sdk_class is AsyncStream:
            self._iterator = _WantedChunks(self._iterator)
        else:
            self._iterator = filter(_is_wanted, self._iterator)
        self.__class__ = sdk_class
        # As the SDK's generic class leaves it on its instances.
        self.__orig_class__ = stream_cls

    return new_class(
        sdk_class.__name__, (stream_cls,), exec_body=lambda body: body.update(__init__=__init__)
    )


class _WantedChunks:
    """The chunks that the caller is to see, of an async stream.

    Not a generator: the loop closes each of those by itself when they are dropped, also one
    that another is just closing, and asyncio logs the error.
    """

    def __init__(self, chunks: Any) -> None:
        self._chunks = chunks

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        while True:
            chunk = await self._chunks.__anext__()
            if _is_wanted(chunk):
                return chunk

    async def aclose(self) -> None:
        await self._chunks.aclose()


def _is_wanted(chunk: Any) -> bool:
    return bool(getattr(chunk, "choices", True)) or getattr(chunk, "usage", None) is None
