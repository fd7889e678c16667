"""What the columns of a table are, by their names.

Order of events: names lose their style, and what stands before all of an object's; those of
``NAMES`` are looked up, the best first; what makes a row a sum is found; which counts are parts of
others is settled (``_settle_parts``). A further name goes into ``NAMES``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

TURNS = ("observation_count", "num_turns", "total_turns", "turns", "turn_count")
"""How many turns or steps a sum is of, of which each has a request or more."""

# What a column is -> its names, in lower case with one underscore for all else, best first.
NAMES: dict[str, tuple[str, ...]] = {
    "input": (
        # OpenRouter's native counts are the model's own, those beside them another tokenizer's.
        *("input_tokens", "prompt_tokens", "tokens_in", "native_tokens_prompt", "tokens_prompt"),
        *("input_token_count", "prompt_token_count", "inputtokens", "prompttokens", "in_tokens"),
        *("context_tokens", "contexttokens", "n_context_tokens_total", "num_prompt_tokens"),
        *("n_prompt_tokens", "request_tokens", "input_length", "prompt_length", "tokens_input"),
        *("total_input_tokens", "usage_input_tokens", "tokens_sent"),
        *("uncached_input_tokens", "usage_input_tokens_no_cache", "num_input_tokens"),
        *("input_w_o_cache_write", "prompt_len", "input_len", "num_prefill_tokens"),
        # Higress, APISIX, Dify.
        *("input_token", "prompt_token", "llm_prompt_tokens", "message_tokens"),
        *("prompt_tokens_in_step", "total_prompt_tokens", "processed_prompt_tokens"),
        "total_prompt_token",  # Helicone
        *("input_tok", "prompt_tok", "in_tok"),
        "response_usage_prompt_tokens",  # New Relic
        # Aleph Alpha; Yandex and xAI, whose names are elsewhere those of parts.
        *("num_tokens_prompt_total", "input_text_tokens", "prompt_text_tokens"),
        "tokens_evaluated",  # llama.cpp
    ),
    "output": (
        *("output_tokens", "completion_tokens", "tokens_out", "native_tokens_completion"),
        *("tokens_completion", "output_token_count", "completion_token_count"),
        *("outputtokens", "completiontokens", "out_tokens", "generated_tokens", "generatedtokens"),
        *("n_generated_tokens_total", "num_completion_tokens", "n_completion_tokens"),
        *("response_tokens", "output_length", "tokens_output", "total_output_tokens"),
        *("usage_output_tokens", "tokens_received"),
        *("num_output_tokens", "candidates_token_count", "num_generation_tokens"),
        *("output_len", "num_decode_tokens", "tokens_generated"),
        *("output_token", "completion_token", "llm_completion_tokens", "answer_tokens"),
        *("completion_tokens_in_step", "total_completion_tokens"),
        *("generated_completion_tokens", "output_tok", "completion_tok", "out_tok"),
        *("response_usage_completion_tokens", "num_generated_tokens"),
        *("generated_token_count", "return_tokens", "num_tokens_generated", "output_text_tokens"),
        "tokens_predicted",
    ),
    "cached": (
        *("cached_input_tokens", "input_cached_tokens", "cached_tokens", "cache_read_tokens"),
        *("native_tokens_cached", "prompt_cache_hit_tokens", "tokens_cached", "cachedtokens"),
        *("cached_prompt_tokens", "cached_content_token_count", "prompt_cache_read_tokens"),
        *("n_cached_context_tokens_total", "cached_input_token_count", "cached_token_count"),
        *("prompt_cached_tokens", "input_tokens_cached", "prompt_tokens_cached"),
        *("num_cached_input_tokens", "num_cached_tokens", "cache_hit_tokens"),
        "cached_prompt_text_tokens",  # xAI
        "total_prompt_cached_tokens",  # browser-use
    ),
    "cache_read": (
        *("cache_read_input_tokens", "usage_input_tokens_cache_read"),
        "cache_read",  # Cursor's, as are the others with and without a cache's write
    ),
    "cache_write": (
        *("cache_creation_input_tokens", "cache_write_input_tokens", "cache_creation_tokens"),
        *("usage_input_tokens_cache_write_5m", "cache_write_tokens", "input_w_cache_write"),
        *("usage_input_tokens_cache_write", "cache_creation_ephemeral_5m_input_tokens"),
        *("ephemeral_5m_input_tokens", "cache_write_5m_tokens", "cache_write_5m", "cache_write"),
        *("cache_creation", "cache_create", "prompt_cache_write_tokens"),
    ),
    # What an hour's cache takes, beside what one of five minutes does.
    "cache_write_1h": (
        *("usage_input_tokens_cache_write_1h", "cache_creation_ephemeral_1h_input_tokens"),
        *("ephemeral_1h_input_tokens", "cache_write_1h_tokens", "cache_write_1h"),
    ),
    "reasoning": (
        *("reasoning_tokens", "native_tokens_reasoning", "tokens_reasoning"),
        *("output_reasoning_tokens", "thoughts_token_count", "thinking_tokens"),
        *("reasoning_token_count", "num_reasoning_tokens", "reasoning_output_tokens"),
        *("completion_reasoning_tokens", "output_tokens_reasoning", "thoughts_tokens"),
        "tokens_thoughts",
    ),
    # Input and output, which says whether parts of them lie inside.
    "total": ("total_tokens", "total_token_count", "totaltokens", "tokens_total"),
    "requests": (
        *("num_model_requests", "n_requests", "num_requests", "request_count", "requests"),
        *("total_requests", "api_requests", "api_calls", "call_count", "calls", "num_calls"),
        *("invocation_count", "requests_count", "number_of_requests", "n_calls", "total_calls"),
        *("llm_calls", "total_api_calls", "model_requests", "number_of_calls"),
        *("generation_count", "invocations", "azure_openai_requests", "run_count"),
    ),
    "model": (
        *("model", "response_model", "model_name", "modelname", "model_id", "modelid"),
        *("model_permaslug", "model_version", "deployment", "engine", "request_model"),
        *("snapshot_id", "provided_model_name", "llm_model", "resolved_model"),
        *("model_slug", "model_used", "models", "slug", "base_model_name"),
    ),
    "time": (
        *("timestamp", "time", "created_at", "created", "datetime", "ts", "end_time", "start_time"),
        *("endtime", "starttime", "date", "start_time_iso", "usage_date_utc", "starting_at", "day"),
        *("aggregation_timestamp", "time_generated", "timegenerated", "datetime_utc"),
        *("created_on", "event_time", "event_timestamp", "request_time", "requested_at"),
        *("logged_at", "completed_at", "end_timestamp", "start_timestamp"),
        *("ended_at", "finished_at", "started_at", "request_end_time", "request_start_time"),
        *("timestamp_utc", "time_generated_utc", "time_utc", "time_gmt", "date_utc"),
        *("date_time", "logging_time", "utc_date", "usage_date"),
        *("hour", "week", "month", "period", "bucket", "time_bucket"),
        *("time_iso8601", "time_local", "sent_at", "recorded_at", "occurred_at", "at"),
    ),
    # What says which rows count the same usage by other things.
    "breakdown": (
        *("breakdown", "breakdown_by", "breakdown_type", "group_by", "grouped_by", "grouping"),
        *("report_type", "summary_type", "aggregation", "aggregation_level", "aggregated_by"),
    ),
    # The same, or which part of a firm or a prompt they are of.
    "section": ("section", "dimension", "granularity", "view"),
    # What a row has that is of a session, unless it says how long a prompt was.
    "of_session": (
        *("message_count", "messages_count", "num_messages", "n_messages", "total_messages"),
        "messages",
        *("user_messages", "session_duration", "session_length", "duration_minutes"),
        *("duration_hours", "total_duration", "session_duration_seconds", "total_duration_s"),
        *("total_duration_seconds", "session_duration_s", "duration_min"),
    ),
    # What a table of sums per day has, or one per trace, and one of calls has not.
    "day": (
        *("usage_date_utc", "usage_date", "starting_at", "day", *TURNS),
        *("models", "session_count", "num_sessions", "sessions"),
        *("count_traces", "trace_count", "total_traces"),
    ),
    "id": ("response_id", "generation_id", "id", "request_id"),
    "session": ("session_id", "sessionid", "conversation_id", "thread_id", "session", "chat_id"),
    "provider": ("provider", "provider_name"),
    "cache_hit": ("cache_hit", "cachehit", "is_cache_hit", "from_cache", "is_cached", "cached"),
    "operation": ("operation", "operation_name"),
    # Objects, or texts of JSON, with parts of the counts.
    "details": ("prompt_tokens_details", "input_tokens_details", "input_token_details"),
}

COUNTED = (
    *("input", "output", "cached", "cache_read", "cache_write", "cache_write_1h"),
    *("reasoning", "reasoning_beside", "requests"),
)
"""What a column may count."""
OF_SUMS = frozenset({"requests", "day", "of_session"})
"""Where a table has one of these, its rows may be sums."""
HIT_WORDS = ("true", "1", "yes", "y", "t", "hit")
"""What a cell has where the answer came from a cache, in lower case."""
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

PARTS = ("cached", "cache_read", "cache_write", "reasoning")
"""What is a part of another count."""
_GOOGLES = ("thoughts_token_count", "candidates_token_count")
"""Reasoning that is no part of the output beside it."""
_NOT_ALONE = frozenset({"context_tokens", "contexttokens", "input_tok", "prompt_tok", "in_tok"})
"""Names that are of an input only where there is an output: a model's context has one, too."""
_PERIODS = frozenset({"hour", "week", "month", "period", "bucket", "time_bucket"})
"""Names of a time that are those of a sum, where there is no other."""
_BESIDE = frozenset({"cache_read_tokens"})
"""Names of what was read from a cache, which lies beside the input where there is a count of what
was written to one, too, as Anthropic has it."""
_ENDS = (
    *(("start_time", "end_time"), ("start", "end"), ("starting_at", "ending_at"), ("from", "to")),
    *(("window_start", "window_end"), ("bucket_start", "bucket_end"), ("start_date", "end_date")),
    *(("period_start", "period_end"), ("start_timestamp", "end_timestamp")),
)
"""What says when a row begins and ends."""
_WITH_CACHE = frozenset({"prompt_tokens", "prompttokens"})
"""Names of an input that has the tokens read from a cache, which Anthropic's leaves out."""

