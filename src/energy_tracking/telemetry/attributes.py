"""The tables of attributes: what a span says of a call, one row each.

A row names the attribute, its unit and what it means. ``reading`` gives it its value, in the order
of the rows. What ``energy-tracking help attributes`` prints is made of them.

Names: energy lives under ``energy_tracking.``, since OpenTelemetry has no convention for
the energy of a GenAI call and reserves ``gen_ai.`` for its own. Token and request facts use
the GenAI semantic conventions of version 1.41. No name is a prefix of another one.
Source: https://github.com/open-telemetry/semantic-conventions/tree/v1.41.0/docs/gen-ai

Where the next row goes: into the table of what its value is read from: a request, a record, the
session or the totals of a function; and the line that reads it into ``reading``.
"""

from __future__ import annotations

from typing import NamedTuple


class Attribute(NamedTuple):
    """One attribute.

    Attributes:
        name: Its name.
        unit: Its unit as OpenTelemetry writes units, ``"1"`` for plain numbers; empty for what
            is not a number.
        description: What it means, in a few words of Markdown.
    """

    name: str
    unit: str
    description: str


# A span of ours starts with these, the most important last: a small limit drops the oldest.
REQUEST_ATTRIBUTES: tuple[Attribute, ...] = (
    Attribute("server.port", "1", "port"),
    Attribute("server.address", "", "host"),
    Attribute("gen_ai.request.stream", "", "only when streamed"),
    Attribute("gen_ai.provider.name", "", "`openai`, `azure.ai.openai`, …"),
    Attribute("gen_ai.operation.name", "", "`chat`, `embeddings`, …"),
    Attribute("gen_ai.request.model", "", "model asked for"),
)
RESPONSE_ATTRIBUTES: tuple[Attribute, ...] = (
    Attribute("gen_ai.response.model", "", "model that answered"),
    Attribute("gen_ai.response.id", "", "id of the response"),
    Attribute("gen_ai.response.time_to_first_chunk", "s", "of a stream"),
    Attribute("error.type", "", "what failed"),
)
TOKEN_ATTRIBUTES: tuple[Attribute, ...] = (
    Attribute("gen_ai.usage.input_tokens", "{token}", "as reported, cached included"),
    Attribute("gen_ai.usage.output_tokens", "{token}", "as reported, reasoning included"),
    Attribute(
        "gen_ai.usage.cache_read.input_tokens",
        "{token}",
        "part of the input read from a prompt cache",
    ),
    Attribute(
        "gen_ai.usage.reasoning.output_tokens", "{token}", "part of the output that is reasoning"
    ),
)
ENERGY_ATTRIBUTES: tuple[Attribute, ...] = (
    Attribute(
        "energy_tracking.status",
        "",
        "`measured` by the server or its meter, `estimated`, `partial` (tokens estimated too),"
        " `unestimated`",
    ),
    Attribute("energy_tracking.reason", "", "why less is known than could be"),
    Attribute(
        "energy_tracking.total_energy_joules",
        "J",
        "energy of the call: measured if the server or its meter does, else estimated",
    ),
    Attribute(
        "energy_tracking.total_energy_low_joules",
        "J",
        "90 % range of the energy, low end; of a measured one the energy itself",
    ),
    Attribute("energy_tracking.total_energy_high_joules", "J", "the same, high end"),
    Attribute("energy_tracking.total_energy_wh", "Wh", "the same"),
    Attribute(
        "energy_tracking.response_status",
        "",
        "how the response ended, if the server says: `completed`, `incomplete`, `failed`, …",
    ),
    Attribute(
        "energy_tracking.measured_by",
        "",
        "the meter that `energy_meter` names, where it measured the call",
    ),
    Attribute(
        "energy_tracking.measured_window_seconds", "s", "time between its readings around the call"
    ),
    Attribute(
        "energy_tracking.measured_share", "1", "the call's part of what it counted in that time"
    ),
    Attribute(
        "energy_tracking.measured_idle_joules",
        "J",
        "what it counted in that time while nothing ran, of no call",
    ),
    Attribute(
        "energy_tracking.estimated_energy_joules", "J", "the estimate beside a measured energy"
    ),
    Attribute("energy_tracking.estimated_energy_low_joules", "J", "its 90 % range, low end"),
    Attribute("energy_tracking.estimated_energy_high_joules", "J", "the same, high end"),
    Attribute("energy_tracking.prefill_energy_joules", "J", "estimate for reading the prompt"),
    Attribute("energy_tracking.decode_energy_joules", "J", "estimate for generating the output"),
    Attribute(
        "energy_tracking.reasoning_energy_joules", "J", "part of the decode energy, where known"
    ),
    Attribute(
        "energy_tracking.range_from", "", "what made the range of the estimate, widest first"
    ),
    Attribute("energy_tracking.total_flops", "{FLOP}", "floating-point operations of the estimate"),
    Attribute("energy_tracking.reasoning_factor", "1", "factor applied"),
    Attribute("energy_tracking.attention_mode", "", "`quadratic`, `linear`"),
    Attribute("energy_tracking.gpu", "", "GPU profile"),
    Attribute(
        "energy_tracking.scope", "", "`gpu`: the boards alone; `facility`: the whole data centre"
    ),
    Attribute("energy_tracking.model_profile", "", "model profile"),
    Attribute("energy_tracking.grade", "", "confidence in it, A to E"),
    Attribute("energy_tracking.method", "", "estimator"),
    Attribute("energy_tracking.method_version", "", "its version"),
    Attribute("energy_tracking.model_match", "", "rule that found it"),
    Attribute(
        "energy_tracking.cache_avoided_energy_joules",
        "J",
        "what the estimate would be more by without the prompt cache",
    ),
    Attribute(
        "energy_tracking.calibrated_energy_joules",
        "J",
        "the calibrated number beside that of `reference`: what `roofline` estimates",
    ),
    Attribute("energy_tracking.calibrated_energy_low_joules", "J", "its 90 % range, low end"),
    Attribute("energy_tracking.calibrated_energy_high_joules", "J", "the same, high end"),
    Attribute(
        "energy_tracking.assumed.sequences",
        "1",
        "what the calibrated number assumes: sequences decoded together, on all GPUs",
    ),
    Attribute("energy_tracking.assumed.num_gpus", "1", "GPUs that hold the model"),
    Attribute("energy_tracking.assumed.weight_bytes", "By", "bytes per weight as served"),
    Attribute("energy_tracking.assumed.weight_format", "", "format of the weights"),
    Attribute(
        "energy_tracking.assumed.expert_parallel",
        "1",
        "GPUs that the experts are spread over, where set",
    ),
    Attribute("energy_tracking.assumed.engine_year", "1", "year of the serving engine, where set"),
    Attribute("energy_tracking.assumed.speculative", "", "whether drafts are checked, where set"),
    Attribute(
        "energy_tracking.assumed.calibration",
        "",
        "the factor that the calibrated number has by the file that `calibration` names",
    ),
    Attribute(
        "energy_tracking.assumed.timing_evidence",
        "",
        "what became of a stream's speed, where it was to be used, and why",
    ),
    Attribute(
        "energy_tracking.assumed.concurrency_source",
        "",
        "where `assumed.sequences` was read, if it was: see `server_metrics`",
    ),
    Attribute(
        "energy_tracking.total_carbon_grams",
        "g",
        "CO2e of `total_energy_joules`, where `region` or `grams_per_kwh` is set",
    ),
    Attribute(
        "energy_tracking.total_carbon_low_grams", "g", "the same of the low end of its range"
    ),
    Attribute("energy_tracking.total_carbon_high_grams", "g", "the same of the high end"),
    Attribute("energy_tracking.calibrated_carbon_grams", "g", "CO2e of `calibrated_energy_joules`"),
    Attribute("energy_tracking.grams_per_kwh", "g/kWh", "CO2e of the electricity"),
    Attribute("energy_tracking.carbon_source", "", "where that is from: zone, year and source"),
    Attribute("energy_tracking.tokens_estimated", "", "counts estimated from text"),
    Attribute("energy_tracking.tokens_repaired", "", "what was wrong with the usage"),
    Attribute(
        "energy_tracking.server.running_requests",
        "1",
        "requests that shared a step of the server, mean over the call",
    ),
    Attribute("energy_tracking.server.model", "", "the model there, as its metrics page names it"),
    Attribute(
        "energy_tracking.server.output_tokens_per_second",
        "{token}/s",
        "what it generated for all its requests meanwhile",
    ),
    Attribute(
        "energy_tracking.server.cached_share",
        "1",
        "part of its prompt tokens that came out of its prefix cache",
    ),
    Attribute(
        "energy_tracking.server.queue_seconds",
        "s",
        "by the server's clock, if it says: before anything was computed",
    ),
    Attribute("energy_tracking.server.prefill_seconds", "s", "the same: to read the prompt"),
    Attribute(
        "energy_tracking.server.decode_seconds", "s", "the same: from the first token to the last"
    ),
    Attribute(
        "energy_tracking.server.first_token_seconds",
        "s",
        "the same: from the request's arrival to its first token",
    ),
    Attribute("energy_tracking.server.total_seconds", "s", "the same: from its arrival to its end"),
    Attribute(
        "energy_tracking.server.timing_source",
        "",
        "the engine, provider or header that states these times",
    ),
    Attribute("energy_tracking.retries", "1", "by the SDK"),
    Attribute("energy_tracking.session.name", "", "innermost session"),
)
# Read from the energy of the call's session, this call included [J].
SESSION_ATTRIBUTES: tuple[Attribute, ...] = (
    Attribute(
        "energy_tracking.session.total_energy_wh",
        "Wh",
        "its running total; to be read, never summed",
    ),
    Attribute("energy_tracking.tag.NAME", "", "each tag of the session or of the process"),
)
# Other names than the leaves, so that a sum over spans counts no call twice.
ROLLUP_ATTRIBUTES: tuple[Attribute, ...] = (
    Attribute("energy_tracking.rollup.calls", "{call}", "calls inside"),
    Attribute("energy_tracking.rollup.partial_calls", "{call}", "from estimated tokens"),
    Attribute("energy_tracking.rollup.unestimated_calls", "{call}", "energy unknown"),
    Attribute("energy_tracking.rollup.failed_calls", "{call}", "raised, no tokens"),
    Attribute("energy_tracking.rollup.input_tokens", "{token}", "in sum"),
    Attribute("energy_tracking.rollup.output_tokens", "{token}", "in sum"),
    Attribute("energy_tracking.rollup.total_energy_joules", "J", "in sum"),
    Attribute("energy_tracking.rollup.total_energy_wh", "Wh", "the same"),
    Attribute(
        "energy_tracking.rollup.total_energy_low_joules", "J", "90 % range of the sum, low end"
    ),
    Attribute("energy_tracking.rollup.total_energy_high_joules", "J", "the same, high end"),
    Attribute(
        "energy_tracking.rollup.calibrated_energy_joules", "J", "the calibrated number in sum"
    ),
    Attribute("energy_tracking.rollup.calibrated_calls", "{call}", "calls in that sum"),
)
ROLLUP_GRAMS_ATTRIBUTES: tuple[Attribute, ...] = (
    Attribute(
        "energy_tracking.rollup.total_carbon_grams",
        "g",
        "CO2e in sum, where `region` or `grams_per_kwh` is set",
    ),
    Attribute(
        "energy_tracking.rollup.total_carbon_low_grams", "g", "the same of the low end of its range"
    ),
    Attribute("energy_tracking.rollup.total_carbon_high_grams", "g", "the same of the high end"),
    Attribute(
        "energy_tracking.rollup.calibrated_carbon_grams",
        "g",
        "CO2e of the calibrated number in sum",
    ),
)
