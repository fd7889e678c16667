"""The fit and the accuracy report run, on the measured files and on rougher ones."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy", reason="the fit needs scipy")

import accuracy
import fit
import text_tokens
from measured import Mask, Measured, Point, read_measured, slices

from energy_tracking.estimator import doubts, reference
from energy_tracking.estimator.roofline.cases import HARDWARE_RANGE
from energy_tracking.estimator.roofline.constants import CALIBRATED, RooflineConstants
from energy_tracking.estimator.roofline.fitted import ARCHITECTURES
from energy_tracking.estimator.roofline.request import estimate_request
from energy_tracking.usage.text import TOKENS_PER_TOOL_CALL

pytestmark = pytest.mark.no_cover  # thousands of rounds of what other tests do once

SHARED = Path(__file__).parents[3] / "shared"
MEASURED = SHARED / "accuracy" / "measured.csv"
MEASURED_2026 = SHARED / "accuracy" / "measured_2026_public.csv"
WALL = SHARED / "accuracy" / "system_2026_public.csv"
FITTED_TO = (MEASURED, MEASURED_2026)
with_measured = pytest.mark.skipif(
    not all(path.exists() for path in (*FITTED_TO, WALL)),
    reason="needs the measurements of ../shared/accuracy",
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
    names = {name: None for row in rows for name in row}
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=names, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path


def point_of(tmp_path: Path, **changes: str) -> Point:
    """The point that the usual row becomes with these changes."""
    (point,) = read_measured(written(tmp_path / "row.csv", {**ROW, **changes})).points
    return point


def printed_by_fit(*arguments: str | Path) -> str:
    with redirect_stdout(io.StringIO()) as printed:
        assert fit.main([str(argument) for argument in arguments]) == 0
    return printed.getvalue()


# The measured files.


@dataclass(frozen=True, slots=True)
class LeftOut:
    """One file, each of its architectures predicted by constants fitted to the others."""

    measured: Measured
    constants: dict[str, RooflineConstants]

    def result(self, method: accuracy.Method) -> accuracy.Result:
        return accuracy.evaluate(self.measured, method, self.constants)

    def unflagged(self) -> Mask:
        unflagged: Mask = self.measured.labels(lambda point: point.flag) == ""
        return unflagged


@pytest.fixture(scope="module")
def constants_without_each() -> dict[str, RooflineConstants]:
    return accuracy.fit_without_each(read_measured(*FITTED_TO))


@with_measured
def test_the_fit_gives_the_shipped_module_to_the_last_digit() -> None:
    printed = printed_by_fit(*FITTED_TO)
    shipped = fit.TARGET.read_text(encoding="utf-8")
    assert printed[printed.index('"""Constants of') :].strip() == shipped.strip()


@with_measured
def test_the_fit_and_the_estimator_agree_on_every_point() -> None:
    measured = read_measured(*FITTED_TO)
    fitted, _ = fit.residuals(fit.prepare(measured), CALIBRATED)
    estimated = accuracy.evaluate(measured, accuracy.roofline_known).error
    np.testing.assert_allclose(fitted, estimated, rtol=0, atol=1e-9)


@with_measured
@pytest.mark.parametrize(
    ("path", "error", "covered", "batch_unknown"),
    [
        # The targets, and the error with the batch unknown before the rows of 2026 were known.
        (MEASURED, 1.15, 0.88, 1.91),
        (MEASURED_2026, 1.20, 0.88, 2.0),
    ],
)
def test_architectures_left_out_of_the_fit_are_predicted_within_the_targets(
    path: Path,
    error: float,
    covered: float,
    batch_unknown: float,
    constants_without_each: dict[str, RooflineConstants],
) -> None:
    left_out = LeftOut(read_measured(path), constants_without_each)
    rows, known = left_out.unflagged(), left_out.result(accuracy.roofline_known)
    assert known.factor(rows) <= error
    assert known.share_inside(rows, 90) >= covered
    assert left_out.result(accuracy.roofline_no_batch).factor(rows) <= batch_unknown


