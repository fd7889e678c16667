"""Adding records up: calls, tokens and energy, exactly.

Energy is summed in whole nanojoules. Float sums depend on the order in which threads
finish and drift over a million calls; integer sums do neither.

A record is added to the ``Totals`` of its group (``group_of``); sums over groups are sums of
totals, so that one number has one value however it is grouped. Estimates of two methods or scopes
are two kinds of energy, which are never added up (``sums_by_kind``).

A new sum is a field of ``Totals``, a line in ``record_sums``, and a property in joules and in Wh.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, fields
from operator import add, attrgetter
from typing import NamedTuple, Self, TypeVar

from energy_tracking.calls.record import CallRecord
from energy_tracking.calls.record_sums import sum_calls
from energy_tracking.errors import ConfigurationError, must_be
from energy_tracking.terminal import with_known_signs
from energy_tracking.units import joules_from_nanojoules, wh_from_joules

KeyT = TypeVar("KeyT")

UNKNOWN = "-"
"""What stands in a group's key for what is not known, or does not apply."""

MEASURED = "measured"
"""The method of an energy that the server measured itself."""

TOKENS_ONLY = "tokens only"
"""The scope of sums over an unknown number of requests, which have no energy."""

MAX_GROUPS = 500
"""Groups, and reasons, that are kept apart by their model; what comes later joins `OTHER`."""

OTHER = "other models"
"""Stands for the models of the calls beyond ``MAX_GROUPS``: a server may name one per call."""


