"""Events of a stream that are a piece of text and nothing else, known by their keys alone.

They are nearly all events of nearly all streams, so that each costs no more than a look. An event
with any other key, of whatever provider, is read in full.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from energy_tracking.usage.text import CHARACTERS_PER_TOKEN

# Keys of a chat chunk and of its choice that say nothing which a call does not know by then, but
# for the text.
_PLAIN_CHUNK = frozenset(
    {"id", "object", "created", "model", "choices", "usage", "system_fingerprint", "service_tier"}
    | {"obfuscation", "provider"}
)
_PLAIN_CHOICE = frozenset({"index", "delta", "finish_reason", "logprobs", "native_finish_reason"})
_PLAIN_DELTA = frozenset({"content", "role"})

# The same of an event of the Responses API, whose text is all of `delta`.
_PLAIN_EVENT = frozenset(
    {"type", "delta", "item_id", "output_index", "content_index", "sequence_number", "logprobs"}
    | {"obfuscation"}
)
_PLAIN_EVENT_TYPES = frozenset(
    {"response.output_text.delta", "response.function_call_arguments.delta"}
    | {"response.reasoning_summary_text.delta", "response.reasoning_text.delta"}
)


def plain_text_tokens(event: Any) -> float | None:
    """Tokens of an event that has a piece of text and nothing else; None where it may have more.

    As ``generated_tokens`` counts them [tokens].

    Args:
        event: A stream event, or whatever a server sent in place of one.
    """
    try:
        choices = event.get("choices")
        if choices is None:
            return _plain_event_tokens(event)
        (choice,) = choices
        delta = choice["delta"]
        text = delta.get("content")
    except (KeyError, TypeError, ValueError, AttributeError):
        return None  # none, several, or something else
    if (
        type(text) is str
        and event.get("usage") is None
        # To compare as many keys as there must be costs half of what a set of all keys does.
        and (len(delta) == 1 or _PLAIN_DELTA.issuperset(delta))
        and (
            (len(choice) == 3 and "index" in choice and "finish_reason" in choice)
            or _PLAIN_CHOICE.issuperset(choice)
        )
        and _PLAIN_CHUNK.issuperset(event)
    ):
        return len(text) / CHARACTERS_PER_TOKEN
    return None


def _plain_event_tokens(event: Mapping[str, Any]) -> float | None:
    """The same of an event of the Responses API."""
    if event.get("type") in _PLAIN_EVENT_TYPES and _PLAIN_EVENT.issuperset(event):
        text = event.get("delta")
        return len(text) / CHARACTERS_PER_TOKEN if type(text) is str else None
    return None
