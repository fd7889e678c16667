"""The metrics of calls: a table of instruments, and the recording of one call.

Every distinct set of attributes makes a time series that lasts as long as the process, and the
names in it are chosen by servers and users. So a provider's metrics keep ``MAX_GROUPS`` sets
apart, as a session keeps its groups; the names of later ones join ``other models`` and the like
(``_NAMES``). That is less than the 2,000 from which on OpenTelemetry's SDK drops all attributes.

The energy, both ends of its range and the calibrated number are added up here and read when metrics
are collected: a call of one instrument costs a call to an API more than all of these together.

A new metric is a row of ``METRICS`` and a line in ``CallMetrics.record``, or one of ``SUMMED`` and
a number of ``add_to_sums``. A new attribute is a row of ``_NAMES`` and a value of ``labels_of``;
one whose values others choose needs its word there.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from functools import partial
from math import isfinite
from typing import Any, Literal
from weakref import WeakValueDictionary, ref

from opentelemetry.context import Context
from opentelemetry.metrics import (
    CallbackOptions,
    Meter,
    MeterProvider,
    Observation,
    get_meter,
    get_meter_provider,
)

from energy_tracking.calls.record import CallRecord
from energy_tracking.calls.record_sums import calibrated_estimate
from energy_tracking.calls.totals import MAX_GROUPS, OTHER, bounded_key
from energy_tracking.frozen import frozen
from energy_tracking.lifecycle import call_after_fork
from energy_tracking.notices import log_once
from energy_tracking.telemetry.names import SCHEMA_URL, SCOPE, TAG_PREFIX

ENERGY_METRIC = "energy_tracking.client.energy"
ENERGY_PER_CALL_METRIC = "energy_tracking.client.operation.energy"
CARBON_METRIC = "energy_tracking.client.carbon"
UNESTIMATED_METRIC = "energy_tracking.client.unestimated.operations"
TOKEN_METRIC = "gen_ai.client.token.usage"
DURATION_METRIC = "gen_ai.client.operation.duration"

# From a short answer of a small model to a long agent run of a large one [J]. A quantile read from
# buckets is off by the step between them at most, a factor of five thirds.
ENERGY_BUCKETS = (
    *(float(f"{digits}e{power}") for power in range(-1, 5) for digits in (1, 1.5, 2, 3, 5, 7)),
    1e5,
)
# The two below are the convention's own.
TOKEN_BUCKETS = tuple(float(4**power) for power in range(14))
DURATION_BUCKETS = tuple(0.01 * 2**power for power in range(14))


@frozen()
class Metric:
    """One metric.

    Attributes:
        name: Its name.
        kind: Its instrument.
        unit: Its unit.
        description: What it measures.
        buckets: Boundaries of a histogram's buckets, in that unit.
    """

    name: str
    kind: Literal["counter", "histogram"]
    unit: str
    description: str
    buckets: tuple[float, ...] = ()

    def create(self, meter: Meter) -> Any:
        """Create the instrument."""
        if self.kind == "counter":
            return meter.create_counter(self.name, self.unit, self.description)
        return meter.create_histogram(
            self.name,
            self.unit,
            self.description,
            explicit_bucket_boundaries_advisory=self.buckets,
        )


METRICS = (
    Metric(ENERGY_PER_CALL_METRIC, "histogram", "J", "Energy of one LLM call.", ENERGY_BUCKETS),
    Metric(
        CARBON_METRIC,
        "counter",
        "g",
        "CO2e of the energy of LLM calls, where region or grams_per_kwh is set.",
    ),
    Metric(UNESTIMATED_METRIC, "counter", "{operation}", "LLM calls whose energy is not known."),
    Metric(
        TOKEN_METRIC,
        "histogram",
        "{token}",
        "Number of input and output tokens used.",
        TOKEN_BUCKETS,
    ),
    Metric(DURATION_METRIC, "histogram", "s", "GenAI operation duration.", DURATION_BUCKETS),
)


SUMMED = (
    (ENERGY_METRIC, "Energy of LLM calls."),
    ("energy_tracking.client.energy.low", "Low end of the 90 % range of the energy."),
    ("energy_tracking.client.energy.high", "High end of the 90 % range of the energy."),
    ("energy_tracking.client.energy.calibrated", "The calibrated number of the same calls."),
)
"""Counters in joules that are added up here, and read when metrics are collected: a call pays for
none of them. Their names, and what they measure; the first has no scope among its attributes."""


_Key = tuple[tuple[str | None, ...], tuple[tuple[str, str], ...]]
"""Everything that any metric says of a call: the values of ``_NAMES``, None for what is not known,
and the names and values of tags."""

# Attribute -> what stands for its values beyond the limit, for every one that others choose.
# `_OTHER` is the convention's own word.
_NAMES: dict[str, str | None] = {
    "gen_ai.operation.name": None,
    "gen_ai.provider.name": None,
    "energy_tracking.status": None,
    "gen_ai.request.model": OTHER,
    "gen_ai.response.model": OTHER,
    "energy_tracking.gpu": None,
    "energy_tracking.method": None,
    "error.type": "_OTHER",
}
_JOINED_TAG = "other values"
# Operation and provider where even the rest is of too many kinds.
_JOINED_ALL = "other", "other"

_OF_ENERGY = ("energy_tracking.status", "energy_tracking.gpu", "energy_tracking.method")
"""Attributes that the metrics of energy have alone."""

_OF_DURATION = ("error.type",)
"""That of the time has alone."""


def _join_names(key: _Key) -> _Key:
    """The key that stands for this one where there are too many: with none of others' names."""
    values, tags = key
    joined = [
        value if value is None or word is None else word
        for value, word in zip(values, _NAMES.values(), strict=True)
    ]
    return tuple(joined), tuple([(name, _JOINED_TAG) for name, _ in tags])


