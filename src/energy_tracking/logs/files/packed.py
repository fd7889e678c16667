"""What a packed file holds, a damaged one too: all that comes before the damage.

``PACKINGS`` has a row for each: how a file begins, and what makes a decompressor like zlib's.
A further packing is a row there; a kind of file that is not read, and what it is called, one of
``UNREAD_KINDS``.
"""

from __future__ import annotations

import re
import sys
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, BinaryIO, NamedTuple

from energy_tracking.logs.files.text_lines import is_printed

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
    return head.startswith(GZIP_FILE.mark)


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


def iterate_packed(packing: Packing, stream: BinaryIO, damage: list[str]) -> Iterator[bytes]:
    """What a packed file holds, as far as it can be unpacked, in whole lines where it has any.

    Args:
        packing: How it is packed.
        stream: The packed file.
        damage: Takes what is the matter with it.

    Raises:
        ImportError: The package that unpacks it is not installed.
    """
    pieces = _unpack(stream, damage, packing.find_decompressor(), packing.size)
    return _hold_cut_lines(pieces, damage)


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
            is_new = member.eof
            if is_new:
                packed = packed.lstrip(b"\0")
                if not packed:
                    break
                member = make()
            # Only zlib's can be copied.
            earlier = member.copy() if hasattr(member, "copy") else None
            try:
                piece = member.decompress(packed)
            except Exception as error:  # each library has its own
                if is_new:
                    # All before it is whole, its last line too.
                    yield b"\n"
                    damage.append("something else follows its end")
                    return
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


def _find_zstd() -> Callable[[], Any]:
    if sys.version_info >= (3, 14):
        from compression import zstd

        return zstd.ZstdDecompressor
    from zstandard import ZstdDecompressor

    return ZstdDecompressor().decompressobj


def _find_bz2() -> Callable[[], Any]:
    from bz2 import BZ2Decompressor

    return BZ2Decompressor


def _find_xz() -> Callable[[], Any]:
    from lzma import LZMADecompressor

    return LZMADecompressor


class Packing(NamedTuple):
    """A way of packing files.

    Attributes:
        mark: Bytes that each packed file has.
        find_decompressor: Finds what makes a decompressor.
        size: How much is unpacked at a time [byte].
        place: Where the mark is [byte].
    """

    mark: bytes
    find_decompressor: Callable[[], Callable[[], Any]]
    size: int = PIECE
    place: int = 0


SAVE_AS = "unpack it, or save it as JSON lines, CSV or Parquet"
"""The remedy for what is not read."""
# How files begin that are not read, and what they are.
UNREAD_KINDS = (
    (b"\x04\x22\x4d\x18", "a file packed by lz4"),
    (b"\xff\x06\0\0sNaPpY", "a file packed by snappy"),
    (b"\x1f\x9d", "a file packed by compress"),
    (b"7z\xbc\xaf\x27\x1c", "an archive of 7-Zip"),
    (b"Rar!\x1a\x07", "an archive of RAR"),
    (b"Obj\x01", "a file of Avro"),
    (b"ORC", "a file of ORC"),
    (b"ARROW1\0", "a file of Arrow"),
    (b"\x89HDF\r\n", "a file of HDF5"),
    (b"\x80\x04\x95", "a pickle"),
    (b"%PDF-", "a PDF"),
    (b"\xd0\xcf\x11\xe0", "a workbook or document of Office"),
    *((start, "a page of HTML") for start in (b"<!DOCTYPE html", b"<!doctype html", b"<html")),
    (b"<?xml", "XML"),
)
_YAML = re.compile(
    rb"(?:---[^\n]*\n)?(?:#[^\n]*\n)*(?!(?:data|event|id|retry):)"
    rb"(?!(?i:trce|trace|dbug|debug|info|warn|warning|fail|error|crit):)"
    rb"(?P<first>[A-Za-z_][\w.-]*):(?: [^\n]*)?"
    rb"\r?\n(?: +[\w\"'-][^\n]*:| *- |(?!(?P=first):)[A-Za-z_][\w.-]*:[ \r\n])"
)
"""A name with what it has, and below that another name, or one item of several.

A log of .NET's begins with a level in the place of a name.
"""
_OBJECT = re.compile(rb"\{[\"']")
_PROMPTFOO = re.compile(
    rb"(?:\xef\xbb\xbf)?(?:[^\[{]{0,2000},)?\"?\[(?:[\w.-]+\] [^\0]*?,Status,Score,"
    rb"|[\w.-]+:[^\]\n]{1,200}\] [^\0]*?(?:,Status,Score,|,\"?\[(?:PASS|FAIL)\]))"
)
"""A column of a model's answers in the table that promptfoo writes, and whether they were right."""


def say_unread(head: bytes) -> str | None:
    """Why a file is not read, by its first bytes; None where it may be read."""
    for mark, name in UNREAD_KINDS:
        if head.startswith(mark):
            return f"{name} is not read: {SAVE_AS}"
    if _PROMPTFOO.match(head):
        return "promptfoo's table has no token counts: save its results as JSON, as by -o x.json"
    is_yaml = _YAML.match(head) and not _OBJECT.search(head) and not is_printed(head)
    return f"YAML is not read: {SAVE_AS}" if is_yaml else None


GZIP_FILE = Packing(b"\x1f\x8b", lambda: partial(zlib.decompressobj, GZIP))
ZSTD = Packing(b"\x28\xb5\x2f\xfd", _find_zstd, ZSTD_PIECE)
PACKINGS = (
    GZIP_FILE,
    ZSTD,
    Packing(b"1AY&SY", _find_bz2, place=4),
    Packing(b"\xfd7zXZ\0", _find_xz),
)
