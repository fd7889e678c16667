"""Blocks of rows by each method: the formulas of one call, run on arrays.

A block is cut so that its columns stay in the cache. ``reference`` takes the numbers of each row's
model by index; ``roofline`` has the rows ordered by model first. ``Result`` gets what they give. A
new method is a function here and a row in ``TABLE_METHODS``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from energy_tracking.estimator import CALIBRATED_METHOD, reference
from energy_tracking.estimator.estimate import combine_spreads
from energy_tracking.estimator.roofline import request as roofline
from energy_tracking.estimator.roofline.facility import FACILITY
from energy_tracking.estimator.roofline.ranges import list_spreads
from energy_tracking.tables.columns import Counts, cut_rows
from energy_tracking.tables.models import (
    ATTENTION,
    DENSE,
    OVER,
    PROFILE,
    REASONING,
    SAMPLES,
    STATUS,
    UNDER,
    Models,
    Numbers,
)
from energy_tracking.tables.table import ESTIMATED, NO_COUNT, EnergyTable

BLOCK = 65_536
"""Rows that go through the formulas at a time [1]: their columns stay in the cache."""


class Result:
    """The columns of a table while it is filled; None as long as nothing is in them.

    Attributes:
        models: The models of the rows.
        numbers: What the formulas take of each name that the rows are numbered by.
        only_totals: Whether the energy alone is wanted.
        with_parts: Whether parts of the energy are wanted beside its range.
        total: Energy [J]; NaN where there is none, as in the next four.
        low: Lower end of its range [J].
        high: Upper end of it [J].
        reasoning: Part of it spent on reasoning [J].
        avoided: What caches avoid [J].
        status: An index into ``STATUSES``; None where all rows have energy.
    """

    def __init__(
        self,
        rows: int,
        codes: Any | None,
        models: Models,
        numbers: Numbers,
        only_totals: bool,
        with_parts: bool,
    ) -> None:
        """Start with no columns.

        Args:
            rows: How many rows there are [1].
            codes: The number of each row's name; None: all have the first one.
            models: The models of the rows.
            numbers: What the formulas take of each name.
            only_totals: Whether the energy alone is wanted.
            with_parts: Whether parts of the energy are wanted beside its range.
        """
        self.models = models
        self.numbers = numbers
        self.only_totals = only_totals
        self.with_parts = with_parts and not only_totals
        self.total: Any = None
        self.low: Any = None
        self.high: Any = None
        self.reasoning: Any = None
        self.avoided: Any = None
        self.status: Any = None
        self._codes = codes
        self._shape = (rows,)

    def as_table(self, is_cached: bool) -> EnergyTable:
        """The table, once all of it is filled.

        Args:
            is_cached: Whether cached tokens are given.
        """
        models, basis = self.models, self.models.basis
        is_calibrated = basis.method == CALIBRATED_METHOD
        profile = np.empty(self._shape, np.int32)
        profile[:] = self.numbers.take(PROFILE, 0 if self._codes is None else self._codes)
        columns = [self.total, self.low, self.high, self.reasoning]
        for place in range(1 if self.only_totals else len(columns)):
            if columns[place] is None:
                columns[place] = np.full(self._shape, np.nan)
        total, low, high, reasoning = columns
        avoided = self.avoided
        if avoided is None and is_cached and not self.only_totals:
            avoided = self._avoid_nothing()
        return EnergyTable(
            total_energy_joules=total,
            total_energy_low_joules=low,
            total_energy_high_joules=high,
            reasoning_energy_joules=reasoning,
            cache_avoided_energy_joules=avoided,
            status=np.zeros(self._shape, np.uint8) if self.status is None else self.status,
            profile=profile,
            profiles=tuple(models.profiles),
            grades=tuple(models.grades),
            reasons=dict(models.reasons),
            method=basis.method,
            method_version=roofline.VERSION if is_calibrated else reference.VERSION,
            gpu=basis.gpu.name,
            scope=basis.assumptions.scope if is_calibrated else reference.SCOPE,
        )

    def fill(self, rows: Any, energy: Energy) -> None:
        """Fill in the energy of some rows.

        Args:
            rows: A slice, or an array of places.
            energy: Their energy; of all rows, its arrays become the columns.
        """
        for name in ENERGIES:
            values = getattr(energy, name)
            if values is None:
                continue
            column = getattr(self, name)
            if column is None:
                if getattr(values, "shape", None) == self._shape:
                    setattr(self, name, values)
                    continue
                unknown = name != "avoided"
                column = np.full(self._shape, np.nan) if unknown else self._avoid_nothing()
                setattr(self, name, column)
            column[rows] = values

    def _avoid_nothing(self) -> Any:
        """No energy avoided, in rows that have any [J]."""
        if self.status is None:
            return np.zeros(self._shape)
        return np.where(self.status == ESTIMATED, 0.0, np.nan)

    def finish(self, part: slice, names: Any, wrong: Any | None) -> None:
        """Fill in the status of a block, and take out what is no energy.

        Args:
            part: The block.
            names: The number of each row's name, or of all.
            wrong: Where their counts are none; None where all are right.
        """
        reasons = self.models.reasons
        if not reasons and wrong is None:
            return
        if self.status is None:
            self.status = np.full(self._shape, ESTIMATED, np.uint8)
        status = self.status[part]
        if reasons:
            status[:] = self.numbers.take(STATUS, names)
        if wrong is not None:
            status[wrong & (status == ESTIMATED)] = NO_COUNT
        missing = status != ESTIMATED
        if missing.any():
            for name in ENERGIES:
                column = getattr(self, name)
                if column is not None:
                    column[part][missing] = np.nan


@dataclass(slots=True)
class Energy:
    """The energy of a block of rows."""

    total: Any
    low: Any = None
    high: Any = None
    reasoning: Any = None
    avoided: Any = None


ENERGIES = tuple(Energy.__dataclass_fields__)
"""Names of the energies."""


def _estimate_by_reference(result: Result, part: slice, counts: Counts, names: Any) -> None:
    """Estimate a block of rows of any models by the seed's formula."""
    for piece in cut_rows(part.stop - part.start, BLOCK):
        rows = slice(part.start + piece.start, part.start + piece.stop)
        some = names if isinstance(names, int) else names[piece]
        result.fill(rows, _apply_reference(result, some, counts.of_rows(piece).columns))


