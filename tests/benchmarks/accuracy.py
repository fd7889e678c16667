"""How far each method is from measured energy.

    python tests/benchmarks/accuracy.py MEASURED.csv ... [--leave-out] [--plot PNG]

For every usable row of the files: the seed formula (``reference``), the calibrated
estimator (``roofline``) knowing less and less, and EcoLogits. Errors are geometric means
of |ln(predicted / measured)| as a factor; coverage is the share of rows inside the 50,
80 and 90 % ranges, the narrower two taken from the stated 90 % range as of a log-normal.
Energies are of the GPUs alone; what was measured at the wall is set against the boards
apart, and scored nowhere.

Rows of architectures that the constants were fitted to are no test. With ``--leave-out``
each of them is predicted by constants fitted to these files without its architecture;
without it the tables of such rows say "fitted to these rows".
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import fit
import numpy as np
from measured import Array, Mask, Measured, Point, by_size, read_measured, slices

from energy_tracking.estimator import reference
from energy_tracking.estimator.deployment import count_gpus_needed
from energy_tracking.estimator.estimate import combine_parts
from energy_tracking.estimator.roofline.constants import CALIBRATED, RooflineConstants
from energy_tracking.estimator.roofline.fitted import ARCHITECTURES
from energy_tracking.estimator.roofline.request import estimate_request
from energy_tracking.estimator.roofline.sharing import PREFILL_RANGE
from energy_tracking.estimator.serving import SERVING, ServingProfile
from energy_tracking.estimator.timing_evidence import SLOW_NETWORK, update_serving
from energy_tracking.profiles.files import load_catalogue
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


def seed_formula(point: Point, constants: RooflineConstants) -> Prediction:
    """The seed's formula with the seed's GPU numbers."""
    name = SEED_GPUS.get(point.gpu_label.split("-")[0])
    if name is None:
        return NOTHING
    energy = reference.estimate_request(
        point.model,
        load_catalogue().gpu(name),
        input_tokens=point.input_tokens,
        cached_input_tokens=point.cached_input_tokens,
        output_tokens=point.output_tokens,
    )
    return Prediction(
        energy.total_energy_joules / point.output_tokens,
        energy.total_energy_low_joules / point.output_tokens,
        energy.total_energy_high_joules / point.output_tokens,
    )


def _roofline(
    point: Point, constants: RooflineConstants, serving: ServingProfile, *, shape_known: bool
) -> Prediction:
    full = point.model
    total = full.num_total_params or full.num_active_params
    energy = estimate_request(
        full if shape_known else by_size(full.name, full.num_active_params, total),
        point.gpu,
        input_tokens=point.input_tokens,
        cached_input_tokens=point.cached_input_tokens,
        output_tokens=point.output_tokens,
        serving=serving,
        constants=constants,
    )
    return Prediction(
        energy.total_energy_joules / point.output_tokens,
        energy.total_energy_low_joules / point.output_tokens,
        energy.total_energy_high_joules / point.output_tokens,
    )


def roofline_known(point: Point, constants: RooflineConstants) -> Prediction:
    """Shape, batch, GPUs and precision known."""
    return _roofline(point, constants, point.serving, shape_known=True)


def roofline_by_size(point: Point, constants: RooflineConstants) -> Prediction:
    """Of the model, active and total parameters alone; the rest known."""
    return _roofline(point, constants, point.serving, shape_known=False)


def _with_batch_assumed(point: Point) -> ServingProfile:
    return replace(point.serving, sequences=None)


def roofline_no_batch(point: Point, constants: RooflineConstants) -> Prediction:
    """Batch assumed, the rest known."""
    return _roofline(point, constants, _with_batch_assumed(point), shape_known=True)


def roofline_timed(point: Point, constants: RooflineConstants) -> Prediction:
    """Batch inferred from the rate one sequence arrived at, the rest known."""
    return _roofline_by_rate(point, constants, SLOW_NETWORK)


def roofline_timed_by_server(point: Point, constants: RooflineConstants) -> Prediction:
    """The same by the server's clock, which has no network in it."""
    return _roofline_by_rate(point, constants, None)


