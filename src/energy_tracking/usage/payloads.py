"""Where each API keeps what we read: endpoint, provider, id, model, usage and text.

Everything here works on decoded JSON, before any SDK builds its models: new fields
survive old SDKs, and the tokens are known even where the SDK goes on to raise.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from numbers import Real
from typing import Any

from energy_tracking.units import joules_from_wh
from energy_tracking.usage.names import text_of as text_of


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One way to ask for inference.

    Attributes:
        path: How the request's path ends.
        operation: ``gen_ai.operation.name`` of the GenAI semantic conventions.
        stream_options: Whether the endpoint knows ``stream_options.include_usage``.
    """

    path: str
    operation: str
    stream_options: bool = False


# A POST to one of these runs inference and is counted. Everything else fetches, lists or
# manages what already ran, and is not. Nor is what a server runs by itself: agents'
# sessions, assistants' threads, evals, graders, batches and training. None of their requests
# is a call; an agent's session tells a usage, but a sum so far, which OpenAI calls best-effort.
# A longer path stands before the one it ends in.
ENDPOINTS = (
    Endpoint("/chat/completions", "chat", stream_options=True),
    Endpoint("/completions", "text_completion", stream_options=True),
    Endpoint("/responses/compact", "chat"),
    Endpoint("/responses", "chat"),
    Endpoint("/decisions", "chat"),
    Endpoint("/embeddings", "embeddings"),
    Endpoint("/images/generations", "image_generation"),
    Endpoint("/images/edits", "image_generation"),
    Endpoint("/images/variations", "image_generation"),
    Endpoint("/videos", "video_generation"),
    Endpoint("/videos/edits", "video_generation"),
    Endpoint("/videos/extensions", "video_generation"),
    Endpoint("/remix", "video_generation"),  # of /videos/{id}
    Endpoint("/audio/transcriptions", "transcription"),
    Endpoint("/audio/translations", "transcription"),
    Endpoint("/audio/speech", "speech"),
    Endpoint("/moderations", "moderation"),
)

# Host, the end of it, or a pattern of it, to `gen_ai.provider.name`. The convention names the
# provider the client believes to talk to, so an unlisted host stays with the library's own.
PROVIDERS = {
    "openai.azure.com": "azure.ai.openai",
    "cognitiveservices.azure.com": "azure.ai.openai",
    "services.ai.azure.com": "azure.ai.inference",
    "api.x.ai": "x_ai",
    "api.groq.com": "groq",
    "api.deepseek.com": "deepseek",
    "api.mistral.ai": "mistral_ai",
    "api.perplexity.ai": "perplexity",
    "api.cohere.com": "cohere",
    "api.anthropic.com": "anthropic",
    "generativelanguage.googleapis.com": "gcp.gemini",
    "aiplatform.googleapis.com": "gcp.vertex_ai",
    # The region stands in the middle; other services of Amazon's may serve a user's own model.
    "bedrock-runtime.*.amazonaws.com": "aws.bedrock",
    "bedrock-mantle.*.api.aws": "aws.bedrock",
}

# Where a usage may lie in a body or a stream event, most common first.
USAGE_PATHS: tuple[tuple[str | int, ...], ...] = (
    ("usage",),
    ("response", "usage"),  # Responses API stream events
    ("x_groq", "usage"),
    ("choices", 0, "usage"),  # Moonshot
    ("data", "usage"),  # of gateways that wrap a response
)

UNFINISHED = frozenset({"queued", "in_progress"})
"""Statuses of a response that is still being generated."""

# Event of a response after which nothing more of it comes -> its status, where the event
# itself says none, or still that of before.
TERMINAL_EVENTS = {
    "response.completed": "completed",
    "response.incomplete": "incomplete",
    "response.failed": "failed",
    "response.cancelled": "cancelled",
    "error": "failed",
}

# Names under which servers that measure report the energy of the request itself, in the
# body or its usage, plainly or inside an `energy` object, and joules in one of each.
MEASURED_ENERGY = {
    "energy_joules": 1.0,
    "total_energy_joules": 1.0,
    "total_joules": 1.0,
    "joules": 1.0,
    "energy_wh": joules_from_wh(1.0),
    "total_energy_wh": joules_from_wh(1.0),
    "watt_hours": joules_from_wh(1.0),
    "wh": joules_from_wh(1.0),
    "energy_kwh": joules_from_wh(1000.0),
    "kwh": joules_from_wh(1000.0),
}

MAX_MEASURED = 1e12
"""Above this a number is no energy of one call [J]: a large power plant needs 15 minutes."""

# What makes the top of a body or event worth a look.
_ENERGY_NAMES = frozenset({"energy", *MEASURED_ENERGY})

