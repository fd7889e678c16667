"""Notebooks show short tables with small bars, and no wall of digits."""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal
from html.parser import HTMLParser

import pytest

from energy_tracking import CallRecord, Session, Tracker, energy_session

USAGE = {"prompt_tokens": 1000, "completion_tokens": 500}
SMALL = {"prompt_tokens": 100, "completion_tokens": 50}


class Page(HTMLParser):
    """The rows of cells of a page, and the length of each cell's bar [%]."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.bars: list[list[float | None]] = []
        self.bold: list[bool] = []
        self.caption = ""
        self._tag = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._tag = tag
        style = dict(attrs).get("style") or ""
        if tag == "tr":
            self.rows.append([])
            self.bars.append([])
            self.bold.append(False)
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            found = re.search(r"left bottom/(\d+)%", style)
            self.bars[-1].append(float(found[1]) if found else None)
            self.bold[-1] |= "font-weight:bold" in style

    def handle_data(self, data: str) -> None:
        if self._tag in ("td", "th"):
            self.rows[-1][-1] += data
        elif self._tag == "caption":
            self.caption += data


@pytest.fixture
def session() -> Session:
    with energy_session("nightly") as made:
        Tracker().record(model="gpt-4o", usage=USAGE)
        Tracker().record(model="gpt-4o-mini", usage=SMALL)
        Tracker().record(model="<i>", usage=SMALL)
    return made


def record_of(session: Session, **changes: object) -> CallRecord:
    with session:
        record = Tracker().record(model="gpt-4o", usage=USAGE)
    return replace(record, **changes)  # type: ignore[arg-type]


def test_a_session_shows_bars_by_energy_and_its_sum_in_bold(session: Session) -> None:
    page = Page(session._repr_html_())
    names = [row[0] for row in page.rows]
    assert names == ["model", "<i>", "gpt-4o", "gpt-4o-mini", "sum"]
    assert page.bold == [False, False, False, False, True]
    assert page.bars[0] == page.bars[1] == page.bars[4] == [None] * 7
    assert page.bars[2][:5] == [None] * 5
    assert max(bar for bar in page.bars[2] if bar) == 100
    for large, small in zip(page.bars[2][5:], page.bars[3][5:], strict=True):
        assert large is not None
        assert small is not None
        assert small < large


def test_the_parts_of_totals_have_bars_of_the_whole(session: Session) -> None:
    page = Page(session.totals._repr_html_())
    bars = {row[0]: bar[-1] for row, bar in zip(page.rows, page.bars, strict=True)}
    reading, generating, total = (
        bars["reading the prompt"] or 0,
        bars["generating"] or 0,
        bars["total"] or 0,
    )
    assert reading + generating == pytest.approx(total, abs=1.1)
    assert page.bold[[row[0] for row in page.rows].index("total")]
    shown = {row[0]: row[1].split()[0] for row in page.rows}
    parts = Decimal(shown["reading the prompt"]) + Decimal(shown["generating"])
    assert parts == Decimal(shown["total"])
    assert page.caption.startswith("3 calls, 1,200 input and 600 output tokens, ")


def test_a_comparison_shows_both_sides_and_the_factor(session: Session) -> None:
    comparison = session.compare(model="gpt-4o-mini")
    page = Page(comparison._repr_html_())
    assert [row[0] for row in page.rows] == ["", "as it was", "compared"]
    assert page.rows[0][1:] == ["reference mWh", "calibrated mWh"]
    assert f"a factor of {comparison.factor:.2g}" in page.caption
    assert page.bars[1][1] == 100
    assert (page.bars[2][1] or 0) / 100 == pytest.approx(comparison.factor, abs=0.01)


def test_the_longest_bar_of_a_comparison_is_that_of_its_largest_energy() -> None:
    with energy_session() as small:
        Tracker().record(model="gpt-4o-mini", usage=USAGE)
    page = Page(small.compare(model="gpt-4o-mini")._repr_html_())
    totals = small.totals
    shorter = 100 * totals.total_energy_wh / totals.calibrated_energy_wh
    assert shorter < 90
    assert page.bars[1] == page.bars[2] == [None, pytest.approx(shorter, abs=0.5), 100]


def test_emissions_show_their_range(session: Session) -> None:
    carbon = session.carbon(grams_per_kwh=100)
    page = Page(carbon._repr_html_())
    assert [row[0] for row in page.rows] == ["", "low end", "emissions", "high end"]
    assert page.bold == [False, False, True, False]
    low, middle, high = (bars[1] or 0 for bars in page.bars[1:])
    assert low <= middle < high == 100


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ["reference", "calibrated"]),
        ({"measured_energy_joules": 90.0, "status": "measured"}, ["measured", "calibrated"]),
        ({"estimate": None, "calibrated": None, "reason": "no <profile>"}, []),
    ],
)
def test_a_record_shows_each_energy_that_it_has(
    session: Session, changes: dict[str, object], words: list[str]
) -> None:
    record = record_of(session, **changes)
    text = record._repr_html_()
    page = Page(text)
    assert [row[0] for row in page.rows[1:]] == words
    assert page.caption.startswith("gpt-4o: ")
    assert "no <profile>" not in text


def test_no_view_shows_nanojoules_or_more_than_two_digits(session: Session) -> None:
    comparison = session.compare(gpu="B200")
    views = (session, session.totals, comparison, session.carbon(region="DE"), record_of(session))
    for view in views:
        text = re.sub(r'style="[^"]*"', "", view._repr_html_())
        assert "nano" not in text
        assert not re.search(r"\d\.\d{4}", text), text
        assert len(text) < 2500


def test_sums_and_records_print_in_a_line_of_plain_units(session: Session) -> None:
    amount = r"[\d.,]+ mWh \([\d.,]+-[\d.,]+\)"
    totals = rf"3 calls, 1,200 input and 600 output tokens, {amount}"
    assert re.fullmatch(totals, str(session.totals))
    record = rf"gpt-4o: {amount} reference, {amount} calibrated, 1,000 input and 500 output tokens"
    assert re.fullmatch(rf"{record} \(estimated\)", str(record_of(session)))
    unknown = record_of(session, estimate=None, calibrated=None, usage=None, status="unestimated")
    assert str(unknown) == "gpt-4o: energy not known, tokens not known (unestimated)"
    assert str(Session("empty").totals) == "0 calls, 0 input and 0 output tokens, 0 Wh"


def test_a_session_without_calls_is_a_line() -> None:
    assert Page(Session("empty").totals._repr_html_()).rows == []
    assert "<tr>" not in Session("empty")._repr_html_()
