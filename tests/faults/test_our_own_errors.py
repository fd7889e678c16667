"""Fault: our own code raises, at every boundary it has."""

from __future__ import annotations

import gc
import logging
import traceback
from functools import partial
from importlib import import_module
from typing import Any

import openai
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from calls import CHAT, SHAPES, Shape
from counts import the_only
from energy_tracking import (
    CallRecord,
    Session,
    error_boundary,
    process_session,
    track_energy,
    wrap_openai,
)
from energy_tracking.calls.totals import MAX_GROUPS
from energy_tracking.error_boundary import ErrorBoundary
from energy_tracking.estimation import Estimation
from energy_tracking.notices import forget_said
from energy_tracking.profiles.files import get_catalogue
from energy_tracking.telemetry.spans import CallSpan, Telemetry
from energy_tracking.tracker import Tracker
from energy_tracking.usage.dialects import read_usage
from faults.in_process_client import in_process_client
from loopback import DONE, Flavour, Loopback, chat_chunks, error_reply, sse
from metric_points import points_of
from observed_calls import Watch
from small_profiles import unchecked

plain = SHAPES["chat"]
each_shape = pytest.mark.parametrize(
    "shape",
    [SHAPES[name] for name in ("chat", "chat stream", "embedding", "response stream")],
    ids=lambda shape: f"{shape.method}{' stream' * bool(shape.request.get('stream'))}",
)


class OurError(Exception):
    """Raised where the library might be wrong."""


def broken(*args: object, **kwargs: object) -> Any:
    raise OurError


# Everything a tracked call runs of ours, by owner and name.
SEAMS: list[tuple[object | str, str]] = [
    (Tracker, "start"),
    (Tracker, "over_budget"),
    (Estimation, "_estimate"),
    (Telemetry, "start"),
    (CallSpan, "end"),
    (Session, "credit"),
    ("energy_tracking.openai_client.targets", "endpoint_of"),
    ("energy_tracking.openai_client.sdk", "provider_of_client"),
    ("energy_tracking.openai_client.responses", "follow"),
    ("energy_tracking.openai_client.request", "hold"),
    ("energy_tracking.openai_client.request", "wrappers_around"),
    ("energy_tracking.openai_client.stream_usage", "plan_usage"),
    ("energy_tracking.openai_client.streams", "watched_stream"),
    ("energy_tracking.openai_client.bodies", "read_in_memory"),
    ("energy_tracking.calls.call", "usage_in"),
    ("energy_tracking.calls.call", "identity_in"),
    ("energy_tracking.calls.call_tokens", "read_usage"),
    ("energy_tracking.tracker", "current_session"),
    ("energy_tracking.estimation", "prepare_estimator"),
]


@each_shape
@pytest.mark.parametrize(
    ("owner", "name"), SEAMS, ids=[f"{getattr(o, '__name__', o)}.{n}" for o, n in SEAMS]
)
async def test_our_own_errors_never_reach_the_caller(
    flavour: Flavour,
    loopback: Loopback,
    watch: Watch,
    monkeypatch: pytest.MonkeyPatch,
    shape: Shape,
    owner: object | str,
    name: str,
) -> None:
    loopback.serve(shape.answer)
    untracked = await shape.ask(flavour, flavour.client(loopback.base_url))
    client = watch.wrap(flavour.client(loopback.base_url), include_usage="always")
    with monkeypatch.context() as patch:
        patch.setattr(import_module(owner) if isinstance(owner, str) else owner, name, broken)
        tracked = await shape.ask(flavour, client)
    assert [item.to_dict() for item in tracked] == [item.to_dict() for item in untracked]
    assert {type(error) for _, error in watch.errors} <= {OurError}
    watch.errors.clear()
    await shape.ask(flavour, client)
    assert watch.records[-1].status == "estimated"
    watch.every_call_has_a_span = owner not in (CallSpan, Telemetry)


@pytest.mark.parametrize("failing", ["on_record", "tracer_provider"])
async def test_a_failing_sink_or_provider_of_the_user_is_not_the_callers_trouble(
    flavour: Flavour, loopback: Loopback, watch: Watch, failing: str
) -> None:
    class BadProvider:
        def get_tracer(self, *args: object, **kwargs: object) -> Any:
            return self

        start_span = broken

    errors: list[tuple[str, Exception]] = []
    arguments: dict[str, Any] = {
        "on_error": lambda where, error: errors.append((where, error)),
        failing: broken if failing == "on_record" else BadProvider(),
    }
    loopback.serve(plain.answer)
    client = wrap_openai(flavour.client(loopback.base_url), **arguments)
    before = process_session().totals.calls
    answer = the_only(await plain.ask(flavour, client))
    assert answer.usage.total_tokens == 200
    assert process_session().totals.calls == before + 1
    assert [type(error) for _, error in errors] == [OurError]


