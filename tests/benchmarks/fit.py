"""Fit the constants of the ``roofline`` estimator to measured points.

    python tests/benchmarks/fit.py MEASURED.csv ... [--hold-out ARCHITECTURE ...] [--write]

Energy per token and time per step are fitted together, on a log scale, with a loss that
outliers cannot dominate. Each constant starts from an engineering value and is pulled
back to it (a log-normal prior), so that what the data do not say stays sensible. The
files are the train split: architectures kept elsewhere, or named by ``--hold-out``, are
never seen. What was chosen by hand (which terms there are, the widths of the priors) was
chosen by the leave-one-architecture-out error that is printed, nothing else.

Left out of the fit, and counted: energies at the wall, and rows that those who measured them
call outliers or a limit of the engine.

What speculative decoding saves is read off pairs of rows that differ in nothing else: the fit
itself would put it down to whatever else those rows have in common.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from measured import Array, Mask, Measured, Point, read_measured, slices
from scipy.optimize import least_squares  # type: ignore[import-untyped,import-not-found,unused-ignore]

from energy_tracking.estimator.deployment import Deployment
from energy_tracking.estimator.roofline import fitted
from energy_tracking.estimator.roofline.cases import CROWD
from energy_tracking.estimator.roofline.constants import RooflineConstants
from energy_tracking.estimator.roofline.prices import (
    compute_decode_energy,
    compute_prefill_energy,
    compute_prefill_watts,
    compute_prices,
)
from energy_tracking.estimator.roofline.step import compute_decode_step
from energy_tracking.estimator.roofline.work import Work, compute_mean_context, count_work

TARGET = Path(fitted.__file__)

PRIORS: dict[str, tuple[float, float]] = {
    # 85 %, 70 %, 70 % and 50 % of peak are what good kernels reach.
    "weights_time": (1 / 0.85, 0.075),
    "cache_time": (1 / 0.70, 0.15),
    "compute_time": (1 / 0.70, 0.10),
    "prefill_time": (1 / 0.50, 0.20),
    # A few kernel launches of some 5 us each per layer; scheduling of one sequence.
    "layer_seconds": (110e-6, 0.25),
    "sequence_seconds": (30e-6, 0.35),
    "early_layer_seconds": (300e-6, 0.35),
    "early_sequence_layer_seconds": (8e-6, 0.35),
    # A board that waits at full clocks draws a fifth of its rating.
    "idle_power": (0.20, 0.20),
    # An H100 that streams at 3.35 TB/s draws some 60 % of 700 W above that: 120 pJ/byte.
    "weight_byte_joules": (120e-12, 0.30),
    "weight_joules": (60e-12, 0.50),
    "cache_byte_joules": (120e-12, 0.30),
    "compute_power": (0.60, 0.25),
    "prefill_power": (0.60, 0.25),
    # Experts see a small part of each batch: a good grouped kernel loses half.
    "mixture_prefill": (1.0, 0.35),
    "expert_imbalance": (0.9, 0.30),
    "quantised_overhead": (1.2, 0.20),
}
"""Centre, and standard deviation of its logarithm, for every fitted constant."""

FIXED = {"link_time": 2.0}
"""Constants set by hand: fitting them made the leave-one-out error no better."""

FIRST_GUESS = {
    "speculative_decode": 0.75,
    "speculative_decode_low": 0.75,
    "speculative_decode_high": 0.75,
    "error_factor": 1.0,
    "crowded_error_factor": 1.0,
    "rate_sigma": 1.0,
}
"""Constants that are read off the data once the others are fitted."""

ENERGY_SCATTER = 0.2
"""Standard deviation of ln(measured energy) that the fit assumes [1]."""

TIME_WEIGHT = 0.5
"""What a time residual counts next to an energy residual, before squaring [1]."""

OUTLIER = 0.15
"""Residual from which the loss grows linearly, not quadratically [1]."""

DIGITS = 4


@dataclass(frozen=True, slots=True)
class Data:
    """What the fit needs of the points, as arrays of shape (points,)."""

    site: Deployment
    work: Work
    input_tokens: Array
    output_tokens: Array
    log_energy: Array
    log_seconds: Array
    architecture: npt.NDArray[np.str_]
    source: npt.NDArray[np.str_]
    gpu: npt.NDArray[np.str_]


def prepare(measured: Measured) -> Data:
    """Arrays of a file's usable points."""
    batch = measured.column(lambda point: point.batch)
    rate = measured.column(lambda point: point.tokens_per_second)
    site = measured.sites()
    prompt = measured.column(lambda point: point.input_tokens)
    answer = measured.column(lambda point: point.output_tokens)
    cached = measured.column(lambda point: point.cached_input_tokens)
    return Data(
        site=site,
        work=count_work(site, prompt, cached, answer),  # type: ignore[arg-type]
        input_tokens=prompt,
        output_tokens=answer,
        log_energy=np.log(measured.column(lambda point: point.joules_per_token)),
        log_seconds=np.log(batch / rate),
        architecture=measured.labels(lambda point: point.architecture),
        source=measured.labels(lambda point: point.source),
        gpu=measured.labels(lambda point: point.gpu.name),
    )


