"""Detect the end of a streamed response and close its call.

The HTTP response is followed, not the SDK's stream object: raw readers, helpers and plain
iteration all end in closing it, and the caller keeps the very object the SDK made. A
response nobody closes is noticed by a finaliser.

The endings, each exactly once: read to the end; left early inside ``with``; closed; the
user's error inside ``with``; cancelled; cut off by the server; dropped half-read; dropped
unread; still open when the process ends (the tracker's part). A further ending is a method of the
HTTP response, or an error of it, that is followed here.
"""

from __future__ import annotations

import sys
import weakref
from asyncio import CancelledError
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol, Self

from energy_tracking.calls.call import Call
from energy_tracking.lifecycle import defer
from energy_tracking.openai_client import sdk
from energy_tracking.openai_client.bodies import Body
from energy_tracking.openai_client.decoded import Observation
from energy_tracking.openai_client.raw_bodies import RawBody

# What is raised while a frame of these reads the response is the call's error, and so is what a
# helper of the SDK raises over what it has read. Any other error that is under way while a response
# closes is the user's own.
_READERS = frozenset({"openai", "httpx", "httpx2", "energy_tracking"})

HOOKED = ("close", "aclose", "iter_bytes", "aiter_bytes", "iter_raw", "aiter_raw")
"""Methods of a response that stand on it while it is followed."""

Finish = Callable[[Call, "BaseException | None"], None]
"""Called at least once when a response ends, with the error, if any."""


if TYPE_CHECKING:

    class End(Protocol):
        """Called when a body has no more pieces, or is closed.

        ``is_read`` where it was read whole.
        """

        def __call__(self, *, is_read: bool = False) -> None: ...


def follow(
    response: Any,
    call: Call,
    observation: Observation,
    finish: Finish,
    boundary: AbstractContextManager[object],
    *,
    measures: bool = False,
) -> None:
    """Finish the call when this response closes, or is collected without.

    Args:
        response: An open ``httpx`` or ``httpx2`` response.
        call: The call it belongs to.
        observation: What the response carries.
        finish: What to do then.
        boundary: Keeps our own errors away from the response's reader.
        measures: Whether the server may state energy in comments between its events.
    """
    later = partial(_finish_later, call, finish)
    finaliser = weakref.finalize(response, later)
    finaliser.atexit = False
    body = Body(call, observation, response, measures)
    readers = _Reader(body), _Reader(RawBody(call, response, body))

    def ended(is_read: bool = False) -> None:
        if body.being_read:
            return  # by the very generator that comes back here when it is through
        # The hooks go with the first close: they tie the response to itself, and would
        # keep it from being pickled.
        for name in HOOKED:
            vars(response).pop(name, None)
        error = None if is_read else sys.exception()
        if isinstance(error, GeneratorExit):
            # Perhaps the garbage collector closing a generator: no locks here.
            later()
            return
        with boundary:
            finaliser.detach()
            for reader in readers:
                reader.feed(b"")
            body.read()
        with boundary:
            finish(call, error if _is_of_the_call(error, response) else None)

    _hook_closing(response, ended)
    _hook_reading(response, body, readers, ended, boundary)


def _finish_later(call: Call, finish: Finish) -> None:
    """For finalisers, which may only enqueue; see ``defer``."""
    call.ended_at = perf_counter()
    defer(partial(finish, call, None))


def _hook_closing(response: Any, ended: Callable[[], None]) -> None:
    close, aclose = response.close, response.aclose

    def tracked_close() -> None:
        try:
            close()
        finally:
            ended()

    async def tracked_aclose() -> None:
        try:
            await aclose()
        finally:
            ended()

    response.close = tracked_close
    response.aclose = tracked_aclose


def _hook_reading(
    response: Any,
    body: Body,
    readers: tuple[_Reader, _Reader],
    ended: Callable[[bool], None],
    boundary: AbstractContextManager[object],
) -> None:
    decoded, raw = readers
    iter_bytes, aiter_bytes = response.iter_bytes, response.aiter_bytes
    iter_raw, aiter_raw = response.iter_raw, response.aiter_raw

    def end(*, is_read: bool = False) -> None:
        if response.is_closed:
            ended(is_read)

    is_plain = response.headers.get("content-encoding", "identity") == "identity"

    # Pieces of a size that the caller chooses are cut of those sent: these are looked at.

    def tracked_iter_bytes(*args: Any, **kwargs: Any) -> Any:
        if is_plain and (args or kwargs):
            return iter_bytes(*args, **kwargs)
        return _Pieces(iter_bytes(*args, **kwargs), decoded, body, end, boundary)

    def tracked_aiter_bytes(*args: Any, **kwargs: Any) -> Any:
        if is_plain and (args or kwargs):
            return aiter_bytes(*args, **kwargs)
        return _AsyncPieces(aiter_bytes(*args, **kwargs), decoded, body, end, boundary)

    # Those decoded are made of those raw, which are not to be read twice.

    def tracked_iter_raw(*args: Any, **kwargs: Any) -> Any:
        pieces = iter_raw(*args, **kwargs)
        return pieces if body.being_read else _Pieces(pieces, raw, body, end, boundary)

    def tracked_aiter_raw(*args: Any, **kwargs: Any) -> Any:
        pieces = aiter_raw(*args, **kwargs)
        return pieces if body.being_read else _AsyncPieces(pieces, raw, body, end, boundary)

    response.iter_bytes = tracked_iter_bytes
    response.aiter_bytes = tracked_aiter_bytes
    response.iter_raw = tracked_iter_raw
    response.aiter_raw = tracked_aiter_raw


