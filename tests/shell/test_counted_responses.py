"""A response is counted once, however it comes back: from a pool, a cache, another function."""

from __future__ import annotations

import functools
import gc
import json
import logging
import pickle
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from time import time
from types import SimpleNamespace
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletion
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import use_span

from calls import CHAT
from energy_tracking import Session, Tracker, track_energy
from energy_tracking.calls.counted import (
    RESPONSES_REMEMBERED,
    CountedResponses,
    counted_responses,
)
from energy_tracking.calls.session import process_session
from energy_tracking.otel.span_processor import EnergySpanProcessor
from energy_tracking.usage.names import UNIQUE_ID_LENGTH
from energy_tracking.usage.payloads import response_facts
from loopback import (
    CHAT_USAGE,
    Flavour,
    Loopback,
    chat_completion,
    embedding,
    json_reply,
    response_object,
)
from observed_calls import Watch
from own_errors import keep_error

_numbers = count()


def new_id(length: int = 30) -> str:
    """An id that no other test has."""
    return f"test-{next(_numbers)}-".ljust(length, "x")


class Response:
    """A response of a client that nobody tracks; with an id, if it is given one."""

    def __init__(self, **identity: str) -> None:
        self.model = "gpt-4o"
        self.usage = CHAT_USAGE
        self.__dict__ |= identity


def completion(**changes: Any) -> ChatCompletion:
    return ChatCompletion.model_validate(chat_completion(id=new_id()) | changes)


# From elsewhere.


@pytest.mark.parametrize("place", ["pool", "another function", "a cache"])
async def test_a_tracked_clients_response_made_elsewhere_is_not_counted_again(
    flavour: Flavour, loopback: Loopback, watch: Watch, place: str
) -> None:
    watch.every_call_has_a_span = False
    loopback.serve(json_reply(chat_completion(id=new_id())))
    client = watch.wrap(flavour.client(loopback.base_url))
    response = await flavour.call(client.chat.completions.create, **CHAT)

    def pooled() -> Any:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(lambda: response).result()

    def passed_on() -> Any:
        return response

    places: dict[str, Callable[[], Any]] = {
        "pool": pooled,
        "another function": passed_on,
        "a cache": functools.lru_cache(passed_on),
    }
    ask: Any = track_energy(**watch.arguments)(places[place])
    with Session() as session:
        for _ in range(3):
            assert ask() is response
    assert session.totals.calls == 0
    assert [record.response_id for record in watch.records] == [response.id]


def test_a_call_made_in_a_pools_thread_is_counted_once_where_its_function_returns_it(
    loopback: Loopback, watch: Watch
) -> None:
    loopback.serve(json_reply(chat_completion(id=new_id())))
    with openai.OpenAI(api_key="none", base_url=loopback.base_url) as client:
        watch.wrap(client)
        create: Callable[..., Any] = client.chat.completions.create

        @track_energy(**watch.arguments)
        def ask() -> Any:
            with ThreadPoolExecutor(1) as pool:
                return pool.submit(create, **CHAT).result()

        ask()
    assert len(watch.records) == 1
    watch.every_call_has_a_span = False


@pytest.mark.parametrize("with_id", [True, False])
def test_an_untracked_response_is_counted_when_it_is_returned_first(with_id: bool) -> None:
    @track_energy
    @functools.lru_cache
    def ask(question: str) -> Any:
        identity = {"id": new_id()} if with_id else {}
        return Response(**identity)

    with Session() as session:
        for question in "aabba":
            ask(question)
    assert session.totals.calls == 2


def test_like_responses_of_an_untracked_client_all_count() -> None:
    @track_energy
    def ask() -> Any:
        return Response()

    with Session() as session:
        for _ in range(3):
            ask()
            gc.collect()
    assert session.totals.calls == 3


