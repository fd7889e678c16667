"""The tokens of a call that has ended: as its server reports them, or counted from text.

Where the server reports none, or none of the input or output, they are counted from the text of the
request and of what came back; the record says so, and why.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from energy_tracking.usage.dialects import output_fault, read_usage
from energy_tracking.usage.names import text_of
from energy_tracking.usage.payloads import DELETED, UNFINISHED
from energy_tracking.usage.text import TEXT, whole_tokens
from energy_tracking.usage.token_usage import TokenUsage, explain_no_counts

if TYPE_CHECKING:
    from energy_tracking.calls.call import Call

WITHOUT_OUTPUT = frozenset({"embeddings", "moderation"})
"""Operations that generate nothing: their usage has an input alone."""


def read_tokens(call: Call) -> tuple[TokenUsage | None, str | None]:
    """The tokens, and why less is known of them than could be."""
    try:
        usage = call.usage or (None if call.raw_usage is None else read_usage(call.raw_usage))
        text_tokens = whole_tokens(call.text_tokens) if call.text_tokens else 0
        if usage is None and not text_tokens:
            return _count_prompt_alone(call)
        if usage is None:
            usage, reason = TokenUsage(dialect=TEXT), _explain_no_usage(call)
        elif text_tokens and not usage.output_tokens:
            nothing = "output" if usage.input_tokens else "tokens"
            reason = f"usage reports no {nothing} although text was generated"
        else:
            generates = call.request.operation not in WITHOUT_OUTPUT
            reason = output_fault(usage) if generates else usage.fault
            if usage.input_tokens or not usage.output_tokens:
                return usage, reason
        return _add_text_tokens(call, usage, text_tokens, reason)
    except Exception as error:
        # A call is counted, whatever it was made of.
        return None, f"the tokens cannot be read: {type(error).__name__}"


def _explain_no_usage(call: Call) -> str | None:
    """Why there is a text, and no usage that can be read."""
    if call.raw_usage is not None:
        reason = explain_no_counts(call.raw_usage)
    else:
        reason = f"no usage in the {'stream' if call.request.stream else 'response'}"
    return reason if call.usage_remedy is None else f"{reason}: {call.usage_remedy}"


def _count_prompt_alone(call: Call) -> tuple[TokenUsage | None, str | None]:
    """The tokens of a stream that began to answer, and ended before its first text."""
    if call.is_at_work and call.raw_usage is None:
        reason = "the stream ended before its first text: its prompt alone is counted"
        usage, assumed = _add_text_tokens(call, TokenUsage(dialect=TEXT), 0, reason)
        if usage.input_tokens:
            return usage, assumed
    return None, _missing_reason(call)


def _add_text_tokens(
    call: Call, usage: TokenUsage, text_tokens: int, reason: str | None
) -> tuple[TokenUsage, str | None]:
    """Fill in the counts that are zero, by the text of the request and of what came back.

    Args:
        call: The call.
        usage: What the server reports, with zeros.
        text_tokens: Tokens of the text that was generated.
        reason: Why the usage is not enough.
    """
    counts: dict[str, Any] = {}
    if not usage.input_tokens:
        from energy_tracking.usage.prompt_text import count_prompt  # most servers count it

        prompt = call.prompt_tokens or count_prompt(call.prompt)
        tokens = whole_tokens(prompt.text_tokens) + prompt.image_tokens
        if tokens or usage.dialect == TEXT:
            counts = {"input_tokens": tokens, "input_image_tokens": prompt.image_tokens}
            reason = (reason or "usage reports no input") + prompt.assumptions
    if not usage.output_tokens:
        counts["output_tokens"] = text_tokens
    estimated = tuple(name for name in ("input_tokens", "output_tokens") if name in counts)
    return replace(usage, **counts, estimated=estimated), reason


def _missing_reason(call: Call) -> str:
    """Why there is neither a usage nor a text."""
    if call.error_type is not None:
        return f"failed with {text_of(call.error_type)}"
    if call.status in UNFINISHED:
        return f"still {call.status} when last seen"
    if call.status == DELETED:
        return "deleted before anybody fetched it finished"
    if call.raw_usage is not None:
        return explain_no_counts(call.raw_usage)
    if call.unreadable is not None:
        return call.unreadable
    return "no usage in the response" if call.observed else "nothing was read"
