"""What a benchmark cannot do it says at once, and not when it has counted for minutes."""

from __future__ import annotations

import sys

import overhead
import pytest

WRONG = {
    "--stacks nonsense": "--stacks: 'nonsense' is none of bare; floor;",
    "--calls 0 --times": "--calls: must be at least 1, got 0",
    "--json nowhere/counts.json": "--json: there is no folder 'nowhere'",
    "--json counts.json --times": "--json and --peers are for counts",
    "--peers environments --times": "--json and --peers are for counts",
}


@pytest.mark.parametrize("given", WRONG)
def test_a_wrong_argument_is_named(
    given: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["overhead.py", *given.split()])
    with pytest.raises(SystemExit, match="2"):
        overhead.main()
    assert WRONG[given] in capsys.readouterr().err


def test_rows_whose_times_cannot_be_compared_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    overhead.print_times(["ours, disabled", "ours, instrumented"], 1)
    assert capsys.readouterr().out.startswith(
        "counted with valgrind alone: ours, disabled; ours, instrumented\nplain call\n"
    )


def test_the_table_of_counts_fits_into_80_columns() -> None:
    of_names, of_telemetry = 27, 19
    assert max(map(len, overhead.ROWS)) < of_names
    assert max(map(len, overhead.TELEMETRY)) < of_telemetry
    assert of_names + of_telemetry + sum(width for _, width in overhead.COLUMNS.values()) == 80
