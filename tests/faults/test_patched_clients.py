"""Fault: the client is not what it was made as: others have replaced parts of it."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from functools import partialmethod
from types import SimpleNamespace
from typing import Any
from unittest import mock

import openai
import pytest
import wrapt
from openai._base_client import AsyncAPIClient, SyncAPIClient

from calls import SHAPES, Shape, attribute
from energy_tracking import (
    EnergyTrackingWarning,
    instrument_openai,
    uninstrument_openai,
    unwrap_openai,
)
from energy_tracking.openai_client import hooks
from faults.in_process_client import in_process_client
from loopback import Flavour, Loopback
from observed_calls import Watch

Seen = list[str]
Patch = Callable[[Any, Seen, Flavour, Shape], None]


def around(path: str) -> Patch:
    """Replaces a method of the client by one that calls what it found there."""

    def patch(client: Any, seen: Seen, flavour: Flavour, shape: Shape) -> None:
        holder = attribute(client, path.rpartition(".")[0]) if "." in path else client
        name = path.rpartition(".")[2]
        found = getattr(holder, name)

        def replacement(*args: Any, **kwargs: Any) -> Any:
            seen.append(name)
            return found(*args, **kwargs)

        setattr(holder, name, replacement)

    return patch


def mock_around_request(client: Any, seen: Seen, flavour: Flavour, shape: Shape) -> None:
    around("request")(client, seen, flavour, shape)
    client.request = mock.Mock(side_effect=client.request)


def other_http_client(client: Any, seen: Seen, flavour: Flavour, shape: Shape) -> None:
    client._client = in_process_client(flavour, shape)._client
    seen.append("http client")


def other_base_url(client: Any, seen: Seen, flavour: Flavour, shape: Shape) -> None:
    client.base_url = str(client.base_url).replace("127.0.0.1", "localhost")
    seen.append("base url")


PATCHES: dict[str, Patch] = {
    "request": around("request"),
    "post": around("post"),
    "create": around("chat.completions.create"),
    "_process_response": around("_process_response"),
    "_process_response_data": around("_process_response_data"),
    "a mock of request": mock_around_request,
    "the http client": other_http_client,
    "the base url": other_base_url,
}


@pytest.mark.parametrize("patch", PATCHES.values(), ids=PATCHES.keys())
@pytest.mark.parametrize("way", ["wrap", "instrument"])
@pytest.mark.parametrize("order", ["patched first", "tracked first", "patched between two"])
async def test_a_patched_client_is_tracked_once_and_its_patch_goes_on_working(
    flavour: Flavour,
    loopback: Loopback,
    watch: Watch,
    patch: Patch,
    way: str,
    order: str,
) -> None:
    # A stream goes through all there is to patch.
    shape = SHAPES["chat stream"]
    loopback.serve(shape.answer)
    client = flavour.client(loopback.base_url)
    seen: Seen = []

    def track() -> None:
        if way == "wrap":
            watch.wrap(client)
        else:
            instrument_openai(**watch.arguments)

    if order != "patched first":
        track()
    patch(client, seen, flavour, shape)
    if order != "tracked first":
        track()
    result = await shape.ask(flavour, client)
    assert result[-1].usage.total_tokens == 200
    assert seen
    recorded = [
        record.usage and (record.usage.input_tokens, record.usage.output_tokens)
        for record in watch.records
    ]
    assert recorded == [shape.tokens]
    unwrap_openai(client)
    uninstrument_openai()
    counted = len(watch.records)
    seen_before = len(seen)
    await shape.ask(flavour, client)
    assert len(seen) > seen_before or patch in (other_http_client, other_base_url)
    assert len(watch.records) == counted


async def test_unwrapping_leaves_what_others_put_there(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    client = flavour.client(loopback.base_url)
    seen: Seen = []
    around("request")(client, seen, flavour, SHAPES["chat"])
    before = dict(vars(client))
    watch.wrap(client)
    assert dict(vars(unwrap_openai(client))) == before
    watch.wrap(client)
    around("_process_response")(client, seen, flavour, SHAPES["chat"])
    theirs = client._process_response
    assert unwrap_openai(client)._process_response is theirs
    assert client.request is before["request"]


@pytest.mark.parametrize("name", ["request", "_process_response", "_process_response_data"])
async def test_a_wrapper_over_ours_on_the_class_does_not_count_twice(
    flavour: Flavour,
    loopback: Loopback,
    watch: Watch,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    loopback.serve(SHAPES["chat"].answer)
    base = AsyncAPIClient if flavour.is_async else SyncAPIClient
    owner: Any = next(kind for kind in base.__mro__ if name in vars(kind))
    was = vars(owner)[name]
    instrument_openai(**watch.arguments)
    ours = vars(owner)[name]
    setattr(owner, name, lambda self, *a, **k: ours.__get__(self)(*a, **k))
    try:
        for again in range(1, 3):
            instrument_openai(**watch.arguments)
            await SHAPES["chat"].ask(flavour, flavour.client(loopback.base_url))
            assert len(watch.records) == again
            uninstrument_openai()
    finally:
        setattr(owner, name, was)
    assert watch.records[0].usage is not None


def held_in_a_global(original: Any) -> Any:
    scope: dict[str, Any] = {"original": original}
    exec("def request(self, *a, **k): return original(self, *a, **k)", scope)
    return scope["request"]


def held_in_a_class(original: Any) -> Any:
    class Holder:
        kept = original

    def request(self: Any, *args: Any, **kwargs: Any) -> Any:
        return Holder.kept(self, *args, **kwargs)

    return request


def held_in_a_dict(original: Any) -> Any:
    kept = {"original": original}

    def request(self: Any, *args: Any, **kwargs: Any) -> Any:
        return kept["original"](self, *args, **kwargs)

    return request


def held_in_a_default(original: Any) -> Any:
    return lambda self, *a, kept=original, **k: kept(self, *a, **k)


def held_in_a_partial_method(original: Any) -> Any:
    return partialmethod(lambda self, *a, kept, **k: kept(self, *a, **k), kept=original)


def held_in_a_mock(original: Any) -> Any:
    return mock.create_autospec(original, side_effect=original)


HOLDERS = [value for name, value in list(globals().items()) if name.startswith("held_in_")]


@pytest.fixture(scope="module", autouse=True)
def what_was_there_before_can_be_seen() -> Iterator[None]:
    """The SDK's functions are looked for among all objects, see the conftest."""
    gc.unfreeze()
    yield
    gc.freeze()


