"""The chart of a report as a file of matplotlib."""

from __future__ import annotations

import warnings

from energy_tracking.calls.report import cut_middle, kind_label
from energy_tracking.cli.output import print_remark
from energy_tracking.cli.reports.chart import axis_unit, build_series, colour_of, label_places
from energy_tracking.cli.reports.collect import Report
from energy_tracking.cli.reports.words import head_of
from energy_tracking.errors import ConfigurationError

NAME_WIDTH = 36
"""Longer names are cut in the legend, which has three columns [characters]."""


def write_plot(report: Report, path: str) -> None:
    """Write the chart.

    Args:
        report: The report.
        path: A file that ends in .png, .svg or .pdf.

    Raises:
        ConfigurationError: matplotlib is not installed, the file cannot be written, or no call
            with an energy has a time.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise ConfigurationError(
            "--plot needs the package 'matplotlib'; install it with: pip install matplotlib"
        ) from None
    series = build_series(report)
    if series is None:
        raise ConfigurationError("--plot: no call with an energy has a time, so there is no chart")
    unit, size = axis_unit(series)
    figure = Figure(figsize=(9, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    places = range(len(series.labels))
    bottom = [0.0] * len(series.labels)
    for model in series.models:
        heights = [wh / size for wh in series.energies[model]]
        # matplotlib reads what stands between dollar signs as mathematics.
        label = cut_middle(model, NAME_WIDTH).replace("$", r"\$")
        axes.bar(places, heights, bottom=bottom, label=label, color=colour_of(series, model))
        bottom = [under + height for under, height in zip(bottom, heights, strict=True)]
    shown = label_places(len(series.labels))
    axes.set_xticks(shown, [series.labels[place] for place in shown])
    axes.set_ylabel(f"{unit} {kind_label(report.kind)} per {series.period}")
    axes.set_title(head_of(report).replace("$", r"\$"), fontsize=9, wrap=True)
    axes.spines[["top", "right"]].set_visible(False)
    # Below the axes: inside of them it would cover bars.
    figure.legend(fontsize=8, frameon=False, loc="outside lower center", ncols=3)
    try:
        with warnings.catch_warnings(record=True) as missing:
            warnings.simplefilter("ignore")
            warnings.filterwarnings("always", message="Glyph .* missing")
            figure.savefig(path, dpi=150)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None
    if missing:
        print_remark("--plot: the font lacks characters of some names")
