"""JSON out of bytes and text: a line at a time, or document by document.

``decode`` takes one whole document. ``iterate_documents`` takes a stream in which documents lie
one after the other, indented or not, or as the elements of one array, and holds no more of it
than one document: an array of any length needs as much memory as its largest element.
"""

from __future__ import annotations

import ast
import codecs
import io
import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, BinaryIO

fast_loads: Callable[[bytes | str], Any] = json.loads
with suppress(ImportError):  # the extra is not installed
    import orjson

    fast_loads = orjson.loads

CHUNK = 1 << 20
"""How much of a stream is read at a time [byte]."""
LONGEST_PRINTED = 1 << 20
"""Python takes long for longer objects of its own [characters]."""
NEAR_THE_END = 16
"""An error this close to the end of what was read may be for want of the rest [characters]."""
SEPARATORS = " \t\r\n,\x1e\ufeff"
"""What may stand between documents; the control character is that of RFC 7464."""


class NotJson:
    """Stands in for a document that could not be decoded."""


NOT_JSON = NotJson()


def decode(text: bytes | str) -> Any:
    """Decode one document; ``NOT_JSON`` where it is none."""
    try:
        return fast_loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        # Slower, but takes NaN and lone surrogates.
        return json.loads(text)
    except (ValueError, RecursionError):
        return NOT_JSON


def decode_printed(text: bytes | str) -> Any:
    """Decode an object as Python prints it; ``NOT_JSON`` where it is none."""
    line = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    line = line.strip()
    if not (line.startswith("{'") and line.endswith("}") and len(line) <= LONGEST_PRINTED):
        return NOT_JSON
    try:
        return ast.literal_eval(line)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return NOT_JSON


SERVER_LINE = "server log"
"""The only key of a document that is a line of a server's log of text."""
_THROUGHPUT = re.compile(rb"Avg prompt throughput: |gen throughput \(token/s\): |#new-token: \d")

LINE, LINE_TIME = "logged line", "logged at"
"""The keys of a document that was read from behind a time: what it is, and that time."""
_CONTAINER_LINE = re.compile(rb"(\d{4}-\d\d-\d\dT\S{8,30}) (stdout|stderr) ([FP]) ")
"""As Kubernetes keeps a line of a container, or a part of it that another follows.

Source: https://github.com/kubernetes/design-proposals-archive/blob/main/node/kubelet-cri-logging.md
"""
_TIME_BEFORE = re.compile(
    rb"\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?: ?(?:Z|UTC|[+-]\d\d:?\d\d)\b)?"
    rb"|\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}|(?<=\[)\d{10}\.\d{3,9}(?=[,\]])"
)
"""The time of a line, as loggers, web servers and Fluent Bit write it."""
_OBJECT = re.compile(rb"\{(?=\s*[\"'}])")
"""Where an object begins; labels, as those of Loki, may stand before it in braces of their own."""


def decode_line(line: bytes) -> list[Any]:
    """Decode a line that is no single document: several, one behind some text, or a server's text.

    One behind a time comes with that, as ``LINE`` and ``LINE_TIME``.

    Args:
        line: The line.
    """
    kept = _CONTAINER_LINE.match(line)
    if kept is not None:
        time, stream, tag = (part.decode("ascii", "replace") for part in kept.groups())
        text = line[kept.end() :].rstrip(b"\r\n").decode("utf-8", "replace")
        # By the names that collectors have for them.
        return [{"time": time, "stream": stream, "logtag": tag, "log": text}]
    begun = _OBJECT.search(line)
    start = line.find(b"{") if begun is None else begun.start()
    if start < 0:
        is_known = _THROUGHPUT.search(line) is not None
        return [{SERVER_LINE: line.decode("utf-8", "replace")}] if is_known else [NOT_JSON]
    found: list[Any] = [decode_printed(line[start:])]
    if found[0] is NOT_JSON:
        found = [document for _, document in iterate_documents(io.BytesIO(line[start:]))]
    if not line[:start].strip():
        return found
    # What stands around an object is none.
    found = [one for one in found if one and one is not NOT_JSON] or [NOT_JSON]
    moment = _TIME_BEFORE.search(line, 0, start)
    if moment is None:
        return found
    time = moment[0].decode("ascii", "replace")
    return [{LINE_TIME: time, LINE: one} if isinstance(one, dict) else one for one in found]


_BRACKETED = re.compile(rb"""\[[^][{}"',\n]*(?:,\d+)?\][^][,\w\n]{0,3}[A-Za-z\d{"]""")


def begins_with_brackets(line: bytes) -> bool:
    """Whether a line of a log has its time or source in brackets before the rest.

    Args:
        line: The line, which may be an array instead.
    """
    return _BRACKETED.match(line) is not None and decode(line) is NOT_JSON


def iterate_documents(stream: BinaryIO) -> Iterator[tuple[int, Any]]:
    """Decode documents one after the other, each with the number of its first line.

    What is no JSON costs its own line.
    """
    text = _Text(stream)
    while text.skip_separators():
        line = text.line
        if text.character in "[]":
            # The elements of an array are taken one by one.
            text.position += 1
            continue
        value = text.take_document()
        if value is NOT_JSON:
            text.skip_line()
        yield line, value


class _Text:
    """A stream of text, of which the part not yet used is held."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._decode = json.JSONDecoder().raw_decode
        self._text = ""
        self._line = 1
        self._counted = 0
        self.position = 0

    @property
    def character(self) -> str:
        return self._text[self.position]

    @property
    def line(self) -> int:
        """The line of the position, from 1."""
        self._line += self._text.count("\n", self._counted, self.position)
        self._counted = self.position
        return self._line

    def _read_more(self, count: int = CHUNK) -> bool:
        piece = self._stream.read(count)
        more = self._decoder.decode(piece, final=not piece)
        if more:
            _ = self.line
            self._text = self._text[self.position :] + more
            self.position = self._counted = 0
        return bool(piece or more)

    def skip_separators(self) -> bool:
        """Go to the next document; False where there is none."""
        while True:
            text, position = self._text, self.position
            while position < len(text) and text[position] in SEPARATORS:
                position += 1
            self.position = position
            if position < len(text):
                return True
            if not self._read_more():
                return False

    def take_document(self) -> Any:
        """Decode the document at the position and go past it."""
        while True:
            try:
                value, self.position = self._decode(self._text, self.position)
                return value
            except RecursionError:
                return NOT_JSON
            except json.JSONDecodeError as error:
                is_cut = error.msg.startswith("Unterminated string") or (
                    error.pos >= len(self._text) - NEAR_THE_END
                )
                # Twice as much each time, so that a large document is not decoded too often.
                if not is_cut or not self._read_more(max(CHUNK, len(self._text) - self.position)):
                    return NOT_JSON

    def skip_line(self) -> None:
        """Go to the start of the next line, or to the end."""
        while True:
            end = self._text.find("\n", self.position)
            if end >= 0:
                self.position = end
                return
            self.position = len(self._text)
            if not self._read_more():
                return
