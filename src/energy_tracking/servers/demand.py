"""What a call asked of its server: its tokens and their prices by the estimator."""

from __future__ import annotations

from energy_tracking.calls.call import Call
from energy_tracking.calls.record import CallRecord
from energy_tracking.servers.sharing import Demand, TokenPrices


def describe_demand(call: Call, record: CallRecord) -> tuple[Demand, TokenPrices] | None:
    """The demand of a call and the prices of its tokens; None where it cannot be shared.

    It cannot where its tokens or their energy are not known, and needs not where the server has
    measured it itself.

    Args:
        call: The call, which has ended.
        record: Its record, as it is estimated.
    """
    usage, estimate = record.usage, record.calibrated or record.estimate
    if usage is None or estimate is None or record.measured_energy_joules is not None:
        return None
    computed = usage.input_tokens - usage.cached_input_tokens
    ended_at = call.started_at + record.duration_seconds
    is_streamed = record.request.stream and call.first_chunk_at is not None
    demand = Demand(
        started_at=call.started_at,
        first_token_at=call.first_chunk_at if is_streamed else call.started_at,  # type: ignore[arg-type]
        ended_at=ended_at,
        prompt_tokens=computed,
        output_tokens=usage.output_tokens,
    )
    prices = TokenPrices(
        estimate.prefill_energy_joules / computed if computed else 0.0,
        estimate.decode_energy_joules / usage.output_tokens if usage.output_tokens else 0.0,
    )
    return demand, prices
