"""Rows that add up those above them in a table: totals, subtotals and means are no calls.

A word in the place of a name says so or, where a row has no names at all, its counts: they are
the sums of those above.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

TOTALS = frozenset(
    {"total", "totals", "grand total", "grand totals", "sum", "subtotal", "subtotals", "overall"}
    | {"sub-total", "all models", "all users", "σ", "sigma", "summe", "gesamt", "gesamtsumme"}
    # As Excel names the last row of a pivot table.
    | {"gesamtergebnis", "total général", "total general", "total geral", "totale complessivo"}
    | {"eindtotaal", "suma końcowa", "общий итог", "genel toplam", "総計", "总计", "總計", "총합계"}
    | {"somme", "suma", "soma", "somma", "totale", "totaal", "totalt", "i alt", "yhteensä", "razem"}
    | {"celkem", "összesen", "toplam", "итого", "всего", "усього", "合计", "合計", "小計", "小计"}
    | {"합계", "المجموع"}
)
"""What stands in the place of a name in a row of sums."""
MEANS = frozenset(
    {"average", "averages", "avg", "mean", "durchschnitt", "mittelwert", "moyenne", "promedio"}
    | {"gemiddelde", "среднее", "平均"}
)
"""What stands there in a row of means."""
DESCRIBED = frozenset(
    {"count", "std", "min", "max", "median", "5%", "25%", "50%", "75%", "90%", "95%", "99%"}
    | {"p50", "p90", "p95", "p99"}
)
"""What stands there where a program describes the rows of a table, in a row without other names."""
PARTS = ("of which ", "thereof ", "davon ", "dont ", "de los cuales ")
"""How the name of such a row begins where the one above has its counts, too."""
_AROUND = " :*_"
_WORDS = "|".join(map(re.escape, sorted(TOTALS | MEANS | DESCRIBED)))
_STARTS = "|".join(map(re.escape, ("total ", *PARTS)))
TOTALS_PATTERN = rf"(?i)[{_AROUND}]*(?:{_WORDS}|(?:{_STARTS}).*|.* total)[{_AROUND}]*"
"""All names that say so, as a regular expression; of some of these the row says otherwise."""
NAMED = ("time", "id", "session")
"""The columns that name a row where there is none of models: without any of these, it may be one of
totals."""
NAMELESS = 10
"""Rows without a name of which the counts are compared with sums [1]: of more, none is one."""


_TOTALS = re.compile(TOTALS_PATTERN)


def may_say_totals(name: str | None) -> bool:
    """Whether a name says that its row adds others up, or may say so where the row has no other."""
    return name is not None and _TOTALS.fullmatch(name) is not None


def say_totals(name: object) -> str | None:
    """What is said of a row with a name that says that it adds others up; None where it does not.

    Args:
        name: A cell in the place of a name.
    """
    if type(name) is not str or name[:1].isdigit():
        return None  # nearly always a time or an id
    word = name.strip(_AROUND).lower()
    if word in TOTALS:
        return "of totals over the rows above, left out"
    return "of means over the rows above, left out" if word in MEANS else None


def say_subtotals(name: object) -> str | None:
    """The same for a name with such a word beside what is added up, as Excel's ``gpt-4o Total``.

    Args:
        name: A cell in the place of a name, in a row with no other.
    """
    if type(name) is not str:
        return None
    word = name.strip(_AROUND).lower()
    if word in DESCRIBED:
        return "of quantiles and the like over the rows above, left out"
    if word.startswith(PARTS):
        return "of a part of a row above, left out"
    return say_totals("total") if word.endswith(" total") or word.startswith("total ") else None


@dataclass(slots=True)
class RowSums:
    """What the rows of a table add up to so far.

    Attributes:
        rows: How many there are [1].
        inputs: Their input [tokens].
        outputs: Their output [tokens].
        nameless: How many had no name [1].
        has_models: Whether any of them has a model.
    """

    rows: int = 0
    inputs: int = 0
    outputs: int = 0
    nameless: int = 0
    has_models: bool = False

    def add(self, inputs: int, outputs: int, rows: int = 1) -> None:
        """Take in rows.

        Args:
            inputs: Their input [tokens].
            outputs: Their output [tokens].
            rows: How many [1].
        """
        self.rows += rows
        self.inputs += inputs
        self.outputs += outputs

    def are_stated(self, inputs: int, outputs: int) -> bool:
        """Whether a row without a name states the sums of those above.

        Args:
            inputs: Its input [tokens].
            outputs: Its output [tokens].
        """
        self.nameless += 1
        is_equal = (inputs, outputs) == (self.inputs, self.outputs) != (0, 0)
        return self.nameless <= NAMELESS and self.rows > 1 and is_equal
