"""Responses as servers sent them: alone, in a batch's output, or beside other things in a log.

``ResponseAt`` is the reader of all rows that keep one response at one place; which place, and
what else is beside it, are its fields.

A new format is a row of ``RESPONSES`` or ``BATCHES``, with the source of what it says, and a
sample in the tests.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from energy_tracking.logs.columns import NAMES, TURNS
from energy_tracking.logs.formats.base import (
    Document,
    LogFile,
    LogFormat,
    at,
    first_text,
    identify,
    keys,
    leaves_out,
    mappings,
    text,
    unpacked,
)
from energy_tracking.logs.formats.bodies import (
    OTHER_HOLDERS,
    OTHER_USAGES,
    USAGES,
    build_call,
    error_name,
    has_total_alone,
    is_row_of_sums,
    operation_of,
    stated_time_in,
    usage_in_body,
)
from energy_tracking.logs.formats.breakdowns import OF_CONVERSATION, hold_row, is_amount
from energy_tracking.logs.formats.counts import counts_in, usage_of, whole
from energy_tracking.logs.formats.iterations import calls_beside
from energy_tracking.logs.logged import LoggedCall, time_of
from energy_tracking.usage.names import is_unique_id

Path = tuple[str, ...]
"""The keys that lead from a document to what is looked for."""

# Mistral's batches look like OpenAI's, but for their models.
MISTRAL_MODELS = (
    *("mistral-", "ministral-", "magistral-", "codestral-", "devstral-", "pixtral-", "voxtral-"),
    *("open-mistral-", "open-mixtral-"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseAt:
    """Reads documents that keep one response each.

    Attributes:
        body: Where the response is.
        ids: Where there are ids of the request.
        errors: Where it is said what failed, the most exact first.
        models: Where the model is named, if the response does not name it.
        provider: ``gen_ai.provider.name``.
        operation: ``gen_ai.operation.name``; None where the response itself says it.
        needs_usage: A document without token counts is something else.
        summed_as: What the ``sum_of`` of their sum says, which lies in the same folder.
        is_added_up: Their sum is known by the totals of a file.
    """

    body: Path = ()
    ids: tuple[Path, ...] = ()
    errors: tuple[Path, ...] = (("error",),)
    models: tuple[Path, ...] = ()
    provider: str = "unknown"
    operation: str | None = None
    needs_usage: bool = False
    summed_as: str | None = None
    is_added_up: bool = False

    def __call__(self, document: Document, file: LogFile) -> list[LoggedCall] | None:
        """Read one document."""
        body = _follow_path(document, self.body) if self.body else document
        if type(body) is not dict:
            body = unpacked(body)
        error_type = None
        for path in self.errors:
            error = document.get(path[0])
            if error is not None and len(path) > 1:
                error = _follow_path(document, path)
            if error is not None:
                error_type = error_name(error)
                if error_type is not None:
                    break
        if type(body) is not dict:
            if error_type is None or self.needs_usage:
                return None
            body = {}
        created = stated_time_in(body)
        operation = self.operation or operation_of(body)
        call = build_call(body, self.provider, operation, created)
        # One of the Responses API that failed says so itself.
        has_failed = error_type is not None and body.get("object") == "response"
        if call.counts is None and self.needs_usage and not has_failed:
            return None
        call.error_type = error_type
        if self.summed_as is not None:
            file.note_call_of(self.summed_as, file.folder)
        if self.is_added_up and call.counts is not None:
            totals = file.memory.setdefault("batch", [0, 0, 0])
            for place, count in enumerate((1, call.counts.input_tokens, call.counts.output_tokens)):
                totals[place] += count
        if self.provider == "openai":
            call.provider = _provider_by_body(body)
        if call.model is None and self.models:
            call.model = first_text(_follow_path(document, path) for path in self.models)
        if is_unique_id(call.response_id):
            call.identity, call.grows = (call.response_id,), True
        else:
            ids = [_follow_path(document, path) for path in self.ids]
            identify(call, *ids, created=created)
        raw = body.get("usage")
        if type(raw) is dict and "iterations" in raw:
            return [call, *calls_beside(call, raw)]
        return [call]


def _follow_path(document: Document, path: Path) -> Any:
    """What lies at the end of a path of keys; None where it breaks off."""
    found: Any = document
    for key in path:
        if type(found) is not dict:
            # In a table it is a text of JSON.
            found = unpacked(found)
            if type(found) is not dict:
                return None
        found = found.get(key)
    return found


def _provider_by_body(body: Document) -> str:
    """Whose server wrote a body of OpenAI's shape, where it shows."""
    if "x_groq" in body:
        return "groq"
    model = body.get("model")
    if isinstance(model, str) and model.startswith(MISTRAL_MODELS):
        return "mistral_ai"
    choices = body.get("choices")
    first = choices[0] if type(choices) is list and choices else None
    if "prompt_filter_results" in body or (
        type(first) is dict and "content_filter_results" in first
    ):
        return "azure.ai.openai"
    return "openai"