@with_measured
def test_the_range_holds_in_every_slice_of_more_than_thirty_rows(
    constants_without_each: dict[str, RooflineConstants],
) -> None:
    left_out = LeftOut(read_measured(*FITTED_TO), constants_without_each)
    known = left_out.result(accuracy.roofline_known)
    held = {
        f"{cut} {label}": known.share_inside(rows & left_out.unflagged(), 90)
        for cut, masks in slices(left_out.measured).items()
        for label, rows in masks.items()
        if (rows & left_out.unflagged()).sum() > 30
    }
    assert len(held) > 10
    assert {name: share for name, share in held.items() if share < 0.85} == {}


@with_measured
def test_roofline_beats_ecologits_on_every_gpu(
    constants_without_each: dict[str, RooflineConstants],
) -> None:
    left_out = LeftOut(read_measured(*FITTED_TO), constants_without_each)
    known, blind, ecologits_known, ecologits_shipped = (
        left_out.result(accuracy.METHODS[name])
        for name in (
            "roofline, batch known",
            "roofline, batch unknown",
            "EcoLogits, batch and GPUs",
            "EcoLogits, as shipped",
        )
    )
    for gpu, rows in slices(left_out.measured)["GPU"].items():
        assert known.factor(rows) < ecologits_known.factor(rows), gpu
        assert blind.factor(rows) < ecologits_shipped.factor(rows), gpu


@with_measured
def test_speculative_decoding_is_a_slice_of_its_own() -> None:
    cut = slices(read_measured(*FITTED_TO))["speculative decoding"]
    # As the column of the file has it; nobody used drafts before.
    assert {label: int(rows.sum()) for label, rows in cut.items()} == {"on": 20, "off": 626}


@with_measured
def test_what_was_measured_at_the_wall_is_in_no_table(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert {point.scope for point in read_measured(WALL).points} == {"wall"}
    assert accuracy.main([str(WALL)]) == 0
    printed = capsys.readouterr().out
    assert "0 rows used" in printed
    assert "all rows" not in printed
    assert "energy at the wall over the boards' estimate" in printed


def printed_ends(lines: Sequence[str], title: str, label: str) -> tuple[float, float]:
    """First and last number of the row with this label below the title."""
    start = next(index for index, line in enumerate(lines) if line.startswith(title))
    row = next(line for line in lines[start:] if line.strip().startswith(f"{label} "))
    numbers = re.findall(r"\d+\.\d+", row)
    return float(numbers[0]), float(numbers[-1])


@with_measured
def test_the_ranges_of_the_seeds_formula_are_what_the_report_prints() -> None:
    lines = accuracy.parts_report(read_measured(*FITTED_TO))
    # Rounded to two digits.
    both, every = (
        printed_ends(lines, "reference, decode", label) for label in ("A100 and H100", "all")
    )
    assert reference.DECODE_RANGE["A100"] == reference.DECODE_RANGE["H100"]
    assert both == pytest.approx(reference.DECODE_RANGE["H100"], rel=0.03)
    # Elsewhere: at least as wide as on those two.
    low, high = min(both[0], every[0]), max(both[1], every[1])
    assert (low, high) == pytest.approx(reference.DECODE_RANGE_ELSEWHERE, rel=0.03)

    rows = [line for line in lines if "the calibrated one's own range" in line]
    ends = {row.split()[0]: tuple(map(float, row.split()[-2:])) for row in rows}
    for gpu, expected in reference.PREFILL_RANGE.items():
        assert ends[gpu] == pytest.approx(expected, rel=0.03), gpu
    widest = min(low for low, _ in ends.values()), max(high for _, high in ends.values())
    assert widest == pytest.approx(reference.PREFILL_RANGE_ELSEWHERE, rel=0.03)


def test_the_range_of_unknown_hardware_is_what_the_report_prints() -> None:
    lines = accuracy.hardware_report()
    assert printed_ends(lines, "closed models elsewhere", "H100") == (1, 1)
    every = printed_ends(lines, "closed models elsewhere", "all")
    assert every == pytest.approx(HARDWARE_RANGE, rel=0.05)


# Reading.


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
        ({"notes": "cached fraction not published"}, "prompts partly from a cache"),
        ({"cached_input_fraction": "1.5"}, "cached_input_fraction above 1"),
    ],
)
def test_a_row_that_cannot_be_used_is_counted_with_its_reason(
    change: dict[str, str], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "rows.csv", ROW, {**ROW, **change})
    assert accuracy.main([str(path)]) == 0
    printed = capsys.readouterr().out
    assert "1 rows used" in printed
    assert reason in printed