@pytest.mark.no_cover  # rounds of what other tests do once
def test_ids_that_are_used_again_are_distinguished_by_their_time() -> None:
    """Ollama draws its ids from 0 to 998; answers of one word all have the same tokens."""
    draw = random.Random(1)

    @track_energy
    def ask(number: int) -> Any:
        return {
            **chat_completion(id=f"again-{draw.randrange(999)}"),
            "created": 1.7e9 + number,
        }

    with Session() as session:
        for number in range(1000):
            ask(number)
    assert session.totals.calls == 1000


# What was not generated now.


def batch(**more: Any) -> Any:
    return {"id": new_id(), "object": "batch", "usage": {"input_tokens": 10, "output_tokens": 5}}


NOT_GENERATED: dict[str, Callable[[], Any]] = {
    "a batch": batch,
    "a batch object": lambda: SimpleNamespace(**batch()),
    "a list": lambda: {"object": "list", "data": [batch()], "usage": CHAT_USAGE},
    "a page": lambda: {"object": "page", "data": [], "usage": CHAT_USAGE},
    "a run of an assistant": lambda: {"id": "run_1", "object": "thread.run", "usage": CHAT_USAGE},
    "an organization's usage": lambda: {
        "object": "organization.usage.completions.result",
        "usage": CHAT_USAGE,
    },
    "a deleted completion": lambda: {"object": "chat.completion.deleted", "usage": CHAT_USAGE},
    "counted input": lambda: {"object": "response.input_tokens", "usage": CHAT_USAGE},
    "a vector store": lambda: {"object": "vector_store", "usage": CHAT_USAGE},
    "a page of no kind": lambda: {"data": [{}], "has_more": False, "usage": CHAT_USAGE},
    "a quota": lambda: {"limit": 1000, "usage": CHAT_USAGE},
    "a report of costs": lambda: {"start_date": "2026-11-01", "usage": CHAT_USAGE},
    "a project": lambda: {"id": "proj_1", "name": "ours", "usage": CHAT_USAGE},
    "a session": lambda: {"id": "sess_1", "status": "idle", "usage": CHAT_USAGE},
    "a batch of messages": lambda: {"type": "message_batch", "id": "b", "usage": CHAT_USAGE},
}


@pytest.mark.parametrize("kind", NOT_GENERATED)
def test_what_has_a_usage_and_was_not_generated_is_no_call(kind: str) -> None:
    with Session() as session:
        track_energy(NOT_GENERATED[kind])()
    assert session.totals.calls == 0


@pytest.mark.parametrize(
    "kind",
    [
        {"object": "chat.completion"},
        {"object": "text_completion"},
        {"object": "response"},
        {"object": "realtime.response"},
        {"object": "response.compaction"},
        {"type": "message"},
        {"type": "ai"},
        {"model": "gpt-4o", "limit": 3},
        {"text": "Mexico City"},
        {},
    ],
)
def test_what_may_be_a_response_is_a_call(kind: dict[str, Any]) -> None:
    with Session() as session:
        track_energy(lambda: {"usage": CHAT_USAGE} | kind)()
    assert session.totals.calls == 1


def test_a_list_of_embeddings_is_a_response() -> None:
    vectors = {"object": "list", "data": [{"object": "embedding"}], "usage": {"prompt_tokens": 4}}
    vectors |= {"model": "text-embedding-3-small"}
    with Session() as session:
        track_energy(lambda: vectors)()
    assert session.totals.calls == 1


@pytest.mark.parametrize("fetched_in", ["the function", "a pool's thread"])
@pytest.mark.parametrize("listed", [False, True])
def test_a_response_that_was_fetched_is_no_call(
    loopback: Loopback, watch: Watch, fetched_in: str, listed: bool
) -> None:
    body = response_object(id=new_id())
    page = {"object": "list", "data": [body], "has_more": False}
    loopback.serve(json_reply(page if listed else body))
    client = watch.wrap(openai.OpenAI(api_key="none", base_url=loopback.base_url))
    path = "/responses" if listed else f"/responses/{body['id']}"

    def fetch() -> Any:
        answer: Any = client.get(path, cast_to=object)
        return answer["data"][0] if listed else answer

    @track_energy(**watch.arguments)
    def ask() -> Any:
        if fetched_in == "the function":
            return fetch()
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(fetch).result()

    with client:
        assert ask()["id"] == body["id"]
    assert watch.records == []
    watch.every_call_has_a_span = False


