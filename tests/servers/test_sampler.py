"""The batch of a call is read off its server's metrics page, and assumed where that fails."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from counts import the_only
from energy_tracking import CallRecord, wrap_openai
from energy_tracking.errors import ConfigurationError
from energy_tracking.hosts import read_page_address
from energy_tracking.ledger import read_ledger
from energy_tracking.servers import sampler
from energy_tracking.servers.pages import MAX_PAGE_BYTES
from energy_tracking.servers.sampler import Sampler, compute_mean
from energy_tracking.settings import SettingArguments, Settings
from energy_tracking.tracker import Tracker
from loopback import Flavour, Loopback, after, chat_completion, json_reply
from metrics_pages import Answer, MetricsServer, answer_with, metrics_server, page_of, running_page

pytest.importorskip("prometheus_client", reason="reading pages is an extra")

CHAT: dict[str, Any] = {
    "model": "llama-3.1-8b",
    "messages": [{"role": "user", "content": "Capital of Mexico?"}],
}
ROOFLINE: SettingArguments = {"method": "roofline", "gpu": "H100", "num_gpus": 1}


@pytest.fixture(autouse=True)
def _sample_often(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sampler, "PERIOD_SECONDS", 0.01)
    monkeypatch.setattr(sampler, "LEAST_SECONDS", 0.001)
    yield
    sampler.stop_samplers()
    sampler._samplers.clear()


# --- the mean ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("samples", "span", "mean"),
    [
        ([(0, 10), (1, 20)], (0, 1), 15),
        # Each moment counts for the sample nearest: 0.5 s of 10, 1 s of 20, 0.5 s of 60.
        ([(0, 10), (1, 20), (2, 60)], (0, 2), 27.5),
        ([(0, 10), (1, 20), (2, 60)], (1.6, 1.9), 60),
        # Shorter than a period: the nearest one.
        ([(0, 10), (1, 20)], (0.1, 0.2), 10),
        ([(0, 10), (1, 20)], (0.7, 0.7), 20),
        ([(3, 7)], (0, 1), 7),
        # None reaches over it, or over half of it.
        ([(0, 10)], (20, 21), None),
        ([(0, 10)], (0, 100), None),
        ([(0, 10), (100, 10)], (0, 100), None),
        ([], (0, 1), None),
    ],
)
def test_each_moment_of_a_call_counts_for_the_nearest_sample(
    samples: list[tuple[float, float]], span: tuple[float, float], mean: float | None
) -> None:
    assert compute_mean(samples, *span) == (None if mean is None else pytest.approx(mean))


# --- calls -------------------------------------------------------------------------------


class Sampled:
    """A client of a server whose answer waits until its page was read."""

    def __init__(self, loopback: Loopback, flavour: Flavour, page: MetricsServer) -> None:
        self.records: list[CallRecord] = []
        self._loopback = loopback
        self._flavour = flavour
        self._page = page

    async def call(self, **arguments: Any) -> CallRecord:
        """The record of a call during which two samples are taken, or tried.

        When the page is asked for again, what it said before has been read; and what it was
        first asked may have been before the call.
        """
        asked, enough = len(self._page.requests), threading.Event()
        page = self._page.page

        def answer(request: BaseHTTPRequestHandler) -> None:
            if len(self._page.requests) >= asked + 4:
                enough.set()
            if callable(page):
                page(request)
            else:
                answer_with(request, page.encode())

        self._page.page = answer
        reply = json_reply(chat_completion() | {"model": CHAT["model"]})
        self._loopback.serve(after(enough, reply))
        client = wrap_openai(
            self._flavour.client(self._loopback.base_url),
            on_record=self.records.append,
            **(ROOFLINE | arguments),  # type: ignore[arg-type]
        )
        await self._flavour.call(client.chat.completions.create, **CHAT)
        self._page.page = page
        return self.records[-1]

    async def aclose(self) -> None:
        """Close the clients, as the flavour does at the end of a test that takes it."""
        await self._flavour.aclose()


@pytest.fixture
def metrics() -> Iterator[MetricsServer]:
    with metrics_server(running_page(24)) as server:
        yield server


@pytest.fixture
def sampled(loopback: Loopback, flavour: Flavour, metrics: MetricsServer) -> Sampled:
    return Sampled(loopback, flavour, metrics)


@pytest.mark.parametrize("method", ["roofline", "reference"])
async def test_the_batch_read_gives_the_energy_of_the_batch_set(
    sampled: Sampled, metrics: MetricsServer, method: str
) -> None:
    record = await sampled.call(server_metrics=metrics.url, method=method)
    settings: SettingArguments = {**ROOFLINE, "method": method, "sequences": 24}
    by_hand = Tracker(**settings).record(model="llama-3.1-8b", usage=record.usage)
    read, hand = (each.calibrated or each.estimate for each in (record, by_hand))
    assert read is not None
    assert hand is not None
    assert read.total_energy_joules == hand.total_energy_joules
    # The range is the formula's, without that of the batch.
    assert read.range_parts == hand.range_parts
    assert "batch" not in read.range_from
    assert dict(read.assumed) == {
        **hand.assumed,
        "concurrency_source": f"running requests of vLLM at {metrics.url}",
    }


async def test_record_span_and_ledger_say_where_the_batch_is_from(
    sampled: Sampled, metrics: MetricsServer, tmp_path: Path
) -> None:
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    ledger = tmp_path / "calls.jsonl"
    record = await sampled.call(server_metrics=metrics.url, tracer_provider=provider, ledger=ledger)
    assert record.server_load is not None
    assert record.server_load.running_requests == 24
    assert record.server_load.source == f"vLLM at {metrics.url}"
    assert the_only([entry.record for entry in read_ledger(ledger)]) == record
    attributes = dict(the_only(spans.get_finished_spans()).attributes or {})
    assert attributes["energy_tracking.server.running_requests"] == 24
    assert attributes["energy_tracking.assumed.sequences"] == 24
    assert attributes["energy_tracking.assumed.concurrency_source"] == (
        f"running requests of vLLM at {metrics.url}"
    )


async def test_each_client_has_the_batch_of_its_own_server(
    sampled: Sampled, metrics: MetricsServer, loopback: Loopback, flavour: Flavour
) -> None:
    with metrics_server(running_page(3)) as other_page, Loopback() as other_loopback:
        pages = [
            f"127.0.0.1:{server.base_url.rpartition(':')[2].partition('/')[0]}={page.url}"
            for server, page in ((loopback, metrics), (other_loopback, other_page))
        ]
        other = Sampled(other_loopback, flavour, other_page)
        for client, batch in ((sampled, 24), (other, 3), (sampled, 24)):
            record = await client.call(server_metrics=pages)
            assert record.server_load is not None
            assert record.server_load.running_requests == batch


async def test_the_gpus_that_a_page_tells_apart_hold_the_model(
    sampled: Sampled, metrics: MetricsServer
) -> None:
    metrics.page = page_of("sglang_ranks")
    record = await sampled.call(server_metrics=metrics.url, num_gpus=None)
    assert record.estimate is not None
    assert (record.estimate.assumed["sequences"], record.estimate.assumed["num_gpus"]) == (14, 2)


async def test_what_else_a_page_offers_is_read(sampled: Sampled, metrics: MetricsServer) -> None:
    asked = []

    def count(request: BaseHTTPRequestHandler) -> None:
        asked.append(request.path)
        labels = '{engine="0",model_name="llama-3.1-8b"}'
        counted = {
            "num_requests_running": 2,
            "prompt_tokens_total": 1000 + 100 * len(asked),
            "prefix_cache_hits_total": 900 + 25 * len(asked),
            "generation_tokens_total": 50 * len(asked),
        }
        page = "".join(f"vllm:{name}{labels} {value}\n" for name, value in counted.items())
        answer_with(request, page.encode())

    metrics.page = count
    load = (await sampled.call(server_metrics=metrics.url)).server_load
    assert load is not None
    assert load.model == "llama-3.1-8b"
    assert load.cached_share == pytest.approx(0.25)
    assert load.output_tokens_per_second is not None
    assert load.output_tokens_per_second > 0


async def test_of_several_models_on_a_page_the_calls_own_is_taken(
    sampled: Sampled, metrics: MetricsServer, caplog: pytest.LogCaptureFixture
) -> None:
    metrics.page = running_page(50, "other-model") + running_page(6, "llama-3.1-8b")
    record = await sampled.call(server_metrics=metrics.url)
    assert record.server_load is not None
    assert record.server_load.running_requests == 6
    metrics.page = running_page(50, "other-model") + running_page(6, "another-model")
    sampler._samplers.clear()
    record = await sampled.call(server_metrics=metrics.url)
    assert record.server_load is None
    assert "is of 'other-model', 'another-model', and names none as calls do" in caplog.text


# --- pages that cannot be used -----------------------------------------------------------


def redirect(request: BaseHTTPRequestHandler) -> None:
    answer_with(request, b"", 302, Location="/elsewhere")


def send_too_much(request: BaseHTTPRequestHandler) -> None:
    answer_with(request, b"#\n" * (MAX_PAGE_BYTES // 2 + 1))


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (redirect, "answers 302, a redirect, which is not followed"),
        (send_too_much, "is larger than 16 MiB"),
        ("vllm:requests_running_now 5\n", "has none of the metrics known of an engine"),
        (running_page(-3), "states -3 running requests"),
        (running_page(float("nan")), "states nan running requests"),
        (running_page(0), "states no running requests while a call ran"),
    ],
    ids=["redirect", "17-mib", "other-names", "negative", "nan", "idle"],
)
async def test_a_page_that_cannot_be_used_costs_the_call_nothing_and_is_said_once(
    sampled: Sampled,
    metrics: MetricsServer,
    caplog: pytest.LogCaptureFixture,
    page: str | Answer,
    said: str,
) -> None:
    metrics.page = page
    for _ in range(2):
        record = await sampled.call(server_metrics=metrics.url)
        assert record.server_load is None
        assumed = Tracker(**ROOFLINE).record(model="llama-3.1-8b", usage=record.usage)
        assert record.estimate == assumed.estimate
    lines = [line.getMessage() for line in caplog.records if metrics.url in line.getMessage()]
    line = the_only(lines)
    assert said in line
    assert "server_metrics (ENERGY_TRACKING_SERVER_METRICS)" in line


def waiting_for(over: threading.Event) -> Answer:
    """A page that answers when something is over, with nothing."""

    def wait(request: BaseHTTPRequestHandler) -> None:
        over.wait(60)

    return wait


async def test_a_page_that_stalls_does_not_keep_a_call_waiting(
    loopback: Loopback, flavour: Flavour
) -> None:
    over = threading.Event()
    records: list[CallRecord] = []
    with metrics_server(waiting_for(over)) as server:
        client = wrap_openai(
            flavour.client(loopback.base_url), on_record=records.append, server_metrics=server.url
        )
        loopback.serve(json_reply(chat_completion()))
        # Were the page waited for, this would not come back: it answers when the call is over.
        await flavour.call(client.chat.completions.create, **CHAT)
        over.set()
    assert the_only(records).server_load is None


async def test_a_page_that_changes_its_names_is_believed_as_long_as_it_had_them(
    sampled: Sampled, metrics: MetricsServer, caplog: pytest.LogCaptureFixture
) -> None:
    first = await sampled.call(server_metrics=metrics.url)
    metrics.page = "vllm:requests_running_now 5\n"
    sampler._samplers.clear()
    second = await sampled.call(server_metrics=metrics.url)
    metrics.page = running_page(24)
    third = await sampled.call(server_metrics=metrics.url)
    assert [each.server_load is None for each in (first, second, third)] == [False, True, False]


async def test_calls_to_other_hosts_have_their_batch_assumed_which_is_said_once(
    sampled: Sampled,
    metrics: MetricsServer,
    loopback: Loopback,
    flavour: Flavour,
    caplog: pytest.LogCaptureFixture,
) -> None:
    loopback.serve(*[json_reply(chat_completion())] * 2)
    client = wrap_openai(
        flavour.client(loopback.base_url),
        on_record=sampled.records.append,
        server_metrics="http://gpu.example.org:8000/metrics",
    )
    for _ in range(2):
        await flavour.call(client.chat.completions.create, **CHAT)
    assert [record.server_load for record in sampled.records] == [None, None]
    line = the_only([line.getMessage() for line in caplog.records])
    assert "go to none of http://gpu.example.org:8000/metrics" in line
    assert "write HOST=ADDRESS" in line
    assert metrics.requests == []


# --- around calls ------------------------------------------------------------------------


def wait_until(holds: Callable[[], bool]) -> None:
    tick = threading.Event()
    for _ in range(3000):
        if holds():
            return
        tick.wait(0.01)
    raise AssertionError("it never came true")


def test_the_page_is_asked_only_while_calls_are_under_way(metrics: MetricsServer) -> None:
    one = Sampler(read_page_address(metrics.url))
    watch = one.watch("m")
    wait_until(lambda: len(metrics.requests) > 3)
    load = watch()
    assert load is not None
    assert load.running_requests == 24
    wait_until(lambda: not one._is_running.locked())
    asked = len(metrics.requests)
    threading.Event().wait(0.1)
    assert len(metrics.requests) == asked


def test_calls_of_one_server_share_its_samples(metrics: MetricsServer) -> None:
    one = Sampler(read_page_address(metrics.url))
    first = one.watch("m")
    wait_until(lambda: len(metrics.requests) > 1)
    second = one.watch("m")
    asked = len(metrics.requests)
    wait_until(lambda: len(metrics.requests) > asked + 2)
    loads = first(), second()
    assert [load and load.running_requests for load in loads] == [24, 24]


def test_a_call_that_is_dropped_is_no_longer_under_way(metrics: MetricsServer) -> None:
    one = Sampler(read_page_address(metrics.url))
    watch = one.watch("m")
    wait_until(lambda: len(metrics.requests) > 0)
    del watch
    wait_until(lambda: not one._is_running.locked())


def test_the_child_of_a_fork_samples_for_itself(metrics: MetricsServer) -> None:
    one = Sampler(read_page_address(metrics.url))
    sampler._samplers[one.address] = one
    watch = one.watch("m")
    wait_until(lambda: len(metrics.requests) > 1)
    # What the child does first; its parent's thread is not there.
    sampler._begin_child()
    assert watch() is None
    own = one.watch("m")
    asked = len(metrics.requests)
    wait_until(lambda: len(metrics.requests) > asked + 2)
    assert own() is not None


def test_a_process_ends_while_its_page_stalls(loopback: Loopback) -> None:
    over = threading.Event()
    code = f"""