def _apply_reference(result: Result, names: Any, counts: Mapping[str, Any]) -> Energy:
    basis, take = result.models.basis, result.numbers.take
    inputs, outputs = counts["input_tokens"], counts["output_tokens"]
    cached, known = counts.get("cached_input_tokens"), counts.get("reasoning_tokens")
    reasoning: Any = None
    factor = take(REASONING, names)
    decoded = outputs
    if known is not None:
        # As the seed has it: only a usage that says nothing of reasoning may leave it out.
        factor = np.where(known >= 0, 1.0, factor)
    if np.any(factor != 1):
        decoded = outputs * factor
    if result.with_parts:
        reasoning = None if decoded is outputs else np.where(factor != 1, decoded - outputs, np.nan)
        if known is not None:
            reasoning = np.where(known >= 0, known, np.nan if reasoning is None else reasoning)
    terms = reference.ModelTerms(*(take(what, names) for what in (DENSE, ATTENTION, SAMPLES)))
    formula = reference.Formula(terms, basis.gpu, basis.assumptions.attention_mode)
    prefill, _ = formula.price_prompt(inputs, 0.0 if cached is None else cached)
    decode, _ = formula.price_answer(inputs, decoded)
    energy = Energy(prefill + decode)
    if result.only_totals:
        return energy
    spread = formula.find_spread(prefill, decode)
    excesses = take(UNDER, names), take(OVER, names)
    energy.low, energy.high = combine_spreads(energy.total, (spread,), excesses)
    if not result.with_parts:
        return energy
    if reasoning is not None:
        energy.reasoning, _ = formula.price_answer(inputs, reasoning)
    if cached is not None:
        energy.avoided, _ = formula.price_prompt(cached)
    return energy


def _estimate_by_roofline(result: Result, part: slice, counts: Counts, names: Any) -> None:
    """Estimate a block of rows by the calibrated method, one model after the other."""
    groups: list[tuple[int, Any]]
    if isinstance(names, int):
        groups = [(names, None)]
    else:
        # A small type is ordered in two passes.
        order = np.argsort(names.astype(np.min_scalar_type(int(names.max()))), kind="stable")
        many = np.bincount(names)
        ends = np.cumsum(many)
        groups = [(int(one), order[ends[one] - many[one] : ends[one]]) for one in many.nonzero()[0]]
    for one, chosen in groups:
        number = int(result.numbers.take(PROFILE, one))
        if number < 0:
            continue  # ``finish`` says that there is no energy
        for piece in cut_rows(part.stop - part.start if chosen is None else len(chosen), BLOCK):
            within = piece if chosen is None else chosen[piece]
            some = counts.of_rows(within).columns
            if chosen is None:
                rows: Any = slice(part.start + piece.start, part.start + piece.stop)
            else:
                rows = within + part.start
            result.fill(rows, _apply_roofline(result, number, some))


def _apply_roofline(result: Result, number: int, counts: Mapping[str, Any]) -> Energy:
    models = result.models
    cases, scope = models.cases[number], models.basis.assumptions.scope
    inputs, outputs = counts["input_tokens"], counts["output_tokens"]
    cached, known = counts.get("cached_input_tokens"), counts.get("reasoning_tokens")
    overhead = FACILITY.factor if scope == "facility" else 1.0
    from_cache = 0.0 if cached is None else cached
    made = roofline.compute_central_energy(cases, inputs, from_cache, outputs)
    prefill, decode = made.prefill, made.decode
    boards = prefill + decode
    energy = Energy(boards)
    if overhead != 1:
        prefill, decode = overhead * prefill, overhead * decode
        energy.total = prefill + decode
    if result.only_totals:
        return energy
    low, high = combine_spreads(boards, list_spreads(cases, made), models.excesses[number])
    energy.low, energy.high = (low, high) if overhead == 1 else (overhead * low, overhead * high)
    if not result.with_parts:
        return energy
    if known is not None:
        # A count below 0 says that it is not known.
        reasoning: Any = np.where(known >= 0, known, np.nan)
        energy.reasoning = overhead * roofline.compute_reasoning_energy(
            cases, made, inputs, reasoning
        )
    if cached is not None:
        # A cache holds the beginning of the prompt: what it saves is that prompt's price.
        energy.avoided = overhead * roofline.compute_prompt_energy(cases, cached)
    return energy


TABLE_METHODS: dict[str, Callable[[Result, slice, Counts, Any], None]] = {
    reference.METHOD: _estimate_by_reference,
    CALIBRATED_METHOD: _estimate_by_roofline,
}
