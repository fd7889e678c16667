"""The door: a table in, a table out.

Order of events: the columns are checked, and each name of a model is looked up once; the rows are
cut into parts, and these where one model follows another (``_split_by_model``); the method fills
them into a ``Result``, which is made a table of. A new column is an argument of all three.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Unpack

import numpy as np

from energy_tracking.errors import ConfigurationError, must_be
from energy_tracking.estimation import Estimation
from energy_tracking.profiles.catalogue import Catalogue
from energy_tracking.settings import SettingArguments, Settings
from energy_tracking.settings.effects import DELIVERY_SETTINGS, STREAM_SETTINGS, refuse_settings
from energy_tracking.tables.by_method import TABLE_METHODS, Result
from energy_tracking.tables.columns import (
    Column,
    check_columns,
    check_lengths,
    cut_rows,
    find_runs,
    keep_memory,
    read_models,
    take_floats,
)
from energy_tracking.tables.models import Models
from energy_tracking.tables.table import EnergyTable

ORDERED = 1 << 17
"""Rows that are ordered by model at a time [1]."""


def estimate_table(
    input_tokens: Column,
    output_tokens: Column,
    *,
    model: Column,
    models: Sequence[str | None] | None = None,
    cached_input_tokens: Column | None = None,
    cache_write_input_tokens: Column | None = None,
    reasoning_tokens: Column | None = None,
    only_totals: bool = False,
    catalogue: Catalogue | None = None,
    **settings: Unpack[SettingArguments],
) -> EnergyTable:
    """Estimate many calls at once, each as ``Tracker`` would estimate it.

    Counts are numpy arrays of shape (rows,), of integers or floats, or one number for all rows.
    Models are named fastest by number: ``model`` then has the place of each row's name in
    ``models``, as the categories of pandas and the dictionaries of Arrow have them.

    Args:
        input_tokens: Prompt tokens, cached ones included [tokens].
        output_tokens: All generated tokens, reasoning included [tokens].
        model: One name for all rows; an array or list of names of shape (rows,); an Arrow
            dictionary array; or with ``models``, an array of integers, below 0 where the
            model is not named.
        models: The names that the integers stand for.
        cached_input_tokens: Part of the input read from a prompt cache [tokens].
        cache_write_input_tokens: Part of the input written to one [tokens]; it costs what other
            tokens cost, and is checked to lie beside the cached ones.
        reasoning_tokens: Part of the output that is reasoning [tokens]; below 0 or NaN where
            it is not known.
        only_totals: Compute the energy alone, without its range and its parts: two to five
            times as fast.
        catalogue: Profiles in place of the process-wide ones.
        **settings: As for ``Tracker``: ``method``, ``gpu``, ``scope``, ``model_mapping``,
            ``default_model`` and the rest about estimates.

    Returns:
        The energy of each row, in the order given.

    Raises:
        ConfigurationError: The columns differ in length, a column is not one of numbers, a
            setting is wrong, or names an unknown profile.
    """
    if not isinstance(catalogue, Catalogue | None):
        raise ConfigurationError(must_be("catalogue", "a Catalogue", catalogue))
    if not isinstance(only_totals, bool | np.bool_):
        raise ConfigurationError(must_be("only_totals", "True or False", only_totals))
    refuse_settings(settings, STREAM_SETTINGS + DELIVERY_SETTINGS, "estimate_table")
    estimator = TableEstimator(Estimation(Settings.load(settings), catalogue))
    return estimator.estimate(
        input_tokens,
        output_tokens,
        model=model,
        models=models,
        cached_input_tokens=cached_input_tokens,
        cache_write_input_tokens=cache_write_input_tokens,
        reasoning_tokens=reasoning_tokens,
        only_totals=only_totals,
    )


class TableEstimator:
    """Estimates one table after the other by the settings of one ``Estimation``.

    A name is looked up when it comes for the first time, and stays what it was then.

    Attributes:
        method: The name of the method.
        models: What it takes of each model.
    """

    def __init__(self, estimation: Estimation, *, calibrated: bool = False) -> None:
        """Prepare for an estimation's settings.

        Args:
            estimation: Settings and profiles.
            calibrated: Estimate what stands beside the method that is set: ``roofline``
                beside ``reference``.

        Raises:
            ConfigurationError: Nothing stands beside the method that is set.
        """
        basis = estimation.current_basis()
        if calibrated:
            if basis.calibrated is None:
                what = "False: no calibrated estimate stands beside this method on this GPU"
                raise ConfigurationError(must_be("calibrated", what, calibrated))
            basis = basis.calibrated
        self.method = basis.method
        self.models = Models(estimation, basis)
        keep_memory()

    def estimate(
        self,
        input_tokens: Column,
        output_tokens: Column,
        *,
        model: Column,
        models: Sequence[str | None] | None = None,
        cached_input_tokens: Column | None = None,
        cache_write_input_tokens: Column | None = None,
        reasoning_tokens: Column | None = None,
        only_totals: bool = False,
    ) -> EnergyTable:
        """Estimate a table; the arguments are those of ``estimate_table``.

        Args:
            input_tokens: Prompt tokens [tokens].
            output_tokens: Generated tokens [tokens].
            model: The model of each row.
            models: The names that the numbers in it stand for.
            cached_input_tokens: Part of the input [tokens].
            cache_write_input_tokens: Part of the input [tokens].
            reasoning_tokens: Part of the output [tokens].
            only_totals: Compute the energy alone.

        Raises:
            ConfigurationError: The columns differ in length, or are not of numbers.
        """
        (result,) = fill_tables(
            (self,),
            input_tokens,
            output_tokens,
            model=model,
            models=models,
            cached_input_tokens=cached_input_tokens,
            cache_write_input_tokens=cache_write_input_tokens,
            reasoning_tokens=reasoning_tokens,
            only_totals=only_totals,
        )
        return result.as_table(is_cached=cached_input_tokens is not None)


def fill_tables(
    estimators: Sequence[TableEstimator],
    input_tokens: Column,
    output_tokens: Column,
    *,
    model: Column,
    models: Sequence[str | None] | None = None,
    cached_input_tokens: Column | None = None,
    cache_write_input_tokens: Column | None = None,
    reasoning_tokens: Column | None = None,
    only_totals: bool = False,
    are_checked: bool = False,
) -> list[Result]:
    """What tables of the same calls by several estimators are made of.

    Columns that no row fills are left out, and of all but the first estimator what is spent on
    reasoning and what caches avoid.

    Args:
        estimators: The estimators.
        input_tokens: As for ``estimate``, like the others [tokens].
        output_tokens: Generated tokens [tokens].
        model: The model of each row.
        models: The names that the numbers in it stand for.
        cached_input_tokens: Part of the input [tokens].
        cache_write_input_tokens: Part of the input [tokens].
        reasoning_tokens: Part of the output [tokens].
        only_totals: Compute the energy alone.
        are_checked: Whether all counts are known to be right.

    Raises:
        ConfigurationError: The columns differ in length, or are not of numbers.
    """
    columns = check_columns(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cached_input_tokens=cached_input_tokens,
        cache_write_input_tokens=cache_write_input_tokens,
        reasoning_tokens=reasoning_tokens,
    )
    codes, names = read_models(model, models)
    rows = check_lengths(columns if codes is None else columns | {"model": codes})
    results: list[Result] = []
    for estimator in estimators:
        of_estimator, with_parts = estimator.models, not results
        numbers = of_estimator.find_numbers(names)
        results.append(Result(rows, codes, of_estimator, numbers, only_totals, with_parts))
    with np.errstate(all="ignore"):
        for part in cut_rows(rows, ORDERED):
            for piece, some in _split_by_model(part, codes):
                counts = take_floats(columns, piece)
                wrong = None if are_checked else counts.find_wrong()
                counts.leave_out_nothing()
                for estimator, result in zip(estimators, results, strict=True):
                    TABLE_METHODS[estimator.method](result, piece, counts, some)
                    result.finish(piece, some, wrong)
    return results


def _split_by_model(part: slice, codes: Any | None) -> Iterator[tuple[slice, Any]]:
    """Pieces of a part, and the number of their model's name: one for all rows, or that of each.

    Args:
        part: The rows.
        codes: The number of each row's model name; None: all have the first one.
    """
    if codes is None:
        yield part, 0
        return
    some = codes[part]
    runs = find_runs(some)
    if runs is None:
        yield part, some.astype(np.intp, copy=False)
        return
    for run in runs:
        piece = slice(part.start + run.start, part.start + run.stop)
        yield piece, int(some[run.start])
