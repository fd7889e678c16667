"""Text that a terminal can show, whatever its encoding."""

from __future__ import annotations

import re
import sys
from typing import TextIO

WIDTH = 80
"""Columns of a terminal that tables keep to, as far as names allow."""

# What our own texts have beside ASCII, and what stands for it where an encoding lacks it.
_SIGNS = {"µ": "u", "…": "...", "–": "-", "—": "-", "×": "x", "≈": "~", "’": "'"}

# What moves the cursor, changes colours or the direction of writing, or ends a line elsewhere
# than we do. A tab and a line feed are left: tables and help have them.
_CONTROLS = r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]"


def count_columns(text: str) -> int:
    """How many columns of a terminal a text takes [1]: two for each character of East Asia."""
    if text.isascii():
        return len(text)
    from unicodedata import category, east_asian_width  # most names need none

    return sum(
        0 if category(one) in ("Mn", "Me", "Cf") else 2 if east_asian_width(one) in "WF" else 1
        for one in text
    )


def fill(text: str, columns: int) -> str:
    """The text, with blanks behind it up to so many columns of a terminal.

    Args:
        text: The text.
        columns: How many it takes at least [1].
    """
    return text + " " * (columns - count_columns(text))


def without_controls(text: str) -> str:
    """The text with escapes for characters that a terminal obeys, line feeds apart."""
    return re.sub(_CONTROLS, lambda found: found[0].encode("unicode_escape").decode(), text)


def one_line(text: str) -> str:
    """The same for a name of somebody else's or a message: line feeds are escaped too."""
    return without_controls(text).replace("\n", "\\n").replace("\t", "\\t")


def with_known_signs(text: str, stream: object | None = None) -> str:
    """The text, in ASCII the signs of ours that a stream's encoding lacks.

    Args:
        text: The text.
        stream: Where it will be printed; standard output if None, as a text does not know.
    """
    encoding = getattr(sys.stdout if stream is None else stream, "encoding", None)
    if encoding is not None and not text.isascii():
        for sign, ascii_text in _SIGNS.items():
            if sign in text and not is_encodable(sign, encoding):
                text = text.replace(sign, ascii_text)
    return text


def printable(text: str, stream: TextIO) -> str:
    """The text as a stream can take it; characters that its encoding lacks are escaped.

    Args:
        text: The text.
        stream: Where it will be printed.
    """
    text = with_known_signs(text, stream)
    encoding = getattr(stream, "encoding", None)
    if encoding is None or is_encodable(text, encoding):
        return text
    return text.encode(encoding, "backslashreplace").decode(encoding)


def is_encodable(text: str, encoding: str) -> bool:
    """Whether an encoding has every character of a text.

    Args:
        text: The text.
        encoding: Name of the encoding; one that Python does not know is taken to have all.
    """
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    except LookupError:
        return True
    return True
