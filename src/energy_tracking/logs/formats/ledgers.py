"""Our own ledger: calls that were tracked, or read from another log before, and sums over several.

What our commands print, of calls that the logs beside it have, is left out.

Of a call with several lines the last stands. Which calls have some is looked up before the first
line is read (``find_replaced_in``), where the ledger can be read twice.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import fields
from typing import Any, BinaryIO

from energy_tracking.ledger import Replaced
from energy_tracking.ledger.entries import AGGREGATE, join_aggregate
from energy_tracking.ledger.lines import MAX_LINE_BYTES
from energy_tracking.ledger.replaced import find_replacing_lines
from energy_tracking.logs.files.packed import is_gzip
from energy_tracking.logs.files.text_lines import decode_line
from energy_tracking.logs.formats.base import Document, LogFile, LogFormat, at, identify, keys, text
from energy_tracking.logs.formats.counts import whole
from energy_tracking.logs.logged import LoggedCall, time_of
from energy_tracking.usage.measured_energy import joules_from
from energy_tracking.usage.token_usage import TokenUsage

_COUNTS = frozenset(field.name for field in fields(TokenUsage) if "tokens" in field.name)


def find_replaced_in(ledgers: Iterable[str]) -> Replaced:
    """Look up which calls have several lines.

    Args:
        ledgers: Files that start as a ledger does, packed or not.
    """
    replaced = Replaced()
    for path in ledgers:
        # What is the matter with it is said when its calls are read.
        with suppress(OSError, EOFError, zlib.error), _open_unpacked(path) as stream:
            for line in find_replacing_lines(stream, MAX_LINE_BYTES):
                for document in decode_line(line):
                    fields = join_aggregate(document) if isinstance(document, dict) else {}
                    if fields.get("replaces") is True:
                        replaced.expect(*_ids_of(fields))
    return replaced


def _open_unpacked(path: str) -> BinaryIO:
    with open(path, "rb") as stream:
        is_packed = is_gzip(stream.read(2))
    return gzip.open(path) if is_packed else open(path, "rb")  # type: ignore[return-value]


def _ids_of(document: Document) -> tuple[str | None, str | None]:
    return text(document.get("response_id")), text(document.get("log_identity"))


def _read_ledger_line(document: Document, file: LogFile) -> list[LoggedCall] | None:
    request = document.get("request")
    named = document.get("usage")
    if not isinstance(request, dict):
        return None
    replaced: Replaced | None = file.shared.get("replaced")
    replaces = document.get("replaces") is True
    if replaced and not replaced.admits(*_ids_of(document), replaces):
        file.report.repeated += 1
        return []
    tags = document.get("tags")
    call = LoggedCall(
        provider=text(request.get("provider")) or "unknown",
        operation=text(request.get("operation")) or "chat",
        model=text(document.get("response_model")) or text(request.get("model")),
        response_id=text(document.get("response_id")),
        counts=_read_usage(named) if isinstance(named, dict) else None,
        measured_energy_joules=joules_from(document.get("measured_energy_joules")),
        error_type=text(document.get("error_type")),
        time=time_of(document.get("timestamp")),
        session=text(document.get("session")),
        tags={str(name): str(value) for name, value in tags.items()}
        if isinstance(tags, dict)
        else {},
    )
    log_identity = text(document.get("log_identity"))
    if log_identity is not None:
        call.identity, call.log_key = (log_identity,), log_identity
        # Standard input is read once: of the lines of one call that with most tokens stands.
        call.grows = True
        return [call]
    # A line is written in one instant by one process.
    return [identify(call, at(document, "pid"), created=document.get("timestamp"))]


def _read_ledger_sum(document: Document, file: LogFile) -> list[LoggedCall] | None:
    calls = _read_ledger_line(join_aggregate(document), file)
    for call in calls or ():
        requests = whole(document.get("requests"))
        call.requests = None if requests == 1 else requests
    return calls


def _read_usage(named: dict[str, Any]) -> TokenUsage:
    counts = {name: named[name] for name in _COUNTS if type(named.get(name)) is int}
    return TokenUsage(
        **counts,
        dialect=str(named.get("dialect", "")),
        # What was estimated or repaired widens the range again.
        estimated=_read_texts(named.get("estimated")),
        repairs=_read_texts(named.get("repairs")),
    )


def _read_texts(listed: object) -> tuple[str, ...]:
    return tuple(map(str, listed)) if isinstance(listed, list) else ()


def _leave_computed_out(document: Document, file: LogFile) -> list[LoggedCall] | None:
    if "totals" in document and at(document, "totals", "unknown_aggregates") is None:
        return None
    file.leave_out("sums or estimates computed by this library, not calls")
    return []


# Source: energy_tracking.ledger, .calls.totals, .cli.estimates
LEDGER = (
    LogFormat(name="energy-tracking", keys=keys("ledger", "request"), read=_read_ledger_line),
    LogFormat(name="energy-tracking", keys=keys("ledger", AGGREGATE), read=_read_ledger_sum),
    *(
        LogFormat(name="energy-tracking", keys=marks, read=_leave_computed_out, is_said=False)
        for marks in (
            keys("aggregate_requests", "unknown_aggregates"),
            keys("totals", "groups", "reasons"),
            keys("estimates", "grade_meaning"),
        )
    ),
)
