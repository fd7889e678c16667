"""From token counts to energy: the estimators, by the name of their method.

methods          the table of methods, and what is assumed beside model and GPU
reference        the seed formula
roofline/        the calibrated estimator
serving          how a model is assumed to be served
deployment       the same as plain numbers, every gap filled
evidence         what was seen of the server while it served one call
timing_evidence  what the speed of a stream says of the concurrency
doubts           what makes one call less certain than its model and GPU
estimate         the result that every method returns
"""

from __future__ import annotations

from energy_tracking.estimator.deployment import check_memory_bandwidth
from energy_tracking.estimator.estimate import ATTENTION_MODES, EnergyEstimate
from energy_tracking.estimator.methods import (
    CALIBRATED_METHOD,
    METHODS,
    Assumptions,
    Estimator,
    apply_evidence,
    estimate_usage,
    prepare_estimator,
)
from energy_tracking.estimator.roofline.request import SCOPES
from energy_tracking.estimator.serving import ServingProfile

__all__ = [
    "ATTENTION_MODES",
    "CALIBRATED_METHOD",
    "METHODS",
    "SCOPES",
    "Assumptions",
    "EnergyEstimate",
    "Estimator",
    "ServingProfile",
    "apply_evidence",
    "check_memory_bandwidth",
    "estimate_usage",
    "prepare_estimator",
]
