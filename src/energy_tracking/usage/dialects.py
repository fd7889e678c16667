"""Anything with token counts becomes one ``TokenUsage``, by a table of dialects.

Providers disagree on the names of the counts and on what contains what. ``DIALECTS``
has one row per way of reporting; reading, checking and repairing are the same for all.
A new provider is a new row, or one more path in a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from energy_tracking.bounds import is_of_kind, read_whole
from energy_tracking.frozen import frozen
from energy_tracking.usage.reconciling import (
    ALSO_COUNTED,
    BESIDE_INPUT,
    PARTLY_COUNTED,
    Convention,
    reconcile_counts,
)
from energy_tracking.usage.token_usage import COUNTED_TWICE, MAX_TOKENS, WHOLE_OF, TokenUsage

Shape = Mapping[str, "str | Shape"]


@frozen(kw_only=True)
class Dialect(Convention):
    """One way of reporting tokens.

    Attributes:
        name: What the row is called.
        keys: Any one of these at the top marks the dialect.
        shape: The usage as the server nests it, and at each leaf the field of ``TokenUsage`` that
            is found there, or a name of ``reconciling``; of two leaves for one field the first with
            a count above 0 wins. Inside of a list a key is the ``modality`` of an entry.
        is_input_only: It reports what has no output: a chat's usage that is read by it has
            lost its output count.
    """

    name: str
    keys: frozenset[str]
    shape: Shape
    is_input_only: bool = False


DIALECTS: tuple[Dialect, ...] = (
    # OpenAI chat and completions; Azure, Mistral, Groq, DeepSeek, xAI, vLLM and so on.
    Dialect(
        name="openai-chat",
        keys=frozenset({"completion_tokens"}),
        shape={
            "prompt_tokens": "input_tokens",
            "completion_tokens": "output_tokens",
            "total_tokens": "total_tokens",
            "prompt_tokens_details": {
                "cached_tokens": "cached_input_tokens",
                "cache_write_tokens": "cache_write_input_tokens",
                "audio_tokens": "input_audio_tokens",
                "image_tokens": "input_image_tokens",
            },
            "completion_tokens_details": {
                "reasoning_tokens": "reasoning_tokens",
                "audio_tokens": "output_audio_tokens",
                "image_tokens": "output_image_tokens",
                "accepted_prediction_tokens": "accepted_prediction_tokens",
                "rejected_prediction_tokens": "rejected_prediction_tokens",
            },
            "prompt_token_details": {"cached_tokens": "cached_input_tokens"},
            "num_cached_tokens": "cached_input_tokens",
            "cached_tokens": "cached_input_tokens",
            "prompt_cache_hit_tokens": "cached_input_tokens",
            "cache_read_input_tokens": "cached_input_tokens",
            "cache_creation_input_tokens": "cache_write_input_tokens",
            "reasoning_tokens": "reasoning_tokens",
            "prompt_audio_seconds": PARTLY_COUNTED,  # Mistral
            # Of gateways that answer in two dialects at once; New API's are 0.
            "input_tokens": ALSO_COUNTED,
            "output_tokens": ALSO_COUNTED,
        },
        total_rules=True,
    ),
    Dialect(
        name="anthropic",
        keys=frozenset({"cache_read_input_tokens", "cache_creation_input_tokens"}),
        shape={
            "input_tokens": "input_tokens",
            "cache_read_input_tokens": "cached_input_tokens",
            "cache_creation_input_tokens": "cache_write_input_tokens",
            "output_tokens": "output_tokens",
            "output_tokens_details": {"thinking_tokens": "reasoning_tokens"},
            "total_tokens": "total_tokens",  # of gateways
            "prompt_tokens": ALSO_COUNTED,
        },
        cache_outside=True,
    ),
    # OpenAI Responses, images, batches; in the singular realtime, transcription, LangChain.
    Dialect(
        name="openai-responses",
        keys=frozenset(
            f"{whole}_{tokens}_details"
            for whole in ("input", "output")
            for tokens in ("tokens", "token")
        ),
        shape={
            "input_tokens": "input_tokens",
            "output_tokens": "output_tokens",
            "total_tokens": "total_tokens",
            "input_tokens_details": {
                "cached_tokens": "cached_input_tokens",
                "cache_write_tokens": "cache_write_input_tokens",
                "image_tokens": "input_image_tokens",
            },
            "output_tokens_details": {
                "reasoning_tokens": "reasoning_tokens",
                "thinking_tokens": "reasoning_tokens",
                "image_tokens": "output_image_tokens",
            },
            "input_token_details": {
                "cached_tokens": "cached_input_tokens",
                "cache_read": "cached_input_tokens",
                "cache_creation": "cache_write_input_tokens",
                "audio_tokens": "input_audio_tokens",
                "image_tokens": "input_image_tokens",
            },
            "output_token_details": {
                "reasoning": "reasoning_tokens",
                "audio_tokens": "output_audio_tokens",
            },
            "cached_tokens": "cached_input_tokens",
            "prompt_tokens": ALSO_COUNTED,
        },
        total_rules=True,
    ),
    # Gemini and Vertex: the names of the wire, then those of the SDK.
    Dialect(
        name="gemini",
        keys=frozenset({"promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount"}),
        shape={
            "promptTokenCount": "input_tokens",
            "candidatesTokenCount": "output_tokens",
            "thoughtsTokenCount": "reasoning_tokens",
            "totalTokenCount": "total_tokens",
            "cachedContentTokenCount": "cached_input_tokens",
            "toolUsePromptTokenCount": BESIDE_INPUT,
            "promptTokensDetails": {
                "AUDIO": {"tokenCount": "input_audio_tokens"},
                "IMAGE": {"tokenCount": "input_image_tokens"},
            },
            "candidatesTokensDetails": {
                "AUDIO": {"tokenCount": "output_audio_tokens"},
                "IMAGE": {"tokenCount": "output_image_tokens"},
            },
        },
        reasoning_outside=True,
        needs_output=False,
    ),
    Dialect(
        name="gemini-sdk",
        keys=frozenset({"prompt_token_count", "candidates_token_count", "thoughts_token_count"}),
        shape={
            "prompt_token_count": "input_tokens",
            "candidates_token_count": "output_tokens",
            "thoughts_token_count": "reasoning_tokens",
            "total_token_count": "total_tokens",
            "cached_content_token_count": "cached_input_tokens",
            "tool_use_prompt_token_count": BESIDE_INPUT,
            "prompt_tokens_details": {
                "AUDIO": {"token_count": "input_audio_tokens"},
                "IMAGE": {"token_count": "input_image_tokens"},
            },
            "candidates_tokens_details": {
                "AUDIO": {"token_count": "output_audio_tokens"},
                "IMAGE": {"token_count": "output_image_tokens"},
            },
        },
        reasoning_outside=True,
        needs_output=False,
    ),
    Dialect(
        name="gemini-interactions",
        keys=frozenset({"total_input_tokens", "total_output_tokens"}),
        shape={
            "total_input_tokens": "input_tokens",
            "total_output_tokens": "output_tokens",
            "total_thought_tokens": "reasoning_tokens",
            "total_tokens": "total_tokens",
            "total_cached_tokens": "cached_input_tokens",
            "total_tool_use_tokens": BESIDE_INPUT,
            "input_tokens_by_modality": {"image": {"tokens": "input_image_tokens"}},
        },
        reasoning_outside=True,
        needs_output=False,
    ),
    # The same on Vertex; other names of its are those of agents, too, with other meanings.
    Dialect(
        name="gemini-interactions-vertex",
        keys=frozenset({"totalThoughtTokens", "totalToolUseTokens"}),
        shape={
            "totalInputTokens": "input_tokens",
            "totalOutputTokens": "output_tokens",
            "totalThoughtTokens": "reasoning_tokens",
            "totalTokens": "total_tokens",
            "totalCachedTokens": "cached_input_tokens",
            "totalToolUseTokens": BESIDE_INPUT,
        },
        reasoning_outside=True,
        needs_output=False,
    ),
    Dialect(
        name="bedrock",
        keys=frozenset({"inputTokens", "outputTokens"}),
        shape={
            "inputTokens": "input_tokens",
            "outputTokens": "output_tokens",
            "totalTokens": "total_tokens",
            "cacheReadInputTokens": "cached_input_tokens",
            "cacheReadInputTokenCount": "cached_input_tokens",
            "cacheWriteInputTokens": "cache_write_input_tokens",
            "cacheWriteInputTokenCount": "cache_write_input_tokens",
        },
        cache_outside=True,
    ),
    # The `timings` of llama.cpp's server. What it took from its cache is not in `prompt_n`.
    # Source: https://github.com/ggml-org/llama.cpp/tree/master/tools/server#readme
    Dialect(
        name="llama.cpp",
        keys=frozenset({"predicted_n"}),
        shape={
            "prompt_n": "input_tokens",
            "cache_n": "cached_input_tokens",
            "predicted_n": "output_tokens",
        },
        cache_outside=True,
    ),
    # Billed units leave out what Cohere itself adds to the prompt.
    Dialect(
        name="cohere",
        keys=frozenset({"tokens", "billed_units"}),
        shape={
            "tokens": {"input_tokens": "input_tokens", "output_tokens": "output_tokens"},
            "billed_units": {"input_tokens": "input_tokens", "output_tokens": "output_tokens"},
            "cached_tokens": "cached_input_tokens",
        },
        needs_output=False,
    ),
    # Without details: TokenUsage's own names, svg_usage, Anthropic without a cache.
    Dialect(
        name="flat",
        keys=frozenset({"input_tokens", "output_tokens"}),
        shape={name: name for name in ("total_tokens", *WHOLE_OF.values(), *WHOLE_OF)}
        | {"reasoning_output_tokens": "reasoning_tokens", "prompt_tokens": ALSO_COUNTED},  # Codex
        total_rules=True,
    ),
    Dialect(
        name="openai-embeddings",
        keys=frozenset({"prompt_tokens"}),
        shape={"prompt_tokens": "input_tokens", "total_tokens": "total_tokens"},
        needs_output=False,
        total_rules=True,
        is_input_only=True,
    ),
    # Voyage's embeddings: a total of the input alone.
    Dialect(
        name="total-only",
        keys=frozenset({"total_tokens"}),
        shape={"total_tokens": "total_tokens"},
        needs_input=False,
        needs_output=False,
        is_input_only=True,
    ),
)

_INPUT_ONLY = frozenset(dialect.name for dialect in DIALECTS if dialect.is_input_only)


def output_fault(usage: TokenUsage) -> str | None:
    """Why the output of a call that generates may be wrong, where its usage has no output count."""
    if usage.repairs and usage.fault is not None:
        return usage.fault
    if usage.dialect not in _INPUT_ONLY:
        return None
    if usage.dialect == "total-only":
        return f"usage: only a total of {usage.total_tokens} can be read; taken for the input"
    if usage.total_tokens == usage.input_tokens:
        return None  # nothing was generated
    return "usage: The output count is missing; read as 0."


def read_usage(usage: object) -> TokenUsage | None:
    """Read the token counts of any provider's ``usage``; never raises.

    Args:
        usage: A mapping, an SDK's object, or a mixture of both; anything at all.

    Returns:
        The counts [tokens], brought to one meaning; None where there are none to read.
    """
    if usage is None or (type(usage) is TokenUsage and usage.holds_together):
        return usage
    repairs: list[str] = []
    try:
        for dialect in DIALECTS:
            if type(usage) is dict:
                if dialect.keys.isdisjoint(usage):
                    continue
            elif not _has_any(usage, dialect.keys):
                continue
            found: dict[str, int] = {}
            if type(usage) is not dict or not _collect_plain(usage, dialect.shape, found):
                found = {}
                _collect_counts(usage, dialect.shape, found, repairs)
            also_counted = ALSO_COUNTED in found and found.pop(ALSO_COUNTED)
            if len(found) > ("total_tokens" in found) or (found and not dialect.needs_input):
                if not also_counted:
                    return reconcile_counts(dialect.name, dialect, found, repairs)
                counts = _read_beside(usage, dialect, found, repairs)
                if counts is not None:
                    return counts
    except Exception:  # raised by somebody else's keys, numbers or classes
        return None
    return None


def _read_beside(
    usage: object, dialect: Dialect, found: dict[str, int], repairs: list[str]
) -> TokenUsage | None:
    """Read counts that another dialect's names have, too; None where only those count."""
    from energy_tracking.usage.two_dialects import WHOLE_BY_NAME, reconcile_beside  # rarely needed

    named: dict[str, int] = {}
    _collect_counts(usage, {name: name for name in WHOLE_BY_NAME}, named, [])
    return reconcile_beside(dialect.name, dialect, found, repairs, named)


