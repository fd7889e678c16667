"""``energy_of(response)`` is the record of the call that made the response, or None."""

from __future__ import annotations

import copy
import gc
from typing import Any
from unittest.mock import MagicMock

import openai
import pytest
from opentelemetry.sdk.trace import TracerProvider
from pydantic import BaseModel

from calls import CHAT, CHAT_SPAN, EMBED, RESPONSE, SHAPES, STREAM
from energy_tracking import CallRecord, EnergySpanProcessor, Tracker, energy_of, track_energy
from energy_tracking.calls.counted import RESPONSES_REMEMBERED
from loopback import (
    CHAT_USAGE,
    DONE,
    RESPONSE_USAGE,
    Flavour,
    Loopback,
    chat_chunks,
    chat_completion,
    embedding,
    json_reply,
    response_events,
    response_object,
    sse,
)
from observed_calls import Watch

LONG_ID = "chatcmpl-Dr3KNfXKBS1oDOrhqYDuLYdjX9PM4"


@pytest.mark.parametrize("name", SHAPES)
async def test_every_object_of_a_call_has_its_record(
    flavour: Flavour, loopback: Loopback, watch: Watch, name: str
) -> None:
    loopback.serve(SHAPES[name].answer)
    client = watch.wrap(flavour.client(loopback.base_url))
    items = await SHAPES[name].ask(flavour, client)
    if name == "response stream":
        # Deltas have neither the response nor its id.
        items = [item for item in items if hasattr(item, "response")]
        assert len(items) == 3
    assert [energy_of(item) for item in items] == [watch.record] * len(items)
    assert watch.record.total_energy_joules


@pytest.mark.parametrize("id", [LONG_ID, "chatcmpl-1"], ids=["long id", "short id"])
@pytest.mark.parametrize("kind", ["raw", "raw embedding", "streaming"])
async def test_a_raw_response_and_what_is_parsed_of_it_have_the_record(
    flavour: Flavour, loopback: Loopback, watch: Watch, kind: str, id: str
) -> None:
    embeds = kind == "raw embedding"
    loopback.serve(json_reply(embedding() if embeds else chat_completion(id=id)))
    client = watch.wrap(flavour.client(loopback.base_url))
    if kind == "streaming":
        create = client.chat.completions.with_streaming_response.create
        async with flavour.entered(create(**CHAT)) as raw:
            parsed = await flavour.call(raw.parse)
    else:
        api = client.embeddings if embeds else client.chat.completions
        raw = await flavour.call(api.with_raw_response.create, **EMBED if embeds else CHAT)
        parsed = raw.parse()
    assert energy_of(raw) is energy_of(parsed) is watch.record


