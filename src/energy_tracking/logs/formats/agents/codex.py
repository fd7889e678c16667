"""Codex's rollouts, and what ``codex exec --json`` prints.

A rollout has a running total of its session in each ``token_count``: a call is where it advances.
Newer ones have a ``token_usage_record`` for each response before that, and for some responses,
such as of a compaction, that alone. So a record waits for the count that repeats it, and is a call
of its own where none comes.

A rollout that was forked, or of an agent that another one started, begins with the history of the
other, its times as they were or all those of the copying. So a call is known by the session that
its history began in, by the total and by its own counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from energy_tracking.logs.formats.agents.counts import count_on
from energy_tracking.logs.formats.base import (
    Document,
    LogFile,
    LogFormat,
    at,
    keys,
    known_by,
    remember,
    text,
)
from energy_tracking.logs.formats.counts import sum_of_tokens, usage_of, whole
from energy_tracking.logs.logged import LoggedCall, time_of
from energy_tracking.usage.names import is_unique_id

Vector = tuple[int, ...]
"""Input, cached input, output and reasoning [tokens]."""

COPYING = timedelta(seconds=1)
"""What is written no later than this after a session began is no answer to it, but copied."""

REMEMBERED = 10_000
"""How many threads of ``codex exec`` are remembered, from one file for the next, too."""

LINES = frozenset(
    {"response_item", "event_msg", "compacted", "turn_context", "session_meta", "world_state"}
)
"""The types of lines that are no call."""


@dataclass(slots=True)
class _Rollout:
    """What is known of the session that is read.

    Attributes:
        session: Its id.
        model: The model that answers now.
        root: The session that its history began in.
        parent: The session whose history may stand at its beginning, where no line says so.
        start: When it began.
        total: The running total so far.
        waiting: The call of a record whose count has not come.
        waiting_for: Its counts.
        counted: The counts of the last call, whose record has not come.
    """

    session: str | None = None
    model: str | None = None
    root: str | None = None
    parent: str | None = None
    start: datetime | None = None
    total: Vector | None = None
    waiting: LoggedCall | None = None
    waiting_for: Vector | None = None
    counted: Vector | None = None

    def take_waiting(self) -> list[LoggedCall]:
        """The call that waits; none from now on."""
        waiting, self.waiting, self.waiting_for = self.waiting, None, None
        return [] if waiting is None else [waiting]

    def root_at(self, time: datetime | None) -> str | None:
        """The session that what was written at a time is of."""
        if self.parent is None or self.start is None or time is None:
            return self.root
        return self.parent if time <= self.start + COPYING else self.root


def _read_codex(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A line of a rollout."""
    payload = document.get("payload")
    if not isinstance(payload, dict):
        return None
    kind = document.get("type")
    if kind == "event_msg" and payload.get("type") == "token_count":
        return _read_count(document, payload, file)
    rollout = _rollout_in(file)
    if kind == "turn_context":
        rollout.model = text(payload.get("model")) or rollout.model
        return []
    if kind == "session_meta":
        return _read_start(document, payload, file)
    if kind == "token_usage_record":
        return _read_record(document, payload, file)
    return [] if kind in LINES else None


def _rollout_in(file: LogFile) -> _Rollout:
    rollout: _Rollout | None = file.memory.get("codex")
    if rollout is None:
        rollout = file.memory["codex"] = _Rollout()
    return rollout


def _read_start(document: Document, payload: Document, file: LogFile) -> list[LoggedCall]:
    """The first line of a session, or a copy of it in one that was forked from it."""
    rollout, ended = _rollout_in(file), []
    own = text(payload.get("id") or payload.get("session_id"))
    if rollout.total is not None and own != rollout.session:
        # Another session behind this one, in a file of several.
        ended = rollout.take_waiting()
        rollout = file.memory["codex"] = _Rollout()
    rollout.root = _root_of(text(payload.get("forked_from_id")) or own, file)
    _remember_root(own, rollout.root, file)
    if rollout.session is None:
        rollout.session, rollout.start = own, time_of(document.get("timestamp"))
        if rollout.root == own:
            rollout.parent = text(
                payload.get("parent_thread_id")
                or at(payload, "source", "subagent", "thread_spawn", "parent_thread_id")
            )
    elif own != rollout.session:
        rollout.parent = None
    return ended


def _root_of(session: str | None, file: LogFile) -> str | None:
    """The session in which the history of one begins, where its own file was read before."""
    roots: dict[str | None, str | None] = file.shared.get("codex roots", {})
    return roots.get(session, session)


def _remember_root(session: str | None, root: str | None, file: LogFile) -> None:
    if session != root:
        remember(file.shared.setdefault("codex roots", {}), session, root, REMEMBERED)


