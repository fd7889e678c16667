"""A span says of a call what the record of it holds."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import chain
from math import inf, nan
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import INVALID_SPAN

from energy_tracking.calls.past import PastCall
from energy_tracking.calls.record import (
    CallRecord,
    CallRequest,
    Intensity,
    Measurement,
    status_of,
)
from energy_tracking.calls.session import Session
from energy_tracking.estimation import Estimation
from energy_tracking.estimator.evidence import ServerLoad
from energy_tracking.settings import SettingArguments, Settings
from energy_tracking.telemetry.attributes import (
    ENERGY_ATTRIBUTES,
    REQUEST_ATTRIBUTES,
    RESPONSE_ATTRIBUTES,
    TOKEN_ATTRIBUTES,
    Attribute,
)
from energy_tracking.telemetry.placing import attributes_of
from energy_tracking.telemetry.reading import DETAILS, call_attributes
from energy_tracking.usage.server_timing import ServerTiming

SETTINGS: list[SettingArguments] = [
    {},
    {"method": "roofline", "scope": "facility"},
    {"method": "roofline", "engine_year": 2024, "speculative": True, "expert_parallel": 4},
    {"gpu": "L40S", "attention_mode": "linear"},
]
CLOCKED = ServerTiming(
    source="vLLM",
    queue_seconds=0.1,
    prefill_seconds=0.2,
    first_token_seconds=0.3,
    total_seconds=0.4,
)
TIMED = ServerTiming(source="Groq", decode_seconds=1.5)
LOAD = ServerLoad(
    running_requests=2.0, source="page", model="m", output_tokens_per_second=9.5, cached_share=0.5
)
MEASUREMENT = Measurement(measured_by="a meter", window_seconds=2.0, share=0.5, idle_joules=3.0)
ESTIMATIONS = [Estimation(Settings.load(each, {})) for each in SETTINGS]


def random_record(rng: random.Random) -> CallRecord:
    """The record of a call of any kind."""
    inputs, outputs = rng.randrange(5_000), rng.randrange(5_000)
    usage = {
        "prompt_tokens": inputs,
        "completion_tokens": outputs,
        "prompt_tokens_details": {"cached_tokens": rng.randrange(inputs + 1)},
        "completion_tokens_details": {"reasoning_tokens": rng.randrange(2 * outputs + 1)},
    }
    model = rng.choice(("gpt-4o", "openai/gpt-oss-120b", "llama-3.1-8b", "no such model", None))
    joules = rng.choice((None, None, rng.random() * 1e4))
    past = PastCall(
        model=model, usage=rng.choice((usage, usage, None)), measured_energy_joules=joules
    )
    record = rng.choice(ESTIMATIONS).record(past)
    estimated: tuple[tuple[str, ...], ...] = ((), ("output_tokens",))
    record = replace(
        record,
        intensity=rng.choice((None, Intensity(rng.random() * 500, "here"))),
        usage=record.usage and replace(record.usage, estimated=rng.choice(estimated)),
        error_type=rng.choice((None, "APIError")),
        response_model=rng.choice((None, "gpt-4o-2024-08-06")),
        response_id=rng.choice((None, "chatcmpl-1")),
        response_status=rng.choice((None, "completed")),
        first_chunk_seconds=rng.choice((None, 0.25)),
        retries=rng.randrange(2),
        server_timing=rng.choice((None, CLOCKED, TIMED)),
        server_load=rng.choice((None, ServerLoad(running_requests=3.5, source="page"), LOAD)),
        measurement=rng.choice((None, MEASUREMENT)) if joules is not None else None,
    )
    if rng.random() < 0.1:
        # As of a record that somebody has made.
        record = replace(record, model_match=rng.choice((None, "exact")))
    status = status_of(record.usage, record.estimate, record.measured_energy_joules)
    calibrated = record.calibrated
    if calibrated is not None and rng.random() < 0.2:
        more: dict[str, Any] = {"calibration": "1.2", "timing_evidence": "not used"}
        more["concurrency_source"] = "a page"
        calibrated = replace(calibrated, assumed={**calibrated.assumed, **more})
    return replace(record, status=status, calibrated=calibrated)


def get(path: str, of: object) -> Any:
    """What stands at a path of fields; None where something on the way is None."""
    for name in path.split("."):
        of = of.get(name) if isinstance(of, Mapping) else getattr(of, name)
        if of is None:
            return None
    return of


def reported(count: str) -> Callable[[CallRecord], Any]:
    """Reads a count of tokens unless it is estimated."""

    def read(record: CallRecord) -> Any:
        usage = record.usage
        return None if usage is None or count in usage.estimated else getattr(usage, count)

    return read


def estimate_beside(path: str) -> Callable[[CallRecord], Any]:
    """Reads of the estimate where the energy is a measured one."""
    return lambda record: (
        None if record.measured_energy_joules is None else get(f"estimate.{path}", record)
    )


def range_end(path: str) -> Callable[[CallRecord], Any]:
    """Reads one end of the range; of a measured energy that itself."""
    return lambda record: (
        record.measured_energy_joules
        if record.measured_energy_joules is not None
        else get(f"estimate.{path}", record)
    )


def assumed(key: str) -> Callable[[CallRecord], Any]:
    """Reads what the calibrated number assumed, or else the estimate."""
    return lambda record: (
        get(f"calibrated.assumed.{key}", record)
        if record.calibrated is not None
        else get(f"estimate.assumed.{key}", record)
    )


def grams(read_joules: Callable[[CallRecord], Any]) -> Callable[[CallRecord], Any]:
    """What an energy emits."""

    def read(record: CallRecord) -> Any:
        joules, intensity = read_joules(record), record.intensity
        if joules is None or intensity is None:
            return None
        return joules / 3600 / 1000 * intensity.grams_per_kwh

    return read


def total(record: CallRecord) -> Any:
    return record.total_energy_joules


LOW, HIGH = range_end("total_energy_low_joules"), range_end("total_energy_high_joules")

OF_RECORD = {name: name for name in ("status", "reason", "response_status", "model_match")} | {
    "cache_avoided_energy_joules": "cache_avoided_energy_joules",
    "session.name": "session",
    "measured_by": "measurement.measured_by",
    "measured_window_seconds": "measurement.window_seconds",
    "measured_share": "measurement.share",
    "measured_idle_joules": "measurement.idle_joules",
    "calibrated_energy_joules": "calibrated.total_energy_joules",
    "calibrated_energy_low_joules": "calibrated.total_energy_low_joules",
    "calibrated_energy_high_joules": "calibrated.total_energy_high_joules",
    "grams_per_kwh": "intensity.grams_per_kwh",
    "carbon_source": "intensity.source",
    "server.running_requests": "server_load.running_requests",
    "server.model": "server_load.model",
    "server.output_tokens_per_second": "server_load.output_tokens_per_second",
    "server.cached_share": "server_load.cached_share",
    "server.timing_source": "server_timing.source",
}
OF_RECORD |= {
    name: f"estimate.{name}"
    for name in (
        *("prefill_energy_joules", "decode_energy_joules", "reasoning_energy_joules"),
        *("total_flops", "reasoning_factor", "attention_mode", "gpu", "scope", "model_profile"),
        *("grade", "method", "method_version"),
    )
}
OF_RECORD |= {
    f"server.{name}_seconds": f"server_timing.{name}_seconds"
    for name in ("queue", "prefill", "decode", "first_token", "total")
}
ASSUMED = (
    *("sequences", "num_gpus", "weight_bytes", "weight_format", "expert_parallel", "engine_year"),
    *("speculative", "calibration", "timing_evidence", "concurrency_source"),
)

READ: dict[str, Callable[[CallRecord], Any]] = {
    "gen_ai.response.model": partial(get, "response_model"),
    "gen_ai.response.id": partial(get, "response_id"),
    "gen_ai.response.time_to_first_chunk": partial(get, "first_chunk_seconds"),
    "error.type": partial(get, "error_type"),
    "gen_ai.usage.input_tokens": reported("input_tokens"),
    "gen_ai.usage.output_tokens": reported("output_tokens"),
    "gen_ai.usage.cache_read.input_tokens": lambda record: (
        get("usage.cached_input_tokens", record) or None
    ),
    "gen_ai.usage.reasoning.output_tokens": partial(get, "usage.reasoning_tokens"),
    "energy_tracking.total_energy_joules": total,
    "energy_tracking.total_energy_wh": lambda record: (
        None if record.total_energy_joules is None else record.total_energy_joules / 3600
    ),
    "energy_tracking.total_energy_low_joules": LOW,
    "energy_tracking.total_energy_high_joules": HIGH,
    "energy_tracking.total_carbon_grams": grams(total),
    "energy_tracking.total_carbon_low_grams": grams(LOW),
    "energy_tracking.total_carbon_high_grams": grams(HIGH),
    "energy_tracking.calibrated_carbon_grams": grams(
        partial(get, "calibrated.total_energy_joules")
    ),
    "energy_tracking.range_from": lambda record: (
        None if record.estimate is None else ",".join(record.estimate.range_from)
    ),
    "energy_tracking.retries": lambda record: record.retries or None,
    "energy_tracking.tokens_estimated": lambda record: (
        ",".join(get("usage.estimated", record) or ()) or None
    ),
    "energy_tracking.tokens_repaired": lambda record: (
        "; ".join(get("usage.repairs", record) or ()) or None
    ),
}
READ |= {f"energy_tracking.{name}": partial(get, path) for name, path in OF_RECORD.items()}
READ |= {f"energy_tracking.assumed.{key}": assumed(key) for key in ASSUMED}
READ |= {
    f"energy_tracking.estimated_energy{end}_joules": estimate_beside(f"total_energy{end}_joules")
    for end in ("", "_low", "_high")
}
"""Name -> what a span says, written down a second time, and slowly."""


def expected_of(record: CallRecord, names: Iterable[str]) -> dict[str, object]:
    """What a span is to say of a call under some names, in their order."""
    read = {name: READ[name](record) for name in names}
    return {name: value for name, value in read.items() if value is not None}


def names_of(*tables: tuple[Attribute, ...]) -> list[str]:
    return [row.name for row in chain(*tables)]


READERS = {
    ("full", "own"): names_of(RESPONSE_ATTRIBUTES, TOKEN_ATTRIBUTES, ENERGY_ATTRIBUTES),
    ("full", "beside"): names_of(RESPONSE_ATTRIBUTES, ENERGY_ATTRIBUTES),
    ("full", "others"): names_of(ENERGY_ATTRIBUTES),
}
ESSENTIAL = [
    *(f"energy_tracking.{name}" for name in ("status", "reason", "gpu", "model_profile", "method")),
    *(f"energy_tracking.total_energy{end}_joules" for end in ("", "_low", "_high")),
    "energy_tracking.total_carbon_grams",
]
READERS |= {("essential", span): ["error.type", *ESSENTIAL] for span in ("own", "beside")}
READERS |= {("essential", "others"): ESSENTIAL}


@pytest.mark.parametrize(("detail", "span"), READERS)
def test_a_span_says_what_the_record_holds(detail: str, span: str) -> None:
    rng, read = random.Random(13), getattr(DETAILS[detail], span)
    names, said, kinds = READERS[detail, span], set[str](), set[str]()
    for _ in range(500):
        record = random_record(rng)
        found, expected = read(record), expected_of(record, names)
        assert found == expected
        said |= found.keys()
        kinds.add(record.status)
    assert said == set(names)
    assert kinds == {"measured", "estimated", "partial", "unestimated"}


def test_a_span_says_it_in_the_order_of_the_tables() -> None:
    rng, names = random.Random(14), READERS["full", "own"]
    for _ in range(200):
        found = DETAILS["full"].own(random_record(rng))
        assert list(found) == [name for name in names if name in found]


@pytest.mark.parametrize("detail", DETAILS)
def test_a_span_says_from_its_start_what_was_asked_for(detail: str) -> None:
    request = CallRequest(
        operation="chat",
        provider="openai",
        model="gpt-4o",
        stream=True,
        server_address="host",
        server_port=1,
    )
    full = [1, "host", True, "openai", "chat", "gpt-4o"]
    expected = dict(zip(names_of(REQUEST_ATTRIBUTES), full, strict=True))
    if detail == "essential":
        expected = {name: expected[name] for name in list(expected)[3:]}
    assert list(DETAILS[detail].request(request).items()) == list(expected.items())
    bare = DETAILS[detail].request(CallRequest(operation="chat", provider="openai", model=None))
    assert bare == {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai"}


def test_what_is_no_number_is_left_out() -> None:
    record = ESTIMATIONS[0].record(PastCall(model="gpt-4o", usage={"prompt_tokens": 5}))
    assert record.estimate is not None
    session = Session("a")
    session.credit(record, None)
    broken = replace(record.estimate, decode_energy_joules=nan, total_energy_high_joules=inf)
    found = call_attributes(DETAILS["full"].own, replace(record, estimate=broken), session)
    left_out = {f"total_energy_{end}" for end in ("joules", "wh", "high_joules")}
    assert "energy_tracking.decode_energy_joules" not in found
    assert not {f"energy_tracking.{name}" for name in left_out} & found.keys()
    wh = found["energy_tracking.session.total_energy_wh"]
    assert wh == pytest.approx(session.total_energy_wh)


class BareMapping(Mapping[str, int]):
    """A mapping that has no more than it must."""

    def __getitem__(self, name: str) -> int:
        return {"a": 1}[name]

    def __iter__(self) -> Iterator[str]:
        return iter("a")

    def __len__(self) -> int:
        return 1


@pytest.mark.parametrize("held", [{"a": 1}, MappingProxyType({"a": 1}), BareMapping()])
def test_attributes_are_read_of_any_span_that_shows_them(held: Mapping[str, int]) -> None:
    assert attributes_of(SimpleNamespace(attributes=held)) == {"a": 1}
    assert attributes_of(SimpleNamespace(attributes=MappingProxyType(held))) == {"a": 1}


@pytest.mark.parametrize("span", [INVALID_SPAN, None, SimpleNamespace(attributes=None)])
def test_a_span_that_shows_no_attributes_is_read_as_one_without(span: object) -> None:
    assert attributes_of(span) == {}


def test_attributes_that_are_put_on_a_span_later_are_not_in_what_was_read() -> None:
    span = TracerProvider().get_tracer("a").start_span("b", attributes={"a": 1})
    found = attributes_of(span)
    span.set_attribute("b", 2)
    assert found == {"a": 1}
    assert attributes_of(span) == {"a": 1, "b": 2}