@pytest.mark.parametrize("column", OPTIONAL)
def test_an_optional_column_may_be_missing(
    column: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {name: value for name, value in ROW.items() if name != column}
    assert accuracy.main([str(written(tmp_path / "rows.csv", row))]) == 0
    assert "1 rows used" in capsys.readouterr().out


def test_a_file_without_usable_rows_is_an_error_not_a_crash(tmp_path: Path) -> None:
    assert accuracy.main([str(written(tmp_path / "rows.csv", {**ROW, "gpu": "abacus"}))]) == 1


@pytest.mark.parametrize(
    ("engine", "date", "year"),
    [
        ("vLLM 0.4.2-0.5.4", "", 2024),
        ("vLLM 0.5.5", "", 2024),
        ("vLLM 0.6.0", "", 2025),
        ("vLLM 0.11.1", "", 2025),
        ("vLLM v0.11.1", "", 2025),
        ("vLLM 0.14.0", "", 2026),
        ("vLLM 2023 (Splitwise)", "", 2023),
        ("vLLM 2025", "", 2025),
        ("vLLM", "2024-03-01", 2024),
        ("SGLang 0.5.19", "", 2026),
        ("SGLang v0.5.19", "", 2026),
        ("SGLang v0.5.14", "2024-01-01", 2026),
        ("SGLang 0.4.1", "", 2025),
        ("SGLang v0.4.1", "", 2025),
        ("SGLang v0.2.0", "", 2024),
        ("SGLang (image not in the record)", "2026-09-08", 2026),
        # Its scheduler was never slow, however old the row is.
        ("TensorRT-LLM", "2024-08", 2025),
        ("TensorRT-LLM", "2026-01", 2026),
        ("TensorRT-LLM", "", 2025),
        ("", "", 2025),
        ("", "2024-05-01", 2025),
        ("something else 1.2", "2026-03-01", 2026),
        # A plain loop waits between steps in every version.
        ("Transformers 4.36 eager", "2026-02-26", 2024),
        ("transformers (not a serving engine)", "", 2024),
    ],
)
def test_an_engine_is_as_old_as_its_version(
    engine: str, date: str, year: int, tmp_path: Path
) -> None:
    assert point_of(tmp_path, engine=engine, date=date).serving.engine_year == year


def test_a_single_head_wider_than_any_key_is_a_latent_cache(tmp_path: Path) -> None:
    point = point_of(tmp_path, kv_heads="1", head_dim="576", heads="128", layers="61")
    assert point.site().cache_bytes == 61 * 2 * 576


@pytest.mark.parametrize(
    ("precision", "weight_format"),
    [
        ("bf16", "bf16"),
        ("FP8", "fp8"),
        ("fp4", "nvfp4"),
        ("AWQ", "int4"),
        ("mxfp4", "mxfp4"),
        ("W4A16", "int4"),
        ("w4a8", "w4a8"),
        ("Q4_K_M", "q4_k_m"),
    ],
)
def test_a_precision_is_a_weight_format(precision: str, weight_format: str, tmp_path: Path) -> None:
    assert point_of(tmp_path, precision=precision).serving.weight_format == weight_format


@pytest.mark.parametrize(
    ("column", "speculative"),
    [
        ("mtp", True),
        ("eagle", True),
        ("none", False),
        ("", False),
        ("off", False),
        ("No", False),
        ("false", False),
    ],
)
def test_drafts_are_known_of_every_row(column: str, speculative: bool, tmp_path: Path) -> None:
    assert point_of(tmp_path, spec_decode=column).serving.speculative is speculative


def test_experts_and_attention_are_spread_as_the_row_states(tmp_path: Path) -> None:
    serving = point_of(tmp_path, n_gpus="8", ep="4", dp_attention="8").serving
    assert (serving.num_gpus, serving.expert_parallel, serving.attention_replicas) == (8, 4, 8)
    assert point_of(tmp_path, n_gpus="8").serving.expert_parallel == 1
    # Copies of a whole model on one GPU each are instances of their own.
    assert point_of(tmp_path, n_gpus="1", dp="4").serving.attention_replicas == 1


def test_where_prefill_has_gpus_of_its_own_the_others_hold_the_sequences(tmp_path: Path) -> None:
    assert point_of(tmp_path, n_gpus="12", n_decode_gpus="8").serving.num_gpus == 8


def test_energy_may_be_given_by_request(tmp_path: Path) -> None:
    point = point_of(tmp_path, energy_J_per_output_token="", energy_J_per_request="200")
    assert point.joules_per_token == 200 / 400


def test_energy_may_be_given_by_the_gpus_of_prefill_and_decode(tmp_path: Path) -> None:
    point = point_of(
        tmp_path,
        energy_J_per_output_token="",
        prefill_J_per_input_token="0.08",
        decode_J_per_output_token="0.5",
    )
    # 300 tokens in, 400 out.
    assert point.joules_per_token == pytest.approx(0.5 + 0.08 * 300 / 400)


@pytest.mark.parametrize(("fraction", "cached"), [("", 0), ("0", 0), ("0.25", 75), ("1", 300)])
def test_the_cached_part_of_a_prompt_is_honoured(
    fraction: str, cached: float, tmp_path: Path
) -> None:
    cold, point = point_of(tmp_path), point_of(tmp_path, cached_input_fraction=fraction)
    assert point.cached_input_tokens == cached
    energy, of_all = (accuracy.roofline_known(each, CALIBRATED).joules for each in (point, cold))
    assert (energy < of_all) is (cached > 0)
    # The fit sees the same prompt.
    residuals = [
        fit.residuals(fit.prepare(Measured((each,), {})), CALIBRATED)[0] for each in (point, cold)
    ]
    assert np.exp(residuals[0] - residuals[1]) == pytest.approx(energy / of_all)


@pytest.mark.parametrize(
    "changes",
    [
        {"scope": "system AC"},
        {"scope": "node (CodeCarbon)"},
        {"scope": "GPU+CPU+DRAM"},
        {"scope": "whole server, GPUs included"},
        {"scope": "", "power_scope": "whole server at the wall (AC analyser), 8 GPUs"},
        {"power_scope": "whole server at the wall (AC analyser), 8 GPUs"},
    ],
)
def test_a_row_at_the_wall_is_neither_scored_nor_fitted(
    changes: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert point_of(tmp_path, **changes).scope == "wall"
    path = written(tmp_path / "rows.csv", ROW, {**ROW, **changes})
    assert accuracy.main([str(path)]) == 0
    printed = capsys.readouterr().out
    assert "1 rows used" in printed
    assert "energy at the wall" in printed
    assert "skipped 1 rows: energy at the wall" in printed_by_fit(path)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"scope": "gpu only"},
        {"scope": "GPU", "power_scope": "GPU boards only (power counter); not host, not chassis"},
        {"power_scope": "GPU board, NVML 10 Hz"},
    ],
)
def test_a_row_of_the_boards_is_scored(changes: dict[str, str], tmp_path: Path) -> None:
    assert point_of(tmp_path, **changes).scope == "gpu"