Attributes = dict[str, Any]


class _Labels:
    """The attributes of a call, as each metric has them.

    Attributes:
        of_energy: Those of the metrics of energy.
        of_duration: That of the time.
        common: What every metric has.
        of_input: Of the input tokens.
        of_output: Of the output tokens.
        sums: What its calls add up to [J], in the order of ``SUMMED``, by the scope of estimates;
            None where that is nothing.
    """

    __slots__ = ("common", "of_duration", "of_energy", "of_input", "of_output", "sums")

    def __init__(self, key: _Key) -> None:
        """Divide what any metric says of a call.

        Args:
            key: That.
        """
        values, tags = key
        named = zip(_NAMES, values, strict=True)
        every: Attributes = {name: value for name, value in named if value is not None}
        every |= {TAG_PREFIX + name: value for name, value in tags}
        # The SDK sorts the names of each record, which takes less where they are.
        every = dict(sorted(every.items()))
        self.of_energy = _without(every, _OF_DURATION)
        self.of_duration = _without(every, _OF_ENERGY)
        self.common = _without(every, (*_OF_ENERGY, *_OF_DURATION))
        self.of_input = self.common | {"gen_ai.token.type": "input"}
        self.of_output = self.common | {"gen_ai.token.type": "output"}
        self.sums: dict[str, list[Any]] = {}


def _without(attributes: Attributes, names: tuple[str, ...]) -> Attributes:
    """The attributes but these."""
    return {name: value for name, value in attributes.items() if name not in names}


