"""Logs of inspect: a whole one, the header of one, or a sample.

A log has its calls and often their sums, too: the calls count where there are any.
"""

from __future__ import annotations

from collections.abc import Iterator

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
from energy_tracking.logs.formats.bodies import error_name
from energy_tracking.logs.formats.counts import usage_of
from energy_tracking.logs.logged import Counts, LoggedCall, time_of
from energy_tracking.usage.names import is_unique_id

DEEPEST_EVENT = 20
"""How far events may lie inside of one another."""


def _read_inspect_log(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A whole log, or the header of one whose samples lie beside it."""
    if not isinstance(document.get("eval"), dict):
        return None
    calls: list[LoggedCall] = []
    for sample in mappings(document.get("samples")):
        calls += _calls_of_sample(sample, file)
    run = text(at(document, "eval", "run_id"))
    if calls or file.path.endswith(".eval"):
        file.note_call_of("inspect", run)
        return calls
    # A log without samples has their sums.
    sums = list(_sums_by_model(at(document, "stats", "model_usage"), run))
    for one in sums:
        one.sum_of = known_by("inspect", run)
    return sums


def _read_inspect_sample(document: Document, file: LogFile) -> list[LoggedCall] | None:
    if document.keys().isdisjoint(("events", "transcript", "model_usage")):
        return None
    return _calls_of_sample(document, file)


def _calls_of_sample(sample: Document, file: LogFile) -> list[LoggedCall]:
    """One call per model event; the sample's own usage is their sum."""
    session = text(sample.get("uuid"))
    calls, without_counts = [], 0
    # Its first versions had the events in a transcript.
    events = sample.get("transcript") if "events" not in sample else sample
    for event in _model_events(events if isinstance(events, dict) else {}):
        usage = _inspect_usage(at(event, "output", "usage"))
        failed = error_name(event.get("error"))
        if usage is None and failed is None:
            without_counts += 1
            continue
        event_id = text(event.get("uuid"))
        if event_id is None:
            # Events had no id at first, and a log that another one goes on with is copied into it.
            response_id = text(at(event, "call", "response", "id"))
            event_id = response_id if is_unique_id(response_id) else None
        model = text(event.get("model")) or text(at(event, "output", "model"))
        calls.append(
            LoggedCall(
                provider=(model or "").partition("/")[0] or "unknown",
                model=model,
                counts=usage,
                time=time_of(event.get("completed") or event.get("timestamp")),
                session=session,
                error_type=failed and (failed if usage is None else None),
                cache_hit=event.get("cache") == "read",
                identity=known_by("inspect", event_id),
            )
        )
    found = calls or list(_sums_by_model(sample.get("model_usage"), session))
    for _ in range(without_counts if calls or not found else 0):
        file.leave_out("an answer of a model without token counts")
    return found


def _model_events(around: Document, depth: int = 0) -> Iterator[Document]:
    """The calls of a sample, those inside of its tools and subtasks too."""
    for event in mappings(around.get("events")):
        if event.get("event") == "model" and not event.get("pending"):
            yield event
        elif "events" in event and depth < DEEPEST_EVENT:
            yield from _model_events(event, depth + 1)


def _inspect_usage(counts: object) -> Counts | None:
    """Counts of a model event: inputs may leave out cached tokens, and outputs reasoning."""
    if not isinstance(counts, dict):
        return None
    # The total says what lies beside what: that depends on the provider.
    return usage_of(
        counts.get("input_tokens"),
        counts.get("output_tokens"),
        cached=counts.get("input_tokens_cache_read"),
        written=counts.get("input_tokens_cache_write"),
        reasoning=counts.get("reasoning_tokens"),
        total=counts.get("total_tokens"),
    )


def _sums_by_model(by_model: object, session: object) -> Iterator[LoggedCall]:
    for model, counts in by_model.items() if isinstance(by_model, dict) else ():
        usage = _inspect_usage(counts)
        if usage is not None:
            yield LoggedCall(
                provider=str(model).partition("/")[0],
                model=model,
                counts=usage,
                session=text(session),
                requests=None,
                identity=known_by("inspect", session, model),
            )


INSPECT: tuple[LogFormat, ...] = (
    # Source: https://inspect.aisi.org.uk/eval-logs.html
    LogFormat(name="inspect", keys=keys("eval", "status"), read=_read_inspect_log),
    LogFormat(name="inspect-sample", keys=keys("id", "epoch"), read=_read_inspect_sample),
)  # fmt: skip
