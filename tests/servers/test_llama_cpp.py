"""A real llama.cpp server: its clock and its metrics page, read as they come."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import openai
import pytest

from energy_tracking import CallRecord, wrap_openai
from energy_tracking.hosts import read_page_address
from energy_tracking.servers.engines import read_page
from energy_tracking.servers.pages import fetch_page

for package in ("xllamacpp", "gguf", "prometheus_client"):
    if find_spec(package) is None:
        reason = f"{package} is not installed: pip install xllamacpp gguf prometheus-client"
        pytest.skip(reason, allow_module_level=True)

PROGRAM = Path(__file__).parent / "llama_cpp_server.py"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server."""
    model = tmp_path_factory.mktemp("model") / "tiny.gguf"
    command = [sys.executable, str(PROGRAM), str(model)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        address = next(line for line in process.stdout if line.startswith("http")).strip()
        try:
            yield address
        finally:
            process.kill()


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_its_clock_and_its_batch_are_read(server: str, stream: bool) -> None:
    records: list[CallRecord] = []
    client = wrap_openai(
        openai.OpenAI(base_url=f"{server}/v1", api_key="k", max_retries=0),
        on_record=records.append,
        method="roofline",
        default_model="llama-3.1-8b",
        server_metrics=server,
        include_usage="always",
    )

    def call(number: int) -> None:
        answer = client.completions.create(
            model="tiny", prompt=f"a b {number}", max_tokens=100, stream=stream
        )
        if stream:
            _ = list(answer)

    with client, ThreadPoolExecutor(2) as pool:
        _ = list(pool.map(call, range(2)))
    assert len(records) == 2
    for record in records:
        timing, load, usage = record.server_timing, record.server_load, record.usage
        assert timing is not None
        assert timing.source == "llama.cpp"
        assert 0 < (timing.decode_seconds or 0) < record.duration_seconds
        assert 0 < (timing.prefill_seconds or 0) < record.duration_seconds
        assert usage is not None
        assert usage.output_tokens > 1
        if load is not None:  # a call may be over before its page was read
            assert load.source == f"llama.cpp at {server}/metrics"
            assert 0 <= load.running_requests <= 2


def test_its_page_counts_the_tokens_that_its_answers_report(server: str) -> None:
    address = read_page_address(server)
    (before,) = read_page(fetch_page(address))
    with openai.OpenAI(base_url=f"{server}/v1", api_key="k", max_retries=0) as client:
        answer = client.completions.create(model="tiny", prompt="a b c d e f", max_tokens=10)
    (after,) = read_page(fetch_page(address))
    assert answer.usage is not None
    assert (after.output_tokens or 0) - (before.output_tokens or 0) == (
        answer.usage.completion_tokens
    )
    assert (after.input_tokens or 0) - (before.input_tokens or 0) == answer.usage.prompt_tokens
