"""How far each method is from measured energy.

    python tests/benchmarks/accuracy.py MEASURED.csv [--plot PNG]

For every usable row of the file: the seed formula (``reference``), the calibrated
estimator (``roofline``) knowing less and less, and EcoLogits. Errors are geometric means
of |ln(predicted / measured)| as a factor; coverage is the share of rows inside the 50,
80 and 90 % ranges, the narrower two taken from the stated 90 % range as of a log-normal.
All energies are of the GPUs alone. Rows of architectures that the constants were fitted
to are no test: the rows of others are reported apart.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from measured import Array, Mask, Measured, Point, by_size, read_measured, slices

from energy_tracking.data import load_catalogue
from energy_tracking.estimator import reference, roofline
from energy_tracking.estimator.roofline_constants import ARCHITECTURES
from energy_tracking.units import joules_from_wh

QUANTILES = {50: 0.6745, 80: 1.2816, 90: 1.6449}
"""Two-sided normal quantile of each range."""

SEED_GPUS = {"A100": "A100", "H100": "H100", "B200": "GB200", "GB200": "GB200"}
"""The seed's GPU for a label's first word; it has no B200, GB200 is the nearest."""


class Prediction(NamedTuple):
    """Energy per output token [J] with its 90 % range, NaN where none is stated."""

    joules: float
    low: float = np.nan
    high: float = np.nan


NOTHING = Prediction(np.nan)


def seed_formula(point: Point) -> Prediction:
    """The seed's formula with the seed's GPU numbers."""
    name = SEED_GPUS.get(point.gpu_label.split("-")[0])
    if name is None:
        return NOTHING
    energy = reference.estimate(
        point.model,
        load_catalogue().gpu(name),
        input_tokens=point.input_tokens,
        output_tokens=point.output_tokens,
    )
    low, high = energy.total_energy_low_joules, energy.total_energy_high_joules
    return Prediction(
        energy.total_energy_joules / point.output_tokens,
        np.nan if low is None else low / point.output_tokens,
        np.nan if high is None else high / point.output_tokens,
    )


def _roofline(point: Point, serving: roofline.ServingProfile, *, shape_known: bool) -> Prediction:
    full = point.model
    total = full.num_total_params or full.num_active_params
    energy = roofline.estimate(
        full if shape_known else by_size(full.name, full.num_active_params, total),
        point.gpu,
        input_tokens=point.input_tokens,
        output_tokens=point.output_tokens,
        serving=serving,
    )
    return Prediction(
        energy.total_energy_joules / point.output_tokens,
        energy.total_energy_low_joules / point.output_tokens,
        energy.total_energy_high_joules / point.output_tokens,
    )


def roofline_known(point: Point) -> Prediction:
    """Shape, batch, GPUs and precision known."""
    return _roofline(point, point.serving, shape_known=True)


def roofline_by_size(point: Point) -> Prediction:
    """Of the model, active and total parameters alone; the rest known."""
    return _roofline(point, point.serving, shape_known=False)


def _default_serving(point: Point) -> roofline.ServingProfile:
    return replace(
        roofline.SERVING,
        num_gpus=point.serving.num_gpus,
        weight_bytes=point.serving.weight_bytes,
        early_engine=point.serving.early_engine,
    )


def roofline_no_batch(point: Point) -> Prediction:
    """Batch assumed, the rest known."""
    return _roofline(point, _default_serving(point), shape_known=True)


def roofline_timed(point: Point) -> Prediction:
    """Batch inferred from the rate one sequence arrived at, the rest known."""
    if not point.tokens_per_second > 0:
        return NOTHING
    serving = roofline.posterior_serving(
        point.model,
        point.gpu,
        input_tokens=point.input_tokens,
        output_tokens=point.output_tokens,
        observed_tokens_per_second=point.tokens_per_second / point.batch,
        serving=_default_serving(point),
    )
    return _roofline(point, serving, shape_known=True)


def roofline_nothing(point: Point) -> Prediction:
    """Batch, GPUs and precision by rule, of the model its parameters alone."""
    return _roofline(point, roofline.SERVING, shape_known=False)


def _ecologits(point: Point, batch: float, gpus: float) -> Prediction:
    """GPU energy per output token after EcoLogits.

    GPUs * (alpha * exp(beta * batch) * active parameters + gamma), in Wh and 1e9
    parameters. Source: EcoLogits, "Environmental Impacts of LLM Inference",
    https://ecologits.ai/latest/methodology/llm_inference/, constants of version 0.11.3.
    """
    active = point.model.num_active_params / 1e9
    energy_wh = 1.1665e-6 * np.exp(-1.1206e-2 * batch) * active + 4.0529e-5
    return Prediction(float(joules_from_wh(gpus * energy_wh)))


def ecologits_shipped(point: Point) -> Prediction:
    """EcoLogits with its own assumptions: batch 64, 16-bit weights, GPUs of 80 GB."""
    total = point.model.num_total_params or point.model.num_active_params
    return _ecologits(point, 64, roofline.gpus_needed(2 * total, 80e9))


def ecologits_known(point: Point) -> Prediction:
    """EcoLogits, told the batch and the number of GPUs."""
    return _ecologits(point, point.batch, point.serving.num_gpus or 1)


METHODS: dict[str, Callable[[Point], Prediction]] = {
    "reference": seed_formula,
    "roofline, batch known": roofline_known,
    "roofline, parameters only": roofline_by_size,
    "roofline, batch unknown": roofline_no_batch,
    "roofline, batch from timing": roofline_timed,
    "roofline, nothing but size": roofline_nothing,
    "EcoLogits, as shipped": ecologits_shipped,
    "EcoLogits, batch and GPUs": ecologits_known,
}


@dataclass(frozen=True, slots=True)
class Result:
    """One method over all points, in logarithms of predicted over measured."""

    error: Array
    low: Array
    high: Array

    def line(self, rows: Mask) -> str:
        """The row of the table for a slice of the points."""
        some = rows & np.isfinite(self.error)
        if not some.any():
            return f"{0:5d}  nothing predicted"
        error = self.error[some]
        p10, median, p90 = np.exp(np.quantile(error, [0.1, 0.5, 0.9]))
        covered = "".join(f"{self.coverage(some, share):>5s}" for share in QUANTILES)
        return (
            f"{some.sum():5d} {self.factor(some):6.2f} {median:7.2f} {p10:6.2f} {p90:6.2f} "
            f"{np.mean(np.abs(error) <= np.log(2)):6.0%} {covered}"
        )

    def factor(self, rows: Mask) -> float:
        """Geometric-mean error factor of a slice [1]."""
        return float(np.exp(np.nanmean(np.abs(self.error[rows]))))

    def coverage(self, rows: Mask, share: int) -> str:
        """Share of a slice inside the range that should hold ``share`` percent."""
        ranged = rows & np.isfinite(self.low) & np.isfinite(self.high)
        if not ranged.any():
            return "-"
        part = QUANTILES[share] / QUANTILES[90]
        # Measured lies at -error from the prediction.
        inside = (part * self.low <= -self.error) & (-self.error <= part * self.high)
        return f"{np.mean(inside[ranged]):.0%}"


def evaluate(measured: Measured, method: Callable[[Point], Prediction]) -> Result:
    """Predict every point by one method."""
    truth = measured.column(lambda point: point.joules_per_token)
    joules, low, high = np.array([method(point) for point in measured.points]).T
    return Result(np.log(joules / truth), np.log(low / joules), np.log(high / joules))


def report(measured: Measured, results: dict[str, Result]) -> list[str]:
    """The tables, line by line."""
    header = f"{'':28s}     n  error  median    p10    p90   <2x    50%  80%  90%"
    everything = np.ones(len(measured.points), dtype=bool)
    unseen = ~np.isin(measured.labels(lambda point: point.architecture), ARCHITECTURES)
    lines = []

    def table(title: str, rows: Mask) -> None:
        lines.extend(["", title, header])
        lines.extend(f"{name:28s} {result.line(rows)}" for name, result in results.items())

    table("all rows", everything)
    if unseen.any():
        table("rows of architectures the constants were not fitted to", unseen)
    else:
        lines.append("")
        lines.append("No architecture here is new to the constants: see fit.py for the")
        lines.append("errors on architectures and sources left out.")
    for cut, masks in slices(measured).items():
        for label, rows in masks.items():
            table(f"{cut} {label}", rows)

    lines.extend(["", "roofline against EcoLogits, error by GPU"])
    for label, rows in slices(measured)["GPU"].items():
        known, told = results["roofline, batch known"], results["EcoLogits, batch and GPUs"]
        blind, shipped = results["roofline, batch unknown"], results["EcoLogits, as shipped"]
        lines.append(
            f"  {label:18s} batch known {known.factor(rows):.2f} against {told.factor(rows):.2f}"
            f"   batch unknown {blind.factor(rows):.2f} against {shipped.factor(rows):.2f}"
        )

    lines.extend(["", "reference: measured / predicted, 5 %, median and 95 %"])
    error = results["reference"].error
    gpus = measured.labels(lambda point: point.gpu_label.split("-")[0])
    pooled = {"all": everything, "A100 and H100": np.isin(gpus, ["A100", "H100"])}
    for label, rows in (pooled | slices(measured)["GPU"]).items():
        some = rows & np.isfinite(error)
        if some.any():
            low, median, high = np.exp(np.quantile(-error[some], [0.05, 0.5, 0.95]))
            lines.append(f"  {label:18s} n {some.sum():4d}  {low:6.2f} {median:6.2f} {high:6.2f}")
    return lines


def plot(measured: Measured, results: dict[str, Result], path: Path) -> None:
    """Predicted against measured energy per token, one panel per method."""
    import matplotlib  # type: ignore[import-not-found,unused-ignore]

    matplotlib.use("Agg")
    from matplotlib import pyplot  # type: ignore[import-not-found,unused-ignore]

    truth = measured.column(lambda point: point.joules_per_token)
    gpus = measured.labels(lambda point: point.gpu_label)
    shown = (
        "reference",
        "EcoLogits, as shipped",
        "roofline, batch unknown",
        "roofline, batch known",
    )
    figure, panels = pyplot.subplots(
        1, len(shown), figsize=(4 * len(shown), 4.4), sharex=True, sharey=True
    )
    ends = np.array([truth.min() / 3, truth.max() * 3])
    for panel, name in zip(panels, shown, strict=True):
        predicted = truth * np.exp(results[name].error)
        for gpu in np.unique(gpus):
            rows = gpus == gpu
            panel.scatter(truth[rows], predicted[rows], s=9, alpha=0.6, label=str(gpu))
        panel.plot(ends, ends, color="black", linewidth=0.8)
        panel.fill_between(ends, ends / 2, ends * 2, color="black", alpha=0.08, linewidth=0)
        factor = results[name].factor(np.ones(len(truth), dtype=bool))
        panel.set(xscale="log", yscale="log", title=f"{name}: {factor:.2f}x", xlim=ends)
        panel.set(xlabel="measured [J per output token]")
    panels[0].set(ylabel="predicted [J per output token]", ylim=ends)
    panels[-1].legend(fontsize=7, loc="lower right")
    seen = "roofline was fitted to these points: fit.py prints its error on others"
    figure.suptitle(f"{len(truth)} measured points; the band is a factor of 2; {seen}", fontsize=10)
    figure.tight_layout()
    figure.savefig(path, dpi=110, metadata={"Software": None})
    pyplot.close(figure)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; write the plot if asked to."""
    parser = argparse.ArgumentParser(description="Compare every method with measured energy.")
    parser.add_argument("measured", type=Path, help="CSV of measured points")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="write a figure here")
    options = parser.parse_args(arguments)
    measured = read_measured(options.measured)
    print(f"{len(measured.points)} rows used")
    for reason, count in measured.skipped.items():
        print(f"{count} rows skipped: {reason}")
    if not measured.points:
        return 1
    results = {name: evaluate(measured, method) for name, method in METHODS.items()}
    print("\n".join(report(measured, results)))
    if options.plot:
        plot(measured, results, options.plot)
        print(f"\nwrote {options.plot}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