_PLAIN_NAMES = frozenset({"cache_read", "cache_create", "cache_creation"})
"""Beside one of these, ``input`` and ``output`` are counts, and no texts."""
_NO_RIVALS = frozenset(
    # Of another tokenizer, of one step, and what no cache had.
    {"tokens_prompt", "tokens_completion", "prompt_tokens_in_step", "completion_tokens_in_step"}
    | {"uncached_input_tokens", "usage_input_tokens_no_cache", "input_w_o_cache_write"}
    # Of texts alone, among images and sounds.
    | {"input_text_tokens", "output_text_tokens", "prompt_text_tokens"}
    # Of characters, beside counts of tokens.
    | {"input_length", "prompt_length", "prompt_len", "input_len", "output_length", "output_len"}
)
"""Names that mean something else where there is another one of an input or output."""
_AGAIN = re.compile(r"\.\d+$")
"""What is put behind a name that comes twice."""
_WRAPPED = re.compile(
    r"^(?:(?:response_)?(?:usage_metadata|token_usage|usage)|number(?:_of)?|no_of|gen_?ai)_"
)
"""What a database puts before the names in an object that it keeps as columns, and what people
put before those of counts."""
_UNIT = re.compile(
    r"\s*\((?:in )?(?:(k|thousands?)|(?:m|mm|mio|millions?))\)\s*$"
    r"|[\s_]+(?:in[\s_]+)?(?:(thousands)|(?:millions))\s*$",
    re.IGNORECASE,
)
"""What stands behind the name of a column in which counts are in thousands or millions."""
_SUM = re.compile(r"^sum_(?:of_)?|_sum$")
_COUNT = re.compile(r"count|len|counta?_(?:of_.+|count|id|all|star)|run_count")
"""How a query, a pivot table or a frame names how many rows it adds up."""
_OTHER = re.compile(r"[^a-z0-9]+")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def columns_of(names: tuple[str, ...]) -> dict[str, str] | None:
    """Find out what the columns of a table are; None where none is a count of tokens.

    Args:
        names: The columns' names.
    """
    bare = {name: _UNIT.sub("", str(name)) for name in reversed(names)}
    plain = {_spell_plainly(one): name for name, one in bare.items()}
    plain |= {_spell_plainly(_HUMP.sub("_", one)): name for name, one in bare.items()} | plain
    # As a query names its sums, where it gives them no names.
    sums = {_SUM.sub("", name): given for name, given in plain.items() if _SUM.search(name)}
    # Names with dots are paths, of which more formats than this one know what lies at their end.
    wrapped = {
        _WRAPPED.sub("", name): given
        for name, given in plain.items()
        if "." not in str(given) or " " in str(given)
    }
    plain = wrapped | sums | plain
    if not _PLAIN_NAMES.isdisjoint(plain):
        plain = {
            f"{name}_tokens": plain[name] for name in ("input", "output") if name in plain
        } | plain
    found, spelt = {}, {}
    for what, known in NAMES.items():
        name = next((name for name in known if name in plain), None)
        if name is not None:
            found[what], spelt[what] = plain[name], name
    counts = (_spell_plainly(found[what]) for what in ("input", "output") if what in found)
    if "id" not in found and any(
        name.startswith(_SUMMED) or name.endswith("_sum") for name in counts
    ):
        found.setdefault("day", names[0])
        counted = next((name for name in plain if _COUNT.fullmatch(name)), None)
        if counted is not None:
            found.setdefault("requests", plain[counted])
    if spelt.get("time") in _PERIODS or {"start_time_iso", "end_time_iso"} <= plain.keys():
        found.setdefault("day", found["time"])
    _settle_sums(found)
    if found.keys() & {"requests", "day"}:
        # Its end is the next day's start.
        start = next((plain[name] for name in STARTS if name in plain), None)
        found |= {} if start is None else {"time": start}
    if spelt.get("id") == "request_id":
        found["request"] = found["id"]
    _settle_parts(found, spelt)
    if "output" not in found and spelt.get("input") in _NOT_ALONE:
        return None
    if not found.keys() & {"input", "output"}:
        return None
    return mark_unit(found)


