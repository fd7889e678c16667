"""Which attributes of a span hold what about an LLM call, by instrumentation.

A span of any GenAI instrumentation, open in this process or read from a file, is a mapping of
attribute names to values. Tables say where the counts, the names and the kind of span are; the
counts then go through ``read_usage`` like those of a response. A new instrumentation is a row
in these tables.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Generic, Protocol, TypeVar

from energy_tracking.bounds import read_whole
from energy_tracking.frozen import fill_fields, frozen
from energy_tracking.usage.details import flatten_details
from energy_tracking.usage.dialects import read_usage
from energy_tracking.usage.names import text_of
from energy_tracking.usage.token_usage import MAX_TOKENS, TokenUsage

LLM_OPERATIONS = frozenset(
    {"chat", "text_completion", "embeddings", "generate_content", "image_generation"}
)
"""Operations that stand for one LLM call; agents, tools and HTTP servers do not."""

BESIDE_OUTPUT = "gen_ai.usage.experimental.reasoning_tokens"
"""Where Google's ADK before 2.3 counts what its output leaves out.

Source: https://github.com/google/adk-python (src/google/adk/telemetry/tracing.py)
"""
# Count -> span attributes that may hold it, most reliable first. Names without a remark are
# those of the GenAI semantic conventions, of today and of earlier versions.
USAGE_ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "input_tokens": (
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.prompt_tokens",
        "gen_ai.response.prompt_tokens",  # early Semantic Kernel
        "llm.token_count.prompt",  # OpenInference
        "llm.usage.prompt_tokens",  # early OpenLLMetry
        "ai.usage.inputTokens",  # Vercel's AI SDK
        "ai.usage.promptTokens",
        "ai.usage.tokens",
        *("usage.inputTokens", "usage.promptTokens"),  # Mastra
        "ai.prompt_tokens.used",  # early Sentry
        "ai.observability.cost.num_prompt_tokens",  # TruLens, and Snowflake with it
    ),
    "output_tokens": (
        "gen_ai.usage.output_tokens",
        "gen_ai.usage.completion_tokens",
        "gen_ai.response.completion_tokens",
        "llm.token_count.completion",
        "llm.usage.completion_tokens",
        "ai.usage.outputTokens",
        "ai.usage.completionTokens",
        *("usage.outputTokens", "usage.completionTokens"),
        "ai.completion_tokens.used",
        "ai.observability.cost.num_completion_tokens",
    ),
    "total_tokens": (
        "gen_ai.usage.total_tokens",
        "llm.token_count.total",
        "llm.usage.total_tokens",
    ),
    "cached_input_tokens": (
        "gen_ai.usage.cache_read.input_tokens",
        "gen_ai.usage.cache_read_input_tokens",
        "gen_ai.usage.details.cache_read_tokens",  # Pydantic AI
        "gen_ai.usage.input_tokens.cached",  # Sentry
        "gen_ai.usage.cached_tokens",  # Langtrace
        "gen_ai.usage.details.cached_tokens",  # Pydantic AI, of a model of OpenAI's
        "gen_ai.usage.prompt_tokens_details.cached_tokens",  # Weave
        "gen_ai.usage.input_tokens_details.cached_tokens",
        "llm.token_count.prompt_details.cache_read",
        "ai.usage.cachedInputTokens",
        "ai.usage.inputTokenDetails.cacheReadTokens",
        "usage.inputDetails.cacheRead",
    ),
    "cache_write_input_tokens": (
        "gen_ai.usage.cache_write.input_tokens",
        "gen_ai.usage.cache_creation.input_tokens",
        "gen_ai.usage.cache_creation_input_tokens",
        "gen_ai.usage.details.cache_write_tokens",
        "gen_ai.usage.input_tokens.cache_write",
        "llm.token_count.prompt_details.cache_write",
        "ai.usage.inputTokenDetails.cacheWriteTokens",
        "usage.inputDetails.cacheWrite",
    ),
    "reasoning_tokens": (
        "gen_ai.usage.reasoning.output_tokens",
        "gen_ai.usage.reasoning_tokens",  # OpenLLMetry
        "gen_ai.usage.details.reasoning_tokens",
        BESIDE_OUTPUT,
        "gen_ai.usage.output_tokens.reasoning",
        "llm.token_count.completion_details.reasoning",
        "ai.usage.reasoningTokens",
        "ai.usage.outputTokenDetails.reasoningTokens",
        "usage.outputDetails.reasoning",
    ),
}
# Attributes that hold a usage in JSON, which says more than counts beside it. Logfire's is the
# usage as the server sent it.
JSON_USAGES: dict[str, Callable[[Any], Any]] = {
    "gen_ai.usage.raw": lambda usage: usage,
    "langfuse.observation.usage_details": flatten_details,
    "mlflow.chat.tokenUsage": lambda usage: usage,
    "llm.token.counts": lambda usage: usage,  # early Langtrace
}
# Attributes that hold parts of the counts beside them in JSON, and the counts that those are.
JSON_PARTS: dict[str, dict[str, str]] = {
    # Source: https://github.com/langchain-ai/langsmith-sdk (_otel_exporter)
    "gen_ai.usage.input_token_details": {
        "cache_read": "cached_input_tokens",
        "cache_creation": "cache_write_input_tokens",
    },
    "gen_ai.usage.output_token_details": {"reasoning": "reasoning_tokens"},
}
COUNTS = (*USAGE_ATTRIBUTES["input_tokens"], *USAGE_ATTRIBUTES["output_tokens"], *JSON_USAGES)
_COUNTS = frozenset(COUNTS)

FACT_ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "request_model": (
        *("gen_ai.request.model", "llm.request.model", "ai.model.id", "model"),
        *("ai.model_id", "ai.observability.cost.model"),
        "traceloop.association.properties.ls_model_name",  # LangChain's, by OpenLLMetry
    ),
    "response_model": (
        *("gen_ai.response.model", "llm.model_name", "embedding.model_name", "ai.response.model"),
        *("langfuse.observation.model.name", "mlflow.llm.model", "llm.response.model"),
        *("llm.model", "responseModel"),
    ),
    "response_id": ("gen_ai.response.id", "ai.response.id"),
    "provider": (
        *("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system"),
        *("mlflow.llm.provider", "provider"),
    ),
}
UNKNOWN = "unknown"
"""What an attribute says that knows no name, where another one may."""
_NO_FACTS: dict[str, Any] = dict.fromkeys(("operation", "usage", *FACT_ATTRIBUTES))
# OpenInference keeps the response itself, whose id comes first where there is one.
RESPONSE_BODY = "output.value"
_BODY_ID = re.compile(r'\{"id":\s*"([^"]+)"')

# Attribute -> its values that mean one call, and the operation meant. The first of these
# attributes that a span has decides; a span with none of them is taken for a call.
CALL_KINDS: tuple[tuple[str, Mapping[str, str]], ...] = (
    (
        "gen_ai.operation.name",
        {name: name for name in LLM_OPERATIONS}
        | {
            "completion": "text_completion",
            "embedding": "embeddings",
            "image": "image_generation",
            "response": "chat",
            "responses": "chat",
            "chat.completions": "chat",
            "text.completions": "text_completion",
        },
    ),
    ("openinference.span.kind", {"LLM": "chat", "EMBEDDING": "embeddings"}),
    ("traceloop.span.kind", {}),
    # Source: https://docs.langchain.com/langsmith/trace-with-opentelemetry
    ("langsmith.span.kind", {"llm": "chat", "LLM": "chat", "embedding": "embeddings"}),
    ("langfuse.observation.type", {"generation": "chat", "embedding": "embeddings"}),
    # MLflow writes its attributes as JSON.
    ("mlflow.spanType", {'"CHAT_MODEL"': "chat", '"LLM"': "chat", '"EMBEDDING"': "embeddings"}),
    # Its spans around these are the same calls again, or sums of several.
    # Source: https://ai-sdk.dev/docs/ai-sdk-core/telemetry
    (
        "ai.operationId",
        {
            f"ai.{function}": "chat"
            for function in (
                *("generateText.doGenerate", "generateObject.doGenerate"),
                *("streamText.doStream", "streamObject.doStream"),
            )
        }
        | {"ai.embed.doEmbed": "embeddings", "ai.embedMany.doEmbed": "embeddings"},
    ),
    (
        "llm.request.type",
        {"chat": "chat", "completion": "text_completion", "embedding": "embeddings"},
    ),
)

SYSTEMS = ("gen_ai.system", "gen_ai.provider.name")
"""Attributes of a span that is about GenAI, whatever else it says of itself."""

Attributes = Mapping[str, Any]


class Counts(Protocol):
    """Token counts: a ``TokenUsage``, or what readers of logs make of plain ones."""

    @property
    def input_tokens(self) -> int: ...
    @property
    def output_tokens(self) -> int: ...


U = TypeVar("U", bound=Counts)


@frozen()
class SpanFacts(Generic[U]):
    """What a span says of the call it stands for.

    Attributes:
        operation: ``gen_ai.operation.name`` of the convention.
        usage: The tokens, as they were read.
        request_model: The model asked for.
        response_model: The model that answered.
        response_id: The server's id of the response.
        provider: ``gen_ai.provider.name``, as the span has it.
    """

    operation: str
    usage: U
    request_model: str | None
    response_model: str | None
    response_id: str | None
    provider: str | None

    @property
    def model(self) -> str | None:
        """The model as a record of the same call names it."""
        return self.response_model or self.request_model


def stands_for_a_call(attributes: Attributes) -> bool:
    """Whether an open span, whose tokens are not known yet, stands for one LLM call."""
    if not attributes:
        return False
    for name, operations in CALL_KINDS:
        value = attributes.get(name)
        if value is not None:
            return str(value) in operations
    return any(name in attributes for name in SYSTEMS)


def kind_of(attributes: Attributes) -> str | None:
    """What a span says that it is, by the attribute that decides; None where it says nothing."""
    values = (attributes.get(name) for name, _ in CALL_KINDS)
    return next((str(value) for value in values if value is not None), None)


def span_facts(attributes: Attributes) -> SpanFacts[TokenUsage] | None:
    """The call a span stands for; None where it stands for none, or has no tokens."""
    facts = read_span(attributes, read_usage)
    return None if facts is None else fill_fields(SpanFacts, facts)


def read_span(
    attributes: Attributes, read_counts: Callable[[object], Counts | None]
) -> dict[str, Any] | None:
    """The same by the names of ``SpanFacts``, the counts read in another way.

    Args:
        attributes: The span's.
        read_counts: Reads a usage, or the counts of a span by their names in ``TokenUsage``.
    """
    if _COUNTS.isdisjoint(attributes):
        return None
    operation = _operation_of(attributes)
    if operation is None:
        return None
    counts, named, in_json = _find_attributes(attributes)
    usage = _read_json(in_json, read_counts) if in_json else None
    if usage is None:
        if in_json:
            counts = _parts_in_json(in_json) | counts
        usage = read_counts(_complete_counts(counts, attributes, operation))
    if usage is None or not usage.input_tokens + usage.output_tokens:
        return None
    facts = _NO_FACTS.copy()
    facts["operation"], facts["usage"] = operation, usage
    for name, value in named.items():
        fact = text_of(value)
        # MLflow writes names as JSON, too.
        facts[name] = fact and fact.strip('"')
    if facts["response_id"] is None and RESPONSE_BODY in attributes:
        body_id = _BODY_ID.match(str(attributes[RESPONSE_BODY])[:200])
        facts["response_id"] = body_id and text_of(body_id[1])
    return facts


def has_tokens(attributes: Attributes) -> bool:
    """Whether a span has tokens, of a call or of those inside of it."""
    # Most have none.
    return not _COUNTS.isdisjoint(attributes) and any(map(attributes.get, COUNTS))


def _operation_of(attributes: Attributes) -> str | None:
    """The operation of the call a span stands for; None where it stands for none."""
    for name, operations in CALL_KINDS:
        value = attributes.get(name)
        if value is not None:
            return operations.get(str(value))
    return "chat"


def _read_json(
    in_json: Mapping[str, Any], read_counts: Callable[[object], Counts | None]
) -> Counts | None:
    """The first usage in JSON that can be read; None where none can."""
    for name, read in JSON_USAGES.items():
        if isinstance(raw := in_json.get(name), str):
            try:
                usage = read_counts(read(json.loads(raw)))
            except ValueError:  # cut off by an attribute length limit, say
                usage = None
            if usage is not None:
                return usage
    return None


def _parts_in_json(in_json: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of counts that are kept in JSON, by their names in ``TokenUsage``."""
    found: dict[str, Any] = {}
    for attribute, parts in JSON_PARTS.items():
        try:
            details = json.loads(in_json[attribute])
        except (KeyError, TypeError, ValueError):
            continue
        if isinstance(details, dict):
            found |= {name: details[part] for part, name in parts.items() if part in details}
    return found


