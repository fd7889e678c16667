"""How calls are estimated by the settings of a tracker: the method, the GPU and the assumptions.

A new assumption is a setting, a field of ``Assumptions`` and a line in ``build_basis``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from energy_tracking.calls.record import Alternative
from energy_tracking.errors import ConfigurationError, must_be
from energy_tracking.estimator import (
    CALIBRATED_METHOD,
    Assumptions,
    ServingProfile,
    check_memory_bandwidth,
)
from energy_tracking.estimator.serving import SERVING
from energy_tracking.estimator.serving_bounds import check_one_batch
from energy_tracking.frozen import frozen
from energy_tracking.profiles.catalogue import Catalogue
from energy_tracking.profiles.profile import GpuProfile
from energy_tracking.settings import SERVING_SETTINGS, Settings
from energy_tracking.settings.names import named, naming


@frozen()
class Basis:
    """How calls are estimated.

    Attributes:
        method: The method.
        gpu: The GPU profile, as the method needs it.
        assumptions: What is assumed beside it.
        calibrated: How the calibrated estimate beside this one is made; None: there is none.
    """

    method: str
    gpu: GpuProfile
    assumptions: Assumptions
    calibrated: Basis | None = None


def build_basis(settings: Settings, catalogue: Catalogue) -> Basis:
    """How calls are estimated by these settings.

    Args:
        settings: The settings.
        catalogue: The profiles.

    Raises:
        UnknownGpuError: The GPU has no profile.
        ConfigurationError: The method does not know the scope, or both numbers of
            sequences are given.
    """
    method = settings.method
    gpu = catalogue.gpu(settings.gpu)
    if method != CALIBRATED_METHOD and settings.scope != "gpu":
        what = f"'gpu' with method {method!r}, which knows the GPU board alone"
        remedy = f"use method {CALIBRATED_METHOD!r}"
        raise ConfigurationError(must_be(named("scope"), what, settings.scope, remedy))
    assumptions = Assumptions(
        attention_mode=settings.attention_mode,
        serving=_build_serving(settings),
        scope=settings.scope,
    )
    corrected = catalogue.corrected_gpu(gpu)
    if method == CALIBRATED_METHOD:
        check_memory_bandwidth(corrected)
        return Basis(method, corrected, assumptions)
    calibrated = None
    if corrected.memory_bandwidth is not None:
        calibrated = Basis(CALIBRATED_METHOD, corrected, assumptions)
    return Basis(method, gpu, assumptions, calibrated)


def change_basis(settings: Settings, catalogue: Catalogue, other: Alternative) -> Basis:
    """How calls are estimated by these settings with what is other in them.

    Args:
        settings: The settings.
        catalogue: The profiles.
        other: What is other; its model aside.

    Raises:
        UnknownGpuError: There is no such GPU.
        ConfigurationError: The method knows no such scope or number of sequences.
    """
    changes = other.changes
    changes.pop("model", None)
    other.check_effect(other.method or settings.method)
    if not changes.keys().isdisjoint(("concurrency_per_gpu", "sequences")):
        settings = replace(settings, concurrency_per_gpu=None, sequences=None)
    return build_basis(replace(settings, **changes), catalogue)  # type: ignore[arg-type]


def check_effects(settings: Settings, basis: Basis) -> None:
    """Check that no setting is for the calibrated number alone where there is none.

    Args:
        settings: The settings.
        basis: How calls are estimated by them.

    Raises:
        ConfigurationError: One has no effect.
    """
    if basis.method == CALIBRATED_METHOD or basis.calibrated is not None:
        return
    without_effect = _select_serving_settings(settings)
    if settings.timing_evidence:
        without_effect["timing_evidence"] = True
    if settings.server_metrics:
        without_effect["server_metrics"] = ",".join(map(str, settings.server_metrics))
    for name, value in without_effect.items():
        what = f"unset: it has no effect on GPU {basis.gpu.name!r}"
        remedy = (
            "it is for the calibrated number, for which the GPU profile needs a memory_bandwidth"
        )
        raise ConfigurationError(must_be(named(name), what, value, remedy))


def _build_serving(settings: Settings) -> ServingProfile:
    """The serving that the settings state, the rest left to be assumed.

    Raises:
        ConfigurationError: Both numbers of sequences are given.
    """
    with naming("sequences"):
        check_one_batch(settings.concurrency_per_gpu, settings.sequences)
    given = _select_serving_settings(settings)
    if not given:
        return SERVING  # the one object, which is found at once among what is computed for it
    serving = ServingProfile(**given)
    return serving if "concurrency_per_gpu" not in given else serving.with_known_concurrency()


def _select_serving_settings(settings: Settings) -> dict[str, Any]:
    """The settings about serving that are not left to be assumed."""
    given = {name: getattr(settings, name) for name in SERVING_SETTINGS}
    return {name: value for name, value in given.items() if value is not None}
