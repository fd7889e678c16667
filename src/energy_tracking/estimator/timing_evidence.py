"""Timing evidence: how many sequences a server decodes together, by the speed of a stream.

Many sequences per step slow each of them down, so a stream that arrives fast is evidence of
few. It is so only for a model whose shape is published, on a GPU that is known: a fast stream
of an unknown model on unknown hardware says nothing of its batch. Drafts that are checked in one
step (speculative decoding) make a stream faster at any batch, and a slow network makes it
slower; both are in the likelihood. The server's own clock, where a response states it, has no
network in it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from energy_tracking.errors import ConfigurationError
from energy_tracking.estimator.deployment import CLOSED_FAMILIES, Deployment, deploy
from energy_tracking.estimator.roofline.constants import CALIBRATED, RooflineConstants
from energy_tracking.estimator.roofline.step import compute_decode_step
from energy_tracking.estimator.roofline.work import compute_mean_context, count_work
from energy_tracking.estimator.serving import SERVING, ServingProfile
from energy_tracking.profiles.profile import GpuProfile, ModelProfile

SLOW_NETWORK = 0.3
"""Probability that a stream arrives later than it was made [1]; an assumption."""

SLOWEST = 10.0
"""Factor over which its delay spreads, log-uniformly [1]; an assumption."""

SPECULATIVE = 0.5
"""Probability that drafts are checked where nobody says whether they are [1]; an assumption."""

NORMAL_95 = 1.6449
"""95 % quantile of the standard normal distribution."""

GRID = 60
"""Points of the posterior on either side of the prior's centre."""

TINY = 1e-9
"""Least width of a prior, so that a known concurrency stays what it is."""


def find_reason_against(model: ModelProfile) -> str | None:
    """Why the speed of this model's streams says nothing of its batch; None if it does."""
    if model.grade == "A" and model.family not in CLOSED_FAMILIES:
        return None
    return (
        f"the shape of {model.name!r} is not published (grade {model.grade}), so a fast stream "
        "is no proof of a small batch"
    )


def update_serving(
    model: ModelProfile,
    gpu: GpuProfile,
    *,
    input_tokens: float,
    output_tokens: float,
    observed_tokens_per_second: float,
    serving: ServingProfile = SERVING,
    slow_network: float | None = SLOW_NETWORK,
    constants: RooflineConstants = CALIBRATED,
) -> ServingProfile:
    """The serving assumption, updated by the rate at which a stream was seen to arrive, or made.

    Prior: ln(concurrency) is normal on either side of the central value, with the
    range's ends at its 5 and 95 % quantiles. Likelihood: a step takes as long as
    predicted, with the fit's own scatter; but with probability ``slow_network`` the
    stream was held up on its way, by any factor, spread log-uniformly over ``SLOWEST``, and
    where ``serving.speculative`` is None each token took the time of one that was drafted with
    probability ``SPECULATIVE``. A rate above the predicted one is therefore evidence for few
    sequences, one far below it almost none for many: the posterior then falls back to the
    prior. The server's own clock has no network in it; a rate by it that is slower than
    that of any batch is of something else, and the prior stays.

    Args:
        model: Model profile; its shape must be published.
        gpu: GPU profile; needs a memory bandwidth.
        input_tokens: Prompt tokens of the timed request [tokens].
        output_tokens: All generated tokens of the timed request [tokens].
        observed_tokens_per_second: Output tokens after the first, over the time from
            the first to the last [tokens/s].
        serving: The prior.
        slow_network: Probability that the network or client set the pace, between 0
            and 1 [1]; None: there is none, the server's clock has measured.
        constants: Fitted factors.

    Returns:
        The same profile with the concurrency's median and 5 and 95 % quantiles.

    Raises:
        ConfigurationError: The rate is not finite and above 0, the probability is not
            between 0 and 1, or the model's shape is not published.
    """
    if not 0 < observed_tokens_per_second < math.inf:
        raise ConfigurationError(
            "observed_tokens_per_second must be finite and above 0, "
            f"got {observed_tokens_per_second!r}"
        )
    if slow_network is not None and not 0 < slow_network < 1:
        raise ConfigurationError(f"slow_network must lie between 0 and 1, got {slow_network!r}")
    reason = find_reason_against(model)
    if reason is not None:
        raise ConfigurationError(f"timing evidence cannot be used: {reason}")
    if serving.sequences is not None:
        return serving
    serving = serving.of_size(model.num_total_params or model.num_active_params)
    site = deploy(model, gpu, replace(serving, speculative=serving.speculative or False))
    work = count_work(site, input_tokens, 0.0, output_tokens)
    context = compute_mean_context(work, input_tokens)
    paces = [(1.0, 1.0)]
    if serving.speculative is None:
        paces = [(1 - SPECULATIVE, 1.0), (SPECULATIVE, constants.speculative_decode)]

    def compute_evidence(sequences: float) -> float:
        """Likelihood of the rate, given how many sequences share a step [1]."""
        seconds, _ = compute_decode_step(replace(site, sequences=sequences), constants, context)
        return sum(
            share
            * _compute_likelihood(
                pace * seconds * observed_tokens_per_second, slow_network, constants
            )
            for share, pace in paces
        )

    points, weights = _weigh_concurrencies(serving, site, compute_evidence)
    if slow_network is None and not sum(weights):
        most = replace(site, sequences=math.exp(points[-1]) * site.gpus)
        slowest, _ = compute_decode_step(most, constants, context)
        if observed_tokens_per_second * slowest < 1:
            return serving
    low, median, high = (_find_quantile(points, weights, share) for share in (0.05, 0.5, 0.95))
    return replace(
        serving,
        concurrency_per_gpu=math.exp(median),
        concurrency_low_energy=math.exp(high),
        concurrency_high_energy=math.exp(low),
    )


def _weigh_concurrencies(
    serving: ServingProfile, site: Deployment, compute_evidence: Callable[[float], float]
) -> tuple[list[float], list[float]]:
    """Logarithms of the sequences per GPU that are tried, and the posterior weight of each."""
    least, most = serving.concurrency_range
    central = math.log(serving.central_concurrency)
    below = max(central - math.log(least), TINY) / NORMAL_95
    above = max(math.log(most) - central, TINY) / NORMAL_95
    points, weights = [], []
    for step in range(-GRID, GRID + 1):
        # Four standard deviations of the prior either way.
        deviation = 4 * step / GRID
        width = below if step < 0 else above
        # No instance serves less than one sequence.
        sequences = max(math.exp(central + deviation * width) * site.gpus, 1.0)
        points.append(math.log(sequences / site.gpus))
        weights.append(math.exp(-(deviation**2) / 2) * width * compute_evidence(sequences))
    return points, weights


def _compute_likelihood(
    predicted: float, slow_network: float | None, constants: RooflineConstants
) -> float:
    """Likelihood of a time per token, given the predicted over the observed one [1]."""
    z = -math.log(predicted) / constants.rate_sigma
    on_time = math.exp(-(z**2) / 2) / (constants.rate_sigma * math.sqrt(2 * math.pi))
    if slow_network is None:
        return on_time
    held_up = (1 + math.erf(z / math.sqrt(2))) / 2 / math.log(SLOWEST)
    return (1 - slow_network) * on_time + slow_network * held_up


def _find_quantile(points: list[float], weights: list[float], share: float) -> float:
    """The point below which ``share`` of the weight lies; the first, if none has any.

    None has any where a stream outran every prediction: as few sequences as can be.
    """
    wanted, seen = share * sum(weights), 0.0
    for point, weight in zip(points, weights, strict=True):
        seen += weight
        if seen >= wanted:
            return point
    return points[-1]
