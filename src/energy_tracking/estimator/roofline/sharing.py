"""How many sequences share a step at a length of context, and what a token then takes.

Where the caches of all sequences fit for certain, as with most requests, that is the same for all
requests: ``Cases`` holds it, computed once. Beyond, it is computed for the context at hand; so is,
with any, what a token takes at the end of the range where most share a step, which seldom fit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from energy_tracking.estimator.deployment import Deployment
from energy_tracking.estimator.roofline.prices import Prices, compute_token_energy
from energy_tracking.estimator.roofline.work import (
    find_library,
    take_between,
    take_larger,
    take_smaller,
)

PREFILL_RANGE = (0.5, 1.6)
"""Prefill energy over the estimate, 90 % [1], where the GPUs are loaded.

Of 101 measured rows whose energy is 30 % prefill or more (``fit.py`` prints them), 5 to 95 %
imply 0.55 to 1.5 of the estimate; prefill on GPUs of its own, saturated, was measured at half
of it.
Source: InferenceX PowerX, DeepSeek-V4-Pro on disaggregated B200.
"""

LIGHT_PREFILL_RANGE = (0.5, 2.6)
"""The same with fewer than ``LIGHT_LOAD`` sequences per GPU: there the same GPUs took 1.7 to 2.6
times what they take when saturated [1]."""

LIGHT_LOAD = 8.0
"""Sequences per GPU below which prefill has the GPU to itself for part of the time [1]."""

LEAST_BYTES = 1e-30
"""Added to what is divided by [byte]: it changes nothing but 0."""

TINY_CACHE_BYTES = 1e-9
"""Taken where a model keeps nothing of its context, so that any number fits [byte]."""


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
        "_cache_bytes",
        "_kept_bytes",
        "_room_bytes",
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

    def __init__(self, site: Deployment, prices: Prices, sequences: float, is_known: bool) -> None:
        """Compute what a token takes.

        Args:
            site: The deployment.
            prices: Its prices.
            sequences: Sequences that share a step, if they fit [1].
            is_known: Whether they are known to be so many, and so to fit.
        """
        self.site = site
        self.prices = prices
        self.sequences = sequences
        self.token_joules = compute_token_energy(prices, sequences)
        self.input_token, self.input_pair = prices.input_token, prices.input_pair
        self.output_pair = prices.output_pair
        self.gpus, self.samples = site.gpus, site.samples
        self._room_bytes, self._cache_bytes = site.room_bytes, site.cache_bytes
        # Where nothing is kept, any number fits.
        self._kept_bytes = site.state_bytes + LEAST_BYTES
        self.roomy_context = math.inf if is_known else self._find_roomy_context()

    def price_crowd(self, context: float) -> tuple[float, float]:
        """Sequences of this context that share a step, as many as fit beside the weights [1].

        And a token's energy with so many [J]. At least one is taken to fit. Layers that look back
        on a window are taken to keep everything, as sparse attention does, and as engines that
        treat all layers alike do.

        Args:
            context: Tokens that each of them attends to; a float or an array [tokens].
        """
        fit = self._room_bytes / (self._cache_bytes * context + self._kept_bytes)
        sequences = take_between(fit, 1.0, self.sequences)
        return sequences, compute_token_energy(self.prices, sequences)

    def _find_roomy_context(self) -> float:
        """A context with which all sequences fit, and so with any shorter one [tokens]."""
        if self.sequences <= 1:
            return math.inf  # at least one is taken to fit
        kept = self._room_bytes / self.sequences - self.site.state_bytes
        # A little less, for what rounding may add.
        context = 0.999999 * kept / take_larger(self._cache_bytes, TINY_CACHE_BYTES)
        return context if self.price_crowd(context)[0] >= self.sequences else -1.0


class Sharing:
    """What comes of how many sequences share a step; floats, or arrays of the context's shape.

    Attributes:
        sequences: Sequences that share a step of the central case [1].
        token_joules: Energy of generating a token that attends to nothing, with these [J].
        crowd_joules: The same with the most that are credible [J]; None: it was not needed.
        fewest_joules: The same with the fewest that are credible [J].
        parameters: The same of the least and of the largest model [J].
        prefill: What the energy of a prompt may be less and more by, over that energy [1].
    """

    __slots__ = (
        "crowd_joules",
        "fewest_joules",
        "parameters",
        "prefill",
        "sequences",
        "token_joules",
    )

    parameters: tuple[float, float] | None

    def __init__(
        self,
        central: Case,
        batch: tuple[Case, Case] | None,
        parameters: tuple[Case, Case] | None,
        context: float | None = None,
    ) -> None:
        """Compute it.

        Args:
            central: The central case.
            batch: The same with most and fewest sequences; None where they are known.
            parameters: The least and the largest model; None where it is published.
            context: Tokens that each sequence attends to; a float or an array of floats; None: all
                sequences fit, but for most of ``batch`` [tokens].
        """
        most, fewest = (central, central) if batch is None else batch
        ends = () if parameters is None else parameters
        if context is None:
            self.crowd_joules: float | None = None
            self.sequences = central.sequences
            self.token_joules, self.fewest_joules = central.token_joules, fewest.token_joules
            joules = [case.token_joules for case in ends]
        else:
            fit, self.crowd_joules = most.price_crowd(context)
            self.sequences = take_smaller(central.sequences, fit)
            # The fewer share a step, the more a token takes.
            self.token_joules = take_larger(central.token_joules, self.crowd_joules)
            self.fewest_joules = take_larger(fewest.token_joules, self.crowd_joules)
            joules = _price_tokens(ends, context)
        self.parameters = (joules[0], joules[1]) if joules else None
        self.prefill = _find_prefill_shares(self.sequences, central.gpus)


def _price_tokens(cases: Sequence[Case], context: Any) -> list[Any]:
    """Energy of generating a token that attends to nothing [J], by each case.

    Args:
        cases: The cases.
        context: Tokens that each sequence attends to; a float or an array of floats [tokens].
    """
    library = None if type(context) is float else find_library(context)
    if library is None or not cases or not context.ndim:
        return [case.price_crowd(context)[1] for case in cases]
    is_long = context > min(case.roomy_context for case in cases)
    if 2 * library.count_nonzero(is_long) > context.size:
        return [case.price_crowd(context)[1] for case in cases]
    # All others fit, of which the price is known.
    places = is_long.nonzero()
    long, priced = context[places], []
    for case in cases:
        joules = library.full_like(context, case.token_joules)
        joules[places] = case.price_crowd(long)[1]
        priced.append(joules)
    return priced


def _find_prefill_shares(sequences: float, gpus: float) -> tuple[float, float]:
    """What prefill may take less and more with so many sequences [1], over its energy [1].

    Args:
        sequences: Sequences that share a step; a float or an array [1].
        gpus: GPUs that they share [1].
    """
    (low, high), (light_low, light_high) = PREFILL_RANGE, LIGHT_PREFILL_RANGE
    is_light = sequences < LIGHT_LOAD * gpus
    return (
        1.0 - (low if low == light_low else low + (light_low - low) * is_light),
        high - 1.0 + (light_high - high) * is_light,
    )
