"""The deployment that is estimated, and those at both ends of what is not known.

``build_cases`` does once per model, GPU and serving what does not depend on the request.
A new unknown that touches all of the energy is an entry of ``factors``; one that needs a
deployment of its own is a field of ``Cases`` and a part in ``ranges``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from energy_tracking.estimator.deployment import (
    CLOSED_FAMILIES,
    Deployment,
    deploy,
    find_served_format,
)
from energy_tracking.estimator.estimate import GRADE_FACTORS
from energy_tracking.estimator.roofline.constants import RooflineConstants
from energy_tracking.estimator.roofline.fitted import GPUS
from energy_tracking.estimator.roofline.prices import (
    Prices,
    compute_prices,
    compute_token_energy,
)
from energy_tracking.estimator.roofline.work import find_few, find_library, take_larger
from energy_tracking.estimator.serving import CURRENT_ENGINE_YEAR, ServingProfile
from energy_tracking.frozen import frozen
from energy_tracking.profiles.profile import GpuProfile, ModelProfile

CROWD = 512
"""Sequences on one instance from which the fit is less sure [1]."""

HARDWARE_RANGE = (0.45, 2.5)
"""Energy on the accelerators and at the precisions that a closed provider may serve on, over
that on the GPU assumed [1]; ``accuracy.py`` prints it."""

TINY_CACHE_BYTES = 1e-9
"""Taken where a model keeps nothing of its context, so that any number fits [byte]."""

UNSEEN_GPU_FACTOR = 1.5
"""What a GPU may cost over or under the estimate, 90 %, if the fit saw none of its kind [1].