def mark_unit(columns: dict[str, str]) -> dict[str, str]:
    """The columns, with ``unit`` for one whose counts are in thousands or millions, if any is.

    Args:
        columns: What they are -> their names.
    """
    scaled = (columns[what] for what in (*COUNTED, "total") if what in columns)
    unit = next((name for name in scaled if unit_of(name) > 1), None)
    return columns if unit is None else columns | {"unit": unit}


def unit_of(name: str) -> int:
    """What the counts in a column are to be multiplied by [1].

    Args:
        name: Its name.
    """
    found = _UNIT.search(str(name))
    if found is None:
        return 1
    return 1000 if found[1] or found[2] else 1_000_000


def _settle_sums(found: dict[str, str]) -> None:
    """Settle whether the rows of a table are sums, by what they are of.

    Args:
        found: What columns are -> their names.
    """
    if "id" not in found and "breakdown" in found:
        found.setdefault("day", found["breakdown"])
    is_sum = not found.keys().isdisjoint(("requests", "day"))
    # Of a row that has an id alone, its cells say more: `tables` settles that.
    if is_sum or ("id" in found) == ("session" in found):
        found.pop("of_session", None)
    if not is_sum:
        found.pop("breakdown", None)
        found.pop("section", None)


def period_of(names: tuple[str, ...]) -> tuple[str, str] | None:
    """The columns with the start and the end of each row; None where there is one at most.

    Args:
        names: The columns' names.
    """
    plain = {_spell_plainly(_HUMP.sub("_", str(name))): name for name in names}
    pairs = ((plain.get(start), plain.get(end)) for start, end in _ENDS)
    return next(
        ((start, end) for start, end in pairs if start is not None and end is not None), None
    )