def reports_tokens(usage: object) -> bool:
    """Whether a usage of any provider reports at least one token; never raises."""
    if type(usage) is dict and type(usage.get("total_tokens")) is int and usage["total_tokens"] > 0:
        return True  # most of them: no need to read the rest of every chunk's
    counts = read_usage(usage)
    return counts is not None and counts.input_tokens + counts.output_tokens > 0


def reports_output(usage: object) -> bool:
    """Whether a usage in OpenAI's names counts an output, so that nobody needs to."""
    outputs = usage.get("completion_tokens") if type(usage) is dict else None
    return type(outputs) is int and 0 < outputs <= MAX_TOKENS


def is_lower(usage: object, earlier: object) -> bool:
    """Whether a usage says less than an earlier one of the same call; never raises.

    Servers that report continuously report sums so far, which grow. With the same sum, more
    details say more, and a usage without a fault.

    Args:
        usage: The later usage, of any provider.
        earlier: The earlier one.
    """
    if _has_grown(usage, earlier):
        return False  # most of them: no need to read the rest of every chunk's
    after, before = read_usage(usage), read_usage(earlier)
    if after is None or before is None:
        return after is None
    growth = after.input_tokens + after.output_tokens - before.input_tokens - before.output_tokens
    if growth < 0 or after.output_tokens < before.output_tokens:
        return True
    has_lost = after.cached_input_tokens < before.cached_input_tokens or (
        after.fault is not None and before.fault is None
    )
    return growth == 0 and has_lost


