"""The SDK's streams, watched where the caller takes their chunks.

Two things can be done nowhere else: to leave out the chunk that we asked for and the caller did
not, and to see the error that the caller sees, where the SDK leaves the response open then.
The stream stays of the SDK's class; what it iterates over is replaced by a plain object. It must
not be a generator: the event loop closes each async generator by itself when it is dropped, also
one that another is just closing, and asyncio logs the error.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from types import new_class
from typing import Any, Self, get_origin

from energy_tracking.openai_client import sdk

Fail = Callable[[Any, BaseException], None]
"""Called with the HTTP response and the error that the caller of its stream gets."""


@lru_cache(maxsize=64)
def watched_stream(stream_cls: Any, fail: Fail, hides_usage: bool) -> Any:
    """A stream class whose chunks are watched.

    Its instances turn into the SDK's own class as soon as they are made.

    Args:
        stream_cls: The SDK's class, ``Stream[...]`` or ``AsyncStream[...]``.
        fail: Called when a chunk cannot be had.
        hides_usage: Whether the chunk that holds nothing but the usage is left out.
    """
    sdk_class: Any = get_origin(stream_cls) or stream_cls

    def __init__(self: Any, **kwargs: Any) -> None:
        sdk_class.__init__(self, **kwargs)
        response = self.response
        sdk.replace_iterator(self, lambda chunks: _Chunks(chunks, response, fail, hides_usage))
        self.__class__ = sdk_class
        # As the SDK's generic class leaves it on its instances.
        self.__orig_class__ = stream_cls

    return new_class(
        sdk_class.__name__, (stream_cls,), exec_body=lambda body: body.update(__init__=__init__)
    )


class _Chunks:
    """The chunks of a stream, sync or async, as its caller is to see them."""

    __slots__ = ("_chunks", "_fail", "_hides_usage", "_response")

    def __init__(self, chunks: Any, response: Any, fail: Fail, hides_usage: bool) -> None:
        self._chunks = chunks
        self._response = response
        self._fail = fail
        self._hides_usage = hides_usage

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        try:
            chunk = self._chunks.__next__()
            while self._hides_usage and _is_usage_alone(chunk):
                chunk = self._chunks.__next__()
        except StopIteration:
            raise
        except BaseException as error:
            self._fail(self._response, error)
            raise
        return chunk

    def close(self) -> None:
        self._chunks.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        try:
            chunk = await self._chunks.__anext__()
            while self._hides_usage and _is_usage_alone(chunk):
                chunk = await self._chunks.__anext__()
        except StopAsyncIteration:
            raise
        except BaseException as error:
            self._fail(self._response, error)
            raise
        return chunk

    async def aclose(self) -> None:
        await self._chunks.aclose()


def _is_usage_alone(chunk: Any) -> bool:
    """Whether this is the chunk that is only sent to a request for usage."""
    return not getattr(chunk, "choices", True) and getattr(chunk, "usage", None) is not None
