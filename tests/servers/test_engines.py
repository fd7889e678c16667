"""What the page of each engine says of its requests and tokens."""

from __future__ import annotations

import pytest

from energy_tracking.servers.engines import ENGINES, ServerReading, read_page
from energy_tracking.servers.pages import PageError
from metrics_pages import PAGES, page_of, running_page

pytest.importorskip("prometheus_client", reason="reading pages is an extra")

READINGS: dict[str, tuple[ServerReading, ...]] = {
    "vllm": (
        ServerReading(
            engine="vLLM",
            model="Qwen/Qwen2.5-0.5B-Instruct",
            running_requests=24,
            busy_replicas=1,
            input_tokens=9_758_464,
            cached_input_tokens=4_879_232,
            output_tokens=14_588,
        ),
    ),
    "ray_serve": (
        ServerReading(
            engine="Ray Serve",
            model="example-model",
            running_requests=16,
            busy_replicas=2,
            output_tokens=1500,
        ),
        ServerReading(engine="Ray Serve", model="other-model", running_requests=3, busy_replicas=1),
    ),
    "sglang": (
        ServerReading(
            engine="SGLang",
            model="meta-llama/Llama-3.1-8B-Instruct",
            running_requests=162,
            busy_replicas=1,
            input_tokens=8_128_902,
            output_tokens=7_557_572,
        ),
    ),
    "sglang_ranks": (
        ServerReading(
            engine="SGLang",
            model="m",
            running_requests=14,
            busy_replicas=1,
            num_gpus=2,
            input_tokens=120,
            cached_input_tokens=30,
        ),
    ),
    "tgi": (
        ServerReading(
            engine="TGI",
            model="",
            running_requests=5,
            busy_replicas=1,
            input_tokens=21_007,
            output_tokens=8123,
        ),
    ),
    "triton": (
        ServerReading(
            engine="Triton with TensorRT-LLM",
            model="tensorrt_llm",
            running_requests=4,
            busy_replicas=1,
        ),
    ),
    "tensorrt_llm": (
        ServerReading(
            engine="TensorRT-LLM",
            model="nemotron-nano-3",
            running_requests=3,
            busy_replicas=1,
            input_tokens=900,
            output_tokens=12_345,
        ),
    ),
    "llama_cpp": (
        ServerReading(
            engine="llama.cpp",
            model="",
            running_requests=2,
            busy_replicas=1,
            input_tokens=6886,
            output_tokens=3469,
        ),
    ),
}


@pytest.mark.parametrize("engine", READINGS)
def test_the_page_of_each_engine_is_read(engine: str) -> None:
    assert read_page(page_of(engine)) == READINGS[engine]


def test_every_engine_of_the_table_has_a_page_and_every_page_is_read() -> None:
    read = {reading.engine for readings in READINGS.values() for reading in readings}
    assert read == {engine.name for engine in ENGINES}
    assert {path.stem for path in PAGES.glob("*.txt")} == READINGS.keys()
    assert all(engine.source.startswith("https://") for engine in ENGINES)


def test_a_call_shares_its_step_with_those_on_its_own_replica() -> None:
    busy, _ = read_page(page_of("ray_serve"))
    assert busy.batch == 8  # 12 and 4 on two replicas; the third one idles


def test_a_server_that_idles_runs_none() -> None:
    (reading,) = read_page(running_page(0))
    assert reading.batch == 0


@pytest.mark.parametrize("value", ["-3", "NaN", "+Inf", "1e300"])
def test_running_requests_that_cannot_be_are_refused(value: str) -> None:
    page = running_page(0).replace("} 0", f"}} {value}")
    with pytest.raises(PageError, match=r"states .* running requests"):
        read_page(page)


@pytest.mark.parametrize("value", ["-1", "NaN", "+Inf"])
def test_a_counter_that_cannot_be_is_left_out(value: str) -> None:
    (reading,) = read_page(
        f"llamacpp:requests_processing 1\nllamacpp:prompt_tokens_total {value}\n"
    )
    assert (reading.running_requests, reading.input_tokens) == (1, None)


@pytest.mark.parametrize(
    "page", ["", "process_cpu_seconds_total 3\n", '{"data": []}', "vllm:requests_running_now 3\n"]
)
def test_a_page_of_no_known_engine_says_where_the_metrics_would_be(page: str) -> None:
    with pytest.raises(PageError, match=r"none of the metrics known .* at /prometheus/metrics"):
        read_page(page)
