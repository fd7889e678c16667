"""The deployment that is estimated, and those at both ends of what is not known.

``build_cases`` does once per model, GPU and serving what does not depend on the request.
A new unknown that touches all of the energy is an entry of ``factors``; one that needs a
deployment of its own is a field of ``Cases`` and a part in ``ranges``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from energy_tracking.estimator.deployment import CLOSED_FAMILIES, Deployment, deploy
from energy_tracking.estimator.estimate import GRADE_FACTORS
from energy_tracking.estimator.roofline.constants import RooflineConstants
from energy_tracking.estimator.roofline.fitted import GPUS
from energy_tracking.estimator.roofline.prices import Prices, compute_prices
from energy_tracking.estimator.roofline.work import take_larger, take_smaller
from energy_tracking.estimator.serving import ServingProfile
from energy_tracking.frozen import frozen
from energy_tracking.profiles.profile import GpuProfile, ModelProfile

CROWD = 512
"""Sequences on one instance from which the fit is less sure [1]."""

HARDWARE_RANGE = (0.45, 2.5)
"""Energy on the accelerators and at the precisions that a closed provider may serve on, over
that on the GPU assumed [1]; ``accuracy.py`` prints it."""

UNSEEN_GPU_FACTOR = 1.5
"""What a GPU may cost over or under the estimate, 90 %, if the fit saw none of its kind [1].

Each GPU that was seen, left out of the fit, is predicted within this factor in 90 % of its
rows; ``fit.py`` prints it.
"""


@frozen()
class Case:
    """A deployment and its prices."""

    site: Deployment
    prices: Prices


@frozen()
class Cases:
    """The central case, and both ends of what is not known.

    Attributes:
        central: The case that is estimated.
        batch: Most and fewest sequences [1]; None where they are known.
        parameters: The least and the largest model; None where it is published.
        drafting: Decode energy over the central one at both ends of what speculative decoding
            may save [1].
        factors: The low and high factor [1] of unknowns that touch all of the energy alike.
        grade_factor: What the model may cost over or under its profile by its grade [1].
    """

    central: Case
    batch: tuple[float, float] | None
    parameters: tuple[Case, Case] | None
    drafting: tuple[float, float]
    factors: Mapping[str, tuple[float, float]]
    grade_factor: float

    def limit_sequences(self, case: Case, sequences: float, context: float) -> float:
        """Sequences, no more than fit with this context where they are assumed [1].

        Args:
            case: The case whose memory limits them.
            sequences: Sequences assumed or known [1].
            context: Tokens that each of them attends to [tokens].
        """
        if self.batch is None:
            return sequences
        find_longest = getattr(context, "max", None)
        if find_longest is not None:
            longest = float(find_longest())
            if count_sequences_that_fit(case.site, longest) >= sequences:
                # Of many requests, none is long enough to matter.
                return sequences
        return take_smaller(sequences, count_sequences_that_fit(case.site, context))


@lru_cache(maxsize=512)
def build_cases(
    model: ModelProfile, gpu: GpuProfile, serving: ServingProfile, constants: RooflineConstants
) -> Cases:
    """The central case of a deployment and both ends of what is not known of it.

    Args:
        model: Model profile.
        gpu: GPU profile; needs a memory bandwidth.
        serving: How the model is assumed to be served.
        constants: Fitted factors.

    Raises:
        ProfileError: The GPU profile has no memory bandwidth.
    """
    serving = serving.of_size(model.num_total_params or model.num_active_params)

    def build_case(profile: ModelProfile) -> Case:
        site = deploy(profile, gpu, serving)
        return Case(site, compute_prices(site, constants))

    central = build_case(model)
    least, most = (bound * central.site.gpus for bound in serving.concurrency_range)
    parameters = None
    if model.grade != "A" or model.num_active_params_low or model.num_active_params_high:
        low, high = _build_parameter_ends(model)
        parameters = build_case(low), build_case(high)
    crowded = central.site.sequences * central.site.stages >= CROWD
    error = constants.crowded_error_factor if crowded else constants.error_factor
    factors = {"formula": (1 / error, error)}
    if gpu.name not in GPUS:
        factors["gpu"] = (1 / UNSEEN_GPU_FACTOR, UNSEEN_GPU_FACTOR)
    if model.family in CLOSED_FAMILIES:
        factors["hardware"] = HARDWARE_RANGE
    return Cases(
        central,
        None if serving.batch_is_known else (most, least),
        parameters,
        _find_drafting_range(serving, constants),
        factors,
        GRADE_FACTORS[model.grade],
    )


def count_sequences_that_fit(site: Deployment, context: float) -> float:
    """Sequences of this context whose caches fit beside the weights, at least one [1].

    Layers that look back on a window are taken to keep everything, as sparse attention does,
    and as engines that treat all layers alike do.

    Args:
        site: The deployment.
        context: Tokens that each sequence attends to [tokens].
    """
    # Where nothing is kept, any number fits.
    each = take_larger(site.cache_bytes * context + site.state_bytes, 1.0)
    return take_larger(site.room_bytes / each, 1.0)


def _find_drafting_range(
    serving: ServingProfile, constants: RooflineConstants
) -> tuple[float, float]:
    """Decode energy over the central one at both ends of what drafts may save [1]."""
    if serving.speculative:
        drafted = constants.speculative_decode
        return (
            constants.speculative_decode_low / drafted,
            constants.speculative_decode_high / drafted,
        )
    if serving.speculative is None:
        return constants.speculative_decode_low, 1.0
    return 1.0, 1.0


def _build_parameter_ends(model: ModelProfile) -> tuple[ModelProfile, ModelProfile]:
    """The profile with the least and the most credible active parameters."""

    def replace_active(active: float) -> ModelProfile:
        total = model.num_total_params
        return replace(
            model,
            num_active_params=active,
            num_total_params=None if total is None else max(total, active),
            num_active_params_low=None,
            num_active_params_high=None,
        )

    central = model.num_active_params
    return (
        replace_active(model.num_active_params_low or central),
        replace_active(model.num_active_params_high or central),
    )