def _roofline_by_rate(
    point: Point, constants: RooflineConstants, slow_network: float | None
) -> Prediction:
    if not point.tokens_per_second > 0:
        return NOTHING
    serving = update_serving(
        point.model,
        point.gpu,
        input_tokens=point.input_tokens,
        output_tokens=point.output_tokens,
        observed_tokens_per_second=point.tokens_per_second / point.batch,
        serving=_with_batch_assumed(point),
        slow_network=slow_network,
        constants=constants,
    )
    return _roofline(point, constants, serving, shape_known=True)


def roofline_nothing(point: Point, constants: RooflineConstants) -> Prediction:
    """Batch, GPUs and precision by rule, of the model its parameters alone."""
    return _roofline(point, constants, SERVING, shape_known=False)


def _ecologits(point: Point, batch: float, gpus: float) -> Prediction:
    """GPU energy per output token after EcoLogits.

    GPUs * (alpha * exp(beta * batch) * active parameters + gamma), in Wh and 1e9
    parameters. Source: EcoLogits, "Environmental Impacts of LLM Inference",
    https://ecologits.ai/latest/methodology/llm_inference/, constants of version 0.11.3.
    """
    active = point.model.num_active_params / 1e9
    energy_wh = 1.1665e-6 * np.exp(-1.1206e-2 * batch) * active + 4.0529e-5
    return Prediction(float(joules_from_wh(gpus * energy_wh)))


def ecologits_shipped(point: Point, constants: RooflineConstants) -> Prediction:
    """EcoLogits with its own assumptions: batch 64, 16-bit weights, GPUs of 80 GB."""
    total = point.model.num_total_params or point.model.num_active_params
    return _ecologits(point, 64, count_gpus_needed(2 * total, 80e9, over=1.2))


def ecologits_known(point: Point, constants: RooflineConstants) -> Prediction:
    """EcoLogits, given the batch and the number of GPUs."""
    return _ecologits(point, point.batch, point.serving.num_gpus or 1)


Method = Callable[[Point, RooflineConstants], Prediction]

