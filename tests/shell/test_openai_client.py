"""Every call of a tracked OpenAI client is recorded once, and its caller never notices."""

from __future__ import annotations

import asyncio
import copy
import inspect
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, cast
from urllib.parse import urlsplit

import openai
import pytest
from openai._base_client import AsyncAPIClient, SyncAPIClient
from pydantic import BaseModel

from calls import CHAT, CHAT_STREAM, EMBED, SHAPES, STREAM, Shape
from counts import the_only
from energy_tracking import (
    Session,
    Tracker,
    instrument_openai,
    uninstrument_openai,
    unwrap_openai,
    wrap_openai,
)
from energy_tracking.openai_client.hooks import HOOKS
from energy_tracking.openai_client.sdk import COPIES
from loopback import (
    CHAT_USAGE,
    DONE,
    Answer,
    Body,
    Flavour,
    Loopback,
    after,
    chat_chunks,
    chat_completion,
    embedding,
    error_reply,
    hang_up,
    json_reply,
    rejecting,
    response_object,
    sse,
)
from observed_calls import Watch
from untracked import untrack_all

each_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
plain = SHAPES["chat"]


@contextmanager
def instrumented(watch: Watch, **arguments: Any) -> Iterator[None]:
    instrument_openai(**watch.arguments | arguments)
    try:
        yield
    finally:
        uninstrument_openai()


# --- one call, one record --------------------------------------------------------------


@each_shape
async def test_a_call_is_recorded_once(
    flavour: Flavour, loopback: Loopback, watch: Watch, shape: Shape
) -> None:
    loopback.serve(shape.answer)
    client = watch.wrap(flavour.client(loopback.base_url))
    with Session("here") as session:
        await shape.ask(flavour, client)
    record, attributes = watch.record, watch.attributes
    assert record.usage is not None, record
    assert record.estimate is not None, record
    joules = record.estimate.total_energy_joules
    input_tokens, output_tokens = shape.tokens
    expected = {
        "gen_ai.operation.name": shape.operation,
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": shape.request["model"],
        "gen_ai.usage.input_tokens": input_tokens,
        "gen_ai.usage.output_tokens": output_tokens,
        "server.port": urlsplit(loopback.base_url).port,
        "energy_tracking.session.name": "here",
        "energy_tracking.status": "estimated",
        "energy_tracking.total_energy_joules": joules,
    }
    assert {name: attributes.get(name) for name in expected} == expected
    assert (
        record.status,
        record.request.operation,
        record.usage.input_tokens,
        record.usage.output_tokens,
    ) == ("estimated", shape.operation, *shape.tokens)
    assert session.totals.calls == 1
    assert session.total_energy_joules == pytest.approx(joules, abs=1e-9)


@each_shape
async def test_the_caller_gets_what_an_untracked_client_gives(
    flavour: Flavour, loopback: Loopback, watch: Watch, shape: Shape
) -> None:
    loopback.serve(shape.answer)
    untracked = await shape.ask(flavour, flavour.client(loopback.base_url))
    tracked = await shape.ask(flavour, watch.wrap(flavour.client(loopback.base_url)))
    assert [type(item) for item in tracked] == [type(item) for item in untracked]
    assert [item.to_dict() for item in tracked] == [item.to_dict() for item in untracked]
    assert [vars(item).keys() for item in tracked] == [vars(item).keys() for item in untracked]
    before, after = loopback.requests
    assert after.json == before.json
    assert after.headers.keys() == before.headers.keys()


def test_wrapping_gives_back_the_client_itself(flavour: Flavour, watch: Watch) -> None:
    client = flavour.client("http://127.0.0.1:9/v1")
    kind = type(client)
    assert watch.wrap(client) is client
    assert type(client) is kind
    assert inspect.iscoroutinefunction(client.request) == flavour.is_async
    assert str(inspect.signature(client.request)) == str(
        inspect.signature(kind(api_key="none").request)
    )


@pytest.mark.parametrize("not_a_client", [None, object(), openai.OpenAI, "client"])
def test_wrapping_something_else_names_what_it_takes(not_a_client: object) -> None:
    with pytest.raises(TypeError, match="client must be an OpenAI, "):
        wrap_openai(not_a_client)


