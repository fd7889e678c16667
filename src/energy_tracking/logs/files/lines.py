"""Files of lines: JSON, server-sent events, histories of aider."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from energy_tracking.ledger.lines import MAX_LINE_BYTES, number_lines
from energy_tracking.logs.files.decoding import NOT_JSON, decode, fast_loads, iterate_documents
from energy_tracking.logs.files.pieces import buffer_pieces, iterate_chunks
from energy_tracking.logs.files.text_lines import decode_line, opens_object

Documents = Iterator[tuple[int, Any]]

HISTORY_LINE = "aider history"
"""The only key of a document that is a line of an aider chat history."""

_EVENT_FIELDS = frozenset({b"", b"event", b"id", b"retry"})


def read_json_lines(stream: BinaryIO) -> Documents:
    """Read a document from each line, or one that goes on over several."""
    opened: tuple[int, bytes] | None = None
    begun: list[tuple[int, bytes]] = []
    left = 0  # how much more it may have
    for number, line in number_lines(stream):
        if begun:
            left -= 1 if line is None else len(line)
            if line is not None and line[:1] in (b" ", b"\t", b"}") and left > 0:
                begun.append((number, line))
                if line[:1] == b"}":
                    found = decode_line(b"".join(each for _, each in begun))
                    yield from ((begun[0][0], one) for one in found)
                    begun = []
                continue
            yield from ((each, NOT_JSON) for each, _ in begun)
            begun = []
        if line is None:
            yield number, NOT_JSON
        elif not line.isspace():
            try:
                # As `decode` does it, without a call for each line.
                document = fast_loads(line)
            except (ValueError, RecursionError):
                document = decode(line)
            if opened is not None:
                if document is NOT_JSON:
                    # Indented from there on.
                    first, start = opened
                    rest = buffer_pieces(iterate_chunks(start + line, stream))
                    yield from ((first - 1 + each, one) for each, one in iterate_documents(rest))
                    return
                yield opened[0], NOT_JSON
                opened = None
            if document is not NOT_JSON:
                yield number, document
            elif line.strip() in (b"{", b"["):
                opened = number, line
            elif opens_object(line):
                begun, left = [(number, line)], MAX_LINE_BYTES
            else:
                yield from ((number, one) for one in decode_line(line))
    if opened is not None:
        yield opened[0], NOT_JSON
    yield from ((each, NOT_JSON) for each, _ in begun)


def read_server_sent_events(stream: BinaryIO) -> Documents:
    """Read the data of each event."""
    for number, line in number_lines(stream):
        if line is None:
            yield number, NOT_JSON
            continue
        name, separator, data = line.partition(b":")
        data = data.strip()
        if name == b"data":
            if data and data != b"[DONE]":
                yield number, decode(data)
        elif not (separator and name in _EVENT_FIELDS and data.isascii()) and not line.isspace():
            # What servers write in comments and other fields is ASCII: this is something else.
            yield number, decode(line)


def read_history(stream: BinaryIO) -> Documents:
    """Read the lines of a history that may say something of a call."""
    for number, line in number_lines(stream):
        if line is not None and line.startswith((b"> ", b"# ")):
            yield number, {HISTORY_LINE: line.decode("utf-8", "replace").strip()}