class _Instruments:
    """The instruments of one provider, and the sets of attributes that they have recorded."""

    def __init__(self, meter: Meter) -> None:
        """Make them all."""
        self.energy, self.carbon, self.unestimated, self.tokens, self.duration = (
            metric.create(meter) for metric in METRICS
        )
        self._known: dict[_Key, _Labels] = {}
        self.make_lock()
        # Kept, since a provider that may be set up anew, as Logfire's, forgets what nobody holds.
        self._meter = meter
        self._summed = [
            meter.create_observable_counter(name, [partial(self._observe, place)], "J", description)
            for place, (name, description) in enumerate(SUMMED)
        ]

    def make_lock(self) -> None:
        """Make the lock of the sums anew: for the child of a fork."""
        # A signal handler may make a call in the middle of one that this very thread adds up.
        self._lock = threading.RLock()

    @property
    def counter(self) -> Any:
        """The first of the sums as the SDK has it, which is one for all that make it."""
        first: Any = self._summed[0]
        # Private to the API.
        found = getattr(first, "_real_instrument", None)
        return first if found is None else found

    def add_to_sums(self, record: CallRecord, labels: _Labels, joules: float) -> None:
        """Add a call to the counters that are read when metrics are collected.

        Args:
            record: The call.
            labels: Its attributes.
            joules: Its energy [J].
        """
        estimate, calibrated = record.estimate, record.calibrated or calibrated_estimate(record)
        scope, low, high = "unknown", joules, joules
        if estimate is not None:
            scope = estimate.scope
            if record.measured_energy_joules is None:
                low, high = estimate.total_energy_low_joules, estimate.total_energy_high_joules
        also = None if calibrated is None else calibrated.total_energy_joules
        with self._lock:
            sums = labels.sums.get(scope)
            if sums is None:
                sums = labels.sums[scope] = [0.0, 0.0, 0.0, None]
            sums[0] += joules
            sums[1] += low
            sums[2] += high
            if also is not None:
                sums[3] = (sums[3] or 0.0) + also

    def _observe(self, place: int, _: CallbackOptions) -> Iterable[Observation]:
        found: dict[tuple[tuple[str, Any], ...], float] = {}
        # The SDK calls those back alone that it has met first.
        for instruments in (self, *_instruments_beside(self)):
            instruments._add_observed(place, found)
        return [Observation(joules, dict(key)) for key, joules in found.items()]

    def _add_observed(self, place: int, found: dict[tuple[tuple[str, Any], ...], float]) -> None:
        """Add what calls add up to so far.

        Args:
            place: Of which counter, in ``SUMMED``.
            found: Sum by the attributes, which is added to [J].
        """
        with self._lock:
            # A copy in one step: other threads add to it.
            for labels in self._known.copy().values():
                for scope, sums in labels.sums.items():
                    joules = sums[place]
                    if joules is not None:
                        more = {"energy_tracking.scope": scope} if place else {}
                        # Sets that differ in the error of the time are one of energy.
                        key = tuple((labels.of_energy | more).items())
                        found[key] = found.get(key, 0.0) + joules

    def labels_of(self, record: CallRecord, tags: tuple[str, ...]) -> _Labels:
        """The attributes of a call as each metric has them.

        Args:
            record: The call.
            tags: Tags of sessions that metrics carry.
        """
        request, estimate, given = record.request, record.estimate, record.tags
        gpu = method = None
        if estimate is not None:
            gpu, method = estimate.gpu, estimate.method
        values = (
            request.operation,
            request.provider,
            record.status,
            request.model,
            record.response_model,
            gpu,
            method,
            record.error_type,
        )
        own = values, tuple([(name, given[name]) for name in tags if name in given]) if tags else ()
        return self._known.get(own) or self._make_labels(own)

    def _make_labels(self, own: _Key) -> _Labels:
        """Those of a set that is new, or shared ones where there are too many sets.

        Args:
            own: Everything that any metric says of a call.
        """
        values, tags = shared = _join_names(own)
        key = bounded_key(self._known, own, shared, ((*_JOINED_ALL, *values[2:]), tags))
        if key is not own:
            log_once(
                "metrics joined",
                "metrics: calls differ in more than %s sets of model, error and tag; further ones "
                "are recorded as %r and the like. Sessions and spans have their names.",
                MAX_GROUPS,
                OTHER,
            )
        return self._known.setdefault(key, _Labels(key))