async def test_a_client_is_let_go_by_unwrapping_it(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    client = flavour.client(loopback.base_url)
    attributes = set(vars(client))
    watch.wrap(client)
    assert unwrap_openai(unwrap_openai(client)) is client
    assert set(vars(client)) == attributes
    await plain.ask(flavour, client)
    assert watch.records == []


async def test_a_client_wrapped_while_disabled_is_untouched(
    flavour: Flavour, loopback: Loopback, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENERGY_TRACKING_DISABLED", "1")
    client = watch.wrap(flavour.client(loopback.base_url))
    with instrumented(watch):
        await plain.ask(flavour, client)
    assert watch.records == []


async def test_wrapping_again_while_disabled_stops_tracking(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    loopback.serve(plain.answer)
    client = watch.wrap(watch.wrap(flavour.client(loopback.base_url)), disabled=True)
    await plain.ask(flavour, client)
    assert watch.records == []
    watch.wrap(client)
    await plain.ask(flavour, client)
    assert len(watch.records) == 1


async def test_a_client_wrapped_while_disabled_is_left_out_of_instrumentation(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    loopback.serve(plain.answer)
    client = flavour.client(loopback.base_url)
    with instrumented(watch):
        watch.wrap(client, disabled=True)
        await plain.ask(flavour, client)
        assert watch.records == []
        await plain.ask(flavour, flavour.client(loopback.base_url))
        await plain.ask(flavour, unwrap_openai(client))
    assert len(watch.records) == 2


async def test_instrumenting_again_while_disabled_stops_tracking(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    loopback.serve(plain.answer)
    with instrumented(watch):
        instrument_openai(disabled=True)
        await plain.ask(flavour, flavour.client(loopback.base_url))
    assert watch.records == []


def test_a_disabled_tracker_records_nothing_but_still_estimates(watch: Watch) -> None:
    with Session("off") as session:
        tracker = Tracker(**watch.arguments, disabled=True)
        record = tracker.record(model="gpt-4o", usage={"prompt_tokens": 9, "completion_tokens": 9})
    assert record.estimate is not None
    assert session.totals.calls == len(watch.records) == len(watch.spans) == 0


def wrap(watch: Watch, client: Any) -> None:
    watch.wrap(client)


def instrument(watch: Watch, client: Any) -> None:
    instrument_openai(**watch.arguments)


def uninstrument(watch: Watch, client: Any) -> None:
    uninstrument_openai()


WAYS = [
    (wrap,),
    (instrument,),
    (wrap, wrap),
    (instrument, instrument),
    (wrap, instrument),
    (instrument, wrap),
    (instrument, uninstrument, instrument),
    (wrap, instrument, uninstrument),
]
OUTCOMES: dict[str, tuple[Answer, str | None]] = {
    "answered": (json_reply(chat_completion()), None),
    "refused": (error_reply(400), "BadRequestError"),
    "hung up": (hang_up, "APIConnectionError"),
}


@pytest.mark.parametrize("way", WAYS, ids=lambda way: ", ".join(step.__name__ for step in way))
@pytest.mark.parametrize(("answer", "error"), OUTCOMES.values(), ids=OUTCOMES.keys())
async def test_tracking_twice_records_once(
    flavour: Flavour,
    loopback: Loopback,
    watch: Watch,
    way: tuple[Callable[[Watch, Any], None], ...],
    answer: Answer,
    error: str | None,
) -> None:
    loopback.serve(answer)
    client = flavour.client(loopback.base_url)
    for step in way:
        step(watch, client)
    with suppress(openai.OpenAIError):
        await plain.ask(flavour, client)
    assert watch.record.error_type == error


async def test_a_wrapped_client_keeps_its_own_settings_when_all_are_instrumented(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    client = watch.wrap(flavour.client(loopback.base_url), gpu="A100")
    with instrumented(watch, gpu="GB200"):
        await plain.ask(flavour, client)
        await plain.ask(flavour, flavour.client(loopback.base_url))
    gpus = [record.estimate and record.estimate.gpu for record in watch.records]
    assert gpus == ["A100", "GB200"]


async def test_wrapping_again_replaces_the_settings(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    client = watch.wrap(watch.wrap(flavour.client(loopback.base_url), gpu="A100"), gpu="GB200")
    await plain.ask(flavour, client)
    assert watch.attributes["energy_tracking.gpu"] == "GB200"


async def test_a_call_cancelled_before_its_answer_is_recorded_once(
    loopback: Loopback, watch: Watch
) -> None:
    gate = threading.Event()
    loopback.serve(after(gate, json_reply(chat_completion())))
    client = watch.wrap(Flavour("async").client(loopback.base_url))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.chat.completions.create(**CHAT), 0.2)
    gate.set()
    assert (watch.record.error_type, watch.record.status) == ("CancelledError", "unestimated")
    await client.close()


# --- every client there is -------------------------------------------------------------


async def test_clients_made_before_and_after_instrumenting_are_tracked(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    before = flavour.client(loopback.base_url)
    bound = before.chat.completions.create
    raw = before.with_raw_response
    with instrumented(watch):
        after = flavour.client(loopback.base_url)
        await flavour.call(bound, **CHAT)
        await flavour.call(raw.chat.completions.create, **CHAT)
        await flavour.call(after.chat.completions.create, **CHAT)
    assert len(watch.records) == 3
    await flavour.call(bound, **CHAT)
    await flavour.call(raw.chat.completions.create, **CHAT)
    assert len(watch.records) == 3


async def test_methods_taken_before_wrapping_are_tracked(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    client = flavour.client(loopback.base_url)
    bound, raw = client.chat.completions.create, client.with_raw_response
    watch.wrap(client)
    await flavour.call(bound, **CHAT)
    await flavour.call(raw.chat.completions.create, **CHAT)
    assert [record.status for record in watch.records] == ["estimated"] * 2


PARTS = ("__code__", "__defaults__", "__kwdefaults__", "__dict__")


def test_uninstrumenting_leaves_the_sdk_as_it_was(watch: Watch) -> None:
    owners = (SyncAPIClient, AsyncAPIClient, *SyncAPIClient.__bases__, openai.OpenAI)

    def methods() -> dict[Any, Any]:
        return {
            (owner, name): (method, *(getattr(method, part, None) for part in PARTS))
            for owner in owners
            for name, method in vars(owner).items()
        }

    def signatures() -> list[str]:
        return [str(inspect.signature(getattr(owner, "request", print))) for owner in owners]

    untrack_all()
    before, signed = methods(), signatures()
    with instrumented(watch):
        changed = {name for (_, name), was in before.items() if methods()[_, name] != was}
        assert changed == {*HOOKS, *COPIES, "__init__"}
        # Whoever has looked a function up before us calls the same one still.
        assert [found[0] for found in methods().values()] == [was[0] for was in before.values()]
        assert signatures() == signed
    assert methods() == before
    uninstrument_openai()
    assert methods() == before


async def test_another_wrapper_over_ours_survives_uninstrumenting(
    flavour: Flavour, loopback: Loopback, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = AsyncAPIClient if flavour.is_async else SyncAPIClient
    before, seen = owner.request, []
    with instrumented(watch):
        ours = owner.request

        def other(self: Any, *args: Any, **kwargs: Any) -> Any:
            seen.append(self)
            return ours.__get__(self)(*args, **kwargs)

        owner.request = other  # type: ignore[method-assign]
    try:
        await plain.ask(flavour, flavour.client(loopback.base_url))
    finally:
        owner.request = before  # type: ignore[method-assign]
    assert len(seen) == 1
    assert watch.records == []


@pytest.mark.parametrize("copying", ["with_options", "copy"])
async def test_clients_copied_from_a_wrapped_one_are_tracked_by_the_same(
    flavour: Flavour, loopback: Loopback, watch: Watch, copying: str
) -> None:
    client = watch.wrap(flavour.client(loopback.base_url), gpu="A100")
    copied = getattr(getattr(client, copying)(timeout=5.0), copying)(max_retries=1)
    assert type(copied) is type(client)
    assert copied.timeout == 5.0
    await plain.ask(flavour, copied)
    await flavour.call(copied.with_raw_response.chat.completions.create, **CHAT)
    assert [record.estimate and record.estimate.gpu for record in watch.records] == ["A100"] * 2


@pytest.mark.parametrize("instrument", [False, True])
async def test_a_subclass_of_the_user_is_tracked(
    flavour: Flavour, loopback: Loopback, watch: Watch, instrument: bool
) -> None:
    base: Any = openai.AsyncOpenAI if flavour.is_async else openai.OpenAI

    class Mine(base):  # type: ignore[misc]
        asked = 0

        def request(self, *args: Any, **kwargs: Any) -> Any:
            self.asked += 1
            return super().request(*args, **kwargs)

    client = Mine(api_key="none", base_url=loopback.base_url)
    if instrument:
        instrument_openai(**watch.arguments)
    else:
        watch.wrap(client)
    await plain.ask(flavour, client)
    assert (client.asked, watch.record.status) == (1, "estimated")
    await flavour.call(client.close)


def test_the_client_of_the_module_is_tracked(
    loopback: Loopback, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai, "api_key", "none")
    monkeypatch.setattr(openai, "base_url", loopback.base_url + "/")
    monkeypatch.setattr(openai, "_client", None)
    with instrumented(watch):
        openai.chat.completions.create(**CHAT)
    assert watch.record.status == "estimated"
    module_client: Any = openai._client
    module_client.close()


async def test_requests_that_run_no_inference_are_not_recorded(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    client = watch.wrap(flavour.client(loopback.base_url))
    loopback.serve(json_reply({"object": "list", "data": []}), endpoint="models")
    loopback.serve(json_reply(response_object()), endpoint="responses/resp_1")
    loopback.serve(json_reply(chat_completion()), endpoint="chat/completions/chatcmpl-1")
    await flavour.call(client.get, "/models", cast_to=object)
    for _ in range(3):
        fetched = await flavour.call(client.responses.retrieve, "resp_1")
        assert fetched.usage.total_tokens == 200
    await flavour.call(client.get, "/chat/completions/chatcmpl-1", cast_to=object)
    await flavour.call(client.post, "/chat/completions/chatcmpl-1", cast_to=object, body={})
    assert watch.records == []


async def test_a_request_made_inside_another_is_its_own(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    """As token providers do: they are asked by the SDK in the middle of a call."""
    origin = loopback.base_url.removesuffix("/v1")
    inner = watch.wrap(openai.OpenAI(api_key="none", base_url=loopback.base_url))
    loopback.serve(json_reply({"usage": {"input_tokens": 7, "output_tokens": 7}}), endpoint="token")
    loopback.serve(json_reply(embedding()), endpoint="embeddings")
    loopback.serve(json_reply(chat_completion("", usage=None)))

    def token() -> str:
        inner.get("/token", cast_to=object)
        inner.embeddings.create(**EMBED)
        return "token"

    kind: Any = openai.AsyncAzureOpenAI if flavour.is_async else openai.AzureOpenAI
    client = watch.wrap(
        kind(azure_ad_token_provider=token, azure_endpoint=origin, api_version="2024-10-21")
    )
    await plain.ask(flavour, client)
    await flavour.call(client.close)
    inner.close()
    recorded = [
        (record.request.operation, record.usage and record.usage.input_tokens)
        for record in watch.records
    ]
    assert recorded == [("embeddings", 4), ("chat", None)]


# --- raw responses ---------------------------------------------------------------------


async def test_a_raw_response_is_recorded_once_however_often_it_is_parsed(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    client = watch.wrap(flavour.client(loopback.base_url))
    loopback.serve(plain.answer)
    raw = await flavour.call(client.chat.completions.with_raw_response.create, **CHAT)
    assert watch.record.status == "estimated"
    assert raw.parse().usage.total_tokens == raw.parse(to=dict[str, Any])["usage"]["total_tokens"]
    assert raw.http_response.json()["id"] == "chatcmpl-1"
    assert len(watch.records) == 1


async def test_a_raw_stream_is_recorded_once_when_it_is_read(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    client = watch.wrap(flavour.client(loopback.base_url))
    loopback.serve(CHAT_STREAM)
    raw = await flavour.call(client.chat.completions.with_raw_response.create, **STREAM)
    assert watch.records == []
    chunks = [chunk async for chunk in flavour.items(raw.parse())]
    assert [chunk.choices[0].delta.content for chunk in chunks[1:3]] == ["Hello", "!"]
    assert watch.record.usage is not None
    assert watch.record.usage.output_tokens == 80


# --- asking for usage ------------------------------------------------------------------


ASKED = {"stream_options": {"include_usage": True}}
OPENAI, AZURE, OTHER = "api.openai.com", "mine.openai.azure.com", "llm.example.org"


def reached_by(loopback: Loopback, flavour: Flavour, url: str, **options: Any) -> Any:
    """A client of any host, whose requests all end at the loopback server."""
    proxy = loopback.base_url.removesuffix("/v1")
    http: Any = openai.DefaultAsyncHttpxClient if flavour.is_async else openai.DefaultHttpxClient
    if "api_version" not in options:
        return flavour.client(url, http_client=http(proxy=proxy), **options)
    kind: Any = openai.AsyncAzureOpenAI if flavour.is_async else openai.AzureOpenAI
    client = kind(api_key="none", azure_endpoint=url, http_client=http(proxy=proxy), **options)
    flavour._clients.append(client)
    return client


async def text_of(flavour: Flavour, stream: Any) -> str:
    """What a caller reads who knows of no chunk without choices."""
    return "".join([chunk.choices[0].delta.content or "" async for chunk in flavour.items(stream)])


HERE = [OTHER, f"{OTHER}:80", f"http://{OTHER}", f"http://{OTHER}:80/v1", f"{OTHER.upper()}."]
ELSEWHERE = [f"{OTHER}:8000", f"https://{OTHER}:8000/v1", f"api.{OTHER}", "example.org", "[::1]"]

# Where, with what settings, what else the caller says, and what the server is to see.
ASKING: list[tuple[str, Body, Body, object]] = [
    (OPENAI, {}, {}, {"include_usage": True}),
    (OPENAI, {"include_usage": "always"}, {}, {"include_usage": True}),
    (OPENAI, {"include_usage": "never"}, {}, None),
    (OTHER, {}, {}, None),
    (OTHER, {"include_usage": "always"}, {}, {"include_usage": True}),
    (OTHER, {"include_usage_hosts": [OTHER]}, {}, {"include_usage": True}),
    (OTHER, {"include_usage": "never"}, {}, None),
    *((OTHER, {"include_usage_hosts": [host]}, {}, {"include_usage": True}) for host in HERE),
    *((OTHER, {"include_usage_hosts": [host]}, {}, None) for host in ELSEWHERE),
    (OTHER, {"include_usage_hosts": ",".join(ELSEWHERE + HERE)}, {}, {"include_usage": True}),
    (f"{OTHER}:8000", {"include_usage_hosts": ELSEWHERE}, {}, {"include_usage": True}),
    (f"{OTHER}:8000", {"include_usage_hosts": [OTHER]}, {}, {"include_usage": True}),
    (f"{OTHER}:8000", {"include_usage_hosts": [f"{OTHER}:80"]}, {}, None),
    *(
        ("[::1]:8000", {"include_usage_hosts": [host]}, {}, {"include_usage": True})
        for host in ("::1", "[::1]", "[::1]:8000", "http://[::1]:8000/v1", "0:0:0:0:0:0:0:1")
    ),
    *(
        ("m\u00fcnchen.example", {"include_usage_hosts": [host]}, {}, {"include_usage": True})
        for host in ("m\u00fcnchen.example", "M\u00dcNCHEN.example", "xn--mnchen-3ya.example:80")
    ),
    *(
        (OPENAI, {"include_usage": setting}, {"stream_options": given}, given)
        for setting in ("auto", "always", "never")
        for given in ({"include_usage": False}, {"include_usage": True})
    ),
    (
        OPENAI,
        {},
        {"stream_options": {"include_obfuscation": False}},
        {"include_obfuscation": False, "include_usage": True},
    ),
    (OPENAI, {}, {"extra_body": {"stream_options": {"mine": 1}}}, {"mine": 1}),
    (OPENAI, {}, {"extra_body": {"mine": 1}}, {"include_usage": True}),
    (OPENAI, {}, {"extra_body": {"data_sources": []}}, None),
]


@pytest.mark.parametrize(("host", "settings", "said", "seen"), ASKING)
async def test_usage_is_asked_for_where_the_caller_left_it_open(
    flavour: Flavour,
    loopback: Loopback,
    watch: Watch,
    host: str,
    settings: Body,
    said: Body,
    seen: object,
) -> None:
    loopback.serve(CHAT_STREAM)
    client = watch.wrap(reached_by(loopback, flavour, f"http://{host}/v1"), **settings)
    before = copy.deepcopy(said)
    stream = await flavour.call(client.chat.completions.create, **STREAM, **said)
    _ = [chunk async for chunk in flavour.items(stream)]
    assert loopback.requests[-1].json.get("stream_options") == seen
    assert said == before
    assert len(watch.records) == 1


AZURE_VERSIONS = [
    ("2023-05-15", False),
    ("2024-06-01", False),
    ("2024-08-01-preview", False),
    ("2024-09-01-preview", True),
    ("2024-10-21", True),
    ("2025-04-01-preview", True),
    ("preview", True),
]


@pytest.mark.parametrize(("version", "asked"), AZURE_VERSIONS)
async def test_azure_is_asked_from_the_api_version_that_knows_the_option(
    flavour: Flavour, loopback: Loopback, watch: Watch, version: str, asked: bool
) -> None:
    loopback.serve(CHAT_STREAM if asked else sse(*chat_chunks("Hello", "!", usage=None), DONE))
    client = watch.wrap(
        reached_by(loopback, flavour, f"http://{AZURE}", api_version=version),
        model_mapping={"my-deployment": "gpt-4o"},
    )
    stream = await flavour.call(
        client.chat.completions.create, **STREAM | {"model": "my-deployment"}
    )
    assert await text_of(flavour, stream) == "Hello!"
    request = loopback.requests[-1]
    assert "/openai/deployments/my-deployment/chat/completions" in request.path
    assert ("stream_options" in request.json) == asked
    assert watch.record.status == ("estimated" if asked else "partial")
    assert watch.attributes["gen_ai.provider.name"] == "azure.ai.openai"
    assert watch.attributes["server.address"] == AZURE


async def test_azure_of_version_one_is_asked(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    loopback.serve(CHAT_STREAM)
    client = watch.wrap(reached_by(loopback, flavour, f"http://{AZURE}/openai/v1/"))
    stream = await flavour.call(client.chat.completions.create, **STREAM)
    assert await text_of(flavour, stream) == "Hello!"
    assert loopback.requests[-1].json["stream_options"] == {"include_usage": True}
    assert watch.record.status == "estimated"


async def test_a_copied_azure_client_is_tracked(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    loopback.serve(plain.answer)
    client = watch.wrap(reached_by(loopback, flavour, f"http://{AZURE}", api_version="2024-10-21"))
    await plain.ask(flavour, client.with_options(max_retries=1))
    assert watch.record.status == "estimated"


async def test_the_stream_asked_for_usage_is_the_stream_the_caller_would_have_got(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    url = f"http://{OPENAI}/v1"
    unasked = sse(*chat_chunks("Hello", "!", usage=None), DONE)

    def answer(request: Any) -> Any:
        return CHAT_STREAM if "stream_options" in request.json else unasked

    loopback.serve(answer)
    untracked = await flavour.call(
        reached_by(loopback, flavour, url).chat.completions.create, **STREAM
    )
    tracked = await flavour.call(
        watch.wrap(reached_by(loopback, flavour, url)).chat.completions.create, **STREAM
    )
    assert type(tracked) is type(untracked)
    assert vars(tracked).keys() == vars(untracked).keys()
    assert tracked.__orig_class__ == untracked.__orig_class__
    expected = [chunk.to_dict() async for chunk in flavour.items(untracked)]
    assert [chunk.to_dict() async for chunk in flavour.items(tracked)] == expected
    assert tracked.response.is_closed
    assert watch.record.usage is not None
    assert watch.record.usage.output_tokens == 80


async def test_only_the_chunk_without_choices_is_swallowed(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    first, one, two, finish, last = chat_chunks("one", "two")
    late = {**two, "choices": [{**two["choices"][0], "index": 1}]}
    filtered = {**first, "choices": [], "usage": None, "prompt_filter_results": []}
    early = {**finish, "usage": CHAT_USAGE | {"completion_tokens": 1}}
    loopback.serve(sse(filtered, first, one, early, late, last, DONE))
    client = watch.wrap(flavour.client(loopback.base_url), include_usage="always")
    stream = await flavour.call(client.chat.completions.create, **STREAM, n=2)
    chunks = [chunk async for chunk in flavour.items(stream)]
    assert [len(chunk.choices) for chunk in chunks] == [0, 1, 1, 1, 1]
    assert chunks[-1].choices[0].delta.content == "two"
    assert watch.record.usage is not None
    assert watch.record.usage.output_tokens == 80


@pytest.mark.parametrize("way", ["with_raw_response", "with_streaming_response"])
async def test_who_reads_the_raw_response_is_not_sent_what_he_did_not_ask_for(
    flavour: Flavour, loopback: Loopback, watch: Watch, way: str
) -> None:
    loopback.serve(sse(*chat_chunks("Hello", "!", usage=None), DONE))
    client = watch.wrap(reached_by(loopback, flavour, f"http://{OPENAI}/v1"))
    create = getattr(client.chat.completions, way).create
    if way == "with_raw_response":
        raw = await flavour.call(create, **STREAM)
        assert await text_of(flavour, raw.parse()) == "Hello!"
    else:
        async with flavour.entered(create(**STREAM)) as raw:
            parsed = await flavour.call(raw.parse)
            assert await text_of(flavour, parsed) == "Hello!"
    assert "stream_options" not in loopback.requests[-1].json
    assert watch.record.status == "partial"


async def test_a_server_that_refuses_the_option_is_not_asked_by_default(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    unasked = sse(*chat_chunks("Hello", "!", usage=None), DONE)
    loopback.serve(rejecting("stream_options", unasked))
    client = watch.wrap(flavour.client(loopback.base_url))
    stream = await flavour.call(client.chat.completions.create, **STREAM)
    assert await text_of(flavour, stream) == "Hello!"
    assert watch.record.status == "partial"


async def test_retried_requests_ask_for_usage_too(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    loopback.serve(error_reply(500), CHAT_STREAM)
    client = watch.wrap(flavour.client(loopback.base_url, max_retries=2), include_usage="always")
    stream = await flavour.call(client.chat.completions.create, **STREAM)
    assert await text_of(flavour, stream) == "Hello!"
    assert [request.json["stream_options"] for request in loopback.requests] == [
        {"include_usage": True}
    ] * 2
    assert watch.record.retries == 1


# --- retries and errors ----------------------------------------------------------------


async def test_retries_are_part_of_one_call(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    loopback.serve(error_reply(429), error_reply(503), plain.answer)
    client = watch.wrap(flavour.client(loopback.base_url, max_retries=3))
    await plain.ask(flavour, client)
    assert len(loopback.requests) == 3
    assert watch.attributes["energy_tracking.retries"] == 2
    assert watch.record.error_type is None


async def test_a_timeout_and_an_answer_are_one_call(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    gate = threading.Event()
    answer = json_reply(chat_completion())
    loopback.serve(after(gate, answer), answer)
    client = watch.wrap(flavour.client(loopback.base_url, max_retries=5, timeout=0.3))
    try:
        await plain.ask(flavour, client)
    finally:
        gate.set()
    # On a machine that pauses, an answer without a gate can be too late as well.
    assert watch.record.retries == len(loopback.requests) - 1 >= 1
    assert watch.record.status == "estimated"
    assert watch.record.error_type is None


STATUS_ERRORS = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    403: openai.PermissionDeniedError,
    404: openai.NotFoundError,
    422: openai.UnprocessableEntityError,
    429: openai.RateLimitError,
    500: openai.InternalServerError,
}


@pytest.mark.parametrize(("status", "kind"), STATUS_ERRORS.items())
@pytest.mark.parametrize("stream", [False, True])
async def test_an_error_of_the_server_is_raised_unchanged(
    flavour: Flavour,
    loopback: Loopback,
    watch: Watch,
    status: int,
    kind: type[openai.APIStatusError],
    stream: bool,
) -> None:
    loopback.serve(error_reply(status, "no", code="why"))
    with pytest.raises(kind) as untracked:
        await flavour.call(
            flavour.client(loopback.base_url).chat.completions.create, **CHAT, stream=stream
        )
    client = watch.wrap(flavour.client(loopback.base_url))
    with Session() as session, pytest.raises(kind) as raised:
        await flavour.call(client.chat.completions.create, **CHAT, stream=stream)
    assert type(raised.value) is type(untracked.value)
    assert raised.value.args == untracked.value.args
    assert raised.value.body == untracked.value.body
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__ == untracked.value.__suppress_context__
    assert (watch.record.error_type, watch.record.status) == (kind.__name__, "unestimated")
    assert watch.attributes["error.type"] == kind.__name__
    assert watch.spans[0].status.status_code.name == "ERROR"
    assert (session.totals.calls, session.totals.failed_calls) == (1, 1)


@pytest.mark.parametrize(
    ("answer", "kind"), [(error_reply(500), "InternalServerError"), (hang_up, "APIConnectionError")]
)
async def test_a_call_that_fails_states_how_often_it_was_tried_again(
    flavour: Flavour, loopback: Loopback, watch: Watch, answer: Answer, kind: str
) -> None:
    loopback.serve(answer)
    client = watch.wrap(flavour.client(loopback.base_url, max_retries=1))
    with pytest.raises(openai.APIError):
        await plain.ask(flavour, client)
    assert len(loopback.requests) == 2
    assert (watch.record.retries, watch.record.error_type) == (1, kind)


class Capital(BaseModel):
    """What a parsed answer holds."""

    name: str


PARSING: dict[str, tuple[Body, type[Exception]]] = {
    "cut short": (
        chat_completion('{"name": "Mex', finish_reason="length"),
        openai.LengthFinishReasonError,
    ),
    "filtered": (
        chat_completion("", finish_reason="content_filter"),
        openai.ContentFilterFinishReasonError,
    ),
    "not as asked": (chat_completion('{"town": 1}'), ValueError),
}


@pytest.mark.parametrize(("body", "kind"), PARSING.values(), ids=PARSING.keys())
async def test_tokens_are_known_where_the_sdk_raises_over_the_answer(
    flavour: Flavour, loopback: Loopback, watch: Watch, body: Body, kind: type[Exception]
) -> None:
    loopback.serve(json_reply(body))
    client = watch.wrap(flavour.client(loopback.base_url))
    completions = client.chat.completions
    if not hasattr(completions, "parse"):
        completions = client.beta.chat.completions
    with pytest.raises(kind) as raised:
        await flavour.call(completions.parse, **CHAT, response_format=Capital)
    unwrap_openai(client)
    with pytest.raises(kind) as untracked:
        await flavour.call(completions.parse, **CHAT, response_format=Capital)
    assert (type(raised.value), str(raised.value)) == (type(untracked.value), str(untracked.value))
    record = watch.record
    assert record.error_type == type(raised.value).__name__
    assert record.usage is not None
    assert (record.usage.output_tokens, record.status) == (80, "estimated")


async def test_strict_validation_raises_as_ever_and_the_tokens_are_known(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    loopback.serve(json_reply(chat_completion() | {"created": "yesterday"}))
    client = watch.wrap(flavour.client(loopback.base_url, _strict_response_validation=True))
    with pytest.raises(openai.APIResponseValidationError):
        await plain.ask(flavour, client)
    assert watch.record.error_type == "APIResponseValidationError"
    assert watch.record.status == "estimated"


ODD_BODIES: dict[str, Body] = {
    "no usage": chat_completion("", usage=None),
    "null usage": chat_completion("") | {"usage": None},
    "usage of strings": chat_completion("") | {"usage": {"prompt_tokens": "many"}},
    "a list for usage": chat_completion("") | {"usage": [1, 2]},
    "no choices": {"id": "x", "model": "gpt-4o"},
}


@pytest.mark.parametrize("body", ODD_BODIES.values(), ids=ODD_BODIES.keys())
async def test_an_answer_without_tokens_is_counted_and_nothing_invented(
    flavour: Flavour, loopback: Loopback, watch: Watch, body: Body
) -> None:
    loopback.serve(json_reply(body))
    client = watch.wrap(flavour.client(loopback.base_url))
    with Session() as session:
        await plain.ask(flavour, client)
    assert (watch.record.status, watch.record.usage) == ("unestimated", None)
    assert "energy_tracking.total_energy_joules" not in watch.attributes
    assert (session.totals.unestimated_calls, session.total_energy_joules) == (1, 0.0)


async def test_the_usage_of_several_choices_is_already_their_sum(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    body = chat_completion()
    loopback.serve(json_reply(body | {"choices": body["choices"] * 3}))
    await plain.ask(flavour, watch.wrap(flavour.client(loopback.base_url)), n=3)
    assert watch.record.usage is not None
    assert watch.record.usage.output_tokens == CHAT_USAGE["completion_tokens"]


async def test_a_text_without_a_usage_is_partial(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    loopback.serve(json_reply(chat_completion("x" * 43, usage=None)))
    await plain.ask(flavour, watch.wrap(flavour.client(loopback.base_url)))
    assert watch.record.usage is not None
    assert (watch.record.usage.output_tokens, watch.record.status) == (10, "partial")
    assert watch.record.reason == "no usage in the response"


@pytest.mark.parametrize("usage", ["many", [1], 5, True])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_usage_of_a_wrong_kind_is_stated_in_the_record_and_logged_once(
    flavour: Flavour,
    loopback: Loopback,
    watch: Watch,
    caplog: pytest.LogCaptureFixture,
    usage: object,
    stream: bool,
) -> None:
    whole = json_reply(chat_completion("x" * 43) | {"usage": usage})
    for _ in range(2):
        loopback.serve(sse(*chat_chunks("x" * 43, usage=cast(Any, usage))) if stream else whole)
        client = watch.wrap(flavour.client(loopback.base_url))
        answer = await flavour.call(
            client.chat.completions.create, model="gpt-4o", messages=[], stream=stream
        )
        if stream:
            _ = [chunk async for chunk in flavour.items(answer)]
    for record in watch.records:
        assert (record.status, str(record.reason)[:11]) == ("partial", "usage is a ")
    assert sum("usage in a response" in message for message in caplog.messages) == 1


@pytest.mark.parametrize(
    "answer",
    [
        json_reply(b"<html>busy</html>", headers={"content-type": "text/html"}),
        json_reply(b"", headers={"content-type": "application/octet-stream"}),
    ],
)
async def test_an_answer_that_is_no_json_is_counted(
    flavour: Flavour, loopback: Loopback, watch: Watch, answer: Answer
) -> None:
    loopback.serve(answer)
    text = the_only(await plain.ask(flavour, watch.wrap(flavour.client(loopback.base_url))))
    assert text in ("<html>busy</html>", "")
    assert watch.record.status == "unestimated"


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("kind", ["text/plain", "text/html; charset=utf-8", ""])
async def test_json_sent_as_something_else_is_read(
    flavour: Flavour, loopback: Loopback, watch: Watch, raw: bool, kind: str
) -> None:
    loopback.serve(json_reply(chat_completion(), headers={"content-type": kind}))
    completions = watch.wrap(flavour.client(loopback.base_url)).chat.completions
    create = completions.with_raw_response.create if raw else completions.create
    await flavour.call(create, **CHAT)
    assert watch.record.usage is not None
    assert (watch.record.usage.output_tokens, watch.record.status) == (80, "estimated")


async def test_an_unknown_model_is_counted_with_its_tokens_and_logged_once(
    flavour: Flavour, loopback: Loopback, watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    loopback.serve(json_reply(chat_completion(model="unheard-of-1")))
    client = watch.wrap(flavour.client(loopback.base_url))
    for _ in range(3):
        await plain.ask(flavour, client, model="unheard-of-1")
    assert [record.status for record in watch.records] == ["unestimated"] * 3
    assert watch.records[0].usage is not None
    assert watch.records[0].usage.output_tokens == 80
    assert len(caplog.records) == 1
    assert "unheard-of-1" in caplog.text


# --- the SDK itself ------------------------------------------------------------------


def test_importing_the_library_imports_no_openai() -> None:
    code = "import energy_tracking, sys; assert not {'openai', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


WITHOUT_SDK = """
import sys
sys.modules["openai"] = None  # as if it were not installed
from energy_tracking.cli.main import main
from energy_tracking import instrument_openai
try:
    instrument_openai()
except ModuleNotFoundError as error:
    print(error.name, error, sep="|")
main(["run", "-m", "this"])
"""


def test_without_the_sdk_the_error_names_the_extra_to_install() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_SDK], capture_output=True, text=True, check=True
    )
    words = "openai must be installed, so that its clients can be tracked; install it with: pip "
    assert f"openai|{words}install 'energy-tracking[openai]'" in done.stdout
    assert done.stderr.startswith(f"energy-tracking: no OpenAI call is tracked: {words}install ")
