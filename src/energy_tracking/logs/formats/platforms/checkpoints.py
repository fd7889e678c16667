"""The state of graphs that LangGraph keeps: in SQLite, dumps of PostgreSQL, or exports of these.

Each checkpoint has all messages so far, and each write those of its step, so that a message is
there many times; it has its own id, and the time of the first checkpoint with it. A cell is
MessagePack or JSON, whichever version wrote it.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from energy_tracking.logs.files.message_pack import unpack_message
from energy_tracking.logs.files.opening import name_missing_package
from energy_tracking.logs.formats.base import (
    Document,
    LogFile,
    LogFormat,
    at,
    first_of,
    identify,
    keys,
    text,
    unpacked,
)
from energy_tracking.logs.formats.counts import counts_in
from energy_tracking.logs.formats.waiting import settle, wait
from energy_tracking.logs.logged import LoggedCall, time_of

_CELLS = ("checkpoint", "value", "blob")
_HEX = "\\x"
"""What PostgreSQL writes before bytes."""
DEEPEST_MESSAGE = 50
"""How far down in a state messages are looked for."""
_CALENDAR = datetime(1582, 10, 15, tzinfo=UTC)
"""When the times of UUIDs begin."""
TIMED_VERSION = 6
NO_COUNTS = "a message of a model without token counts"


def _read_checkpoint(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A row of any of LangGraph's tables."""
    try:
        state = _unpack_cell(first_of(document, _CELLS))
    except ModuleNotFoundError as error:
        file.leave_out(name_missing_package(str(error.name)))
        return []
    time = time_of(at(state, "ts")) or _time_in_id(document.get("checkpoint_id"))
    thread = text(document["thread_id"])
    calls = []
    for message in _messages_in(state, DEEPEST_MESSAGE):
        stated = message["response_metadata"]
        usage = message.get("usage_metadata") or stated.get("token_usage") or stated.get("usage")
        call = LoggedCall(
            model=text(stated.get("model_name")) or text(stated.get("model")),
            response_id=text(message.get("id")) or text(stated.get("id")),
            counts=counts_in(usage),
            time=time,
            session=thread,
        )
        own = ("langgraph", thread, call.response_id or str(message.get("content"))[:1000])
        if call.counts is None:
            wait(file, own, NO_COUNTS)
            continue
        settle(file, own)
        identify(call)
        call.identity = call.identity or own
        calls.append(call)
    return calls


def _unpack_cell(cell: object) -> Any:
    """The value in a cell, which MongoDB has in base64 and PostgreSQL in hexadecimal digits."""
    packed = at(cell, "$binary", "base64")
    if packed is not None:
        cell = b64decode(packed)
    elif isinstance(cell, str) and cell.startswith(_HEX):
        cell = bytes.fromhex(cell.removeprefix(_HEX))
    if not isinstance(cell, bytes) or cell[:1] in (b"{", b"["):
        return unpacked(cell)
    return unpack_message(cell) if cell else None


def _messages_in(value: Any, depth: int) -> Iterator[Document]:
    """The messages of models in a state, wherever they lie."""
    if isinstance(value, dict):
        if isinstance(value.get("response_metadata"), dict) and value.get("type") != "human":
            if value.get("usage_metadata") or value["response_metadata"]:
                yield value
        elif depth:
            for inner in value.values():
                yield from _messages_in(inner, depth - 1)
    elif isinstance(value, list) and depth:
        for inner in value:
            yield from _messages_in(inner, depth - 1)


def _time_in_id(checkpoint_id: object) -> datetime | None:
    """When the checkpoint with an id was made, which is that of the step before a write."""
    try:
        made = UUID(str(checkpoint_id))
    except ValueError:
        return None
    if made.version != TIMED_VERSION:
        return None
    # The highest bits of its time come first, in units of 100 ns.
    ticks = made.int >> 80 << 12 | made.int >> 64 & 0xFFF
    return _CALENDAR + timedelta(microseconds=ticks // 10)


CHECKPOINTS: tuple[LogFormat, ...] = (
    # Source: https://github.com/langchain-ai/langgraph (libs/checkpoint-sqlite, -postgres)
    LogFormat(name="langgraph", keys=keys("thread_id", "checkpoint_ns"),
              any_of=keys(*_CELLS), read=_read_checkpoint),
)  # fmt: skip