def residuals(data: Data, constants: RooflineConstants) -> tuple[Array, Array]:
    """ln(predicted / measured) of energy per token and of time per step.

    A server that admits a prompt for every answer it ends spends the prefill's time too.
    """
    site, answer = data.site, data.output_tokens
    price = compute_prices(site, constants)
    prefill = compute_prefill_energy(price, data.work)
    decode = compute_decode_energy(price, data.work)
    context = compute_mean_context(data.work, data.input_tokens)  # type: ignore[arg-type]
    seconds, _ = compute_decode_step(site, constants, context)
    watts = compute_prefill_watts(site, constants)
    prefill_seconds = constants.prefill_time * prefill / (watts * site.gpus)
    waiting = prefill_seconds * site.sequences / answer
    return (
        np.log((decode + prefill) / answer) - data.log_energy,
        np.log(seconds + waiting) - data.log_seconds,
    )


def constants_from(theta: Array, read_off: dict[str, float]) -> RooflineConstants:
    """Constants of a vector of logarithms, in the order of `PRIORS`, and those read off."""
    fitted = dict(zip(PRIORS, np.exp(theta).tolist(), strict=True))
    return RooflineConstants(**fitted, **FIXED, **(FIRST_GUESS | read_off))


def fit(data: Data, rows: Mask, read_off: dict[str, float], start: Array | None = None) -> Array:
    """Logarithms of the constants that fit these rows best."""
    centre, width = np.log([p[0] for p in PRIORS.values()]), np.array([*PRIORS.values()])[:, 1]

    def damped(residual: Array) -> Array:
        # The square root of the pseudo-Huber loss, so that squares add up to it.
        bent = np.sqrt(1 + (residual / OUTLIER) ** 2) - 1
        return np.asarray(np.sign(residual) * OUTLIER * np.sqrt(2 * bent))

    def cost(theta: Array) -> Array:
        energy, time = residuals(data, constants_from(theta, read_off))
        time = np.nan_to_num(time[rows])
        return np.concatenate(
            [
                damped(energy[rows]) / ENERGY_SCATTER,
                TIME_WEIGHT * damped(time) / ENERGY_SCATTER,
                (theta - centre) / width,
            ]
        )

    found = least_squares(
        cost, centre if start is None else start, xtol=1e-12, ftol=1e-12, gtol=1e-12
    )
    return np.asarray(found.x)


def leave_one_out(
    data: Data, groups: npt.NDArray[np.str_], read_off: dict[str, float], start: Array
) -> tuple[Array, Array]:
    """Residuals of every row, predicted by a fit that has not seen its group."""
    energy, time = np.empty_like(data.log_energy), np.empty_like(data.log_energy)
    for group in np.unique(groups):
        out = groups == group
        theta = fit(data, ~out, read_off, start)
        unseen = residuals(data, constants_from(theta, read_off))
        energy[out], time[out] = unseen[0][out], unseen[1][out]
    return energy, time


def speculative_ratios(measured: Measured, data: Data, constants: RooflineConstants) -> Array:
    """Decode energy with speculative decoding over without, of each pair of rows, shape (pairs,).

    A pair shares model, GPU, their number, precision and batch. Its prefill is as estimated,
    scaled as the row without drafts says.
    """
    price = compute_prices(data.site, constants)
    prefill = compute_prefill_energy(price, data.work)
    decode = compute_decode_energy(price, data.work)
    pairs: dict[tuple[object, ...], dict[bool, list[int]]] = {}
    for row, point in enumerate(measured.points):
        key = (
            point.architecture,
            point.gpu.name,
            point.serving.num_gpus,
            point.precision,
            point.batch,
        )
        pairs.setdefault(key, {}).setdefault(bool(point.serving.speculative), []).append(row)
    ratios = []
    for pair in pairs.values():
        if len(pair) == 2:
            (plain, *_), drafted = pair[False], pair[True]
            joules = np.exp(data.log_energy) * data.output_tokens
            scale = joules[plain] / (prefill + decode)[plain]  # type: ignore[index]
            left = np.exp(np.log(joules[drafted]).mean()) - scale * prefill[plain]  # type: ignore[index]
            ratios.append(left / (scale * decode[plain]))  # type: ignore[index]
    return np.array(ratios)


