"""MessagePack, as LangGraph keeps the state of its graphs.

Source: https://github.com/msgpack/msgpack/blob/master/spec.md
Source: https://github.com/langchain-ai/langgraph (libs/checkpoint, serde/jsonplus.py)
"""

from __future__ import annotations

from collections.abc import Callable
from struct import unpack
from typing import Any

_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
_NUMBERS = dict(
    zip(
        range(0xCA, 0xD4),
        (">f", ">d", ">B", ">H", ">I", ">Q", ">b", ">h", ">i", ">q"),
        strict=True,
    )
)
"""The first byte of a number -> how it is written."""
_SIZES = {"f": 4, "d": 8, "b": 1, "h": 2, "i": 4, "q": 8}
_VALUE = 2
"""Where an object of Python has its value, behind its module and its class."""


def unpack_message(data: bytes) -> Any:
    """The value in a message; of an object of Python what it was made from.

    Args:
        data: The message.

    Raises:
        ValueError: It is none, or cut off.
    """
    return _Reader(data).read()


class _Reader:
    """Reads the values of a message one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0
        self._readers: dict[int, tuple[Callable[[int], Any], int]] = {
            **{0xC4 + power: (self._take, 1 << power) for power in range(3)},
            **{0xC7 + power: (self._read_object, 1 << power) for power in range(3)},
            **{0xD9 + power: (self._read_text, 1 << power) for power in range(3)},
            **{0xDC + power: (self._read_list, 2 << power) for power in range(2)},
            **{0xDE + power: (self._read_map, 2 << power) for power in range(2)},
        }
        """The first byte of a value -> what reads it, and how many bytes have its size [byte]."""

    def read(self) -> Any:
        """Read the next value."""
        first = self._take(1)[0]
        if first < 0x80 or first >= 0xE0:
            return first if first < 0x80 else first - 0x100
        if first in _CONSTANTS:
            return _CONSTANTS[first]
        if first in _NUMBERS:
            form = _NUMBERS[first]
            return unpack(form, self._take(_SIZES[form[-1].lower()]))[0]
        if first < 0xC0:
            read = (self._read_map, self._read_list, self._read_text, self._read_text)
            return read[(first >> 4) - 8](first & (0x1F if first >= 0xA0 else 0x0F))
        if 0xD4 <= first <= 0xD8:
            return self._read_object(1 << first - 0xD4)
        if first not in self._readers:
            raise ValueError(f"no value begins with the byte {first}")
        read_value, size = self._readers[first]
        return read_value(int.from_bytes(self._take(size), "big"))

    def _take(self, size: int) -> bytes:
        taken = self._data[self._place : self._place + size]
        self._place += size
        if len(taken) < size:
            raise ValueError("the message is cut off")
        return taken

    def _read_text(self, size: int) -> str:
        return self._take(size).decode("utf-8", "replace")

    def _read_list(self, size: int) -> list[Any]:
        return [self.read() for _ in range(size)]

    def _read_map(self, size: int) -> dict[Any, Any]:
        return {self.read(): self.read() for _ in range(size)}

    def _read_object(self, size: int) -> Any:
        """An object of Python, or of a kind of its own, of which nothing is known."""
        self._take(1)
        inner = self._take(size)
        try:
            found = unpack_message(inner)
        except ValueError:
            return None
        return found[_VALUE] if isinstance(found, list) and len(found) > _VALUE else None
