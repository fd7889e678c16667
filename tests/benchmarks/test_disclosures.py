"""The comparison with published figures reads, estimates and prints what it should."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import disclosures
import pytest
from disclosures import DISCLOSURES, Disclosure, Estimate, read_disclosures

from energy_tracking.tracker import Tracker

ROWS = read_disclosures(DISCLOSURES)


def row(what: str) -> Disclosure:
    (found,) = [row for row in ROWS if row.what == what]
    return found


def test_every_figure_has_an_address_a_date_and_lies_in_its_own_range() -> None:
    for each in ROWS:
        assert each.source.startswith("https://"), each
        assert each.date[:2] == "20", each
        assert each.tokens_from, each
        assert not each.wh_low > each.wh, each
        assert not each.wh_high < each.wh, each
        assert each.input_tokens > 0, each
        assert each.output_tokens > 0, each
    assert max(Counter((each.who, each.what, each.model) for each in ROWS).values()) == 1


@pytest.mark.parametrize(
    ("what", "wh"),
    [
        # Google and OpenAI as everybody quotes them, Epoch's article, the paper's abstract.
        ("median Gemini Apps text prompt", 0.24),
        ("average ChatGPT query", 0.34),
        ("GPT-4o, typical query", pytest.approx(0.30, abs=0.005)),
        ("GPT-4o, 10k input", 2.5),
        ("GPT-4o, 100k input", 40),
        ("GPT-4o, short", pytest.approx(0.42, abs=0.005)),
        # 6,706 J and 57 J.
        ("Llama 3.1 405B, GPUs times 2", pytest.approx(6706 / 3600, rel=1e-3)),
        ("Llama 3.1 8B, GPUs", pytest.approx(57 / 3600, rel=3e-3)),
        # 512 tokens at 3 to 4 J: the middle of the logarithms is sqrt(12) J.
        ("LLaMA 65B, batch 64", pytest.approx(512 * 12**0.5 / 3600, rel=1e-2)),
    ],
)
def test_a_well_known_figure_is_in_the_file(what: str, wh: float) -> None:
    assert row(what).wh == wh


@pytest.mark.parametrize(
    ("name", "method", "scope"),
    [
        ("reference", "reference", "gpu"),
        ("roofline, gpu", "roofline", "gpu"),
        ("roofline, facility", "roofline", "facility"),
    ],
)
def test_an_estimate_is_the_one_a_tracked_call_is_given(name: str, method: str, scope: str) -> None:
    query = row("GPT-4o, long")
    usage = {
        "prompt_tokens": query.input_tokens,
        "completion_tokens": query.output_tokens,
        "total_tokens": query.input_tokens + query.output_tokens,
    }
    tracker = Tracker(gpu=query.gpu, method=method, scope=scope)
    record = tracker.record(model=query.model, usage=usage)
    assert record.estimate is not None
    found = disclosures.estimates(query)[name]
    assert found.wh == pytest.approx(record.estimate.total_energy_joules / 3600)
    assert found.low < found.wh < found.high


def test_a_figure_is_inside_a_range_with_its_ends_and_in_no_unstated_one() -> None:
    assert Estimate(1.0, 0.5, 2.0).holds(2.0)
    assert not Estimate(1.0, 0.5, 2.0).holds(2.1)
    assert not Estimate(1.0, float("nan"), float("nan")).holds(1.0)


def test_a_query_reads_as_published_with_a_mark_on_what_is_assumed() -> None:
    assert row("GPT-4o, typical query").tokens == "100? in, 500 out"
    assert row("GPT-4o, short").energy == "0.421 Wh (0.294–0.548)"
    assert row("GPT-4o, typical query").energy == "0.301 Wh (up to 1.3)"
    assert row("average ChatGPT query").energy == "0.34 Wh"


def test_a_model_without_a_profile_is_printed_and_counted() -> None:
    rows = [replace(row("GPT-4o, short"), model="abacus-7b"), row("GPT-4o, long")]
    assert "no profile" in disclosures.table(rows)[2]
    assert disclosures.summary(rows)[0] == "2 rows, 1 of a model without a profile"
    assert disclosures.summary(rows)[1].split()[1:4] == ["1", "of", "1"]
    assert disclosures.markdown(rows)[2].endswith("| no profile | no profile | no profile |")


def test_the_table_holds_every_row_and_is_100_columns_wide(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert disclosures.main([]) == 0
    printed = capsys.readouterr().out
    assert max(len(line) for line in printed.splitlines()) <= 100
    for each in ROWS:
        assert f"{each.what}: {each.energy}" in printed
        assert each.source in printed
        assert each.read_at in printed


def test_the_markdown_is_one_table_without_a_blank_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert disclosures.main(["--markdown"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + len(ROWS)
    assert {line.count("|") for line in lines} == {8}


def test_a_word_that_is_no_scope_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(DISCLOSURES.read_text("utf-8").replace("facility", "planet"), "utf-8")
    with pytest.raises(ValueError, match="scope must be one of"):
        read_disclosures(path)