def prefill_ratios(data: Data, constants: RooflineConstants) -> tuple[Array, Array]:
    """Share of prefill in each row's energy, and the prefill it implies over that estimated."""
    price = compute_prices(data.site, constants)
    prefill = np.asarray(compute_prefill_energy(price, data.work))
    decode = np.asarray(compute_decode_energy(price, data.work))
    joules = np.exp(data.log_energy) * data.output_tokens
    return prefill / (prefill + decode), (joules - decode) / prefill


def geometric_error(residual: Array) -> float:
    """Geometric-mean error factor of residuals on the log scale [1]."""
    return float(np.exp(np.nanmean(np.abs(residual))))


def summary(label: str, residual: Array) -> str:
    """Error factor and median predicted over measured of some rows, in one line."""
    return (
        f"  {label:44s} n {len(residual):3d}  error {geometric_error(residual):.3f}  "
        f"median {np.exp(np.median(residual)):.2f}"
    )


def rounded(value: float) -> float:
    """A number with `DIGITS` significant digits."""
    return float(f"{value:.{DIGITS - 1}e}")


def module_text(
    values: dict[str, float],
    lines: Sequence[str],
    architectures: Sequence[str],
    gpus: Sequence[str],
) -> str:
    """The data module: the constants, the run that made them, and what it saw."""
    table = "\n".join(f'    "{name}": {value!r},' for name, value in values.items())
    seen = "\n".join(f'    "{name}",' for name in architectures)
    boards = "\n".join(f'    "{name}",' for name in gpus)
    run = "\n".join(lines)
    return (
        '"""Constants of the ``roofline`` estimator: data, written by its fit.\n\n'
        f"{run}\n"
        '"""\n\n'
        "from __future__ import annotations\n\n"
        f"FITTED: dict[str, float] = {{\n{table}\n}}\n\n"
        f"ARCHITECTURES = (\n{seen}\n)\n"
        '"""What the fit has seen: errors on these are not a test."""\n\n'
        f"GPUS = (\n{boards}\n)\n"
        '"""GPU profiles that the fit has seen."""\n'
    )


