"""What every estimator returns, the range it lies in, and the checks on what they are given.

The law of the range: its parts are independent, so their excesses add in quadrature. A new fact
about an estimate is a field of ``EnergyEstimate`` and a value in what each method fills; a new
check of counts is a line in ``check_token_counts``.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import Any

from energy_tracking.bounds import is_choice
from energy_tracking.errors import ConfigurationError, TokenCountError, must_be, not_one_of
from energy_tracking.frozen import declared_defaults, fill_fields, frozen
from energy_tracking.units import wh_from_joules
from energy_tracking.usage.token_usage import MAX_TOKENS

METHOD_NAMES = ("reference", "roofline")
"""The methods of ``METHODS``, which few modules need more of than the names."""

CALIBRATED_METHOD = "roofline"
"""The method whose estimate stands beside that of ``reference``."""

SCOPES = ("gpu", "facility")
ATTENTION_MODES = ("quadratic", "linear")

GRADE_FACTORS = {"A": 1.0, "B": 1.2, "C": 1.8, "D": 2.3, "E": 3.2}
"""What a model may cost over or under its profile, by the profile's grade, 90 % [1].

B: a shape guessed from known parameters; C, D and E: log-normals of 0.35, 0.5 and 0.7
around parameters that nobody disclosed.
"""

Spread = tuple[float, float]
"""How far an energy may lie under and over its central value on account of one part of its range
[J]; floats or arrays."""

LEAST_JOULES = 1e-300
"""Added to an energy that is divided by [J]: it changes none but 0."""

_MOST = sys.float_info.max


@frozen(kw_only=True)
class EnergyEstimate:
    """The energy of one request, and everything needed to know what it is worth.

    Energies and FLOPs are floats, or arrays of one common shape where arrays of
    token counts were given.

    Attributes:
        model_profile: Name of the model profile used.
        gpu: Name of the GPU profile used.
        method: Estimator, e.g. ``"reference"``.
        method_version: Version of that estimator.
        scope: What is counted: ``"gpu"`` is the GPU board alone.
        grade: Confidence in the model profile, A (published) to E (no basis).
        attention_mode: ``"quadratic"`` or ``"linear"``.
        reasoning_factor: Factor applied to the output tokens [1]; 1 where the
            tokens given already hold the reasoning.
        prefill_energy_joules: Energy of reading the prompt [J].
        decode_energy_joules: Energy of generating the output [J].
        reasoning_energy_joules: Part of the decode energy spent on reasoning
            tokens [J]; None where their number is not known.
        total_flops: Floating-point operations of prefill and decode [FLOP].
        total_energy_low_joules: Lower end of the 90 % range [J].
        total_energy_high_joules: Upper end of the 90 % range [J], likewise.
        range_parts: For each thing that is not known, the factors by which the total may
            lie under and over the central value on its account [1].
        assumed: What was assumed about serving, by the names of the settings: given as settings,
            they yield this energy again. Of a closed model, ``num_gpus`` is a mean that need
            not be whole; left out, it is the same again. Empty for ``reference``, which
            assumes nothing of it.
    """

    model_profile: str
    gpu: str
    method: str
    method_version: str
    scope: str
    grade: str
    attention_mode: str
    reasoning_factor: float
    prefill_energy_joules: float
    decode_energy_joules: float
    reasoning_energy_joules: float | None
    total_flops: float
    total_energy_low_joules: float
    total_energy_high_joules: float
    range_parts: Mapping[str, tuple[float, float]]
    assumed: Mapping[str, float | bool | str] = field(default_factory=dict[str, float | bool | str])

    def __getstate__(self) -> dict[str, Any]:
        """The value of every field, for copies and pickles."""
        return complete_values(self).copy()

    @property
    def total_energy_joules(self) -> float:
        """Prefill and decode together [J]."""
        return self.prefill_energy_joules + self.decode_energy_joules

    @property
    def total_energy_wh(self) -> float:
        """Prefill and decode together [Wh]."""
        return wh_from_joules(self.total_energy_joules)

    @property
    def range_from(self) -> tuple[str, ...]:
        """What made the range, widest first; parts that add nothing are left out."""
        return tuple(widest_first(self.range_parts))


class _Later:
    """A field of an estimate that is computed when it is first read: few readers want it.

    What computes such fields stands in place of them: a tuple of an object that ``complete``s an
    estimate, and of whatever that needs of it. An estimate that is compared, copied or pickled has
    them all.
    """

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, estimate: EnergyEstimate | None, kind: type[EnergyEstimate]) -> Any:
        if estimate is None:
            raise AttributeError(f"{kind.__name__} has no {self._name!r} without an instance")
        values = vars(estimate)
        rest = values.get(REST)
        # Another thread may be as far: it has the same values.
        if rest is not None and self._name not in values:
            rest[0].complete(values, rest, (self._name,))
            if len(values) > FIELDS:
                values.pop(REST, None)
        return values[self._name]


LATER = ("reasoning_energy_joules", "total_flops", "range_parts", "assumed")
"""The fields that may be computed later."""

REST = "_rest"
"""Where an estimate keeps what computes them, until it has them all."""

FIELDS = len(declared_defaults(EnergyEstimate))
"""How many values an estimate has [1]; one more where not all of them are computed."""

for _name in LATER:
    setattr(EnergyEstimate, _name, _Later(_name))


def complete_values(estimate: EnergyEstimate) -> dict[str, Any]:
    """The value of every field of an estimate; its own dict, which has them all from now on."""
    values = vars(estimate)
    rest = values.get(REST)
    if rest is not None:
        rest[0].complete(values, rest, LATER)
        values.pop(REST, None)
    return values


def start_values(**known: str) -> dict[str, Any]:
    """A table of the values of an estimate that are not computed later, and of what computes them.

    Its reasoning factor is 1, as of nearly every call.

    To copy such a table and fill it in is quicker than to make one.
    """
    names = (name for name in declared_defaults(EnergyEstimate) if name not in LATER)
    return dict.fromkeys((*names, REST)) | known | {"reasoning_factor": 1.0}


def widest_first(parts: Mapping[str, tuple[float, float]]) -> list[str]:
    """The parts of a range that add to it, the widest first."""
    # Not a comprehension: for so few it takes longer to enter than to run.
    narrowness = {}
    for name, (low, high) in parts.items():
        if high > low:
            narrowness[name] = low / high
    return sorted(narrowness, key=narrowness.__getitem__)


def widen_range(
    estimate: EnergyEstimate, parts: Mapping[str, tuple[float, float]], grade: str
) -> EnergyEstimate:
    """The same estimate with further parts of its range, and the grade that is left.

    Args:
        estimate: An estimate.
        parts: Low and high factor [1] of each further part; floats or arrays.
        grade: Confidence in the profile for this call.
    """
    if not parts and grade == estimate.grade:
        return estimate
    total = estimate.total_energy_joules
    every = {**estimate.range_parts, **parts}
    low, high = combine_parts(every)
    changed = {
        "grade": grade,
        "range_parts": every,
        "total_energy_low_joules": total * low,
        "total_energy_high_joules": total * high,
    }
    return fill_fields(EnergyEstimate, complete_values(estimate) | changed)


def combine_parts(parts: Mapping[str, tuple[float, float]]) -> tuple[float, float]:
    """Factors [1] from the central value to both ends of the 90 % range.

    The parts are independent, so their relative excesses add in quadrature, upwards and
    downwards apart: high = 1 + sqrt(sum((f - 1)**2)), low = 1 / (1 + sqrt(sum((1/f - 1)**2))).

    Args:
        parts: Low and high factor of each part [1]; floats or arrays.
    """
    under, over = sum_excesses(parts.values())
    return 1.0 / (1.0 + under**0.5), 1.0 + over**0.5


def sum_excesses(ends: Iterable[tuple[float, float]]) -> tuple[float, float]:
    """Squares of the relative excesses of parts, downwards and upwards, added up [1].

    Args:
        ends: Low and high factor of each part [1]; floats or arrays.
    """
    under = over = 0.0
    for low, high in ends:
        under = under + (1.0 / low - 1.0) ** 2.0
        over = over + (high - 1.0) ** 2.0
    return under, over


def combine_spreads(
    total_joules: float, spreads: Iterable[Spread], excesses: tuple[float, float]
) -> tuple[float, float]:
    """Both ends of the 90 % range of an energy [J], by the law of ``combine_parts``.

    In energies it takes fewer operations than in factors. Arrays of its own it changes in place,
    here as in the formulas: a large one is then not fetched, and not kept, twice.

    Args:
        total_joules: The central value [J]; a float or an array.
        spreads: The parts that each request has its own of [J].
        excesses: What ``sum_excesses`` gives for the others [1].
    """
    low, widest = excesses
    divisor = total_joules + LEAST_JOULES
    high = total_joules * total_joules
    high *= widest
    for fall, rise in spreads:
        excess = fall / (divisor - fall)
        excess *= excess
        excess += low
        low = excess
        high += rise * rise
    low = low**0.5
    low += 1.0
    high **= 0.5
    high += total_joules
    return total_joules / low, high


def find_factors(total_joules: float, spread: Spread) -> tuple[float, float]:
    """Low and high factor of a part [1], 1 where there is no energy.

    Args:
        total_joules: The central value [J]; a float or an array.
        spread: The part [J].
    """
    divisor = total_joules + LEAST_JOULES
    fall, rise = spread
    return 1.0 - fall / divisor, 1.0 + rise / divisor


def check_attention_mode(attention_mode: str) -> None:
    """Check that the formula has a term for an attention mode.

    Raises:
        ConfigurationError: It is neither ``"quadratic"`` nor ``"linear"``.
    """
    if not is_choice(attention_mode, ATTENTION_MODES):
        raise ConfigurationError(not_one_of("attention_mode", attention_mode, ATTENTION_MODES))


def check_token_counts(input_tokens: Any, cached_input_tokens: Any, output_tokens: Any) -> None:
    """Check the counts of a request, or of an array of them.

    Args:
        input_tokens: Prompt tokens, cached ones included [tokens].
        cached_input_tokens: Part of the prompt read from a cache [tokens].
        output_tokens: Generated tokens [tokens].

    Raises:
        TokenCountError: A count is negative, not finite or no number, or more is cached than given.
    """
    if type(input_tokens) is type(output_tokens) is type(cached_input_tokens) is int and (
        0 <= cached_input_tokens <= input_tokens <= MAX_TOKENS and 0 <= output_tokens <= MAX_TOKENS
    ):
        return  # nearly always
    check_token_count("input_tokens", input_tokens)
    check_token_count("output_tokens", output_tokens)
    check_token_count("cached_input_tokens", cached_input_tokens)
    # Unsigned counts would not go below 0.
    check_token_count(
        "input_tokens - cached_input_tokens", 1.0 * input_tokens - cached_input_tokens
    )


def check_token_count(name: str, value: Any) -> None:
    """Check a count of tokens; an array as a whole.

    Args:
        name: What the count is called, for the message.
        value: A number, or an array of them [tokens].

    Raises:
        TokenCountError: Negative, NaN, infinite, or not a number.
    """
    if isinstance(value, (int, float)):
        # Whole numbers may be greater than any float.
        good = 0 <= value <= _MOST
    else:
        try:
            good = bool(((value >= 0) & (value < math.inf)).all())
        except Exception:  # of somebody else's class
            what = "a number of tokens or an array of them"
            raise TokenCountError(must_be(name, what, value)) from None
    if not good:
        raise TokenCountError(must_be(name, "finite and at least 0", value))