# Providers keep every meter and instrument for good, and there may be a tracker per request. By
# identity: some providers are equal to others or cannot be hashed, as Logfire's.
_instruments: dict[int, tuple[ref[MeterProvider], _Instruments]] = {}
_made: WeakValueDictionary[int, _Instruments] = WeakValueDictionary()
"""All that are in use, by identity."""


def _instruments_of(provider: MeterProvider, version: str) -> _Instruments:
    """The instruments of a provider, made once.

    Args:
        provider: The provider.
        version: Version of this library, for the instrumentation scope.
    """
    key = id(provider)
    known = _instruments.get(key)
    if known is not None:
        return known[1]
    made = _Instruments(get_meter(SCOPE, version, provider, SCHEMA_URL))
    # Of a provider that another one stands for, or one made for each tracker.
    made = next(_instruments_beside(made), made)
    _made[id(made)] = made
    try:
        known = ref(provider, lambda _: _instruments.pop(key, None)), made
    except TypeError:  # it cannot be referred to weakly
        return made
    return _instruments.setdefault(key, known)[1]


def _instruments_beside(one: _Instruments) -> Iterator[_Instruments]:
    """The other instruments that are the same to the SDK.

    Those of the API's stand-in, made before a global provider was set, are so from then on.

    Args:
        one: The instruments.
    """
    counter = one.counter
    # A copy in one step: other threads make trackers.
    for each in _made.valuerefs():
        other = each()
        if other is not None and other is not one and other.counter is counter:
            yield other


def _begin_anew_in_child() -> None:
    """Locks of the parent may be held by threads that a forked child does not have."""
    for each in _made.valuerefs():
        instruments = each()
        if instruments is not None:
            instruments.make_lock()


call_after_fork(_begin_anew_in_child)


class CallMetrics:
    """The instruments of a meter provider, and what a call adds to them."""

    def __init__(
        self, meter_provider: MeterProvider | None, version: str | None, tags: tuple[str, ...] = ()
    ) -> None:
        """Make the instruments.

        Args:
            meter_provider: Used in place of the global one.
            version: Version of this library, for the instrumentation scope.
            tags: Tags of sessions that the metrics carry too.
        """
        self._tags = tags
        self._instruments = _instruments_of(meter_provider or get_meter_provider(), version or "")

    def record(self, record: CallRecord, context: Context, tokens_and_duration: bool) -> None:
        """Add a call.

        Args:
            record: The finished call.
            context: The context of the call, whose span exemplars point to.
            tokens_and_duration: Whether nobody else reports these two.
        """
        instruments = self._instruments
        # Private to the API, whose stand-ins have no public name for what they stand for: nothing
        # until a provider is set.
        if getattr(instruments.energy, "_real_instrument", instruments) is None:
            return
        labels = instruments.labels_of(record, self._tags)
        joules = record.total_energy_joules
        if joules is not None and isfinite(joules):
            instruments.energy.record(joules, labels.of_energy, context)
            instruments.add_to_sums(record, labels, joules)
            if record.intensity is not None:
                grams = record.intensity.grams_of(joules)
                instruments.carbon.add(grams, labels.of_energy, context)
        elif record.usage is not None or record.error_type is None:
            # A call that raised and used nothing known is in the duration's `error.type`.
            instruments.unestimated.add(1, labels.common, context)
        if tokens_and_duration:
            self._record_tokens_and_duration(record, context, labels)

    def _record_tokens_and_duration(
        self, record: CallRecord, context: Context, labels: _Labels
    ) -> None:
        """Add the tokens and the time of a call, as far as they are known.

        Args:
            record: The call.
            context: Its context.
            labels: Its attributes.
        """
        instruments, usage = self._instruments, record.usage
        if record.duration_seconds:
            instruments.duration.record(record.duration_seconds, labels.of_duration, context)
        if usage is not None:
            if "input_tokens" not in usage.estimated:
                instruments.tokens.record(usage.input_tokens, labels.of_input, context)
            if "output_tokens" not in usage.estimated:
                instruments.tokens.record(usage.output_tokens, labels.of_output, context)
