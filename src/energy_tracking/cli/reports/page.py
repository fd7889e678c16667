"""A report as one file of HTML, to be sent to people who have no terminal.

Nothing in it is fetched from elsewhere: no script, no font, no picture. Every text that came out of
a file is escaped. The order on the page: the sums with their ranges, the chart, the models, the
dearest sessions, then in plain words how the numbers were made and what they leave out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape

from energy_tracking.calls.amounts import count_text, energy_text, format_count, two_digits
from energy_tracking.calls.report import CALIBRATED, kind_label
from energy_tracking.cli.everyday import everyday_text
from energy_tracking.cli.reports.chart import build_series, colour_of, draw_svg
from energy_tracking.cli.reports.collect import Report, mark_labels, rows_of
from energy_tracking.cli.reports.words import sentences_of, span_text
from energy_tracking.logs.batches.dimensions import NOT_KNOWN
from energy_tracking.logs.batches.grouping import GroupSums, Of
from energy_tracking.terminal import one_line
from energy_tracking.units import wh_from_joules
from energy_tracking.version import VERSION

GROUPS, SESSIONS = 50, 15
"""How many groups and sessions are listed where nobody says how many [1]."""

_STYLE = """
:root{--ink:#1f2421;--soft:#5d6560;--rule:#dcd9d2;--paper:#fdfcfa;--card:#f4f2ed}
@media(prefers-color-scheme:dark){:root{--ink:#ecebe6;--soft:#a3aaa5;--rule:#3b403d;
--paper:#1b1e1c;--card:#262a27}}
@media print{:root{--ink:#000;--soft:#444;--rule:#ccc;--paper:#fff;--card:#f6f6f6}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:960px;margin:0 auto;padding:40px 24px 64px;overflow-wrap:anywhere}
h1{font-size:28px;line-height:1.2;margin:0 0 4px}
h2{font-size:19px;margin:44px 0 12px}
p{margin:8px 0}
.soft{color:var(--soft)}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(200px,1fr));gap:14px;
margin:26px 0 8px}
.card{background:var(--card);border-radius:8px;padding:16px 18px}
.card b{display:block;font-size:28px;line-height:1.2;font-variant-numeric:tabular-nums}
.card span{display:block;color:var(--soft);font-size:14px}
table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums}
.wide{overflow-x:auto}
th,td{text-align:right;padding:7px 10px;border-bottom:1px solid var(--rule);white-space:nowrap}
th{color:var(--soft);font-weight:600}
th:first-child,td:first-child,th.text,td.text{text-align:left;white-space:normal;min-width:7.5em}
tr.sum td{font-weight:700;border-top:2px solid var(--ink)}
td small{color:var(--soft);font-size:12px}
svg{width:100%;min-width:640px;height:auto;display:block}
svg text{font-size:12px;fill:var(--soft)}
svg .end{text-anchor:end}svg .middle{text-anchor:middle}
svg .grid{stroke:var(--rule);stroke-width:1}
.legend{display:flex;flex-wrap:wrap;gap:4px 18px;margin:8px 0 0 64px;padding:0;list-style:none;
font-size:14px}
.legend i{display:inline-block;width:11px;height:11px;border-radius:2px;margin-right:7px}
.bar{background:var(--rule);height:8px;border-radius:4px;min-width:90px}
.bar i{display:block;height:8px;border-radius:4px;background:#2f6f9f}
ul.notes{padding-left:20px}
"""


def report_html(report: Report, top: int | None) -> str:
    """The page.

    Args:
        report: The report.
        top: Groups and sessions to be listed; None: those that matter.
    """
    title = f"Energy of {report.title}"
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        # Nothing may be fetched, whatever a name in the log tries.
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'\">",
        f"<title>{_text(title)}</title><style>{_STYLE}</style></head><body><main>",
        "<h1>Energy of language model calls</h1>",
        _describe(report),
        _draw_cards(report),
        _draw_chart(report),
        _draw_groups(report, top),
        _draw_sessions(report, SESSIONS if top is None else top),
        _explain(report),
        "</main></body></html>\n",
    ]
    return "".join(parts)


def _text(text: str) -> str:
    return escape(one_line(text))


def _describe(report: Report) -> str:
    total = report.total
    span = span_text(report)
    for of, sums in report.sums.items():
        if of is Of.TOKENS:
            total = total.without(sums)
    tokens = f"{int(total.input_tokens):,} input and {int(total.output_tokens):,} output tokens"
    said = f"{format_count(total.requests, 'call')} to language models, {tokens}"
    when = f", {span} ({report.selection.zone})" if span else ""
    where = f'<p class="soft">From {_text(report.title)}</p>'
    end = "" if report.is_whole else " Reading was interrupted: this is the part until then."
    made = datetime.now(report.selection.zone).date().isoformat()
    return (
        f'{where}<p>{_text(said + when)}.{end}</p><p class="soft">Made {made} with energy-tracking '
        f"{VERSION}. Every energy is an estimate from token counts, with its 90 % range.</p>"
    )


def _draw_cards(report: Report) -> str:
    total = report.total
    cards = []
    if total.has_energy:
        joules = total.total_energy_joules
        cards.append(
            _card(
                energy_text(wh_from_joules(joules)),
                _range_text(total, "total_energy"),
                f"{kind_label(report.kind)} estimate, {_boards(report.settings.scope)}",
            )
        )
    if report.has_calibrated:
        joules = total.calibrated_energy_joules
        cards.append(
            _card(
                energy_text(wh_from_joules(joules)),
                _range_text(total, "calibrated_energy"),
                "calibrated estimate, GPU boards: use this for decisions",
            )
        )
    emitted = report.carbon_of(total, calibrated=report.has_calibrated)
    if emitted is not None and total.has_energy:
        low, high = emitted.total_carbon_low_grams, emitted.total_carbon_high_grams
        which = kind_label(CALIBRATED) if report.has_calibrated else kind_label(report.kind)
        cards.append(
            _card(
                _grams_text(emitted.total_carbon_grams) + " CO2e",
                f"{_grams_text(low)} to {_grams_text(high)}",
                f"of the {which} energy at {emitted.grams_per_kwh:g} g/kWh ({emitted.source})",
            )
        )
    count, calls = format_count(total.requests, "call").split()
    cards.append(_card(count, calls, f"to {_count_models(report)}"))
    said = ""
    if total.has_energy:
        best = (
            total.calibrated_energy_joules if report.has_calibrated else total.total_energy_joules
        )
        said = f'<p class="soft">{_text(_capitalise(everyday_text(best)))}.</p>'
    return f'<div class="cards">{"".join(cards)}</div>{said}'


def _capitalise(text: str) -> str:
    return text[:1].upper() + text[1:]


def _card(number: str, beside: str, below: str) -> str:
    return (
        f'<div class="card"><b>{_text(number)}</b><span>{_text(beside)}</span>'
        f"<span>{_text(below)}</span></div>"
    )


def _count_models(report: Report) -> str:
    models = {key[0] for key in report.models.groups}
    named = format_count(len(models - {NOT_KNOWN}), "model")
    return f"{named} and some not named" if NOT_KNOWN in models else named


def _boards(scope: str) -> str:
    return "GPU boards" if scope == "gpu" else "whole data centre"


def _range_text(sums: GroupSums, name: str) -> str:
    low, high = (wh_from_joules(getattr(sums, f"{name}_{end}_joules")) for end in ("low", "high"))
    return "as measured" if low == high else f"{energy_text(low)} to {energy_text(high)}"


def _grams_text(grams: float) -> str:
    if grams >= 1e6:
        return f"{two_digits(grams / 1e6)} t"
    if grams >= 1e3:
        return f"{two_digits(grams / 1e3)} kg"
    return (
        f"{two_digits(grams)} g" if grams >= 0.1 or not grams else f"{two_digits(grams * 1e3)} mg"
    )


def _draw_chart(report: Report) -> str:
    series = build_series(report)
    if series is None:
        if not report.total.has_energy:
            return ""
        return '<p class="soft">No chart over time: no call in these files states its time.</p>'
    legend = "".join(
        f'<li><i style="background:{colour_of(series, model)}"></i>{_text(model)}</li>'
        for model in series.models
    )
    return (
        f"<h2>Energy per {series.period}, {kind_label(report.kind)}</h2>"
        f'<div class="wide">{draw_svg(series)}</div><ul class="legend">{legend}</ul>'
        f"{_count_without_time(report)}"
    )


def _count_without_time(report: Report) -> str:
    without = sum(
        sums.requests
        for (hour, _, _), sums in report.hours.groups.items()
        if hour == NOT_KNOWN and sums.has_energy
    )
    if not without:
        return ""
    said = "1 call that states" if without == 1 else f"{without:,} calls that state"
    return f'<p class="soft">Not in the chart: {said} no time.</p>'


def _draw_groups(report: Report, top: int | None) -> str:
    by = report.selection.by
    top, count = GROUPS if top is None else top, len(report.table.groups)
    rows = rows_of(report.table, report.names, top)
    if not rows:
        return ""
    head = [*map(_capitalise, by), "Calls", "Input", "Output", *_energy_titles(report)]
    lines = [_row(mark_labels(row), row[2], report) for row in rows]
    if len(rows) > 1:
        for of, sums in report.sums.items():
            labels = ["Sum" if of is Of.ESTIMATES else f"Sum ({of.label})", *[""] * (len(by) - 1)]
            lines.append(_row(labels, sums, report, "sum"))
    which = f", the {top:,} dearest of {count:,}" if count > top else ""
    return f"<h2>By {_text(' and '.join(by))}{which}</h2>{_table(head, lines)}"


def _energy_titles(report: Report) -> list[str]:
    titles = [f"Energy, {kind_label(report.kind)}"]
    titles += ["Energy, calibrated"] * report.has_calibrated
    return titles + ["CO2e"] * report.selection.has_carbon


def _row(labels: Sequence[str], sums: GroupSums, report: Report, mark: str = "") -> str:
    cells = [f'<td class="text">{_text(label)}</td>' for label in labels]
    cells += [
        f"<td>{_text(text)}</td>"
        for text in (
            f"{sums.requests:,}",
            count_text(int(sums.input_tokens)),
            count_text(int(sums.output_tokens)),
        )
    ]
    cells.append(_energy_cell(sums, "total_energy", sums.has_energy))
    if report.has_calibrated:
        cells.append(_energy_cell(sums, "calibrated_energy", sums.calibrated_calls > 0))
    emitted = report.carbon_of(sums, calibrated=report.has_calibrated)
    if emitted is not None:
        shown = _grams_text(emitted.total_carbon_grams) if sums.has_energy else "-"
        cells.append(f"<td>{_text(shown)}</td>")
    return f'<tr class="{mark}">{"".join(cells)}</tr>' if mark else f"<tr>{''.join(cells)}</tr>"


def _energy_cell(sums: GroupSums, name: str, is_known: bool) -> str:
    if not is_known:
        return '<td class="soft">-</td>'
    shown = energy_text(wh_from_joules(getattr(sums, f"{name}_joules")))
    return f"<td>{_text(shown)}<br><small>{_text(_range_text(sums, name))}</small></td>"


def _draw_sessions(report: Report, top: int) -> str:
    """The dearest sessions, each with a bar beside it."""
    by_session: dict[int, GroupSums] = {}
    models: dict[int, list[tuple[float, int]]] = {}
    for (session, model, _), sums in report.sessions.groups.items():
        if session >= 0 and sums.has_energy:
            by_session.setdefault(session, GroupSums()).add(sums)
            models.setdefault(session, []).append((-sums.total_energy_joules, model))
    if not by_session:
        return ""
    ranked = sorted(by_session, key=lambda session: -by_session[session].total_energy_joules)[:top]
    largest = by_session[ranked[0]].total_energy_joules or 1.0
    lines = []
    for session in ranked:
        sums = by_session[session]
        share = 100 * sums.total_energy_joules / largest
        first = min(models[session])[1]
        main = report.names.model.texts[first] if first >= 0 else "model not named"
        more = len(models[session]) - 1
        cells = [
            f'<td class="text">{_text(report.names.session.texts[session])}</td>',
            f'<td class="text">{_text(main + (f" and {more} more" if more else ""))}</td>',
            f"<td>{sums.requests:,}</td>",
            _energy_cell(sums, "total_energy", is_known=True),
            f'<td><div class="bar"><i style="width:{share:.1f}%"></i></div></td>',
        ]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    head = ["Session", "Model", "Calls", f"Energy, {kind_label(report.kind)}", ""]
    count = len(by_session)
    which = f"{len(ranked)} of {count:,} sessions" if count > len(ranked) else "The sessions"
    return f"<h2>{_text(which)}, the dearest first</h2>{_table(head, lines)}"


def _table(head: Iterable[str], lines: Iterable[str]) -> str:
    texts = {"Model", "Session", "Provider", "Tag", "File", "Day", "Week", "Month"}
    cells = "".join(
        f'<th class="text">{_text(title)}</th>' if title in texts else f"<th>{_text(title)}</th>"
        for title in head
    )
    return (
        f'<div class="wide"><table><thead><tr>{cells}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


_LIMITS = (
    "Providers publish neither the size of closed models nor the machines they run on. Where a "
    "size is not public it is an estimate by others or a rule, and the range is wider for it.",
    "The range holds 90 % of what is plausible. A sum is as uncertain as its parts: what is wrong "
    "about one call to a model is wrong about all of them.",
    "Not in any number: training, networks, the devices people use, the making of the hardware, "
    "and tools that a model calls on other machines.",
)


def _explain(report: Report) -> str:
    said = "".join(
        f"<li>{_text(_capitalise(sentence))}.</li>"
        for sentence in (one.rstrip(".") for one in sentences_of(report))
    )
    limits = "".join(f"<li>{_text(sentence)}</li>" for sentence in _LIMITS)
    left = "".join(f"<li>{_text(one)}</li>" for one in report.read.omissions())
    left = f'<h2>What could not be read</h2><ul class="notes">{left}</ul>' if left else ""
    return (
        f'<h2>How the numbers were made</h2><ul class="notes">{said}</ul>'
        f'<h2>What they do not say</h2><ul class="notes">{limits}</ul>{left}'
    )
