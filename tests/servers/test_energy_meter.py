"""Calls to a server whose meter is read beside them, each with its share of the joules."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from calls import CHAT
from energy_tracking import (
    CallRecord,
    Session,
    Tracker,
    energy_of,
    read_ledger,
    track_energy,
    wrap_openai,
)
from energy_tracking.errors import ConfigurationError
from energy_tracking.servers import metering
from energy_tracking.servers.meters import find_meter, read_meter_address
from energy_tracking.settings import Settings
from loopback import Flavour, Loopback, chat_chunks, chat_completion, json_reply, sse
from metrics_pages import Answer, answer_with, metrics_server
from observed_calls import Watch

pytest.importorskip("prometheus_client", reason="metrics pages are read by an extra")

USAGE = {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}
STEP_JOULES = 50.0
"""What the meter counts from one reading to the next [J]."""


@pytest.fixture(autouse=True)
def _first_reading_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is."""
    monkeypatch.setattr(metering, "FIRST_SECONDS", 30.0)


def dcgm_page(joules: float) -> bytes:
    return f'DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{{gpu="0",UUID="G"}} {joules * 1e3}\n'.encode()


def tensorrt_page(joules: float) -> bytes:
    return f'{{"total_energy_j": {joules}, "query_time": 1e9}}'.encode()


def rising(page: Callable[[float], bytes] = dcgm_page, step: float = STEP_JOULES) -> Answer:
    """A meter that counts on with every reading."""
    readings = count(200)
    return lambda request: answer_with(request, page(step * next(readings)))


def ask(client: Any, flavour: Flavour) -> Any:
    return flavour.call(client.chat.completions.create, **CHAT)


@pytest.mark.parametrize("page", [dcgm_page, tensorrt_page], ids=["dcgm", "tensorrt-llm"])
async def test_a_call_is_measured_by_its_meter_and_its_estimate_stands_beside(
    flavour: Flavour, loopback: Loopback, page: Callable[[float], bytes]
) -> None:
    loopback.serve(json_reply(chat_completion("Hi", usage=USAGE)))
    with metrics_server(rising(page)) as meter, Session() as session:
        records: list[CallRecord] = []
        client = flavour.client(loopback.base_url)
        wrap_openai(client, energy_meter=meter.url, on_record=records.append)
        await ask(client, flavour)
        totals = session.totals
    (record,) = records
    assert (record.status, totals.measured_calls) == ("measured", 1)
    measured, how = record.measured_energy_joules, record.measurement
    assert measured is not None
    assert how is not None
    assert meter.url in how.measured_by
    # The meter counts in whole steps, and nobody else's call takes a part.
    assert measured + how.idle_joules == pytest.approx(measured / how.share)
    assert (measured / how.share) % STEP_JOULES == pytest.approx(0)
    assert how.window_seconds >= record.duration_seconds
    assert record.estimate is not None
    assert record.total_energy_joules == totals.total_energy_joules == measured
    # The page of the meter alone was asked for.
    assert set(meter.requests) == {"/metrics"}


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_calls_at_a_time_share_what_the_meter_counted(
    flavour: Flavour, loopback: Loopback, stream: bool
) -> None:
    if stream:
        loopback.serve(*[sse(*chat_chunks("Hi", usage=USAGE))] * 6)
    else:
        loopback.serve(*[json_reply(chat_completion("Hi", usage=USAGE))] * 6)
    with metrics_server(rising()) as meter, Session() as session:
        records: list[CallRecord] = []
        client = flavour.client(loopback.base_url)
        wrap_openai(client, energy_meter=meter.url, on_record=records.append)

        async def one() -> None:
            answer = await flavour.call(client.chat.completions.create, **CHAT, stream=stream)
            if stream:
                _ = [chunk async for chunk in flavour.items(answer)]

        await asyncio.gather(*[one() for _ in range(6)])
        assert session.totals.calls == 6
        counted = STEP_JOULES * (len(meter.requests) - 1)
    assert [record.status for record in records] == ["measured"] * 6
    assert sum(record.measured_energy_joules or 0 for record in records) <= counted + 1e-6