METHODS: dict[str, Method] = {
    "reference": seed_formula,
    "roofline, batch known": roofline_known,
    "roofline, parameters only": roofline_by_size,
    "roofline, batch unknown": roofline_no_batch,
    "roofline, batch from timing": roofline_timed,
    "roofline, server's clock": roofline_timed_by_server,
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

    def share_inside(self, rows: Mask, share: int) -> float:
        """Share of a slice inside the range that should hold ``share`` percent, or NaN [1]."""
        ranged = rows & np.isfinite(self.low) & np.isfinite(self.high)
        if not ranged.any():
            return float("nan")
        part = QUANTILES[share] / QUANTILES[90]
        # Measured lies at -error from the prediction.
        inside = (part * self.low <= -self.error) & (-self.error <= part * self.high)
        return float(np.mean(inside[ranged]))

    def coverage(self, rows: Mask, share: int) -> str:
        """The same as text."""
        inside = self.share_inside(rows, share)
        return "-" if np.isnan(inside) else f"{inside:.0%}"


def evaluate(
    measured: Measured,
    method: Method,
    constants: Mapping[str, RooflineConstants] | None = None,
) -> Result:
    """Predict every point by one method.

    Args:
        measured: The points.
        method: Predicts a point's energy by constants.
        constants: Constants by architecture; the shipped ones where it has none.
    """
    truth = measured.column(lambda point: point.joules_per_token)
    known = constants or {}
    predicted = [
        method(point, known.get(point.architecture, CALIBRATED)) for point in measured.points
    ]
    joules, low, high = np.array(predicted).T
    return Result(np.log(joules / truth), np.log(low / joules), np.log(high / joules))


def fit_without_each(measured: Measured) -> dict[str, RooflineConstants]:
    """Constants by architecture, each fitted to the other architectures of these points."""
    usable = Measured(
        tuple(point for point in measured.points if fit.reason_to_skip(point) is None), {}
    )
    data = fit.prepare(usable)
    read_off = {
        name: getattr(CALIBRATED, name) for name in fit.FIRST_GUESS if hasattr(CALIBRATED, name)
    }
    start = fit.fit(data, np.ones(len(data.log_energy), dtype=bool), read_off)
    return {
        name: fit.constants_from(
            fit.fit(data, data.architecture != name, read_off, start), read_off
        )
        for name in np.unique(data.architecture).tolist()
    }


def report(measured: Measured, results: dict[str, Result], *, left_out: bool) -> list[str]:
    """The tables, line by line.

    Args:
        measured: The points, all of GPU boards.
        results: What each method says of them.
        left_out: Whether each architecture was predicted by constants that had not seen it.
    """
    header = f"{'':28s}     n  error  median    p10    p90   <2x    50%  80%  90%"
    everything = np.ones(len(measured.points), dtype=bool)
    seen = np.isin(measured.labels(lambda point: point.architecture), ARCHITECTURES)
    flagged = measured.labels(lambda point: point.flag) != ""
    lines = []

    def add_table(title: str, rows: Mask) -> None:
        fitted = "" if left_out or not (rows & seen).any() else ", fitted to these rows"
        lines.extend(["", title + fitted, header])
        lines.extend(f"{name:28s} {result.line(rows)}" for name, result in results.items())

    add_table("all rows", everything)
    if flagged.any():
        add_table("all rows but those flagged by those who measured them", ~flagged)
    if not seen.all():
        add_table("rows of architectures the constants were not fitted to", ~seen)
    elif left_out:
        lines.extend(["", "each architecture is predicted by constants fitted to the others"])
    else:
        lines.extend(["", "no architecture here is new to the constants: see --leave-out"])
    for flag in np.unique(measured.labels(lambda point: point.flag)[flagged]):
        add_table(f"flagged: {flag}", measured.labels(lambda point: point.flag) == flag)
    for cut, masks in slices(measured).items():
        for label, rows in masks.items():
            add_table(f"{cut} {label}", rows & ~flagged)

    lines.extend(["", "roofline against EcoLogits, error by GPU"])
    for label, rows in slices(measured)["GPU"].items():
        known, given = results["roofline, batch known"], results["EcoLogits, batch and GPUs"]
        blind, shipped = results["roofline, batch unknown"], results["EcoLogits, as shipped"]
        lines.append(
            f"  {label:18s} batch known {known.factor(rows):.2f} against {given.factor(rows):.2f}"
            f"   batch unknown {blind.factor(rows):.2f} against {shipped.factor(rows):.2f}"
        )

    lines.extend(["", "roofline, error by what is known of the batch"])
    lines.extend(
        f"  {what:32s} {results[name].factor(~flagged):.2f}"
        for what, name in (
            ("unknown", "roofline, batch unknown"),
            ("timed through a network", "roofline, batch from timing"),
            ("timed by the server", "roofline, server's clock"),
            ("read from its metrics page", "roofline, batch known"),
        )
        if np.isfinite(results[name].error[~flagged]).any()
    )

    lines.extend(["", "slices of more than 30 rows whose 90 % range holds less than 85 %"])
    result = results["roofline, batch known"]
    thin = [
        f"  {cut} {label}: {result.coverage(rows & ~flagged, 90)}"
        for cut, masks in slices(measured).items()
        for label, rows in masks.items()
        if (rows & ~flagged).sum() > 30 and result.share_inside(rows & ~flagged, 90) < 0.85
    ]
    lines.extend(thin or ["  none"])

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


PROMPTS = (500, 10_000, 100_000)
"""Prompt lengths at which the seed's prefill is compared [tokens]."""


def parts_report(measured: Measured) -> list[str]:
    """The seed's prompt beside the calibrated one, and its answer beside what was measured."""
    lines = ["", "reference, prefill: roofline / reference over prompts of 500 to 100,000 tokens"]
    ratios: dict[str, list[float]] = {}
    answers: dict[str, list[float]] = {}
    for point in measured.points:
        name = SEED_GPUS.get(point.gpu_label.split("-")[0])
        if name is None or point.flag:
            continue
        prompt_joules = estimate_request(
            point.model,
            point.gpu,
            input_tokens=point.input_tokens,
            output_tokens=point.output_tokens,
            serving=point.serving,
        ).prefill_energy_joules
        answer = reference.estimate_request(
            point.model,
            load_catalogue().gpu(name),
            input_tokens=point.input_tokens,
            output_tokens=point.output_tokens,
        )
        left = point.joules_per_token * point.output_tokens - prompt_joules
        if left > 0:
            answers.setdefault(name, []).append(left / answer.decode_energy_joules)
        for prompt in PROMPTS:
            calibrated = estimate_request(
                point.model, point.gpu, input_tokens=prompt, output_tokens=0, serving=point.serving
            )
            seed = reference.estimate_request(
                point.model, load_catalogue().gpu(name), input_tokens=prompt, output_tokens=0
            )
            ratio = calibrated.prefill_energy_joules / seed.prefill_energy_joules
            ratios.setdefault(name, []).append(ratio)
    pooled = {**ratios, "all": [ratio for some in ratios.values() for ratio in some]}
    for name, some in pooled.items() if ratios else ():
        low, high = np.quantile(some, [0.05, 0.95])
        ends = combine_parts({"seed": (min(low, 1.0), max(high, 1.0)), "own": PREFILL_RANGE})
        lines.append(
            f"  {name:8s} n {len(some):4d}  {low:6.2f} {high:6.2f}"
            f"   with the calibrated one's own range {ends[0]:6.2f} {ends[1]:6.2f}"
        )
    lines.extend(["", "reference, decode: measured, less roofline's prefill, / reference"])
    both = answers.get("A100", []) + answers.get("H100", [])
    for name, some in {
        "A100 and H100": both,
        "all": [ratio for each in answers.values() for ratio in each],
    }.items():
        if some:
            low, median, high = np.quantile(some, [0.05, 0.5, 0.95])
            lines.append(f"  {name:13s} n {len(some):4d}  {low:6.2f} {median:6.2f} {high:6.2f}")
    return lines


FLEET = {
    "A100": "",
    "H100": "",
    "H200": "",
    "B200": "",
    "B200 FP4": "nvfp4",
    "GB200": "",
    "GB200 FP4": "nvfp4",
    "MI300X": "",
    "MI355X": "",
    "TPU-v6e": "",
    "Trainium2": "",
}
"""What a closed provider may serve on, and the format of its weights where it is not FP8."""


def hardware_report() -> list[str]:
    """Energy of closed models on other accelerators over that on H100, by accelerator."""
    catalogue = load_catalogue()
    models = [model for model in catalogue.models if model.family == "closed"]

    def joules(label: str, weight_format: str, prompt: int) -> Array:
        gpu = catalogue.corrected_gpu(catalogue.gpu(label.split()[0]))
        serving = replace(SERVING, weight_format=weight_format)
        return np.array(
            [
                estimate_request(
                    model, gpu, input_tokens=prompt, output_tokens=500, serving=serving
                ).total_energy_joules
                for model in models
            ]
        )

    lines = ["", "closed models elsewhere over on H100: 5, 50 and 95 % of models"]
    every = []
    for label, weight_format in FLEET.items():
        ratios = np.concatenate(
            [joules(label, weight_format, n) / joules("H100", "", n) for n in (500, 10_000)]
        )
        every.append(ratios)
        low, median, high = np.quantile(ratios, [0.05, 0.5, 0.95])
        lines.append(f"  {label:12s} {low:.2f} {median:.2f} {high:.2f}")
    low, median, high = np.quantile(np.concatenate(every), [0.05, 0.5, 0.95])
    return [*lines, f"  {'all':12s} {low:.2f} {median:.2f} {high:.2f}"]


def wall_report(measured: Measured) -> list[str]:
    """What whole servers drew at the plug, over what their boards are estimated to, by row."""
    lines = ["", "energy at the wall over the boards' estimate: the host's part, in no table above"]
    for point in measured.points:
        ratio = point.joules_per_token / roofline_known(point, CALIBRATED).joules
        lines.append(
            f"  {point.gpu_label:18s} {point.architecture:28s} batch {point.batch:6.0f}  "
            f"{point.precision:6s} {ratio:.2f}"
        )
    return lines


SHOWN = (
    "reference",
    "EcoLogits, as shipped",
    "roofline, batch unknown",
    "roofline, batch known",
)
"""Methods of the figure, one panel each."""


def plot(measured: Measured, results: dict[str, Result], path: Path, *, left_out: bool) -> None:
    """Predicted against measured energy per token, one panel per method, 800 pixels wide."""
    import matplotlib  # type: ignore[import-not-found,unused-ignore]

    matplotlib.use("Agg")
    from matplotlib import pyplot  # type: ignore[import-not-found,unused-ignore]

    truth = measured.column(lambda point: point.joules_per_token)
    gpus = measured.labels(lambda point: point.gpu_label)
    everything = measured.labels(lambda point: point.flag) == ""
    figure, grid = pyplot.subplots(2, 2, figsize=(8, 8.8), sharex=True, sharey=True)
    least = min(truth.min(), *(np.nanmin(truth * np.exp(results[name].error)) for name in SHOWN))
    ends = np.array([least / 2, truth.max() * 2])
    for panel, name in zip(grid.flat, SHOWN, strict=True):
        result = results[name]
        predicted = truth * np.exp(result.error)
        for gpu in np.unique(gpus):
            rows = everything & (gpus == gpu)
            panel.scatter(truth[rows], predicted[rows], s=10, alpha=0.6, label=str(gpu))
        panel.plot(ends, ends, color="black", linewidth=0.8)
        title = f"{name}: off by {result.factor(everything):.2f}"
        ranged = np.isfinite(result.low) & np.isfinite(result.high)
        if ranged.any():
            # The stated range is one of the truth around a prediction.
            low, high = (np.exp(np.median(end[ranged])) for end in (result.low, result.high))
            panel.fill_between(ends, ends / high, ends / low, color="black", alpha=0.1, linewidth=0)
            title += f"\nits 90 % range holds {result.coverage(everything, 90)}"
        panel.set_title(title, fontsize=10)
        panel.set(xscale="log", yscale="log", xlim=ends, ylim=ends)
        if name.startswith("roofline"):
            note = "architecture left out of the fit" if left_out else "fitted to these rows"
            panel.text(0.97, 0.03, note, transform=panel.transAxes, ha="right", fontsize=9)
    for panel in grid[-1]:
        panel.set_xlabel("measured [J per output token]")
    for panel in grid[:, 0]:
        panel.set_ylabel("predicted [J per output token]")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, ncols=3, loc="lower center", fontsize=9, frameon=False)
    title = f"{everything.sum()} measured points; band: the median 90 % range"
    figure.suptitle(title, fontsize=11)
    figure.tight_layout(rect=(0, 0.07, 1, 1))
    figure.savefig(path, dpi=100, metadata={"Software": None})
    pyplot.close(figure)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; write the plot if asked to."""
    parser = argparse.ArgumentParser(description="Compare every method with measured energy.")
    parser.add_argument("measured", type=Path, nargs="+", help="CSV of measured points")
    parser.add_argument(
        "--leave-out",
        action="store_true",
        help="predict each architecture by constants fitted to the others of these files",
    )
    parser.add_argument("--plot", type=Path, metavar="PNG", help="write a figure here")
    options = parser.parse_args(arguments)
    read = read_measured(*options.measured)
    boards = Measured(tuple(p for p in read.points if p.scope == "gpu"), read.skipped)
    walls = Measured(tuple(p for p in read.points if p.scope != "gpu"), {})
    print(f"{len(boards.points)} rows used")
    for reason, count in read.skipped.items():
        print(f"{count} rows skipped: {reason}")
    if boards.points:
        constants = fit_without_each(boards) if options.leave_out else {}
        results = {name: evaluate(boards, method, constants) for name, method in METHODS.items()}
        print("\n".join(report(boards, results, left_out=options.leave_out)))
        print("\n".join([*parts_report(boards), *hardware_report()]))
        if options.plot:
            plot(boards, results, options.plot, left_out=options.leave_out)
            print(f"\nwrote {options.plot}")
    if walls.points:
        print("\n".join(wall_report(walls)))
    return 0 if read.points else 1


if __name__ == "__main__":
    raise SystemExit(main())
