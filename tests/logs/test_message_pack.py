"""MessagePack is read as its specification writes it."""

from __future__ import annotations

from typing import Any

import pytest

from energy_tracking.logs.files.message_pack import unpack_message

# What the reference implementation writes, and the longer forms of what is short.
# Source: https://github.com/msgpack/msgpack/blob/master/spec.md
MESSAGES: list[tuple[str, Any]] = [
    ("94cb3ff8000000000000c0c3c2", [1.5, None, True, False]),
    ("ca3fc00000", 1.5),
    ("9bccffcdffffceffffffffcfffffffffffffffffe0ffd080d18000d280000000d380000000000000007f",
     [255, 2**16 - 1, 2**32 - 1, 2**64 - 1, -32, -1, -128, -(2**15), -(2**31), -(2**63), 127]),
    ("94a161d90161da000161db0000000161", ["a", "a", "a", "a"]),
    ("93c40161c5000161c60000000161", [b"a", b"a", b"a"]),
    ("92dc0001c0dd00000001c0", [[None], [None]]),
    ("93810102de00010102df000000010102", [{1: 2}, {1: 2}, {1: 2}]),
    # Objects: those of Python have a module, a class, and what they were made from.
    ("c70b0594a16da16381a16b01a166", {"k": 1}),
    ("c7070093a16da163a176", "v"),
    ("d401c1", None),
]  # fmt: skip


@pytest.mark.parametrize(("message", "value"), MESSAGES)
def test_a_value_is_read(message: str, value: Any) -> None:
    assert unpack_message(bytes.fromhex(message)) == value


@pytest.mark.parametrize("message", ["", "c1", "a5", "92c0", "dd7fffffff", "c60000ffff00"])
def test_a_message_that_is_damaged_is_none(message: str) -> None:
    with pytest.raises(ValueError, match=r"cut off|no value begins"):
        unpack_message(bytes.fromhex(message))
