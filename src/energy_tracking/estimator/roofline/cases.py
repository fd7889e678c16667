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
from energy_tracking.estimator.roofline.prices import compute_prices
from energy_tracking.estimator.roofline.sharing import Case, Sharing
from energy_tracking.estimator.serving import ServingProfile
from energy_tracking.estimator.serving_bounds import CURRENT_ENGINE_YEAR
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
class Cases:
    """The central case, and both ends of what is not known.

    Attributes:
        central: The case that is estimated.
        batch: The same with most and fewest sequences; None where they are known.
        parameters: The least and the largest model; None where it is published.
        drafting: What the energy of an answer may be less and more by on account of drafts, over
            that energy [1]; None where that is known.
        factors: The low and high factor [1] of unknowns that touch all of the energy alike.
        request_parts: Names of the parts that ``ranges`` computes for each request.
        grade_factor: What the model may cost over or under its profile by its grade [1].
        assumed: What is assumed about serving, but for the sequences, as in ``EnergyEstimate``.
        roomy: How steps are shared where all sequences fit, but for the most of ``batch``.
        roomy_context: Tokens of context with which they do for certain [tokens].
    """

    central: Case
    batch: tuple[Case, Case] | None
    parameters: tuple[Case, Case] | None
    drafting: tuple[float, float] | None
    factors: Mapping[str, tuple[float, float]]
    request_parts: tuple[str, ...]
    grade_factor: float
    assumed: Mapping[str, float | bool | str]
    roomy: Sharing
    roomy_context: float

    def find_sharing(self, context: Any) -> Sharing:
        """How steps are shared.

        Args:
            context: Tokens that each sequence attends to; a float or an array of floats [tokens].
        """
        most = self.roomy_context
        if most == math.inf or (type(context) is float and context <= most):
            return self.roomy  # nearly always
        if type(context) is not float and not (context > most).any():
            return self.roomy
        return Sharing(self.central, self.batch, self.parameters, context)


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
        return Case(site, prices, sequences, serving.batch_is_known)

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
    drafting = _find_drafting_shares(serving, constants)
    are_in = {
        "prefill": True,
        "speculative decoding": drafting is not None,
        "batch": batch is not None,
        "parameters": parameters is not None,
        "samples": site.samples > 1,
    }
    fitting = (central, *(batch or ())[1:], *(parameters or ()))
    return Cases(
        central,
        batch,
        parameters,
        drafting,
        factors,
        tuple(name for name, is_in in are_in.items() if is_in),
        GRADE_FACTORS[model.grade],
        _list_assumed(site, serving, find_served_format(model, gpu, serving)),
        Sharing(central, batch, parameters),
        min(case.roomy_context for case in fitting),
    )


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


def _find_drafting_shares(
    serving: ServingProfile, constants: RooflineConstants
) -> tuple[float, float] | None:
    """What decode may take less and more at both ends of what drafts may save, over its energy [1].

    None where there are no drafts.
    """
    drafted, least = constants.speculative_decode, constants.speculative_decode_low
    if serving.speculative:
        return 1.0 - least / drafted, constants.speculative_decode_high / drafted - 1.0
    # No drafts is what is estimated, and one end of what is not known.
    return (1.0 - least, 0.0) if serving.speculative is None else None


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