# Hosts, or the ends of them, known to tell nothing they have measured.
UNMEASURED_HOSTS = (
    "api.openai.com",
    ".openai.azure.com",
    ".cognitiveservices.azure.com",
    ".services.ai.azure.com",
)
# A header whose name holds "joules" tells the energy of the request, unless it also holds
# one of these.
NOT_OF_THE_REQUEST = (
    *(b"per-", b"limit", b"remaining", b"budget"),
    *(b"nano", b"micro", b"milli", b"kilo", b"mega", b"giga"),
    # Sums over requests.
    *(b"cumul", b"accum", b"aggregat", b"lifetime", b"running", b"overall"),
    *(b"session", b"since", b"uptime"),
)
# One whose name holds this may be such a sum, too: it is taken for the request's own where the
# parts that it is made of stand beside it.
SUM_OF_PARTS = b"total"

IMAGE_TOOL = "image_generation"


def endpoint_of(method: str, path: str) -> Endpoint | None:
    """The inference endpoint a request goes to; None if it runs no inference.

    Args:
        method: HTTP method.
        path: Path of the request, or its URL.
    """
    if method.lower() != "post":
        return None
    path = "/" + path.partition("?")[0].strip("/")
    return next((endpoint for endpoint in ENDPOINTS if path.endswith(endpoint.path)), None)


@lru_cache(maxsize=256)
def provider_of(host: str, default: str) -> str:
    """``gen_ai.provider.name`` of a host.

    Args:
        host: Host name.
        default: The name where the host is not listed.
    """
    return next(
        (
            provider
            for known, provider in PROVIDERS.items()
            if fnmatchcase(host, known) or host.endswith(("." + known, "-" + known))
        ),
        default,
    )


def usage_in(data: Mapping[str, Any]) -> object | None:
    """The raw usage object in a body or event, or None."""
    for path in USAGE_PATHS:
        found: Any = data
        for key in path:
            try:
                found = found[key]
            except (KeyError, IndexError, TypeError):
                found = None
                break
        if found is not None:
            return found  # type: ignore[no-any-return]
    # Of llama.cpp's server, which counts in it whether a usage was asked for or not.
    timings = data.get("timings")
    has_counts = isinstance(timings, Mapping) and type(timings.get("predicted_n")) is int
    return timings if has_counts else None


