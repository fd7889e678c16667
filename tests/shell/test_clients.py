"""Clients of every kind, and in every state, are tracked and go on as they would untracked."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import openai
import pytest

from calls import CHAT, EMBED, SHAPES
from energy_tracking import instrument_openai, unwrap_openai
from energy_tracking.demo.server import Reply
from energy_tracking.openai_client import bodies
from loopback import Flavour, Loopback, chat_completion, embedding, error_reply, json_reply
from observed_calls import Watch

plain = SHAPES["chat"]


async def refused(flavour: Flavour, function: Callable[..., Any], *args: Any) -> tuple[type, str]:
    """What it raises: the type, and the words."""
    with pytest.raises(Exception) as raised:  # noqa: PT011
        await flavour.call(function, *args)
    return type(raised.value), str(raised.value)


# --- copies ----------------------------------------------------------------------------


async def post(flavour: Flavour, client: Any) -> None:
    """By the client alone: its resources may be those of the client it is a copy of."""
    await flavour.call(client.post, "/chat/completions", cast_to=object, body=CHAT)


@pytest.mark.parametrize("unwrap", [False, True])
async def test_a_shallow_copy_of_a_wrapped_client_is_tracked_by_itself(
    flavour: Flavour, loopback: Loopback, watch: Watch, unwrap: bool
) -> None:
    client = watch.wrap(flavour.client("http://127.0.0.1:9/v1"), gpu="A100")
    copied = copy.copy(client)
    copied.base_url = loopback.base_url
    if unwrap:
        unwrap_openai(client)
    assert type(copied) is type(client)
    await post(flavour, copied)
    assert watch.attributes["energy_tracking.gpu"] == "A100"
    unwrap_openai(copied)
    await post(flavour, copied)
    assert (len(watch.records), len(loopback.requests)) == (1, 2)


async def test_unwrapping_a_copy_leaves_the_client_tracked(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    client = watch.wrap(flavour.client(loopback.base_url))
    attributes = set(vars(unwrap_openai(copy.copy(client))))
    assert not {name for name in attributes if "energy" in name or name == "request"}
    await plain.ask(flavour, client)
    assert len(watch.records) == 1


@pytest.mark.parametrize("instrument", [False, True])
async def test_a_shallow_copy_of_a_client_that_is_not_wrapped_is_the_sdks(
    flavour: Flavour, loopback: Loopback, watch: Watch, instrument: bool
) -> None:
    watch.wrap(flavour.client(loopback.base_url))
    if instrument:
        instrument_openai(**watch.arguments)
    client = flavour.client(loopback.base_url)
    client.mark = mark = object()
    copied = copy.copy(client)
    assert type(copied) is type(client)
    assert vars(copied) == vars(client)
    assert vars(copied) is not vars(client)
    assert copied.mark is mark
    await post(flavour, copied)
    assert len(watch.records) == instrument


# What the SDK leaves of an attempt complains when it is collected.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("way", [pickle.dumps, copy.deepcopy])
async def test_a_client_that_cannot_be_copied_raises_as_ever(
    flavour: Flavour, loopback: Loopback, watch: Watch, way: Callable[[Any], Any]
) -> None:
    untracked = await refused(flavour, way, flavour.client(loopback.base_url))
    client = watch.wrap(flavour.client(loopback.base_url))
    assert await refused(flavour, way, client) == untracked
    gc.collect()
    await plain.ask(flavour, client)
    assert len(watch.records) == 1


async def test_a_closed_client_refuses_as_ever(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    untracked = flavour.client(loopback.base_url)
    client = watch.wrap(flavour.client(loopback.base_url))
    await flavour.call(untracked.close)
    await flavour.call(client.close)
    expected = await refused(flavour, post, flavour, untracked)
    assert await refused(flavour, post, flavour, client) == expected
    assert watch.record.error_type == expected[0].__name__


# --- transports ------------------------------------------------------------------------


async def test_an_untracked_client_with_the_same_http_client_stays_untracked(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    kind: Any = openai.DefaultAsyncHttpxClient if flavour.is_async else openai.DefaultHttpxClient
    shared = kind()
    tracked = watch.wrap(flavour.client(loopback.base_url, http_client=shared))
    untracked = flavour.client(loopback.base_url, http_client=shared)
    for client in (untracked, tracked, untracked):
        await plain.ask(flavour, client)
    assert (len(watch.records), len(loopback.requests)) == (1, 3)


@pytest.mark.parametrize("name", SHAPES)
async def test_a_client_over_the_first_httpx_is_tracked(
    flavour: Flavour, loopback: Loopback, watch: Watch, name: str
) -> None:
    httpx = pytest.importorskip("httpx")
    http = httpx.AsyncClient() if flavour.is_async else httpx.Client()
    loopback.serve(SHAPES[name].answer)
    client = watch.wrap(flavour.client(loopback.base_url, http_client=http))
    await SHAPES[name].ask(flavour, client)
    usage = watch.record.usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == SHAPES[name].tokens


@pytest.mark.parametrize("name", SHAPES)
async def test_a_client_over_aiohttp_is_tracked(
    loopback: Loopback, watch: Watch, name: str
) -> None:
    pytest.importorskip("aiohttp")
    if not hasattr(openai, "DefaultAioHttpClient"):
        pytest.skip(f"openai {openai.VERSION} has no DefaultAioHttpClient")
    try:
        http = openai.DefaultAioHttpClient()
    except RuntimeError as error:
        pytest.skip(str(error))
    flavour = Flavour("async")
    loopback.serve(SHAPES[name].answer)
    async with watch.wrap(flavour.client(loopback.base_url, http_client=http)) as client:
        await SHAPES[name].ask(flavour, client)
    usage = watch.record.usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == SHAPES[name].tokens


async def test_a_huge_body_is_parsed_by_the_sdk_alone(
    flavour: Flavour, loopback: Loopback, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[object] = []
    for read in ("_read_object", "_find_usage"):
        monkeypatch.setattr(bodies, read, parsed.append)
    loopback.serve(json_reply(embedding([0.25] * 10_000)))
    client = watch.wrap(flavour.client(loopback.base_url))
    await flavour.call(client.embeddings.create, **EMBED, encoding_format="float")
    assert watch.record.usage is not None
    assert (watch.record.usage.input_tokens, parsed) == (4, [])


# --- who is asked ----------------------------------------------------------------------


async def test_a_request_sent_again_with_a_new_token_is_one_call(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    if openai.VERSION < "3":
        pytest.skip(f"openai {openai.VERSION} has no workload identity")
    token = {"access_token": "t", "token_type": "Bearer", "expires_in": 3600}
    loopback.serve(json_reply(token), endpoint="oauth/token")
    loopback.serve(error_reply(401), json_reply(chat_completion()), endpoint="chat/completions")
    identity = {
        "identity_provider_id": "idp",
        "service_account_id": "sa",
        "provider": {"token_type": "jwt", "get_token": lambda: "subject"},
    }
    client = flavour.client(loopback.base_url, api_key=None, workload_identity=identity)
    client._workload_identity_auth.token_exchange_url = f"{loopback.base_url}/oauth/token"
    await plain.ask(flavour, watch.wrap(client))
    paths = [request.path.removeprefix("/v1/") for request in loopback.requests]
    assert paths == ["oauth/token", "chat/completions"] * 2
    assert (watch.record.status, watch.record.error_type) == ("estimated", None)


def of_kind(flavour: Flavour, name: str, answer: Reply, **options: Any) -> Any:
    """A client of another kind, whose requests are answered in memory."""
    name = f"Async{name}" if flavour.is_async else name
    if not hasattr(openai, name):
        pytest.skip(f"openai {openai.VERSION} has no {name}")
    http = sys.modules["httpx2" if openai.VERSION >= "3" else "httpx"]
    transport = http.MockTransport(
        lambda request: http.Response(answer.status, content=answer.body, headers=answer.headers)
    )
    http_client = http.AsyncClient if flavour.is_async else http.Client
    options |= {"max_retries": 0, "http_client": http_client(transport=transport)}
    client = getattr(openai, name)(api_key="none", **options)
    flavour._clients.append(client)
    return client


async def test_an_azure_deployment_is_the_model_asked_for_also_where_it_fails(
    flavour: Flavour, watch: Watch
) -> None:
    options = {"azure_endpoint": "https://mine.openai.azure.com", "api_version": "2024-10-21"}
    client = watch.wrap(of_kind(flavour, "AzureOpenAI", error_reply(404), **options))
    with pytest.raises(openai.NotFoundError):
        await plain.ask(flavour, client, model="my-deployment")
    assert watch.attributes["gen_ai.request.model"] == "my-deployment"
    assert watch.attributes["gen_ai.provider.name"] == "azure.ai.openai"
    assert watch.attributes["error.type"] == "NotFoundError"


@pytest.mark.parametrize(
    "host", ["bedrock-runtime.us-east-1.amazonaws.com", "bedrock-mantle.us-east-1.api.aws"]
)
async def test_a_bedrock_client_is_tracked(flavour: Flavour, watch: Watch, host: str) -> None:
    answer = json_reply(chat_completion())
    url = f"https://{host}/openai/v1"
    client = watch.wrap(of_kind(flavour, "BedrockOpenAI", answer, base_url=url))
    await plain.ask(flavour, client)
    assert watch.attributes["gen_ai.provider.name"] == "aws.bedrock"
    assert watch.attributes["server.address"] == host
    assert watch.record.status == "estimated"


PROVIDERS_LATER = """
import openai
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from energy_tracking import process_session, wrap_openai

client = wrap_openai(openai.OpenAI(api_key="none", base_url={url!r}))
ask = lambda: client.chat.completions.create(**{request!r})
ask()
exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
metrics.set_meter_provider(MeterProvider([reader]))
ask()
measured = reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics
names = [metric.name for metric in measured]
print(process_session().totals.calls, len(exporter.get_finished_spans()),
      "energy_tracking.client.energy" in names)
"""


def test_providers_set_after_the_first_call_receive_the_next(loopback: Loopback) -> None:
    loopback.serve(plain.answer)
    done = subprocess.run(
        [sys.executable, "-c", PROVIDERS_LATER.format(url=loopback.base_url, request=CHAT)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout.split(), done.stderr) == (["2", "1", "True"], "")
