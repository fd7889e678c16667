"""What one call saw of its server, for its estimate: how fast a stream came, the server's clock.

A further sight is a field of ``ServingEvidence``, and read here when the call has ended.
"""

from __future__ import annotations

from collections.abc import Mapping

from energy_tracking.estimator.evidence import ServerLoad, ServingEvidence
from energy_tracking.frozen import fill_fields
from energy_tracking.usage.server_timing import ServerTiming
from energy_tracking.usage.token_usage import TokenUsage


def build_evidence(
    usage: TokenUsage,
    stream_seconds: float | None,
    call_seconds: float,
    timing: ServerTiming | None,
    load: ServerLoad | None,
    prompt: object,
) -> ServingEvidence | None:
    """What a call saw of its server; None where it saw nothing.

    Args:
        usage: Its tokens.
        stream_seconds: From the first event of a stream to its end [s]; None: not streamed.
        call_seconds: From the start of the call to its end, by the clock here [s].
        timing: What the server's clock says.
        load: How busy the server was.
        prompt: The request's body.
    """
    rate = None
    if stream_seconds is not None:
        visible = usage.output_tokens - (usage.reasoning_tokens or 0)
        if visible > 1 and stream_seconds > 0:
            rate = (visible - 1) / stream_seconds
    # A response that took longer to make than to get was made for an earlier call.
    if timing is not None and (timing.decode_seconds or 0) > call_seconds:
        timing = None
    if (rate is not None or timing is not None) and _asks_for_several(prompt):
        # Of several answers to one request the tokens are added up, and the time is not.
        rate = timing = None
    if rate is None and timing is None and load is None:
        return None
    return fill_fields(ServingEvidence, {"tokens_per_second": rate, "timing": timing, "load": load})


def _asks_for_several(prompt: object) -> bool:
    """Whether a request is answered more than once."""
    return isinstance(prompt, Mapping) and prompt.get("n", 1) not in (None, 1)
