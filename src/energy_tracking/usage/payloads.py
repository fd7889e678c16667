"""What a decoded body or event says beside its usage: id, model, status, errors, tools.

Everything here works on decoded JSON, before any SDK builds its models: new fields
survive old SDKs, and the tokens are known even where the SDK goes on to raise.

A new endpoint, provider or shape is a row of the tables below (``ENDPOINTS``, ``PROVIDERS`` ...).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from energy_tracking.bounds import is_number
from energy_tracking.frozen import frozen
from energy_tracking.usage.names import text_of

UNFINISHED = frozenset({"queued", "in_progress"})
"""Statuses of a response that is still being generated."""
DELETED = "deleted"
"""Status of a response that its server no longer has, and that nobody saw finished."""

# Event of a response after which nothing more of it comes -> its status, where the event
# itself says none, or still that of before.
TERMINAL_EVENTS = {
    "response.completed": "completed",
    "response.incomplete": "incomplete",
    "response.failed": "failed",
    "response.cancelled": "cancelled",
    "error": "failed",
}

IMAGE_TOOL = "image_generation"


def _body_in(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """The response that an event has inside, or the body or chunk itself."""
    inner = data.get("response")
    return data if inner is None or not isinstance(inner, Mapping) else inner


def identity_in(data: Mapping[str, Any]) -> tuple[str | None, str | None, str | None]:
    """Response id, model and status named by a body or event; empty strings are None."""
    body, status = data, None
    # A chat's bodies and chunks have none of these.
    if "response" in data:
        body = _body_in(data)
    if "status" in body:
        status = text_of(body["status"])
    if "type" in data and (status is None or status in UNFINISHED):
        status = TERMINAL_EVENTS.get(str(data["type"]), status)
    return text_of(body.get("id")), text_of(body.get("model")), status


def is_generating(event: Mapping[str, Any]) -> bool | None:
    """Whether an event says that the model is at work, or has ended; None where it says neither."""
    choices = event.get("choices")
    if isinstance(choices, list) and choices:
        return not any(mapping_of(choice).get("finish_reason") for choice in choices)
    _, _, status = identity_in(event)
    # What is queued has not begun; an error comes after what was generated before it.
    return None if status is None or event.get("type") == "error" else status == "in_progress"


def error_code_in(event: Mapping[str, Any]) -> str:
    """What an ``error`` event says has failed."""
    error = mapping_of(event.get("error")) or event
    return text_of(error.get("code")) or text_of(error.get("type")) or "error"


@frozen()
class ToolUsage:
    """Tokens that another model used for a call, reported apart from the call's own.

    Attributes:
        operation: What the other model did, as a ``gen_ai.operation.name``.
        model: Its name; None where the server does not say.
        usage: Its usage, as it came.
    """

    operation: str
    model: str | None
    usage: Mapping[str, Any]


TOOL_PLACES = frozenset({"tool_usage", "svg_usage", "output"})
"""Where in a body a tool's usage may lie."""


def tool_usage_in(data: Mapping[str, Any]) -> tuple[ToolUsage, ...]:
    """Usage of the server's own tools in a body or event.

    Source: openai-python 3.57, ``ToolUsage`` ("separate from base model usage") and
    ``SvgUsage`` ("separate from image rendering usage").
    """
    body = _body_in(data)
    if TOOL_PLACES.isdisjoint(body):
        return ()
    found = []
    drawn = mapping_of(mapping_of(body.get("tool_usage")).get("image_gen"))
    if drawn:
        # The usage names no model; the tool, as the response repeats it, does.
        tools = (mapping_of(tool) for tool in _list_of(body.get("tools")))
        models = (text_of(tool.get("model")) for tool in tools if tool.get("type") == IMAGE_TOOL)
        found.append(ToolUsage("image_generation", next(models, None), drawn))
    for holder in (body, *_list_of(body.get("output"))):
        authored = mapping_of(mapping_of(holder).get("svg_usage"))
        if authored:
            found.append(ToolUsage("image_generation", text_of(authored.get("model")), authored))
    # Tools that were offered and not used are there with zeros.
    return tuple(tool for tool in found if tool.usage.get("total_tokens"))


def mapping_of(value: object) -> Mapping[str, Any]:
    """The value if it is a mapping, else an empty one."""
    # The class of all abstract mappings is slow to ask, and most are plain or missing.
    if value is None:
        return {}
    return value if type(value) is dict or isinstance(value, Mapping) else {}