Each GPU that was seen, left out of the fit, is predicted within this factor in 90 % of its
rows; ``fit.py`` prints it.
"""


class Case:
    """A deployment, the sequences that share its steps, and what it takes for them.

    Attributes:
        site: The deployment.
        prices: Its prices.
        sequences: Sequences that share a step, if they fit [1].
        token_joules: Energy of generating a token that attends to nothing, with all of them [J].
        roomy_context: Tokens of context with which all of them fit for certain [tokens].

    Beside these it has at hand what every request asks of its deployment and prices: ``gpus``,
    ``samples``, ``input_token``, ``input_pair`` and ``output_pair``.
    """

    __slots__ = (
        "gpus",
        "input_pair",
        "input_token",
        "output_pair",
        "prices",
        "roomy_context",
        "samples",
        "sequences",
        "site",
        "token_joules",
    )

    def __init__(
        self, site: Deployment, prices: Prices, sequences: float, roomy_context: float
    ) -> None:
        """Compute what a token takes.

        Args:
            site: The deployment.
            prices: Its prices.
            sequences: Sequences that share a step, if they fit [1].
            roomy_context: Tokens of context with which all of them fit for certain [tokens].
        """
        self.site = site
        self.prices = prices
        self.sequences = sequences
        self.token_joules = compute_token_energy(prices, sequences)
        self.roomy_context = roomy_context
        self.input_token, self.input_pair = prices.input_token, prices.input_pair
        self.output_pair = prices.output_pair
        self.gpus, self.samples = site.gpus, site.samples

    def price_crowd(self, context: float) -> tuple[float, float]:
        """Sequences that fit with this context [1], and a token's energy with so many [J].

        Any number fits where all sequences of the case do with any context.

        Args:
            context: Tokens that each of them attends to; a float or an array [tokens].
        """
        if self.roomy_context == math.inf:
            return math.inf, 0.0
        fit = count_sequences_that_fit(self.site, context)
        return fit, compute_token_energy(self.prices, fit)

    def find_token_joules(self, context: Any) -> Any:
        """Energy of a token with as many sequences as fit with this context [J].

        Args:
            context: Tokens that each of them attends to; a float or an array of floats [tokens].
        """
        if type(context) is float:
            if context <= self.roomy_context:
                return self.token_joules  # nearly always
        elif (rows := find_few(context > self.roomy_context)) is not None:
            joules = find_library(context).full_like(context, self.token_joules)
            joules[rows] = self._limit_token_joules(context[rows])
            return joules
        return self._limit_token_joules(context)

    def _limit_token_joules(self, context: float) -> float:
        _, crowd_joules = self.price_crowd(context)
        # The fewer share a step, the more a token takes.
        return take_larger(self.token_joules, crowd_joules)


@frozen()
class Cases:
    """The central case, and both ends of what is not known.

    Attributes:
        central: The case that is estimated.
        batch: The same with most and fewest sequences; None where they are known.
        parameters: The least and the largest model; None where it is published.
        drafting: Decode energy over the central one at both ends of what speculative decoding
            may save [1].
        factors: The low and high factor [1] of unknowns that touch all of the energy alike.
        request_parts: Names of the parts that ``ranges`` computes for each request.
        grade_factor: What the model may cost over or under its profile by its grade [1].
        assumed: What is assumed about serving, but for the sequences, as in ``EnergyEstimate``.
    """

    central: Case
    batch: tuple[Case, Case] | None
    parameters: tuple[Case, Case] | None
    drafting: tuple[float, float]
    factors: Mapping[str, tuple[float, float]]
    request_parts: tuple[str, ...]
    grade_factor: float
    assumed: Mapping[str, float | bool | str]


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

    def build_case(site: Deployment, sequences: float) -> Case:
        prices = compute_prices(site, constants)
        # As many as there are, where that is known.
        roomy = math.inf if serving.batch_is_known else _find_roomy_context(site, sequences)
        return Case(site, prices, sequences, roomy)

    site = deploy(model, gpu, serving)
    central = build_case(site, site.sequences)
    batch = None
    if not serving.batch_is_known:
        least, most = (bound * site.gpus for bound in serving.concurrency_range)
        batch = build_case(site, most), build_case(site, least)
    parameters = None
    if model.grade != "A" or model.num_active_params_low or model.num_active_params_high:
        low, high = (deploy(end, gpu, serving) for end in _build_parameter_ends(model))
        parameters = build_case(low, low.sequences), build_case(high, high.sequences)
    crowded = site.sequences * site.stages >= CROWD
    error = constants.crowded_error_factor if crowded else constants.error_factor
    factors = {"formula": (1 / error, error)}
    if gpu.name not in GPUS:
        factors["gpu"] = (1 / UNSEEN_GPU_FACTOR, UNSEEN_GPU_FACTOR)
    if model.family in CLOSED_FAMILIES:
        factors["hardware"] = HARDWARE_RANGE
    drafting = _find_drafting_range(serving, constants)
    are_in = {
        "prefill": True,
        "speculative decoding": drafting[0] != drafting[1],
        "batch": batch is not None,
        "parameters": parameters is not None,
        "samples": site.samples > 1,
    }
    return Cases(
        central,
        batch,
        parameters,
        drafting,
        factors,
        tuple(name for name, is_in in are_in.items() if is_in),
        GRADE_FACTORS[model.grade],
        _list_assumed(site, serving, find_served_format(model, gpu, serving)),
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
    each = site.cache_bytes * context + site.state_bytes
    if type(each) is float:  # nearly always: the same, with nothing asked again
        fit = site.room_bytes / (1.0 if each < 1.0 else each)
        return 1.0 if fit < 1.0 else fit
    return take_larger(site.room_bytes / take_larger(each, 1.0), 1.0)


def _find_roomy_context(site: Deployment, sequences: float) -> float:
    """A context with which this many sequences fit, and so with any shorter one [tokens].

    Args:
        site: The deployment.
        sequences: How many [1].
    """
    if sequences <= 1:
        return math.inf  # at least one is taken to fit
    kept = site.room_bytes / sequences - site.state_bytes
    # A little less, for what rounding may add.
    context = 0.999999 * kept / take_larger(site.cache_bytes, TINY_CACHE_BYTES)
    return context if count_sequences_that_fit(site, context) >= sequences else -1.0


def _list_assumed(
    site: Deployment, serving: ServingProfile, weight_format: str
) -> dict[str, float | bool | str]:
    """What is assumed about serving, under the names of the settings.

    Args:
        site: The deployment.
        serving: How the model is assumed to be served.
        weight_format: The format of its weights.
    """
    assumed: dict[str, float | bool | str] = {
        "num_gpus": site.gpus * site.stages,
        "weight_bytes": site.weight_bytes,
        "weight_format": weight_format,
    }
    if serving.expert_parallel is not None:
        assumed["expert_parallel"] = serving.expert_parallel
    if serving.engine_year != CURRENT_ENGINE_YEAR:
        assumed["engine_year"] = serving.engine_year
    if serving.speculative is not None:
        assumed["speculative"] = serving.speculative
    return assumed


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
