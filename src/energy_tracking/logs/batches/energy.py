"""The energy of a batch of logged calls: columns in, columns out.

What the columns say of a call is estimated many rows at a time, by the same formulas as one call.
A usage that says more than the columns do (audio, images, counts from text), and a sum over
several requests, is estimated alone. An energy that a server measured comes before any estimate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from energy_tracking.calls.aggregates import NO_TOKENS, estimate_sum
from energy_tracking.estimation import Estimation
from energy_tracking.estimator import CALIBRATED_METHOD, EnergyEstimate
from energy_tracking.logs.batches.batch import CallBatch, Names, find_only, repeat, shorten
from energy_tracking.tables.columns import cut_rows, list_runs
from energy_tracking.tables.estimating import TableEstimator, fill_tables
from energy_tracking.tables.table import ESTIMATED, STATUSES
from energy_tracking.usage.token_usage import TokenUsage

Column = Any

PART = 65_536
"""Rows of one model that are estimated and added up together [1]: they stay in the cache."""
FEW = 4096
"""Fewer rows of a model than these have no part of their own [1]."""


def cut_by_model(batch: CallBatch) -> Iterator[CallBatch]:
    """The rows of a batch in parts of one model each, and one of the models that have few.

    Args:
        batch: The batch; its rows come in another order.
    """
    if find_only(batch.model) is not None:
        yield from map(batch.select, cut_rows(len(batch), PART))
        return
    # A small type is ordered in two passes.
    numbers = (batch.model + 1).astype(np.min_scalar_type(int(batch.model.max()) + 1))
    order = np.argsort(numbers, kind="stable")
    # Of each part the model is known, and for all of them at once the others are quicker to take.
    unnamed = replace(batch, model=repeat(-1, len(batch), np.int32)).select(order)
    few = []
    for run in list_runs(numbers.take(order, mode="wrap")):
        if run.stop - run.start < FEW:
            few.append(order[run])
            continue
        number = int(batch.model[order[run.start]])
        for piece in cut_rows(run.stop - run.start, PART):
            part = unnamed.select(slice(run.start + piece.start, run.start + piece.stop))
            part.model = repeat(number, len(part), np.int32)
            yield part
    if few:
        yield batch.select(np.concatenate(few))


@dataclass(slots=True, kw_only=True)
class BatchEnergy:
    """The energy of each row of a batch; NaN where it is not known.

    Attributes:
        total: Energy as well as it is known [J]: measured, else estimated.
        low: Lower end of its 90 % range [J].
        high: Upper end of it [J].
        calibrated: Energy by the calibrated estimate on the GPU boards [J].
        calibrated_low: Lower end of its 90 % range [J].
        calibrated_high: Upper end of it [J].
        avoided: What the estimate would be more by without prompt caches [J].
        reasoning: Part of the estimate spent on reasoning [J].
        reason: Why there is none; a number into the names of reasons, -1 where there is one.
    """

    total: Column
    low: Column
    high: Column
    calibrated: Column
    calibrated_low: Column
    calibrated_high: Column
    avoided: Column
    reasoning: Column
    reason: Column

    @property
    def columns(self) -> dict[str, Column]:
        """The energies, under the names that records and totals have for them [J]."""
        return {
            "total_energy_joules": self.total,
            "total_energy_low_joules": self.low,
            "total_energy_high_joules": self.high,
            "calibrated_energy_joules": self.calibrated,
            "calibrated_energy_low_joules": self.calibrated_low,
            "calibrated_energy_high_joules": self.calibrated_high,
            "cache_avoided_energy_joules": self.avoided,
            "reasoning_energy_joules": self.reasoning,
        }


class BatchEstimator:
    """Estimates batches by the settings of one ``Estimation``.

    Attributes:
        reasons: Why calls have no energy.
    """

    def __init__(self, estimation: Estimation) -> None:
        """Prepare for an estimation's settings.

        Args:
            estimation: Settings and profiles.
        """
        self.reasons = Names()
        self._estimation = estimation
        settings, basis = estimation.settings, estimation.current_basis()
        self._is_calibrated = (settings.method, settings.scope) == (CALIBRATED_METHOD, "gpu")
        self._tables = [TableEstimator(estimation)]
        if basis.calibrated is not None:
            self._tables.append(TableEstimator(estimation, calibrated=True))

    def estimate(self, batch: CallBatch) -> BatchEnergy:
        """Estimate every row of a batch."""
        if batch.is_plain:
            return self._add_measured(batch, self._estimate_plain(batch))
        is_plain = batch.has_usage & (batch.requests == 1)
        is_plain[list(batch.odd_usages)] = False
        if is_plain.all():
            energy = self._estimate_plain(batch)
        else:
            energy = _start_energy(len(batch))
            rows = np.flatnonzero(is_plain)
            if len(rows):
                made = self._estimate_plain(batch.select(rows))
                for name in BatchEnergy.__dataclass_fields__:
                    getattr(energy, name)[rows] = getattr(made, name)
        for row in np.flatnonzero(~is_plain).tolist():
            self._estimate_row(batch, row, energy)
        return self._add_measured(batch, energy)

    def _add_measured(self, batch: CallBatch, energy: BatchEnergy) -> BatchEnergy:
        """Put what servers measured in place of estimates."""
        measured = ~np.isnan(shorten(batch.measured_energy_joules))
        if measured.any():
            # In new columns: the calibrated ones may be these.
            for name in ("total", "low", "high"):
                known = np.where(measured, batch.measured_energy_joules, getattr(energy, name))
                setattr(energy, name, known)
            energy.reason = np.where(measured, -1, energy.reason)
        return energy

    def _estimate_plain(self, batch: CallBatch) -> BatchEnergy:
        """Estimate rows of which the columns say all, together."""
        counts = ("input_tokens", "output_tokens", "cached_input_tokens", "reasoning_tokens")
        columns: dict[str, Any] = {name: getattr(batch, name) for name in counts}
        # What all rows have is one number.
        columns |= {name: only for name in counts if (only := find_only(columns[name])) is not None}
        columns["input_tokens"] = batch.input_tokens
        models, names = batch.model, batch.names.model.texts
        if (number := find_only(models)) is not None:
            columns["model"] = names[number] if number >= 0 else None
        else:
            columns |= {"model": models, "models": names}
        # Those of a table have been checked where it was read.
        made, *others = fill_tables(self._tables, **columns, are_checked=batch.is_plain)
        is_without = None if made.status is None else made.status != ESTIMATED
        has_all = is_without is None or not is_without.any()
        beside = others[0] if others else made if self._is_calibrated else None
        rows = len(batch)
        unknown, nothing = (repeat(value, rows, np.float64) for value in (np.nan, 0.0))

        def known(column: Any) -> Column:
            return unknown if column is None else column

        energy = BatchEnergy(
            total=known(made.total),
            low=known(made.low),
            high=known(made.high),
            calibrated=unknown if beside is None else known(beside.total),
            calibrated_low=unknown if beside is None else known(beside.low),
            calibrated_high=unknown if beside is None else known(beside.high),
            avoided=nothing if made.avoided is None else made.avoided,
            reasoning=known(made.reasoning),
            reason=repeat(-1, rows, np.int32) if has_all else np.full(rows, -1, "i4"),
        )
        if is_without is not None and not has_all:
            if made.avoided is None:
                energy.avoided = np.where(is_without, np.nan, 0.0)
            # One number for both: to order pairs takes as long as all else here.
            pairs = models[is_without].astype(np.int64) * len(STATUSES) + made.status[is_without]
            unique, inverse = np.unique(pairs, return_inverse=True)
            reasons = [
                made.models.reasons.get(names[model] if model >= 0 else None, STATUSES[status])
                for model, status in (divmod(pair, len(STATUSES)) for pair in unique.tolist())
            ]
            numbers = np.array([self.reasons.number(reason) for reason in reasons], "i4")
            energy.reason[is_without] = numbers[inverse]
        return energy

    def _estimate_row(self, batch: CallBatch, row: int, energy: BatchEnergy) -> None:
        """Estimate one row by itself."""
        if batch.has_failed[row]:
            return
        number = int(batch.model[row])
        model = None if number < 0 else batch.names.model.texts[number]
        if not batch.has_usage[row]:
            energy.reason[row] = self.reasons.number(NO_TOKENS)
            return
        outcome = estimate_sum(
            _usage_of(batch, row),
            int(batch.requests[row]) or None,
            lambda usage: self._estimation.estimate(model, None, usage),
        )
        own = outcome.estimate
        if own is None:
            energy.reason[row] = self.reasons.number(outcome.reason)
            return
        beside = own if self._is_calibrated else outcome.calibrated
        energy.total[row], energy.low[row], energy.high[row] = _energies(own)
        energy.reasoning[row] = own.reasoning_energy_joules or 0.0
        energy.avoided[row] = outcome.cache_avoided_energy_joules or 0.0
        if beside is not None:
            (
                energy.calibrated[row],
                energy.calibrated_low[row],
                energy.calibrated_high[row],
            ) = _energies(beside)


def _start_energy(rows: int) -> BatchEnergy:
    """Energies of which none is known yet."""
    names = [name for name in BatchEnergy.__dataclass_fields__ if name != "reason"]
    unknown = {name: np.full(rows, np.nan) for name in names}
    return BatchEnergy(reason=np.full(rows, -1, "i4"), **unknown)


def _energies(estimate: EnergyEstimate) -> tuple[float, float, float]:
    return (
        estimate.total_energy_joules,
        estimate.total_energy_low_joules,
        estimate.total_energy_high_joules,
    )


def _usage_of(batch: CallBatch, row: int) -> TokenUsage:
    """The usage of one row."""
    odd = batch.odd_usages.get(row)
    if odd is not None:
        return odd
    reasoning = int(batch.reasoning_tokens[row])
    return TokenUsage(
        input_tokens=int(batch.input_tokens[row]),
        cached_input_tokens=int(batch.cached_input_tokens[row]),
        output_tokens=int(batch.output_tokens[row]),
        reasoning_tokens=None if reasoning < 0 else reasoning,
    )