SMALL_PIECE = 256
"""A piece of fewer bytes is held until there are more, or a line ends [byte]."""
MOST_HELD = 1 << 13
"""Bytes of small pieces that are held together [byte]."""


class _Reader:
    """Passes the pieces of a body on, the small ones together.

    A caller may read a long line by a few bytes, to look at each of which costs many times what
    reading them does. Nothing is known from a line before it ends.

    Attributes:
        held: What is held, to be fed before anything else.
    """

    __slots__ = ("_feed", "held")

    def __init__(self, body: Body | RawBody) -> None:
        self._feed = body.feed
        self.held = bytearray()

    def feed(self, piece: bytes) -> None:
        """Pass on what is held, and a piece."""
        if self.held:
            held = bytes(self.held)
            self.held.clear()
            self._feed(held)
        if piece:
            self._feed(piece)


class _Pieces:
    """The pieces of a body on their way to the reader; see ``_read_along``."""

    __slots__ = ("_end", "_pieces", "_read")

    def __init__(
        self,
        pieces: Any,
        reader: _Reader,
        body: Body,
        end: End,
        boundary: AbstractContextManager[object],
    ) -> None:
        self._pieces = pieces
        self._read = _read_along(pieces, reader, body, end, boundary)
        self._end = end

    def __iter__(self) -> Iterator[bytes]:
        return self._read

    def __next__(self) -> bytes:
        return next(self._read)

    def close(self) -> None:
        # Not the generator: the response is closed here and now, not by one that is dropped.
        self._pieces.close()
        self._end()


def _read_along(
    pieces: Any,
    reader: _Reader,
    body: Body,
    end: End,
    boundary: AbstractContextManager[object],
) -> Iterator[bytes]:
    """The pieces of a body, passed on to the reader, too.

    For every piece of every stream: a loop goes through a generator without calling it.

    Args:
        pieces: The pieces.
        reader: Takes them, unless the SDK decodes them.
        body: What they are pieces of.
        end: Called after the last.
        boundary: Keeps our own errors away from the response's reader.
    """
    held = reader.held
    observation = body.observation
    body.being_read = True
    try:
        for piece in pieces:
            # There is nothing else in what the SDK decodes.
            if body.has_comments or not observation.is_decoded:
                if len(piece) >= SMALL_PIECE or b"\n" in piece or b"\r" in piece:
                    with boundary:
                        reader.feed(piece)
                else:
                    # Of few bytes there may be very many: for most no function is called.
                    held += piece
                    if len(held) >= MOST_HELD:
                        with boundary:
                            reader.feed(b"")
            body.being_read = False
            yield piece
            body.being_read = True
    except BaseException as error:
        # Else it was raised where the piece went.
        if body.being_read:
            body.being_read = False
            # Its readers may make another error of it for the caller, and close the response then.
            body.fail(error)
        raise
    body.being_read = False
    end(is_read=True)


class _AsyncPieces:
    """The same of an async body.

    Not a generator: the event loop closes each async one by itself when it is dropped, also
    while another is closing it, and asyncio logs the error.
    """

    __slots__ = ("_body", "_boundary", "_end", "_held", "_pieces", "_reader")

    def __init__(
        self,
        pieces: Any,
        reader: _Reader,
        body: Body,
        end: End,
        boundary: AbstractContextManager[object],
    ) -> None:
        self._pieces = pieces
        self._reader = reader
        self._held = reader.held
        self._body = body
        self._end = end
        self._boundary = boundary

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        body = self._body
        body.being_read = True
        try:
            piece: bytes = await anext(self._pieces)
        except StopAsyncIteration:
            body.being_read = False
            self._end(is_read=True)
            raise
        except BaseException as error:
            body.being_read = False
            body.fail(error)
            raise
        if body.has_comments or not body.observation.is_decoded:
            if len(piece) >= SMALL_PIECE or b"\n" in piece or b"\r" in piece:
                self._feed(piece)
            else:
                held = self._held
                held += piece
                if len(held) >= MOST_HELD:
                    self._feed(b"")
        body.being_read = False
        return piece

    async def aclose(self) -> None:
        await self._pieces.aclose()
        self._end()

    def _feed(self, piece: bytes) -> None:
        with self._boundary:
            self._reader.feed(piece)


def _is_of_the_call(error: BaseException | None, response: Any) -> bool:
    """Whether an error that is under way while a response closes came of reading that.

    Args:
        error: The error.
        response: The response.
    """
    if error is None or isinstance(error, StopIteration | StopAsyncIteration):
        return False
    if isinstance(error, CancelledError):
        return True
    # The traceback reaches from here inwards: its first frame is who is closing.
    frame = error.__traceback__
    closing = frame and frame.tb_frame.f_globals.get("__name__", "")
    if str(closing).partition(".")[0] in _READERS:
        return True
    return sdk.is_raised_by_helper(error, response)