def _complete_counts(
    counts: dict[str, Any], attributes: Attributes, operation: str
) -> dict[str, Any]:
    """Counts with what their names leave out."""
    if operation == "embeddings":
        counts.setdefault("output_tokens", 0)
    if BESIDE_OUTPUT in attributes and "total_tokens" not in counts:
        written = (counts.get("output_tokens"), attributes[BESIDE_OUTPUT])
        counts["output_tokens"] = sum(read_whole(count, MAX_TOKENS) or 0 for count in written)
    return counts


_TABLES: tuple[Mapping[str, tuple[str, ...]], ...] = (
    *(USAGE_ATTRIBUTES, FACT_ATTRIBUTES),
    {name: (name,) for name in (*JSON_USAGES, *JSON_PARTS)},
)
# Attribute -> which of these tables has it, what it may hold, how reliable it is: 0 most of all.
_PLACES = {
    attribute: (table, name, rank)
    for table, names in enumerate(_TABLES)
    for name, attributes in names.items()
    for rank, attribute in enumerate(attributes)
}


CALL_ATTRIBUTES = frozenset({*_PLACES, *dict(CALL_KINDS), RESPONSE_BODY})
"""Attributes that ``read_span`` and ``has_tokens`` look at."""


def _find_attributes(
    attributes: Attributes,
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The counts, the facts and the usages in JSON, each from the most reliable that holds it."""
    tables: tuple[dict[str, Any], dict[str, Any], dict[str, Any]] = ({}, {}, {})
    # Of those that are not held by the most reliable attribute there is.
    ranks: dict[str, int] = {}
    for attribute, value in attributes.items():
        place = _PLACES.get(attribute)
        if place is not None and value is not None and value != UNKNOWN:
            table, name, rank = place
            found = tables[table]
            if name not in found or rank <= ranks.get(name, 0):
                found[name] = value
                if rank or ranks:
                    ranks[name] = rank
    return tables
