"""The tables of attributes: what a span says of a call, one row each.

A row names the attribute, its unit, what it means and where its value comes from. What
``energy-tracking help attributes`` prints is made of the rows.

Names: energy lives under ``energy_tracking.``, since OpenTelemetry has no convention for
the energy of a GenAI call and reserves ``gen_ai.`` for its own. Token and request facts use
the GenAI semantic conventions of version 1.41. No name is a prefix of another one.
Source: https://github.com/open-telemetry/semantic-conventions/tree/v1.41.0/docs/gen-ai

Where the next row goes: into the table of what its value is read from: a request, a record, the
session or the totals of a function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from math import isfinite
from operator import attrgetter
from typing import Any, Generic, TypeVar

from energy_tracking.calls.carbon import read_carbon
from energy_tracking.calls.record import CallRecord, CallRequest
from energy_tracking.calls.totals import Totals
from energy_tracking.estimator import EnergyEstimate
from energy_tracking.estimator.estimate import widest_first
from energy_tracking.frozen import frozen
from energy_tracking.units import wh_from_joules

SCOPE = "energy_tracking"
SCHEMA_URL = "https://opentelemetry.io/schemas/1.41.0"
TAG_PREFIX = "energy_tracking.tag."

S = TypeVar("S")
SourceT = TypeVar("SourceT", CallRequest, CallRecord, Totals, float)


@frozen()
class Attribute(Generic[S]):
    """One attribute.

    Attributes:
        name: Its name.
        unit: Its unit as OpenTelemetry writes units, ``"1"`` for plain numbers; empty for what
            is not a number.
        description: What it means, in a few words of Markdown.
        read: Reads the value from a request, a record, totals or an energy; an attribute
            whose value is None is not set.
    """

    name: str
    unit: str
    description: str
    read: Callable[[S], Any]


Read = Callable[[CallRecord], Any]
"""Reads the value of an attribute from a call."""


def _read_grams(read_joules: Callable[[CallRecord], Any]) -> Read:
    """Reads what an energy emits, where the settings name the electricity."""
    return lambda record: read_carbon(record, read_joules(record))


@frozen()
class Field:
    """Reads a field of what a record holds: rows of one holder are read at once.

    Attributes:
        holder: Selects what has the field; None where there is none.
        name: The field.
    """

    holder: Callable[[Any], Any]
    name: str

    def __call__(self, source: Any) -> Any:
        """The field's value, None where nothing has it."""
        holder = self.holder(source)
        return None if holder is None else getattr(holder, self.name)


def _itself(source: Any) -> Any:
    return source


_estimate = attrgetter("estimate")
_calibrated = attrgetter("calibrated")
_intensity = attrgetter("intensity")


def _estimate_beside_measured(record: CallRecord) -> EnergyEstimate | None:
    """The estimate where the total is a measured energy."""
    return None if record.measured_energy_joules is None else record.estimate


def _read_count(name: str) -> Read:
    """Reads a reported count; one estimated from text is left out."""

    def read(record: CallRecord) -> Any:
        usage = record.usage
        return None if usage is None or name in usage.estimated else getattr(usage, name)

    return read


def _read_assumed(name: str) -> Read:
    """Reads what the calibrated number assumed, be it beside another or the estimate itself."""

    def read(record: CallRecord) -> Any:
        estimate = record.calibrated or record.estimate
        return None if estimate is None else estimate.assumed.get(name)

    return read


def _read_total_wh(record: CallRecord) -> float | None:
    joules = record.total_energy_joules
    return None if joules is None else wh_from_joules(joules)


def _read_range_end(name: str) -> Read:
    """Reads an end of the range of the total: that of a measured energy is the energy itself."""

    def read(record: CallRecord) -> Any:
        if record.measured_energy_joules is not None:
            return record.measured_energy_joules
        return record.estimate and getattr(record.estimate, name)

    return read


def _read_range_from(record: CallRecord) -> str | None:
    """Reads what made the range, which is the same for all calls of a profile and a method."""
    if record.estimate is None:
        return None
    return _name_parts(tuple(record.estimate.range_parts.items()))


