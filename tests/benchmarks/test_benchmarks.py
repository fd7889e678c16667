"""The fit and the accuracy report run, on the measured file and on rougher ones."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy", reason="the fit needs scipy")

import accuracy
import fit
from measured import read_measured, slices

from energy_tracking.estimator.roofline import CALIBRATED
from energy_tracking.estimator.roofline_constants import ARCHITECTURES, FITTED

MEASURED = Path(__file__).parents[3] / "shared" / "accuracy" / "measured.csv"
with_measured = pytest.mark.skipif(
    not MEASURED.exists(), reason="needs ../shared/accuracy/measured.csv"
)

ROW = {
    "source": "somebody",
    "model": "someone/unheard-of-9b",
    "arch_key": "someone/unheard-of-9b",
    "active_params": "9e9",
    "total_params": "9e9",
    "layers": "40",
    "heads": "32",
    "kv_heads": "8",
    "head_dim": "128",
    "gpu": "H100-SXM-80GB",
    "n_gpus": "1",
    "precision": "bf16",
    "batch": "32",
    "mean_input_tokens": "300",
    "mean_output_tokens": "400",
    "energy_J_per_output_token": "0.4",
    "engine": "vLLM 0.11.1",
    "throughput": "1500",
}


REQUIRED = {
    "model",
    "active_params",
    "gpu",
    "n_gpus",
    "precision",
    "batch",
    "mean_output_tokens",
    "energy_J_per_output_token",
}
OPTIONAL = sorted(ROW.keys() - REQUIRED)


def written(path: Path, *rows: dict[str, str]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


@with_measured
def test_the_fit_gives_the_shipped_constants_to_the_last_digit() -> None:
    data = fit.prepare(read_measured(MEASURED))
    theta = fit.fit(data, np.ones(len(data.log_energy), dtype=bool))
    again = {
        name: fit.rounded(value) for name, value in zip(fit.PRIORS, np.exp(theta), strict=True)
    }
    assert again == {name: FITTED[name] for name in again}
    assert {name: FITTED[name] for name in fit.FIXED} == fit.FIXED
    assert sorted(set(data.architecture.tolist())) == list(ARCHITECTURES)


@with_measured
def test_the_fit_and_the_estimator_agree_on_every_point() -> None:
    measured = read_measured(MEASURED)
    data = fit.prepare(measured)
    fitted, _ = fit.residuals(data, CALIBRATED)
    estimated = accuracy.evaluate(measured, accuracy.roofline_known).error
    np.testing.assert_allclose(fitted, estimated, rtol=0, atol=1e-9)


@with_measured
def test_roofline_beats_ecologits_on_every_gpu() -> None:
    measured = read_measured(MEASURED)
    results = {
        name: accuracy.evaluate(measured, method) for name, method in accuracy.METHODS.items()
    }
    for rows in slices(measured)["GPU"].values():
        known, blind, told, shipped = (
            results[name].factor(rows)
            for name in (
                "roofline, batch known",
                "roofline, batch unknown",
                "EcoLogits, batch and GPUs",
                "EcoLogits, as shipped",
            )
        )
        assert known < told
        assert blind < shipped


def test_a_row_of_an_unknown_model_is_used_by_its_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert accuracy.main([str(written(tmp_path / "rows.csv", ROW))]) == 0
    printed = capsys.readouterr().out
    assert "1 rows used" in printed
    assert "not fitted to" in printed


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"gpu": "abacus"}, "GPU 'abacus' has no profile"),
        ({"precision": "int3"}, "precision 'int3'"),
        ({"batch": ""}, "no batch"),
        ({"active_params": "0"}, "no active_params"),
        ({"mean_output_tokens": "nan"}, "no mean_output_tokens"),
        ({"dp": "8"}, "data-parallel"),
    ],
)
def test_a_row_that_cannot_be_used_is_counted_with_its_reason(
    change: dict[str, str], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "rows.csv", {**ROW, "dp": "1"}, {**ROW, "dp": "1", **change})
    assert accuracy.main([str(path)]) == 0
    printed = capsys.readouterr().out
    assert "1 rows used" in printed
    assert reason in printed


@pytest.mark.parametrize(
    "column",
    OPTIONAL,
)
def test_an_optional_column_may_be_missing(
    column: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {name: value for name, value in ROW.items() if name != column}
    assert accuracy.main([str(written(tmp_path / "rows.csv", row))]) == 0
    assert "1 rows used" in capsys.readouterr().out


def test_a_file_without_usable_rows_is_an_error_not_a_crash(tmp_path: Path) -> None:
    assert accuracy.main([str(written(tmp_path / "rows.csv", {**ROW, "gpu": "abacus"}))]) == 1


def test_the_plot_is_a_png(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the plot needs matplotlib")
    picture = tmp_path / "plot.png"
    rows = written(tmp_path / "rows.csv", ROW, {**ROW, "batch": "64"})
    assert accuracy.main([str(rows), "--plot", str(picture)]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("engine", "early"),
    [
        ("vLLM 0.11.1", False),
        ("vLLM 0.4.2-0.5.4", True),
        ("vLLM 2023 (Splitwise)", True),
        ("vLLM 2025", False),
        ("TensorRT-LLM", False),
        ("", False),
    ],
)
def test_engines_up_to_2024_are_early(engine: str, early: bool, tmp_path: Path) -> None:
    (point,) = read_measured(written(tmp_path / "rows.csv", {**ROW, "engine": engine})).points
    assert point.serving.early_engine is early


def test_a_single_head_wider_than_any_key_is_a_latent_cache(tmp_path: Path) -> None:
    row = {**ROW, "kv_heads": "1", "head_dim": "576", "heads": "128", "layers": "61"}
    (point,) = read_measured(written(tmp_path / "rows.csv", row)).points
    assert point.site().cache_bytes == 61 * 2 * 576
