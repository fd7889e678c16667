"""JSON out of bytes and text: a line at a time, or document by document.

``decode`` takes one whole document. ``iterate_documents`` takes a stream in which documents lie
one after the other, indented or not, or as the elements of one array, and holds no more of it
than one document: an array of any length needs as much memory as its largest element.
"""

from __future__ import annotations

import ast
import codecs
import json
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
