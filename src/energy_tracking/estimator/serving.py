"""How a model is assumed to be served: what a user may know, or the library assumes.

``deployment`` makes plain numbers of it. A new input is a field here, its bound in
``serving_bounds``, and a rule there.
"""

from __future__ import annotations

from dataclasses import replace

from energy_tracking.errors import ConfigurationError, not_one_of
from energy_tracking.estimator.serving_bounds import CURRENT_ENGINE_YEAR, SERVING_BOUNDS
from energy_tracking.frozen import frozen
from energy_tracking.profiles.weight_formats import WEIGHT_FORMATS

CONCURRENCY_PER_GPU = 32.0
"""Sequences per GPU where nobody says, for a model of ``CONCURRENCY_PARAMS`` [1]: the median of the
published measurements of 2023 to 2025 and of those of 2026, each half of the whole."""

CONCURRENCY_PARAMS = 70e9
"""Size of the model that the number above is for [1]."""

CONCURRENCY_EXPONENT = -0.2
"""How it goes with the size [1]: larger models leave less memory, and serve fewer at a time. On
the published measurements, batch unknown, it makes both errors smaller (1.89 to 1.76, 1.91 to
1.84) and both ranges hold more; ``accuracy.py`` prints them."""

CONCURRENCY_SPREAD = 32.0
"""Over and under it lie 90 % of real ones within this factor [1].

Of those measurements, 90 % have 4 to 750 and 0.5 to 110 sequences per GPU. Speeds at which
closed models answer (50 to 100 tokens/s) need few; their prices need many.
"""


@frozen(kw_only=True)
class ServingProfile:
    """How the model is assumed to be served; the default is a busy public API.

    Attributes:
        concurrency_per_gpu: Sequences decoded together, divided by the GPUs that hold the
            model [1]; None: by the model's size, see ``of_size``.
        concurrency_low_energy: The same at the low end of the 90 % range of energy, where
            most share [1]; None: ``concurrency_per_gpu`` times ``CONCURRENCY_SPREAD``.
        concurrency_high_energy: The same at the high end, where fewest share [1]; None:
            divided by it.
        sequences: Sequences decoded together on all GPUs that hold the model [1], taken as
            known; None: ``concurrency_per_gpu`` times the GPUs.
        num_gpus: GPUs that hold one copy of the model, or their mean over instances [1]; None:
            the least power of two whose memory is 1.5 times the weights, or for a closed model
            just that memory.
        weight_bytes: Bytes per weight as served [byte]; None: those of ``weight_format``.
        weight_format: One of ``WEIGHT_FORMATS``; empty: the one the model is shipped in, FP8 for
            closed models on GPUs with FP8, else BF16.
        expert_parallel: GPUs that the experts of a mixture are spread over, each expert whole
            on one [1]; None: all that hold the model, those of one link domain at most.
        attention_replicas: Copies of what is outside the experts, each for its own sequences
            (attention data-parallel) [1].
        speculative: Whether a draft model or head proposes tokens that the model then only
            checks; None: not known, taken as not, and part of the range.
        engine_year: Year of the serving engine's release.

    Raises:
        ConfigurationError: A value is out of its bounds, or the three concurrencies are out of
            order.
    """

    concurrency_per_gpu: float | None = None
    concurrency_low_energy: float | None = None
    concurrency_high_energy: float | None = None
    sequences: float | None = None
    num_gpus: float | None = None
    weight_bytes: float | None = None
    weight_format: str = ""
    expert_parallel: int | None = None
    attention_replicas: int = 1
    speculative: bool | None = None
    engine_year: int = CURRENT_ENGINE_YEAR

    def __hash__(self) -> int:
        """By what is set most: what is computed once for it is looked up with every call."""
        return hash((self.concurrency_per_gpu, self.sequences, self.num_gpus, self.engine_year))

    def __post_init__(self) -> None:
        """Check the values together."""
        for name, bound in SERVING_BOUNDS.items():
            value = getattr(self, name)
            if value is not None:
                bound.check(name, value)
        if self.weight_format and self.weight_format not in WEIGHT_FORMATS:
            raise ConfigurationError(
                not_one_of("weight_format", self.weight_format, WEIGHT_FORMATS)
            )
        least, most = self.concurrency_range
        if not least <= self.central_concurrency <= most:
            raise ConfigurationError(
                "concurrency_per_gpu must lie between concurrency_high_energy and "
                "concurrency_low_energy, got "
                f"{least:g} <= {self.central_concurrency:g} <= {most:g}"
            )

    @property
    def central_concurrency(self) -> float:
        """Sequences per GPU; those of a model of ``CONCURRENCY_PARAMS`` where nobody says [1]."""
        return self.concurrency_per_gpu or CONCURRENCY_PER_GPU

    @property
    def concurrency_range(self) -> tuple[float, float]:
        """Least and most sequences per GPU of the 90 % range [1]."""
        least, most = self.concurrency_high_energy, self.concurrency_low_energy
        return (
            self.central_concurrency / CONCURRENCY_SPREAD if least is None else least,
            self.central_concurrency * CONCURRENCY_SPREAD if most is None else most,
        )

    def of_size(self, total_params: float) -> ServingProfile:
        """The same serving, its concurrency that of a model of this size where it is assumed.

        Args:
            total_params: Parameters held in memory [1].
        """
        if self.concurrency_per_gpu is not None:
            return self
        scale = (total_params / CONCURRENCY_PARAMS) ** CONCURRENCY_EXPONENT
        return replace(self, concurrency_per_gpu=CONCURRENCY_PER_GPU * scale)

    @property
    def batch_is_known(self) -> bool:
        """Whether the number of sequences is a fact, not an assumption with a range."""
        least, most = self.concurrency_range
        return self.sequences is not None or least == most

    def with_known_concurrency(self) -> ServingProfile:
        """The same serving, with the concurrency taken as measured, not assumed."""
        return replace(
            self,
            concurrency_per_gpu=self.central_concurrency,
            concurrency_low_energy=self.central_concurrency,
            concurrency_high_energy=self.central_concurrency,
        )


SERVING = ServingProfile()
"""A busy public API: what is assumed where nobody says otherwise."""
