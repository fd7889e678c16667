"""What a session saved and cost: reasoning, prompt caching, another model or GPU."""

from __future__ import annotations

import math
from typing import Any

import pytest

from calls import CHAT
from energy_tracking import (
    ConfigurationError,
    ProfileError,
    Session,
    Tracker,
    UnknownGpuError,
    UnknownModelError,
    energy_session,
    register_gpu_profile,
)
from energy_tracking.calls.accounts import CALLS_COMPARED
from energy_tracking.calls.record import Alternative
from energy_tracking.calls.totals import EnergyKind
from energy_tracking.usage.token_usage import TokenUsage
from loopback import CHAT_USAGE, Flavour, Loopback, chat_completion, json_reply
from observed_calls import Watch
from small_profiles import BARE

CACHED = {
    "prompt_tokens": 9000,
    "completion_tokens": 100,
    "prompt_tokens_details": {"cached_tokens": 8000},
}
UNCACHED = {"prompt_tokens": 9000, "completion_tokens": 100}
METHODS = pytest.mark.parametrize("method", ["reference", "roofline"])


@METHODS
def test_what_caching_avoided_is_the_difference_to_no_cache(watch: Watch, method: str) -> None:
    tracker = Tracker(**watch.arguments, method=method)
    with energy_session("cached") as cached:
        tracker.record(model="gpt-4o", usage=CACHED)
    with energy_session("uncached") as uncached:
        tracker.record(model="gpt-4o", usage=UNCACHED)
    avoided = cached.totals.cache_avoided_energy_joules
    assert avoided == pytest.approx(
        uncached.total_energy_joules - cached.total_energy_joules, abs=2e-9
    )
    assert avoided > 0
    assert uncached.totals.cache_avoided_energy_joules == 0
    with_cache, without = (dict(span.attributes or {}) for span in watch.spans)
    name = "energy_tracking.cache_avoided_energy_joules"
    assert with_cache[name] == pytest.approx(avoided)
    assert name not in without
    assert "avoided by prompt caching" in str(cached)
    assert "avoided" not in str(uncached)


