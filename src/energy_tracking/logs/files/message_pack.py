"""MessagePack, as LangGraph keeps the state of its graphs.

Source: https://github.com/langchain-ai/langgraph (libs/checkpoint, serde/jsonplus.py)
"""

from __future__ import annotations

from typing import Any

_VALUE = 2
"""Where an object of Python has its value, behind its module and its class."""


def unpack_message(data: bytes) -> Any:
    """The value in a message; of an object of Python what it was made from.

    Args:
        data: The message.

    Raises:
        ModuleNotFoundError: The package that unpacks it is not installed.
        ValueError: It is none, or cut off.
    """
    import msgpack

    return msgpack.unpackb(
        data, ext_hook=_unpack_object, strict_map_key=False, unicode_errors="replace"
    )


def _unpack_object(kind: int, data: bytes) -> Any:
    """An object of Python, or of a kind of its own, of which nothing is known."""
    try:
        found = unpack_message(data)
    except ValueError:
        return None
    return found[_VALUE] if isinstance(found, list) and len(found) > _VALUE else None