def unwrap_event(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a server sent: the SDK hands some events on inside of another, with their name."""
    inner = data.get("data")
    return inner if isinstance(inner, Mapping) and isinstance(data.get("event"), str) else data


def joules_from(value: object, unit_joules: float = 1.0) -> float | None:
    """A number that enters from outside, as the energy of a call [J].

    Every such number comes through here: of a user, a body, a header, a file.

    Args:
        value: What was given.
        unit_joules: Joules in one of its unit.

    Returns:
        The energy; None where it is no number, or none from 0 to ``MAX_MEASURED``.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    try:
        joules = float(value) * unit_joules
    except OverflowError:
        return None
    return joules if 0 <= joules <= MAX_MEASURED else None


def tells_energy(data: Mapping[str, Any]) -> bool:
    """Whether a body or event may tell an energy although it tells no usage."""
    return "response" in data or not _ENERGY_NAMES.isdisjoint(data)


def measured_energy_in(data: Mapping[str, Any]) -> float | None:
    """Energy [J] that the server itself measured for the request, or None.

    A zero is of a server that has measured nothing.
    """
    amounts = (joules_from(value, unit_joules) for _, value, unit_joules in _energies_in(data))
    return next(filter(None, amounts), None)


def refused_energy_in(data: Mapping[str, Any]) -> str | None:
    """The name of an energy that cannot be that of the request, or None."""
    return next(
        (
            name
            for name, value, unit_joules in _energies_in(data)
            if value is not None and joules_from(value, unit_joules) is None
        ),
        None,
    )


def _energies_in(data: Mapping[str, Any]) -> Iterator[tuple[str, object, float]]:
    """What a body or event tells of energy: name, value, and joules in one of its unit."""
    for holder in (data, usage_in(data), data.get("response")):
        if isinstance(holder, Mapping):
            for place in (holder.get("energy"), holder):
                if isinstance(place, Mapping):
                    for name, unit_joules in MEASURED_ENERGY.items():
                        if name in place:
                            yield name, place[name], unit_joules


def may_measure(host: str) -> bool:
    """Whether a server may tell energy that it measured, outside of a response's body."""
    return not host.endswith(UNMEASURED_HOSTS)


def measured_energy_in_headers(headers: Iterable[tuple[bytes, bytes]]) -> float | None:
    """Energy [J] of the request by a response's headers, as they came, or None.

    Of several, the largest: parts of it may stand beside their sum.
    """
    told = _energy_headers(headers)
    amounts = [joules for name, joules in told if joules and SUM_OF_PARTS not in name]
    parts = math.fsum(amounts)
    amounts += [
        joules
        for name, joules in told
        if joules and SUM_OF_PARTS in name and math.isclose(joules, parts, rel_tol=0.01)
    ]
    return max(amounts, default=None)


def has_refused_energy_header(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a header by whose name it is the energy of the request cannot be that."""
    return any(joules is None for _, joules in _energy_headers(headers))


def _energy_headers(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, float | None]]:
    """The headers that tell the energy of the request [J], or of several; None: it cannot be."""
    told: list[tuple[bytes, float | None]] = []
    for name, value in headers:
        lower = name.lower()
        if b"joules" in lower:
            lower = lower.replace(b"_", b"-")
            if not any(word in lower for word in NOT_OF_THE_REQUEST):
                joules = None
                with suppress(ValueError):
                    joules = joules_from(float(value))
                told.append((lower, joules))
    return told


def identity_in(data: Mapping[str, Any]) -> tuple[str | None, str | None, str | None]:
    """Response id, model and status named by a body or event; empty strings are None."""
    inner = data.get("response")
    body = inner if isinstance(inner, Mapping) else data
    status = text_of(body.get("status"))
    if status is None or status in UNFINISHED:
        status = TERMINAL_EVENTS.get(str(data.get("type")), status)
    return text_of(body.get("id")), text_of(body.get("model")), status


def error_code_in(event: Mapping[str, Any]) -> str:
    """What an ``error`` event says has failed."""
    error = mapping_of(event.get("error")) or event
    return text_of(error.get("code")) or text_of(error.get("type")) or "error"


@dataclass(frozen=True, slots=True)
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


def tool_usage_in(data: Mapping[str, Any]) -> tuple[ToolUsage, ...]:
    """Usage of the server's own tools in a body or event.

    Source: openai-python 3.57, ``ToolUsage`` ("separate from base model usage") and
    ``SvgUsage`` ("separate from image rendering usage").
    """
    inner = data.get("response")
    body = inner if isinstance(inner, Mapping) else data
    found = []
    drawn = mapping_of(mapping_of(body.get("tool_usage")).get("image_gen"))
    if drawn:
        # The usage names no model; the tool, as the response repeats it, does.
        tools = (mapping_of(tool) for tool in _list(body.get("tools")))
        models = (text_of(tool.get("model")) for tool in tools if tool.get("type") == IMAGE_TOOL)
        found.append(ToolUsage("image_generation", next(models, None), drawn))
    for holder in (body, *_list(body.get("output"))):
        authored = mapping_of(mapping_of(holder).get("svg_usage"))
        if authored:
            found.append(ToolUsage("image_generation", text_of(authored.get("model")), authored))
    # Tools that were offered and not used are there with zeros.
    return tuple(tool for tool in found if tool.usage.get("total_tokens"))


def mapping_of(value: object) -> Mapping[str, Any]:
    """The value if it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


# Words in the kind of an object that has a usage, but is no response: it lists, sums up, or
# runs what is generated. Its kind is its `object`, or its `type`, as in "thread.run".
NO_RESPONSES = frozenset(
    {
        *("list", "page", "bucket", "batch", "job", "run", "step", "thread", "session"),
        *("conversation", "eval", "usage", "organization"),
    }
)
_WORDS = re.compile("[a-z]+")


def created_in(data: Mapping[str, Any]) -> float | None:
    """When a response was made, by its body or an event of it [s since the epoch], or None."""
    inner = data.get("response")
    return _created(inner if isinstance(inner, Mapping) else data)


def _created(body: object) -> float | None:
    created = _first_of(body, ("created", "created_at"))
    if not isinstance(created, int | float) or isinstance(created, bool):
        return None
    try:
        return float(created)
    except OverflowError:
        return None


@dataclass(frozen=True, slots=True)
class ResponseFacts:
    """What a response of any client says of itself; the usage is as it came.

    Attributes:
        usage: The usage.
        model: The model.
        response_id: Its id.
        created: When it was made [s since the epoch].
    """

    usage: object
    model: str | None
    response_id: str | None
    created: float | None = None


def response_facts(response: object) -> ResponseFacts | None:
    """What a response object or dict says; None where it has no usage, or is no response."""
    usage = _first_of(response, ("usage", "usage_metadata", "usageMetadata"))
    if usage is None or callable(usage) or not _is_response(response):
        return None
    return ResponseFacts(
        usage,
        text_of(_first_of(response, ("model", "model_version", "modelVersion"))),
        text_of(_first_of(response, ("id", "response_id", "responseId"))),
        _created(response),
    )


def _is_response(response: object) -> bool:
    """Whether an object that has a usage is one generated response, by its own account."""
    kind = text_of(_first_of(response, ("object", "type")))
    if kind is None or NO_RESPONSES.isdisjoint(_WORDS.findall(kind.lower())):
        return True
    # Embeddings come as a list of vectors.
    items = _first_of(response, ("data",))
    first = items[0] if isinstance(items, list) and items else None
    return kind == "list" and _first_of(first, ("object",)) == "embedding"


def _first_of(source: object, names: tuple[str, ...]) -> object:
    for name in names:
        found = source.get(name) if isinstance(source, Mapping) else getattr(source, name, None)
        if found is not None:
            return found
    return None
