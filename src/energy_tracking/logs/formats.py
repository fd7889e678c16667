"""Where files of responses keep what we read: the output of batches, and logs.

``FORMATS`` has one row per way of keeping a response in a line of JSON, and reading is the
same for all. A new format is a new row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from energy_tracking.usage.dialects import TokenUsage, read_usage
from energy_tracking.usage.payloads import (
    ResponseFacts,
    identity_in,
    measured_energy_in,
    response_facts,
)

Path = tuple[str, ...]
"""The keys that lead from a line to what is looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFormat:
    """One way of keeping a response in a line.

    Attributes:
        name: What the row is called.
        keys: All of these at the top mark the format.
        body: Where the response is.
        ids: Where there are ids of the request.
        errors: Where it is said what failed, the most exact first.
        provider: ``gen_ai.provider.name``.
        operation: ``gen_ai.operation.name``; None where the response itself tells.
        needs_usage: A line without token counts is something else.
    """

    name: str
    keys: frozenset[str] = frozenset()
    body: Path = ()
    ids: tuple[Path, ...] = ()
    errors: tuple[Path, ...] = (("error",),)
    provider: str = "unknown"
    operation: str | None = None
    needs_usage: bool = False


# A row with more keys stands before those with fewer.
FORMATS: tuple[LogFormat, ...] = (
    # Source: https://platform.claude.com/docs/en/api/messages/batches/results
    LogFormat(
        name="anthropic-batch",
        keys=frozenset({"custom_id", "result"}),
        body=("result", "message"),
        ids=(("custom_id",),),
        errors=(("result", "error"), ("result", "type")),
        provider="anthropic",
        operation="chat",
    ),
    # Source: https://cloud.google.com/vertex-ai/generative-ai/docs/multimodal/batch-prediction-from-cloud-storage
    LogFormat(
        name="vertex-batch",
        keys=frozenset({"request", "status", "processed_time"}),
        body=("response",),
        errors=(("status",),),
        provider="gcp.vertex_ai",
        operation="generate_content",
    ),
    # Source: https://cloud.google.com/vertex-ai/generative-ai/docs/partner-models/claude-batch
    LogFormat(
        name="vertex-claude-batch",
        keys=frozenset({"custom_id", "request", "status"}),
        body=("response",),
        ids=(("custom_id",),),
        errors=(("status",),),
        provider="gcp.vertex_ai",
        operation="chat",
    ),
    # Azure OpenAI, Mistral, Together and vLLM write the same. A refused request has its
    # error in the body, or only a status, which may be 0.
    # Source: https://platform.openai.com/docs/api-reference/batch/request-output
    # Source: https://github.com/openai/openai-openapi/issues/302
    # Source: https://github.com/tidyverse/ellmer/issues/830
    LogFormat(
        name="openai-batch",
        keys=frozenset({"custom_id"}),
        body=("response", "body"),
        ids=(("id",), ("custom_id",)),
        errors=(("error",), ("response", "body", "error"), ("response", "status_code")),
        provider="openai",
    ),
    # Source: https://ai.google.dev/gemini-api/docs/batch-api
    LogFormat(
        name="gemini-batch",
        keys=frozenset({"key"}),
        body=("response",),
        ids=(("key",),),
        provider="gcp.gemini",
        operation="generate_content",
    ),
    # Source: https://docs.aws.amazon.com/bedrock/latest/userguide/batch-inference-results.html
    LogFormat(
        name="bedrock-batch",
        keys=frozenset({"modelInput"}),
        body=("modelOutput",),
        ids=(("recordId",),),
        provider="aws.bedrock",
        operation="chat",
    ),
    # Logs of responses as they came, beside other things or alone.
    LogFormat(
        name="logged-response",
        keys=frozenset({"response"}),
        body=("response",),
        errors=(("response", "error"),),
        needs_usage=True,
    ),
    LogFormat(name="response", needs_usage=True),
)

# By a response's `object`, or where it has none, as moderations and images, by a key.
OPERATIONS = {
    "text_completion": "text_completion",
    "list": "embeddings",
    "results": "moderation",
    "data": "image_generation",
}

# Where an error says what it is, the most exact first.
ERROR_NAMES = ("error", "status", "code", "errorCode", "type")
NO_ERRORS = frozenset({"", "succeeded", *range(200, 300)})
ERROR_NAME_LENGTH = 64


@dataclass(frozen=True, slots=True)
class LoggedResponse:
    """What a line says of one call.

    Attributes:
        identity: What another line of the same call would say too; None where nothing
            tells one call from the next.
        provider: ``gen_ai.provider.name``.
        operation: ``gen_ai.operation.name``.
        model: The model that answered.
        response_id: The server's id of the response.
        usage: Token counts; None where there are none.
        measured_energy_joules: The energy as the server measured it [J], if it did.
        error_type: What failed; None where nothing did.
    """

    identity: tuple[object, ...] | None
    provider: str
    operation: str
    model: str | None
    response_id: str | None
    usage: TokenUsage | None
    measured_energy_joules: float | None
    error_type: str | None


def logged_response(line: Mapping[str, Any]) -> LoggedResponse | None:
    """What a line of any of the formats says; None where it is of none."""
    # A ledger's lines have a usage too. They were counted when they were written.
    if "ledger" in line:
        return None
    read = (_read(line, row) for row in FORMATS if row.keys <= line.keys())
    return next(filter(None, read), None)


def _read(line: Mapping[str, Any], row: LogFormat) -> LoggedResponse | None:
    body = _at(line, row.body)
    error_type = next(filter(None, (_error_name(_at(line, path)) for path in row.errors)), None)
    if not isinstance(body, Mapping):
        if error_type is None:
            return None
        body = {}
    response_id, model, _ = identity_in(body)
    facts = response_facts(body) or ResponseFacts(None, model, response_id)
    usage = read_usage(facts.usage)
    if usage is None and row.needs_usage:
        return None
    found = (facts.response_id, *(_at(line, path) for path in row.ids))
    ids = tuple(one for one in found if isinstance(one, str | int))
    # Ollama draws its ids from 999: https://github.com/ollama/ollama/pull/15089
    identity = (*ids, str(body.get("created")), usage) if ids else None
    return LoggedResponse(
        identity,
        row.provider,
        row.operation or _operation(body),
        facts.model,
        facts.response_id,
        usage,
        measured_energy_in(body),
        error_type,
    )


def _at(line: object, path: Path) -> object:
    for key in path:
        line = line.get(key) if isinstance(line, Mapping) else None
    return line


def _operation(body: Mapping[str, Any]) -> str:
    named = body.get("object")
    words = (named,) if isinstance(named, str) else body
    return next((OPERATIONS[word] for word in words if word in OPERATIONS), "chat")


def _error_name(told: object) -> str | None:
    """What to call an error; None where there is none."""
    if isinstance(told, Mapping):
        names = filter(None, (_error_name(told.get(name)) for name in ERROR_NAMES))
        return next(names, "error") if told else None
    if type(told) not in (str, int) or told in NO_ERRORS:
        return None
    # A message may follow, and quote what was asked.
    name = str(told).partition(":")[0].strip()
    return name if name.isprintable() and 0 < len(name) <= ERROR_NAME_LENGTH else "error"
