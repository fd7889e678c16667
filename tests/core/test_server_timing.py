"""The server's clock is read in every dialect, and is evidence of the batch where it may be."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from energy_tracking.calls.call import Call
from energy_tracking.calls.record import CallRecord, CallRequest
from energy_tracking.estimation import Estimation
from energy_tracking.estimator.deployment import deploy
from energy_tracking.estimator.roofline.constants import CALIBRATED
from energy_tracking.estimator.roofline.step import compute_decode_step
from energy_tracking.estimator.serving import ServingProfile
from energy_tracking.estimator.timing_evidence import update_serving
from energy_tracking.settings import SettingArguments, Settings
from energy_tracking.usage.extras import has_extras
from energy_tracking.usage.server_timing import (
    BODIES,
    HEADERS,
    ServerTiming,
    read_timing,
    timing_in_headers,
)
from energy_tracking.usage.usage_paths import usage_in
from small_profiles import DENSE, H100

USAGE = {"prompt_tokens": 42, "completion_tokens": 128, "total_tokens": 170}

SAMPLES: dict[str, tuple[dict[str, Any], ServerTiming]] = {
    # https://github.com/vllm-project/vllm/blob/main/docs/features/per_request_metrics.md
    "vLLM": (
        {
            "object": "chat.completion",
            "usage": USAGE,
            "metrics": {
                "time_to_first_token_ms": 85.2,
                "generation_time_ms": 1240.5,
                "queue_time_ms": 12.3,
                "mean_itl_ms": 9.1,
                "tokens_per_second": 103.2,
            },
        },
        ServerTiming(
            source="vLLM", queue_seconds=0.0123, prefill_seconds=0.0852, decode_seconds=1.2405
        ),
    ),
    # https://github.com/vllm-project/vllm/issues/40076, a response of llama.cpp
    "llama.cpp": (
        {
            "usage": {"completion_tokens": 25, "prompt_tokens": 68, "total_tokens": 93},
            "timings": {
                "cache_n": 60,
                "prompt_n": 8,
                "prompt_ms": 43.237,
                "prompt_per_token_ms": 5.404625,
                "prompt_per_second": 185.02671323172282,
                "predicted_n": 25,
                "predicted_ms": 238.74,
                "predicted_per_token_ms": 9.5496,
                "predicted_per_second": 104.71642791321104,
            },
        },
        ServerTiming(source="llama.cpp", prefill_seconds=0.043237, decode_seconds=0.23874),
    ),
    # https://github.com/ollama/ollama/blob/main/docs/api.md
    "Ollama": (
        {
            "model": "llama3.2",
            "done": True,
            "total_duration": 4883583458,
            "load_duration": 1334875,
            "prompt_eval_count": 26,
            "prompt_eval_duration": 342546000,
            "eval_count": 282,
            "eval_duration": 4535599000,
        },
        ServerTiming(
            source="Ollama",
            queue_seconds=0.001334875,
            prefill_seconds=0.342546,
            decode_seconds=4.535599,
            total_seconds=4.883583458,
        ),
    ),
    # A recorded response of api.groq.com.
    "Groq": (
        {
            "model": "openai/gpt-oss-120b",
            "usage": {
                "completion_time": 0.096660427,
                "completion_tokens": 47,
                "completion_tokens_details": {"reasoning_tokens": 37},
                "prompt_time": 0.004745198,
                "prompt_tokens": 84,
                "queue_time": 0.104029483,
                "total_time": 0.101405625,
                "total_tokens": 131,
            },
            "x_groq": {"id": "req_01kwj19tjqecr874z7fvrpxdtm"},
        },
        ServerTiming(
            source="Groq",
            queue_seconds=0.104029483,
            prefill_seconds=0.004745198,
            decode_seconds=0.096660427,
            total_seconds=0.101405625,
        ),
    ),
    # https://inference-docs.cerebras.ai/api-reference/chat-completions
    "Cerebras": (
        {
            "usage": {"prompt_tokens": 12, "completion_tokens": 10, "total_tokens": 22},
            "time_info": {
                "queue_time": 0.000073161,
                "prompt_time": 0.0010744798888888889,
                "completion_time": 0.005658071111111111,
                "total_time": 0.022224903106689453,
                "created": 1723733419,
            },
        },
        ServerTiming(
            source="Cerebras",
            queue_seconds=0.000073161,
            prefill_seconds=0.0010744798888888889,
            decode_seconds=0.005658071111111111,
            total_seconds=0.022224903106689453,
        ),
    ),
    # A public log of a response of api.sambanova.ai.
    "SambaNova": (
        {
            "model": "DeepSeek-V3-0324",
            "system_fingerprint": "fastcoe",
            "usage": {
                "completion_tokens": 51,
                "completion_tokens_after_first_per_sec": 203.1970451845694,
                "completion_tokens_per_sec": 135.12995588730448,
                "end_time": 1746852567.7429223,
                "is_last_response": True,
                "prompt_tokens": 10,
                "start_time": 1746852567.3655078,
                "time_to_first_token": 0.1313478946685791,
                "total_latency": 0.3774144649505615,
                "total_tokens": 61,
            },
        },
        ServerTiming(
            source="SambaNova",
            # What the server itself says of the 50 tokens after the first.
            decode_seconds=50 / 203.1970451845694,
            first_token_seconds=0.1313478946685791,
            total_seconds=0.3774144649505615,
        ),
    ),
}


def times(timing: ServerTiming | None) -> dict[str, float]:
    assert timing is not None
    return {
        name: value
        for name, value in vars(timing).items()
        if name != "source" and value is not None
    }


@pytest.mark.parametrize("source", SAMPLES)
def test_the_times_of_each_dialect_are_read(source: str) -> None:
    body, expected = SAMPLES[source]
    assert has_extras(body, usage_in(body))
    timing = read_timing(body, usage_in(body))
    assert timing is not None
    assert timing.source == source
    assert times(timing) == pytest.approx(times(expected), rel=1e-9)


def test_every_dialect_has_a_sample_and_its_documentation() -> None:
    assert {dialect.source for dialect in BODIES} == SAMPLES.keys()
    assert all(each.documentation.startswith("https://") for each in (*BODIES, *HEADERS))


def test_the_last_event_of_the_responses_api_states_them_inside() -> None:
    body, expected = SAMPLES["vLLM"]
    event = {"type": "response.completed", "response": body}
    assert has_extras(event, usage_in(event))
    assert read_timing(event, usage_in(event)) == read_timing(body, usage_in(body)) is not None
    assert expected.source == "vLLM"


@pytest.mark.parametrize("value", [-1, math.nan, math.inf, 10**400, "12", True, None, [1], {}])
def test_what_is_no_time_is_left_out(value: object) -> None:
    body = {"metrics": {"generation_time_ms": value, "queue_time_ms": 5}}
    assert read_timing(body, None) == ServerTiming(source="vLLM", queue_seconds=0.005)
    assert read_timing({"metrics": {"generation_time_ms": value}}, None) is None


@pytest.mark.parametrize("body", [{"metrics": None}, {"metrics": [1]}, {"timings": "x"}, {}])
def test_a_body_without_times_has_none(body: dict[str, Any]) -> None:
    assert read_timing(body, {"prompt_tokens": 3}) is None


@pytest.mark.parametrize(
    ("headers", "of_stream", "expected"),
    [
        (
            {"openai-processing-ms": "1104"},
            False,
            ServerTiming(source="openai-processing-ms", total_seconds=1.104),
        ),
        (
            {"OpenAI-Processing-Ms": "216"},
            True,
            ServerTiming(source="openai-processing-ms", first_token_seconds=0.216),
        ),
        (
            {"x-total-time": "520", "x-queue-time": "7", "x-inference-time": "500"},
            False,
            ServerTiming(source="TGI", total_seconds=0.52, queue_seconds=0.007),
        ),
        ({"openai-processing-ms": "soon"}, False, None),
        ({"openai-processing-ms": "nan"}, False, None),
        ({"content-type": "application/json"}, False, None),
    ],
)
def test_the_times_of_headers_are_read(
    headers: dict[str, str], of_stream: bool, expected: ServerTiming | None
) -> None:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    timing = timing_in_headers(raw, of_stream=of_stream)
    assert (timing and timing.source) == (expected and expected.source)
    if expected is not None:
        assert times(timing) == pytest.approx(times(expected))


# --- as evidence -------------------------------------------------------------------------

KNOWN: SettingArguments = {
    "method": "roofline",
    "gpu": "H100",
    "engine_year": 2026,
    "speculative": False,
    "timing_evidence": True,
    "num_gpus": 1,
}


def seconds_of(sequences: float, tokens: int) -> float:
    """What this many tokens after the first take where so many sequences share a step [s]."""
    estimation = Estimation(Settings.load(KNOWN, {}))
    model = estimation.find_model("llama-3.1-8b").profile
    gpu = estimation.catalogue.corrected_gpu(estimation.catalogue.gpu("H100"))
    serving = ServingProfile(sequences=sequences, num_gpus=1, speculative=False)
    # The mean context of 50 tokens in and 101 out.
    seconds, _ = compute_decode_step(deploy(model, gpu, serving), CALIBRATED, 100.5)
    return tokens * seconds


def record_of(
    settings: SettingArguments,
    timing: dict[str, Any],
    *,
    model: str = "llama-3.1-8b",
    took: float = 1000.0,
    stream_seconds: float | None = None,
    prompt: object = None,
) -> CallRecord:
    """The record of a call whose server states these times."""
    request = CallRequest(
        operation="chat", provider="vllm", model=model, stream=stream_seconds is not None
    )
    call = Call(request, lambda call: None, prompt)
    call.observe({"usage": {"prompt_tokens": 50, "completion_tokens": 101}, "metrics": timing})
    call.ended_at = call.started_at + took
    if stream_seconds is not None:
        call.first_chunk_at = call.ended_at - stream_seconds
    return call.record(Estimation(Settings.load(settings, {})).estimate_safely)


def assumed(record: CallRecord) -> dict[str, Any]:
    assert record.estimate is not None
    return dict(record.estimate.assumed)


def stated(sequences: float) -> dict[str, float]:
    return {"generation_time_ms": 1e3 * seconds_of(sequences, 100), "queue_time_ms": 30_000.0}


@pytest.mark.parametrize("sequences", [8, 64, 256])
def test_the_servers_clock_shows_the_batch(sequences: int) -> None:
    record = record_of(KNOWN, stated(sequences))
    found = assumed(record)
    assert found["sequences"] == pytest.approx(sequences, rel=0.6)
    assert found["timing_evidence"].endswith("tokens/s made, by the server's clock")
    assert record.server_timing is not None
    assert record.server_timing.queue_seconds == 30
    assert record.estimate is not None
    blind = record_of({**KNOWN, "timing_evidence": None}, stated(sequences)).estimate
    assert blind is not None
    width = [
        each.total_energy_high_joules / each.total_energy_low_joules
        for each in (record.estimate, blind)
    ]
    assert width[0] < width[1]


def test_the_servers_clock_is_stronger_than_a_stream_through_a_network() -> None:
    by_server = record_of(KNOWN, stated(200), stream_seconds=seconds_of(200, 100))
    by_stream = record_of(KNOWN, {}, stream_seconds=seconds_of(200, 100))
    assert assumed(by_stream)["timing_evidence"].endswith("tokens/s arrived")
    off = [abs(math.log(assumed(each)["sequences"] / 200)) for each in (by_server, by_stream)]
    assert off[0] < off[1]


@pytest.mark.parametrize(
    ("settings", "arguments", "said"),
    [
        ({"timing_evidence": None}, {}, None),
        ({"engine_year": None}, {}, None),
        ({}, {"model": "gpt-4o"}, "not used: the shape of"),
        # Of two answers the tokens are added up, and the time is not.
        ({}, {"prompt": {"n": 2}}, None),
        # It took the server longer to make than it took us to get: a replay.
        ({}, {"took": 1e-6}, None),
    ],
    ids=["not-asked", "engine-unknown", "closed", "two-answers", "replayed"],
)
def test_where_the_servers_clock_is_no_evidence_it_is_still_recorded(
    settings: SettingArguments, arguments: dict[str, Any], said: str | None
) -> None:
    chosen: SettingArguments = {**KNOWN, **settings}
    record = record_of(chosen, stated(8), **arguments)
    blind = record_of(chosen, {}, **arguments)
    assert record.server_timing is not None
    assert record.server_timing.decode_seconds == pytest.approx(seconds_of(8, 100))
    found = assumed(record)
    assert (found.get("timing_evidence") or "").startswith(said or "")
    assert ("timing_evidence" in found) == (said is not None)
    assert found["sequences"] == assumed(blind)["sequences"]


def test_a_clock_slower_than_any_batch_is_of_something_else() -> None:
    prior = ServingProfile(concurrency_per_gpu=32, num_gpus=1, speculative=False)
    seen = update_serving(
        DENSE,
        H100,
        input_tokens=50,
        output_tokens=100,
        observed_tokens_per_second=1e-6,
        serving=prior,
        slow_network=None,
    )
    assert seen == prior
    fast = replace(prior)
    outran = update_serving(
        DENSE,
        H100,
        input_tokens=50,
        output_tokens=100,
        observed_tokens_per_second=1e9,
        serving=fast,
        slow_network=None,
    )
    assert outran.central_concurrency == 1


def test_the_times_of_a_past_call_are_kept() -> None:
    from energy_tracking.calls.past import PastCall

    usage = SAMPLES["Groq"][0]["usage"]
    record = Estimation(Settings.load({}, {})).record(PastCall(model="gpt-4o", usage=usage))
    assert record.server_timing == read_timing({}, usage)
