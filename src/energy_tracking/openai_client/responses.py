"""How a response that is read bit by bit tells its call that it has ended.

The HTTP response is followed, not the SDK's stream object: raw readers, helpers and plain
iteration all end in closing it, and the caller keeps the very object the SDK made. A
response nobody closes is noticed by a finaliser.

The endings, each exactly once: read to the end; left early inside ``with``; closed; the
user's error inside ``with``; cancelled; cut off by the server; dropped half-read; dropped
unread; still open when the process ends (the tracker's part).
"""

from __future__ import annotations

import json
import sys
import weakref
from asyncio import CancelledError
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from functools import partial
from time import perf_counter
from typing import Any, Self

from energy_tracking.calls.call import Call
from energy_tracking.lifecycle import defer

MAX_KEPT_BYTES = 1 << 18
"""Bytes kept of a body that the caller reads raw: enough for the usage at its end."""

MAX_COMMENT_BYTES = 1 << 13
"""Bytes kept of a comment that has not ended."""

DECODED_EXTENSION = "energy_tracking.decoded"
"""Marks a response of which the SDK has decoded a body or an event."""

# What is raised while a frame of these reads the response is the call's error. Any other
# error that is under way while a response closes is the user's own.
_READERS = frozenset({"openai", "httpx", "httpx2", "energy_tracking"})

Finish = Callable[[Call, "BaseException | None"], None]
"""Told once or more that a call's response has ended, and by what error."""


def follow(
    response: Any,
    call: Call,
    finish: Finish,
    boundary: AbstractContextManager[object],
    *,
    measures: bool = False,
) -> None:
    """Finish the call when this response closes, or is collected without.

    Args:
        response: An open ``httpx`` or ``httpx2`` response.
        call: The call it belongs to.
        finish: What to do then.
        boundary: Keeps our own errors away from the response's reader.
        measures: Whether the server may tell of energy in comments between its events.
    """
    later = partial(_finish_later, call, finish)
    finaliser = weakref.finalize(response, later)
    finaliser.atexit = False
    body = _Body(call, response, measures)

    def ended() -> None:
        if body.being_read:
            return  # by the very generator that comes back here when it is through
        # The hooks go with the first close: they tie the response to itself, and would
        # keep it from being pickled.
        for name in ("close", "aclose", "iter_bytes", "aiter_bytes"):
            vars(response).pop(name, None)
        error = sys.exception()
        if isinstance(error, GeneratorExit):
            # Perhaps the garbage collector closing a generator: no locks here.
            later()
            return
        with boundary:
            finaliser.detach()
            body.read()
        with boundary:
            finish(call, error if _is_of_the_call(error) else None)

    _hook_closing(response, ended)
    _hook_reading(response, body, ended, boundary)


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
    response: Any, body: _Body, ended: Callable[[], None], boundary: AbstractContextManager[object]
) -> None:
    iter_bytes, aiter_bytes = response.iter_bytes, response.aiter_bytes

    def end() -> None:
        if response.is_closed:
            ended()

    def tracked_iter_bytes(*args: Any, **kwargs: Any) -> _Pieces:
        return _Pieces(iter_bytes(*args, **kwargs), body, end, boundary)

    def tracked_aiter_bytes(*args: Any, **kwargs: Any) -> _Pieces:
        return _Pieces(aiter_bytes(*args, **kwargs), body, end, boundary)

    response.iter_bytes = tracked_iter_bytes
    response.aiter_bytes = tracked_aiter_bytes


class _Pieces:
    """The pieces of a body, sync or async, on their way to the reader.

    Not a generator: the event loop closes each async one by itself when it is dropped, also
    while another is closing it, and asyncio logs the error.
    """

    __slots__ = ("_body", "_boundary", "_end", "_pieces")

    def __init__(
        self,
        pieces: Any,
        body: _Body,
        end: Callable[[], None],
        boundary: AbstractContextManager[object],
    ) -> None:
        self._pieces = pieces
        self._body = body
        self._end = end
        self._boundary = boundary

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        self._body.being_read = True
        try:
            piece: bytes = self._pieces.__next__()
        except BaseException as error:
            self._stop(error)
            raise
        self._feed(piece)
        return piece

    def close(self) -> None:
        self._pieces.close()
        self._end()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        self._body.being_read = True
        try:
            piece: bytes = await self._pieces.__anext__()
        except BaseException as error:
            self._stop(error)
            raise
        self._feed(piece)
        return piece

    async def aclose(self) -> None:
        await self._pieces.aclose()
        self._end()

    def _feed(self, piece: bytes) -> None:
        with self._boundary:
            self._body.feed(piece)
        self._body.being_read = False

    def _stop(self, error: BaseException) -> None:
        self._body.being_read = False
        if isinstance(error, StopIteration | StopAsyncIteration):
            self._end()
        else:
            # Its readers may make another error of it for the caller, and close the response then.
            self._body.fail(error)


