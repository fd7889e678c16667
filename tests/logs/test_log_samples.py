"""Every format is read rightly: calls, tokens, models, times, and what is no call."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from energy_tracking.logs.formats import FORMATS
from energy_tracking.logs.formats.responses import BATCHES
from energy_tracking.logs.formats.tables import RIGHT_COLUMNS
from log_samples.common import DATA, FILES, SHARED, SHARED_FILES, Documents, Right
from log_samples.reading import ALL_SAMPLES, read, shown


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_others_has_its_calls_tokens_and_models(name: str) -> None:
    entries, report = read(DATA / name)
    assert shown(entries, report, FILES[name]) == FILES[name]
    assert not report.unrecognised
    assert not any(RIGHT_COLUMNS in said for said in report.omissions())


@pytest.mark.parametrize("name", SHARED_FILES)
def test_a_file_beside_the_checkout_has_its_calls_tokens_and_models(name: str) -> None:
    path = SHARED / "logs" / name
    if not path.exists():
        pytest.skip(f"needs ../shared/logs/{name}, whose licence allows no copy here")
    entries, report = read(path)
    assert shown(entries, report, SHARED_FILES[name]) == SHARED_FILES[name]
    assert not report.unrecognised
    assert not any(RIGHT_COLUMNS in said for said in report.omissions())


@pytest.mark.parametrize(
    ("row", "documents", "like"), ALL_SAMPLES, ids=[row for row, *_ in ALL_SAMPLES]
)
def test_a_sample_of_every_format_is_read_rightly(
    row: str, documents: Documents, like: Right, tmp_path: Path
) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(map(json.dumps, documents)), "utf-8")
    entries, report = read(path)
    assert shown(entries, report, like) == like
    assert report.formats[row] > 0
    assert not report.unrecognised
    assert not any(RIGHT_COLUMNS in said for said in report.omissions())


def test_every_row_of_the_table_has_a_sample(tmp_path: Path) -> None:
    formats = set()
    for name in FILES:
        formats |= {row for row, calls in read(DATA / name)[1].formats.items() if calls}
    formats |= {row for row, *_ in ALL_SAMPLES}
    # Read by tests of their own: a table whose columns the caller names, an aider history, logs,
    # what is no JSON.
    apart = {"columns", "aider", "otlp-logs", "log-record", "printed-span-js"}
    apart |= {
        "openai-agents-trace",
        "goose-message",
        "azure-metric",
        "librechat-message",
        "server-log",
        "printed-span-dotnet",
        "printed-span-collector",
        "llama-cpp-log",
        "crush",
        "mlflow-span",
        "otlp-metrics",
        "phoenix-cost",
    }
    assert {row.name for row in FORMATS} - formats <= BATCH_ROWS | apart


BATCH_ROWS = {row.name for row in BATCHES}
"""Their samples are in the tests of back-fill."""
