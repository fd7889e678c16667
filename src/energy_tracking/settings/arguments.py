"""The settings as keyword arguments, for type checkers and ``help()``.

Its annotations are evaluated, unlike those of all other modules: as texts each would be compiled
when the class is made, and kept in thrice the memory.
"""

from collections.abc import Iterable, Mapping
from os import PathLike
from typing import TypedDict


class SettingArguments(TypedDict, total=False):
    """The settings as keyword arguments; None means: not given."""

    gpu: str | None
    method: str | None
    attention_mode: str | None
    scope: str | None
    concurrency_per_gpu: float | None
    sequences: float | None
    num_gpus: float | None
    weight_bytes: float | None
    weight_format: str | None
    expert_parallel: int | None
    engine_year: int | None
    speculative: bool | None
    timing_evidence: bool | None
    server_metrics: str | Iterable[str] | None
    energy_meter: str | Iterable[str] | None
    calibration: str | PathLike[str] | None
    include_usage: str | None
    include_usage_hosts: Iterable[str] | None
    default_model: str | None
    model_mapping: Mapping[str, str] | None
    profiles: str | PathLike[str] | None
    spans: str | None
    detail: str | None
    metrics: str | None
    metric_tags: Iterable[str] | None
    region: str | None
    grams_per_kwh: float | None
    ledger: str | PathLike[str] | None
    summary: bool | None
    disabled: bool | None
