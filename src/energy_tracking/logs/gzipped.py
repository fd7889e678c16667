"""What a file of gzip holds, a damaged one too: all that comes before the damage."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

PIECE = 1 << 16
"""How much is read at a time [byte]."""
GZIP = 31
"""What zlib calls the format of gzip, with its sum checked."""
LONGEST_HELD = 1 << 20
"""How much of a line that goes on is held back [byte]."""


def iterate_gzip(stream: BinaryIO, damage: list[str]) -> Iterator[bytes]:
    """What a packed file holds, as far as it can be unpacked, in whole lines where it has any.

    Args:
        stream: The packed file.
        damage: Takes what is the matter with it.
    """
    held = b""
    for piece in _inflate(stream, damage):
        held += piece
        # The line in which the damage lies would have a number that is cut off.
        whole = held.rfind(b"\n") + 1 or (len(held) if len(held) > LONGEST_HELD else 0)
        yield held[:whole]
        held = held[whole:]
    if not damage:
        yield held


def _inflate(stream: BinaryIO, damage: list[str]) -> Iterator[bytes]:
    member = zlib.decompressobj(GZIP)
    while packed := stream.read(PIECE):
        while packed:
            if member.eof:
                packed = packed.lstrip(b"\0")
                if not packed:
                    break
                member = zlib.decompressobj(GZIP)
            earlier = member.copy()
            try:
                piece = member.decompress(packed)
            except zlib.error as error:
                damage.append(str(error))
                yield from _inflate_bytes(earlier, packed)
                return
            yield piece
            packed = member.unused_data
    if not member.eof:
        damage.append("it ended before the end-of-stream marker was reached")


def _inflate_bytes(member: Any, packed: bytes) -> Iterator[bytes]:
    """What comes before the damage: of a longer piece zlib would give nothing."""
    try:
        for byte in packed:
            yield member.decompress(bytes((byte,)))
    except zlib.error:
        return