_INPUTS = (
    keys("custom_id", "method", "url", "body"), keys("custom_id", "params"),
    keys("key", "request"), keys("recordId", "modelInput"),
)  # fmt: skip
"""What the lines of a batch's input have, of OpenAI, Anthropic, Gemini and Bedrock."""


SUM_IN_LEDGER = (
    "ends a batch of which the ledger has the sum, too, so that both count: write one of the two "
    "to a new ledger"
)


def _finish_batch(file: LogFile) -> Iterable[LoggedCall]:
    """Remember the totals of an output file: the batch object has the same."""
    totals = file.memory.pop("batch", None)
    if totals is not None:
        file.note_call_of("batch", *totals)
        if tuple(totals) in file.shared.get("known sums", ()):
            file.note_assumption(SUM_IN_LEDGER)
    return ()


def _read_vertex_embeddings(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A text that Vertex AI embedded, in a batch."""
    found = [at(each, "embeddings", "statistics") for each in mappings(document["predictions"])]
    counts = [whole(at(each, "token_count")) for each in found]
    if not counts or None in counts:
        return None
    return [
        LoggedCall(
            provider="gcp.vertex_ai",
            operation="embeddings",
            counts=usage_of(sum(filter(None, counts)), 0),
        )
    ]


# A row with more keys stands before those with fewer.
BATCHES: tuple[LogFormat, ...] = (
    # Source: https://platform.claude.com/docs/en/api/messages/batches/results
    LogFormat(name="anthropic-batch", keys=keys("custom_id", "result"),
              read=ResponseAt(body=("result", "message"), ids=(("custom_id",),),
                              errors=(("result", "error"), ("result", "type")),
                              provider="anthropic", operation="chat")),
    # Source: https://cloud.google.com/vertex-ai/generative-ai/docs/multimodal/batch-prediction-from-cloud-storage
    LogFormat(name="vertex-batch", keys=keys("request", "status", "processed_time"),
              read=ResponseAt(body=("response",), errors=(("status",),), provider="gcp.vertex_ai",
                              operation="generate_content")),
    # Source: https://cloud.google.com/vertex-ai/generative-ai/docs/partner-models/claude-batch
    LogFormat(name="vertex-claude-batch", keys=keys("custom_id", "request", "status"),
              read=ResponseAt(body=("response",), ids=(("custom_id",),), errors=(("status",),),
                              provider="gcp.vertex_ai", operation="chat")),
    # Source: https://cloud.google.com/vertex-ai/generative-ai/docs/embeddings/batch-prediction-genai-embeddings
    LogFormat(name="vertex-embeddings", keys=keys("instance", "predictions"),
              read=_read_vertex_embeddings),
    LogFormat(name="batch-input", any_of=keys("body", "params", "request", "modelInput"),
              within=_INPUTS, is_said=False,
              read=leaves_out("a request in the input of a batch, whose output has the answer")),
    # Azure OpenAI, Mistral, Groq, Together and vLLM write the same. A refused request has its
    # error in the body, or only a status, which may be 0.
    # Source: https://platform.openai.com/docs/api-reference/batch/request-output
    # Source: https://github.com/openai/openai-openapi/issues/302
    # Source: https://github.com/tidyverse/ellmer/issues/830
    LogFormat(name="openai-batch", keys=keys("custom_id"), finish=_finish_batch,
              read=ResponseAt(body=("response", "body"), ids=(("id",), ("custom_id",)),
                              errors=(("error",), ("response", "body", "error"),
                                      ("response", "status_code")),
                              provider="openai", is_added_up=True)),
    # Source: https://ai.google.dev/gemini-api/docs/batch-api
    LogFormat(name="gemini-batch", keys=keys("key"), any_of=keys("response", "error"),
              read=ResponseAt(body=("response",), ids=(("key",),), provider="gcp.gemini",
                              operation="generate_content")),
    # Source: https://docs.aws.amazon.com/bedrock/latest/userguide/batch-inference-results.html
    LogFormat(name="bedrock-batch", keys=keys("modelInput"), any_of=keys("modelOutput", "error"),
              read=ResponseAt(body=("modelOutput",), ids=(("recordId",),), provider="aws.bedrock",
                              operation="chat", summed_as="bedrock-batch")),
)  # fmt: skip


def _read_invocation(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A line of Bedrock's invocation log, whose counts lie beside the bodies."""
    inputs, outputs = document.get("input"), document.get("output")
    cached = at(inputs, "cacheReadInputTokenCount")
    written = at(inputs, "cacheWriteInputTokenCount")
    usage = counts_in(
        {
            "inputTokens": at(inputs, "inputTokenCount"),
            "outputTokens": at(outputs, "outputTokenCount") or 0,
            "cacheReadInputTokens": cached,
            "cacheWriteInputTokens": written,
        }
    )
    model = text(document.get("modelId"))
    call = LoggedCall(
        provider="aws.bedrock",
        # An ARN of an inference profile ends in its name.
        model=model and model.rpartition("/")[2],
        counts=usage,
        time=time_of(document.get("timestamp")),
        error_type=error_name(document.get("errorCode")),
    )
    if usage is None and call.error_type is None:
        return None
    return [identify(call, document.get("requestId"))]


RESPONSES: tuple[LogFormat, ...] = (
    # Source: https://docs.aws.amazon.com/bedrock/latest/userguide/model-invocation-logging.html
    LogFormat(name="bedrock-invocation-log", keys=keys("modelId", "input"), read=_read_invocation),
    # Logs of responses as they came, beside other things or alone.
    LogFormat(name="logged-response", keys=keys("response"),
              read=ResponseAt(body=("response",), errors=(("response", "error"),),
                              models=(("model",), ("request", "model")), needs_usage=True)),
)  # fmt: skip
"""Where a response is one of several things in a document."""


def _keys_for(names: tuple[str, ...]) -> tuple[str, ...]:
    """The keys that objects have for columns of these names: in camel case, too."""
    camels = (re.sub("_(.)", lambda found: found[1].upper(), name) for name in names)
    return tuple(dict.fromkeys((*names, *camels)))


# How many requests a usage is of, or turns, where it is of several; and what lies beside that of
# a session, if not beside that of each of its calls.
_REQUESTS, _TURNS = _keys_for(NAMES["requests"]), _keys_for(TURNS)
_SESSIONS = _keys_for(NAMES["session"])
_OF_REQUESTS = frozenset(_REQUESTS)
_AMOUNTS = _keys_for(NAMES["of_session"])
_OF_SEVERAL = frozenset((*_TURNS, *_AMOUNTS))

_read_response = ResponseAt(
    # LangChain's messages.
    models=(("response_metadata", "model_name"), ("kwargs", "response_metadata", "model_name")),
    needs_usage=True,
)


def _read_response_or_sum(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A response, or a sum with the number of its requests beside it."""
    inner = document.get("data")
    if type(inner) is dict and "usage" in inner and "usage" not in document:
        # The response is that, with all it says of itself.
        return None
    if "spans" in document and mappings(document["spans"]):
        return None  # a trace, with the sum of these
    calls = _read_response(document, file)
    if calls and (parts := _parts_of_sum(calls[0], document)):
        file.inside += parts
        return []
    named = document.get("object")
    if calls and named == "thread.run":
        # The sum over its steps.
        calls[0].requests, calls[0].sum_of = None, ("thread.run", document.get("id"))
    elif calls and named == "thread.run.step":
        file.note_call_of("thread.run", document.get("run_id"))
    if "done" in document:
        return _follow_ollama(document, file, calls)
    if calls and not _OF_REQUESTS.isdisjoint(document):
        counted = (whole(document.get(name)) for name in _REQUESTS)
        requests = next((count for count in counted if count is not None), 1)
        if requests > 1:
            calls[0].requests = requests
            hold_row(calls[0], document, {}, file)
    elif calls and not _OF_SEVERAL.isdisjoint(document):
        _take_for_sum(calls[0], document, file)
    return calls


def _parts_of_sum(call: LoggedCall, document: Document) -> list[Document]:
    """What lies in a list and has usages whose outputs add up to the one of the document itself.

    Or its usage, where that is a row of sums, of which the total alone was read.

    Args:
        call: What was read.
        document: It.
    """
    usage = next((document[name] for name in USAGES if document.get(name)), None)
    if has_total_alone(call.counts) and isinstance(usage, dict) and is_row_of_sums(usage):
        return [usage if call.model is None else {"model": call.model} | usage]
    for value in document.values():
        if type(value) is not list or len(value) < 2:
            continue
        # The first of a conversation is a question, and has none.
        if not any(type(one) is dict and "usage" in one for one in (value[-1], value[1])):
            continue
        parts = [one for one in value if type(one) is dict and "usage" in one]
        counts = [found for one in parts if (found := usage_in_body(one)) is not None]
        # What came from a cache, the input of a sum may have or not have.
        if call.counts and call.counts.output_tokens == sum(one.output_tokens for one in counts):
            return parts if call.model is None else [{"model": call.model} | one for one in parts]
    return []


def _take_for_sum(call: LoggedCall, document: Document, file: LogFile) -> None:
    """Take a usage for a sum where it is beside a number of turns or of a session's messages.

    Args:
        call: What was read.
        document: It.
        file: Where it is.
    """
    session = first_text(map(document.get, _SESSIONS))
    if any((whole(document.get(name)) or 0) > 1 for name in _TURNS):
        call.requests = None
        hold_row(call, document, {}, file)
    amounts = [document[name] for name in _AMOUNTS if name in document]
    if call.requests is None or not any(map(is_amount, amounts)):
        return
    if session is not None and call.response_id is None:
        call.requests, call.session = None, session
        hold_row(call, document, {"of_session": ""}, file)
    elif session is None and "object" not in document and any((whole(n) or 0) > 1 for n in amounts):
        file.report.doubt(file.path, OF_CONVERSATION)


def _follow_ollama(
    document: Document, file: LogFile, calls: list[LoggedCall] | None
) -> list[LoggedCall] | None:
    """A line of a stream of Ollama's, of which only the last has counts."""
    if calls or "model" not in document or document["done"] is not False:
        file.memory.pop("ollama", None)
        return calls
    if "message" not in document and "response" not in document:
        return None
    file.memory.setdefault("ollama", file.line)
    return []


def _finish_ollama(file: LogFile) -> Iterable[LoggedCall]:
    line = file.memory.pop("ollama", None)
    if line is not None:
        file.line = line
        file.leave_out("a stream without token counts")
    return ()


RESPONSE = LogFormat(
    name="response",
    any_of=keys(
        *(*USAGES, "x_groq", "choices", "response", "data"),
        *("meta", "inputTextTokenCount", "generation_token_count", "eval_count"),
        *("prompt_eval_count", "amazon-bedrock-invocationMetrics", "done", "timings"),
        *(*OTHER_USAGES, *OTHER_HOLDERS),
    ),
    read=_read_response_or_sum,
    finish=_finish_ollama,
)
"""A response as it came, or anything with a usage."""
