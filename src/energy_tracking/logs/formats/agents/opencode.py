"""Messages of opencode, and the requests that they took: in files, events or an export.

A message takes a request for each of its steps, and its own counts are those of one of them. So
the steps count, and a message counts where its steps are not kept. Where it waited for them too
long and was let through, the step with its counts is a copy of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from energy_tracking.logs.formats.agents.counts import CountNames, build_agent_call, read_parts
from energy_tracking.logs.formats.base import (
    Document,
    LogFile,
    LogFormat,
    at,
    keys,
    known_by,
    mappings,
    remember,
    text,
)
from energy_tracking.logs.formats.bodies import error_name
from energy_tracking.logs.logged import Counts, LoggedCall, time_of

OPENCODE_COUNTS = CountNames("input", "output", "read", "write", "reasoning")
REMEMBERED = 5000
"""How many messages are remembered, from one file for the next, too."""


@dataclass(slots=True)
class _Message:
    """What is known of a message.

    Attributes:
        call: Its call, whose model the steps do not repeat.
        counts: Its counts, until the step that they are of is found.
        steps: The identities of its steps.
        waiting: Steps that came before it, until they are known to be of its model.
    """

    call: LoggedCall | None = None
    counts: Counts | None = None
    steps: dict[object, tuple[object, ...]] = field(default_factory=dict)
    waiting: list[LoggedCall] = field(default_factory=list)


def _message_of(file: LogFile, message_id: object) -> _Message:
    """What is known of a message so far."""
    messages: dict[object, _Message] = file.shared.setdefault("opencode", {})
    if message_id not in messages:
        remember(messages, message_id, _Message(), REMEMBERED)
    return messages[message_id]


def _read_message(document: Document, file: LogFile) -> list[LoggedCall] | None:
    if document.get("role") != "assistant":
        return [] if "sessionID" in document else None
    call = _call_of(document, document.get("tokens"))
    message_id = text(document.get("id"))
    if call is None or message_id is None:
        return [] if call is None else [call]
    message = _message_of(file, message_id)
    message.call = call
    for step in message.waiting:
        _take_from_message(step, call)
    message.waiting.clear()
    if message.steps:
        return []
    message.counts = call.counts
    call.sum_of = ("opencode", message_id)
    return [call]


def _read_part(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """The end of a request, as a part of a message or an event of ``opencode run``."""
    part = document.get("part") if isinstance(document.get("part"), dict) else document
    if not isinstance(part, dict) or part.get("type") != "step-finish":
        return [] if "sessionID" in document else None
    call = _call_of(part, part.get("tokens"))
    if call is None:
        return []
    call.time = call.time or time_of(document.get("timestamp"))
    return [_identify_step(call, part.get("messageID"), part.get("id"), file)]


def _identify_step(
    call: LoggedCall, message_id: object, part_id: object, file: LogFile
) -> LoggedCall:
    """Give a step what every copy of it has in common, and what its message says."""
    if not isinstance(message_id, str):
        return call
    message, counts = _message_of(file, message_id), call.counts
    file.note_call_of("opencode", message_id)
    if not isinstance(part_id, str | int):
        part_id = counts and (counts.input_tokens, counts.output_tokens)
    if part_id not in message.steps:
        is_message = counts is not None and counts == message.counts
        message.counts = None if is_message else message.counts
        own = () if is_message else (part_id,)
        message.steps[part_id] = ("opencode", message_id, *own)
    call.identity = message.steps[part_id]
    if call.model is None:
        if message.call is not None:
            _take_from_message(call, message.call)
        else:
            # Its copies may still come, so that it is let through at the end at the earliest.
            message.waiting.append(call)
    return call


def _take_from_message(step: LoggedCall, message: LoggedCall) -> None:
    """Give a step what its message alone says."""
    step.provider, step.model = message.provider, message.model
    step.time = step.time or message.time


def _read_export(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A session with its messages, or a message with its parts."""
    messages = mappings(document["messages"]) if "messages" in document else [document]
    by_role = [(text(at(message, "info", "role")), message) for message in messages]
    if messages and not any(role for role, _ in by_role):
        return None
    calls: list[LoggedCall] = []
    for role, message in by_role:
        if role != "assistant":
            continue
        info = message["info"]
        steps = [
            part for part in mappings(message.get("parts")) if part.get("type") == "step-finish"
        ]
        if len(steps) < 2:
            calls += _read_message(info, file) or ()
        for number, step in enumerate(steps) if len(steps) > 1 else ():
            call = _call_of(info, step.get("tokens"))
            if call is not None:
                part_id = text(step.get("id")) or number
                calls.append(_identify_step(call, info.get("id"), part_id, file))
    return calls


def _call_of(message: Any, tokens: object) -> LoggedCall | None:
    """A call, with the identity of what it lies in."""
    if not isinstance(tokens, dict):
        return None
    caches = {name: at(tokens, "cache", name) for name in ("read", "write")}
    parts = read_parts(tokens | caches, OPENCODE_COUNTS, is_reasoning_beside=True)
    if parts is None:
        return None
    return build_agent_call(
        parts,
        provider=text(message.get("providerID")) or "unknown",
        model=text(message.get("modelID")),
        time=time_of(at(message, "time", "completed") or at(message, "time", "created")),
        session=text(message.get("sessionID")),
        error_type=error_name(at(message, "error", "name")),
        grows=True,
        identity=known_by("opencode", text(message.get("id"))),
    )


OPENCODE: tuple[LogFormat, ...] = (
    # Source: https://github.com/sst/opencode/blob/dev/packages/opencode/src/session
    LogFormat(name="opencode", keys=keys("role", "sessionID"), read=_read_message),
    LogFormat(name="opencode-part", keys=keys("sessionID"), any_of=keys("part", "messageID"),
              read=_read_part),
    LogFormat(name="opencode-export", keys=keys("info"), any_of=keys("messages", "parts"),
              read=_read_export),
)  # fmt: skip
