"""Anything with token counts becomes one ``TokenUsage``, by a table of dialects.

Providers disagree on the names of the counts and on what contains what. ``DIALECTS``
has one row per way of reporting; reading, checking and repairing are the same for all.
A new provider is a new row, or one more path in a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from numbers import Integral, Real

MAX_TOKENS = 1_000_000_000
"""Above this a count is a mistake [tokens]; no model takes or gives as much in one call."""


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens of one call, each count a whole number >= 0 inside its whole.

    Attributes:
        input_tokens: The whole prompt: cached and cache-written tokens, audio, images
            and the prompts of server-side tools included.
        cached_input_tokens: Part of ``input_tokens``, read from a prompt cache.
        cache_write_input_tokens: Part of ``input_tokens``, written to a prompt cache;
            no token is both cached and cache-written.
        output_tokens: Everything generated: reasoning, audio, images, and predicted
            tokens whether accepted or rejected included.
        reasoning_tokens: Part of ``output_tokens``; None if the server did not say.
        input_audio_tokens: Part of ``input_tokens``.
        input_image_tokens: Part of ``input_tokens``.
        output_audio_tokens: Part of ``output_tokens``.
        output_image_tokens: Part of ``output_tokens``.
        accepted_prediction_tokens: Part of ``output_tokens``.
        rejected_prediction_tokens: Part of ``output_tokens``.
        total_tokens: As reported, right or wrong; None if the server did not say.
        dialect: Name of the row of ``DIALECTS`` that read the counts.
        repairs: What was wrong and what was done about it, one sentence each.
        estimated: Names of the counts that were estimated from text, not reported.
    """

    input_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_input_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int | None = None
    input_audio_tokens: int = 0
    input_image_tokens: int = 0
    output_audio_tokens: int = 0
    output_image_tokens: int = 0
    accepted_prediction_tokens: int = 0
    rejected_prediction_tokens: int = 0
    total_tokens: int | None = None
    dialect: str = ""
    repairs: tuple[str, ...] = ()
    estimated: tuple[str, ...] = ()

    @property
    def uncached_input_tokens(self) -> int:
        """Tokens of the prompt that had to be computed [tokens]."""
        return self.input_tokens - self.cached_input_tokens


WHOLE_OF: Mapping[str, str] = {
    "cached_input_tokens": "input_tokens",
    "cache_write_input_tokens": "input_tokens",
    "input_audio_tokens": "input_tokens",
    "input_image_tokens": "input_tokens",
    "reasoning_tokens": "output_tokens",
    "output_audio_tokens": "output_tokens",
    "output_image_tokens": "output_tokens",
    "accepted_prediction_tokens": "output_tokens",
    "rejected_prediction_tokens": "output_tokens",
}
"""Each part in a ``TokenUsage`` and the count that contains it."""

BESIDE_INPUT = "beside_input"
"""At a leaf: a prompt count that the server keeps out of its input count."""