def merge_halves(usage: object, earlier: object) -> object:
    """A usage completed by an earlier one, where each has what the other lacks; never raises.

    Args:
        usage: The later usage, of any provider.
        earlier: The earlier one.

    Returns:
        Both in one where that has input and output; else the later one.
    """
    if type(usage) is not dict or type(earlier) is not dict or _has_grown(usage, earlier):
        return usage  # most of them: no need to read the rest of every chunk's
    after = read_usage(usage)
    if after is None or (after.fault is None and after.input_tokens and after.output_tokens):
        return usage
    # The total of a half is none of the whole.
    given = {name: count for name, count in usage.items() if count is not None}
    both = {name: count for name, count in (earlier | given).items() if name != "total_tokens"}
    merged = read_usage(both)
    if merged is None or merged.fault is not None:
        return usage
    return both if merged.input_tokens and merged.output_tokens else usage


def _has_grown(usage: object, earlier: object) -> bool:
    """Whether the counts of two usages in OpenAI's names are larger in the later one."""
    if type(usage) is not dict or type(earlier) is not dict:
        return False
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    pairs: list[tuple[Any, Any]] = [(usage.get(name), earlier.get(name)) for name in names]
    if any(type(after) is not int or type(before) is not int for after, before in pairs):
        return False
    return pairs[2][0] > pairs[2][1] and all(after >= before > 0 for after, before in pairs)


