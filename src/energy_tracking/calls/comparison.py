"""The same tokens, as they were estimated and in another way.

A session keeps what it takes for its last calls: their models, their tokens, and a function of
the tracker that made the estimate. ``compare`` asks that function twice for each. Another thing
that may be other is a field of ``record.Alternative``.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping

from energy_tracking.bounds import checked
from energy_tracking.calls.amounts import choose_unit, format_count
from energy_tracking.calls.record import (
    Alternative,
    CallRecord,
    CallRequest,
    Comparable,
    status_of,
)
from energy_tracking.calls.report import (
    CALIBRATED,
    IN_BRACKETS,
    format_energy,
    kind_label,
    kind_sentences,
    sort_kinds,
    table,
    wrap_notes,
)
from energy_tracking.calls.totals import EnergyKind, Totals, grouped, sum_of, sums_by_kind
from energy_tracking.estimator import CALIBRATED_METHOD, check_memory_bandwidth
from energy_tracking.frozen import frozen
from energy_tracking.profiles.files import get_catalogue
from energy_tracking.terminal import WIDTH, with_known_signs


@frozen()
@checked
class Comparison:
    """The same tokens, as they were estimated and in another way; ``str`` shows both.

    Attributes:
        calls: Calls compared: the last 1,000 with an estimate [1].
        changes: What is other, by the argument's name.
        actual_by_kind: Totals per method and scope as estimated, also where the server measured.
        other_by_kind: The same in the other way.
    """

    calls: int
    changes: Mapping[str, str | float]
    actual_by_kind: Mapping[EnergyKind, Totals]
    other_by_kind: Mapping[EnergyKind, Totals]

    @property
    def actual(self) -> Totals:
        """Totals as estimated, whatever the method and scope of each call."""
        return sum_of(self.actual_by_kind.values())

    @property
    def other(self) -> Totals:
        """Totals in the other way, likewise."""
        return sum_of(self.other_by_kind.values())

    @property
    def factor(self) -> float:
        """Energy of the other over the actual one [1]; NaN where there is none."""
        actual = self.actual.total_energy_nanojoules
        return self.other.total_energy_nanojoules / actual if actual else math.nan

    def _repr_html_(self) -> str:
        """Both sides as a table, for notebooks."""
        from energy_tracking.calls.html import comparison_html

        return comparison_html(self)

    def __repr__(self) -> str:
        """What is compared, and the factor."""
        head = describe_comparison(self.calls, self.changes)
        return f"<Comparison: {head}, a factor of {self.factor:.2g}>"

    def __str__(self) -> str:
        """Both sides with their methods, scopes and ranges, for people."""
        return with_known_signs(
            comparison_text(self.calls, self.changes, self.actual_by_kind, self.other_by_kind)
        )


def compare_calls(comparable: Iterable[Comparable], other: Alternative) -> Comparison:
    """Compare calls as they were estimated with the same ones in another way.

    Args:
        comparable: The calls.
        other: The other way.

    Raises:
        UnknownModelError: There is no such model.
        UnknownGpuError: There is no such GPU.
        ConfigurationError: An argument has no effect on the method.
    """
    calls = list(comparable)
    if not calls:
        _check_names(other)
    sides = []
    for way in (Alternative(), other):
        records = (_record_estimated_as(way, call) for call in calls)
        sides.append(sums_by_kind(grouped(records)))
    return Comparison(len(calls), other.changes, *sides)


def _record_estimated_as(way: Alternative, comparable: Comparable) -> CallRecord:
    """A record of a call as if it had been estimated in this way."""
    request_model, response_model, usage, estimate_as = comparable
    outcome = estimate_as(request_model, response_model, usage, way)
    return CallRecord(
        request=CallRequest(operation="", provider="", model=request_model),
        status=status_of(usage, outcome.estimate, None),
        usage=usage,
        estimate=outcome.estimate,
        calibrated=outcome.calibrated,
        cache_avoided_energy_joules=outcome.cache_avoided_energy_joules,
    )


def _check_names(other: Alternative) -> None:
    """Check names by the process-wide profiles, where there is no call whose tracker could.

    Raises:
        UnknownModelError: There is no such model.
        UnknownGpuError: There is no such GPU.
        ProfileError: The method needs a number that its profile lacks.
    """
    catalogue = get_catalogue()
    if other.model is not None and catalogue.match(other.model) is None:
        catalogue.model(other.model)
    if other.gpu is not None:
        gpu = catalogue.gpu(other.gpu)
        if other.method == CALIBRATED_METHOD:
            check_memory_bandwidth(catalogue.corrected_gpu(gpu))


def comparison_text(
    calls: int,
    changes: Mapping[str, object],
    actual: Mapping[EnergyKind, Totals],
    other: Mapping[EnergyKind, Totals],
) -> str:
    """The same calls in two ways: a row for each, a column for each kind of energy.

    Args:
        calls: Calls compared [1].
        changes: What is other, by name.
        actual: Totals by kind as the calls were estimated.
        other: Totals by kind in the other way.
    """
    sides = (("as it was", actual), ("compared", other))
    columns = list_kinds(actual, other)
    kinds = [kind for kind in columns if kind != CALIBRATED]
    unit, size = choose_unit(max(sum_of(side.values()).total_energy_wh for _, side in sides))
    rows = []
    for name, sums in sides:
        own = [format_energy(sums.get(kind, Totals()), size) for kind in kinds]
        beside = [format_energy(sum_of(sums.values()), size, calibrated=True)]
        rows.append((name, *own, *beside * (len(columns) - len(kinds))))
    head = describe_comparison(calls, changes)
    if not columns:
        return f"{head}: no call has an estimate"
    lines = [
        *textwrap.wrap(head, WIDTH, subsequent_indent="  "),
        table(("", *(f"{kind_label(kind)} {unit}" for kind in columns)), rows),
        *wrap_notes((*kind_sentences(columns), IN_BRACKETS)),
    ]
    return "\n".join(lines)


def describe_comparison(calls: int, changes: Mapping[str, object]) -> str:
    """What is compared, in a line.

    Args:
        calls: Calls compared [1].
        changes: What is other, by name.
    """
    changed = ", ".join(f"{name}={value}" for name, value in changes.items()) or "itself"
    return f"{format_count(calls, 'call')} compared with {changed}"


def list_kinds(
    actual: Mapping[EnergyKind, Totals], other: Mapping[EnergyKind, Totals]
) -> list[EnergyKind]:
    """The kinds of energy that two sides of a comparison have, in the order shown.

    Args:
        actual: Totals by kind as the calls were estimated.
        other: Totals by kind in the other way.
    """
    kinds = [kind for kind in sort_kinds({*actual, *other}) if kind != CALIBRATED]
    total = sum_of((*actual.values(), *other.values()))
    return kinds + [CALIBRATED] * bool(total.calibrated_calls)
