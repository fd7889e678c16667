"""From token counts to energy: the estimators, by the name of their method.

methods          the table of methods, and what is assumed beside model and GPU
reference        the seed formula
roofline/        the calibrated estimator
serving_bounds   what may be said of how a model is served
serving          how a model is assumed to be served
deployment       the same as plain numbers, every gap filled
evidence         what was seen of the server while it served one call
timing_evidence  what the speed of a stream says of the concurrency
doubts           what makes one call less certain than its model and GPU
estimate         the result that every method returns

The names of the methods and their result are all that a session or a setting needs; what computes
is loaded where it is wanted, by the first tracker.
"""

from __future__ import annotations

from importlib import import_module

from energy_tracking.estimator.estimate import (
    ATTENTION_MODES,
    CALIBRATED_METHOD,
    METHOD_NAMES,
    SCOPES,
    EnergyEstimate,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from energy_tracking.estimator.deployment import check_memory_bandwidth
    from energy_tracking.estimator.methods import (
        METHODS,
        Assumptions,
        Estimator,
        apply_evidence,
        estimate_usage,
        prepare_estimator,
        widen_by_doubts,
    )
    from energy_tracking.estimator.serving import ServingProfile

__all__ = [
    "ATTENTION_MODES",
    "CALIBRATED_METHOD",
    "METHODS",
    "METHOD_NAMES",
    "SCOPES",
    "Assumptions",
    "EnergyEstimate",
    "Estimator",
    "ServingProfile",
    "apply_evidence",
    "check_memory_bandwidth",
    "estimate_usage",
    "prepare_estimator",
    "widen_by_doubts",
]


_HOMES = {"check_memory_bandwidth": "deployment", "ServingProfile": "serving"}


def __getattr__(name: str) -> Any:
    """Load what computes when it is wanted."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _HOMES.get(name, "methods")
    return getattr(import_module(f"{__name__}.{home}"), name)
