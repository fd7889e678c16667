"""What a request is taken for, however it is made, and how its call ends."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import openai
import pytest

from calls import CHAT, RESPONSE, SHAPES, STREAM
from loopback import (
    CUT,
    DONE,
    Flavour,
    Loopback,
    chat_chunks,
    chat_completion,
    json_reply,
    response_object,
    sse,
)
from observed_calls import Watch

# --- where it goes ---------------------------------------------------------------------

# Base URL below the server's -> what is posted to, and the operation that this is.
FORMS: list[tuple[str, str, str]] = [
    ("/v1", "responses", "chat"),
    ("/v1", "/responses", "chat"),
    ("/v1/", "responses/", "chat"),
    ("/v1", "responses?stream=false", "chat"),
    ("/v1", "chat/completions", "chat"),
    ("/v1", "completions", "text_completion"),
    ("/v1/chat", "completions", "chat"),
    ("/v1/chat/", "/completions", "chat"),
    ("/v1/chat/completions", "", "chat"),
    ("/v1", "embeddings", "embeddings"),
    ("/elsewhere", "{origin}/v1/chat/completions", "chat"),
    ("/elsewhere", "{origin}/v1/responses?api-version=1", "chat"),
    ("/v1", "//chat/completions", "chat"),
    ("/v1", "///chat/completions", "chat"),
    ("/v1", "//responses//", "chat"),
    ("/v1", "/chat//completions", "chat"),
    ("/v1//", "chat/completions/#part", "chat"),
    ("/v1", "/chat/completions?next=/embeddings#/embeddings", "chat"),
    ("/v1", "/embeddings?next=/chat/completions", "embeddings"),
    ("/v1", "/CHAT/Completions/", "chat"),
    ("/v1", "chat%2Fcompletions", "chat"),
    ("/v1", "audio/../chat/./completions", "chat"),
    ("/elsewhere", "HTTP://LocalHost:{port}//V1/Chat/Completions/?a=b", "chat"),
]


@pytest.mark.parametrize(("base", "url", "operation"), FORMS)
async def test_a_request_is_counted_however_its_url_is_written(
    flavour: Flavour, loopback: Loopback, watch: Watch, base: str, url: str, operation: str
) -> None:
    origin = loopback.base_url.removesuffix("/v1")
    loopback.serve(json_reply(chat_completion()))
    client = watch.wrap(flavour.client(origin + base))
    port = origin.rpartition(":")[2]
    whole = url.format(origin=origin, port=port)
    await flavour.call(client.post, whole, cast_to=object, body=CHAT)
    assert watch.record.request.operation == operation
    assert watch.record.request.server_address in ("127.0.0.1", "localhost")
    assert watch.record.usage is not None
    assert watch.record.usage.output_tokens == 80
    assert watch.attributes["server.port"] == int(port)


@pytest.mark.parametrize(
    "url",
    [
        "models",
        "chat/completions/chatcmpl-1",
        "my-responses",
        "/models?a=/responses",
        "//models#/responses",
    ],
)
async def test_what_runs_no_inference_is_not_counted_without_a_slash_either(
    flavour: Flavour, loopback: Loopback, watch: Watch, url: str
) -> None:
    loopback.serve(json_reply(chat_completion()))
    client = watch.wrap(flavour.client(loopback.base_url))
    await flavour.call(client.post, url, cast_to=object, body={})
    assert watch.records == []


@pytest.mark.parametrize(
    "form", ["/responses/{id}", "responses/{id}", "{origin}/v1/responses/{id}"]
)
async def test_a_background_response_is_found_by_a_fetch_in_any_form(
    flavour: Flavour, loopback: Loopback, watch: Watch, form: str
) -> None:
    begun = response_object("", id="resp_any_form", usage=None, status="queued")
    loopback.serve(json_reply(begun))
    client = watch.wrap(flavour.client(loopback.base_url))
    await flavour.call(client.responses.create, **RESPONSE, extra_body={"background": True})
    assert watch.records == []
    loopback.serve(json_reply(response_object("Mexico City", id="resp_any_form")))
    url = form.format(origin=loopback.base_url.removesuffix("/v1"), id="resp_any_form")
    for _ in range(2):
        await flavour.call(client.get, url, cast_to=object)
    assert watch.record.usage is not None
    assert watch.record.usage.output_tokens == 80


async def test_azure_behind_a_host_of_ones_own_is_azure(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    loopback.serve(SHAPES["chat"].answer)
    origin = loopback.base_url.removesuffix("/v1")
    kind: Any = openai.AsyncAzureOpenAI if flavour.is_async else openai.AzureOpenAI

    class Mine(kind):  # type: ignore[misc]
        pass

    client = Mine(api_key="none", azure_endpoint=origin, api_version="2024-10-21")
    flavour._clients.append(client)
    await SHAPES["chat"].ask(flavour, watch.wrap(client))
    assert watch.attributes["gen_ai.provider.name"] == "azure.ai.openai"
    plain = flavour.client(loopback.base_url, default_query={"api-version": "preview"})
    await SHAPES["chat"].ask(flavour, watch.wrap(plain))
    assert watch.records[-1].request.provider == "azure.ai.openai"
    by_path = f"{loopback.base_url}/openai/deployments/mine"
    await SHAPES["chat"].ask(flavour, watch.wrap(flavour.client(by_path)))
    assert watch.records[-1].request.provider == "azure.ai.openai"
    # Others have this path, too (Groq, gateways): it says nothing on an unknown host.
    for url in (loopback.base_url, f"{origin}/openai/v1"):
        await SHAPES["chat"].ask(flavour, watch.wrap(flavour.client(url)))
        assert watch.records[-1].request.provider == "openai"


# --- how its stream ends ----------------------------------------------------------------

FIRST, *REST = chat_chunks("Hello", "!")
ERROR = {"error": {"message": "overloaded", "type": "server_error", "code": "overloaded"}}
FAULTS: dict[str, list[Any]] = {
    "an error event": [FIRST, *REST[:1], ERROR, DONE],
    "an error event first": [ERROR, DONE],
    "cut off": [FIRST, *REST[:1], CUT],
    "not JSON": [FIRST, *REST[:1], b"data: {\n\n", DONE],
}


@pytest.mark.parametrize("steps", FAULTS.values(), ids=FAULTS.keys())
@pytest.mark.parametrize("asks", ["always", "never"])
async def test_the_error_of_a_stream_is_the_one_that_the_caller_saw(
    flavour: Flavour, loopback: Loopback, watch: Watch, steps: list[Any], asks: str
) -> None:
    loopback.serve(sse(*steps))
    client = watch.wrap(flavour.client(loopback.base_url), include_usage=asks)
    stream = await flavour.call(client.chat.completions.create, **STREAM)
    with pytest.raises(Exception) as raised:  # noqa: PT011
        _ = [chunk async for chunk in flavour.items(stream)]
    # There and then, though the caller still holds the stream.
    assert watch.record.error_type == type(raised.value).__qualname__
    await flavour.call(stream.close)


@pytest.mark.parametrize("last", [[], [DONE]], ids=["without a last event", "with it"])
@pytest.mark.parametrize("way", ["read", "raw"])
async def test_a_stream_that_is_read_to_its_end_has_no_error(
    flavour: Flavour, loopback: Loopback, watch: Watch, last: list[Any], way: str
) -> None:
    loopback.serve(sse(*chat_chunks("Hello", "!"), *last))
    client = watch.wrap(flavour.client(loopback.base_url))
    if way == "raw":
        create = client.chat.completions.with_streaming_response.create
        async with flavour.entered(create(**STREAM)) as response:
            _ = [line async for line in flavour.items(response.iter_lines())]
    else:
        stream = await flavour.call(client.chat.completions.create, **STREAM)
        _ = [chunk async for chunk in flavour.items(stream)]
    assert (watch.record.status, watch.record.error_type) == ("estimated", None)


# --- which SDK it is made with ------------------------------------------------------------

ANEW = """
import importlib, sys
import openai
from energy_tracking import instrument_openai, process_session, uninstrument_openai, wrap_openai