def _read_count(document: Document, payload: Document, file: LogFile) -> list[LoggedCall]:
    """A count, which is a call where the total advances."""
    rollout, info = _rollout_in(file), payload.get("info")
    total, before = _vector_in(at(info, "total_token_usage")), rollout.total
    last = _vector_in(at(info, "last_token_usage"))
    if "info" not in payload:
        # Before there was a total.
        last = _vector_in(payload)
    if total is not None:
        if total == before:
            return []
        rollout.total = total
        if last is None or not any(last):
            last = count_on(total, before)
    if last is None or not any(last):
        return []
    call = _build_call(document, last, rollout, file)
    call.model = text(at(info, "model") or payload.get("model")) or call.model
    stamp = document.get("timestamp")
    # A fork may repeat the history with other times: root and counts stay.
    root = rollout.root_at(call.time)
    if total is not None:
        call.identity = ("codex", root or stamp, total, last)
    elif stamp is not None:
        call.identity = ("codex", root, stamp, last)
    if last == rollout.waiting_for:
        call.response_id = rollout.take_waiting()[0].response_id
        rollout.counted = None
        return [call]
    rollout.counted = last
    return [*rollout.take_waiting(), call]


def _read_record(document: Document, payload: Document, file: LogFile) -> list[LoggedCall]:
    """What one response took, which the next count says, too, if it is in the total."""
    rollout, usage = _rollout_in(file), _vector_in(payload.get("usage"))
    ended = rollout.take_waiting()
    if usage is None or not any(usage):
        return ended
    if usage == rollout.counted:
        rollout.counted = None
        return ended
    call = _build_call(document, usage, rollout, file)
    call.response_id = text(payload.get("response_id"))
    if is_unique_id(call.response_id):
        call.identity = (call.response_id,)
    elif document.get("timestamp") is not None:
        call.identity = ("codex", rollout.root, document["timestamp"], usage)
    rollout.waiting, rollout.waiting_for = call, usage
    return ended


def _build_call(document: Document, vector: Vector, rollout: _Rollout, file: LogFile) -> LoggedCall:
    inputs, cached, outputs, reasoning = vector
    file.note_call_of("codex", rollout.session)
    call = LoggedCall()
    call.provider = "openai"
    call.model, call.session = rollout.model, rollout.session
    call.counts = usage_of(inputs, outputs, cached=cached, reasoning=reasoning)
    call.time = time_of(document.get("timestamp"))
    return call


def _finish_codex(file: LogFile) -> Iterable[LoggedCall]:
    rollout: _Rollout | None = file.memory.pop("codex", None)
    return () if rollout is None else rollout.take_waiting()


def _vector_in(counts: object) -> Vector | None:
    if not isinstance(counts, dict):
        return None
    cached = counts.get("cached_input_tokens") or counts.get("cache_read_input_tokens")
    return (
        whole(counts.get("input_tokens")) or 0,
        whole(cached) or 0,
        whole(counts.get("output_tokens")) or 0,
        whole(counts.get("reasoning_output_tokens")) or 0,
    )


def _read_codex_event(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """An event as ``codex exec --json`` printed it at first, or its settings before them."""
    if "provider" in document and "msg" not in document:
        _rollout_in(file).model = text(document.get("model"))
        return []
    event = document.get("msg")
    if not isinstance(event, dict) or "type" not in event:
        return None
    if event["type"] == "session_configured":
        model = {"type": "turn_context", "payload": event}
        _read_codex({"type": "session_meta", "payload": event}, file)
        return _read_codex(model, file)
    return _read_codex({"type": "event_msg", "payload": event}, file)


def _read_codex_exec(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """An event of ``codex exec --json``; a turn is a sum over its requests.

    What it says is the running total of the thread, over the turns of a run that was resumed, too.
    """
    kind = document["type"]
    memory = file.memory.setdefault("codex exec", {"turns": 0})
    if kind == "thread.started":
        memory["thread"] = text(document.get("thread_id"))
    total = _vector_in(document.get("usage"))
    if kind != "turn.completed" or total is None:
        return []
    memory["turns"] += 1
    thread = memory.get("thread")
    inputs, cached, outputs, reasoning = _new_in_thread(total, thread or file.path, file)
    return [
        LoggedCall(
            provider="openai",
            counts=sum_of_tokens(inputs, outputs, cached, reasoning or None),
            session=thread,
            requests=None,
            identity=known_by("codex exec", thread, memory["turns"], total),
            sum_of=known_by("codex", thread),
        )
    ]


def _new_in_thread(total: Vector, thread: str, file: LogFile) -> Vector:
    """What a running total has more than the one before it in its thread."""
    totals: dict[str, Vector] = file.shared.setdefault("codex exec", {})
    before = totals.pop(thread, None)
    remember(totals, thread, total, REMEMBERED)
    # No turn is without input: else another total has begun.
    is_onward = before is not None and total[0] > before[0]
    return count_on(total, before if is_onward else None)


CODEX: tuple[LogFormat, ...] = (
    # Source: https://github.com/openai/codex/blob/main/codex-rs/protocol/src/protocol.rs
    # Source: https://github.com/openai/codex/issues/47003 (a record without its count)
    LogFormat(name="codex", keys=keys("type", "payload"), read=_read_codex, finish=_finish_codex),
    LogFormat(name="codex-event", any_of=keys("msg", "workdir"), read=_read_codex_event,
              is_said=False),
    # Source: https://github.com/openai/codex/blob/main/docs/exec.md
    # Source: https://github.com/openai/codex/issues/17539 (totals of the thread)
    LogFormat(name="codex-exec", keys=keys("type"), types=("thread.", "turn.", "item."),
              read=_read_codex_exec, is_said=False),
)  # fmt: skip
