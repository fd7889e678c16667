"""Cline, and what grew out of it: Roo Code, Kilo Code.

A task has the messages that its user sees, with what each request took, and those that were sent,
which say it again; the list of all tasks has their sums.
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime

from energy_tracking.logs.formats.agents.counts import (
    CountNames,
    build_agent_call,
    build_agent_sum,
    read_parts,
)
from energy_tracking.logs.formats.base import Document, LogFile, LogFormat, at, keys, text, unpacked
from energy_tracking.logs.formats.providers import provider_named
from energy_tracking.logs.logged import LoggedCall, time_of

CLINE = CountNames("tokensIn", "tokensOut", "cacheReads", "cacheWrites")
CLINE_ANSWER = CountNames("prompt", "completion", "cached", "")
WHOLE_INPUT_FROM = datetime(2025, 11, 1, tzinfo=UTC)
"""From then on Roo Code counts the caches into the input, and Kilo Code soon after.

Source: https://github.com/RooCodeInc/Roo-Code/pull/8954
"""
_MODEL_IN_REQUEST = re.compile(r"<model>([^<]{1,100})</model>")


def _read_cline(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A message of ``ui_messages.json``; a request is one, which grows while it runs."""
    said = document.get("say")
    if document["type"] not in ("say", "ask"):
        return None
    counted = unpacked(document.get("text"))
    time = time_of(document["ts"])
    task = os.path.basename(file.folder)
    if said == "deleted_api_reqs":
        parts = read_parts(counted, CLINE)
        return [] if parts is None else [build_agent_sum(parts, time=time, session=task)]
    protocol = at(counted, "apiProtocol")
    is_whole = protocol == "openai" or (
        protocol is not None and time is not None and time >= WHOLE_INPUT_FROM
    )
    parts = read_parts(counted, CLINE, is_beside=not is_whole)
    if said != "api_req_started" or parts is None:
        return []
    file.note_call_of("cline", task)
    file.note_call_of("cline task", task)
    named = _MODEL_IN_REQUEST.search(str(at(counted, "request")))
    return [
        build_agent_call(
            parts,
            provider=provider_named(at(document, "modelInfo", "providerId") or protocol),
            model=text(at(document, "modelInfo", "modelId")) or (named and named[1].strip()),
            time=time,
            session=task or None,
            grows=True,
            identity=("cline", document["ts"]),
        )
    ]


def _read_cline_answer(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """An answer in ``api_conversation_history.json``, which ``ui_messages.json`` has again."""
    parts = read_parts(at(document, "metrics", "tokens"), CLINE_ANSWER, is_beside=False)
    if parts is None:
        return None
    task = os.path.basename(file.folder)
    call = build_agent_call(
        parts,
        provider=provider_named(at(document, "modelInfo", "providerId")),
        model=text(at(document, "modelInfo", "modelId")),
        time=time_of(document.get("ts")),
        session=task or None,
    )
    file.note_call_of("cline task", task)
    call.sum_of = ("cline", task)
    return [call]


def _read_cline_task(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A task in the list of all, with the sum of its requests."""
    parts = read_parts(document, CLINE)
    if parts is None:
        return []
    task = document.get("id")
    return [
        build_agent_sum(
            parts,
            model=text(document.get("modelId")),
            time=time_of(document.get("ts")),
            session=text(task),
            grows=True,
            identity=("cline task", task),
            sum_of=("cline task", task),
        )
    ]


CLINE_TASKS: tuple[LogFormat, ...] = (
    # Source: https://github.com/cline/cline/blob/main/src/shared/ExtensionMessage.ts
    # Source: https://github.com/junhoyeo/tokscale/blob/main/crates/tokscale-core/src/sessions/roocode.rs
    LogFormat(name="cline", keys=keys("ts", "type"), any_of=keys("say", "ask"), read=_read_cline),
    # Source: https://github.com/cline/cline/blob/main/src/shared/messages/metrics.ts
    LogFormat(name="cline-answer", keys=keys("role", "metrics", "modelInfo"),
              read=_read_cline_answer, is_said=False),
    # Source: https://github.com/cline/cline/blob/main/src/shared/HistoryItem.ts
    LogFormat(name="cline-task", keys=keys("task", "tokensIn", "tokensOut"),
              read=_read_cline_task),
)  # fmt: skip
