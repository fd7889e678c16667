"""Which servers are asked for the usage of a stream, and what is said where one is not."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

import openai
import pytest

from calls import STREAM
from energy_tracking.demo.server import Reply, Request
from energy_tracking.openai_client import usage_hosts
from loopback import DONE, Flavour, Loopback, chat_chunks, error_reply, rejecting, sse
from observed_calls import Watch

ASKED = {"include_usage": True}
Chunk = dict[str, Any]


def answer(
    change: Callable[[Chunk], Chunk] = dict, headers: Mapping[str, str] | None = None
) -> Callable[[Request], Reply]:
    """A server that sends the usage where it is asked to, and refuses nothing."""

    def reply(request: Request) -> Reply:
        is_asked = request.json.get("stream_options") == ASKED
        chunks = chat_chunks("Hello", "!") if is_asked else chat_chunks("Hello", "!", usage=None)
        return sse(*map(change, chunks), DONE, headers=headers or {})

    return reply


def client_of(loopback: Loopback, flavour: Flavour, url: str, **options: Any) -> Any:
    """A client of any server, whose requests all end at the loopback server."""
    http: Any = openai.DefaultAsyncHttpxClient if flavour.is_async else openai.DefaultHttpxClient
    options["http_client"] = http(proxy=loopback.base_url.removesuffix("/v1"))
    if "api_version" not in options:
        return flavour.client(url, **options)
    kind: Any = openai.AsyncAzureOpenAI if flavour.is_async else openai.AzureOpenAI
    client = kind(api_key="none", azure_endpoint=url, **options)
    flavour._clients.append(client)
    return client


async def read_stream(flavour: Flavour, client: Any) -> str:
    stream = await flavour.call(client.chat.completions.create, **STREAM)
    chunks = [chunk async for chunk in flavour.items(stream)]
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


DATED = {"api_version": "2024-10-21"}
KNOWN: list[tuple[str, dict[str, str]]] = [
    ("http://api.openai.com/v1", {}),
    ("http://eu.api.openai.com/v1", {}),
    ("http://us.api.openai.com/v1", {}),
    ("http://mine.openai.azure.com/openai/v1", {}),
    ("http://mine.services.ai.azure.com/openai/v1", {}),
    ("http://mine.services.ai.azure.com/api/projects/mine/openai/v1/", {}),
    ("http://Mine.CognitiveServices.Azure.com/OpenAI/v1", {}),
    ("http://mine.openai.azure.us/openai/v1", {}),
    ("http://mine.cognitiveservices.azure.com", DATED),
    ("http://mine.services.ai.azure.com", DATED),
    ("http://azure-gateway.example.org", DATED),
    ("http://openrouter.ai/api/v1", {}),
    ("http://api.groq.com/openai/v1", {}),
    ("http://api.deepseek.com", {}),
    ("http://api.x.ai/v1", {}),
    ("http://api.sambanova.ai/v1", {}),
    ("http://us-east-1.api.x.ai/v1", {}),
    ("http://api.together.ai/v1", {}),
    ("http://api.together.xyz/v1", {}),
    ("http://api.fireworks.ai/inference/v1", {}),
    ("http://api.moonshot.ai/v1", {}),
    ("http://dashscope-intl.aliyuncs.com/compatible-mode/v1", {}),
    ("http://mine.cn-beijing.maas.aliyuncs.com/compatible-mode/v1", {}),
    ("http://models.github.ai/inference", {}),
    ("http://api.tokenfactory.nebius.com/v1", {}),
    ("http://api.studio.nebius.com/v1", {}),
    ("http://api.novita.ai/openai", {}),
    ("http://ai-gateway.vercel.sh/v1", {}),
    ("http://ark.cn-beijing.volces.com/api/v3", {}),
    ("http://api.deepinfra.com/v1/openai", {}),
    ("http://api.scaleway.ai/v1", {}),
    ("http://localhost:11434/v1", {}),
    ("http://gpu.example.org:11434/v1", {}),
]
UNKNOWN: list[tuple[str, dict[str, str]]] = [
    ("http://llm.example.org/v1", {}),
    ("http://api.openai.com.example.org/v1", {}),
    ("http://notapi.openai.com/v1", {}),
    ("http://openrouter.ai.example.org/v1", {}),
    ("http://localhost:8000/v1", {}),
    # It refuses what it does not know, and sends the usage unasked.
    ("http://api.mistral.ai/v1", {}),
    # It refuses the option.
    ("http://api.cohere.ai/compatibility/v1", {}),
    # Documented without it.
    ("http://api.hyperbolic.xyz/v1", {}),
    # Some of their models refuse it.
    ("http://integrate.api.nvidia.com/v1", {}),
    ("http://mine.cloud.databricks.com/serving-endpoints", {}),
    ("http://api.x.ai.example.org/v1", {}),
    # Its models are served by an API that refuses the option.
    ("http://mine.services.ai.azure.com/models", {}),
    ("http://mine.openai.azure.com", {"api_version": "2024-06-01"}),
]


@pytest.fixture(autouse=True)
def _no_engine_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_hosts, "_engines", {})


@pytest.mark.parametrize(("url", "options"), KNOWN)
async def test_a_server_documented_to_take_the_option_is_asked(
    flavour: Flavour, loopback: Loopback, watch: Watch, url: str, options: dict[str, str]
) -> None:
    loopback.serve(answer())
    client = watch.wrap(client_of(loopback, flavour, url, **options))
    assert await read_stream(flavour, client) == "Hello!"
    assert loopback.requests[-1].json["stream_options"] == ASKED
    assert (watch.record.status, watch.record.reason) == ("estimated", None)


@pytest.mark.parametrize(("url", "options"), UNKNOWN)
async def test_no_other_server_is_asked_and_the_record_names_the_setting(
    flavour: Flavour, loopback: Loopback, watch: Watch, url: str, options: dict[str, str]
) -> None:
    loopback.serve(answer())
    client = watch.wrap(client_of(loopback, flavour, url, **options))
    assert await read_stream(flavour, client) == "Hello!"
    assert "stream_options" not in loopback.requests[-1].json
    assert watch.record.status == "partial"
    assert watch.record.reason is not None
    assert "include_usage_hosts" in watch.record.reason
    assert "hidden reasoning" in watch.record.reason


async def test_a_request_to_a_whole_url_is_asked_as_the_server_that_it_goes_to(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    loopback.serve(answer())
    client = watch.wrap(client_of(loopback, flavour, "http://api.openai.com/v1"))
    kind: Any = openai.AsyncStream if flavour.is_async else openai.Stream
    for url in ("http://llm.example.org/v1/chat/completions", "chat/completions"):
        chunk_type = openai.types.chat.ChatCompletionChunk
        stream = await flavour.call(
            client.post,
            url,
            cast_to=chunk_type,
            body=STREAM,
            stream=True,
            stream_cls=kind[chunk_type],
        )
        assert [chunk async for chunk in flavour.items(stream)]
    asked = ["stream_options" in request.json for request in loopback.requests]
    assert asked == [False, True]


_hosts = count()


async def test_a_stream_without_usage_is_logged_once_per_server(
    flavour: Flavour, loopback: Loopback, watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    loopback.serve(answer())
    hosts = [f"host{next(_hosts)}.example.org" for _ in range(2)]
    for host in [*hosts, *hosts]:
        await read_stream(
            flavour, watch.wrap(client_of(loopback, flavour, f"http://{host}:8000/v1"))
        )
    said = [line.message for line in caplog.records if line.levelno == logging.WARNING]
    assert len(said) == 2
    for host, line in zip(hosts, said, strict=True):
        assert f"the stream of {host}:8000 reported no usage" in line
        assert "include_usage_hosts" in line


async def test_a_stream_that_is_not_asked_on_purpose_is_not_logged(
    flavour: Flavour, loopback: Loopback, watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    loopback.serve(answer())
    host = f"host{next(_hosts)}.example.org"
    client = watch.wrap(client_of(loopback, flavour, f"http://{host}/v1"), include_usage="never")
    await read_stream(flavour, client)
    assert watch.record.reason == "no usage in the stream"
    assert caplog.records == []


def as_ollama(chunk: Chunk) -> Chunk:
    return chunk | {"system_fingerprint": "fp_ollama"}


def with_choices(key: str) -> Callable[[Chunk], Chunk]:
    """An engine that adds a key of its own to each choice."""
    return lambda chunk: chunk | {"choices": [each | {key: None} for each in chunk["choices"]]}


ENGINES: dict[str, Callable[[Request], Reply]] = {
    "Ollama": answer(as_ollama),
    "vLLM": answer(with_choices("stop_reason")),
    "SGLang": answer(with_choices("matched_stop")),
    "LiteLLM": answer(headers={"x-litellm-version": "1.80.0"}),
}


@pytest.mark.parametrize("engine", ENGINES)
async def test_an_engine_known_by_its_first_answer_is_asked_from_then_on(
    flavour: Flavour,
    loopback: Loopback,
    watch: Watch,
    engine: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", logger="energy_tracking")
    loopback.serve(ENGINES[engine])
    host = f"host{next(_hosts)}.example.org"
    client = watch.wrap(client_of(loopback, flavour, f"http://{host}:8000/v1"))
    for _ in range(2):
        assert await read_stream(flavour, client) == "Hello!"
    assert ["stream_options" in request.json for request in loopback.requests] == [False, True]
    assert [record.status for record in watch.records] == ["partial", "estimated"]
    assert f"{engine} answers at {host}:8000" in caplog.text
    assert usage_hosts._engines == {(host, 8000): engine}


async def test_an_engine_in_whose_place_another_refuses_the_option_is_asked_once_more_alone(
    flavour: Flavour, loopback: Loopback, watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    loopback.serve(ENGINES["vLLM"])
    host = f"host{next(_hosts)}.example.org"
    client = watch.wrap(client_of(loopback, flavour, f"http://{host}:8000/v1"))
    await read_stream(flavour, client)
    loopback.serve(error_reply(400, "the prompt is too long"))
    with pytest.raises(openai.BadRequestError):
        await read_stream(flavour, client)
    loopback.serve(rejecting("stream_options", sse(*chat_chunks("Hello", "!", usage=None), DONE)))
    with pytest.raises(openai.BadRequestError):
        await read_stream(flavour, client)
    for _ in range(2):
        assert await read_stream(flavour, client) == "Hello!"
    asked = ["stream_options" in request.json for request in loopback.requests]
    assert asked == [False, True, True, False, False]
    assert f"{host}:8000, where vLLM answered, refuses stream_options" in caplog.text


@pytest.mark.parametrize(
    "url", ["http://integrate.api.nvidia.com/v1", "http://mine.cloud.databricks.com/endpoints"]
)
async def test_a_host_with_several_engines_is_not_known_by_the_answer_of_one(
    flavour: Flavour, loopback: Loopback, watch: Watch, url: str
) -> None:
    loopback.serve(ENGINES["vLLM"])
    client = watch.wrap(client_of(loopback, flavour, url))
    for _ in range(2):
        assert await read_stream(flavour, client) == "Hello!"
    assert ["stream_options" in request.json for request in loopback.requests] == [False, False]
