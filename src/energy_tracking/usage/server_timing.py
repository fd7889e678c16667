"""The server's clock: what a response says of the time that its request took there.

A new dialect is a row: of ``BODIES`` where the body or the usage says it, of ``HEADERS`` where a
header does, with its source and a sample in the tests. What cannot be a time of one request is
left out, field by field.

``decode_seconds`` is from the first token to the last, without the queue and the prompt. Where a
server measures it from somewhere else, its row has no decode.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from energy_tracking.bounds import Bound, is_number
from energy_tracking.frozen import frozen

TIME = Bound(0, 604_800, "s")
"""What a request can take at its server [s]: a week at most."""


@frozen(kw_only=True)
class ServerTiming:
    """The time a request took, by its server's clock; None where that is not stated.

    Attributes:
        source: Whose statement it is: name of the engine, the provider or the header.
        queue_seconds: Before anything was computed [s].
        prefill_seconds: To read the prompt [s].
        decode_seconds: From the first token to the last [s].
        first_token_seconds: From the request's arrival to the first token, queue included [s].
        total_seconds: From its arrival to its end [s].
    """

    source: str
    queue_seconds: float | None = None
    prefill_seconds: float | None = None
    decode_seconds: float | None = None
    first_token_seconds: float | None = None
    total_seconds: float | None = None


@frozen(kw_only=True)
class Dialect:
    """How one kind of server states times.

    Attributes:
        source: What it is called.
        documentation: Where that is documented.
        unit_seconds: Seconds in one of its unit [s].
        place: Where they are: a key of the body; empty: in the body itself.
        fields: Name of a time at the server -> field of ``ServerTiming``. The first of these
            is there in every statement of this kind.
    """

    source: str
    documentation: str
    unit_seconds: float
    fields: Mapping[str, str]
    place: str = ""

    @property
    def mark(self) -> str:
        """The name by which a statement of this kind is known."""
        return next(iter(self.fields))


_GROQ = {
    "completion_time": "decode_seconds",
    "prompt_time": "prefill_seconds",
    "queue_time": "queue_seconds",
    "total_time": "total_seconds",
}

BODIES: tuple[Dialect, ...] = (
    # Started with --enable-per-request-metrics. Time to first token is from when it was scheduled.
    Dialect(
        source="vLLM",
        documentation="https://github.com/vllm-project/vllm/blob/main/docs/features/per_request_metrics.md",
        unit_seconds=1e-3,
        place="metrics",
        fields={
            "generation_time_ms": "decode_seconds",
            "time_to_first_token_ms": "prefill_seconds",
            "queue_time_ms": "queue_seconds",
        },
    ),
    Dialect(
        source="llama.cpp",
        documentation="https://github.com/ggml-org/llama.cpp/tree/master/tools/server#readme",
        unit_seconds=1e-3,
        place="timings",
        fields={"predicted_ms": "decode_seconds", "prompt_ms": "prefill_seconds"},
    ),
    # Its own API alone: that in OpenAI's form leaves them out. To load a model is to wait for it.
    Dialect(
        source="Ollama",
        documentation="https://github.com/ollama/ollama/blob/main/docs/api.md#response",
        unit_seconds=1e-9,
        fields={
            "eval_duration": "decode_seconds",
            "prompt_eval_duration": "prefill_seconds",
            "load_duration": "queue_seconds",
            "total_duration": "total_seconds",
        },
    ),
    Dialect(
        source="Groq",
        documentation="https://console.groq.com/docs/api-reference#chat-create",
        unit_seconds=1.0,
        place="usage",
        fields=_GROQ,
    ),
    Dialect(
        source="Cerebras",
        documentation="https://inference-docs.cerebras.ai/api-reference/chat-completions",
        unit_seconds=1.0,
        place="time_info",
        fields=_GROQ,
    ),
    # What is left after the first token is its decode.
    Dialect(
        source="SambaNova",
        documentation="https://docs.sambanova.ai/docs/en/features/openai-compatibility",
        unit_seconds=1.0,
        place="usage",
        fields={"total_latency": "total_seconds", "time_to_first_token": "first_token_seconds"},
    ),
)
"""Times that bodies, stream events and usages state."""

HEADERS: tuple[Dialect, ...] = (
    # Of a stream these are sent before it is: the time until its first token.
    Dialect(
        source="openai-processing-ms",
        documentation="https://platform.openai.com/docs/api-reference/debugging-requests",
        unit_seconds=1e-3,
        fields={"openai-processing-ms": "total_seconds"},
    ),
    # Its inference time is prompt and decode in one.
    Dialect(
        source="TGI",
        documentation="https://github.com/huggingface/text-generation-inference/blob/main/router/src/server.rs",
        unit_seconds=1e-3,
        fields={"x-total-time": "total_seconds", "x-queue-time": "queue_seconds"},
    ),
)
"""Times that headers of a response state."""

TIMING_NAMES = frozenset(dialect.place or dialect.mark for dialect in BODIES) - {"usage"}
TIMING_NAMES_IN_USAGE = frozenset(dialect.mark for dialect in BODIES if dialect.place == "usage")
_HEADER_NAMES = frozenset(name.encode() for dialect in HEADERS for name in dialect.fields)
_HEADER_LENGTHS = frozenset(map(len, _HEADER_NAMES))


def read_timing(data: Mapping[str, Any], usage: object) -> ServerTiming | None:
    """The times that a body or an event states; None where it states none. Never raises.

    Args:
        data: The body or event.
        usage: The usage in it, if it has one.
    """
    try:
        for body in (data, data.get("response")):
            if isinstance(body, Mapping):
                for dialect in BODIES:
                    place = body.get(dialect.place) if dialect.place else body
                    if dialect.place == "usage":
                        place = usage
                    if isinstance(place, Mapping) and dialect.mark in place:
                        return _build_timing(dialect, place)
    except Exception:  # raised by somebody else's mapping
        return None
    return None


def timing_in_headers(
    headers: Iterable[tuple[bytes, bytes]], *, of_stream: bool
) -> ServerTiming | None:
    """The times that a response's headers state; None where they state none.

    Args:
        headers: The headers, as they came.
        of_stream: Whether they came before the answer was made.
    """
    found: dict[str, bytes] | None = None
    for name, value in headers:
        # Few of the headers of a response are even as long.
        if len(name) in _HEADER_LENGTHS and (lower := name.lower()) in _HEADER_NAMES:
            found = found or {}
            found[lower.decode()] = value
    if found is None:
        return None
    for dialect in HEADERS:
        if dialect.mark in found:
            times: dict[str, float] = {}
            for name_found, value in found.items():
                with suppress(ValueError):
                    times[name_found] = float(value)
            return _build_timing(dialect, times, of_stream=of_stream)
    return None


def _build_timing(
    dialect: Dialect, stated: Mapping[str, Any], *, of_stream: bool = False
) -> ServerTiming | None:
    """The times of a statement, without those that cannot be; None where none is left."""
    times: dict[str, float] = {}
    for name, field in dialect.fields.items():
        value = stated.get(name)
        # Compared in its own unit: a whole number may be greater than any float.
        if is_number(value) and TIME.low <= value <= TIME.high / dialect.unit_seconds:
            times[field] = float(value) * dialect.unit_seconds
    if of_stream and "total_seconds" in times:
        times["first_token_seconds"] = times.pop("total_seconds")
    first, total = times.get("first_token_seconds"), times.get("total_seconds")
    if first is not None and total is not None and total > first:
        times["decode_seconds"] = total - first
    return ServerTiming(source=dialect.source, **times) if times else None