def rivals_of(names: tuple[str, ...], columns: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """What the input and the output might be as well: which of them, and the column's name.

    Args:
        names: The columns' names.
        columns: What they are -> the names that were taken.
    """
    taken = set(columns.values())
    for name in names:
        bare = _AGAIN.sub("", str(name))
        if name in taken or _spell_plainly(bare) in _NO_RIVALS:
            continue
        alone = columns_of((bare,)) or {}
        yield from ((what, name) for what in ("input", "output") if what in alone)


def _settle_parts(found: dict[str, str], spelt: Mapping[str, str]) -> None:
    """Settle by their names which counts are parts of others.

    Args:
        found: What columns are -> their names.
        spelt: What they are known by.
    """
    if spelt.get("input") in _WITH_CACHE:
        if "cache_read" in found:
            found.setdefault("cached", found.pop("cache_read"))
    elif spelt.get("cached") in _BESIDE and "cache_write" in found:
        found.setdefault("cache_read", found.pop("cached"))
    if "cache_write" in found and "5m" not in spelt["cache_write"]:
        found.pop("cache_write_1h", None)  # it is a part of it
    if (spelt.get("reasoning"), spelt.get("output")) == _GOOGLES:
        found["reasoning_beside"] = found.pop("reasoning")
    if found.keys().isdisjoint(PARTS):
        found.pop("total", None)


def _spell_plainly(name: str) -> str:
    """A name in lower case, with one underscore for all that is no letter or digit."""
    return _OTHER.sub("_", str(name).lower()).strip("_")


def spells_number(text: str) -> bool:
    """Whether a text is a number, as the times of a trace that count from its start."""
    try:
        float(text)
    except ValueError:
        return False
    return True