@pytest.fixture
def nothing_was_found_yet() -> Iterator[None]:
    """As in a process that has not looked for the SDK's functions before."""

    def forget_all() -> None:
        for hooked in hooks._hooked.values():
            hooked.take_off()
        hooks._hooked.clear()
        # With them go their copies of those functions, which a search might find.
        gc.collect()

    forget_all()
    yield
    forget_all()


@pytest.mark.usefixtures("nothing_was_found_yet")
@pytest.mark.parametrize(
    ("owner", "frozen", "hold"),
    [
        *(("base", "", hold) for hold in HOLDERS),
        ("client", "", HOLDERS[0]),
        ("base", "frozen", HOLDERS[-1]),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
@pytest.mark.no_cover  # searches all objects again and again
async def test_the_sdks_function_is_found_wherever_a_replacement_of_the_class_keeps_it(
    flavour: Flavour,
    loopback: Loopback,
    watch: Watch,
    monkeypatch: pytest.MonkeyPatch,
    owner: str,
    frozen: str,
    hold: Callable[[Any], Any],
) -> None:
    loopback.serve(SHAPES["chat"].answer)
    client = flavour.client(loopback.base_url)
    kind: Any = type(client)
    if owner == "base":
        kind = AsyncAPIClient if flavour.is_async else SyncAPIClient
    with monkeypatch.context() as replaced:
        replaced.setattr(kind, "request", hold(kind.request))
        if frozen:
            gc.freeze()  # as servers do before they fork
        instrument_openai(**watch.arguments)
        gc.unfreeze()
        await SHAPES["chat"].ask(flavour, client)
        assert len(watch.records) == 1
    await SHAPES["chat"].ask(flavour, client)
    assert len(watch.records) == 2
    uninstrument_openai()


def test_a_replacement_of_the_class_that_calls_nothing_is_named_once(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SyncAPIClient, "request", lambda self, *a, **k: "canned")
    with pytest.warns(EnergyTrackingWarning) as said:
        instrument_openai(**watch.arguments)
    (line,) = said
    assert "its method request does not call that of openai's client" in str(line.message)
    answer: Any = openai.OpenAI(api_key="none").models.retrieve("gpt-4o")
    assert answer == "canned"
    assert watch.records == []


async def test_a_client_whose_resources_are_mocked_runs_nothing(
    flavour: Flavour, watch: Watch
) -> None:
    client = watch.wrap(flavour.client("http://127.0.0.1:9/v1"))
    answer = SimpleNamespace(usage=None)
    client.chat = mock.Mock()
    client.chat.completions.create.return_value = answer
    assert client.chat.completions.create(model="gpt-4o") is answer
    assert watch.records == []


@pytest.mark.parametrize(
    "client",
    [mock.MagicMock(), mock.create_autospec(openai.OpenAI, instance=True), mock.sentinel.client],
    ids=["mock", "with the spec of a client", "sentinel"],
)
def test_a_mock_of_a_client_is_passed_through_with_one_debug_line(
    client: Any, watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="energy_tracking")
    assert watch.wrap(client) is client
    assert [(line.levelname, line.message) for line in caplog.records] == [
        ("DEBUG", "a mock of a client is not tracked: it runs no model")
    ]
    assert unwrap_openai(client) is client
    assert watch.records == []


def done(**request: Any) -> str:
    return "done"


class FakeClient:
    """What tests write in place of a client."""

    def __init__(self) -> None:
        self.chat = SimpleNamespace(completions=SimpleNamespace(create=done))


class FakeClientOfSlots:
    """The same, in a class that takes no further attributes."""

    __slots__ = ("responses",)

    def __init__(self) -> None:
        self.responses = SimpleNamespace(parse=done)


EMBEDDINGS = SimpleNamespace(create=done)


@pytest.mark.parametrize(
    "fake",
    [
        FakeClient(),
        FakeClientOfSlots(),
        SimpleNamespace(responses=SimpleNamespace(create=done)),
        SimpleNamespace(images=SimpleNamespace(generate=done)),
        SimpleNamespace(audio=SimpleNamespace(transcriptions=SimpleNamespace(create=done))),
        SimpleNamespace(embeddings=EMBEDDINGS, base_url="http://fake"),
        SimpleNamespace(embeddings=EMBEDDINGS, client=None, _client=object()),
        SimpleNamespace(embeddings=EMBEDDINGS, client=mock.Mock()),
        SimpleNamespace(embeddings=SimpleNamespace(create=mock.Mock()), request=mock.Mock()),
    ],
    ids=lambda fake: f"{type(fake).__name__} {','.join(dir(fake)[-3:])}",
)
def test_a_fake_client_is_passed_through_with_one_debug_line(
    fake: Any, watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="energy_tracking")
    before = dict(getattr(fake, "__dict__", {}))
    assert watch.wrap(fake) is fake
    assert getattr(fake, "__dict__", {}) == before
    (line,) = caplog.records
    assert (line.levelname, type(fake).__name__ in line.message) == ("DEBUG", True)
    assert unwrap_openai(fake) is fake


def of_another_sdk() -> Any:
    """As the clients of SDKs modelled on this one are: it sends requests by itself."""
    other: Any = FakeClient()
    other.request = done
    return other


def of_an_installed_package() -> Any:
    return type("Client", (FakeClient,), {"__module__": "pytest"})()


def around_an_http_client() -> Any:
    other: Any = FakeClient()
    other.session = http_client()
    return other


def http_client() -> Any:
    return openai.OpenAI(api_key="none")._client


@pytest.mark.parametrize(
    "make",
    [
        of_another_sdk,
        of_an_installed_package,
        around_an_http_client,
        http_client,
        lambda: openai,
        lambda: openai.OpenAI,
        lambda: FakeClient,
        lambda: 5,
        lambda: None,
    ],
    ids=[
        "another SDK's",
        "installed",
        "with http",
        "http",
        "module",
        "class",
        "fake class",
        "5",
        "",
    ],
)
def test_what_is_neither_a_client_nor_a_fake_is_refused(
    watch: Watch, make: Callable[[], Any]
) -> None:
    given = make()
    with pytest.raises(TypeError) as refused:
        watch.wrap(given)
    assert str(refused.value) == (
        "client must be an OpenAI, AsyncOpenAI, AzureOpenAI or AsyncAzureOpenAI client, "
        f"got {given!r}"
    )


class Delegating:
    """As tracing and caching libraries put around a client."""

    def __init__(self, client: Any) -> None:
        self._wrapped = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapped, name)


class Pretending(Delegating):
    """The same, which says that it is of the client's class."""

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return type(self._wrapped)


def wrapping_mock(client: Any) -> Any:
    return mock.Mock(wraps=client)


class OfSlots:
    """A client's chat alone, in a class that takes no further attributes."""

    __slots__ = ("chat",)

    def __init__(self, client: Any) -> None:
        self.chat = client.chat


class OwnMethods:
    """Methods of its own that call those of the client it holds."""

    def __init__(self, client: Any) -> None:
        self.inner = client
        self.chat = SimpleNamespace(completions=SimpleNamespace(create=self.create))

    def create(self, **request: Any) -> Any:
        return self.inner.chat.completions.create(**request)


PROXIES = [wrapt.ObjectProxy, weakref.proxy, wrapping_mock, Delegating, Pretending, OfSlots]


@pytest.mark.parametrize("proxy", [*PROXIES, OwnMethods], ids=lambda proxy: proxy.__name__)
async def test_a_client_behind_a_proxy_is_tracked(
    flavour: Flavour, loopback: Loopback, watch: Watch, proxy: Callable[[Any], Any]
) -> None:
    loopback.serve(SHAPES["chat"].answer)
    client = flavour.client(loopback.base_url)
    proxied = proxy(client)
    assert watch.wrap(proxied) is proxied
    await SHAPES["chat"].ask(flavour, proxied)
    await SHAPES["chat"].ask(flavour, client)
    assert len(watch.records) == 2
    unwrap_openai(proxied)
    await SHAPES["chat"].ask(flavour, proxied)
    assert len(watch.records) == 2


def test_all_clients_are_tracked_while_the_sdks_class_is_replaced_by_a_mock(
    loopback: Loopback, watch: Watch
) -> None:
    shape = SHAPES["chat"]
    loopback.serve(shape.answer)
    client = Flavour("sync").client(loopback.base_url)
    with mock.patch("openai.OpenAI"):
        openai.OpenAI().chat.completions.create(**shape.request)
        instrument_openai(**watch.arguments)
        client.chat.completions.create(**shape.request)
    client.close()
    assert len(watch.records) == 1