def made_with(module):
    return module.OpenAI(api_key="none", base_url={url!r})

def count(client):
    before = process_session().totals.calls
    client.chat.completions.create(model="gpt-4o", messages=[dict(role="user", content="Hi")])
    return process_session().totals.calls - before

instrument_openai()
old = made_with(openai)
counts = [count(old)]
if {way!r} == "purged":
    for name in [name for name in sys.modules if name.partition(".")[0] == "openai"]:
        del sys.modules[name]
    import openai
else:
    for name in ("openai._base_client", "openai._client", "openai"):
        importlib.reload(sys.modules[name])
instrument_openai()
new = made_with(openai)
assert not isinstance(old, openai.OpenAI)
counts += [count(new), count(old), count(wrap_openai(made_with(openai)))]
uninstrument_openai()
counts += [count(new), count(old), count(wrap_openai(new)), count(wrap_openai(old))]
print(*counts)
"""


@pytest.mark.parametrize("way", ["purged", "reloaded"])
def test_an_sdk_that_is_imported_anew_is_tracked(loopback: Loopback, way: str) -> None:
    loopback.serve(SHAPES["chat"].answer)
    done = subprocess.run(
        [sys.executable, "-c", ANEW.format(url=loopback.base_url, way=way)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout.split(), done.stderr) == (list("11110011"), "")
