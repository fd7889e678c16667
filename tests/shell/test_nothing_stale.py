"""What is kept from call to call never outlives what it was made of."""

from __future__ import annotations

import gc
import tracemalloc
from dataclasses import dataclass
from types import MethodType
from typing import Any
from weakref import WeakSet

import pytest
import wrapt
from opentelemetry import metrics, trace
from opentelemetry.metrics import _internal as metrics_api
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider

from calls import CHAT, attribute
from energy_tracking import CallRecord, Tracker, wrap_openai
from energy_tracking.openai_client import targets
from loopback import CHAT_USAGE, Flavour, Loopback, chat_completion, json_reply
from metric_points import points_of
from observed_calls import Watch

INPUT = "gen_ai.usage.input_tokens"


@pytest.fixture
def answered(loopback: Loopback) -> Loopback:
    loopback.serve(json_reply(chat_completion()))
    return loopback


async def test_a_client_that_is_given_another_url_is_recorded_there(
    answered: Loopback, flavour: Flavour, watch: Watch
) -> None:
    client = watch.wrap(flavour.client(answered.base_url))
    await flavour.call(client.chat.completions.create, **CHAT)
    client.base_url = answered.base_url.replace("127.0.0.1", "localhost")
    await flavour.call(client.chat.completions.create, **CHAT)
    hosts = [record.request.server_address for record in watch.records]
    assert hosts == ["127.0.0.1", "localhost"]


async def test_a_client_that_makes_up_its_url_is_recorded_where_it_sends_each_call(
    answered: Loopback, flavour: Flavour, watch: Watch
) -> None:
    client = watch.wrap(flavour.client(answered.base_url))
    urls = {host: url_at(client, host) for host in ("127.0.0.1", "localhost")}

    class Alternating(type(client)):  # type: ignore[misc]
        host = "127.0.0.1"

        @property
        def base_url(self) -> Any:
            return urls[self.host]

    client.__class__ = Alternating
    for host in urls:
        Alternating.host = host
        await flavour.call(client.chat.completions.create, **CHAT)
    assert [record.request.server_address for record in watch.records] == list(urls)