async def test_the_table_states_what_reasoning_took(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    loopback.serve(json_reply(chat_completion()))
    client = watch.wrap(flavour.client(loopback.base_url))
    with energy_session("here") as session:
        await flavour.call(client.chat.completions.create, **CHAT)
    # 32 of the 80 output tokens, each at nearly the same context.
    share = session.totals.reasoning_energy_joules / session.totals.decode_energy_joules
    assert share == pytest.approx(32 / 80, rel=0.01)
    assert "of it spent on reasoning" in str(session)


@METHODS
def test_a_comparison_is_what_the_other_model_or_gpu_would_have_given(
    watch: Watch, method: str
) -> None:
    tracker = Tracker(**watch.arguments, method=method)
    with energy_session("large") as large:
        for usage in (CHAT_USAGE, CACHED, UNCACHED):
            tracker.record(model="gpt-4o", usage=usage)
    with energy_session("small") as small:
        for usage in (CHAT_USAGE, CACHED, UNCACHED):
            tracker.record(model="gpt-4o-mini", usage=usage)
    other_gpu = Tracker(**watch.arguments, method=method, gpu="A100")
    with energy_session("other GPU") as elsewhere:
        for usage in (CHAT_USAGE, CACHED, UNCACHED):
            other_gpu.record(model="gpt-4o", usage=usage)
    to_small = large.compare(model="gpt-4o-mini")
    assert (to_small.calls, to_small.actual, to_small.other) == (3, large.totals, small.totals)
    assert to_small.factor == pytest.approx(small.total_energy_wh / large.total_energy_wh)
    assert to_small.factor < 1
    assert large.compare(gpu="A100").other == elsewhere.totals
    assert large.compare().factor == 1
    assert small.compare(model="gpt-4o").other == large.totals


def test_a_comparison_takes_a_name_as_calls_do_and_refuses_an_unknown_one(watch: Watch) -> None:
    tracker = Tracker(**watch.arguments)
    with energy_session() as session:
        tracker.record(model="gpt-4o", usage=UNCACHED)
    dated = session.compare(model="gpt-4o-mini-2024-07-18")
    assert dated.other == session.compare(model="gpt-4o-mini").other
    with pytest.raises(UnknownModelError, match="gpt-4o-mini"):
        session.compare(model="gpt-4o-minni")
    with pytest.raises(UnknownGpuError, match="H100"):
        session.compare(gpu="H1000")


USAGES = (CHAT_USAGE, CACHED, UNCACHED)
OTHERS: list[dict[str, Any]] = [
    {"method": "roofline"},
    {"method": "roofline", "scope": "facility"},
    {"method": "roofline", "concurrency_per_gpu": 4},
    {"method": "roofline", "sequences": 8, "model": "o1", "gpu": "A100"},
    {"method": "reference", "gpu": "GB200", "model": "gpt-4o-mini"},
]


@pytest.mark.parametrize("other", OTHERS)
@METHODS
def test_a_comparison_by_any_of_it_is_what_such_a_tracker_would_have_given(
    watch: Watch, method: str, other: dict[str, Any]
) -> None:
    tracker = Tracker(**watch.arguments, method=method)
    with energy_session() as session:
        for usage in USAGES:
            tracker.record(model="gpt-4o", usage=usage)
    settings = {"method": method} | {name: other[name] for name in other if name != "model"}
    such = Tracker(**watch.arguments, **settings)
    with energy_session() as as_other:
        for usage in USAGES:
            such.record(model=other.get("model", "gpt-4o"), usage=usage)
    compared = session.compare(**other)
    assert (compared.actual, compared.other) == (session.totals, as_other.totals)
    assert compared.factor == pytest.approx(
        as_other.total_energy_joules / session.total_energy_joules
    )
    kind = EnergyKind(settings["method"], settings.get("scope", "gpu"))
    assert list(compared.actual_by_kind) == [EnergyKind(method, "gpu")]
    assert list(compared.other_by_kind) == [kind]
    assert compared.changes == other


def test_a_comparison_is_printed_with_methods_scopes_and_ranges(watch: Watch) -> None:
    tracker = Tracker(**watch.arguments)
    with energy_session() as session:
        tracker.record(model="gpt-4o", usage=UNCACHED)
    head, header, was, compared, *notes = str(session.compare(method="roofline")).splitlines()
    assert head == "1 call compared with method=roofline"
    assert header.split() == ["reference", "Wh", "calibrated", "Wh"]
    assert was.startswith("as it was ")
    assert compared.split()[1] == "-"
    assert was.split("  ")[-1] == compared.split("  ")[-1]
    assert "(method reference, scope gpu)" in " ".join(notes)
    assert "(method roofline, scope gpu)" in " ".join(notes)


def test_a_name_the_user_types_is_never_replaced_by_the_default(watch: Watch) -> None:
    tracker = Tracker(**watch.arguments, default_model="gpt-4o")
    with energy_session() as session:
        tracker.record(model="nobody-knows-it", usage=UNCACHED)
    for one in (session, Session(), Session("without an estimate")):
        with pytest.raises(UnknownModelError, match="did you mean 'gpt-4o-mini'"):
            one.compare(model="gpt-4o-minii")
        with pytest.raises(UnknownGpuError, match="H100"):
            one.compare(gpu="H1000")
        with pytest.raises(ConfigurationError, match="did you mean 'roofline'"):
            one.compare(method="rooflin")
    with pytest.raises(UnknownModelError, match="did you mean 'gpt-4o-mini'"):
        tracker.estimation.estimate_again(watch.record, "gpt-4o-minii")


def test_a_mapped_name_can_be_compared_with(watch: Watch) -> None:
    tracker = Tracker(**watch.arguments | {"model_mapping": {"ours": "gpt-4o-mini"}})
    with energy_session() as session:
        tracker.record(model="gpt-4o", usage=UNCACHED)
    ours, plain = (session.compare(model=name).other for name in ("ours", "gpt-4o-mini"))
    assert ours.total_energy_joules == plain.total_energy_joules
    # The mapping is the user's word, which the range knows.
    assert ours.total_energy_high_joules > plain.total_energy_high_joules


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"scope": "facility"}, "got 'facility'; compare with method='roofline'"),
        ({"sequences": 8}, "sequences must be unset: it has no effect on method 'reference'"),
        ({"concurrency_per_gpu": 8.5}, "got 8.5; compare with method='roofline'"),
        ({"sequences": 0}, "sequences must be a number from 0.001 to .*, got 0"),
        ({"sequences": True}, "sequences must be a number .*, got True"),
        ({"sequences": "8"}, "got '8'"),
        ({"sequences": 8, "concurrency_per_gpu": 2}, "got 8; give one of them"),
        (
            {"method": "roofline", "scope": "city"},
            "one of 'gpu', 'facility', got 'city'",
        ),
    ],
)
def test_a_comparison_that_cannot_be_is_refused(
    watch: Watch, other: dict[str, Any], words: str
) -> None:
    tracker = Tracker(**watch.arguments)
    with energy_session() as session:
        tracker.record(model="gpt-4o", usage=UNCACHED)
    with pytest.raises(ConfigurationError, match=words):
        session.compare(**other)


