"""A report for programs: JSON, CSV with a row per group, Parquet with a row per call.

All have every digit, and no text that a spreadsheet takes for a formula. The fields of a group are
made in ``_fields``, those of a call in ``_columns_of`` and ``_energies_of``: a new one is a line
there.
"""

from __future__ import annotations

import csv
import json
import os
import re
import tempfile
from contextlib import ExitStack
from io import StringIO
from typing import Any

import numpy as np

from energy_tracking.calls.report import escape_cell
from energy_tracking.cli.reports.collect import Report, Row, rows_of
from energy_tracking.errors import ConfigurationError, say_install
from energy_tracking.logs.batches.batch import BatchNames, CallBatch
from energy_tracking.logs.batches.dimensions import local_time
from energy_tracking.logs.batches.energy import BatchEnergy
from energy_tracking.logs.batches.grouping import GroupSums, Of
from energy_tracking.units import wh_from_joules

_ENDS = ("", "_low", "_high")


def report_json(report: Report, top: int | None) -> str:
    """All the digits there are.

    Args:
        report: The report.
        top: Groups to be kept; None: all.
    """
    read, selection = report.read, report.selection
    document = {
        "title": report.title,
        "is_whole": report.is_whole,
        "method": report.settings.method,
        "scope": report.settings.scope,
        "gpu": report.settings.gpu,
        "by": list(selection.by),
        "timezone": str(selection.zone),
        "since": None if selection.since is None else selection.since.isoformat(),
        "until": None if selection.until is None else selection.until.isoformat(),
        "first": _moment(report, report.first),
        "last": _moment(report, report.last),
        "totals": _fields(report, report.total),
        "groups": [_group(report, row) for row in rows_of(report.table, report.names, top)],
        "reasons": [
            {"model": model, "reason": reason, "calls": calls}
            for (model, reason), calls in report.ranked_reasons
        ],
        "left_out": {
            "outside_of_time": report.outside,
            "without_time": report.without_time,
            "repeated": read.repeated,
            "unread": [
                {"reason": reason, "count": one.count, "file": one.file, "line": one.line}
                for reason, one in read.unread.items()
            ],
            "cut_off": [
                {"reason": one.reason, "file": file, "line": one.line}
                for file, one in read.cut_off.items()
            ],
            "unrecognised": [
                {"file": file, "missing": missing} for file, missing in read.unrecognised.items()
            ],
        },
        "cache_hits": read.cache_hits,
        "files": read.files,
        "formats": dict(read.formats),
    }
    return json.dumps(document, indent=2, ensure_ascii=False)


def report_csv(report: Report, top: int | None) -> str:
    """A header, and a row per group; no sum over them.

    Args:
        report: The report.
        top: Groups to be kept; None: all.
    """
    written = StringIO()
    writer = csv.writer(written, lineterminator="\n")
    rows = rows_of(report.table, report.names, top)
    about = {"method": report.settings.method, "scope": report.settings.scope}
    about["gpu"] = report.settings.gpu
    empty = _fields(report, GroupSums())
    writer.writerow((*report.selection.by, *about, *empty))
    for labels, of, sums in rows:
        how = about | ({} if of is Of.ESTIMATES else {"method": of.label, "scope": "-"})
        cells = map(escape_cell, (*labels, *how.values()))
        writer.writerow((*cells, *_fields(report, sums).values()))
    return written.getvalue()


def _moment(report: Report, moment: float) -> str | None:
    if not np.isfinite(moment):
        return None
    return local_time(moment, report.selection.zone).isoformat()


def _group(report: Report, row: Row) -> dict[str, object]:
    labels, of, sums = row
    named = dict(zip(report.selection.by, labels, strict=True))
    return {**named, "of": of.label, **_fields(report, sums)}


def _fields(report: Report, sums: GroupSums) -> dict[str, int | float]:
    """Sums by name, the energies in watt-hours too, and their emissions where asked for."""
    fields = sums.as_dict()
    for name in ("total_energy", "calibrated_energy"):
        for end in _ENDS:
            fields[f"{name}{end}_wh"] = wh_from_joules(getattr(sums, f"{name}{end}_joules"))
    for prefix, calibrated in (("total", False), ("calibrated", True)):
        emitted = report.carbon_of(sums, calibrated=calibrated)
        if emitted is not None:
            fields |= {
                f"{prefix}_carbon_grams": emitted.total_carbon_grams,
                f"{prefix}_carbon_low_grams": emitted.total_carbon_low_grams,
                f"{prefix}_carbon_high_grams": emitted.total_carbon_high_grams,
            }
    return fields


