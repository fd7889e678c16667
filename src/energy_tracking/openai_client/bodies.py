"""Reads the bodies that the SDK does not decode: raw responses, and streams that are read raw.

Whatever a server sends is read in time that grows with its length alone, and in bounded memory:
of a body, a line and an event, the last ``MAX_KEPT_BYTES`` are kept, where the usage is.

1. Bytes are cut into lines, lines are gathered into events, an event is JSON.
2. A line of data that is JSON by itself is read at once; else the event is read when it ends.
3. Of what is no JSON, because its beginning was dropped or it is nested too deep, the last usage
   is read.

A further form of body is a further way to cut in step 1.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from energy_tracking.calls.call import Call
from energy_tracking.openai_client.decoded import Observation

MAX_KEPT_BYTES = 1 << 18
"""Bytes kept of a body, line or event [byte]: enough for the usage at its end."""

MAX_COMMENT_BYTES = 1 << 13
"""Bytes kept of a comment that has not ended [byte]."""

BOM = b"\xef\xbb\xbf"

_OBJECT = re.compile(rb"(?:\xef\xbb\xbf)?\s*\{")
"""How JSON begins that is worth reading; gateways send spaces before it to keep a line open."""

_EVENTS = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:data|event|id|retry)?:")
"""How a stream of events begins that does not say that it is one."""

_USAGE = re.compile(rb'"usage"\s*:\s*(?=\{)')

_MISTAKES = (ValueError, RecursionError)
"""What the parser of JSON raises, also over bytes that are no UTF-8 and numbers without end."""


class _Tail:
    """The end of what was added, as far back as is kept."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept = bytearray()

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, piece: bytes) -> None:
        self._kept += piece
        # Not at every piece: what is kept would be moved each time.
        if len(self._kept) > 2 * MAX_KEPT_BYTES:
            del self._kept[:-MAX_KEPT_BYTES]

    def take(self) -> bytes:
        """What is kept, and begin anew."""
        kept = bytes(self._kept)
        self._kept = bytearray()
        return kept


class EventReader:
    """Passes what the events of a stream say to its call, however the stream is cut up."""

    __slots__ = ("_after_return", "_call", "_data", "_field", "_is_first", "_line")

    def __init__(self, call: Call) -> None:
        """Begin with the first byte of a stream.

        Args:
            call: The call whose response it is.
        """
        self._call = call
        self._line = _Tail()
        self._field = b""
        self._data = _Tail()
        self._is_first = True
        self._after_return = False

    def feed(self, piece: bytes) -> None:
        """Take in the next piece of the stream."""
        if self._after_return and piece.startswith(b"\n"):
            piece = piece[1:]
        if not piece:
            return
        self._after_return = piece.endswith(b"\r")
        # For bytes, at \n, \r and \r\n alone.
        lines = piece.splitlines()
        rest = b"" if piece.endswith((b"\n", b"\r")) else lines.pop()
        if lines:
            self._add_to_line(lines[0])
            self._end_line()
            for line in lines[1:]:
                if line or self._data:
                    self._read_line(line, line)
        self._add_to_line(rest)

    def end(self) -> None:
        """The stream has ended, perhaps in the middle of a line."""
        self._end_line()
        self._end_event()

    def _add_to_line(self, piece: bytes) -> None:
        """Take in a piece of a line that goes on from piece to piece."""
        if len(self._field) < len(BOM + b"data: "):
            # Kept apart: the beginning of a long line is dropped.
            self._field = (self._field + piece)[: len(BOM + b"data: ")]
        self._line.add(piece)

    def _end_line(self) -> None:
        line, field = self._line.take(), self._field
        self._field = b""
        if self._is_first:
            self._is_first = False
            line, field = line.removeprefix(BOM), field.removeprefix(BOM)
        self._read_line(line, field)

    def _read_line(self, line: bytes, field: bytes) -> None:
        """Read a whole line.

        Args:
            line: The line, or its end.
            field: Its beginning.
        """
        if not field:
            self._end_event()
        elif field.startswith(b"data:"):
            data = line.removeprefix(b"data:").removeprefix(b" ")
            event = None if self._data else _read_object(data)
            if event is None:
                self._data.add(data + b"\n")
            else:
                self._call.observe(event)

    def _end_event(self) -> None:
        if not self._data:
            return
        data = self._data.take()
        # Some servers end each event with one line end, not two.
        events = [_read_object(data)] if _OBJECT.match(data) else []
        if not any(events):
            events = [_read_object(line) for line in data.splitlines()]
        for event in events if any(events) else [_find_usage(data)]:
            if event is not None:
                self._call.observe(event)


