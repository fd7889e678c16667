"""The calibrated number stands beside the seed's, and both say what they are of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider

from calls import CHAT
from counts import the_only
from energy_tracking import (
    EnergyEstimate,
    Session,
    Tracker,
    energy_session,
    read_ledger,
    register_gpu_profile,
    track_energy,
)
from energy_tracking.calls.totals import EnergyKind, GroupKey
from energy_tracking.otel.span_processor import EnergySpanProcessor
from energy_tracking.profiles.files import get_catalogue
from energy_tracking.telemetry.attributes import ENERGY_ATTRIBUTES
from loopback import CHAT_USAGE, Flavour, Loopback, chat_completion, json_reply
from observed_calls import Watch
from small_profiles import BARE, unchecked

USAGE = {"prompt_tokens": 1000, "completion_tokens": 500}
NAMES = [
    "energy_tracking.calibrated_energy_joules",
    "energy_tracking.calibrated_energy_low_joules",
    "energy_tracking.calibrated_energy_high_joules",
]


def by_roofline(watch: Watch, usage: object = USAGE, **settings: Any) -> EnergyEstimate:
    """What the other method says of the same call."""
    tracker = Tracker(**watch.arguments | {"on_record": None}, **settings, method="roofline")
    watch.every_call_has_a_span = False
    estimate = tracker.record(model="gpt-4o", usage=usage).estimate
    assert estimate is not None
    return estimate


# On the record.


@pytest.mark.parametrize("usage", [USAGE, CHAT_USAGE, {"prompt_tokens": 1000}])
def test_a_record_by_reference_has_the_estimate_of_roofline_beside_it(
    watch: Watch, usage: dict[str, Any]
) -> None:
    record = Tracker(**watch.arguments).record(model="gpt-4o", usage=usage)
    assert record.estimate is not None
    assert (record.estimate.method, record.estimate.gpu) == ("reference", "H100")
    assert record.calibrated == by_roofline(watch, usage)
    assert record.total_energy_joules == record.estimate.total_energy_joules


async def test_so_has_the_record_of_a_tracked_client(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    loopback.serve(json_reply(chat_completion()))
    client = watch.wrap(flavour.client(loopback.base_url))
    await flavour.call(client.chat.completions.create, **CHAT)
    assert watch.record.calibrated == by_roofline(watch, CHAT_USAGE)


def test_by_roofline_there_is_nothing_beside(watch: Watch) -> None:
    record = Tracker(**watch.arguments, method="roofline").record(model="gpt-4o", usage=USAGE)
    assert record.calibrated is None


def test_on_a_gpu_without_bandwidth_the_seeds_number_stands_alone(watch: Watch) -> None:
    register_gpu_profile(BARE)
    tracker = Tracker(**watch.arguments, gpu="bare")
    with energy_session() as session:
        record = tracker.record(model="gpt-4o", usage=USAGE)
    assert record.estimate is not None
    assert record.calibrated is None
    assert (session.totals.calibrated_calls, session.calibrated_energy_wh) == (0, 0)
    assert not {*NAMES, "energy_tracking.assumed.sequences"} & watch.attributes.keys()


def test_a_call_without_a_profile_has_neither(watch: Watch) -> None:
    record = Tracker(**watch.arguments).record(model="nobody-knows-it", usage=USAGE)
    assert (record.estimate, record.calibrated) == (None, None)


def test_an_error_of_the_calibrated_method_leaves_the_seeds_number(watch: Watch) -> None:
    # The formula knows no cache; the physics multiplies these bytes until no float holds them.
    catalogue = get_catalogue().copy()
    model = replace(catalogue.model("gpt-4o"), aliases=(), corrected="")
    catalogue.register_model(unchecked(model, "huge", kv_bytes_per_token=1e308))
    record = Tracker(**watch.arguments, catalogue=catalogue).record(model="huge", usage=USAGE)
    assert record.estimate is not None
    assert record.status == "estimated"
    assert record.calibrated is None
    assert [where for where, _ in watch.errors] == ["estimate.calibrated"]
    watch.errors.clear()


def test_estimating_a_record_again_gives_both_numbers_again(watch: Watch) -> None:
    tracker = Tracker(**watch.arguments)
    record = tracker.record(model="gpt-4o", usage=USAGE)
    assert tracker.estimation.estimate_again(record) == record
    other = Tracker(**watch.arguments, method="roofline").estimation.estimate_again(record)
    assert (other.estimate, other.calibrated) == (record.calibrated, None)
    assert tracker.estimation.estimate_again(other) == record


# What was assumed.

SERVINGS: list[dict[str, Any]] = [
    {},
    {"concurrency_per_gpu": 4},
    {"sequences": 16, "num_gpus": 16},
    {"weight_bytes": 2},
    {"weight_format": "int4", "speculative": True},
    {"num_gpus": 4, "expert_parallel": 2, "engine_year": 2025, "speculative": False},
    {"engine_year": 2024},
]


@pytest.mark.parametrize("serving", SERVINGS)
@pytest.mark.parametrize("model", ["gpt-4o", "deepseek-ai/DeepSeek-R1", "openai/gpt-oss-120b"])
def test_a_number_can_be_made_again_from_what_it_assumed(
    watch: Watch, serving: dict[str, Any], model: str
) -> None:
    record = Tracker(**watch.arguments, **serving).record(model=model, usage=USAGE)
    assert record.calibrated is not None
    assumed: dict[str, Any] = dict(record.calibrated.assumed)
    again = Tracker(**watch.arguments, method="roofline", **assumed)
    estimate = again.record(model=model, usage=USAGE).estimate
    assert estimate is not None
    assert estimate.total_energy_joules == pytest.approx(
        record.calibrated.total_energy_joules, rel=1e-12
    )
    assert estimate.assumed == assumed
    assert (
        assumed.items()
        >= {name: value for name, value in serving.items() if name != "concurrency_per_gpu"}.items()
    )
    if "concurrency_per_gpu" in serving:
        assert assumed["sequences"] == 4 * assumed["num_gpus"]


def test_settings_of_serving_move_the_calibrated_number_alone(watch: Watch) -> None:
    plain = Tracker(**watch.arguments).record(model="gpt-4o", usage=USAGE)
    alone = Tracker(**watch.arguments, sequences=1).record(model="gpt-4o", usage=USAGE)
    assert alone.estimate == plain.estimate
    assert plain.calibrated is not None
    assert alone.calibrated is not None
    # Nobody to share the weights with.
    assert alone.calibrated.decode_energy_joules > 10 * plain.calibrated.decode_energy_joules


# On spans, whoever made them, and on lines of a ledger.


def test_a_span_has_both_numbers_and_what_was_assumed(watch: Watch) -> None:
    tracker = Tracker(**watch.arguments, speculative=True)
    beside = tracker.record(model="gpt-4o", usage=USAGE).calibrated
    assert beside is not None
    shown = watch.attributes
    assert [shown[name] for name in NAMES] == [
        beside.total_energy_joules,
        beside.total_energy_low_joules,
        beside.total_energy_high_joules,
    ]
    prefix = "energy_tracking.assumed."
    assert {
        name.removeprefix(prefix): value for name, value in shown.items() if name.startswith(prefix)
    } == beside.assumed


def test_a_span_by_roofline_states_what_was_assumed_of_its_own_number(watch: Watch) -> None:
    Tracker(**watch.arguments, method="roofline", sequences=8).record(model="gpt-4o", usage=USAGE)
    assert watch.attributes["energy_tracking.assumed.sequences"] == 8
    assert not set(NAMES) & watch.attributes.keys()


@pytest.mark.parametrize("way", ["annotated", "enriched"])
async def test_another_instrumentations_span_gets_it_too(
    way: str, flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    watch.every_call_has_a_span = False
    provider: TracerProvider = watch.arguments["tracer_provider"]
    theirs: dict[str, Any] = {"gen_ai.operation.name": "chat"}
    if way == "annotated":
        loopback.serve(json_reply(chat_completion()))
        client = watch.wrap(flavour.client(loopback.base_url))
        with provider.get_tracer("theirs").start_as_current_span("theirs", attributes=theirs):
            await flavour.call(client.chat.completions.create, **CHAT)
    else:
        provider.add_span_processor(EnergySpanProcessor(**watch.arguments))
        theirs |= {"gen_ai.request.model": "gpt-4o"}
        counts = {"gen_ai.usage.input_tokens": 120, "gen_ai.usage.output_tokens": 80}
        provider.get_tracer("theirs").start_span("theirs", attributes=theirs | counts).end()
    assert watch.record.calibrated is not None
    expected = watch.record.calibrated.total_energy_joules
    assert watch.attributes["energy_tracking.calibrated_energy_joules"] == expected


def test_every_setting_that_may_be_assumed_has_an_attribute() -> None:
    names = {row.name for row in ENERGY_ATTRIBUTES}
    # What became of a stream's speed, and where the batch was read, are no settings:
    # test_estimation and test_sampler look for them.
    keys = {"timing_evidence", "concurrency_source", "calibration"}
    for serving in SERVINGS:
        record = Tracker(**serving).record(model="gpt-4o", usage=USAGE)
        keys |= record.calibrated.assumed.keys() if record.calibrated else set()
    assert {f"energy_tracking.assumed.{key}" for key in keys} == {
        name for name in names if name.startswith("energy_tracking.assumed.")
    }


def test_a_ledger_keeps_the_calibrated_number_and_what_it_assumed(
    watch: Watch, tmp_path: Any
) -> None:
    path = tmp_path / "energy.jsonl"
    tracker = Tracker(**watch.arguments, ledger=path)
    record = tracker.record(model="gpt-4o", usage=USAGE)
    entry = the_only(read_ledger(path))
    assert entry.record.calibrated == record.calibrated
    assert entry.record.calibrated is not None
    assert entry.record.calibrated.assumed["weight_format"] == "fp8"


def test_the_sum_is_on_the_span_of_a_decorated_function(watch: Watch) -> None:
    watch.every_call_has_a_span = False
    tracker = Tracker(**watch.arguments)

    @track_energy(**watch.arguments)
    def work() -> None:
        tracker.record(model="gpt-4o", usage=USAGE)
        tracker.record(model="o1", usage=USAGE)
        tracker.record(model="nobody-knows-it", usage=USAGE)

    work()
    rollup = dict(watch.spans[-1].attributes or {})
    beside = [record.calibrated for record in watch.records if record.calibrated]
    assert rollup["energy_tracking.rollup.calibrated_calls"] == len(beside) == 2
    assert rollup["energy_tracking.rollup.calibrated_energy_joules"] == pytest.approx(
        sum(estimate.total_energy_joules for estimate in beside)
    )


# In sessions.


def test_a_session_sums_the_calibrated_number_and_counts_its_calls(watch: Watch) -> None:
    tracker = Tracker(**watch.arguments)
    with energy_session() as outer, energy_session() as session:
        for model in ("gpt-4o", "o1", "nobody-knows-it"):
            tracker.record(model=model, usage=USAGE)
    beside = [record.calibrated for record in watch.records if record.calibrated]
    expected = sum(estimate.total_energy_joules for estimate in beside)
    assert session.totals.calibrated_calls == 2
    assert session.calibrated_energy_joules == pytest.approx(expected, abs=1e-8)
    assert session.calibrated_energy_wh == pytest.approx(expected / 3600, abs=1e-11)
    assert outer.totals == session.totals


def test_calls_by_roofline_are_their_own_calibrated_number(watch: Watch) -> None:
    with energy_session() as session:
        Tracker(**watch.arguments, method="roofline").record(model="gpt-4o", usage=USAGE)
        Tracker(**watch.arguments, method="roofline", scope="facility").record(
            model="gpt-4o", usage=USAGE
        )
    boards, facility = (record.total_energy_joules for record in watch.records)
    assert boards is not None
    assert facility is not None
    # The facility's share is no part of a sum over boards.
    assert session.totals.calibrated_calls == 1
    assert session.calibrated_energy_joules == pytest.approx(boards, abs=1e-8)
    assert session.total_energy_joules == pytest.approx(boards + facility, abs=1e-8)


def mixed(watch: Watch) -> Session:
    """A session of the same model by every method and scope there is."""
    with energy_session("mixed") as session:
        kinds: list[dict[str, Any]] = [{}, {"method": "roofline"}]
        for settings in (*kinds, {"method": "roofline", "scope": "facility"}):
            tracker = Tracker(**watch.arguments, **settings)
            tracker.record(model="gpt-4o", usage=USAGE)
        tracker.record(model="gpt-4o", usage=USAGE, measured_energy_joules=500.0)
        tracker.record(model="nobody-knows-it", usage=USAGE)
    return session


def test_no_two_methods_or_scopes_are_added_up_in_one_row(watch: Watch) -> None:
    session = mixed(watch)
    by_kind = {
        EnergyKind("reference", "gpu"): watch.records[0].total_energy_joules,
        EnergyKind("roofline", "gpu"): watch.records[1].total_energy_joules,
        EnergyKind("roofline", "facility"): watch.records[2].total_energy_joules,
        EnergyKind("measured", "-"): 500.0,
        EnergyKind("-", "-"): 0.0,
    }
    assert session.by_kind.keys() == by_kind.keys()
    for kind, joules in by_kind.items():
        assert session.by_kind[kind].calls == 1
        assert session.by_kind[kind].total_energy_joules == pytest.approx(joules, abs=1e-8)
    rows = [line for line in str(session).splitlines() if line.startswith("gpt-4o ")]
    assert len(rows) == 4
    assert session.by_model["gpt-4o"].calls == 4
    csv_rows = [line.split(",")[:6] for line in session.to_csv().splitlines()[1:]]
    assert csv_rows == [
        ["gpt-4o", "H100", "reference", "gpu", "C", "1"],
        ["gpt-4o", "H100-SXM", "measured", "-", "-", "1"],
        ["gpt-4o", "H100-SXM", "roofline", "facility", "C", "1"],
        ["gpt-4o", "H100-SXM", "roofline", "gpu", "C", "1"],
        ["nobody-knows-it", "-", "-", "-", "-", "1"],
    ]
    assert GroupKey(*csv_rows[0][:5]).kind in by_kind