async def test_our_errors_are_logged_once_by_default(
    flavour: Flavour, loopback: Loopback, caplog: pytest.LogCaptureFixture
) -> None:
    loopback.serve(plain.answer)
    client = wrap_openai(flavour.client(loopback.base_url), on_record=broken)
    for _ in range(3):
        await plain.ask(flavour, client)
    said = [line for line in caplog.records if "failed in" in line.getMessage()]
    assert len(said) == 1
    assert "the call itself is not affected" in caplog.text


SECRET = "sk-proj-1234567890"


@pytest.mark.parametrize("way", ["a header that is no number", "a request that raises"])
async def test_a_failed_call_is_recorded_whatever_its_error_lets_us_see(
    flavour: Flavour,
    loopback: Loopback,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
) -> None:
    loopback.serve(error_reply(401, f"Incorrect API key provided: {SECRET}."))
    records: list[CallRecord] = []
    client = wrap_openai(flavour.client(loopback.base_url), on_record=records.append)
    headers = {"x-stainless-retry-count": "many"}
    if way == "a request that raises":
        monkeypatch.setattr(openai.APIError, "request", property(broken), raising=False)
        monkeypatch.setattr(openai.APIError, "__init__", _without_a_request)
        headers = {}
    with pytest.raises(openai.AuthenticationError, match=SECRET):
        await flavour.call(client.chat.completions.create, **CHAT, extra_headers=headers)
    assert [record.error_type for record in records] == ["AuthenticationError"]
    # It was said, and neither what the provider has said nor the key in it.
    said = [line for line in caplog.records if "failed in" in line.getMessage()]
    assert len(said) == 1
    assert SECRET not in caplog.text
    assert "Incorrect" not in caplog.text


def _without_a_request(self: Any, message: str, request: Any, *, body: object) -> None:
    Exception.__init__(self, message)
    self.message, self.body, self.code, self.param, self.type = message, body, None, None, None


@pytest.mark.parametrize("handled", ["logged", "handed over"])
def test_our_own_errors_come_without_the_users_that_they_were_raised_over(
    handled: str, caplog: pytest.LogCaptureFixture
) -> None:
    errors: list[tuple[str, Exception]] = []
    on_error: Any = lambda where, error: errors.append((where, error))  # noqa: E731
    tracker = Tracker(on_error=on_error if handled == "handed over" else None)
    try:
        raise RuntimeError(SECRET)
    except RuntimeError as users:
        with tracker.boundary("one"):
            int("many")
        with tracker.boundary("two"):
            raise KeyError from users
        with tracker.boundary("three"):
            try:
                raise LookupError
            except LookupError as looked_up:
                raise OurError from looked_up
    if handled == "logged":
        assert len(caplog.records) == 3
        assert SECRET not in caplog.text
    for _, error in errors:
        assert SECRET not in "".join(traceback.format_exception(error))
        assert error.__context__ is error.__cause__ is None
    assert len(errors) == 3 * (handled == "handed over")


@each_shape
@pytest.mark.parametrize("broken_handler", ["on_error", "logging", "both"])
async def test_a_handler_of_errors_that_raises_is_not_the_callers_trouble(
    flavour: Flavour,
    loopback: Loopback,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    shape: Shape,
    broken_handler: str,
) -> None:
    class BadHandler(logging.Handler):
        emit = broken

    handler = BadHandler()
    logger = logging.getLogger("energy_tracking")
    monkeypatch.setattr(logger, "handlers", [handler] if broken_handler != "on_error" else [])
    monkeypatch.setattr(error_boundary, "_last_resort", type(error_boundary._last_resort)())
    loopback.serve(shape.answer)
    arguments: dict[str, Any] = {"on_record": broken}
    if broken_handler != "logging":
        arguments["on_error"] = broken
    # What an earlier test left to the garbage collector is no call of this one.
    gc.collect()
    before = process_session().totals.calls
    client = wrap_openai(flavour.client(loopback.base_url), **arguments)
    assert await shape.ask(flavour, client)
    gc.collect()
    assert process_session().totals.calls == before + 1
    if broken_handler == "on_error":
        # The broken handler is not silent, either.
        assert "on_error" in caplog.text
        assert "OurError" in caplog.text