class _Body:
    """Reads along, for what the SDK does not decode.

    That is all of it where the caller takes the bytes, or our hooks on the SDK are gone.
    Each piece is looked at only when the next one is asked for: by then the SDK, where it
    decodes the stream, has told the call of what was in it.
    """

    __slots__ = ("_call", "_comments", "_events", "_extensions", "_kept", "_piece", "being_read")

    def __init__(self, call: Call, response: Any, measures: bool) -> None:
        self._call = call
        # Not the response: the call must not keep it from being collected.
        self._extensions: Mapping[str, object] = response.extensions
        self._events = "event-stream" in response.headers.get("content-type", "")
        self._comments = _Comments(call) if measures and self._events else None
        self._kept = bytearray()
        self._piece = b""
        self.being_read = False

    def feed(self, piece: bytes) -> None:
        """Take in the next piece of the decoded body."""
        if self._comments is not None:
            self._comments.feed(piece)
        if DECODED_EXTENSION not in self._extensions:
            self._take(self._piece)
            self._piece = piece

    def fail(self, error: BaseException) -> None:
        """Note the error that the body ends with, unless its readers raise another."""
        self._call.error_type = type(error).__qualname__

    def read(self) -> None:
        """Tell the call what the body says, unless the SDK has."""
        if DECODED_EXTENSION in self._extensions:
            return
        self._take(self._piece + b"\n" * self._events)
        self._piece = b""
        if not self._events:
            self._call.observe(_json_or_usage(bytes(self._kept)))

    def _take(self, piece: bytes) -> None:
        self._kept += piece
        if self._events:
            *lines, self._kept = self._kept.split(b"\n")
            for line in lines:
                if line.startswith(b"data:"):
                    with suppress(ValueError):
                        self._call.observe(json.loads(line[5:]))
        del self._kept[:-MAX_KEPT_BYTES]


class _Comments:
    """Finds the energy that a server tells in comments, which the SDK drops.

    As in ``: energy {"energy_joules": 12.3}``; however the stream is cut into pieces.
    """

    __slots__ = ("_call", "_line")

    def __init__(self, call: Call) -> None:
        self._call = call
        # The last line so far, as long as it may be a comment.
        self._line: bytes | None = b""

    def feed(self, piece: bytes) -> None:
        """Take in the next piece of the stream."""
        if self._line is not None:
            piece = b"\n" + self._line + piece
        start = piece.find(b"\n:")
        while start >= 0:
            end = piece.find(b"\n", start + 1)
            if end < 0:
                break
            self._read(piece[start + 2 : end])
            start = piece.find(b"\n:", end)
        ended = piece.rfind(b"\n")
        if ended >= 0 or self._line is not None:
            line = piece[ended + 1 : ended + 1 + MAX_COMMENT_BYTES]
            self._line = line if not line or line.startswith(b":") else None

    def _read(self, comment: bytes) -> None:
        start = comment.find(b"{")
        if start >= 0 and (b"joules" in comment or b"energy" in comment):
            with suppress(ValueError):
                told = json.loads(comment[start:])
                if isinstance(told, Mapping):
                    self._call.observe_energy(told)


def read_in_memory(response: Any, call: Call) -> None:
    """Pass a response that was read as a whole to its call.

    So are raw responses, and the streams of transports that keep theirs in memory.

    Args:
        response: The HTTP response.
        call: Its call.
    """
    kind = response.headers.get("content-type", "")
    if "event-stream" in kind:
        body = _Body(call, response, measures=True)
        body.feed(response.content)
        body.read()
        return
    content = None
    # Not read, or not JSON after all: neither is ours to complain about.
    with suppress(Exception):
        # Whatever the server calls it; sounds and pictures are not even tried.
        if response.content[:64].lstrip().startswith(b"{"):
            content = json.loads(response.content)
    call.observe(content)


def _json_or_usage(text: bytes) -> object:
    """A body as JSON; the usage alone where only the body's end was kept."""
    with suppress(ValueError):
        return json.loads(text)
    found = text.rfind(b'"usage":')
    if found >= 0:
        with suppress(ValueError):
            start = text[found + len(b'"usage":') :].decode(errors="replace").lstrip()
            return {"usage": json.JSONDecoder().raw_decode(start)[0]}
    return None


def _is_of_the_call(error: BaseException | None) -> bool:
    if error is None or isinstance(error, CancelledError):
        return error is not None
    # The traceback reaches from here inwards: its first frame is who is closing.
    frame = error.__traceback__
    closing = frame and frame.tb_frame.f_globals.get("__name__", "")
    return bool(closing) and str(closing).partition(".")[0] in _READERS