Shape = Mapping[str, "str | Shape"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One way of reporting tokens.

    Attributes:
        name: What the row is called.
        keys: Any one of these at the top marks the dialect.
        shape: The usage as the server nests it, and at each leaf the field of
            ``TokenUsage`` that is found there; if two leaves name one field, the first
            with a count wins. Inside of a list a key is the ``modality`` of an entry.
        cache_outside: The input count leaves out cached and cache-written tokens.
        reasoning_outside: The output count leaves out the reasoning.
        needs_input: An absent input count is a fault; else the total is the input.
        needs_output: An absent output count is a fault; else nothing was generated.
        total_rules: A total above input plus output is right, and the output too low:
            servers that copy OpenAI's names may leave the reasoning out of the output.
    """

    name: str
    keys: frozenset[str]
    shape: Shape
    cache_outside: bool = False
    reasoning_outside: bool = False
    needs_input: bool = True
    needs_output: bool = True
    total_rules: bool = False


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
        shape={name: name for name in ("total_tokens", *WHOLE_OF.values(), *WHOLE_OF)},
        total_rules=True,
    ),
    Dialect(
        name="openai-embeddings",
        keys=frozenset({"prompt_tokens"}),
        shape={"prompt_tokens": "input_tokens", "total_tokens": "total_tokens"},
        needs_output=False,
    ),
    # Voyage's embeddings: a total of the input alone.
    Dialect(
        name="total-only",
        keys=frozenset({"total_tokens"}),
        shape={"total_tokens": "total_tokens"},
        needs_input=False,
        needs_output=False,
    ),
)


def read_usage(usage: object) -> TokenUsage | None:
    """Read the token counts of any provider's ``usage``; never raises.

    Args:
        usage: A mapping, an SDK's object, or a mixture of both; anything at all.

    Returns:
        The counts [tokens], brought to one meaning; None where there are none to read.
    """
    if usage is None or type(usage) is TokenUsage:
        return usage
    repairs: list[str] = []
    try:
        for dialect in DIALECTS:
            if _speaks(usage, dialect):
                found: dict[str, int] = {}
                _collect(usage, dialect.shape, found, repairs)
                if found.keys() - {"total_tokens"} or (found and not dialect.needs_input):
                    return _settled(dialect, found, repairs)
    except Exception:  # raised by somebody else's keys, numbers or classes
        return None
    return None


_ABSENT = object()


def _step(source: object, key: str) -> object:
    """What ``source`` has under ``key``; in a list, the entry of that modality."""
    try:
        if isinstance(source, Mapping):
            return source.get(key, _ABSENT)
        if isinstance(source, list | tuple):
            return next((entry for entry in source if _step(entry, "modality") == key), _ABSENT)
        return getattr(source, key, _ABSENT)
    except Exception:  # raised by somebody else's mapping or property
        return _ABSENT


def _speaks(usage: object, dialect: Dialect) -> bool:
    """Whether a key of the dialect is there, null or not."""
    if type(usage) is dict:
        return not dialect.keys.isdisjoint(usage)
    return any(_step(usage, key) is not _ABSENT for key in dialect.keys)


def _collect(source: object, shape: Shape, found: dict[str, int], repairs: list[str]) -> None:
    """Add the counts that ``source`` has in the places of ``shape`` to ``found``."""
    get = source.get if type(source) is dict else partial(_step, source)
    for key, field in shape.items():
        value = get(key)
        if value is None or value is _ABSENT:
            continue
        if not isinstance(field, str):
            _collect(value, field, found, repairs)
        elif field in found:
            continue
        elif type(value) is int and 0 <= value <= MAX_TOKENS:
            found[field] = value
        else:
            count, remark = _count(value)
            if remark:
                repairs.append(f"{field}: {key} {remark}.")
            if count is not None:
                found[field] = count


def _count(value: object) -> tuple[int | None, str]:
    """A value as a count, and what there is to say about it."""
    kind = type(value)
    if kind is bool or not issubclass(kind, Real | str):
        # Objects pass in silence: a mock has every attribute, and none is a count.
        return None, "is not a number; dropped" if kind in (bool, dict, list) else ""
    try:
        number = float(value)  # type: ignore[arg-type]
    except Exception:  # not a number, over 1e308, or a number class of somebody else's
        return None, "is not a number, or far too large; dropped"
    if not 0 <= number <= MAX_TOKENS:
        return None, f"is {number:g}; dropped"
    if number % 1:
        return None, f"is {number:g}, not whole; dropped"
    if issubclass(kind, Integral):
        return int(number), ""
    return int(number), f"is a {kind.__name__}; read as {int(number)}"


def _settled(dialect: Dialect, found: dict[str, int], repairs: list[str]) -> TokenUsage:
    """Bring one dialect's counts to the meaning of ``TokenUsage``, and make them agree."""
    inputs, outputs = found.get("input_tokens"), found.get("output_tokens")
    total, reasoning = found.get("total_tokens"), found.get("reasoning_tokens", 0)
    in_cache = found.get("cached_input_tokens", 0) + found.get("cache_write_input_tokens", 0)
    beside_input = found.pop(BESIDE_INPUT, 0) + (in_cache if dialect.cache_outside else 0)
    beside_output = reasoning if dialect.reasoning_outside else 0

    unassigned = (total or 0) - beside_input - beside_output
    if inputs is None:
        inputs = max(0, unassigned - (outputs or 0))
        if dialect.needs_input:
            repairs.append(f"The input count is missing; read as {inputs}.")
    if outputs is None:
        outputs = max(0, unassigned - inputs) if dialect.needs_output else 0
        if dialect.needs_output:
            repairs.append(f"The output count is missing; read as {outputs}.")
    inputs += beside_input
    outputs += beside_output

    surplus = 0 if total is None else total - inputs - outputs
    cache_in_surplus = dialect.total_rules and 0 < surplus == in_cache != reasoning
    if in_cache > inputs or cache_in_surplus:
        # A proxy passed on Anthropic's input count, which is without the cached tokens.
        inputs = inputs + in_cache if surplus == in_cache else in_cache
        repairs.append(f"{in_cache} cached tokens are not in the input; raised to {inputs}.")
    elif surplus > 0 and dialect.total_rules:
        outputs += surplus
        what = "the reasoning" if surplus == reasoning else "more"
        repairs.append(f"The total has {what} beside the output; output raised to {outputs}.")
    elif surplus:
        repairs.append(f"The total is {total}, input and output are {inputs + outputs}; kept.")
    if reasoning > outputs:
        # Energy is for tokens generated, and the server names that many generated tokens. A
        # total that disagrees decides nothing: it may be of the very count that is wrong.
        repairs.append(f"{reasoning} reasoning tokens exceed the output of {outputs}; raised.")
        outputs = reasoning

    found["input_tokens"], found["output_tokens"] = inputs, outputs
    for part, whole in WHOLE_OF.items():
        if found.get(part, 0) > found[whole]:
            repairs.append(f"{found[part]} {part} exceed their whole; cut to {found[whole]}.")
            found[part] = found[whole]
    return TokenUsage(**found, dialect=dialect.name, repairs=tuple(repairs), estimated=())
