"""The columns that are given: checked, and cut into blocks.

The order: each column becomes an array of numbers (``check_columns``), all of one length
(``check_lengths``), the models places and names (``read_models``); parts are cut from them
(``cut_rows``) and become floats (``take_floats``), which say where counts are wrong. A new column
is one more argument of ``check_columns``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from energy_tracking.errors import ConfigurationError, must_be
from energy_tracking.usage.token_usage import MAX_TOKENS

# The formulas say `float` for a float or an array.
Column = Any


REQUIRED = ("input_tokens", "output_tokens")
"""Columns that every table has."""


LEAST = {"cached_input_tokens": 1e-300, "reasoning_tokens": 0.0}
"""The least of a count that is any, or is known [tokens]."""


KEPT_BYTES = 16 << 20
"""More than a column of a block takes [byte]."""


RUN = 512
"""Rows of one model that stand together on average, from which they are taken by themselves [1]."""


def check_columns(**given: Any) -> dict[str, Any]:
    """The columns of counts as arrays, without those that are not there.

    Raises:
        ConfigurationError: One is not of numbers.
    """
    columns = {}
    for name, values in given.items():
        if values is None and name not in REQUIRED:
            continue
        column = _as_array(name, values)
        if column.dtype.kind not in "iuf" or column.ndim > 1:
            what = "a number or a one-dimensional array of integers or floats"
            raise ConfigurationError(must_be(name, what, f"{column.dtype} of {column.shape}"))
        columns[name] = column
    return columns


def check_lengths(columns: dict[str, Any]) -> int:
    """The number of rows [1]; 1 where every column is one number.

    Raises:
        ConfigurationError: The columns differ in length.
    """
    lengths = {name: len(column) for name, column in columns.items() if column.ndim}
    rows = next(iter(lengths.values()), 1)
    for name, length in lengths.items():
        if length != rows:
            what = f"of {rows} rows, as {next(iter(lengths))} is"
            raise ConfigurationError(must_be(name, what, length))
    return rows


def read_models(
    model: Any, models: Sequence[str | None] | None
) -> tuple[Any | None, tuple[str | None, ...]]:
    """The place of each row's name, None where all have the first one; and the names.

    Where rows name none, None is the last name.

    Args:
        model: The model of each row: a name, names, or places.
        models: The names that the places stand for.

    Raises:
        ConfigurationError: The model is neither a name, nor an array of names or of places.
    """
    if models is None and (model is None or isinstance(model, str)):
        return None, (model,)
    if hasattr(model, "indices") and hasattr(model, "dictionary"):
        names = tuple(model.dictionary.to_pylist())
        codes = np.asarray(model.indices.fill_null(-1))
    elif models is not None:
        codes, names = _as_array("model", model), _names_in(models)
        if codes.dtype.kind not in "iu" or codes.ndim != 1:
            what = "an array of integers beside models, one for each row"
            given = f"{codes.dtype} of shape {codes.shape}"
            raise ConfigurationError(must_be("model", what, given))
    else:
        codes, names = _number_names(model)
    if len(codes):
        least, most = int(codes.min()), int(codes.max())
        if most >= len(names):
            raise ConfigurationError(must_be("model", f"below {len(names)}", most))
        if least < 0:
            codes = np.where(codes < 0, len(names), codes.astype(np.intp))
            return codes, (*names, None)
    return codes, names or (None,)


def _as_array(name: str, values: object) -> Any:
    """A column as an array.

    Args:
        name: The column, for messages.
        values: What was given.

    Raises:
        ConfigurationError: It cannot be one.
    """
    try:
        return np.asarray(values)
    except Exception:  # rows of several lengths, or an object's own
        raise ConfigurationError(must_be(name, "a column of numbers", values)) from None


def _names_in(models: Iterable[str | None]) -> tuple[str | None, ...]:
    """The names that places stand for.

    Raises:
        ConfigurationError: They are no sequence, or not one of names.
    """
    with suppress(Exception):  # of somebody else's class
        names = tuple(models)
        if not isinstance(models, str) and all(isinstance(name, str | None) for name in names):
            return names
    raise ConfigurationError(must_be("models", "a sequence of names", models))


def _number_names(model: Any) -> tuple[Any, tuple[str | None, ...]]:
    """The place of each row's name, and the names.

    Raises:
        ConfigurationError: There is no name for each row.
    """
    known: dict[str | None, int] = {}
    try:
        listed = model.tolist() if hasattr(model, "tolist") else list(model)
        places = (known.setdefault(name, len(known)) for name in listed)
        codes = np.fromiter(places, np.intp, len(listed))
    except Exception:  # it is no list, or not one of names
        raise ConfigurationError(
            must_be("model", "a name, or a name for each row", model)
        ) from None
    return codes, tuple(name if isinstance(name, str) else None for name in known)


def keep_memory() -> None:
    """Let the allocator keep the memory of one block for the next.

    glibc keeps blocks as large as the largest one freed so far. Others it gives back to the
    system, which clears each page that is asked for again: that takes as long as the formulas.
    """
    np.empty(KEPT_BYTES, np.uint8)


def cut_rows(rows: int, length: int) -> Iterator[slice]:
    """Slices of a length that cover the rows.

    Args:
        rows: How many rows there are [1].
        length: Rows of a slice [1].
    """
    for start in range(0, rows, length):
        yield slice(start, min(start + length, rows))


def find_runs(codes: Any) -> list[slice] | None:
    """Slices of rows that have one code each; None where too few rows of one stand together.

    Args:
        codes: A whole number for each row.
    """
    is_start = codes[1:] != codes[:-1]
    return None if np.count_nonzero(is_start) * RUN > len(codes) else _cut_before(is_start)


def list_runs(codes: Any) -> list[slice]:
    """Slices of rows that have one code each, however few rows of one stand together.

    Args:
        codes: A whole number for each row.
    """
    return _cut_before(codes[1:] != codes[:-1])


def _cut_before(is_start: Any) -> list[slice]:
    """Slices of rows, each of which begins with a row that is marked.

    Args:
        is_start: Whether each row but the first begins one.
    """
    starts = np.flatnonzero(is_start) + 1
    return [slice(*ends) for ends in pairwise((0, *starts.tolist(), len(is_start) + 1))]


@dataclass(slots=True)
class Counts:
    """The counts of a block of rows: an array of floats, or one float for all, by their names."""

    columns: dict[str, Any]

    def of_rows(self, rows: Any) -> Counts:
        """The counts of some rows."""
        columns = self.columns.items()
        return Counts({name: one if type(one) is float else one[rows] for name, one in columns})

    def find_wrong(self) -> Any | None:
        """Where a row's counts are none: an array of booleans; None where all are right."""
        get = self.columns.get
        inputs, outputs = self.columns["input_tokens"], self.columns["output_tokens"]
        cached, written = get("cached_input_tokens"), get("cache_write_input_tokens")
        reasoning = get("reasoning_tokens")
        right = [_are_in(inputs, MAX_TOKENS), _are_in(outputs, MAX_TOKENS)]
        if cached is not None:
            right.append(_are_in(cached, inputs))
        if written is not None:
            together = written if cached is None else written + cached
            right += [_are_in(written, MAX_TOKENS), _are_in(together, inputs)]
        if reasoning is not None:
            # NaN says that it is not known, and so does a number below 0.
            right.append(np.logical_not(reasoning > outputs))
        wrong = [np.logical_not(one) for one in right if one is not None and not np.all(one)]
        return np.logical_or.reduce(np.broadcast_arrays(*wrong)) if wrong else None

    def leave_out_nothing(self) -> None:
        """Leave out the counts of which no row has any: a term is left out with them."""
        for name, least in LEAST.items():
            column = self.columns.get(name)
            if column is None:
                continue
            most = column if type(column) is float else column.max(initial=-np.inf)
            if most < least:
                del self.columns[name]


def take_floats(columns: Mapping[str, Any], rows: slice) -> Counts:
    """The counts of a block of rows, out of columns of numbers.

    Args:
        columns: The columns, as ``check_columns`` gives them.
        rows: The rows.
    """
    return Counts(
        {
            name: column[rows].astype(np.float64, copy=False) if column.ndim else float(column)
            for name, column in columns.items()
        }
    )


def _are_in(column: Any, most: Any) -> Any:
    """Whether each count is at least 0 and at most some number; None where all are.

    Args:
        column: The counts.
        most: The number, or one for each.
    """
    # Nearly always all are right, which is quickest to see in the least and the largest.
    if np.size(column) and np.min(column) >= 0:
        if np.ndim(most) or np.ndim(column) == 0:
            if np.all(column <= most):
                return None
        elif np.max(column) <= most:
            return None
    return (column >= 0) & (column <= most)