@lru_cache(maxsize=256)
def _name_parts(parts: tuple[tuple[str, tuple[float, float]], ...]) -> str:
    return ",".join(widest_first(dict(parts)))


# A span of ours starts with these, the most important last: a small limit drops the oldest.
REQUEST_ATTRIBUTES: tuple[Attribute[CallRequest], ...] = (
    Attribute("server.port", "1", "port", Field(_itself, "server_port")),
    Attribute("server.address", "", "host", Field(_itself, "server_address")),
    Attribute(
        "gen_ai.request.stream", "", "only when streamed", lambda request: request.stream or None
    ),
    Attribute(
        "gen_ai.provider.name",
        "",
        "`openai`, `azure.ai.openai`, …",
        Field(_itself, "provider"),
    ),
    Attribute("gen_ai.operation.name", "", "`chat`, `embeddings`, …", Field(_itself, "operation")),
    Attribute("gen_ai.request.model", "", "model asked for", Field(_itself, "model")),
)
RESPONSE_ATTRIBUTES: tuple[Attribute[CallRecord], ...] = (
    Attribute("gen_ai.response.model", "", "model that answered", Field(_itself, "response_model")),
    Attribute("gen_ai.response.id", "", "id of the response", Field(_itself, "response_id")),
    Attribute(
        "gen_ai.response.time_to_first_chunk",
        "s",
        "of a stream",
        Field(_itself, "first_chunk_seconds"),
    ),
    Attribute("error.type", "", "what failed", Field(_itself, "error_type")),
)
TOKEN_ATTRIBUTES: tuple[Attribute[CallRecord], ...] = (
    Attribute(
        "gen_ai.usage.input_tokens",
        "{token}",
        "as reported, cached included",
        _read_count("input_tokens"),
    ),
    Attribute(
        "gen_ai.usage.output_tokens",
        "{token}",
        "as reported, reasoning included",
        _read_count("output_tokens"),
    ),
    Attribute(
        "gen_ai.usage.cache_read.input_tokens",
        "{token}",
        "part of the input read from a prompt cache",
        lambda record: record.usage and (record.usage.cached_input_tokens or None),
    ),
    Attribute(
        "gen_ai.usage.reasoning.output_tokens",
        "{token}",
        "part of the output that is reasoning",
        lambda record: record.usage and record.usage.reasoning_tokens,
    ),
)
ENERGY_ATTRIBUTES: tuple[Attribute[CallRecord], ...] = (
    Attribute(
        "energy_tracking.status",
        "",
        "`measured` by the server, `estimated`, `partial` (tokens estimated too), `unestimated`",
        Field(_itself, "status"),
    ),
    Attribute(
        "energy_tracking.reason",
        "",
        "why less is known than could be",
        Field(_itself, "reason"),
    ),
    Attribute(
        "energy_tracking.response_status",
        "",
        "how the response ended, if the server says: `completed`, `incomplete`, `failed`, …",
        Field(_itself, "response_status"),
    ),
    Attribute(
        "energy_tracking.total_energy_joules",
        "J",
        "energy of the call: measured if the server does, else estimated",
        Field(_itself, "total_energy_joules"),
    ),
    Attribute("energy_tracking.total_energy_wh", "Wh", "the same", _read_total_wh),
    Attribute(
        "energy_tracking.estimated_energy_joules",
        "J",
        "the estimate beside a measured energy",
        Field(_estimate_beside_measured, "total_energy_joules"),
    ),
    Attribute(
        "energy_tracking.estimated_energy_low_joules",
        "J",
        "its 90 % range, low end",
        Field(_estimate_beside_measured, "total_energy_low_joules"),
    ),
    Attribute(
        "energy_tracking.estimated_energy_high_joules",
        "J",
        "the same, high end",
        Field(_estimate_beside_measured, "total_energy_high_joules"),
    ),
    Attribute(
        "energy_tracking.prefill_energy_joules",
        "J",
        "estimate for reading the prompt",
        Field(_estimate, "prefill_energy_joules"),
    ),
    Attribute(
        "energy_tracking.decode_energy_joules",
        "J",
        "estimate for generating the output",
        Field(_estimate, "decode_energy_joules"),
    ),
    Attribute(
        "energy_tracking.reasoning_energy_joules",
        "J",
        "part of the decode energy, where known",
        Field(_estimate, "reasoning_energy_joules"),
    ),
    Attribute(
        "energy_tracking.cache_avoided_energy_joules",
        "J",
        "what the estimate would be more by without the prompt cache",
        Field(_itself, "cache_avoided_energy_joules"),
    ),
    Attribute(
        "energy_tracking.total_energy_low_joules",
        "J",
        "90 % range of the energy, low end; of a measured one the energy itself",
        _read_range_end("total_energy_low_joules"),
    ),
    Attribute(
        "energy_tracking.total_energy_high_joules",
        "J",
        "the same, high end",
        _read_range_end("total_energy_high_joules"),
    ),
    Attribute(
        "energy_tracking.calibrated_energy_joules",
        "J",
        "the calibrated number beside that of `reference`: what `roofline` estimates",
        Field(_calibrated, "total_energy_joules"),
    ),
    Attribute(
        "energy_tracking.calibrated_energy_low_joules",
        "J",
        "its 90 % range, low end",
        Field(_calibrated, "total_energy_low_joules"),
    ),
    Attribute(
        "energy_tracking.calibrated_energy_high_joules",
        "J",
        "the same, high end",
        Field(_calibrated, "total_energy_high_joules"),
    ),
    Attribute(
        "energy_tracking.total_carbon_grams",
        "g",
        "CO2e of `total_energy_joules`, where `region` or `grams_per_kwh` is set",
        _read_grams(lambda record: record.total_energy_joules),
    ),
    Attribute(
        "energy_tracking.total_carbon_low_grams",
        "g",
        "the same of the low end of its range",
        _read_grams(_read_range_end("total_energy_low_joules")),
    ),
    Attribute(
        "energy_tracking.total_carbon_high_grams",
        "g",
        "the same of the high end",
        _read_grams(_read_range_end("total_energy_high_joules")),
    ),
    Attribute(
        "energy_tracking.calibrated_carbon_grams",
        "g",
        "CO2e of `calibrated_energy_joules`",
        _read_grams(Field(_calibrated, "total_energy_joules")),
    ),
    Attribute(
        "energy_tracking.grams_per_kwh",
        "g/kWh",
        "CO2e of the electricity",
        Field(_intensity, "grams_per_kwh"),
    ),
    Attribute(
        "energy_tracking.carbon_source",
        "",
        "where that is from: zone, year and source",
        Field(_intensity, "source"),
    ),
    Attribute(
        "energy_tracking.assumed.sequences",
        "1",
        "what the calibrated number assumes: sequences decoded together, on all GPUs",
        _read_assumed("sequences"),
    ),
    Attribute(
        "energy_tracking.assumed.num_gpus",
        "1",
        "GPUs that hold the model",
        _read_assumed("num_gpus"),
    ),
    Attribute(
        "energy_tracking.assumed.weight_bytes",
        "By",
        "bytes per weight as served",
        _read_assumed("weight_bytes"),
    ),
    Attribute(
        "energy_tracking.assumed.weight_format",
        "",
        "format of the weights",
        _read_assumed("weight_format"),
    ),
    Attribute(
        "energy_tracking.assumed.expert_parallel",
        "1",
        "GPUs that the experts are spread over, where set",
        _read_assumed("expert_parallel"),
    ),
    Attribute(
        "energy_tracking.assumed.engine_year",
        "1",
        "year of the serving engine, where set",
        _read_assumed("engine_year"),
    ),
    Attribute(
        "energy_tracking.assumed.speculative",
        "",
        "whether drafts are checked, where set",
        _read_assumed("speculative"),
    ),
    Attribute(
        "energy_tracking.assumed.timing_evidence",
        "",
        "what became of a stream's speed, where it was to be used, and why",
        _read_assumed("timing_evidence"),
    ),
    Attribute(
        "energy_tracking.range_from",
        "",
        "what made the range of the estimate, widest first",
        _read_range_from,
    ),
    Attribute(
        "energy_tracking.total_flops",
        "{FLOP}",
        "floating-point operations of the estimate",
        Field(_estimate, "total_flops"),
    ),
    Attribute(
        "energy_tracking.reasoning_factor",
        "1",
        "factor applied",
        Field(_estimate, "reasoning_factor"),
    ),
    Attribute(
        "energy_tracking.attention_mode",
        "",
        "`quadratic`, `linear`",
        Field(_estimate, "attention_mode"),
    ),
    Attribute("energy_tracking.gpu", "", "GPU profile", Field(_estimate, "gpu")),
    Attribute(
        "energy_tracking.scope",
        "",
        "`gpu`: the boards alone; `facility`: the whole data centre",
        Field(_estimate, "scope"),
    ),
    Attribute(
        "energy_tracking.model_profile", "", "model profile", Field(_estimate, "model_profile")
    ),
    Attribute(
        "energy_tracking.model_match", "", "rule that found it", Field(_itself, "model_match")
    ),
    Attribute("energy_tracking.grade", "", "confidence in it, A to E", Field(_estimate, "grade")),
    Attribute("energy_tracking.method", "", "estimator", Field(_estimate, "method")),
    Attribute(
        "energy_tracking.method_version", "", "its version", Field(_estimate, "method_version")
    ),
    Attribute(
        "energy_tracking.tokens_estimated",
        "",
        "counts estimated from text",
        lambda record: (record.usage and ",".join(record.usage.estimated)) or None,
    ),
    Attribute(
        "energy_tracking.tokens_repaired",
        "",
        "what was wrong with the usage",
        lambda record: (record.usage and "; ".join(record.usage.repairs)) or None,
    ),
    Attribute("energy_tracking.retries", "1", "by the SDK", lambda record: record.retries or None),
    Attribute("energy_tracking.session.name", "", "innermost session", Field(_itself, "session")),
)
# Read from the energy of the call's session, this call included [J].
SESSION_ATTRIBUTES: tuple[Attribute[float], ...] = (
    Attribute(
        "energy_tracking.session.total_energy_wh",
        "Wh",
        "its running total; to be read, never summed",
        wh_from_joules,
    ),
)
# Other names than the leaves, so that a sum over spans counts no call twice.
ROLLUP_ATTRIBUTES: tuple[Attribute[Totals], ...] = (
    Attribute(
        "energy_tracking.rollup.calls", "{call}", "calls inside", lambda totals: totals.calls
    ),
    Attribute(
        "energy_tracking.rollup.partial_calls",
        "{call}",
        "from estimated tokens",
        lambda totals: totals.partial_calls,
    ),
    Attribute(
        "energy_tracking.rollup.unestimated_calls",
        "{call}",
        "energy unknown",
        lambda totals: totals.unestimated_calls,
    ),
    Attribute(
        "energy_tracking.rollup.failed_calls",
        "{call}",
        "raised, no tokens",
        lambda totals: totals.failed_calls,
    ),
    Attribute(
        "energy_tracking.rollup.input_tokens",
        "{token}",
        "in sum",
        lambda totals: totals.input_tokens,
    ),
    Attribute(
        "energy_tracking.rollup.output_tokens",
        "{token}",
        "in sum",
        lambda totals: totals.output_tokens,
    ),
    Attribute(
        "energy_tracking.rollup.total_energy_joules",
        "J",
        "in sum",
        lambda totals: totals.total_energy_joules,
    ),
    Attribute(
        "energy_tracking.rollup.total_energy_wh",
        "Wh",
        "the same",
        lambda totals: totals.total_energy_wh,
    ),
    Attribute(
        "energy_tracking.rollup.total_energy_low_joules",
        "J",
        "90 % range of the sum, low end",
        lambda totals: totals.total_energy_low_joules,
    ),
    Attribute(
        "energy_tracking.rollup.total_energy_high_joules",
        "J",
        "the same, high end",
        lambda totals: totals.total_energy_high_joules,
    ),
    Attribute(
        "energy_tracking.rollup.calibrated_energy_joules",
        "J",
        "the calibrated number in sum",
        lambda totals: totals.calibrated_energy_joules if totals.calibrated_calls else None,
    ),
    Attribute(
        "energy_tracking.rollup.calibrated_calls",
        "{call}",
        "calls in that sum",
        lambda totals: totals.calibrated_calls,
    ),
)


