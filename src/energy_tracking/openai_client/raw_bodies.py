"""Undoes the compression of bodies whose readers take the bytes as they were sent.

Only what the standard library can undo, piece by piece and up to a bound; what cannot be decoded
is logged once, and is the reason of the call's record.
"""

from __future__ import annotations

import zlib
from typing import Any

from energy_tracking.calls.call import Call
from energy_tracking.notices import log_once
from energy_tracking.openai_client.bodies import Body

WINDOW_BITS = {
    "gzip": 16 + zlib.MAX_WBITS,
    "x-gzip": 16 + zlib.MAX_WBITS,
    "deflate": zlib.MAX_WBITS,
}
"""Content encoding -> what zlib undoes it with."""

MAX_DECODED_BYTES = 1 << 26
"""Of one body, decoded at most [byte]: a small one may hold as much as anybody likes."""

MAX_PIECE_BYTES = 1 << 16
"""Decoded at once [byte]."""


class RawBody:
    """Passes a body that is read raw on to where it is read decoded."""

    __slots__ = ("_body", "_call", "_decoded", "_encoding", "_inflate")

    def __init__(self, call: Call, response: Any, body: Body) -> None:
        """Begin with the first byte.

        Args:
            call: The call whose response it is.
            response: The HTTP response.
            body: Reads it decoded.
        """
        self._call = call
        self._body = body
        self._decoded = 0
        encodings = response.headers.get("content-encoding", "").lower().split(",")
        self._encoding = ",".join(filter(None, map(str.strip, encodings)))
        self._inflate: Any = None

    def feed(self, piece: bytes) -> None:
        """Take in the next piece of the body as it was sent."""
        if self._encoding in ("", "identity"):
            self._body.feed(piece)
        elif self._decoded < MAX_DECODED_BYTES:
            if self._encoding not in WINDOW_BITS:
                self._give_up("which is not decoded")
                return
            try:
                self._feed_inflated(piece)
            except zlib.error:
                self._give_up("which it is not")

    def _feed_inflated(self, piece: bytes) -> None:
        if self._inflate is None:
            self._inflate = zlib.decompressobj(WINDOW_BITS[self._encoding])
            if self._encoding == "deflate" and not _has_zlib_header(piece):
                # As servers send it that take the name by its word.
                self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        while piece:
            inflated = self._inflate.decompress(piece, MAX_PIECE_BYTES)
            self._decoded += len(inflated)
            self._body.feed(inflated)
            if self._decoded >= MAX_DECODED_BYTES:
                self._give_up("of which the beginning alone is decoded")
                return
            piece = self._inflate.unconsumed_tail

    def _give_up(self, why: str) -> None:
        """Say once per encoding that such a body is not followed.

        Args:
            why: What is wrong with it.
        """
        self._decoded = MAX_DECODED_BYTES
        self._call.unreadable = f"the body was read raw, and is sent as {self._encoding}, {why}"
        log_once(
            f"{self._encoding} {why}",
            "%s: the call is counted without its tokens. Read it decoded, as iter_bytes() has "
            "it. This is logged once.",
            self._call.unreadable,
            kind="encodings",
        )


def _has_zlib_header(piece: bytes) -> bool:
    """Whether a body begins as RFC 1950 has it: with method 8, and a multiple of 31."""
    return len(piece) > 1 and piece[0] & 15 == 8 and (piece[0] << 8 | piece[1]) % 31 == 0