def reason_to_skip(point: Point) -> str | None:
    """Why a point is evaluated but not fitted, if it is not."""
    if point.scope != "gpu":
        return "energy at the wall, not of the boards"
    return point.flag or None


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit, print the errors and the data module; write it if asked to."""
    parser = argparse.ArgumentParser(description="Fit the constants of the roofline estimator.")
    parser.add_argument("measured", type=Path, nargs="+", help="CSV of measured points")
    parser.add_argument("--hold-out", nargs="+", default=[], metavar="ARCHITECTURE")
    parser.add_argument("--write", action="store_true", help=f"write {TARGET.name}")
    options = parser.parse_args(arguments)

    read = read_measured(*options.measured)
    skipped = Counter(dict(read.skipped))
    skipped.update(reason for point in read.points if (reason := reason_to_skip(point)))
    measured = Measured(
        tuple(point for point in read.points if reason_to_skip(point) is None), skipped
    )
    for reason, count in skipped.items():
        print(f"skipped {count} rows: {reason}")
    data = prepare(measured)
    held_out = np.isin(data.architecture, options.hold_out)
    if held_out.any():
        theta = fit(data, ~held_out, {})
        unseen = residuals(data, constants_from(theta, {}))[0][held_out]
        print(f"held out {held_out.sum()} rows: error {geometric_error(unseen):.4f}")
        kept = [p for p, out in zip(measured.points, held_out, strict=True) if not out]
        measured = Measured(tuple(kept), skipped)
        data = prepare(measured)

    everything = np.ones(len(data.log_energy), dtype=bool)
    theta = fit(data, everything, {})
    read_off: dict[str, float] = {}
    ratios = speculative_ratios(measured, data, constants_from(theta, {}))
    if len(ratios):
        read_off = {
            "speculative_decode": rounded(float(np.exp(np.log(ratios).mean()))),
            "speculative_decode_low": rounded(float(ratios.min())),
            "speculative_decode_high": rounded(float(ratios.max())),
        }
        theta = fit(data, everything, read_off, theta)
    energy, time = residuals(data, constants_from(theta, read_off))
    unseen_energy, unseen_time = leave_one_out(data, data.architecture, read_off, theta)
    by_source, _ = leave_one_out(data, data.source, read_off, theta)
    by_gpu, _ = leave_one_out(data, data.gpu, read_off, theta)
    values = {
        name: rounded(value)
        for name, value in [*zip(PRIORS, np.exp(theta), strict=True), *FIXED.items()]
    }
    values |= {name: FIRST_GUESS[name] for name in FIRST_GUESS if name.startswith("spec")}
    values |= read_off
    # A row of tomorrow is new by its architecture, by who measured it, and by its GPU.
    new = np.array([unseen_energy, by_source, by_gpu])
    crowded = measured.column(lambda point: point.batch) >= CROWD
    groups = {
        "error_factor": ~crowded,
        "crowded_error_factor": crowded,
    }
    factor = np.empty_like(unseen_energy)
    for name, rows in groups.items():
        values[name] = factor_that_holds(new[:, rows].ravel())
        factor[rows] = values[name]
    values["rate_sigma"] = rounded(float(np.sqrt(np.nanmean(unseen_time**2))))
    errors = [
        "Error factors (geometric mean), energy per token / time per step:",
        f"  fitted                     {geometric_error(energy):.4f} / {geometric_error(time):.4f}",
        f"  leave one architecture out {geometric_error(unseen_energy):.4f} / "
        f"{geometric_error(unseen_time):.4f}",
        f"  leave one source out       {geometric_error(by_source):.4f}",
        f"  leave one GPU out          {geometric_error(by_gpu):.4f}",
    ]
    names = " ".join(path.name for path in options.measured)
    run = [
        f"Run: python tests/benchmarks/fit.py {names} --write",
        f"Data: {everything.sum()} points of {len(np.unique(data.architecture))} architectures; "
        f"{skipped.total()} rows skipped"
        + (f"; held out: {', '.join(options.hold_out)}" if options.hold_out else ""),
        *(
            f"  {(data.source == source).sum()} {source}"
            for source in np.unique(data.source).tolist()
        ),
        *errors,
    ]
    print("\n".join(run))
    print("\nleave one architecture out")
    by_architecture = {name: data.architecture == name for name in np.unique(data.architecture)}
    for cut, masks in {"architecture": by_architecture, **slices(measured)}.items():
        for label, rows in masks.items():
            print(summary(f"{cut} {label}", unseen_energy[rows]))
    for title, cut, unseen in (("source", "source", by_source), ("GPU", "GPU", by_gpu)):
        print(f"\nleave one {title} out")
        for label, rows in slices(measured)[cut].items():
            print(
                summary(f"{cut} {label}", unseen[rows])
                + f"  90 % within {factor_that_holds(unseen[rows]):.2f}"
            )
    print("\ncoverage of the formula's 90 % range, leave one architecture out")
    inside = np.abs(unseen_energy) <= np.log(factor)
    print(f"  {'all':44s} n {len(inside):3d}  {np.mean(inside):.0%}")
    for cut, masks in slices(measured).items():
        for label, rows in masks.items():
            if rows.sum() > 30:
                print(f"  {f'{cut} {label}':44s} n {rows.sum():3d}  {np.mean(inside[rows]):.0%}")
    if len(ratios):
        print(
            "\nspeculative decoding over none, decode energy: "
            + ", ".join(f"{ratio:.2f}" for ratio in ratios)
        )
    share, ratio = prefill_ratios(data, constants_from(theta, read_off))
    print("\nprefill implied over estimated: 5, 25, 50, 75 and 95 %")
    for low, high in ((0.3, 0.5), (0.5, 1.0)):
        rows = (share > low) & (share <= high)
        if rows.any():
            quantiles = np.quantile(ratio[rows], [0.05, 0.25, 0.5, 0.75, 0.95])
            print(
                f"  prefill {low:.0%} to {high:.0%} of the energy, n {rows.sum():3d}: "
                + " ".join(f"{q:.2f}" for q in quantiles)
            )
    architectures, gpus = np.unique(data.architecture).tolist(), np.unique(data.gpu).tolist()
    text = module_text(values, run, architectures, gpus)
    print(f"\n{text}")
    if options.write:
        TARGET.write_text(text, encoding="utf-8")
    return 0


def factor_that_holds(residual: Array) -> float:
    """The factor within which 90 % of these residuals lie [1]; 1 where there are none."""
    if not len(residual):
        return 1.0
    return rounded(math.exp(float(np.quantile(np.abs(residual), 0.9))))


if __name__ == "__main__":
    raise SystemExit(main())