_ABSENT = object()


def _look_up(source: object, key: str) -> object:
    """What ``source`` has under ``key``; in a list, the entry of that modality."""
    try:
        if isinstance(source, Mapping):
            return source.get(key, _ABSENT)
        if isinstance(source, list | tuple):
            return next((entry for entry in source if _look_up(entry, "modality") == key), _ABSENT)
        return getattr(source, key, _ABSENT)
    except Exception:  # raised by somebody else's mapping or property
        return _ABSENT


def _has_any(usage: object, keys: frozenset[str]) -> bool:
    """Whether one of these keys is there, null or not.

    Args:
        usage: A mapping or an object.
        keys: The keys.
    """
    return any(_look_up(usage, key) is not _ABSENT for key in keys)


def _collect_plain(source: dict[str, Any], shape: Shape, found: dict[str, int]) -> bool:
    """Add the counts of ``source`` to ``found`` in one pass over what there is.

    Returns:
        Whether every one is a plain count, and no two of one field differ. Else all are to be
        collected in the order of ``shape``.
    """
    for key, value in source.items():
        if value is None:
            continue
        field = shape.get(key)
        if type(field) is str:
            if type(value) is not int or not 0 <= value <= MAX_TOKENS:
                return False
            if found.setdefault(field, value) is not value:
                return False
        elif field is not None and (
            type(value) is not dict or not _collect_plain(value, field, found)  # type: ignore[arg-type]
        ):
            return False
    return True


def _collect_counts(
    source: object, shape: Shape, found: dict[str, int], repairs: list[str]
) -> None:
    """Add the counts that ``source`` has in the places of ``shape`` to ``found``."""
    get = source.get if type(source) is dict else partial(_look_up, source)
    for key, field in shape.items():
        value = get(key)
        if value is None or value is _ABSENT:
            continue
        if not isinstance(field, str):
            _collect_counts(value, field, found, repairs)
        elif found.get(field):
            # Of cached tokens, say; of wholes a dialect may have a second with another meaning.
            is_other = type(value) is int and 0 < value <= MAX_TOKENS and value != found[field]
            if is_other and field in WHOLE_OF:
                repairs.append(
                    f"{field} {COUNTED_TWICE}, as {found[field]} and {value}; first kept."
                )
        elif type(value) is int and 0 <= value <= MAX_TOKENS:
            found[field] = value
        else:
            count, remark = _read_count(value)
            if remark:
                repairs.append(f"{field}: {key} {remark}.")
            if count is not None:
                found[field] = count


def _read_count(value: object) -> tuple[int | None, str]:
    """A value as a count, and what there is to say about it."""
    kind = type(value)
    count = read_whole(value, MAX_TOKENS)
    if count is not None:
        is_whole = is_of_kind(value, "Integral")
        return count, "" if is_whole else f"is a {kind.__name__}; read as {count}"
    if kind is bool or not (isinstance(value, str) or is_of_kind(value, "Number")):
        # Objects pass in silence: a mock has every attribute, and none is a count.
        return None, "is not a number; dropped" if kind in (bool, dict, list) else ""
    try:
        number = float(value)  # type: ignore[arg-type]
    except Exception:  # not a number, over 1e308, or a number class of somebody else's
        return None, "is not a number, or far too large; dropped"
    return None, f"is {number:g}{', not whole' * (0 <= number <= MAX_TOKENS)}; dropped"
