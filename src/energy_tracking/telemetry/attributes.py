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

from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeVar

from energy_tracking.calls.record import CallRecord, CallRequest
from energy_tracking.calls.totals import Totals
from energy_tracking.telemetry.attribute import Attribute
from energy_tracking.telemetry.server_attributes import SERVER_ATTRIBUTES
from energy_tracking.telemetry.values import (
    CALIBRATED,
    ESTIMATE,
    INTENSITY,
    MEASUREMENT,
    Entry,
    Field,
    estimate_beside_measured,
    find_assumed,
    find_energy,
    find_grams,
    find_tokens,
    itself,
    read_range_from,
)
from energy_tracking.units import wh_from_joules

if TYPE_CHECKING:
    from energy_tracking.calls.carbon import Emissions

SCOPE = "energy_tracking"
SCHEMA_URL = "https://opentelemetry.io/schemas/1.41.0"
TAG_PREFIX = "energy_tracking.tag."

SourceT = TypeVar("SourceT", CallRequest, CallRecord, Totals, "Emissions", float)


# A span of ours starts with these, the most important last: a small limit drops the oldest.
REQUEST_ATTRIBUTES: tuple[Attribute[CallRequest], ...] = (
    Attribute("server.port", "1", "port", Field(itself, "server_port")),
    Attribute("server.address", "", "host", Field(itself, "server_address")),
    Attribute(
        "gen_ai.request.stream", "", "only when streamed", lambda request: request.stream or None
    ),
    Attribute(
        "gen_ai.provider.name",
        "",
        "`openai`, `azure.ai.openai`, …",
        Field(itself, "provider"),
    ),
    Attribute("gen_ai.operation.name", "", "`chat`, `embeddings`, …", Field(itself, "operation")),
    Attribute("gen_ai.request.model", "", "model asked for", Field(itself, "model")),
)
RESPONSE_ATTRIBUTES: tuple[Attribute[CallRecord], ...] = (
    Attribute("gen_ai.response.model", "", "model that answered", Field(itself, "response_model")),
    Attribute("gen_ai.response.id", "", "id of the response", Field(itself, "response_id")),
    Attribute(
        "gen_ai.response.time_to_first_chunk",
        "s",
        "of a stream",
        Field(itself, "first_chunk_seconds"),
    ),
    Attribute("error.type", "", "what failed", Field(itself, "error_type")),
)
TOKEN_ATTRIBUTES: tuple[Attribute[CallRecord], ...] = (
    Attribute(
        "gen_ai.usage.input_tokens",
        "{token}",
        "as reported, cached included",
        Field(find_tokens, "input"),
    ),
    Attribute(
        "gen_ai.usage.output_tokens",
        "{token}",
        "as reported, reasoning included",
        Field(find_tokens, "output"),
    ),
    Attribute(
        "gen_ai.usage.cache_read.input_tokens",
        "{token}",
        "part of the input read from a prompt cache",
        Field(find_tokens, "cached"),
    ),
    Attribute(
        "gen_ai.usage.reasoning.output_tokens",
        "{token}",
        "part of the output that is reasoning",
        Field(find_tokens, "reasoning"),
    ),
)
ENERGY_ATTRIBUTES: tuple[Attribute[CallRecord], ...] = (
    Attribute(
        "energy_tracking.status",
        "",
        "`measured` by the server or its meter, `estimated`, `partial` (tokens estimated too),"
        " `unestimated`",
        Field(itself, "status"),
    ),
    Attribute(
        "energy_tracking.reason",
        "",
        "why less is known than could be",
        Field(itself, "reason"),
    ),
    Attribute(
        "energy_tracking.response_status",
        "",
        "how the response ended, if the server says: `completed`, `incomplete`, `failed`, …",
        Field(itself, "response_status"),
    ),
    Attribute(
        "energy_tracking.total_energy_joules",
        "J",
        "energy of the call: measured if the server or its meter does, else estimated",
        Field(find_energy, "joules"),
    ),
    Attribute("energy_tracking.total_energy_wh", "Wh", "the same", Field(find_energy, "wh")),
    Attribute(
        "energy_tracking.measured_by",
        "",
        "the meter that `energy_meter` names, where it measured the call",
        Field(MEASUREMENT, "measured_by"),
    ),
    Attribute(
        "energy_tracking.measured_window_seconds",
        "s",
        "time between its readings around the call",
        Field(MEASUREMENT, "window_seconds"),
    ),
    Attribute(
        "energy_tracking.measured_share",
        "1",
        "the call's part of what it counted in that time",
        Field(MEASUREMENT, "share"),
    ),
    Attribute(
        "energy_tracking.measured_idle_joules",
        "J",
        "what it counted in that time while nothing ran, of no call",
        Field(MEASUREMENT, "idle_joules"),
    ),
    Attribute(
        "energy_tracking.estimated_energy_joules",
        "J",
        "the estimate beside a measured energy",
        Field(estimate_beside_measured, "total_energy_joules"),
    ),
    Attribute(
        "energy_tracking.estimated_energy_low_joules",
        "J",
        "its 90 % range, low end",
        Field(estimate_beside_measured, "total_energy_low_joules"),
    ),
    Attribute(
        "energy_tracking.estimated_energy_high_joules",
        "J",
        "the same, high end",
        Field(estimate_beside_measured, "total_energy_high_joules"),
    ),
    Attribute(
        "energy_tracking.prefill_energy_joules",
        "J",
        "estimate for reading the prompt",
        Field(ESTIMATE, "prefill_energy_joules"),
    ),
    Attribute(
        "energy_tracking.decode_energy_joules",
        "J",
        "estimate for generating the output",
        Field(ESTIMATE, "decode_energy_joules"),
    ),
    Attribute(
        "energy_tracking.reasoning_energy_joules",
        "J",
        "part of the decode energy, where known",
        Field(ESTIMATE, "reasoning_energy_joules"),
    ),
    Attribute(
        "energy_tracking.cache_avoided_energy_joules",
        "J",
        "what the estimate would be more by without the prompt cache",
        Field(itself, "cache_avoided_energy_joules"),
    ),
    Attribute(
        "energy_tracking.total_energy_low_joules",
        "J",
        "90 % range of the energy, low end; of a measured one the energy itself",
        Field(find_energy, "low_joules"),
    ),
    Attribute(
        "energy_tracking.total_energy_high_joules",
        "J",
        "the same, high end",
        Field(find_energy, "high_joules"),
    ),
    Attribute(
        "energy_tracking.calibrated_energy_joules",
        "J",
        "the calibrated number beside that of `reference`: what `roofline` estimates",
        Field(CALIBRATED, "total_energy_joules"),
    ),
    Attribute(
        "energy_tracking.calibrated_energy_low_joules",
        "J",
        "its 90 % range, low end",
        Field(CALIBRATED, "total_energy_low_joules"),
    ),
    Attribute(
        "energy_tracking.calibrated_energy_high_joules",
        "J",
        "the same, high end",
        Field(CALIBRATED, "total_energy_high_joules"),
    ),
    Attribute(
        "energy_tracking.total_carbon_grams",
        "g",
        "CO2e of `total_energy_joules`, where `region` or `grams_per_kwh` is set",
        Field(find_grams, "total"),
    ),
    Attribute(
        "energy_tracking.total_carbon_low_grams",
        "g",
        "the same of the low end of its range",
        Field(find_grams, "low"),
    ),
    Attribute(
        "energy_tracking.total_carbon_high_grams",
        "g",
        "the same of the high end",
        Field(find_grams, "high"),
    ),
    Attribute(
        "energy_tracking.calibrated_carbon_grams",
        "g",
        "CO2e of `calibrated_energy_joules`",
        Field(find_grams, "calibrated"),
    ),
    Attribute(
        "energy_tracking.grams_per_kwh",
        "g/kWh",
        "CO2e of the electricity",
        Field(INTENSITY, "grams_per_kwh"),
    ),
    Attribute(
        "energy_tracking.carbon_source",
        "",
        "where that is from: zone, year and source",
        Field(INTENSITY, "source"),
    ),
    Attribute(
        "energy_tracking.assumed.sequences",
        "1",
        "what the calibrated number assumes: sequences decoded together, on all GPUs",
        Entry(find_assumed, "sequences"),
    ),
    Attribute(
        "energy_tracking.assumed.num_gpus",
        "1",
        "GPUs that hold the model",
        Entry(find_assumed, "num_gpus"),
    ),
    Attribute(
        "energy_tracking.assumed.weight_bytes",
        "By",
        "bytes per weight as served",
        Entry(find_assumed, "weight_bytes"),
    ),
    Attribute(
        "energy_tracking.assumed.weight_format",
        "",
        "format of the weights",
        Entry(find_assumed, "weight_format"),
    ),
    Attribute(
        "energy_tracking.assumed.expert_parallel",
        "1",
        "GPUs that the experts are spread over, where set",
        Entry(find_assumed, "expert_parallel"),
    ),
    Attribute(
        "energy_tracking.assumed.engine_year",
        "1",
        "year of the serving engine, where set",
        Entry(find_assumed, "engine_year"),
    ),
    Attribute(
        "energy_tracking.assumed.speculative",
        "",
        "whether drafts are checked, where set",
        Entry(find_assumed, "speculative"),
    ),
    Attribute(
        "energy_tracking.assumed.calibration",
        "",
        "the factor that the calibrated number has by the file that `calibration` names",
        Entry(find_assumed, "calibration"),
    ),
    Attribute(
        "energy_tracking.assumed.timing_evidence",
        "",
        "what became of a stream's speed, where it was to be used, and why",
        Entry(find_assumed, "timing_evidence"),
    ),
    Attribute(
        "energy_tracking.range_from",
        "",
        "what made the range of the estimate, widest first",
        read_range_from,
    ),
    Attribute(
        "energy_tracking.total_flops",
        "{FLOP}",
        "floating-point operations of the estimate",
        Field(ESTIMATE, "total_flops"),
    ),
    Attribute(
        "energy_tracking.reasoning_factor",
        "1",
        "factor applied",
        Field(ESTIMATE, "reasoning_factor"),
    ),
    Attribute(
        "energy_tracking.attention_mode",
        "",
        "`quadratic`, `linear`",
        Field(ESTIMATE, "attention_mode"),
    ),
    Attribute("energy_tracking.gpu", "", "GPU profile", Field(ESTIMATE, "gpu")),
    Attribute(
        "energy_tracking.scope",
        "",
        "`gpu`: the boards alone; `facility`: the whole data centre",
        Field(ESTIMATE, "scope"),
    ),
    Attribute(
        "energy_tracking.model_profile", "", "model profile", Field(ESTIMATE, "model_profile")
    ),
    Attribute(
        "energy_tracking.model_match", "", "rule that found it", Field(itself, "model_match")
    ),
    Attribute("energy_tracking.grade", "", "confidence in it, A to E", Field(ESTIMATE, "grade")),
    Attribute("energy_tracking.method", "", "estimator", Field(ESTIMATE, "method")),
    Attribute(
        "energy_tracking.method_version", "", "its version", Field(ESTIMATE, "method_version")
    ),
    Attribute(
        "energy_tracking.tokens_estimated",
        "",
        "counts estimated from text",
        Field(find_tokens, "estimated"),
    ),
    Attribute(
        "energy_tracking.tokens_repaired",
        "",
        "what was wrong with the usage",
        Field(find_tokens, "repairs"),
    ),
    *SERVER_ATTRIBUTES,
    Attribute("energy_tracking.retries", "1", "by the SDK", lambda record: record.retries or None),
    Attribute("energy_tracking.session.name", "", "innermost session", Field(itself, "session")),
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

ROLLUP_GRAMS_ATTRIBUTES: tuple[Attribute[Emissions], ...] = (
    Attribute(
        "energy_tracking.rollup.total_carbon_grams",
        "g",
        "CO2e in sum, where `region` or `grams_per_kwh` is set",
        lambda emissions: emissions.grams["total_carbon_grams"],
    ),
    Attribute(
        "energy_tracking.rollup.total_carbon_low_grams",
        "g",
        "the same of the low end of its range",
        lambda emissions: emissions.grams["total_carbon_low_grams"],
    ),
    Attribute(
        "energy_tracking.rollup.total_carbon_high_grams",
        "g",
        "the same of the high end",
        lambda emissions: emissions.grams["total_carbon_high_grams"],
    ),
    Attribute(
        "energy_tracking.rollup.calibrated_carbon_grams",
        "g",
        "CO2e of the calibrated number in sum",
        lambda emissions: emissions.grams["calibrated_carbon_grams"] or None,
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
