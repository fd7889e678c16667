"""Our estimates beside what was disclosed or published for a stated query.

    python tests/benchmarks/disclosures.py [--markdown]

For every row of disclosures.csv: the seed formula (``reference``) and the calibrated
estimator (``roofline``) at both scopes, as the library gives them when nothing but model,
GPU and tokens is said, with the 90 % range, the estimate over the published figure and
whether the figure is inside the range. Nothing is fitted to these rows. Few of them are
measurements: the column ``kind`` says who knows what. An operator *disclosed* a figure of
its fleet, somebody *measured* a machine of his own, or *estimated* one from outside. The
405B row of ML.ENERGY that MIT Technology Review quotes is one that roofline was fitted to.

Epoch AI and SemiAnalysis count the power a data centre provides for, not what it draws.

A token count that the source does not state is assumed and marked ``?``: 500 in and 300
out, as Oviedo et al. (arXiv:2509.20241) take a chat, unless ``tokens_from`` says otherwise.
A GPU that is not stated is the library's default, H100, or for a fleet of TPUs, v6e.

Left out, for want of a number that can be compared: Mistral's life-cycle analysis of Large
2 (2025-07), which states 1.14 gCO2e and 45 mL of water for 400 tokens but neither energy
nor the grid's intensity; the AI Energy Score, which states no tokens per answer; energy
per session of coding agents.
"""

from __future__ import annotations

import argparse
import csv
import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from energy_tracking.estimator import Assumptions, estimate_usage
from energy_tracking.profiles.files import load_catalogue
from energy_tracking.units import wh_from_joules
from energy_tracking.usage.token_usage import TokenUsage

DISCLOSURES = Path(__file__).with_name("disclosures.csv")

KINDS = ("disclosed", "measured", "estimated")
SCOPES = ("gpu", "node", "facility", "scope not stated")

WIDTH = 100
"""Of what is printed [characters]."""

LEFT = 54
"""Of the query in the table [characters]."""


@dataclass(frozen=True, slots=True)
class Disclosure:
    """A published figure for one query.

    Attributes:
        who: Who published it.
        date: When.
        kind: One of `KINDS`.
        what: The query.
        model: Model it is about, or that stands for it.
        gpu: GPU it is taken to run on.
        input_tokens: Prompt [tokens].
        input_stated: Whether the source states ``input_tokens``.
        output_tokens: Everything generated [tokens].
        output_stated: Whether the source states ``output_tokens``.
        tokens_from: Where the counts come from.
        wh: Energy; of a range alone, its geometric middle [Wh].
        wh_low: Low end as published; NaN: none [Wh].
        wh_high: High end as published; NaN: none [Wh].
        scope: What is counted, one of `SCOPES`.
        source: Address of the publication.
        read_at: The text that was read, where another.
    """

    who: str
    date: str
    kind: str
    what: str
    model: str
    gpu: str
    input_tokens: int
    input_stated: bool
    output_tokens: int
    output_stated: bool
    tokens_from: str
    wh: float
    wh_low: float
    wh_high: float
    scope: str
    source: str
    read_at: str

    @property
    def tokens(self) -> str:
        """Both counts, the assumed with a question mark."""
        into, out = "" if self.input_stated else "?", "" if self.output_stated else "?"
        return f"{self.input_tokens}{into} in, {self.output_tokens}{out} out"

    @property
    def energy(self) -> str:
        """The figure with its range, as published [Wh]."""
        ends = [digits(end, 3) if end > 0 else "" for end in (self.wh_low, self.wh_high)]
        spread = f" ({'–'.join(ends)})" if all(ends) else f" (up to {ends[1]})" if ends[1] else ""
        return f"{digits(self.wh, 3)} Wh{spread}"


class Estimate(NamedTuple):
    """Energy of a query with its 90 % range, NaN where none is stated [Wh]."""

    wh: float
    low: float
    high: float

    def holds(self, figure: float) -> bool:
        """Whether a figure [Wh] is inside the range."""
        return self.low <= figure <= self.high

    def __str__(self) -> str:
        """Two digits, as the library shows."""
        return f"{digits(self.wh)} ({digits(self.low)}–{digits(self.high)})"


ESTIMATES = {
    "reference": ("reference", "gpu"),
    "roofline, gpu": ("roofline", "gpu"),
    "roofline, facility": ("roofline", "facility"),
}
"""Method and scope by what the table calls them."""


def digits(value: float, count: int = 2) -> str:
    """A number of so many significant digits."""
    return f"{float(f'{value:.{count}g}'):g}"


def read_disclosures(path: Path) -> list[Disclosure]:
    """The rows of the file.

    Raises:
        ValueError: A kind, scope, basis or number is not one.
    """
    with path.open(newline="", encoding="utf-8") as file:
        return [_disclosure(row) for row in csv.DictReader(file)]


def _disclosure(row: dict[str, str]) -> Disclosure:
    for column, allowed in (
        ("kind", KINDS),
        ("scope", SCOPES),
        ("input_basis", ("stated", "assumed")),
        ("output_basis", ("stated", "assumed")),
    ):
        if row[column] not in allowed:
            raise ValueError(f"{column} must be one of {allowed}, got {row[column]!r}")
    low, high = (float(row[end] or "nan") for end in ("wh_low", "wh_high"))
    return Disclosure(
        **{name: row[name] for name in ("who", "date", "kind", "what", "model", "gpu")},
        input_tokens=int(row["input_tokens"]),
        input_stated=row["input_basis"] == "stated",
        output_tokens=int(row["output_tokens"]),
        output_stated=row["output_basis"] == "stated",
        tokens_from=row["tokens_from"],
        wh=float(row["wh"]) if row["wh"] else math.sqrt(low * high),
        wh_low=low,
        wh_high=high,
        **{name: row[name] for name in ("scope", "source", "read_at")},
    )


