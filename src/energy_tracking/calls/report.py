"""Totals as text for people and machines: pure strings.

A session is shown as a table for each kind of energy (method and scope), since energies of
different kinds are never added up in one row; usually there is one. The calibrated number
stands beside the kind's own, and a sentence below says what each of them is. A new kind is a
new row in `KINDS`.
"""

from __future__ import annotations

import csv
import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import StringIO
from types import MappingProxyType
from typing import Any

from energy_tracking.calls.aggregates import SPREAD, UNKNOWN_REQUESTS
from energy_tracking.calls.amounts import (
    Range,
    choose_unit,
    count_text,
    energy_text,
    format_column,
    format_count,
    format_with_range,
)
from energy_tracking.calls.carbon import GRAMS, Emissions, describe_emissions, sum_emissions
from energy_tracking.calls.totals import (
    MEASURED,
    TOKENS_ONLY,
    UNKNOWN,
    EnergyKind,
    GroupKey,
    Totals,
    sum_of,
    sums_by_kind,
)
from energy_tracking.frozen import frozen
from energy_tracking.terminal import WIDTH, count_columns, fill

NO_EMISSIONS: Mapping[GroupKey, Emissions] = MappingProxyType({})

FORMULA_STARTS = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
"""What a cell begins with that a spreadsheet takes for a formula."""

REASONS_SHOWN = 20
"""Reasons that people see in a session [1], of the most calls; JSON has all that are kept."""

LEAST_NAME = 12
"""Names are not shortened below this many characters."""

CALIBRATED = EnergyKind("roofline", "gpu")
KINDS: dict[EnergyKind, tuple[str, str]] = {
    EnergyKind("reference", "gpu"): (
        "reference",
        "the project's seed formula (method reference, scope gpu). It knows no batch; use it to "
        "compare with other numbers of this formula.",
    ),
    CALIBRATED: (
        "calibrated",
        "fitted to measured servers (method roofline, scope gpu). Use it for absolute figures "
        "and for decisions.",
    ),
    EnergyKind("roofline", "facility"): (
        "facility",
        "the calibrated number with hosts, idle machines and cooling (method roofline, scope "
        "facility). Use it for what a data centre draws.",
    ),
    EnergyKind(MEASURED, UNKNOWN): (
        "measured",
        "by the server itself, which does not state its scope. Use it before any estimate.",
    ),
}
"""Every kind of energy in the order shown: its name in tables, and what it is good for."""