async def test_a_property_that_replaces_the_url_of_all_clients_is_asked(
    answered: Loopback, flavour: Flavour, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = watch.wrap(flavour.client(answered.base_url))
    await flavour.call(client.chat.completions.create, **CHAT)
    other = url_at(client, "localhost")
    monkeypatch.setattr(type(client), "base_url", property(lambda self: other))
    await flavour.call(client.chat.completions.create, **CHAT)
    hosts = [record.request.server_address for record in watch.records]
    assert hosts == ["127.0.0.1", "localhost"]


def url_at(client: Any, host: str) -> Any:
    """The server's URL by another name of this machine, as the SDK's own kind of object."""
    return client.base_url.copy_with(host=host)


async def test_clients_that_were_given_one_url_have_each_their_provider(
    answered: Loopback, flavour: Flavour, watch: Watch
) -> None:
    client = watch.wrap(flavour.client(answered.base_url))
    other = watch.wrap(flavour.client("http://x", default_query={"api-version": "preview"}))
    other.base_url = client.base_url
    for each in (client, other, client):
        await flavour.call(each.chat.completions.create, **CHAT)
    providers = [record.request.provider for record in watch.records]
    assert providers == ["openai", "azure.ai.openai", "openai"]


async def test_more_clients_than_are_remembered_are_each_recorded_at_their_host(
    answered: Loopback, flavour: Flavour, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets, "MAX_KNOWN", 2)
    client = watch.wrap(flavour.client(answered.base_url))
    for number in range(5):
        client.base_url = f"{answered.base_url}/{number}/.."
        await flavour.call(client.chat.completions.create, **CHAT)
    assert [record.request.server_address for record in watch.records] == ["127.0.0.1"] * 5
    assert len(targets._known) <= 2


async def test_another_model_or_operation_is_another_request(
    answered: Loopback, flavour: Flavour, watch: Watch
) -> None:
    client = watch.wrap(flavour.client(answered.base_url))
    for model in ("gpt-4o", "gpt-4o-mini", "gpt-4o"):
        await flavour.call(client.chat.completions.create, **CHAT | {"model": model})
    assert [record.request.model for record in watch.records] == ["gpt-4o", "gpt-4o-mini", "gpt-4o"]


async def test_an_instrumentation_that_comes_later_is_seen(
    answered: Loopback, flavour: Flavour, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = watch.wrap(flavour.client(answered.base_url))
    await flavour.call(client.chat.completions.create, **CHAT)
    tracer = trace.get_tracer("theirs", tracer_provider=TracerProvider())
    resource = type(attribute(client, "chat.completions"))
    create: Any = resource.create

    def traced(self: Any, *args: Any, **kwargs: Any) -> Any:
        assert tracer is not None
        return create(self, *args, **kwargs)

    monkeypatch.setattr(resource, "create", traced)
    await flavour.call(client.chat.completions.create, **CHAT)
    assert [record.request.reported_elsewhere for record in watch.records] == [False, True]


async def test_another_instrumentation_is_known_by_the_tracer_that_it_has_now(
    answered: Loopback, flavour: Flavour, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = watch.wrap(flavour.client(answered.base_url))
    tracers: list[Any] = [
        None,
        watch.arguments["tracer_provider"].get_tracer("theirs"),
        trace.get_tracer("theirs", tracer_provider=TracerProvider()),
    ]
    resource = type(attribute(client, "chat.completions"))
    create: Any = resource.create
    monkeypatch.setitem(globals(), "tracer_of_theirs", None)

    def traced(self: Any, *args: Any, **kwargs: Any) -> Any:
        assert tracer_of_theirs in tracers  # type: ignore[name-defined]  # noqa: F821
        return create(self, *args, **kwargs)

    monkeypatch.setattr(resource, "create", traced)
    found = []
    for tracer in tracers:
        monkeypatch.setitem(globals(), "tracer_of_theirs", tracer)
        await flavour.call(client.chat.completions.create, **CHAT)
        has_tokens = INPUT in (watch.spans[-1].attributes or {})
        found.append((watch.records[-1].request.reported_elsewhere, has_tokens))
    assert found == [(False, True), (True, False), (True, True)]


@dataclass
class Wrapper:
    """What is wrapped around a function, and has no hash."""

    wrapped: Any
    tracer: Any

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.wrapped(*args, **kwargs)


@pytest.mark.parametrize("kind", [Wrapper, "equal to what it wraps"])
async def test_a_wrapper_is_not_taken_for_the_function_inside(
    answered: Loopback, flavour: Flavour, watch: Watch, kind: Any
) -> None:
    client = watch.wrap(flavour.client(answered.base_url))
    await flavour.call(client.chat.completions.create, **CHAT)
    tracer = watch.arguments["tracer_provider"].get_tracer("theirs")
    resource: Any = attribute(client, "chat.completions")
    create: Any = resource.create.__func__

    def traced(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        assert tracer is not None
        return wrapped(*args, **kwargs)

    wrapper = kind(create, tracer) if kind is Wrapper else wrapt.FunctionWrapper(create, traced)
    resource.create = MethodType(wrapper, resource)
    await flavour.call(client.chat.completions.create, **CHAT)
    assert [record.request.reported_elsewhere for record in watch.records] == [False, True]


async def test_each_tracker_has_its_own_settings_and_providers(
    answered: Loopback, flavour: Flavour
) -> None:
    records: list[CallRecord] = []
    readers = [InMemoryMetricReader(), InMemoryMetricReader()]
    for reader, gpu in zip(readers, ("H100", "A100"), strict=True):
        client = wrap_openai(
            flavour.client(answered.base_url),
            gpu=gpu,
            meter_provider=MeterProvider([reader]),
            on_record=records.append,
        )
        await flavour.call(client.chat.completions.create, **CHAT)
    gpus = [
        {
            dict(point.attributes or {})["energy_tracking.gpu"]
            for point in points_of(reader)["energy_tracking.client.energy"]
        }
        for reader in readers
    ]
    used = [record.estimate.gpu for record in records if record.estimate is not None]
    assert gpus == [{gpu} for gpu in used]
    assert len(set(used)) == 2


@dataclass
class Substitute(metrics.MeterProvider):
    """Stands for a provider that is set up later, as Logfire's: it has no hash.

    It forgets meters that are not in use.
    """

    provider: Any

    def __post_init__(self) -> None:
        self.meters: WeakSet[Any] = WeakSet()

    def get_meter(self, name: str, *args: Any, **kwargs: Any) -> Any:
        meter = metrics_api._ProxyMeter(name)
        self.meters.add(meter)
        return meter

    def set_up(self) -> None:
        gc.collect()
        for meter in self.meters:
            meter.on_set_meter_provider(self.provider)


class EqualSubstitute(Substitute):
    """The same, where all are equal."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EqualSubstitute)

    def __hash__(self) -> int:
        return 0


def check_energy(reader: InMemoryMetricReader) -> None:
    """Check that the counter has the energy of all calls, as the histogram has it."""
    points = points_of(reader)
    counted = sum(point.value for point in points["energy_tracking.client.energy"])
    measured = sum(point.sum for point in points["energy_tracking.client.operation.energy"])
    assert measured > 0
    assert counted == pytest.approx(measured)


def record_with(trackers: list[Tracker]) -> None:
    for tracker in trackers:
        tracker.record(model="gpt-4o", usage=CHAT_USAGE)


@pytest.mark.parametrize("is_first", [True, False], ids=["before", "after"])
def test_the_energy_is_counted_of_trackers_from_before_a_global_provider_was_set_and_after(
    is_first: bool,
) -> None:
    reader, stand_in = InMemoryMetricReader(), metrics_api._ProxyMeterProvider()
    provider = MeterProvider([reader])
    both = (stand_in, provider)
    trackers = [Tracker(meter_provider=each) for each in (both if is_first else both[::-1])]
    stand_in.on_set_meter_provider(provider)
    trackers += [Tracker(meter_provider=each) for each in both]
    record_with(trackers)
    check_energy(reader)


def test_the_energy_is_counted_of_all_trackers_of_a_provider_that_has_no_hash() -> None:
    reader = InMemoryMetricReader()
    provider = Substitute(MeterProvider([reader]))
    trackers = [Tracker(meter_provider=provider) for _ in range(3)]
    provider.set_up()
    record_with(trackers)
    check_energy(reader)


@dataclass
class Around(metrics.MeterProvider):
    """Passes everything on to a provider, as what adds to its meters does."""

    provider: Any

    def get_meter(self, name: str, *args: Any, **kwargs: Any) -> Any:
        return self.provider.get_meter(name, *args, **kwargs)


class AroundWithoutReferences:
    """The same, of which there are no weak references."""

    __slots__ = ("get_meter",)

    def __init__(self, provider: Any) -> None:
        self.get_meter = provider.get_meter


@pytest.mark.parametrize("around", [Around, AroundWithoutReferences])
@pytest.mark.parametrize("is_set_up_late", [True, False], ids=["late", "at once"])
def test_the_energy_is_counted_of_all_trackers_whose_providers_are_one_inside(
    around: Any, is_set_up_late: bool
) -> None:
    reader, stand_in = InMemoryMetricReader(), metrics_api._ProxyMeterProvider()
    provider = MeterProvider([reader])
    inside = stand_in if is_set_up_late else provider
    trackers = [Tracker(meter_provider=around(inside)) for _ in range(3)]
    trackers.append(Tracker(meter_provider=provider))
    stand_in.on_set_meter_provider(provider)
    trackers.append(Tracker(meter_provider=around(inside)))
    record_with(trackers)
    check_energy(reader)


def test_a_provider_is_no_other_that_it_says_it_equals() -> None:
    readers = [InMemoryMetricReader(), InMemoryMetricReader()]
    providers = [EqualSubstitute(MeterProvider([reader])) for reader in readers]
    trackers = [Tracker(meter_provider=provider) for provider in providers]
    for provider in providers:
        provider.set_up()
    record_with(trackers)
    for reader in readers:
        check_energy(reader)


def test_a_provider_with_the_id_of_one_that_is_gone_has_its_own_instruments() -> None:
    for _ in range(20):
        reader = InMemoryMetricReader()
        provider = MeterProvider([reader], shutdown_on_exit=False)
        record_with([Tracker(meter_provider=provider)])
        check_energy(reader)
        del provider, reader
        gc.collect()


class AnyCase(str):
    """A name for which its case makes no difference."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and self.lower() == other.lower()

    def __hash__(self) -> int:
        return hash(self.lower())


def test_a_name_is_recorded_as_it_is_written_whatever_it_says_it_equals() -> None:
    tracker = Tracker()
    names = "gpt-4o", AnyCase("GPT-4O"), AnyCase("Gpt-4o"), "gpt-4o"
    calls = [
        tracker.start(operation="chat", provider="openai", model=name, server_address=name)
        for name in names
    ]
    asked = [(call.request.model, call.request.server_address) for call in calls]
    assert asked == [(str.__str__(name),) * 2 for name in names]
    for call in calls:
        call.abandon()


def test_long_names_are_not_kept() -> None:
    tracker = Tracker()

    def start(number: int) -> None:
        name = f"{number}" + "x" * 1_000_000
        tracker.start(operation="chat", provider="p", model=name, server_address=name).abandon()

    start(0)
    tracemalloc.start()
    for number in range(30):
        start(number)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 1_000_000