def test_another_number_of_sequences_takes_the_place_of_the_trackers_own(watch: Watch) -> None:
    few = Tracker(**watch.arguments, method="roofline", concurrency_per_gpu=2)
    with energy_session() as session:
        few.record(model="gpt-4o", usage=UNCACHED)
    assert session.compare(sequences=100).factor < 1
    assert session.compare(concurrency_per_gpu=2).factor == 1


def test_only_calls_with_an_energy_are_compared(watch: Watch) -> None:
    tracker = Tracker(**watch.arguments)
    with energy_session() as session:
        tracker.record(model="nobody-knows-it", usage=UNCACHED)
        assert session.compare(model="gpt-4o").calls == 0
        assert math.isnan(session.compare(model="gpt-4o").factor)
        tracker.record(model="gpt-4o", usage=UNCACHED)
    assert session.compare(model="gpt-4o").calls == 1
    assert Session().compare().calls == 0


@pytest.mark.parametrize("calls", [0, 1])
def test_a_gpu_that_the_method_named_lacks_a_number_of_is_refused(watch: Watch, calls: int) -> None:
    register_gpu_profile(BARE)
    tracker = Tracker(**watch.arguments)
    with energy_session() as session:
        for _ in range(calls):
            tracker.record(model="gpt-4o", usage=UNCACHED)
        with pytest.raises(ProfileError, match="memory_bandwidth"):
            session.compare(method="roofline", gpu=BARE.name)


def test_a_long_session_compares_its_last_calls(watch: Watch) -> None:
    tracker = Tracker(**watch.arguments | {"tracer_provider": None}, spans="off")
    watch.every_call_has_a_span = False
    with energy_session() as session:
        tracker.record(model="o1", usage=UNCACHED)
        for _ in range(CALLS_COMPARED):
            tracker.record(model="gpt-4o", usage=UNCACHED)
    compared = session.compare(model="gpt-4o")
    assert (compared.calls, session.totals.calls) == (1000, 1001)
    assert compared.factor == 1


def test_an_unknown_model_has_a_reason_in_every_other_way_too(watch: Watch) -> None:
    estimation = Tracker(**watch.arguments).estimation
    usage = TokenUsage(input_tokens=10, output_tokens=5)
    other = Alternative(gpu="A100")
    named = estimation.estimate_as("nobody-knows-it", None, usage, other)
    assert (named.estimate, named.reason) == (None, "no energy profile for this model")
    assert estimation.estimate_as(None, None, usage, other).reason == "the model is not named"
