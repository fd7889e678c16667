"""Rows of counts: tables and lines whose columns say what they are, or whose owner says it.

``NAMES`` lists by what names columns are known. ``columns`` of the caller come first; there, a
name with dots leads into an object.

Order of events: the columns are found by their names, once for rows of the same names; the cells
that count are checked; what is a part of what is settled; a row of several requests is a sum. A
further name of a column goes into ``NAMES``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from energy_tracking.logs.formats.base import Document, LogFile, LogFormat, at, identify, text
from energy_tracking.logs.formats.counts import check_wholes, sum_of_tokens, usage_of, whole
from energy_tracking.logs.formats.gateways import provider_named
from energy_tracking.logs.formats.inside import drop_types, is_by_columns
from energy_tracking.logs.logged import LARGEST_INPUT, LARGEST_OUTPUT, Counts, LoggedCall, time_of

# What a column is -> its names, in lower case with one underscore for all else, best first.
NAMES: dict[str, tuple[str, ...]] = {
    "input": (
        # OpenRouter's native counts are the model's own, those beside them another tokenizer's.
        *("input_tokens", "prompt_tokens", "tokens_in", "native_tokens_prompt", "tokens_prompt"),
        *("input_token_count", "prompt_token_count", "inputtokens", "prompttokens", "in_tokens"),
        *("context_tokens", "contexttokens", "n_context_tokens_total", "num_prompt_tokens"),
        *("n_prompt_tokens", "request_tokens", "input_length", "prompt_length", "tokens_input"),
        *("total_input_tokens", "total_prompt_tokens", "usage_input_tokens", "tokens_sent"),
        *("uncached_input_tokens", "usage_input_tokens_no_cache", "num_input_tokens"),
        *("input_w_o_cache_write", "prompt_len", "input_len", "num_prefill_tokens"),
    ),
    "output": (
        *("output_tokens", "completion_tokens", "tokens_out", "native_tokens_completion"),
        *("tokens_completion", "output_token_count", "completion_token_count"),
        *("outputtokens", "completiontokens", "out_tokens", "generated_tokens", "generatedtokens"),
        *("n_generated_tokens_total", "num_completion_tokens", "n_completion_tokens"),
        *("response_tokens", "output_length", "tokens_output", "total_output_tokens"),
        *("total_completion_tokens", "usage_output_tokens", "tokens_received"),
        *("num_output_tokens", "candidates_token_count", "num_generation_tokens"),
        *("output_len", "num_decode_tokens"),
    ),
    "cached": (
        *("cached_input_tokens", "input_cached_tokens", "cached_tokens", "cache_read_tokens"),
        *("native_tokens_cached", "prompt_cache_hit_tokens", "tokens_cached", "cachedtokens"),
        *("cached_prompt_tokens", "cached_content_token_count", "prompt_cache_read_tokens"),
        "n_cached_context_tokens_total",
    ),
    "cache_read": (
        *("cache_read_input_tokens", "usage_input_tokens_cache_read"),
        "cache_read",  # Cursor's, as are the others with and without a cache's write
    ),
    "cache_write": (
        *("cache_creation_input_tokens", "cache_write_input_tokens", "cache_creation_tokens"),
        *("usage_input_tokens_cache_write_5m", "cache_write_tokens", "input_w_cache_write"),
    ),
    # What an hour's cache takes, beside what one of five minutes does.
    "cache_write_1h": ("usage_input_tokens_cache_write_1h",),
    "reasoning": (
        *("reasoning_tokens", "native_tokens_reasoning", "tokens_reasoning"),
        *("output_reasoning_tokens", "thoughts_token_count", "thinking_tokens"),
    ),
    "requests": (
        *("num_model_requests", "n_requests", "num_requests", "request_count", "requests"),
        *("total_requests", "api_requests", "api_calls", "call_count", "calls", "num_calls"),
        *("invocation_count", "requests_count", "number_of_requests", "n_calls", "total_calls"),
    ),
    "model": (
        *("model", "response_model", "model_name", "modelname", "model_id", "modelid"),
        *("model_permaslug", "model_version", "deployment", "engine", "request_model"),
        *("snapshot_id", "provided_model_name"),
    ),
    "time": (
        *("timestamp", "time", "created_at", "created", "datetime", "ts", "end_time", "start_time"),
        *("endtime", "starttime", "date", "start_time_iso", "usage_date_utc", "starting_at", "day"),
        *("aggregation_timestamp", "time_generated", "timegenerated", "datetime_utc"),
        *("created_on", "event_time", "event_timestamp", "request_time", "requested_at"),
        *("logged_at", "completed_at", "end_timestamp", "start_timestamp"),
        *("ended_at", "finished_at", "started_at", "request_end_time", "request_start_time"),
        *("timestamp_utc", "time_generated_utc", "time_utc", "time_gmt", "date_utc"),
    ),
    # What a table of sums per day has, or one per trace, and one of calls has not.
    "day": ("usage_date_utc", "usage_date", "starting_at", "day", "observation_count"),
    "id": ("response_id", "generation_id", "id", "request_id"),
    "session": ("session_id", "sessionid", "conversation_id", "thread_id", "session"),
    "provider": ("provider", "provider_name"),
    "cache_hit": ("cache_hit", "cachehit", "is_cache_hit", "from_cache", "is_cached"),
    "operation": ("operation", "operation_name"),
}

_SUMMED = ("sum_", "total_")
"""What the name of a count begins with where it is one over several calls."""
STARTS = (
    "start_time",
    "start_time_iso",
    "starting_at",
    "usage_date_utc",
    "usage_date",
    "date",
    "day",
)
"""What says when the time began that a row sums up."""

COLUMNS = ("input", "output", "cached", "reasoning", "requests", "model", "time", "id", "session")
"""What a caller can name columns for, beside ``provider``."""

_WITH_CACHE = frozenset({"prompt_tokens", "prompttokens"})
"""Names of an input that has the tokens read from a cache, which Anthropic's leaves out."""

