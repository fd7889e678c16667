"""Streams of bytes out of what was read of a file and what is left of it."""

from __future__ import annotations

import codecs
import io
import os
from collections.abc import Iterator
from typing import Any, BinaryIO

HEAD = 1 << 16
"""How much of a file is looked at to say what it holds [byte]."""


class _Chunks(io.RawIOBase):
    """A stream of bytes out of pieces of any size."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        piece = self._rest or next(filter(None, self._pieces), b"")
        count = min(len(piece), len(target))
        target[:count] = piece[:count]
        self._rest = piece[count:]
        return count


def buffer_pieces(pieces: Iterator[bytes]) -> BinaryIO:
    """A stream out of pieces."""
    return io.BufferedReader(_Chunks(pieces), HEAD)


def iterate_chunks(head: bytes, stream: BinaryIO) -> Iterator[bytes]:
    """Pieces of a stream of which the first one was read.

    Args:
        head: What was read.
        stream: What is left.
    """
    yield head
    while piece := stream.read(HEAD):
        yield piece


def rejoin_head(head: bytes, stream: BinaryIO) -> BinaryIO:
    """A stream from its start again, after its head was read.

    Args:
        head: What was read.
        stream: What is left.
    """
    if isinstance(stream, io.BufferedReader) and isinstance(stream.raw, io.FileIO):
        try:
            stream.seek(-len(head), os.SEEK_CUR)
        except OSError:  # a pipe
            pass
        else:
            return stream
    return buffer_pieces(iterate_chunks(head, stream))


def recode_pieces(pieces: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """Pieces of a text in UTF-8.

    Args:
        pieces: Those of the text.
        encoding: How they are encoded.
    """
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    for piece in pieces:
        yield decoder.decode(piece).encode("utf-8", "replace")
    yield decoder.decode(b"", final=True).encode("utf-8", "replace")