class Body:
    """Reads along, for what the SDK does not decode.

    That is all of it where the caller takes the bytes, or our hooks on the SDK are gone.
    Each piece is looked at only when the next one is asked for: by then the SDK, where it
    decodes the stream, has passed what was in it to the call.
    """

    __slots__ = (
        "_call",
        "_comments",
        "_events",
        "_kept",
        "_piece",
        "being_read",
        "has_comments",
        "observation",
    )

    def __init__(self, call: Call, observation: Observation, response: Any, measures: bool) -> None:
        """Begin with the first byte of a response.

        Args:
            call: The call whose response it is.
            observation: Whether the SDK decodes it.
            response: The HTTP response.
            measures: Whether the server may report energy in comments between its events.
        """
        self._call = call
        # Not the response: the call must not keep it from being collected.
        self.observation = observation
        has_events = "event-stream" in response.headers.get("content-type", "")
        self._events = EventReader(call) if has_events else None
        self._comments = _Comments(call) if measures and has_events else None
        self.has_comments = self._comments is not None
        self._kept = _Tail()
        self._piece = b""
        self.being_read = False

    def feed(self, piece: bytes) -> None:
        """Take in the next piece of the decoded body."""
        if self._comments is not None:
            self._comments.feed(piece)
        if not self.observation.is_decoded:
            self._take_piece(self._piece)
            self._piece = piece

    def fail(self, error: BaseException) -> None:
        """Note the error that the body ends with, unless its readers raise another."""
        self._call.error_type = type(error).__qualname__

    def read(self) -> None:
        """Pass what the body says to the call, unless the SDK has."""
        if self.observation.is_decoded:
            return
        self._take_piece(self._piece)
        self._piece = b""
        if self._events is not None:
            self._events.end()
        else:
            read_body(self._kept.take(), self._call)

    def _take_piece(self, piece: bytes) -> None:
        if self._events is not None:
            self._events.feed(piece)
        else:
            self._kept.add(piece)


def read_in_memory(response: Any, call: Call, observation: Observation) -> None:
    """Pass a response that was read as a whole to its call.

    So are raw responses, and the streams of transports that keep theirs in memory.

    Args:
        response: The HTTP response.
        call: Its call.
        observation: Whether the SDK decodes it.
    """
    content = b""
    # Not read, or not to be had after all: neither is ours to complain about.
    with suppress(Exception):
        content = response.content
    if "event-stream" in response.headers.get("content-type", ""):
        body = Body(call, observation, response, measures=True)
        body.feed(content)
        body.read()
    else:
        read_body(content, call)


def read_body(content: bytes, call: Call) -> None:
    """Pass a body, or the end of one, to its call, whatever the server calls it.

    Args:
        content: The body.
        call: The call whose response it is.
    """
    body = _read_object(content) or _find_usage(content)
    if body is None and _EVENTS.match(content):
        events = EventReader(call)
        events.feed(content)
        events.end()
        return
    call.observe(body)


def _read_object(text: bytes) -> Mapping[str, Any] | None:
    """An object of JSON, or None; sounds and pictures are not even tried."""
    if _OBJECT.match(text) and text.rstrip().endswith(b"}"):
        with suppress(*_MISTAKES):
            import json  # the client has loaded it

            found = json.loads(text)
            return found if isinstance(found, Mapping) else None
    return None


def _find_usage(text: bytes) -> Mapping[str, Any] | None:
    """The last usage in what is no JSON as a whole, as the body that holds it."""
    starts = [found.end() for found in _USAGE.finditer(text)]
    if starts:
        with suppress(*_MISTAKES):
            import json

            rest = text[starts[-1] :].decode(errors="replace")
            return {"usage": json.JSONDecoder().raw_decode(rest)[0]}
    return None


class _Comments:
    """Finds the energy that a server reports in comments, which the SDK drops.

    As in ``: energy {"energy_joules": 12.3}``; however the stream is cut into pieces.
    """

    __slots__ = ("_call", "_line")

    def __init__(self, call: Call) -> None:
        self._call = call
        # The last line so far, as long as it may be a comment.
        self._line: bytes | None = b""

    def feed(self, piece: bytes) -> None:
        """Take in the next piece of the stream."""
        if b"\r" in piece:
            piece = piece.replace(b"\r", b"\n")
        if self._line is not None:
            piece = b"\n" + self._line + piece
        start = piece.find(b"\n:")
        while start >= 0:
            end = piece.find(b"\n", start + 1)
            if end < 0:
                break
            self._read_body(piece[start + 2 : end])
            start = piece.find(b"\n:", end)
        ended = piece.rfind(b"\n")
        if ended >= 0 or self._line is not None:
            line = piece[ended + 1 : ended + 1 + MAX_COMMENT_BYTES]
            self._line = line if not line or line.startswith(b":") else None

    def _read_body(self, comment: bytes) -> None:
        start = comment.find(b"{")
        if start >= 0 and (b"joules" in comment or b"energy" in comment):
            with suppress(*_MISTAKES):
                import json

                energy = json.loads(comment[start:])
                if isinstance(energy, Mapping):
                    self._call.observe_energy(energy)