_COUNTED = (
    "input",
    "output",
    "cached",
    "cache_read",
    "cache_write",
    "cache_write_1h",
    "reasoning",
    "requests",
)
_EMPTY = (None, "")
TOTALS = frozenset(
    {"total", "totals", "grand total", "sum", "subtotal", "summe", "gesamt", "gesamtsumme"}
    | {"somme", "suma", "totale", "totaal", "итого", "合计", "総計", "合計"}
)
"""What stands in the place of a name in a row of sums."""
_OTHER = re.compile(r"[^a-z0-9]+")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def columns_of(names: tuple[str, ...]) -> dict[str, str] | None:
    """Find out what the columns of a table are; None where none is a count of tokens.

    Args:
        names: The columns' names.
    """
    plain = {_spell_plainly(name): name for name in reversed(names)}
    plain |= {_spell_plainly(_HUMP.sub("_", str(name))): name for name in reversed(names)} | plain
    # As a query names its sums, where it gives them no names.
    sums = {
        name.removeprefix("sum_"): given for name, given in plain.items() if name.startswith("sum_")
    }
    plain = sums | plain
    found = {}
    for what, known in NAMES.items():
        name = next((plain[name] for name in known if name in plain), None)
        if name is not None:
            found[what] = name
    counts = (_spell_plainly(found[what]) for what in ("input", "output") if what in found)
    if "id" not in found and any(name.startswith(_SUMMED) for name in counts):
        found.setdefault("day", names[0])
        if "count" in plain:
            found.setdefault("requests", plain["count"])
    if found.keys() & {"requests", "day"}:
        # Its end is the next day's start.
        start = next((plain[name] for name in STARTS if name in plain), None)
        found |= {} if start is None else {"time": start}
    if _spell_plainly(found.get("input", "")) in _WITH_CACHE and "cache_read" in found:
        found.setdefault("cached", found.pop("cache_read"))
    return found if found.keys() & {"input", "output"} else None


def _spell_plainly(name: str) -> str:
    """A name in lower case, with one underscore for all that is no letter or digit."""
    return _OTHER.sub("_", str(name).lower()).strip("_")


def _read_given(row: Document, file: LogFile) -> list[LoggedCall] | None:
    """A row whose columns the caller has named."""
    if not file.columns:
        return None
    read = {what: _value_of(row, name) for what, name in file.columns.items()}
    if read.get("input") is None and read.get("output") is None:
        return None
    absent: set[str] = file.memory.setdefault("absent", set(file.columns.values()))
    if absent:
        absent -= {n for n in absent if n in row or _value_of(row, n) is not None}
    return _calls_of(read, _first_of(row), file)