class ParquetWriter:
    """Writes a row for each call, in memory that does not grow with their number."""

    def __init__(self, path: str, method: str, scope: str, gpu: str) -> None:
        """Open a store for the rows beside the file, which is written at the end.

        Args:
            path: The file.
            method: The estimator of all rows.
            scope: What it counts.
            gpu: The GPU profile.

        Raises:
            ConfigurationError: DuckDB is not installed, or nothing can be written to the folder.
        """
        try:
            import duckdb
        except ModuleNotFoundError:
            raise ConfigurationError(
                f"--parquet needs the package 'duckdb'; {say_install('report')}"
            ) from None
        self._path = path
        self._how = {"method": method, "scope": scope, "gpu": gpu}
        self._opened = ExitStack()
        folder = os.path.dirname(os.path.abspath(path))
        try:
            store = self._opened.enter_context(tempfile.TemporaryDirectory(dir=folder))
        except OSError as error:
            raise ConfigurationError(f"{path}: {error.strerror}") from None
        self._error: type[Exception] = duckdb.Error
        self._failure: Exception | None = None
        try:
            self._store: Any = duckdb.connect(os.path.join(store, "calls.db"))
        except duckdb.Error as error:
            self._opened.close()
            raise self._refuse(error) from None
        self._store.execute("SET enable_progress_bar = false")
        self._opened.callback(self._store.close)
        self._has_table = False

    def add(self, batch: CallBatch, energy: BatchEnergy, reasons: list[str]) -> None:
        """Add a row for each call of a batch; that it cannot be stored is said at the end.

        Args:
            batch: The calls.
            energy: Their energy.
            reasons: What the numbers of reasons stand for.
        """
        if self._failure is not None:
            return
        columns = {**_columns_of(batch, batch.names), **_energies_of(energy, reasons)}
        is_measured = ~np.isnan(batch.measured_energy_joules)
        for name, value in self._how.items():
            columns[name] = np.full(len(batch), value, object)
        columns["method"][is_measured] = "measured"
        columns["scope"][is_measured] = None
        self._store.register("batch", columns)
        select = f"SELECT {', '.join(map(_select, columns))} FROM batch"
        start = "INSERT INTO calls " if self._has_table else "CREATE TABLE calls AS "
        try:
            self._store.execute(start + select)
        except self._error as error:
            self._failure = error
        self._store.unregister("batch")
        self._has_table = True

    def finish(self) -> bool:
        """Write the file, and remove the store; returns whether there was a call to write.

        Raises:
            ConfigurationError: The file cannot be written.
        """
        with self._opened:
            if not self._has_table:
                return False
            path = self._path.replace("'", "''")
            try:
                if self._failure is not None:
                    raise self._failure
                self._store.execute(f"COPY calls TO '{path}' (FORMAT parquet, COMPRESSION zstd)")
            except self._error as error:
                raise self._refuse(error) from None
        return True

    def _refuse(self, error: Exception) -> ConfigurationError:
        """Say why the file cannot be written, in the words of the operating system alone."""
        first = str(error).partition("\n")[0]
        number = re.search(r'"errno":"(\d+)"', first)
        reason = os.strerror(int(number[1])) if number else first.rpartition(": ")[2]
        return ConfigurationError(f"{self._path}: {reason}")


_TEXTS = ("model", "provider", "session", "tag", "file")
_COUNTS = ("requests", "input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens")


def _columns_of(batch: CallBatch, names: BatchNames) -> dict[str, Any]:
    columns: dict[str, Any] = {"time": batch.time}
    for name in _TEXTS:
        # None at the end stands for -1.
        texts = np.array([*getattr(names, name).texts, None], object)
        columns[name] = texts[getattr(batch, name)]
    for name in _COUNTS:
        # Of one type in all batches: the first makes the table.
        columns[name] = getattr(batch, name).astype(np.int64, copy=False)
    columns["has_failed"] = batch.has_failed
    return columns


def _energies_of(energy: BatchEnergy, reasons: list[str]) -> dict[str, Any]:
    names = np.array([*reasons, None], object)
    return energy.columns | {"reason": names[energy.reason]}


def _select(name: str) -> str:
    """A column as Parquet has it: a point in time, and nothing where nothing is known."""
    if name == "time":
        moment = "make_timestamptz((time * 1e6)::BIGINT)"
        return f"CASE WHEN isnan(time) THEN NULL ELSE {moment} END AS time"
    if name.endswith("_joules"):
        return f"CASE WHEN isnan({name}) THEN NULL ELSE {name} END AS {name}"
    if name in ("reasoning_tokens", "requests"):
        least = 0 if name == "reasoning_tokens" else 1
        return f"CASE WHEN {name} < {least} THEN NULL ELSE {name} END AS {name}"
    return f"CAST({name} AS VARCHAR) AS {name}" if name in (*_TEXTS, "reason") else name