@dataclass(slots=True, repr=False)
class Totals:
    """Sums over calls.

    Attributes:
        calls: All single calls, whatever became of them.
        aggregates: Sums over several requests, as of a usage page, which are no calls.
        aggregate_requests: Requests inside of those whose number is known; the four counts below,
            and ``calibrated_calls``, have them too.
        unknown_aggregates: Sums over an unknown number of requests: their tokens alone are known.
        measured_calls: Calls whose energy the server measured.
        partial_calls: Calls whose tokens were partly estimated from text.
        unestimated_calls: Calls that ran but whose energy is not known.
        failed_calls: Calls that raised and reported no tokens.
        input_tokens: Prompt tokens, cached ones included [tokens].
        cached_input_tokens: Part of them read from a prompt cache [tokens].
        output_tokens: Generated tokens, reasoning included [tokens].
        reasoning_tokens: Part of them known to be reasoning [tokens].
        prefill_energy_nanojoules: Energy of reading prompts [nJ].
        decode_energy_nanojoules: Energy of generating output [nJ].
        reasoning_energy_nanojoules: Part of the decode energy known to be reasoning [nJ].
        cache_avoided_energy_nanojoules: What the estimates would be more by without prompt
            caches [nJ].
        total_energy_nanojoules: Energy of all calls as well as it is known [nJ]: measured,
            else estimated. Prefill and decode are those of the estimates.
        total_energy_low_nanojoules: Low end of the 90 % range [nJ].
        total_energy_high_nanojoules: High end of it [nJ].
        calibrated_calls: Calls with a calibrated estimate, beside one of ``reference`` or as
            their own; the three sums below are over these alone.
        calibrated_energy_nanojoules: Their energy by the calibrated estimate, on the GPU
            boards alone [nJ].
        calibrated_energy_low_nanojoules: Low end of its 90 % range [nJ].
        calibrated_energy_high_nanojoules: High end of it [nJ].

    ``total_energy`` adds each call as it was estimated, whatever its method and scope; sums of
    one kind of energy are those of one `EnergyKind`.

    The ends of the calls' ranges are added up: what is wrong about one call, its model's
    size or how it was served, is wrong about the next one too, so a sum is as uncertain as
    its parts. A measured call adds the same to both ends.
    """

    calls: int = 0
    aggregates: int = 0
    aggregate_requests: int = 0
    unknown_aggregates: int = 0
    measured_calls: int = 0
    partial_calls: int = 0
    unestimated_calls: int = 0
    failed_calls: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    prefill_energy_nanojoules: int = 0
    decode_energy_nanojoules: int = 0
    reasoning_energy_nanojoules: int = 0
    cache_avoided_energy_nanojoules: int = 0
    total_energy_nanojoules: int = 0
    total_energy_low_nanojoules: int = 0
    total_energy_high_nanojoules: int = 0
    calibrated_calls: int = 0
    calibrated_energy_nanojoules: int = 0
    calibrated_energy_low_nanojoules: int = 0
    calibrated_energy_high_nanojoules: int = 0

    def add(self, record: CallRecord) -> None:
        """Count one call.

        Raises:
            ConfigurationError: It is no record.
        """
        try:
            sums = sum_calls((record,))
        except (AttributeError, TypeError) as error:
            raise ConfigurationError(must_be("record", "a CallRecord", record)) from error
        for name, number in zip(SUMS, sums, strict=True):
            setattr(self, name, getattr(self, name) + number)

    def __str__(self) -> str:
        """The sums in a line, for people."""
        from energy_tracking.calls.one_line import describe_totals

        return with_known_signs(describe_totals(self))

    def __repr__(self) -> str:
        """The same, where sums stand among other things; ``as_dict`` has every digit."""
        return f"<Totals: {self}>"

    def _repr_html_(self) -> str:
        """The sums as a table, for notebooks."""
        from energy_tracking.calls.html import totals_html

        return totals_html(self)

    def __iadd__(self, other: Totals) -> Self:
        """Add another group's sums."""
        if not isinstance(other, Totals):
            return NotImplemented
        for name in SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        return self

    def plus(self, other: Totals) -> Totals:
        """The sums of both, as totals of their own.

        Raises:
            ConfigurationError: The other is no ``Totals``.
        """
        try:
            return Totals(*map(add, _sums_of(self), _sums_of(other)))
        except AttributeError as error:
            raise ConfigurationError(must_be("other", "of type Totals", other)) from error

    def as_dict(self) -> dict[str, int | float]:
        """Every sum under its name, energies in joules, and both numbers in watt-hours too."""
        named: dict[str, int | float] = {}
        for sum_name in SUMS:
            value = getattr(self, sum_name)
            name = sum_name.removesuffix("_nanojoules")
            if name == sum_name:
                named[name] = value
            else:
                named[f"{name}_joules"] = joules_from_nanojoules(value)
        return named | {
            "total_energy_wh": self.total_energy_wh,
            "calibrated_energy_wh": self.calibrated_energy_wh,
        }

    @property
    def requests(self) -> int:
        """Single calls, and those inside of sums [1]."""
        return self.calls + self.aggregate_requests

    @property
    def prefill_energy_joules(self) -> float:
        """Energy of reading prompts [J]."""
        return joules_from_nanojoules(self.prefill_energy_nanojoules)

    @property
    def decode_energy_joules(self) -> float:
        """Energy of generating output [J]."""
        return joules_from_nanojoules(self.decode_energy_nanojoules)

    @property
    def reasoning_energy_joules(self) -> float:
        """Part of the decode energy known to be reasoning [J]."""
        return joules_from_nanojoules(self.reasoning_energy_nanojoules)

    @property
    def cache_avoided_energy_joules(self) -> float:
        """What the estimates would be more by without prompt caches [J]."""
        return joules_from_nanojoules(self.cache_avoided_energy_nanojoules)

    @property
    def total_energy_joules(self) -> float:
        """Energy of all calls [J]."""
        return joules_from_nanojoules(self.total_energy_nanojoules)

    @property
    def total_energy_low_joules(self) -> float:
        """Low end of its 90 % range [J]."""
        return joules_from_nanojoules(self.total_energy_low_nanojoules)

    @property
    def total_energy_high_joules(self) -> float:
        """High end of its 90 % range [J]."""
        return joules_from_nanojoules(self.total_energy_high_nanojoules)

    @property
    def calibrated_energy_joules(self) -> float:
        """Energy of the ``calibrated_calls`` by the calibrated estimate [J]."""
        return joules_from_nanojoules(self.calibrated_energy_nanojoules)

    @property
    def calibrated_energy_low_joules(self) -> float:
        """Low end of its 90 % range [J]."""
        return joules_from_nanojoules(self.calibrated_energy_low_nanojoules)

    @property
    def calibrated_energy_high_joules(self) -> float:
        """High end of its 90 % range [J]."""
        return joules_from_nanojoules(self.calibrated_energy_high_nanojoules)

    @property
    def prefill_energy_wh(self) -> float:
        """Energy of reading prompts [Wh]."""
        return wh_from_joules(self.prefill_energy_joules)

    @property
    def decode_energy_wh(self) -> float:
        """Energy of generating output [Wh]."""
        return wh_from_joules(self.decode_energy_joules)

    @property
    def reasoning_energy_wh(self) -> float:
        """Part of the decode energy known to be reasoning [Wh]."""
        return wh_from_joules(self.reasoning_energy_joules)

    @property
    def cache_avoided_energy_wh(self) -> float:
        """What the estimates would be more by without prompt caches [Wh]."""
        return wh_from_joules(self.cache_avoided_energy_joules)

    @property
    def total_energy_wh(self) -> float:
        """Energy of all calls [Wh]."""
        return wh_from_joules(self.total_energy_joules)

    @property
    def total_energy_low_wh(self) -> float:
        """Low end of its 90 % range [Wh]."""
        return wh_from_joules(self.total_energy_low_joules)

    @property
    def total_energy_high_wh(self) -> float:
        """High end of its 90 % range [Wh]."""
        return wh_from_joules(self.total_energy_high_joules)

    @property
    def calibrated_energy_wh(self) -> float:
        """Energy of the ``calibrated_calls`` by the calibrated estimate [Wh]."""
        return wh_from_joules(self.calibrated_energy_joules)

    @property
    def calibrated_energy_low_wh(self) -> float:
        """Low end of its 90 % range [Wh]."""
        return wh_from_joules(self.calibrated_energy_low_joules)

    @property
    def calibrated_energy_high_wh(self) -> float:
        """High end of its 90 % range [Wh]."""
        return wh_from_joules(self.calibrated_energy_high_joules)