class BadHandler(logging.Handler):
    """Raises over whatever is logged."""

    emit = broken


@pytest.fixture
def broken_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's log goes to a handler that raises, down to its finest line."""
    monkeypatch.setattr(logging.getLogger("energy_tracking"), "handlers", [BadHandler()])
    monkeypatch.setattr(logging.getLogger("energy_tracking"), "level", logging.DEBUG)
    forget_said()


@pytest.mark.usefixtures("broken_log")
async def test_a_stream_of_which_something_is_to_be_logged_is_recorded_where_that_raises(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    chunks = chat_chunks("Hello", "!", usage=None)
    loopback.serve(sse(*chunks, DONE))
    client = watch.wrap(flavour.client(loopback.base_url), include_usage="never")
    stream = await flavour.call(client.chat.completions.create, **CHAT, stream=True)
    assert len([chunk async for chunk in flavour.items(stream)]) == len(chunks)
    assert [record.status for record in watch.records] == ["partial"]


@pytest.mark.usefixtures("broken_log")
@pytest.mark.parametrize("limit", [6, 20])
def test_a_span_that_is_too_small_is_exported_where_to_log_it_raises(
    watch: Watch, limit: int
) -> None:
    exporter = InMemorySpanExporter()
    spans = TracerProvider(span_limits=SpanLimits(max_span_attributes=limit))
    spans.add_span_processor(SimpleSpanProcessor(exporter))
    client = in_process_client(Flavour("sync"), SHAPES["chat"])
    wrap_openai(client, tracer_provider=spans)
    call = partial(client.chat.completions.create, **CHAT)
    track_energy(tracer_provider=spans)(call)()
    assert len(exporter.get_finished_spans()) == 2


@pytest.mark.usefixtures("broken_log")
def test_a_call_beyond_the_bound_of_metrics_is_measured_where_to_log_it_raises() -> None:
    reader = InMemoryMetricReader()
    tracker = Tracker(meter_provider=MeterProvider([reader]), spans="off")
    usage = {"prompt_tokens": 1, "completion_tokens": 1}
    records = [
        tracker.record(model="gpt-4o", usage=usage, error_type=f"E{number}")
        for number in range(MAX_GROUPS + 2)
    ]
    measured = [point.value for point in points_of(reader)["energy_tracking.client.energy"]]
    energies = [record.total_energy_joules or 0 for record in records]
    assert sum(measured) == pytest.approx(sum(energies))


class ReadOnlyError(Exception):
    """Nobody may change what it was raised over."""

    @property
    def __cause__(self) -> None:  # type: ignore[override]
        """None, always."""


def test_an_error_that_cannot_be_changed_does_not_reach_the_caller() -> None:
    def sink(record: CallRecord) -> None:
        raise ReadOnlyError

    client = in_process_client(Flavour("sync"), SHAPES["chat"])
    wrap_openai(client, on_record=sink, on_error=broken)
    assert client.chat.completions.create(**CHAT)


def test_the_boundary_itself_lets_no_error_of_its_handler_out() -> None:
    with ErrorBoundary("here", broken):
        raise ValueError
    with pytest.raises(KeyboardInterrupt), ErrorBoundary("here", broken):
        raise KeyboardInterrupt


@pytest.mark.parametrize("name", ["an unknown model", "an infinite estimate", "a budget"])
def test_what_is_logged_by_a_handler_that_raises_changes_no_result(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class BadHandler(logging.Handler):
        emit = broken

    monkeypatch.setattr(logging.getLogger("energy_tracking"), "handlers", [BadHandler()])
    usage = {"prompt_tokens": 1, "completion_tokens": 1}
    tracker = Tracker(on_error=broken)
    if name == "an unknown model":
        record = tracker.record(model="nobody-knows-it", usage=usage)
        assert record.reason == "no energy profile for this model"
        known = read_usage(usage)
        assert known is not None
        assert tracker.estimation.estimate("nobody-knows-this", None, known).reason == record.reason
    elif name == "an infinite estimate":
        catalogue = get_catalogue().copy()
        model = catalogue.model("gpt-4o")
        catalogue.register_model(unchecked(model, "endless", num_active_params=1e308))
        endless = Tracker(catalogue=catalogue, on_error=broken)
        record = endless.record(model="endless", usage=usage)
        assert record.reason == "the estimate is not a finite number"
    else:
        with Session(budget_wh=0) as session:
            session.check_budget()