import openai
from energy_tracking import wrap_openai
client = openai.OpenAI(base_url={loopback.base_url!r}, api_key="k", max_retries=0)
wrap_openai(client, server_metrics=PAGE).chat.completions.create(**{CHAT!r})
"""
    loopback.serve(json_reply(chat_completion()))
    with metrics_server(waiting_for(over)) as server:
        done = subprocess.run(
            [sys.executable, "-c", code.replace("PAGE", repr(server.url))],
            capture_output=True,
            text=True,
            timeout=50,
        )
        over.set()
    assert (done.returncode, done.stderr) == (0, "")


# --- the setting -------------------------------------------------------------------------


def test_several_pages_are_read_from_the_environment() -> None:
    given = "http://a:8000/metrics, llm.example.org=http://b:8002/metrics"
    settings = Settings.load({}, {"ENERGY_TRACKING_SERVER_METRICS": given})
    first, second = settings.server_metrics
    assert (first.host, first.port) == ("a", 8000)
    assert (second.host, second.port, second.address.host) == ("llm.example.org", None, "b")
    assert ", ".join(map(str, settings.server_metrics)) == given


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"server_metrics": "localhost:8000"}, "must be the address of a page"),
        ({"server_metrics": "ftp://a/metrics"}, "must be the address of a page"),
        ({"server_metrics": "a b=http://a/metrics"}, "must be a host"),
        ({"server_metrics": 8000}, "must be a list of names"),
        ({"server_metrics": "http://a", "sequences": 3}, "unset where server_metrics"),
        ({"server_metrics": "http://a", "concurrency_per_gpu": 3}, "unset where server_metrics"),
    ],
)
def test_what_is_no_page_is_refused_early(settings: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as refused:
        Tracker(**settings)
    assert "SERVER_METRICS" in str(refused.value)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'energy-tracking\[servers\]'"):
        Tracker(server_metrics="http://localhost:8000")
    Tracker(server_metrics="http://localhost:8000", disabled=True)
