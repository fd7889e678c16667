"""Which method makes a call's number, with which assumptions, and what it says of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from calls import CHAT
from energy_tracking import (
    CallRecord,
    ConfigurationError,
    EnergyEstimate,
    ProfileError,
    Session,
    Tracker,
    register_gpu_profile,
    wrap_openai,
)
from energy_tracking.calls.past import PastCall
from energy_tracking.estimation import Estimation
from energy_tracking.estimator.roofline.facility import FACILITY, FACILITY_HIGH, FACILITY_LOW
from energy_tracking.estimator.roofline.request import estimate_request
from energy_tracking.profiles.catalogue import Catalogue
from energy_tracking.profiles.files import get_catalogue, load_catalogue
from energy_tracking.settings import Settings
from loopback import DONE, Flavour, Loopback, chat_chunks, chat_completion, json_reply, sse
from small_profiles import BARE, build_gpu, build_model

USAGE = {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}
LONG_AGO = datetime(2025, 5, 1, tzinfo=UTC)


def estimated(
    usage: dict[str, Any] = USAGE, model: str = "gpt-4o", **settings: Any
) -> EnergyEstimate:
    record = Tracker(**settings).record(model=model, usage=usage)
    assert record.estimate is not None
    return record.estimate


@pytest.mark.parametrize("way", ["argument", "environment", "client"])
async def test_the_method_is_chosen_by(
    way: str, loopback: Loopback, flavour: Flavour, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "environment":
        monkeypatch.setenv("ENERGY_TRACKING_METHOD", "roofline")
        assert estimated().method == "roofline"
    elif way == "argument":
        assert estimated(method="roofline").method == "roofline"
    else:
        loopback.serve(json_reply(chat_completion(usage=USAGE)))
        records: list[CallRecord] = []
        for method in ("roofline", "reference"):
            client = flavour.client(loopback.base_url)
            wrap_openai(client, method=method, on_record=records.append)
            await flavour.call(client.chat.completions.create, **CHAT)
        methods = [record.estimate.method for record in records if record.estimate]
        assert methods == ["roofline", "reference"]


def test_roofline_takes_the_corrected_rows_of_the_seeds_profiles() -> None:
    result = estimated(method="roofline")
    assert (result.gpu, result.model_profile) == ("H100-SXM", "gpt-4o@registry")
    catalogue = get_catalogue()
    alone = estimate_request(
        catalogue.model("gpt-4o@registry"),
        catalogue.gpu("H100-SXM"),
        input_tokens=1000,
        output_tokens=500,
    )
    assert result.total_energy_joules == alone.total_energy_joules
    assert result.total_energy_low_joules == alone.total_energy_low_joules
    assert result.total_energy_high_joules == alone.total_energy_high_joules


def test_what_is_not_known_is_named_widest_first() -> None:
    blind = estimated(method="roofline")
    assert set(blind.range_from) >= {"batch", "parameters", "formula", "prefill"}
    assert blind.range_from[0] == "batch"
    assert "batch" not in estimated(method="roofline", concurrency_per_gpu=32).range_from
    assert "parameters" not in estimated(method="roofline", model="Qwen/Qwen3-8B").range_from
    assert "facility" in estimated(method="roofline", scope="facility").range_from


def test_a_known_concurrency_narrows_the_range() -> None:
    def width(result: EnergyEstimate) -> float:
        return result.total_energy_high_joules / result.total_energy_low_joules

    blind = estimated(method="roofline")
    known = estimated(method="roofline", sequences=blind.assumed["sequences"])
    assert known.total_energy_joules == blind.total_energy_joules
    assert width(known) < width(blind) / 2


def test_the_facility_scope_multiplies_all_of_it() -> None:
    gpu = estimated(method="roofline")
    facility = estimated(method="roofline", scope="facility")
    assert (gpu.scope, facility.scope) == ("gpu", "facility")
    factor = 1.40 * 1.12 * 1.12
    assert facility.total_energy_joules == pytest.approx(factor * gpu.total_energy_joules)
    assert facility.range_parts["facility"] == (
        FACILITY_LOW.factor / FACILITY.factor,
        FACILITY_HIGH.factor / FACILITY.factor,
    )


@pytest.mark.parametrize("method", ["reference", "roofline"])
def test_reasoning_is_a_part_of_decode_by_either_method(method: str) -> None:
    def of(reasoning: int | None) -> EnergyEstimate:
        details = {} if reasoning is None else {"reasoning_tokens": reasoning}
        return estimated(USAGE | {"completion_tokens_details": details}, "gpt-5", method=method)

    assert of(None).reasoning_energy_joules is None
    assert of(0).reasoning_energy_joules == 0
    assert of(500).reasoning_energy_joules == pytest.approx(of(500).decode_energy_joules)
    part = of(200).reasoning_energy_joules
    assert part is not None
    # The first 200 of 500 tokens see the shorter contexts.
    assert 0.3 * of(0).decode_energy_joules < part <= 0.4 * of(0).decode_energy_joules


@pytest.mark.parametrize("method", ["reference", "roofline"])
def test_a_fully_cached_prompt_needs_no_prefill(method: str) -> None:
    usage = USAGE | {"prompt_tokens_details": {"cached_tokens": 1000}}
    assert estimated(usage, method=method).prefill_energy_joules == 0
    assert estimated(method=method).prefill_energy_joules > 0


def test_embeddings_are_prefill_alone() -> None:
    usage = {"prompt_tokens": 800, "total_tokens": 800}
    result = estimated(usage, "Qwen/Qwen3-8B", method="roofline")
    assert result.decode_energy_joules == 0 < result.prefill_energy_joules


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"scope": "facility"}, ConfigurationError, "use method 'roofline'"),
        ({"method": "roofline", "scope": "city"}, ConfigurationError, "scope"),
        ({"method": "roofline", "gpu": "bare"}, ProfileError, "'bare' has no memory_bandwidth"),
        (
            {"sequences": 0},
            ConfigurationError,
            "sequences .* must be a number from .*, got 0",
        ),
        (
            {"sequences": 8, "concurrency_per_gpu": 2},
            ConfigurationError,
            "beside concurrency_per_gpu, 2, which says the same, got 8.0; give one",
        ),
        (
            {"gpu": "bare", "num_gpus": 2},
            ConfigurationError,
            "num_gpus .* has no effect on GPU 'bare'",
        ),
        (
            {"gpu": "bare", "speculative": False},
            ConfigurationError,
            "speculative .* has no effect on GPU 'bare', got False",
        ),
        (
            {"weight_bytes": "two"},
            ConfigurationError,
            "must be a number from 0.04 to 8 bytes, got",
        ),
    ],
)
def test_impossible_assumptions_are_refused_early(
    settings: dict[str, Any], error: type[Exception], words: str
) -> None:
    register_gpu_profile(BARE)
    with pytest.raises(error, match=words):
        Tracker(**settings)


async def timed_records(
    loopback: Loopback, flavour: Flavour, model: str, **settings: Any
) -> list[EnergyEstimate | None]:
    """Estimates of one fast stream without and with timing evidence."""
    usage = {"prompt_tokens": 20, "completion_tokens": 400, "total_tokens": 420}
    loopback.serve(sse(*chat_chunks(*["word "] * 400, usage=usage, model=model), DONE))
    records: list[CallRecord] = []
    for evidence in (False, True):
        client = flavour.client(loopback.base_url)
        wrap_openai(
            client,
            method="roofline",
            gpu="H100",
            timing_evidence=evidence,
            **settings,
            include_usage="always",
            on_record=records.append,
        )
        stream = await flavour.call(
            client.chat.completions.create, **(CHAT | {"model": model}), stream=True
        )
        async for _ in flavour.items(stream):
            pass
    return [record.estimate for record in records]


async def test_a_fast_stream_of_an_open_model_is_evidence_for_few_neighbours(
    loopback: Loopback, flavour: Flavour
) -> None:
    assumed, timed = await timed_records(loopback, flavour, "meta-llama/Llama-3.1-70B-Instruct")
    assert assumed is not None
    assert timed is not None
    # The loopback sends faster than any GPU decodes: next to nobody else can be there.
    assert timed.total_energy_joules > 3 * assumed.total_energy_joules
    assert float(timed.assumed["sequences"]) < float(assumed.assumed["sequences"])
    assert str(timed.assumed["timing_evidence"]).startswith("used: ")
    assert "timing_evidence" not in assumed.assumed


async def test_a_fast_stream_of_a_closed_model_is_no_evidence_and_the_reason_is_kept(
    loopback: Loopback, flavour: Flavour
) -> None:
    assumed, timed = await timed_records(loopback, flavour, "gpt-4o")
    assert assumed is not None
    assert timed is not None
    assert timed.total_energy_joules == assumed.total_energy_joules
    assert "not used: the shape of 'gpt-4o@registry' is not published" in str(
        timed.assumed["timing_evidence"]
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"default_model": "meta-llama/Llama-3.1-70B"},
        {"model_mapping": {"nobody-knows-it": "meta-llama/Llama-3.1-70B"}},
    ],
    ids=["default", "mapping"],
)
async def test_a_fast_stream_is_no_evidence_where_the_model_is_the_users_guess(
    loopback: Loopback, flavour: Flavour, settings: dict[str, Any]
) -> None:
    assumed, timed = await timed_records(loopback, flavour, "nobody-knows-it", **settings)
    assert assumed is not None
    assert timed is not None
    assert timed.total_energy_joules == assumed.total_energy_joules
    assert "not used: that this is" in str(timed.assumed["timing_evidence"])


@pytest.mark.parametrize(
    "environment", [{}, {"ENERGY_TRACKING_TIMING_EVIDENCE": "on"}], ids=["argument", "variable"]
)
def test_timing_evidence_on_a_gpu_nobody_named_is_refused(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    arguments: dict[str, Any] = {} if environment else {"timing_evidence": True}
    with pytest.raises(ConfigurationError, match=r"must be False where gpu .* is not set"):
        Tracker(**arguments)


def test_a_past_call_is_estimated_without_a_tracker_and_nobody_receives_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = tmp_path / "ledger.jsonl"
    monkeypatch.setenv("ENERGY_TRACKING_LEDGER", str(ledger))
    past = PastCall(model="gpt-4o", usage=USAGE, response_id="chatcmpl-1", ended_at=LONG_AGO)
    with Session("logs") as session:
        alone = Estimation(Settings.load({})).record(past)
        assert session.totals.calls == 0
        assert not ledger.exists()
        assert alone == Tracker().count(past)
    assert session.totals.calls == 1
    assert len(ledger.read_text().splitlines()) == 1


# What is computed once per profile and setting is that of the profile and the settings.

CACHED_AND_REASONING = {
    "prompt_tokens": 1000,
    "completion_tokens": 500,
    "prompt_tokens_details": {"cached_tokens": 400},
    "completion_tokens_details": {"reasoning_tokens": 200},
}
NUMBERS = (
    *("prefill_energy_joules", "decode_energy_joules", "reasoning_energy_joules"),
    *("total_energy_low_joules", "total_energy_high_joules", "range_parts"),
)


def numbers_of(tracker: Tracker, model: str) -> tuple[Any, ...]:
    record = tracker.record(model=model, usage=CACHED_AND_REASONING)
    assert record.estimate is not None
    made = [record.estimate] + ([record.calibrated] if record.calibrated is not None else [])
    numbers = [getattr(estimate, name) for estimate in made for name in NUMBERS]
    return (*numbers, record.cache_avoided_energy_joules)


@pytest.mark.parametrize("method", ["reference", "roofline"])
def test_a_model_registered_anew_under_its_name_is_estimated_by_its_new_numbers(
    method: str,
) -> None:
    own = Catalogue(gpus=load_catalogue().gpus)
    tracker = Tracker(method=method, catalogue=own)
    small, large = build_model("ours"), build_model("ours", num_active_params=70e9, num_layers=80)
    own.register_model(small)
    before = numbers_of(tracker, "ours")
    own.register_model(large)
    own.register_model(replace(large, name="as large"))
    own.register_model(replace(small, name="as small"))
    after = numbers_of(tracker, "ours")
    assert after != before
    assert after == numbers_of(tracker, "as large")
    assert before == numbers_of(tracker, "as small")
    own.register_model(small)
    assert numbers_of(tracker, "ours") == before


@pytest.mark.parametrize("method", ["reference", "roofline"])
def test_a_gpu_registered_anew_under_its_name_is_estimated_by_its_new_numbers(
    method: str,
) -> None:
    own = load_catalogue().copy()
    slow = build_gpu("board", memory_bytes=80e9, memory_bandwidth=1e12)
    fast = replace(slow, memory_bandwidth=4e12, power_rating=900)
    own.register_gpu(slow)
    own.register_gpu(replace(fast, name="as fast"))
    tracker = Tracker(method=method, catalogue=own, gpu="board")
    before = numbers_of(tracker, "gpt-4o")
    own.register_gpu(fast)
    after = numbers_of(tracker, "gpt-4o")
    assert after != before
    assert after == numbers_of(Tracker(method=method, catalogue=own, gpu="as fast"), "gpt-4o")


SETTINGS: list[dict[str, Any]] = [
    {},
    {"attention_mode": "linear"},
    {"gpu": "A100"},
    {"concurrency_per_gpu": 4},
    {"sequences": 9, "num_gpus": 2},
    {"weight_format": "bf16"},
    {"method": "roofline"},
    {"method": "roofline", "scope": "facility"},
    {"method": "roofline", "speculative": True},
    {"method": "roofline", "engine_year": 2024},
    {"method": "roofline", "engine_year": 2025, "expert_parallel": 2, "num_gpus": 8},
    {"method": "roofline", "concurrency_per_gpu": 4},
]


def test_trackers_with_different_settings_estimate_side_by_side_as_each_does_alone() -> None:
    names = ["gpt-4o", "gpt-4o-mini", "llama-3.1-8b-instruct"]
    alone = [[numbers_of(Tracker(**settings), name) for name in names] for settings in SETTINGS]
    assert len({repr(numbers) for numbers in alone}) == len(SETTINGS)
    trackers = [Tracker(**settings) for settings in SETTINGS]
    for name in reversed(names):
        for tracker, numbers in zip(trackers, alone, strict=True):
            assert numbers_of(tracker, name) == numbers[names.index(name)]