SUMS = tuple(field.name for field in fields(Totals))
_sums_of = attrgetter(*SUMS)


class EnergyKind(NamedTuple):
    """What an energy is. Energies of two kinds are not added up in one row.

    Attributes:
        method: The estimator, `MEASURED`, or `UNKNOWN` where there is no energy.
        scope: What is counted; `UNKNOWN` where the server measured, and did not say;
            `TOKENS_ONLY` of sums over an unknown number of requests.
    """

    method: str
    scope: str


class GroupKey(NamedTuple):
    """What the calls of one row have in common.

    Attributes:
        model: The model, as the server named it.
        gpu: The GPU profile of the estimate.
        method: As in `EnergyKind`.
        scope: As in `EnergyKind`.
        grade: Confidence in the model profile; `UNKNOWN` where the estimate is not the energy.
    """

    model: str
    gpu: str
    method: str
    scope: str
    grade: str

    @property
    def kind(self) -> EnergyKind:
        """What the energy of the row is."""
        return EnergyKind(self.method, self.scope)


def group_of(record: CallRecord) -> GroupKey:
    """The row that a call is summed up in."""
    return GroupKey(*row_of(record))


def row_of(record: CallRecord) -> tuple[str, str, str, str, str]:
    """The same as a plain tuple, which equals it and is made in a fifth of the time."""
    estimate = record.estimate
    gpu = UNKNOWN if estimate is None else estimate.gpu
    model = record.response_model or record.model
    if record.measured_energy_joules is not None:
        return model, gpu, MEASURED, UNKNOWN, UNKNOWN
    if estimate is None:
        scope = TOKENS_ONLY if record.requests is None else UNKNOWN
        return model, gpu, UNKNOWN, scope, UNKNOWN
    return model, gpu, estimate.method, estimate.scope, estimate.grade


class Groups:
    """Totals of calls one after the other.

    Attributes:
        groups: Totals by what calls have in common.
        reasons: Calls by (model, why less is known) [1]; a sum over an unknown number is one.
    """

    def __init__(self) -> None:
        """Start at zero."""
        self.groups: dict[GroupKey, Totals] = {}
        self.reasons: Counter[tuple[str, str]] = Counter()

    def add(self, record: CallRecord) -> GroupKey:
        """Count one call; returns the group that it is in."""
        key = bounded_group(self.groups, group_of(record))
        self.groups.setdefault(key, Totals()).add(record)
        if record.reason is not None:
            reason = bounded_reason(self.reasons, (record.model, record.reason))
            self.reasons[reason] += record.requests or 1
        return key


def grouped(records: Iterable[CallRecord]) -> dict[GroupKey, Totals]:
    """Totals by what calls have in common."""
    sums = Groups()
    for record in records:
        sums.add(record)
    return sums.groups


def bounded_group(known: Mapping[GroupKey, object], key: GroupKey) -> GroupKey:
    """The group for a call, by its model or, beyond ``MAX_GROUPS``, together with others.

    Args:
        known: The groups there are.
        key: The group by its model.
    """
    return key if key in known else bounded_key(known, key, key._replace(model=OTHER))


def bounded_reason(
    known: Mapping[tuple[str, str], int], reason: tuple[str, str]
) -> tuple[str, str]:
    """The row for a reason, likewise.

    Args:
        known: The rows there are.
        reason: The model, and why less is known than could be.
    """
    if reason in known:
        return reason
    return bounded_key(known, reason, (OTHER, reason[1]), (OTHER, "other reasons"))


def bounded_key(known: Collection[KeyT], *keys: KeyT) -> KeyT:
    """The first of these keys that is known, or that there is room for.

    Args:
        known: The keys there are.
        keys: The key of one's own, for which there is room up to ``MAX_GROUPS``; those that are
            shared with ever more others, for each of which there is room for half as many again;
            at last one that is always taken, since there are few of its kind.
    """
    room = MAX_GROUPS
    for key in keys[:-1]:
        if key in known or len(known) < room:
            return key
        room += MAX_GROUPS // 2
    return keys[-1]


def sums_by_kind(groups: Mapping[GroupKey, Totals]) -> dict[EnergyKind, Totals]:
    """A sum per method and scope, in the order of their names."""
    return dict(sorted(sums_by(groups, lambda key: key.kind).items()))


def sums_by(
    groups: Mapping[GroupKey, Totals], part: Callable[[GroupKey], KeyT]
) -> dict[KeyT, Totals]:
    """A sum per part of what calls have in common.

    Args:
        groups: Totals by what calls have in common.
        part: Takes the part.
    """
    sums: dict[KeyT, Totals] = {}
    for key, totals in groups.items():
        sums.setdefault(part(key), Totals()).__iadd__(totals)
    return sums


def sum_of(groups: Iterable[Totals]) -> Totals:
    """One group's totals out of several."""
    total = Totals()
    for group in groups:
        total += group
    return total
