"""What may be said of how a model is served: all of it that settings and records need."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from energy_tracking.bounds import Bound
from energy_tracking.errors import ConfigurationError, must_be

EARLY_ENGINE_YEAR = 2024
"""The last year of engines whose scheduler made the GPU wait between steps (vLLM 0.5)."""

UNBALANCED_ENGINE_YEAR = 2025
"""The last year of engines whose busiest expert GPU set the pace (vLLM 0.11)."""

CURRENT_ENGINE_YEAR = 2026


_CONCURRENCY = Bound(1e-3, 1e6)
# The ends of a range may lie a spread beyond what can be given.
_CONCURRENCY_END = Bound(1e-9, 1e12)
SERVING_BOUNDS: Mapping[str, Bound] = MappingProxyType(
    {
        "concurrency_per_gpu": _CONCURRENCY,
        "concurrency_low_energy": _CONCURRENCY_END,
        "concurrency_high_energy": _CONCURRENCY_END,
        "sequences": Bound(1e-3, 1e12),
        "num_gpus": Bound(0.001, 1e6),
        # From a third of a bit to FP64.
        "weight_bytes": Bound(0.04, 8, "bytes"),
        "expert_parallel": Bound(1, 1e6, is_whole=True),
        "attention_replicas": Bound(1, 1e6, is_whole=True),
        # The first engines that batch continuously, and the life of this library.
        "engine_year": Bound(2020, 2100, is_whole=True),
    }
)
"""Every number of a serving profile, and what it may be."""


def check_one_batch(concurrency_per_gpu: float | None, sequences: float | None) -> None:
    """Check that the sequences decoded together are given in one way.

    Args:
        concurrency_per_gpu: Sequences per GPU [1].
        sequences: Sequences on all GPUs [1].

    Raises:
        ConfigurationError: Both are given.
    """
    if concurrency_per_gpu is not None and sequences is not None:
        what = f"unset beside concurrency_per_gpu, {concurrency_per_gpu:g}, which says the same"
        raise ConfigurationError(must_be("sequences", what, sequences, "give one of them"))