def _list_of(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


# Words in the kind of an object that has a usage, but is no response: it lists, sums up, or
# runs what is generated. Its kind is its `object`, or its `type`, as in "thread.run".
NO_RESPONSES = frozenset(
    {
        *("list", "page", "bucket", "batch", "job", "run", "step", "thread", "session"),
        *("conversation", "eval", "usage", "organization"),
    }
)

# How the `object` of a response ends, whichever endpoint it is of: "chat.completion",
# "text_completion", "realtime.response", "response.compaction". One that ends in another word
# is none: "chat.completion.deleted", "response.input_tokens", "vector_store".
RESPONSE_ENDINGS = frozenset(
    {
        *("completion", "completions", "chunk", "response", "compaction", "edit", "generation"),
        *("embedding", "embeddings", "image", "images", "video", "speech", "transcription"),
        *("translation", "moderation", "rerank", "score", "message"),
    }
)

USAGE_FIELDS = ("usage", "usage_metadata", "usageMetadata")
"""Where responses have their usage."""
MODEL_FIELDS = ("model", "model_version", "modelVersion")
"""Where responses name their model."""
ID_FIELDS = ("id", "response_id", "responseId")
"""Where responses have their id."""
TIME_FIELDS = ("created", "created_at", "createTime", "create_time")
"""Where responses say when they were made: OpenAI, its Responses and Ollama, Gemini, its SDK."""

# Something that has no kind and names no model is a response if it has nothing beside these, or
# something that was generated: accounts, listings and reports have a usage as well.
IDENTITY_FIELDS = frozenset(
    {*USAGE_FIELDS, *ID_FIELDS, *TIME_FIELDS, "response_metadata", "energy"}
)
LISTING_FIELDS = frozenset({"has_more", "next_page"})
CONTENT_FIELDS = frozenset(
    {"choices", "output", "output_text", "content", "candidates", "message", "messages", "text"}
    | {"embedding", "embeddings", "completion", "completions", "generation", "generations"}
    | {"generated_text", "response", "answer", "result", "results", "data", "images", "role"}
    | {"stop_reason", "finish_reason", "tool_calls"}
)

LATEST_TIME = 1 << 53
"""Up to here a whole number of seconds is a float."""

_WORDS = re.compile("[a-z]+")


def created_in(data: Mapping[str, Any]) -> float | None:
    """When a response was made, by its body or an event of it [s since the epoch], or None."""
    body = _body_in(data) if "response" in data else data
    created = body.get("created")
    if type(created) is int and 0 < created < LATEST_TIME:
        return float(created)  # nearly always
    return creation_time_of(body)


def creation_time_of(body: object) -> float | None:
    """When a response, a dict or an object, was made [s since the epoch], if it says so."""
    created = first_of(body, TIME_FIELDS)
    try:
        if isinstance(created, str):
            created = datetime.fromisoformat(created)
        if isinstance(created, datetime):
            return created.timestamp() if created.tzinfo is not None else None
        if is_number(created):
            return float(created)
    except (ValueError, OverflowError):
        pass
    return None


@frozen()
class ResponseFacts:
    """What a response of any client says of itself; the usage is as it came.

    Attributes:
        usage: The usage.
        model: The model.
        response_id: Its id.
        origin_id: Id of the response that a framework's object was made of.
        created: When it was made [s since the epoch].
    """

    usage: object
    model: str | None
    response_id: str | None
    created: float | None = None
    origin_id: str | None = None


def response_facts(response: object) -> ResponseFacts | None:
    """What a response object or dict says; None where it has no usage, or is no response."""
    usage = first_of(response, USAGE_FIELDS)
    if usage is None or callable(usage) or not _is_response(response):
        return None
    # LangChain's messages name there what the server has said.
    origin = mapping_of(first_of(response, ("response_metadata",)))
    return ResponseFacts(
        usage,
        text_of(first_of(response, MODEL_FIELDS))
        or text_of(first_of(origin, ("model_name", "model"))),
        text_of(first_of(response, ID_FIELDS)),
        creation_time_of(response) or creation_time_of(origin),
        text_of(origin.get("id")),
    )


def _is_response(response: object) -> bool:
    """Whether an object that has a usage is one generated response, by its own account."""
    stated = text_of(first_of(response, ("object",)))
    kind = stated or text_of(first_of(response, ("type",)))
    if kind is None:
        # Of a dict alone: an object of a framework may have an attribute of any name.
        if not isinstance(response, Mapping) or first_of(response, MODEL_FIELDS) is not None:
            return True
        others = response.keys() - IDENTITY_FIELDS
        is_generated = not CONTENT_FIELDS.isdisjoint(others) and LISTING_FIELDS.isdisjoint(others)
        return not others or is_generated
    words = _WORDS.findall(kind.lower())
    if NO_RESPONSES.isdisjoint(words):
        return stated is None or not words or words[-1] in RESPONSE_ENDINGS
    # Embeddings come as a list of vectors.
    items = first_of(response, ("data",))
    first = items[0] if isinstance(items, list) and items else None
    return kind == "list" and first_of(first, ("object",)) == "embedding"


def first_of(source: object, names: tuple[str, ...]) -> object:
    """The first of these items of a dict, or attributes of an object, that is there, or None.

    Args:
        source: The dict or object.
        names: The names.
    """
    is_mapping = type(source) is dict or isinstance(source, Mapping)
    for name in names:
        found = source.get(name) if is_mapping else getattr(source, name, None)  # type: ignore[attr-defined]
        if found is not None:
            return found
    return None
