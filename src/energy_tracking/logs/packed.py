"""What a packed file holds, a damaged one too: all that comes before the damage.

A further packing is a function that makes a decompressor like zlib's, and what it raises.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

PIECE = 1 << 16
"""How much is read at a time [byte]."""
ZSTD_PIECE = 1 << 12
"""How much of zstd is unpacked at a time [byte]: of a damaged piece nothing comes out."""
GZIP = 31
"""What zlib calls the format of gzip, with its sum checked."""
LONGEST_HELD = 1 << 20
"""How much of a line that goes on is held back [byte]."""


def is_gzip(head: bytes) -> bool:
    """Whether a file begins as one of gzip does."""
    return head.startswith(b"\x1f\x8b")


def unpack_head(head: bytes, most: int) -> bytes:
    """The first bytes of what a file holds that may be one of gzip; none where it is damaged.

    Args:
        head: The first bytes of the file.
        most: How many are wanted at most [byte].
    """
    if not is_gzip(head):
        return head
    try:
        return zlib.decompressobj(GZIP).decompress(head, most)
    except zlib.error:
        return b""


def iterate_gzip(stream: BinaryIO, damage: list[str]) -> Iterator[bytes]:
    """What a file of gzip holds, as far as it can be unpacked, in whole lines where it has any.

    Args:
        stream: The packed file.
        damage: Takes what is the matter with it.
    """
    return _hold_cut_lines(_unpack(stream, damage, lambda: zlib.decompressobj(GZIP)), damage)


def iterate_zstd(stream: BinaryIO, damage: list[str]) -> Iterator[bytes]:
    """What a file of zstd holds, likewise.

    Args:
        stream: The packed file.
        damage: Takes what is the matter with it.

    Raises:
        ImportError: Below Python 3.14, ``zstandard`` is not installed.
    """
    make: Callable[[], Any]
    if sys.version_info >= (3, 14):
        from compression import zstd

        make = zstd.ZstdDecompressor
    else:
        from zstandard import ZstdDecompressor

        make = ZstdDecompressor().decompressobj
    return _hold_cut_lines(_unpack(stream, damage, make, ZSTD_PIECE), damage)


def _hold_cut_lines(pieces: Iterator[bytes], damage: list[str]) -> Iterator[bytes]:
    """The pieces in whole lines: that in which the damage lies may have a number cut off."""
    held = b""
    for piece in pieces:
        held += piece
        whole = held.rfind(b"\n") + 1 or (len(held) if len(held) > LONGEST_HELD else 0)
        yield held[:whole]
        held = held[whole:]
    if not damage:
        yield held


def _unpack(
    stream: BinaryIO, damage: list[str], make: Callable[[], Any], size: int = PIECE
) -> Iterator[bytes]:
    """What the members of a file hold, one after the other."""
    member = make()
    while packed := stream.read(size):
        while packed:
            if member.eof:
                packed = packed.lstrip(b"\0")
                if not packed:
                    break
                member = make()
            # Only zlib's can be copied.
            earlier = member.copy() if hasattr(member, "copy") else None
            try:
                piece = member.decompress(packed)
            except Exception as error:  # each library has its own
                damage.append(str(error))
                if earlier is not None:
                    yield from _unpack_bytes(earlier, packed)
                return
            yield piece
            packed = member.unused_data
    if not member.eof:
        damage.append("it ended before the end-of-stream marker was reached")


def _unpack_bytes(member: Any, packed: bytes) -> Iterator[bytes]:
    """What comes before the damage: of a longer piece zlib would give nothing."""
    try:
        for byte in packed:
            yield member.decompress(bytes((byte,)))
    except zlib.error:
        return