# Made before.

HOUR = 3600.0


def _from_pickle(body: dict[str, Any], path: Path) -> Callable[[], Any]:
    path.write_bytes(pickle.dumps(ChatCompletion.model_validate(body)))
    return lambda: pickle.loads(path.read_bytes())


def _from_json(body: dict[str, Any], path: Path) -> Callable[[], Any]:
    path.write_text(json.dumps(body))
    return lambda: ChatCompletion.model_validate(json.loads(path.read_text()))


def _as_dict(body: dict[str, Any], path: Path) -> Callable[[], Any]:
    return lambda: body


LOADERS = {"a pickle": _from_pickle, "JSON": _from_json, "a dict": _as_dict}


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("age", [0.1 * HOUR, HOUR, 24 * HOUR, 20 * 24 * HOUR])
def test_a_response_made_before_the_function_began_is_no_call_and_this_is_reported_once(
    loader: str, age: float, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def load() -> Any:
        return read()

    load.__qualname__ = new_id()
    body = chat_completion(id=new_id()) | {"created": int(time() - age)}
    read, ask = LOADERS[loader](body, tmp_path / "response"), track_energy(load)
    with Session() as session:
        assert ask().usage if loader != "a dict" else ask()["usage"]
        ask()
    assert session.totals.calls == 0
    assert sum("made before it began" in message for message in caplog.messages) == 1


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("age", [-2.0, 0.0, 2.0, 30.0, 3 * 365 * 24 * HOUR, 50 * 365 * 24 * HOUR])
def test_a_response_made_now_or_by_a_server_without_a_clock_is_a_call(
    loader: str, age: float, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    body = chat_completion(id=new_id()) | {"created": int(time() - age)}
    load = LOADERS[loader](body, tmp_path / "response")
    load.__qualname__ = new_id()
    with Session() as session, caplog.at_level(logging.INFO):
        track_energy(load)()
    assert session.totals.calls == 1
    # Or else it is one of an archive, and no call: that is for the user to say.
    is_doubtful = HOUR < age < 10 * 365 * 24 * HOUR
    assert sum("made long ago" in message for message in caplog.messages) == is_doubtful


@pytest.mark.parametrize(
    "when",
    [
        lambda seconds: {"created_at": seconds},
        lambda seconds: {"created": seconds},
        lambda seconds: {"created_at": datetime.fromtimestamp(seconds, UTC).isoformat()},
        lambda seconds: {"createTime": datetime.fromtimestamp(seconds, UTC).isoformat()},
        lambda seconds: {"create_time": datetime.fromtimestamp(seconds, UTC)},
    ],
)
def test_every_form_of_a_time_is_read(when: Callable[[float], dict[str, Any]]) -> None:
    with Session() as session:
        for age in (HOUR, 0):
            track_energy(lambda: {"usage": CHAT_USAGE, "id": new_id()} | when(time() - age))()  # noqa: B023
    assert session.totals.calls == 1


def test_an_item_that_an_untracked_client_lists_is_no_call(loopback: Loopback) -> None:
    item = chat_completion(id=new_id()) | {"created": int(time() - HOUR)}
    page = {"object": "list", "data": [item], "has_more": False}
    loopback.serve(json_reply(page))
    with (
        openai.OpenAI(api_key="none", base_url=loopback.base_url) as client,
        Session() as session,
    ):
        track_energy(lambda: client.chat.completions.list().data[0])()
    assert session.totals.calls == 0


def test_parts_of_a_tracked_clients_earlier_response_are_no_call(
    loopback: Loopback, watch: Watch
) -> None:
    tokens = {"prompt_tokens": 7000 + next(_numbers), "completion_tokens": 7, "total_tokens": 0}
    loopback.serve(json_reply(chat_completion(id=new_id(), usage=tokens)))
    with openai.OpenAI(api_key="none", base_url=loopback.base_url) as client:
        response: Any = watch.wrap(client).chat.completions.create(**CHAT)
    with Session() as session:
        track_energy(lambda: SimpleNamespace(usage=response.usage, model=response.model))()
    assert session.totals.calls == 0


def test_calls_with_one_short_id_and_the_same_tokens_all_count() -> None:
    body = {"id": new_id(12), "model": "gpt-4o", "usage": CHAT_USAGE}
    with Session() as session:
        for _ in range(3):
            track_energy(lambda: dict(body))()
    assert session.totals.calls == 3


def test_a_copy_that_passes_through_two_functions_counts_once() -> None:
    body = {"id": new_id(12), "model": "gpt-4o", "usage": CHAT_USAGE}
    inner: Callable[[], Any] = track_energy(lambda: dict(body))
    with Session() as session:
        track_energy(lambda: dict(inner()))()
    assert session.totals.calls == 1


# Frameworks.


def usage(*counts: tuple[int, int]) -> dict[str, int]:
    return {
        "input_tokens": sum(one for one, _ in counts),
        "output_tokens": sum(other for _, other in counts),
    }


CALLS = [(100, 10), (200, 20), (300, 30)]
RESULTS: dict[str, Any] = {
    "the sum": SimpleNamespace(usage=usage(*CALLS)),
    "the sum with an id": SimpleNamespace(id="run-1", usage=usage(*CALLS)),
    "the sum of the last calls": SimpleNamespace(id="run-1", usage=usage(*CALLS[1:])),
    "the last call": SimpleNamespace(id="run-1", usage_metadata=usage(CALLS[-1])),
    "a sum that counts otherwise": SimpleNamespace(usage=usage(*CALLS, (7, 0)), requests=3),
}


@pytest.mark.parametrize("result", RESULTS)
def test_a_frameworks_result_adds_nothing_to_the_calls_it_made(result: str) -> None:
    @track_energy
    def agent() -> Any:
        for one, other in CALLS:
            Tracker().record(model="gpt-4o", usage={"input_tokens": one, "output_tokens": other})
        return RESULTS[result]

    with Session() as session:
        agent()
    assert session.totals.calls == len(CALLS)


class Message:
    """A framework's message, made of a client's response."""

    def __init__(self, response: Any, identity: str | None, origin: str | None) -> None:
        self.id = identity
        usage = response.usage
        self.usage_metadata = {
            "input_tokens": usage.prompt_tokens,
            "output_tokens": usage.completion_tokens,
        }
        self.response_metadata = {"id": origin, "model_name": response.model}


@pytest.mark.parametrize("origin", [True, False])
@pytest.mark.parametrize("identity", ["lc_run--019b2f4e-aaaa-bbbb", None])
@pytest.mark.parametrize(
    "place", ["a cache", "a pool", "a function in a pool", "the sum of a pool"]
)
def test_a_frameworks_message_is_counted_once(
    loopback: Loopback, watch: Watch, place: str, identity: str | None, origin: bool
) -> None:
    tokens = {"prompt_tokens": 1000 + next(_numbers), "completion_tokens": 7, "total_tokens": 0}
    loopback.serve(lambda _: json_reply(chat_completion(id=new_id(), usage=tokens)))
    client = watch.wrap(openai.OpenAI(api_key="none", base_url=loopback.base_url))
    create: Callable[..., Any] = client.chat.completions.create

    def ask() -> Any:
        response = create(**CHAT)
        own_id = None if identity is None else f"{identity}{next(_numbers)}"
        return Message(response, own_id, response.id if origin else None)

    def in_pool(function: Callable[[], Any]) -> Any:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(function).result()

    def add_up() -> Any:
        counts = [tuple(in_pool(ask).usage_metadata.values()) for _ in range(3)]
        return SimpleNamespace(id=identity, usage=usage(*counts))

    places: dict[str, tuple[Callable[[], Any], int]] = {
        "a cache": (functools.lru_cache(ask), 1),
        "a pool": (lambda: in_pool(ask), 3),
        "a function in a pool": (lambda: in_pool(track_energy(ask)), 3),
        "the sum of a pool": (add_up, 9),
    }
    function, calls = places[place]
    decorated, before = track_energy(function), process_session().totals.calls
    with client:
        for _ in range(3):
            decorated()
    assert process_session().totals.calls == before + calls
    assert len(watch.records) == calls
    watch.every_call_has_a_span = False


@pytest.mark.parametrize("inside", ["a pool", "a cache"])
def test_a_dict_without_an_id_is_counted_once(inside: str) -> None:
    @track_energy
    @functools.lru_cache
    def ask() -> Any:
        return {"usage": CHAT_USAGE, "model": "gpt-4o"}

    @track_energy
    def around() -> Any:
        if inside == "a cache":
            return ask()
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(ask).result()

    before = process_session().totals.calls
    for _ in range(3):
        around()
    assert process_session().totals.calls == before + 1


@pytest.mark.parametrize("form", ["the object", "a dump of it", "parts of it"])
def test_a_tracked_clients_response_without_an_id_is_not_counted_again(
    loopback: Loopback, watch: Watch, form: str
) -> None:
    tokens = {"prompt_tokens": 5000 + next(_numbers), "total_tokens": 0}
    loopback.serve(json_reply(embedding() | {"usage": tokens}))
    client = watch.wrap(openai.OpenAI(api_key="none", base_url=loopback.base_url))
    with client:
        found: Any = client.embeddings.create(model="text-embedding-3-small", input="x")
    forms = {
        "the object": found,
        "a dump of it": found.model_dump(),
        "parts of it": SimpleNamespace(usage=found.usage, model=found.model),
    }
    with Session() as session:
        track_energy(lambda: forms[form])()
    assert session.totals.calls == 0
    assert len(watch.records) == 1


def test_another_providers_response_is_counted_beside_tracked_calls() -> None:
    """A search that embeds with a tracked client, and answers with one that is not."""

    @track_energy
    def answer() -> Any:
        Tracker().record(model="text-embedding-3-small", usage={"prompt_tokens": 4})
        return SimpleNamespace(
            id=new_id(), model="claude-opus-4", usage={"input_tokens": 9, "output_tokens": 90}
        )

    with Session() as session:
        answer()
    assert session.totals.calls == 2


# Spans.


class Spans:
    """A tracer whose spans are counted."""

    def __init__(self) -> None:
        provider = TracerProvider()
        provider.add_span_processor(EnergySpanProcessor(on_error=keep_error))
        self._provider = provider
        self.tracer = provider.get_tracer("work")

    def start(
        self, response_id: str, output_tokens: int, scope: str = "theirs", **changes: Any
    ) -> Any:
        attributes: Any = {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": "gpt-4o",
            "gen_ai.response.id": response_id,
            "gen_ai.usage.input_tokens": 4321,
            "gen_ai.usage.output_tokens": output_tokens,
        }
        attributes |= {name.replace("__", "."): value for name, value in changes.items()}
        return self._provider.get_tracer(scope).start_span("chat", attributes=attributes)

    def report(self, *call: Any, **changes: Any) -> None:
        self.start(*call, **changes).end()


@pytest.mark.no_cover  # rounds of what other tests do once
def test_calls_whose_ids_are_drawn_from_few_all_count() -> None:
    draw, spans = random.Random(2), Spans()
    with Session() as session:
        for number in range(1000):
            # Half of them answer with one word, and all have the same tokens.
            spans.report(f"chatcmpl-{draw.randrange(999)}", 10 + number % 2 * number)
    assert session.totals.calls == 1000


TWO_SPANS = [(12, ("one", "other")), *((UNIQUE_ID_LENGTH, ("one", it)) for it in ("one", "other"))]
"""Length of the id, and the instrumentations of two spans that report one call, one after the
other."""


@pytest.mark.parametrize("below", [False, True])
@pytest.mark.parametrize(("length", "scopes"), TWO_SPANS)
def test_a_call_on_two_spans_counts_once(scopes: tuple[str, str], length: int, below: bool) -> None:
    response_id, spans = new_id(length), Spans()
    work = use_span(spans.tracer.start_span("work")) if below else nullcontext()
    with Session() as session, work:
        for _ in range(3):
            for scope in scopes:
                spans.report(response_id, 80, scope)
    # Of equal calls with one id, those of a unique one are one call.
    assert session.totals.calls == (1 if length == UNIQUE_ID_LENGTH else 3)


@pytest.mark.parametrize(("is_beside", "calls"), [(True, 1), (False, 2)])
def test_spans_of_one_instrumentation_with_a_short_id_report_one_call_only_beside_each_other(
    is_beside: bool, calls: int
) -> None:
    response_id, spans = new_id(12), Spans()
    with Session() as session:
        first = spans.start(response_id, 80)
        second = spans.start(response_id, 80) if is_beside else None
        first.end()
        (second or spans.start(response_id, 80)).end()
    assert session.totals.calls == calls


@pytest.mark.parametrize(
    ("other", "calls"),
    [
        ({"gen_ai__usage__output_tokens": 81}, 2),
        ({"gen_ai__usage__input_tokens": 4322}, 2),
        ({"gen_ai__request__model": "gpt-4o-mini"}, 2),
        ({"gen_ai__request__model": "openai/gpt-4o-2024-08-06"}, 1),
        ({"gen_ai__usage__input_tokens": 0}, 1),
    ],
)
@pytest.mark.parametrize(("length", "scopes"), TWO_SPANS)
def test_a_span_with_a_known_id_is_a_repeat_if_model_and_tokens_agree(
    length: int, other: dict[str, Any], calls: int, scopes: tuple[str, str]
) -> None:
    response_id, spans = new_id(length), Spans()
    with Session() as session:
        spans.report(response_id, 80, scopes[0])
        spans.report(response_id, 80, scopes[1], **other)
    assert session.totals.calls == calls


# Bounds.


def test_what_is_remembered_is_bounded() -> None:
    memory, tracker = CountedResponses(), Tracker()
    records = [tracker.record(model="gpt-4o", usage=CHAT_USAGE, response_id=new_id())]
    call = tracker.start(operation="chat", provider="openai", model="gpt-4o")
    kept = [completion() for _ in range(RESPONSES_REMEMBERED + 10)]
    for response in kept:
        facts = response_facts(response)
        assert facts is not None
        memory.remember(call, records[0])
        memory.remember_returned(response, facts, records[0])
        memory.note_fetched(response.model_dump())
    assert len(memory._by_id) == RESPONSES_REMEMBERED
    for _ in range(RESPONSES_REMEMBERED + 10):
        memory.remember(call, records[0])
    assert len(memory._unsorted) == RESPONSES_REMEMBERED
    assert len(memory._unsorted_objects) == RESPONSES_REMEMBERED
    for response in (kept[-1], kept[0]):
        memory.remember_object(response)
        assert memory._find_object(response)[0]
    assert len(memory._objects) == RESPONSES_REMEMBERED
    assert len(counted_responses._by_id) <= RESPONSES_REMEMBERED
    call.abandon()


def test_a_returned_response_is_not_kept_alive() -> None:
    @track_energy
    def ask() -> Any:
        return Response()

    response = ask()
    known, _ = counted_responses._unsorted_objects[-1]
    assert known() is response
    del response
    gc.collect()
    assert known() is None
