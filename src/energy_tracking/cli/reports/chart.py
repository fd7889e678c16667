"""Energy over time by model, as bars of SVG drawn here: no script, no font, no picture.

A report over two days has a bar per hour, one over months a bar per day, week or month. The dearest
models have a colour each, and the rest are "other models".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from html import escape

from energy_tracking.calls.amounts import choose_unit, energy_text
from energy_tracking.cli.reports.collect import Report
from energy_tracking.logs.batches.dimensions import HOURS, NOT_KNOWN
from energy_tracking.logs.batches.grouping import OTHER
from energy_tracking.terminal import one_line
from energy_tracking.units import wh_from_joules

COLOURS = ("#2f6f9f", "#c47d1e", "#4f9d69", "#a8518a", "#7566b8", "#b5483a", "#45919d")
"""Of the models, the dearest first. They stand out from a light page and from a dark one."""
REST_COLOUR = "#8e8a82"
MOST_HOURS, MOST_DAYS, MOST_WEEKS = 48, 62, 420
"""Hours up to which a bar is an hour; days up to which it is a day, and up to which a week [1]."""

_WIDTH, _HEIGHT = 900, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 8, 30, 34


@dataclass(slots=True)
class Series:
    """Energy over time.

    Attributes:
        period: ``hour``, ``day``, ``week`` or ``month``.
        labels: The periods, in order, none left out in between.
        models: The models shown, the dearest first.
        energies: Energy of each model in each period [Wh].
    """

    period: str
    labels: list[str]
    models: list[str]
    energies: dict[str, list[float]]

    @property
    def sums(self) -> list[float]:
        """Energy of each period [Wh]."""
        return [sum(column) for column in zip(*self.energies.values(), strict=True)]


def build_series(report: Report) -> Series | None:
    """Energy by period and model; None where no call with an energy has a time."""
    cells: dict[tuple[int, int], float] = {}
    for (hour, model, _), sums in report.hours.groups.items():
        if hour not in (NOT_KNOWN, OTHER) and sums.has_energy:
            cells[hour, model] = cells.get((hour, model), 0.0) + sums.total_energy_joules
    if not cells:
        return None
    first, last = min(hour for hour, _ in cells), max(hour for hour, _ in cells)
    days = last // HOURS - first // HOURS + 1
    period = "day" if days <= MOST_DAYS else "week" if days <= MOST_WEEKS else "month"
    period = "hour" if last - first < MOST_HOURS else period
    step = 1 if period == "hour" else HOURS
    every = range(first // step, last // step + 1)
    labels = list(dict.fromkeys(_label(number * step, period) for number in every))
    places = {label: place for place, label in enumerate(labels)}
    by_model: dict[int, float] = {}
    for (_, model), joules in cells.items():
        by_model[model] = by_model.get(model, 0.0) + joules
    dearest = sorted(by_model, key=lambda model: -by_model[model])[: len(COLOURS)]
    names = {model: _name(report, model) for model in dearest}
    energies = {name: [0.0] * len(labels) for name in names.values()}
    if len(by_model) > len(dearest):
        energies["other models"] = [0.0] * len(labels)
    for (hour, model), joules in cells.items():
        row = energies[names.get(model, "other models")]
        row[places[_label(hour, period)]] += wh_from_joules(joules)
    return Series(period, labels, list(energies), energies)


def colour_of(series: Series, model: str) -> str:
    """The colour of a model.

    Args:
        series: The models.
        model: One of them.
    """
    return REST_COLOUR if model == "other models" else COLOURS[series.models.index(model)]


def draw_svg(series: Series) -> str:
    """The chart, to stand in a page."""
    unit, size = axis_unit(series)
    ticks = _ticks(max(series.sums) / size)
    top = ticks[-1] * size or 1.0
    inner_width, inner_height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    step = inner_width / len(series.labels)
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="Energy per '
        f'{series.period} by model">'
    ]
    for tick in ticks:
        y = _TOP + inner_height * (1 - tick * size / top)
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>'
            f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" class="end">{tick:g}</text>'
        )
    parts.append(f'<text x="{_LEFT - 8}" y="{_TOP - 16}" class="end">{unit}</text>')
    parts += [_draw_bar(series, place, step, top) for place in range(len(series.labels))]
    for place in label_places(len(series.labels)):
        x = _LEFT + step * (place + 0.5)
        x = min(x, _WIDTH - 36.0)
        parts.append(
            f'<text x="{x:.1f}" y="{_HEIGHT - 12}" class="middle">'
            f"{escape(series.labels[place])}</text>"
        )
    return "".join([*parts, "</svg>"])


def axis_unit(series: Series) -> tuple[str, float]:
    """The unit of the axis, and its size [Wh]."""
    return choose_unit(max(series.sums))


def _draw_bar(series: Series, place: int, step: float, top: float) -> str:
    inner_height = _HEIGHT - _TOP - _BOTTOM
    width = max(min(step * 0.8, 60.0), 0.6)
    x = _LEFT + step * place + (step - width) / 2
    y = float(_TOP + inner_height)
    drawn = []
    for model in series.models:
        wh = series.energies[model][place]
        if not wh:
            continue
        height = inner_height * wh / top
        y -= height
        title = escape(f"{series.labels[place]}, {model}: {energy_text(wh)}")
        drawn.append(
            f'<rect x="{x:.2f}" y="{y:.2f}" width="{width:.2f}" height="{height:.2f}" '
            f'fill="{colour_of(series, model)}"><title>{title}</title></rect>'
        )
    return "".join(drawn)


def _label(hour: int, period: str) -> str:
    day = date.fromordinal(hour // HOURS)
    if period == "hour":
        return f"{day.day:02} {hour % HOURS:02}:00"
    if period == "week":
        year, week, _ = day.isocalendar()
        return f"{year}-W{week:02}"
    return day.isoformat() if period == "day" else day.isoformat()[:7]


def _name(report: Report, model: int) -> str:
    if model == OTHER:
        return "other models"
    return "model not named" if model < 0 else one_line(report.names.model.texts[model])


def _ticks(largest: float) -> list[float]:
    """Round numbers from 0 to at least the largest, four or five of them."""
    if largest <= 0:
        return [0.0, 1.0]
    rough = largest / 4
    magnitude = float(f"1e{f'{rough:e}'.partition('e')[2]}")
    step = next(factor * magnitude for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= rough)
    count = 1
    while count * step < largest * 0.999:
        count += 1
    return [float(f"{number * step:.6g}") for number in range(count + 1)]


def label_places(count: int) -> Sequence[int]:
    """Which bars are labelled, so that labels do not overlap."""
    every = max(1, -(-count // 8))
    return range(0, count, every)
