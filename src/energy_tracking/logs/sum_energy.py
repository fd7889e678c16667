"""The energy of a sum over several requests, at their mean context.

A usage page says how many requests there were and how many tokens they had together. Energy
grows faster than in proportion to a request's context, so requests of different lengths use more
than as many of the mean length. How much more is a fact of the traffic: ``SPREAD`` has the least
and the most of it over real traces, and is part of the range.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from energy_tracking.estimation import Estimation
from energy_tracking.estimator import EnergyEstimate
from energy_tracking.logs.logged import LoggedCall
from energy_tracking.usage.token_usage import TokenUsage

SPREAD = (0.99, 1.68)
"""Energy of real requests over that of as many of their mean length [1]: the least, and the most.

Over hours, and blocks of 100 and 1,000 requests, of the Azure 2023 traces (code 1.01 to 1.09,
conversation 0.99 to 1.03) and of Mooncake's (1.05 to 1.68), for three models and both methods.
Source: https://github.com/Azure/AzurePublicDataset, https://github.com/kvcache-ai/Mooncake
"""


@dataclass(frozen=True, slots=True)
class SumEstimate:
    """The energy of a sum over several requests.

    Attributes:
        mean: The estimate of one request of about the mean length: method, GPU, profile.
        total_energy_joules: Energy of all at their mean length [J].
        total_energy_low_joules: Low end of its 90 % range, the spread of lengths included [J].
        total_energy_high_joules: High end of it [J].
        calibrated: The calibrated energy beside it, with the ends of its range likewise [J];
            None where there is none.
    """

    mean: EnergyEstimate
    total_energy_joules: float
    total_energy_low_joules: float
    total_energy_high_joules: float
    calibrated: tuple[float, float, float] | None = None


def estimate_sum(call: LoggedCall, estimation: Estimation) -> SumEstimate | None:
    """Estimate a sum; None where its requests are not counted, or its model is not known.

    Args:
        call: The sum.
        estimation: Estimates one request.
    """
    counts, requests = call.counts, call.requests
    if counts is None or not requests:
        return None
    total, beside = _Weighted(), _Weighted()
    mean = None
    for weight, usage in _mean_usages(call, requests):
        outcome = estimation.estimate(call.model, None, usage)
        if outcome.estimate is None:
            return None
        mean = mean or outcome.estimate
        total.add(weight, outcome.estimate)
        beside.add(weight, outcome.calibrated)
    assert mean is not None
    energies = total.of_requests(requests)
    assert energies is not None
    return SumEstimate(mean, *energies, beside.of_requests(requests))


class _Weighted:
    """The mean of estimates, each with its share."""

    def __init__(self) -> None:
        self._joules = [0.0, 0.0, 0.0]
        self._is_known = True

    def add(self, weight: float, estimate: EnergyEstimate | None) -> None:
        if estimate is None:
            self._is_known = False
            return
        energies = (
            estimate.total_energy_joules,
            estimate.total_energy_low_joules,
            estimate.total_energy_high_joules,
        )
        for place, joules in enumerate(energies):
            self._joules[place] += weight * joules

    def of_requests(self, requests: int) -> tuple[float, float, float] | None:
        """The energy of so many, and its range with the spread of their lengths."""
        if not self._is_known:
            return None
        mean, low, high = self._joules
        least, most = SPREAD
        return requests * mean, requests * low * least, requests * high * most


def _mean_usages(call: LoggedCall, requests: int) -> list[tuple[float, TokenUsage]]:
    """Whole counts around the mean ones, with their shares, which add up to 1."""
    counts = call.counts
    assert counts is not None
    cached = counts.cached_input_tokens / requests
    reasoning = None if counts.reasoning_tokens is None else counts.reasoning_tokens / requests
    usages = []
    for (share_in, inputs), (share_out, outputs) in product(
        _whole_neighbours(counts.input_tokens, requests),
        _whole_neighbours(counts.output_tokens, requests),
    ):
        usage = TokenUsage(
            input_tokens=inputs,
            cached_input_tokens=min(round(cached), inputs),
            output_tokens=outputs,
            reasoning_tokens=None if reasoning is None else min(round(reasoning), outputs),
            dialect="mean",
        )
        usages.append((share_in * share_out, usage))
    return usages


def _whole_neighbours(total: int, requests: int) -> list[tuple[float, int]]:
    """The whole numbers below and above a mean, with shares that have it as their mean."""
    below, rest = divmod(total, requests)
    share = rest / requests
    return [(1 - share, below), (share, below + 1)] if rest else [(1.0, below)]
