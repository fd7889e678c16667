"""Chats of VS Code, as Copilot answers them: sessions, exports, and files of their changes.

A session has its requests; where it is kept line by line, the first line has it as it was, and the
others what was set or added since. What an answer took lies in its result: the output of all its
rounds of tools, and the input of the last one alone, which is said.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from energy_tracking.logs.formats.base import (
    Document,
    LogFile,
    LogFormat,
    at,
    keys,
    known_by,
    mappings,
    text,
)
from energy_tracking.logs.formats.counts import usage_of, whole
from energy_tracking.logs.logged import LoggedCall, time_of

SEVERAL_ROUNDS = "of answers with several requests, of which the input of the last alone is known"
_WHOLE, _SET, _ADDED = 0, 1, 2
"""What a line has of a session: all of it, a value that was set, or some added to a list."""
_KEPT = frozenset({"requestId", "timestamp", "modelId", "completionTokens", "result"})
"""What is remembered of a request."""


def _read_session(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A session or an export of one."""
    requests = mappings(document["requests"])
    if not any("requestId" in request for request in requests):
        return None
    session = text(document.get("sessionId"))
    return [call for each in requests for call in _calls_of(each, session, file)]


def _read_change(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A line of a session; the calls come at its end."""
    kind, path, value = document["kind"], document.get("k"), document["v"]
    memory = file.memory
    if kind == _WHOLE and isinstance(value, dict) and "requests" in value:
        ended = list(_finish(file))
        memory["vs code"] = text(value.get("sessionId"))
        memory["vs code requests"] = [_keep(one) for one in mappings(value["requests"])]
        return ended
    requests: list[Document] | None = memory.get("vs code requests")
    if requests is None or not isinstance(path, list):
        return None
    if kind == _ADDED and path == ["requests"]:
        requests += map(_keep, mappings(value))
    elif kind == _SET and len(path) > 2 and path[0] == "requests" and path[2] in _KEPT:
        request = at(requests, path[1])
        if isinstance(request, dict):
            _set(request, path[2:], value)
    return []


def _keep(request: Document) -> Document:
    return {name: request[name] for name in _KEPT & request.keys()}


def _set(holder: Document, path: list[Any], value: Any) -> None:
    """Set a value at the end of a path of keys."""
    *before, last = path
    for name in before:
        inner = holder.setdefault(name, {})
        if not isinstance(inner, dict):
            return
        holder = inner
    holder[last] = value


def _finish(file: LogFile) -> Iterable[LoggedCall]:
    for request in file.memory.pop("vs code requests", ()):
        yield from _calls_of(request, file.memory.get("vs code"), file)


def _calls_of(request: Document, session: str | None, file: LogFile) -> Iterable[LoggedCall]:
    """What an answer took; of one that did not come nothing is known."""
    result = request.get("result")
    facts, usage = at(result, "metadata"), at(result, "usage")
    inputs = next(
        filter(None, (whole(at(one, "promptTokens")) for one in (usage, facts, result))), None
    )
    outputs = [
        whole(count)
        for count in (
            request.get("completionTokens"),
            at(usage, "completionTokens"),
            *(at(one, "outputTokens") for one in (facts, result)),
        )
    ]
    if inputs is None:
        if isinstance(result, dict):
            file.leave_out("an answer in a chat of VS Code, without token counts")
        return
    model = text(at(result, "resolvedModel")) or text(request.get("modelId"))
    rounds = at(facts, "toolCallRounds")
    yield LoggedCall(
        model=model and model.removeprefix("copilot/"),
        counts=usage_of(
            inputs, max(filter(None, outputs), default=0), cached=at(facts, "cachedTokens")
        ),
        time=time_of(request.get("timestamp")),
        session=session,
        grows=True,
        identity=known_by("vs code", text(request.get("requestId"))),
        assumed=SEVERAL_ROUNDS if isinstance(rounds, list) and len(rounds) > 1 else None,
    )


VS_CODE: tuple[LogFormat, ...] = (
    # Source: https://github.com/microsoft/vscode (chat/common/chatModel.ts)
    # Source: https://github.com/rajbos/github-copilot-token-usage (docs/logFilesSchema)
    LogFormat(name="vs-code", keys=keys("requests"),
              any_of=keys("responderUsername", "requesterUsername", "initialLocation"),
              read=_read_session),
    LogFormat(name="vs-code-line", keys=keys("kind", "v"), read=_read_change, finish=_finish,
              is_said=False),
)  # fmt: skip
