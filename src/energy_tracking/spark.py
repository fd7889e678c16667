"""Energy of calls in tables too large for one machine: a column of it in a frame of Apache Spark.

>>> from energy_tracking.spark import add_energy
>>> add_energy(frame, method="roofline").groupBy("model").sum("total_energy_wh")

Each worker estimates the rows that it has, in batches of Arrow, by the formulas of one call
(``energy_tracking.tables``); nothing goes through rows of Python. The settings are those of the
driver. The workers need ``energy-tracking[spark]`` too, and profiles in a file that they can read:
a profile that the driver's process has registered is unknown to them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Unpack

from energy_tracking.errors import ConfigurationError, must_be, not_one_of
from energy_tracking.estimation import Estimation
from energy_tracking.logs.columns import HIT_WORDS, columns_of, mark_unit
from energy_tracking.settings import SettingArguments, Settings
from energy_tracking.settings.effects import DELIVERY_SETTINGS, STREAM_SETTINGS, refuse_settings

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

COLUMNS = (
    *("input", "output", "cached", "cache_read", "cache_write", "cache_write_1h", "reasoning"),
    *("model", "cache_hit"),
)
"""What a column of the frame may be."""
_OF_SUMS = (
    "without a column of sums over many requests",
    "leave the column out where each row is one call",
)
# Column of a table -> what a frame must be instead, and what to do.
REFUSED = {
    "requests": _OF_SUMS,
    "day": _OF_SUMS,
    "reasoning_beside": (
        "without reasoning beside the output", "add it to the output, and name the columns",
    ),
    "unit": (
        "without counts in thousands or millions", "multiply them out, and name the columns",
    ),
}  # fmt: skip
"""Columns with which a row is no call, or not of the counts that it says."""
ADDED = ("total_energy_wh", "total_energy_low_wh", "total_energy_high_wh")
"""The columns of numbers that are added [Wh]; ``energy_status`` beside them says why one is
missing."""
STATUS = "energy_status"
ANSWERED_FROM_CACHE = "answered from a cache"
"""The status of a row whose response a gateway had in store: no model ran, 0 Wh."""

_NUMBERS = ("byte", "short", "integer", "long", "float", "double", "decimal")


def add_energy(
    frame: DataFrame,
    *,
    columns: Mapping[str, str] | None = None,
    **settings: Unpack[SettingArguments],
) -> DataFrame:
    """The same frame with the energy of each row's call and its 90 % range.

    Args:
        frame: A row for each call.
        columns: Names of the columns where they are not known ones such as ``prompt_tokens``:
            of ``input`` and ``output``, and of whatever else there is of ``cached`` (a part of
            the input), ``cache_read``, ``cache_write`` and ``cache_write_1h`` (beside the
            input, as Anthropic counts them), ``reasoning``, ``model`` and ``cache_hit``.
            Counts are numbers; one that is null counts as 0, or as not known where it is of
            reasoning.
        **settings: As for ``Tracker``: ``method``, ``gpu``, ``model_mapping``,
            ``default_model`` and the rest about estimates.

    Returns:
        The frame with ``total_energy_wh``, ``total_energy_low_wh`` and ``total_energy_high_wh``
        [Wh], null where there is no energy, and ``energy_status``, which says why:
        ``"estimated"``, another of ``energy_tracking.tables.STATUSES``, or
        ``"answered from a cache"`` with 0 Wh where the column ``cache_hit`` is true.

    Raises:
        ConfigurationError: A column is named that the frame has not, is not one of numbers, or
            has a name that is added; the rows are sums over many requests; a setting is wrong.
    """
    from pyspark.sql.types import DoubleType, StringType, StructField, StructType

    found = _find_columns(frame, columns)
    refuse_settings(settings, STREAM_SETTINGS + DELIVERY_SETTINGS, "add_energy")
    loaded = Settings.load(settings)
    Estimation(loaded)  # so that a wrong setting is said here, not by a worker
    added = [StructField(name, DoubleType()) for name in ADDED]
    schema = StructType([*frame.schema.fields, *added, StructField(STATUS, StringType())])
    return frame.mapInArrow(_make_estimator(found, loaded), schema)


def _find_columns(frame: DataFrame, given: Mapping[str, str] | None) -> dict[str, str]:
    """What a column is -> its name.

    Raises:
        ConfigurationError: A column is missing, or cannot be what it is said to be.
    """
    types = {field.name: field.dataType.typeName() for field in frame.schema.fields}
    found = columns_of(tuple(types)) or {} if given is None else mark_unit(dict(given))
    for what, name in (given or {}).items():
        if what not in COLUMNS:
            raise ConfigurationError(not_one_of("column", what, COLUMNS))
        if name not in types:
            raise ConfigurationError(not_one_of(f"columns[{what!r}]", name, types))
    for what, (kind, remedy) in REFUSED.items():
        if what in found:
            raise ConfigurationError(must_be("frame", kind, found[what], remedy))
    found = {what: name for what, name in found.items() if what in COLUMNS}
    if not {"input", "output"} <= found.keys():
        remedy = "name them: columns={'input': ..., 'output': ...}"
        what = "a frame with columns of input and output tokens"
        raise ConfigurationError(must_be("frame", what, sorted(types), remedy))
    for what, name in found.items():
        if what not in ("model", "cache_hit") and types[name] not in _NUMBERS:
            remedy = "cast it first"
            raise ConfigurationError(
                must_be(f"column {name!r}", "one of numbers", types[name], remedy)
            )
    for name in (*ADDED, STATUS):
        if name in types:
            raise ConfigurationError(
                must_be("frame", f"without a column {name!r}, which is added", name, "drop it")
            )
    return found


def _make_estimator(
    columns: dict[str, str], settings: Settings
) -> Callable[[Iterable[Any]], Iterator[Any]]:
    """What each worker does with its batches."""

    def estimate_batches(batches: Iterable[Any]) -> Iterator[Any]:
        from energy_tracking.tables.estimating import TableEstimator

        estimator = TableEstimator(Estimation(settings))
        for batch in batches:
            yield _estimate_batch(batch, columns, estimator)

    return estimate_batches


def _estimate_batch(batch: Any, columns: dict[str, str], estimator: Any) -> Any:
    """A batch of Arrow with its energy."""
    import numpy as np
    import pyarrow

    from energy_tracking.tables.table import STATUSES

    def numbers(what: str) -> Any:
        column = batch.column(columns[what])
        return column.cast(pyarrow.float64()).to_numpy(zero_copy_only=False)

    def counts(what: str) -> Any:
        return np.nan_to_num(numbers(what), nan=0.0) if what in columns else None

    inputs, outputs = numbers("input"), numbers("output")
    # Where neither is there, there is no call to be counted.
    is_empty = np.isnan(inputs) & np.isnan(outputs)
    inputs, outputs = np.where(is_empty, np.nan, np.nan_to_num(inputs)), np.nan_to_num(outputs)
    cached, written = counts("cached"), counts("cache_write")
    if "cache_write_1h" in columns:
        written = counts("cache_write_1h") + (0.0 if written is None else written)
    if "cache_read" in columns:
        # Anthropic's names: its input count leaves the cache out.
        read = numbers("cache_read")
        is_beside = ~np.isnan(read)
        inputs = inputs + np.where(is_beside, read + (0.0 if written is None else written), 0.0)
        cached = np.where(is_beside, read, 0.0 if cached is None else cached)
    model: Any = None
    if "model" in columns:
        model = batch.column(columns["model"]).cast(pyarrow.string()).dictionary_encode()
    table = estimator.estimate(
        inputs,
        outputs,
        model=model,
        cached_input_tokens=cached,
        cache_write_input_tokens=written,
        reasoning_tokens=numbers("reasoning") if "reasoning" in columns else None,
    )
    energies = [table.total_energy_wh, table.total_energy_low_wh, table.total_energy_high_wh]
    status = table.status
    if "cache_hit" in columns:
        is_hit = _find_cache_hits(batch.column(columns["cache_hit"]))
        energies = [np.where(is_hit, 0.0, energy) for energy in energies]
        status = np.where(is_hit, np.uint8(len(STATUSES)), status)
    words = [*STATUSES, ANSWERED_FROM_CACHE]
    statuses = pyarrow.DictionaryArray.from_arrays(pyarrow.array(status), words)
    # Here NaN would spoil a sum, and null is left out of it.
    columns_added = [pyarrow.array(one, from_pandas=True) for one in energies]
    return pyarrow.RecordBatch.from_arrays(
        [*batch.columns, *columns_added, statuses.cast(pyarrow.string())],
        names=[*batch.schema.names, *ADDED, STATUS],
    )


def _find_cache_hits(column: Any) -> Any:
    """Which rows a cache answered, as the line reader has it."""
    import pyarrow
    import pyarrow.compute

    words = pyarrow.compute.utf8_trim(column.cast(pyarrow.string()), " ").fill_null("")
    words = pyarrow.compute.utf8_lower(words)
    return pyarrow.compute.is_in(words, pyarrow.array(HIT_WORDS)).to_numpy(zero_copy_only=False)
