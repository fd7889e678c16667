"""What coding agents send by OpenTelemetry in names of their own: events, and Claude Code's spans.

A further agent is a row of ``AGENT_EVENTS``, with the source of what it says, and a sample in the
tests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from energy_tracking.logs.formats.base import known_by, text
from energy_tracking.logs.formats.counts import usage_of, whole
from energy_tracking.logs.logged import Counts, LoggedCall

Attributes = Mapping[str, Any]

CLAUDE_REQUEST = "claude_code.api_request"
_REQUEST = "api_request"
"""What the bodies of Claude Code's events of this name are, and those of Cursor's."""
_CURSOR = "cursor.api.request."


def _claude_counts(attributes: Attributes) -> Counts | None:
    # Input and both caches are counted apart.
    cached, written = (
        whole(attributes.get(f"cache_{name}_tokens")) for name in ("read", "creation")
    )
    inputs = whole(attributes.get("input_tokens"))
    if inputs is None:
        return None
    outputs = whole(attributes.get("output_tokens"))
    inputs += (cached or 0) + (written or 0)
    return usage_of(inputs, outputs or 0, cached=cached, written=written)


def _gemini_counts(attributes: Attributes) -> Counts | None:
    # Cached tokens are part of the input; thoughts and prompts of tools stand beside.
    inputs = whole(attributes.get("input_token_count"))
    if inputs is None:
        return None
    thoughts = whole(attributes.get("thoughts_token_count"))
    outputs = (whole(attributes.get("output_token_count")) or 0) + (thoughts or 0)
    inputs += whole(attributes.get("tool_token_count")) or 0
    cached = whole(attributes.get("cached_content_token_count"))
    return usage_of(inputs, outputs, cached=cached, reasoning=thoughts)


def _codex_counts(attributes: Attributes) -> Counts | None:
    # Parts lie inside of their wholes; "tool_token_count" is the sum of both.
    if attributes.get("event.kind") != "response.completed":
        return None
    inputs = whole(attributes.get("input_token_count"))
    outputs = whole(attributes.get("output_token_count"))
    cached = whole(attributes.get("cached_token_count"))
    reasoning = whole(attributes.get("reasoning_token_count"))
    return usage_of(inputs, outputs, cached=cached, reasoning=reasoning)


def _cursor_counts(attributes: Attributes) -> Counts | None:
    # As Claude Code's.
    return _claude_counts(
        {
            name.removeprefix(_CURSOR): count
            for name, count in attributes.items()
            if name.startswith(_CURSOR)
        }
    )


class _AgentEvent(NamedTuple):
    """An event that an agent logs for each request.

    Attributes:
        provider: Who answers.
        counts: How tokens are counted.
        model: The attribute that names the model.
        request: The one that identifies the request.
    """

    provider: str
    counts: Callable[[Attributes], Counts | None]
    model: str = "model"
    request: str = "request_id"


AGENT_EVENTS: Mapping[str, _AgentEvent] = {
    # Source: https://docs.claude.com/en/docs/claude-code/monitoring-usage
    CLAUDE_REQUEST: _AgentEvent("anthropic", _claude_counts),
    # Source: https://github.com/google-gemini/gemini-cli/blob/main/docs/cli/telemetry.md
    "gemini_cli.api_response": _AgentEvent("gcp.gemini", _gemini_counts),
    # Source: https://github.com/QwenLM/qwen-code/blob/main/docs/telemetry.md
    "qwen-code.api_response": _AgentEvent("unknown", _gemini_counts),
    # Source: https://github.com/openai/codex/blob/main/docs/config.md#otel
    "codex.sse_event": _AgentEvent("openai", _codex_counts),
    # Source: https://cursor.com/docs/enterprise/opentelemetry (cursor.api.request)
    "cursor.api_request": _AgentEvent(
        "unknown", _cursor_counts, "cursor.model.name", "cursor.event.id"
    ),
}


def agent_event_of(name: str, attributes: Attributes) -> str | None:
    """The name in ``AGENT_EVENTS`` of an event; None where it is of none.

    Args:
        name: Its name, as its record has it.
        attributes: Its attributes.
    """
    if name == _REQUEST:
        is_cursor = f"{_CURSOR}input_tokens" in attributes
        return "cursor.api_request" if is_cursor else CLAUDE_REQUEST
    return name if name in AGENT_EVENTS else None


def build_event_call(attributes: Attributes, name: str) -> LoggedCall | None:
    """The call of an event; None where it is no call.

    Args:
        attributes: The event's.
        name: Its name in ``AGENT_EVENTS``.
    """
    event = AGENT_EVENTS[name]
    counts = event.counts(attributes)
    if counts is None:
        return None
    return LoggedCall(
        provider=event.provider,
        model=text(attributes.get(event.model)) or text(attributes.get("gen_ai.request.model")),
        counts=counts,
        identity=known_by(name, text(attributes.get(event.request))),
    )


def call_in_agent_span(attributes: Attributes) -> LoggedCall | None:
    """The call of one of Claude Code's spans, which its event says, too; None where it is no call.

    Source: https://code.claude.com/docs/en/monitoring-usage (traces)

    Args:
        attributes: The span's.
    """
    if attributes.get("span.type") != "llm_request":
        return None
    return build_event_call(attributes, CLAUDE_REQUEST)


AGENT_ATTRIBUTES = frozenset(
    {"span.type", "model", "request_id", "input_tokens", "output_tokens"}
    | {"cache_read_tokens", "cache_creation_tokens"}
)
"""Attributes that ``call_in_agent_span`` looks at."""