def estimates(row: Disclosure) -> dict[str, Estimate]:
    """Every estimate of a query, by name; none if the model has no profile."""
    catalogue = load_catalogue()
    match = catalogue.match(row.model)
    if match is None or match.profile is None:
        return {}
    model, gpu = match.profile, catalogue.gpu(row.gpu)
    # What is stated is all that was generated: the seed's reasoning factor stays out.
    usage = TokenUsage(
        input_tokens=row.input_tokens, output_tokens=row.output_tokens, reasoning_tokens=0
    )
    found = {}
    for name, (method, scope) in ESTIMATES.items():
        # The seed's own rows lack what roofline needs, and have better ones beside them.
        seed = method == "reference"
        energy = estimate_usage(
            usage,
            model if seed else catalogue.corrected_model(model),
            gpu if seed else catalogue.corrected_gpu(gpu),
            method=method,
            assumptions=Assumptions(scope=scope),
        )
        ends = (energy.total_energy_low_joules, energy.total_energy_high_joules)
        low, high = (math.nan if end is None else wh_from_joules(end) for end in ends)
        found[name] = Estimate(wh_from_joules(energy.total_energy_joules), low, high)
    return found


def table(rows: Sequence[Disclosure]) -> list[str]:
    """Three lines for a row: the query to the left, the estimates to the right."""
    lines = [
        f"{'published':{LEFT}s} {'estimate [Wh] (90 % range)':32s}{'ratio':>8s}  in?",
        "-" * WIDTH,
    ]
    for row in rows:
        query = (
            f"{row.who}, {row.date}, {row.kind}, {row.scope}",
            f"  {row.what}: {row.energy}",
            f"  {row.model}, {row.gpu}; {row.tokens}",
        )
        found = estimates(row)
        answers = [
            f"{name.removeprefix('roofline, '):10s}{estimate!s:22s}"
            f"{digits(estimate.wh / row.wh):>8s}  {'yes' if estimate.holds(row.wh) else 'no'}"
            for name, estimate in found.items()
        ] or ["no profile", "", ""]
        lines.extend(
            f"{left:{LEFT}s} {right}".rstrip() for left, right in zip(query, answers, strict=True)
        )
        lines.append("")
    return lines


def summary(rows: Sequence[Disclosure]) -> list[str]:
    """How many published figures each estimate's range holds."""
    found = [(row, estimates(row)) for row in rows]
    known = [(row, estimate) for row, estimate in found if estimate]
    lines = [f"{len(rows)} rows, {len(rows) - len(known)} of a model without a profile"]
    for name in ESTIMATES:
        inside = sum(estimate[name].holds(row.wh) for row, estimate in known)
        lines.append(f"{name:28s} {inside:3d} of {len(known)} inside the 90 % range")
    inside, scoped = held_in_scope(rows)
    lines.append(f"{'roofline, scope as published':28s} {inside:3d} of {scoped}")
    return lines


def held_in_scope(rows: Sequence[Disclosure]) -> tuple[int, int]:
    """How many figures ``roofline``'s range holds at the scope they say, and of how many."""
    holds = [
        estimate[f"roofline, {row.scope}"].holds(row.wh)
        for row in rows
        if row.scope in ("gpu", "facility") and (estimate := estimates(row))
    ]
    return sum(holds), len(holds)


def sources(rows: Iterable[Disclosure]) -> list[str]:
    """Each publication, the text that was read if another, and where the tokens come from."""
    notes: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        counts = notes.setdefault((row.who, row.source, row.read_at), [])
        if row.tokens_from not in counts:
            counts.append(row.tokens_from)
    lines = []
    for (who, source, read_at), counts in notes.items():
        lines.extend([who, f"  {source}", *([f"  {read_at}"] if read_at else [])])
        note = f"tokens: {'; '.join(counts)}"
        lines.extend(textwrap.wrap(note, WIDTH, initial_indent="  ", subsequent_indent="    "))
    return lines


def markdown(rows: Sequence[Disclosure]) -> list[str]:
    """The table of the README; bold: the published figure is inside the 90 % range."""
    lines = [
        f"| who | query | tokens | published | {' | '.join(ESTIMATES)} |",
        "|---" * (4 + len(ESTIMATES)) + "|",
    ]
    for row in rows:
        found = estimates(row)
        cells = [
            f"**{estimate}**" if estimate.holds(row.wh) else str(estimate)
            for estimate in found.values()
        ] or ["no profile"] * len(ESTIMATES)
        who = f"[{row.who}]({row.source}), {row.kind}"
        published = f"{row.energy}, {row.scope}"
        lines.append(f"| {' | '.join([who, row.what, row.tokens, published, *cells])} |")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, with its sources or as Markdown."""
    parser = argparse.ArgumentParser(description="Compare estimates with published figures.")
    parser.add_argument("--markdown", action="store_true", help="print the table of the README")
    options = parser.parse_args(arguments)
    rows = read_disclosures(DISCLOSURES)
    if options.markdown:
        print("\n".join(markdown(rows)))
        return 0
    print("\n".join([*table(rows), *summary(rows), "?: assumed", "", *sources(rows)]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