def _say_absent(file: LogFile) -> Iterator[LoggedCall]:
    """Say which of the caller's columns no entry has; a table without them was refused before."""
    for name in sorted(file.memory.get("absent", ())):
        file.assume(f"and all before it without the column {name!r}, which was named")
    return iter(())


def _value_of(row: Document, name: str) -> Any:
    return row[name] if name in row else at(row, *name.split("."))


def _read_row(row: Document, file: LogFile) -> list[LoggedCall] | None:
    """A row whose columns are known by their names."""
    names = tuple(row)
    shapes: dict[tuple[str, ...], dict[str, str] | None] = file.memory.setdefault("columns", {})
    if names not in shapes:
        if len(shapes) > 100:
            shapes.clear()
        shapes[names] = columns_of(names)
    columns = shapes[names]
    if columns is None or is_by_columns(row):
        return None
    read = {what: row[columns[what]] for what in columns}
    if type(read.get("input", read.get("output"))) is dict:
        read = drop_types(read)
    return _calls_of(read, _first_of(row), file)


def _first_of(row: Document) -> object:
    for cell in row.values():
        if cell is not None:
            return cell
    return None


def _is_totals(name: object) -> bool:
    """Whether a cell says that its row has totals."""
    if type(name) is not str or name[:1].isdigit():
        return False  # nearly always a time or an id
    return name in TOTALS or name.strip(" :*").lower() in TOTALS


def _calls_of(read: Mapping[str, Any], first: object, file: LogFile) -> list[LoggedCall] | None:
    """The call or the sum that a row is; none where it has totals over the others.

    Args:
        read: What its columns are -> what they hold.
        first: The first cell that holds something.
        file: Where it is.
    """
    if read.get("input") in _EMPTY and read.get("output") in _EMPTY:
        return None
    if any(map(_is_totals, (first, read.get("model"), read.get("time"), read.get("id")))):
        file.note_assumption("of totals over the rows above, left out")
        return []
    check_wholes({what: read[what] for what in _COUNTED if what in read})
    inputs, outputs = whole(read.get("input")), whole(read.get("output"))
    requests = whole(read.get("requests")) if "requests" in read else 1
    if "requests" not in read and "day" in read:
        requests = None
    if requests == 0:
        if not inputs and not outputs:
            return []
        requests = None
    is_embedding = read.get("operation") in ("embeddings", "embedding")
    call = LoggedCall(
        operation="embeddings" if is_embedding else "chat",
        provider=provider_named(read.get("provider")),
        model=text(model.strip()) if isinstance(model := read.get("model"), str) else None,
        response_id=text(read.get("id")),
        counts=_read_usage(read, inputs or 0, outputs or 0, is_sum=requests != 1),
        time=time_of(read.get("time")),
        session=None if read.get("session") is None else str(read["session"]),
        requests=requests,
    )
    if call.operation != "embeddings":
        for what, count in (("input", inputs), ("output", outputs)):
            if count is None:
                # A table of embeddings has no such column, and is read under ``strict`` too.
                assume = file.assume if what in read else file.note_assumption
                assume(f"without a count of {what}, taken as 0 tokens")
    if call.time is None and isinstance(read.get("time"), str) and not _is_number(read["time"]):
        file.assume("whose time cannot be read, counted without one")
    call.cache_hit = str(read.get("cache_hit")).lower() in ("true", "1")
    return [identify(call, created=read.get("time"))]


def _is_number(text: str) -> bool:
    """Whether a text is a number, as the times of a trace that count from its start."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read_usage(read: Mapping[str, Any], inputs: int, outputs: int, is_sum: bool) -> Counts | None:
    cached, written = whole(read.get("cached")), whole(read.get("cache_write"))
    longer = whole(read.get("cache_write_1h"))
    if longer is not None:
        written = (written or 0) + longer
    beside = whole(read.get("cache_read"))
    if beside is not None:
        # Anthropic's names: its input count leaves the cache out.
        cached = beside
        inputs += beside + (written or 0)
    reasoning = whole(read.get("reasoning"))
    if is_sum or inputs > LARGEST_INPUT or outputs > LARGEST_OUTPUT:
        return sum_of_tokens(inputs, outputs, cached, reasoning)
    return usage_of(inputs, outputs, cached=cached, written=written, reasoning=reasoning)


GIVEN_COLUMNS = LogFormat(name="columns", read=_read_given, finish=_say_absent, is_said=False)
KNOWN_COLUMNS = LogFormat(name="table", read=_read_row, is_said=False)