@pytest.mark.parametrize(
    ("changes", "flag"),
    [
        ({"notes": "An outlier, kept as published"}, "outlier"),
        (
            {"n_gpus": "8", "dp": "8", "engine": "vLLM 0.11.1"},
            "attention in several copies on an engine of 2025",
        ),
        ({"n_gpus": "8", "dp_attention": "8", "engine": "SGLang v0.5.19"}, ""),
        ({"n_gpus": "8", "dp": "1"}, ""),
    ],
)
def test_rows_that_those_who_measured_them_flag_stand_apart(
    changes: dict[str, str], flag: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert point_of(tmp_path, **changes).flag == flag
    path = written(tmp_path / "rows.csv", ROW, {**ROW, **changes})
    assert accuracy.main([str(path)]) == 0
    printed = capsys.readouterr().out
    assert "2 rows used" in printed
    assert ("all rows but those flagged" in printed) is bool(flag)
    assert (f"flagged: {flag}" in printed) is bool(flag)
    assert (f"skipped 1 rows: {flag}" in printed_by_fit(path)) is bool(flag)


# Several files, and fits to a few rows.

OTHER = {**ROW, "arch_key": "someone/else-9b", "batch": "64", "energy_J_per_output_token": "0.3"}


def test_files_are_read_one_after_the_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [written(tmp_path / "one.csv", ROW), written(tmp_path / "two.csv", OTHER, OTHER)]
    assert accuracy.main([str(path) for path in paths]) == 0
    printed = capsys.readouterr().out
    assert "3 rows used" in printed
    # Each has a table of its own, as the README quotes them.
    assert "file one.csv" in printed
    assert "file two.csv" in printed
    shipped = fit.TARGET.read_bytes()
    printed = printed_by_fit(*paths)
    assert "fit.py one.csv two.csv --write" in printed
    assert "3 points of 2 architectures" in printed
    assert fit.TARGET.read_bytes() == shipped


def test_an_architecture_that_is_held_out_is_not_fitted(tmp_path: Path) -> None:
    path = written(tmp_path / "rows.csv", ROW, OTHER)
    printed = printed_by_fit(path, "--hold-out", "someone/else-9b")
    assert "held out 1 rows" in printed
    assert "1 points of 1 architectures" in printed
    assert '"someone/else-9b"' not in printed


def test_a_file_without_evidence_leaves_the_constants_at_their_priors(tmp_path: Path) -> None:
    point = point_of(tmp_path)
    joules = accuracy.roofline_known(point, prior_constants()).joules
    agreeing = point_of(tmp_path, energy_J_per_output_token=f"{joules!r}", throughput="")
    theta = fit.fit(fit.prepare(Measured((agreeing,), {})), np.array([True]), {})
    centres = [centre for centre, _ in fit.PRIORS.values()]
    np.testing.assert_allclose(np.exp(theta), centres, rtol=1e-6)


def prior_constants() -> RooflineConstants:
    return fit.constants_from(np.log([centre for centre, _ in fit.PRIORS.values()]), {})


def test_constants_of_an_architecture_left_out_do_not_depend_on_its_rows(tmp_path: Path) -> None:
    dearer = {**OTHER, "energy_J_per_output_token": "0.36"}
    (before, after) = (
        accuracy.fit_without_each(read_measured(written(tmp_path / "rows.csv", ROW, other)))
        for other in (OTHER, dearer)
    )
    left_out, kept = "someone/else-9b", "someone/unheard-of-9b"
    assert before[left_out].idle_power == pytest.approx(after[left_out].idle_power, rel=1e-6)
    assert before[kept].idle_power < after[kept].idle_power


def test_what_is_left_out_is_reported_and_no_table_was_fitted_to_its_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other, *_ = ARCHITECTURES
    seen = {**ROW, "arch_key": one}, {**OTHER, "arch_key": other}
    path = written(tmp_path / "rows.csv", *seen)
    assert accuracy.main([str(path)]) == 0
    printed = capsys.readouterr().out
    assert "all rows, fitted to these rows" in printed
    assert "no architecture here is new to the constants: see --leave-out" in printed
    assert accuracy.main([str(path), "--leave-out"]) == 0
    printed = capsys.readouterr().out
    assert "fitted to these rows" not in printed
    assert "each architecture is predicted by constants fitted to the others" in printed


def test_what_drafts_save_is_read_off_pairs_of_rows_that_differ_in_nothing_else(
    tmp_path: Path,
) -> None:
    # The rows are made so that the estimate of the one without drafts is 10 % low, and that
    # drafts take 0.7 of the decode energy.
    point = point_of(tmp_path)
    energy = estimate_request(
        point.model,
        point.gpu,
        input_tokens=300,
        output_tokens=400,
        serving=point.serving,
        constants=CALIBRATED,
    )
    prefill, decode = energy.prefill_energy_joules, energy.decode_energy_joules

    def row(joules: float, **changes: str) -> dict[str, str]:
        return {**ROW, "energy_J_per_output_token": f"{joules / 400!r}", **changes}

    rows: Sequence[dict[str, str]] = (
        row(1.1 * (prefill + decode)),
        row(1.1 * (prefill + 0.7 * decode), spec_decode="mtp"),
        # Of another batch: no pair.
        row(1.0, spec_decode="mtp", batch="64"),
    )
    measured = read_measured(written(tmp_path / "rows.csv", *rows))
    ratios = fit.speculative_ratios(measured, fit.prepare(measured), CALIBRATED)
    assert ratios == pytest.approx([0.7])


def test_the_plot_is_a_png_of_800_pixels(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the plot needs matplotlib")
    picture = tmp_path / "plot.png"
    rows = written(tmp_path / "rows.csv", ROW, {**ROW, "batch": "64"})
    assert accuracy.main([str(rows), "--plot", str(picture)]) == 0
    image = picture.read_bytes()
    assert image.startswith(b"\x89PNG")
    # Width, in the header of every PNG.
    assert int.from_bytes(image[16:20], "big") == 800


# Tokens counted from text.


needs_recordings = pytest.mark.skipif(
    not (SHARED / "cassettes").exists(), reason="needs the recordings of ../shared/cassettes"
)


@pytest.fixture(scope="module")
def comparisons() -> list[text_tokens.Comparison]:
    """The recorded calls that report their usage."""
    return text_tokens.read_comparisons(SHARED / "cassettes")


@needs_recordings
def test_the_doubts_about_counted_tokens_are_what_the_recordings_show(
    comparisons: list[text_tokens.Comparison],
) -> None:
    assert len(comparisons) > 600

    def outwards(value: float, round_to_whole: Callable[[float], int]) -> float:
        """Two digits of a number."""
        unit = 10.0 ** (math.floor(math.log10(value)) - 1)
        # 0.7 / 0.01 is not quite 70.
        return round_to_whole(round(value / unit, 9)) * unit

    for ratios, label, factors in (
        ("energy", "reasoning shown", doubts.ALL_TOKENS_FROM_TEXT),
        ("energy", "reasoning hidden", doubts.ALL_TOKENS_FROM_TEXT_WITHOUT_REASONING),
        ("output tokens", "reasoning shown", doubts.OUTPUT_TOKENS_FROM_TEXT),
        ("output tokens", "reasoning hidden", doubts.OUTPUT_TOKENS_FROM_TEXT_WITHOUT_REASONING),
    ):
        found = [
            text_tokens.quantiles(comparisons, ratio, label)
            for name, ratio in text_tokens.RATIOS.items()
            if name.startswith(ratios)
        ]
        low = outwards(min(each[0] for each in found), math.floor)
        high = outwards(max(each[-1] for each in found), math.ceil)
        assert factors == pytest.approx((low, high)), (ratios, label)


@needs_recordings
@pytest.mark.parametrize("label", ["visible, no tools", "visible, tools", "visible, tool calls"])
@pytest.mark.parametrize("ratio", ["energy, reference", "energy, roofline", "input tokens"])
def test_tokens_counted_from_text_are_right_in_the_median(
    comparisons: list[text_tokens.Comparison], ratio: str, label: str
) -> None:
    values = text_tokens.quantiles(comparisons, text_tokens.RATIOS[ratio], label)
    assert values[2] == pytest.approx(1, abs=0.1)


@needs_recordings
def test_the_tokens_of_a_tool_call_hold_where_they_were_not_fitted() -> None:
    left_out, fitted = text_tokens.fit_tool_call(SHARED / "cassettes")
    assert fitted == TOKENS_PER_TOOL_CALL
    assert len(left_out) == 6
    # Each repository calls tools in its own way: a factor of 1.6 at most.
    assert all(1 / 1.6 < ratio < 1.6 for _, ratio in left_out.values())


def test_a_folder_without_recordings_is_an_error_not_a_crash(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "index.jsonl").touch()
    assert text_tokens.main([str(tmp_path)]) == 1
    assert "no exchange reports its usage" in capsys.readouterr().out