async def test_a_parsed_response_has_the_record(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    class Answer(BaseModel):
        city: str

    loopback.serve(json_reply(response_object('{"city": "Mexico City"}')))
    client = watch.wrap(flavour.client(loopback.base_url))
    response = await flavour.call(client.responses.parse, **RESPONSE, text_format=Answer)
    assert response.output_parsed == Answer(city="Mexico City")
    assert energy_of(response) is watch.record


async def test_a_stream_has_no_record_before_it_has_ended(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    loopback.serve(sse(*chat_chunks("Hello", id=LONG_ID), DONE))
    client = watch.wrap(flavour.client(loopback.base_url))
    stream = await flavour.call(client.chat.completions.create, **STREAM)
    chunk = await flavour.next(stream)
    assert energy_of(stream) is None
    assert energy_of(chunk) is None
    chunks = [chunk async for chunk in flavour.items(stream)]
    assert energy_of(stream) is energy_of(chunk) is energy_of(chunks[-1]) is watch.record


async def test_the_final_object_of_a_helper_has_the_record(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    loopback.serve(sse(*response_events("Hello", id=LONG_ID)))
    client = watch.wrap(flavour.client(loopback.base_url))
    if not hasattr(client.responses, "stream"):
        pytest.skip("this version of openai has no such helper")
    async with flavour.entered(client.responses.stream(**RESPONSE)) as stream:
        final = await flavour.call(stream.get_final_response)
    assert energy_of(final) is watch.record


async def test_a_background_response_has_the_record_once_it_has_ended(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    queued = response_object("", status="queued", usage=None)
    loopback.serve(json_reply(queued), endpoint="responses")
    loopback.serve(json_reply(response_object()), endpoint="responses/resp_1")
    client = watch.wrap(flavour.client(loopback.base_url))
    extra = {"extra_body": {"background": True}}
    response = await flavour.call(client.responses.create, **RESPONSE, **extra)
    assert energy_of(response) is None
    for _ in range(2):  # fetched again, it is still that call's
        fetched = await flavour.call(client.responses.retrieve, "resp_1")
        assert energy_of(response) is energy_of(fetched) is watch.record
    assert fetched.usage.input_tokens == RESPONSE_USAGE["input_tokens"]


async def test_a_response_that_was_only_fetched_has_no_record(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    loopback.serve(json_reply(response_object(id=LONG_ID)))
    client = watch.wrap(flavour.client(loopback.base_url))
    fetched = await flavour.call(client.responses.retrieve, LONG_ID)
    assert fetched.usage is not None
    assert energy_of(fetched) is None
    assert watch.records == []


@pytest.mark.parametrize("id", [LONG_ID, "chatcmpl-7"], ids=["long id", "short id"])
def test_an_id_used_again_is_not_taken_for_the_later_call(
    loopback: Loopback, watch: Watch, id: str
) -> None:
    """Ollama draws ids from 0 to 998: https://github.com/ollama/ollama/pull/15089."""
    usages = [CHAT_USAGE, CHAT_USAGE | {"prompt_tokens": 121, "total_tokens": 201}]
    loopback.serve(*(json_reply(chat_completion(id=id, usage=usage)) for usage in usages))
    with openai.OpenAI(api_key="none", base_url=loopback.base_url) as client:
        watch.wrap(client)
        first, second = (client.chat.completions.create(**CHAT) for _ in usages)
    one, other = watch.records
    assert energy_of(second) is other
    # That a long one is used again is known when it is.
    assert energy_of(first) is (None if id == LONG_ID else one)
    assert energy_of(copy.deepcopy(second)) is other
    assert energy_of(copy.deepcopy(first)) is None


def test_an_id_used_again_stays_one_where_tokens_are_not_known() -> None:
    more = CHAT_USAGE | {"prompt_tokens": 121, "total_tokens": 201}
    for usage in (CHAT_USAGE, more, None):
        Tracker().record(model="gpt-4o", usage=usage, response_id=LONG_ID)
    assert energy_of(chat_completion(id=LONG_ID)) is None


@pytest.mark.parametrize("with_id", [True, False])
def test_a_response_that_a_decorated_function_returns_has_the_record(with_id: bool) -> None:
    body = chat_completion(id=LONG_ID) | {"created": 0}
    if not with_id:
        del body["id"]
    records: list[CallRecord] = []

    @track_energy(on_record=records.append)
    def ask() -> Any:
        return body

    response = ask()
    assert len(records) == 1
    assert energy_of(response) is records[0]


def test_a_call_that_the_span_processor_counts_has_the_record() -> None:
    records: list[CallRecord] = []
    provider = TracerProvider()
    provider.add_span_processor(EnergySpanProcessor(on_record=records.append))
    attributes = CHAT_SPAN | {"gen_ai.response.id": LONG_ID}
    provider.get_tracer("another").start_span("chat", attributes=attributes).end()
    assert len(records) == 1
    assert energy_of(chat_completion(id=LONG_ID)) is records[0]


def test_a_recorded_call_has_the_record() -> None:
    record = Tracker().record(model="gpt-4o", usage=CHAT_USAGE, response_id=LONG_ID)
    assert energy_of({"id": LONG_ID}) is record


def test_the_memory_of_records_is_bounded() -> None:
    tracker = Tracker()
    for number in range(RESPONSES_REMEMBERED + 1):
        tracker.record(model="none", usage=None, response_id=f"{number:030}")
    assert energy_of({"id": f"{0:030}"}) is None
    assert energy_of({"id": f"{1:030}"}) is not None


def test_an_id_of_a_dead_object_is_not_taken_for_a_new_one(
    loopback: Loopback, watch: Watch
) -> None:
    loopback.serve(json_reply(embedding()))
    with openai.OpenAI(api_key="none", base_url=loopback.base_url) as client:
        watch.wrap(client).embeddings.create(**EMBED)
    gc.collect()
    others = [openai.types.CreateEmbeddingResponse.model_validate(embedding()) for _ in range(50)]
    assert {energy_of(other) for other in others} == {None}


class Hostile:
    """An object whose every attribute raises."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


ODD: dict[str, object] = {
    "nothing": None,
    "text": "text",
    "number": 5,
    "list": [],
    "empty dict": {},
    "id of another kind": {"id": 5},
    "unknown id": {"id": LONG_ID},
    "object": object(),
    "mock": MagicMock(),
    "hostile": Hostile(),
    "class": type,
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_anything_else_has_no_record(odd: object) -> None:
    Tracker().record(model="gpt-4o", usage=CHAT_USAGE)
    assert energy_of(odd) is None
