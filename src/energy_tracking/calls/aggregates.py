"""Sums over several requests, as usage pages and dashboards have them: their energy, at the mean.

Such a sum says how many requests there were and how many tokens they had together. Energy grows
faster than in proportion to a request's context, so requests of different lengths use more than as
many of the mean length. How much more is a fact of the traffic: ``SPREAD`` has the least and the
most of it over real traces, and is part of the range. Where nobody counted the requests, a sum has
its tokens only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from typing import Any

from energy_tracking.calls.call import Call
from energy_tracking.calls.record import CallRecord, Estimate, Outcome
from energy_tracking.estimator import EnergyEstimate
from energy_tracking.estimator.estimate import LATER, REST
from energy_tracking.frozen import fill_fields
from energy_tracking.usage.token_usage import TokenUsage

SPREAD = (0.99, 1.68)
"""Energy of real requests over that of as many of their mean length [1]: the least, and the most.

Over hours, and blocks of 100 and 1,000 requests, of the Azure 2023 traces (code 1.01 to 1.09,
conversation 0.99 to 1.03) and of Mooncake's (1.05 to 1.68), for three models and both methods.
Source: https://github.com/Azure/AzurePublicDataset, https://github.com/kvcache-ai/Mooncake
"""

UNKNOWN_REQUESTS = "a sum over an unknown number of requests: tokens only"
"""Why such a sum has no energy."""

NO_TOKENS = "no token counts"
"""Why a log's entry without them has none."""


class SumCall(Call):
    """A sum over several calls that ran somewhere else, on its way to a record.

    Attributes:
        requests: Their number; None where nobody counted them.
    """

    __slots__ = ("requests",)

    requests: int | None

    def record(self, estimate: Estimate) -> CallRecord:
        """The sum with its energy."""
        usage, outcome = self.raw_usage, Outcome(reason=NO_TOKENS)
        # Its counts are taken as they are: a sum may have more tokens than any one call.
        if isinstance(usage, TokenUsage):
            one = partial(_estimate_without_evidence, estimate, self.request.model)
            outcome = estimate_sum(usage, self.requests, one)
        else:
            usage = None
        return self._as_sum(self._build_record(usage, outcome, outcome.reason))

    def record_without_tokens(self, error: Exception) -> CallRecord:
        """As of a call."""
        return self._as_sum(super().record_without_tokens(error))

    def _as_sum(self, record: CallRecord) -> CallRecord:
        return fill_fields(CallRecord, vars(record) | {"requests": self.requests})


def _estimate_without_evidence(estimate: Estimate, model: str | None, usage: TokenUsage) -> Outcome:
    return estimate(model, None, usage, None)


def estimate_sum(
    usage: TokenUsage, requests: int | None, estimate: Callable[[TokenUsage], Outcome]
) -> Outcome:
    """Estimate a sum at the mean of its requests, or a call as it is.

    Args:
        usage: The tokens of all requests together.
        requests: How many they are [1]; 1: a call. None: nobody counted them.
        estimate: Estimates one request.
    """
    if requests == 1:
        return estimate(usage)
    if requests is None:
        return Outcome(reason=UNKNOWN_REQUESTS)
    own, beside = [], []
    for share, mean in _mean_usages(usage, requests):
        outcome = estimate(mean)
        if outcome.estimate is None:
            return outcome
        own.append((share, outcome.estimate))
        if outcome.calibrated is not None:
            beside.append((share, outcome.calibrated))
    calibrated = _add_up(beside, requests) if len(beside) == len(own) else None
    return Outcome(_add_up(own, requests), outcome.model_match, calibrated=calibrated)


_Means = list[tuple[float, EnergyEstimate]]
"""Estimates of requests of about the mean length, each with its share [1]."""


def _add_up(means: _Means, requests: int) -> EnergyEstimate:
    """The energy of so many requests, and its range with the spread of their lengths."""
    prefill = decode = low = high = 0.0
    for share, one in means:
        prefill += share * one.prefill_energy_joules
        decode += share * one.decode_energy_joules
        low += share * one.total_energy_low_joules
        high += share * one.total_energy_high_joules
    least, most = SPREAD
    values = {name: value for name, value in vars(means[0][1]).items() if name not in LATER}
    values["prefill_energy_joules"] = requests * prefill
    values["decode_energy_joules"] = requests * decode
    values["total_energy_low_joules"] = requests * low * least
    values["total_energy_high_joules"] = requests * high * most
    values["reasoning_energy_joules"] = None
    values[REST] = _REST_OF_SUMS, means, requests
    return fill_fields(EnergyEstimate, values)


class _RestOfSums:
    """Computes what few readers want of the estimate of a sum."""

    def complete(
        self, values: dict[str, Any], rest: tuple[object, _Means, int], names: tuple[str, ...]
    ) -> None:
        """Put in place all that ``_add_up`` has left.

        Args:
            values: Those of the estimate.
            rest: What is needed for it.
            names: What is wanted.
        """
        _, means, requests = rest
        first = means[0][1]
        values["total_flops"] = requests * sum(share * one.total_flops for share, one in means)
        values["range_parts"] = {**first.range_parts, "lengths": SPREAD}
        values["assumed"] = first.assumed


_REST_OF_SUMS = _RestOfSums()


def _mean_usages(usage: TokenUsage, requests: int) -> Iterator[tuple[float, TokenUsage]]:
    """Whole counts around the mean ones, with their shares, which add up to 1."""
    cached = round(usage.cached_input_tokens / requests)
    known = usage.reasoning_tokens
    reasoning = None if known is None else round(known / requests)
    for (share_in, inputs), (share_out, outputs) in product(
        _whole_neighbours(usage.input_tokens, requests),
        _whole_neighbours(usage.output_tokens, requests),
    ):
        mean = TokenUsage(
            input_tokens=inputs,
            cached_input_tokens=min(cached, inputs),
            output_tokens=outputs,
            reasoning_tokens=None if reasoning is None else min(reasoning, outputs),
            dialect="mean",
        )
        yield share_in * share_out, mean


def _whole_neighbours(total: int, requests: int) -> list[tuple[float, int]]:
    """The whole numbers below and above a mean, with shares that have it as their mean."""
    below, rest = divmod(total, requests)
    share = rest / requests
    return [(1 - share, below), (share, below + 1)] if rest else [(1.0, below)]