async def test_a_response_that_a_function_returns_is_counted_once_and_ends_its_span(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    watch.every_call_has_a_span = False  # the function has one too
    loopback.serve(json_reply(chat_completion("Hi", usage=USAGE)))
    with metrics_server(rising()) as meter, Session() as session:
        client = watch.wrap(flavour.client(loopback.base_url), energy_meter=meter.url)

        @track_energy(tracer_provider=watch.arguments["tracer_provider"])
        async def work() -> Any:
            return await ask(client, flavour)

        answer = await work()
        assert session.totals.calls == 1
        record = energy_of(answer)
    assert record is not None
    assert record.measurement is not None
    assert record == watch.records[0]
    by_name = {span.name: dict(span.attributes or {}) for span in watch.spans}
    call = next(span for name, span in by_name.items() if name.startswith("chat"))
    function = next(span for name, span in by_name.items() if "work" in name)
    assert call["energy_tracking.status"] == "measured"
    assert call["energy_tracking.measured_share"] == record.measurement.share
    assert call["energy_tracking.measured_idle_joules"] == record.measurement.idle_joules
    assert call["energy_tracking.estimated_energy_joules"] == record.estimate.total_energy_joules  # type: ignore[union-attr]
    assert function["energy_tracking.rollup.calls"] == 1
    assert function["energy_tracking.rollup.total_energy_joules"] == pytest.approx(
        record.measured_energy_joules
    )


async def test_the_measurement_is_on_the_ledger(
    flavour: Flavour, loopback: Loopback, tmp_path: Any
) -> None:
    loopback.serve(json_reply(chat_completion("Hi", usage=USAGE)))
    path = tmp_path / "calls.jsonl"
    with metrics_server(rising()) as meter, Session() as session:
        client = flavour.client(loopback.base_url)
        records: list[CallRecord] = []
        wrap_openai(client, energy_meter=meter.url, ledger=path, on_record=records.append)
        await ask(client, flavour)
        assert session.totals.measured_calls == 1
    (entry,) = read_ledger(path)
    assert entry.record.measurement == records[0].measurement
    assert entry.record.measurement is not None


async def test_another_client_s_tokens_are_not_ours(flavour: Flavour, loopback: Loopback) -> None:
    """The server makes ten times our tokens from one reading of its meter to the next."""
    loopback.serve(json_reply(chat_completion("Hi", usage=USAGE)))
    steps = count()
    shown = [0]

    def show_meter(request: BaseHTTPRequestHandler) -> None:
        shown[0] = next(steps)
        answer_with(request, dcgm_page(STEP_JOULES * shown[0]))

    def show_server(request: BaseHTTPRequestHandler) -> None:
        lines = (
            "vllm:num_requests_running 10",
            f"vllm:prompt_tokens_total {10_000 * shown[0]}",
            f"vllm:generation_tokens_total {5_000 * shown[0]}",
        )
        answer_with(request, "\n".join((*lines, "")).encode())

    pages = metrics_server(show_meter), metrics_server(show_server)
    with pages[0] as meter, pages[1] as server, Session() as session:
        client = flavour.client(loopback.base_url)
        records: list[CallRecord] = []
        wrap_openai(
            client,
            energy_meter=meter.url,
            server_metrics=f"127.0.0.1={server.url}",
            on_record=records.append,
        )
        await ask(client, flavour)
        assert session.totals.measured_calls == 1
    # However many windows it overlaps: each has the same joules for the same tokens.
    assert records[0].measured_energy_joules == pytest.approx(STEP_JOULES / 10)


def missing(request: BaseHTTPRequestHandler) -> None:
    answer_with(request, b"", 404)


def without_counter(request: BaseHTTPRequestHandler) -> None:
    answer_with(request, b"vllm:num_requests_running 3\n")


def falling() -> Answer:
    readings = count(200)
    return lambda request: answer_with(request, dcgm_page(1e6 - next(readings)))


@pytest.mark.parametrize(
    ("page", "why"),
    [
        (missing, "answers 404"),
        (without_counter, "shows none of the counters known"),
        (falling(), "is not whole"),
        (rising(step=0.0), "its counter stood still"),
    ],
    ids=["no page", "no counter", "a counter that starts anew", "a counter that stands still"],
)
async def test_a_meter_that_fails_leaves_the_estimate_and_is_logged_once(
    flavour: Flavour,
    loopback: Loopback,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    page: Answer,
    why: str,
) -> None:
    monkeypatch.setattr(metering, "SETTLE_SECONDS", 0.5)
    loopback.serve(*[json_reply(chat_completion("Hi", usage=USAGE))] * 2)
    with metrics_server(page) as meter, Session() as session:
        records: list[CallRecord] = []
        client = flavour.client(loopback.base_url)
        wrap_openai(client, energy_meter=meter.url, on_record=records.append)
        with caplog.at_level(logging.WARNING, "energy_tracking"):
            for _ in range(2):
                await ask(client, flavour)
                assert session.totals.calls == len(records)
    assert [record.status for record in records] == ["estimated"] * 2
    assert all(record.measurement is None for record in records)
    assert all(why in (record.reason or "") for record in records)
    lines = [line for line in caplog.messages if "energy meter" in line]
    assert len(lines) == 1, lines
    assert why in lines[0]


async def test_a_call_that_failed_is_counted_without_a_share(
    flavour: Flavour, loopback: Loopback
) -> None:
    loopback.serve(json_reply({"error": {"message": "no"}}, status=400))
    with metrics_server(rising()) as meter, Session() as session:
        client = flavour.client(loopback.base_url)
        records: list[CallRecord] = []
        wrap_openai(client, energy_meter=meter.url, on_record=records.append)
        with pytest.raises(Exception, match="no"):
            await ask(client, flavour)
        assert session.totals.failed_calls == 1
    assert records[0].measurement is None


@pytest.mark.parametrize(
    ("meter", "host", "is_found"),
    [
        ("http://localhost:9400/metrics", "127.0.0.1", True),
        ("nvml", "localhost", True),
        ("nvml#gpu=0", "::1", True),
        ("http://gpu-1:9400", "GPU-1", True),
        ("http://gpu-1:9400", "gpu-2", False),
        ("nvml", "api.openai.com", False),
        ("llm.example.org=nvml#gpu=0", "llm.example.org", True),
        ("llm.example.org=http://gpu-1:9400", "gpu-1", False),
        ("nvml", None, False),
    ],
)
def test_a_meter_is_of_calls_to_the_machine_that_it_is_on(
    meter: str, host: str | None, is_found: bool
) -> None:
    address = read_meter_address(meter)
    assert find_meter([address], host) == (address if is_found else None)


async def test_a_meter_that_no_call_goes_beside_is_said_once(
    flavour: Flavour, loopback: Loopback, caplog: pytest.LogCaptureFixture
) -> None:
    loopback.serve(*[json_reply(chat_completion("Hi", usage=USAGE))] * 2)
    with metrics_server(rising()) as meter:
        client = flavour.client(loopback.base_url)
        wrap_openai(client, energy_meter=f"llm.example.org={meter.url}")
        with caplog.at_level(logging.WARNING, "energy_tracking"):
            for _ in range(2):
                await ask(client, flavour)
    (line,) = [line for line in caplog.messages if "energy_meter" in line]
    assert "calls to 127.0.0.1 are on the machine of none of llm.example.org=http" in line


@pytest.mark.parametrize(
    ("given", "meters"),
    [
        ("nvml", ("nvml",)),
        ("nvml#gpu=0,1", ("nvml#gpu=0,1",)),
        ("nvml#gpu=0,1,http://a:9400", ("nvml#gpu=0,1", "http://a:9400/metrics")),
        ("llm.org=http://a:9400", ("llm.org=http://a:9400/metrics",)),
        (["http://a:9400/x#gpu=GPU-1,GPU-0"], ("http://a:9400/x#gpu=GPU-0,GPU-1",)),
    ],
)
def test_meters_are_given_as_a_list_or_a_text(given: Any, meters: tuple[str, ...]) -> None:
    assert Settings.load({"energy_meter": given}, {}).energy_meter == meters
    if isinstance(given, str):
        in_environment = {"ENERGY_TRACKING_ENERGY_METER": given}
        assert Settings.load({}, in_environment).energy_meter == meters


@pytest.mark.parametrize("given", ["nvm", "localhost:9400", "http://a:9400#top", "nvml#gpu="])
def test_what_is_no_meter_is_refused(given: str) -> None:
    with pytest.raises(ConfigurationError, match=r"energy_meter \(ENERGY_TRACKING_ENERGY_METER\)"):
        Settings.load({"energy_meter": given}, {})


def test_a_call_at_the_end_of_a_process_is_delivered_before_that(
    loopback: Loopback, tmp_path: Path
) -> None:
    """Nobody looks, and the meter never counts on."""
    loopback.serve(json_reply(chat_completion("Hi", usage=USAGE)))
    ledger = tmp_path / "calls.jsonl"
    with metrics_server(rising(step=0.0)) as meter:
        code = f"""
import openai
from energy_tracking import wrap_openai
from energy_tracking.servers import metering
metering.LOOK_SECONDS = 0.2
client = openai.OpenAI(base_url={loopback.base_url!r}, api_key="x", max_retries=0)
wrap_openai(client, energy_meter={meter.url!r}, ledger={str(ledger)!r})
client.chat.completions.create(**{CHAT!r})
"""
        subprocess.run([sys.executable, "-c", code], check=True)
    (entry,) = read_ledger(ledger)
    assert entry.record.status == "estimated"
    assert "its counter stood still" in (entry.record.reason or "")


@pytest.mark.skipif(find_spec("pynvml") is not None, reason="nvidia-ml-py is installed")
def test_what_reads_a_meter_must_be_installed() -> None:
    with pytest.raises(
        ConfigurationError, match=r"'nvml' needs the package 'nvidia-ml-py'; install it with: pip"
    ):
        Tracker(energy_meter="nvml")