IN_BRACKETS = "in brackets: 90 % range"
LEGEND = f"{IN_BRACKETS}; A to E: how well the model's size is known"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of text, the first to the left and numbers to the right.

    Args:
        header: Titles of the columns.
        rows: A cell per column in each row.
    """
    lines = [header, *rows]
    widths = [max(count_columns(line[i]) for line in lines) for i in range(len(header))]
    return "\n".join(
        "  ".join(
            fill(cell, width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


@frozen()
class Block:
    """The part of a session's table whose own energies are of one kind.

    Attributes:
        kind: That kind; None where no call has an energy.
        groups: Its rows, sorted, with those of unknown energy.
        total: The sum of the rows.
    """

    kind: EnergyKind | None
    groups: list[tuple[GroupKey, Totals]]
    total: Totals

    @property
    def columns(self) -> list[EnergyKind | None]:
        """The kinds of energy it shows: its own, and the calibrated one beside it."""
        own = [self.kind] if self.kind != CALIBRATED else []
        beside = self.total.calibrated_calls or self.kind == CALIBRATED
        return own + [CALIBRATED] * bool(beside)


def session_table(
    name: str,
    groups: Mapping[GroupKey, Totals],
    reasons: Mapping[tuple[str, str], int],
    lost_ledger_lines: int = 0,
    more_notes: Iterable[str] = (),
) -> str:
    """A session: a line in sum, a table for each kind of energy, and what is not known.

    Args:
        name: Name of the session.
        groups: Totals by what calls have in common.
        reasons: Calls by (model, why they are less than fully estimated).
        lost_ledger_lines: Calls that are missing from a ledger [1].
        more_notes: Further sentences on the whole.
    """
    blocks = build_blocks(groups)
    lines = [format_head(name, sum_of(groups.values()), blocks)]
    for block in blocks:
        (name_title, _, *titles), *rows = build_rows(block)
        # The legend says what the letters are; a title would be wider than they.
        header = [name_title, "", *titles]
        lines.append(table(header, _shorten_names(header, rows)))
    notes = (*collect_notes(blocks, reasons, lost_ledger_lines), *more_notes)
    return "\n".join((*lines, *wrap_notes(notes)))


def session_json(
    name: str,
    tags: Mapping[str, str],
    groups: Mapping[GroupKey, Totals],
    reasons: Mapping[tuple[str, str], int],
    lost_ledger_lines: int = 0,
    emissions: Mapping[GroupKey, Emissions] = NO_EMISSIONS,
) -> str:
    """The same as a JSON object, with all the digits there are.

    ``totals`` adds every call as it was estimated; ``sums`` has one sum per method and scope.

    Args:
        name: Name of the session.
        tags: Its tags.
        groups: Totals by what calls have in common.
        reasons: Calls by (model, why they are less than fully estimated).
        lost_ledger_lines: Calls that are missing from a ledger [1].
        emissions: What each of the groups emits whose electricity is known.
    """
    document: dict[str, Any] = {
        "name": name,
        "tags": dict(tags),
        "totals": sum_of(groups.values()).as_dict(),
        "sums": [
            kind._asdict() | totals.as_dict() for kind, totals in sums_by_kind(groups).items()
        ],
        "groups": [
            key._asdict() | totals.as_dict() | (emissions[key].grams if key in emissions else {})
            for key, totals in sorted(groups.items())
        ],
        "reasons": [
            {"model": model, "reason": reason, "calls": calls}
            for (model, reason), calls in sorted(reasons.items())
        ],
        "lost_ledger_lines": lost_ledger_lines,
    }
    if emissions:
        document["carbon"] = describe_emissions(sum_emissions(emissions.values()))
    return json.dumps(document, indent=2, ensure_ascii=False)


def session_csv(
    groups: Mapping[GroupKey, Totals], emissions: Mapping[GroupKey, Emissions] = NO_EMISSIONS
) -> str:
    """A header, and a row per model, GPU, method, scope and grade; no sum over them.

    Args:
        groups: Totals by what calls have in common.
        emissions: What each of them emits whose electricity is known; where none is known,
            nothing is said of emissions.
    """
    written = StringIO()
    writer = csv.writer(written, lineterminator="\n")
    names = GRAMS if emissions else ()
    writer.writerow((*GroupKey._fields, *Totals().as_dict(), *names))
    for key, totals in sorted(groups.items()):
        grams = emissions[key].grams if key in emissions else {}
        cells = (grams.get(name, "") for name in names)
        writer.writerow((*map(escape_cell, key), *totals.as_dict().values(), *cells))
    return written.getvalue()


def escape_cell(text: str) -> str:
    """A text that a spreadsheet shows and does not compute, as it would ``=cmd|...``.

    Source: https://owasp.org/www-community/attacks/CSV_Injection
    """
    return f"'{text}" if len(text) > 1 and text.startswith(FORMULA_STARTS) else text


def kind_label(kind: EnergyKind) -> str:
    """The name of a kind of energy in tables."""
    return KINDS[kind][0] if kind in KINDS else " ".join(kind)


def kind_sentences(kinds: Iterable[EnergyKind]) -> list[str]:
    """A sentence on each of these kinds of energy."""
    shown = set(kinds)
    return [f"{label}: {meaning}" for kind, (label, meaning) in KINDS.items() if kind in shown]


def wrap_notes(notes: Iterable[str]) -> list[str]:
    """The notes below a table, as lines of a terminal."""
    return [
        line
        for note in notes
        for line in textwrap.wrap(note, WIDTH, initial_indent="  ", subsequent_indent="    ")
    ]


def sort_kinds(kinds: Iterable[EnergyKind]) -> list[EnergyKind]:
    """Kinds of energy in the order shown."""
    order = list(KINDS)
    return sorted(kinds, key=lambda kind: (order.index(kind) if kind in order else 99, kind))


def build_blocks(groups: Mapping[GroupKey, Totals]) -> list[Block]:
    """The parts of the table; calls of unknown energy stand in the first."""
    kinds = sort_kinds({key.kind for key in groups if key.method != UNKNOWN})
    kinds_or_none: list[EnergyKind | None] = [*kinds] or [None] * bool(groups)
    blocks: list[Block] = []
    for kind in kinds_or_none:
        first = not blocks
        rows = sorted(
            (key, totals)
            for key, totals in groups.items()
            if key.kind == kind or (first and key.method == UNKNOWN)
        )
        blocks.append(Block(kind, rows, sum_of(totals for _, totals in rows)))
    return blocks


def format_head(name: str, total: Totals, blocks: Sequence[Block]) -> str:
    """The line in sum: calls, and an energy of each kind.

    Args:
        name: Name of the session.
        total: The sum over all blocks.
        blocks: The parts of the table.
    """
    qualities = (
        (total.measured_calls, "measured"),
        (total.partial_calls, "partial"),
        (total.unestimated_calls, "unestimated"),
        (total.failed_calls, "failed"),
    )
    named = ", ".join(f"{calls:,} {quality}" for calls, quality in qualities if calls)
    calls = format_count(total.requests, "call") + (f" ({named})" if named else "")
    energies = [
        f"{energy_text(block.total.total_energy_wh)} {kind_label(block.kind)}"
        for block in blocks
        if block.kind not in (None, CALIBRATED)
    ]
    if total.calibrated_calls:
        some = total.calibrated_calls != _count_calls_with_energy(total)
        over = f" ({format_count(total.calibrated_calls, 'call')})" if some else ""
        calibrated = f"{energy_text(total.calibrated_energy_wh)} {kind_label(CALIBRATED)}"
        energies.append(calibrated + over)
    is_any = total.calls or total.aggregates
    nothing = "energy not known" if is_any else "0 Wh"
    return f"{name}: {calls}, {', '.join(energies) or nothing}"


def build_rows(block: Block) -> list[list[str]]:
    """The header, a row per group, and their sum where there are several."""
    columns = block.columns
    wh = block.total.total_energy_wh or block.total.calibrated_energy_wh
    unit, size = choose_unit(wh)
    labels = ["energy" if kind is None else f"{kind_label(kind)} {unit}" for kind in columns]
    several_gpus = len({key.gpu for key, _ in block.groups} - {UNKNOWN}) > 1
    named = []
    for key, totals in block.groups:
        on_gpu = f" on {key.gpu}" if several_gpus and key.gpu != UNKNOWN else ""
        marked = f" ({TOKENS_ONLY})" if key.scope == TOKENS_ONLY else on_gpu
        named.append((key.model + marked, key.grade, totals))
    if len(named) > 1:
        named.append(("sum", "", block.total))
    energies = [_format_column(block, size, calibrated=kind == CALIBRATED) for kind in columns]
    rows = [["model", "grade", "calls", "in", "out", *labels]]
    for (name, grade, totals), *cells in zip(named, *energies, strict=True):
        counts = map(count_text, (totals.input_tokens, totals.output_tokens))
        rows.append([name, grade, f"{totals.requests:,}", *counts, *cells])
    return rows


def _format_column(block: Block, size: float, *, calibrated: bool) -> list[str]:
    """An energy of each group, and of their sum where there are several."""
    parts = [energies_of(totals, calibrated=calibrated) for _, totals in block.groups]
    if len(parts) == 1:
        return [format_with_range(parts[0], size)]
    return format_column(parts, energies_of(block.total, calibrated=calibrated), size)


def energies_of(totals: Totals, *, calibrated: bool = False) -> Range | None:
    """An energy and both ends of its range [Wh]; None where no call has one.

    Args:
        totals: The sums.
        calibrated: Whether the calibrated number is wanted.
    """
    if calibrated:
        wh = totals.calibrated_energy_wh
        ends = totals.calibrated_energy_low_wh, totals.calibrated_energy_high_wh
        return (wh, *ends) if totals.calibrated_calls else None
    wh = totals.total_energy_wh
    ends = totals.total_energy_low_wh, totals.total_energy_high_wh
    return (wh, *ends) if _count_calls_with_energy(totals) else None


def format_energy(totals: Totals, size: float, *, calibrated: bool = False) -> str:
    """An energy with its range; ``-`` where there is none.

    Args:
        totals: The sums.
        size: The unit it is shown in [Wh].
        calibrated: Whether the calibrated number is wanted.
    """
    return format_with_range(energies_of(totals, calibrated=calibrated), size)


def _count_calls_with_energy(totals: Totals) -> int:
    return totals.requests - totals.unestimated_calls - totals.failed_calls


def _shorten_names(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """The rows with names cut in their middle as far as the table is too wide.

    Names that would no longer differ stay whole.
    """
    others = [max(len(line[i]) for line in (header, *rows)) for i in range(1, len(header))]
    room = max(WIDTH - sum(others) - 2 * len(others), LEAST_NAME)
    names = [row[0] for row in rows]
    short = [cut_middle(name, room) for name in names]
    if len(set(short)) < len(set(names)):
        short = names
    return [(name, *row[1:]) for name, row in zip(short, rows, strict=True)]


def cut_middle(name: str, length: int) -> str:
    """A name, cut in its middle where it takes more than so many columns of a terminal.

    Args:
        name: The name.
        length: Columns that it may take [1].
    """
    cut, kept = name, length - 3
    while count_columns(cut) > length:
        cut = f"{name[: kept - kept // 2]}...{name[len(name) - kept // 2 :]}"
        kept -= 1
    return cut


def collect_notes(
    blocks: Sequence[Block], reasons: Mapping[tuple[str, str], int], lost_ledger_lines: int
) -> list[str]:
    """What each number is, what is within it, and what is not known.

    Args:
        blocks: The parts of the table.
        reasons: Calls by (model, why they are less than fully estimated).
        lost_ledger_lines: Calls that are missing from a ledger [1].
    """
    kinds = {kind for block in blocks for kind in block.columns if kind is not None}
    notes = kind_sentences(kinds)
    if kinds:
        gpus = sorted({key.gpu for block in blocks for key, _ in block.groups} - {UNKNOWN})
        on_gpu = f"on {', '.join(gpus)}; " if gpus else ""
        notes.append(on_gpu + LEGEND)
    tokens = sum_of(block.total for block in blocks)
    kinds_of_tokens = (
        (tokens.cached_input_tokens, "cached input tokens"),
        (tokens.reasoning_tokens, "reasoning tokens"),
    )
    counted = ", ".join(f"{count:,} {what}" for count, what in kinds_of_tokens if count)
    notes += [f"among them {counted}"] * bool(counted)
    for block in blocks:
        total, label = block.total, "" if block.kind is None else kind_label(block.kind)
        parts = (
            (total.reasoning_energy_wh, "of it spent on reasoning"),
            (total.cache_avoided_energy_wh, "avoided by prompt caching"),
        )
        said = ", ".join(f"{energy_text(wh)} {what}" for wh, what in parts if wh)
        notes += [f"{label}: {said}"] * bool(said)
    unknown = sum_of(
        totals for block in blocks for key, totals in block.groups if key.scope == TOKENS_ONLY
    )
    notes += describe_sums(
        tokens.aggregates - tokens.unknown_aggregates,
        tokens.aggregate_requests,
        tokens.unknown_aggregates,
        unknown.input_tokens + unknown.output_tokens,
        has_energy=bool(kinds),
    )
    said_reasons = ((row, calls) for row, calls in reasons.items() if row[1] != UNKNOWN_REQUESTS)
    ranked = sorted(said_reasons, key=lambda row: (-row[1], row[0]))
    shown, others = ranked[:REASONS_SHOWN], ranked[REASONS_SHOWN:]
    notes += [
        f"{format_count(calls, 'call')} to {model}: {reason}"
        for (model, reason), calls in sorted(shown)
    ]
    if others:
        calls = sum(calls for _, calls in others)
        notes.append(f"{format_count(calls, 'call')} for {len(others):,} other reasons")
    if lost_ledger_lines:
        notes.append(
            f"{format_count(lost_ledger_lines, 'call')} missing from the ledger: not written"
        )
    return notes


def describe_sums(
    known: int, requests: int, unknown: int, unknown_tokens: int, *, has_energy: bool
) -> Iterator[str]:
    """What sums are among calls that were added up, and how they are estimated, for people.

    Args:
        known: Sums over a known number of requests [1].
        requests: Requests in these [1].
        unknown: Sums over an unknown number [1].
        unknown_tokens: Input and output of these [tokens].
        has_energy: Whether the energy of any is known.
    """
    if known:
        estimated = (
            f", estimated at their mean length; their range has a factor of {SPREAD[0]:g} to "
            f"{SPREAD[1]:g} more, for the spread of lengths"
        )
        yield (
            f"{format_count(known, 'sum')} over several requests, as of usage pages, dashboards "
            f"and batches: {requests:,} requests{estimated if has_energy else ''}"
        )
    if unknown:
        yield (
            f"{format_count(unknown, 'sum')} over an unknown number of requests, such as a whole "
            f"day: {unknown_tokens:,} tokens, in rows marked so, and no energy"
        )