MOST_IMPORTANT = (
    "energy_tracking.total_energy_joules",
    "energy_tracking.status",
    "energy_tracking.rollup.total_energy_joules",
    "energy_tracking.rollup.calls",
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.output_tokens",
    "gen_ai.response.model",
    "error.type",
    "energy_tracking.reason",
    "energy_tracking.total_energy_low_joules",
    "energy_tracking.total_energy_high_joules",
    "energy_tracking.calibrated_energy_joules",
    "energy_tracking.method",
    "energy_tracking.gpu",
    "energy_tracking.total_energy_wh",
)
"""What a span that does not hold all keeps first; then come tags, then the order of the tables."""

_RANKS = {name: rank for rank, name in enumerate(MOST_IMPORTANT)}


def most_important_first(names: Iterable[str]) -> list[str]:
    """Sort names of attributes: the most important, tags, and the others as they come."""
    beside = len(MOST_IMPORTANT)
    return sorted(
        names, key=lambda name: _RANKS.get(name, beside + (not name.startswith(TAG_PREFIX)))
    )


class AttributeReader(Generic[SourceT]):
    """Reads the attributes of a table, in its order."""

    def __init__(self, rows: Iterable[Attribute[SourceT]]) -> None:
        """Find what can be read at once.

        Args:
            rows: The table.
        """
        fields: dict[Callable[[Any], Any], dict[str, str]] = {}
        self._others: list[tuple[str, Callable[[SourceT], Any]]] = []
        names = []
        for row in rows:
            names.append(row.name)
            if isinstance(row.read, Field):
                fields.setdefault(row.read.holder, {})[row.name] = row.read.name
            else:
                self._others.append((row.name, row.read))
        self._unread: dict[str, Any] = dict.fromkeys(names)
        # A getter of one field returns no tuple.
        self._fields = [
            (holder, tuple(named), attrgetter(*named.values(), next(iter(named.values()))))
            for holder, named in fields.items()
        ]

    def read(self, source: SourceT) -> dict[str, Any]:
        """The attributes that have a value, by name.

        Args:
            source: What they are read from.
        """
        values = self._unread.copy()
        for select, names, get in self._fields:
            holder = select(source)
            if holder is not None:
                values.update(zip(names, get(holder), strict=False))
        for name, read in self._others:
            values[name] = read(source)
        # Span attributes would take NaN without a word.
        return {
            name: value
            for name, value in values.items()
            if value is not None and not (isinstance(value, float) and not isfinite(value))
        }


read_request = AttributeReader(REQUEST_ATTRIBUTES).read
read_rollup = AttributeReader(ROLLUP_ATTRIBUTES).read
_read_session = AttributeReader(SESSION_ATTRIBUTES).read

# What a span says of a call: our own, our own beside another's with the tokens, another's.
OF_OWN_SPAN = AttributeReader(RESPONSE_ATTRIBUTES + TOKEN_ATTRIBUTES + ENERGY_ATTRIBUTES)
OF_SPAN_BESIDE = AttributeReader(RESPONSE_ATTRIBUTES + ENERGY_ATTRIBUTES)
OF_OTHERS_SPAN = AttributeReader(ENERGY_ATTRIBUTES)


def call_attributes(
    reader: AttributeReader[CallRecord],
    record: CallRecord,
    running_total_energy_joules: float | None,
) -> dict[str, Any]:
    """The attributes of a call's span.

    Args:
        reader: Reads those of the record.
        record: The call.
        running_total_energy_joules: Energy of its session, this call included [J]; None where
            there is none.
    """
    attributes = reader.read(record)
    if running_total_energy_joules is not None:
        attributes |= _read_session(running_total_energy_joules)
    for name, value in record.tags.items():
        attributes[TAG_PREFIX + name] = value
    return attributes
