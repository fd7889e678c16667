"""Objects as JavaScript prints them, such as spans of OpenTelemetry's exporter to the console.

Source: https://nodejs.org/api/util.html (util.inspect)
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from energy_tracking.ledger.lines import number_lines
from energy_tracking.logs.files.decoding import NOT_JSON, decode

START = re.compile(rb"^\{\r?\n\s+[A-Za-z_$][\w$]*: ", re.MULTILINE)
"""What an object over several lines begins with: the name of a field without quotes."""
MOST_LINES = 100_000
"""An object with more lines is none [1]."""

_TEXT = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`(?:[^`\\]|\\.)*`)"""
_TOKEN = re.compile(
    # A long text goes on after a plus.
    rf"(?P<text>{_TEXT}(?:\s*\+\s*{_TEXT})*)"
    r"|(?P<field>[A-Za-z_$][\w$]*)(?=\s*:)"
    r"|(?P<left_out>\[(?:Object|Array|Circular)[^\[\]]*\]|\.\.\. \d+ more \w+)"
    r"|(?P<number>-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)n?\b"
    r"|(?P<word>[A-Za-z_$][\w$]*(?:\(\d+\))?)"
)
_WORDS = {"true": "true", "false": "false"}
_NOTHING = {"undefined", "null", "NaN", "Infinity"}


def read_inspected(stream: BinaryIO) -> Iterator[tuple[int, Any]]:
    """The objects in a stream, each with the number of its first line.

    Args:
        stream: Objects over one line or several, with other lines between them.
    """
    held: list[bytes] = []
    number = 0
    for number, line in number_lines(stream):
        if not held and line is not None and not line.startswith(b"{"):
            if not line.isspace():
                yield number, NOT_JSON
            continue
        held.append(line or b"")
        is_one_line = len(held) == 1 and held[0].rstrip().endswith(b"}")
        if is_one_line or held[-1].startswith(b"}") or len(held) > MOST_LINES:
            yield (
                number + 1 - len(held),
                decode_inspected(b"".join(held).decode("utf-8", "replace")),
            )
            held = []
    if held:
        yield number + 1 - len(held), NOT_JSON


def decode_inspected(text: str) -> Any:
    """Decode one object; ``NOT_JSON`` where it is none."""
    document = decode(text)
    return decode(_TOKEN.sub(_as_json, text)) if document is NOT_JSON else document


def _as_json(token: re.Match[str]) -> str:
    kind, found = token.lastgroup, token[0]
    if kind == "text":
        plain = "".join(piece[1:-1] for piece in re.findall(_TEXT, found))
        return json.dumps(re.sub(r"\\(.)", r"\1", plain, flags=re.DOTALL))
    if kind == "field":
        return json.dumps(found)
    if kind == "number":
        return token["number"]
    if kind == "word" and found not in _NOTHING:
        # The name of a class before its fields.
        return _WORDS.get(found, "")
    return "null"
