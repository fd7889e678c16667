"""A background response is counted once: by the fetch that finds it finished."""

from __future__ import annotations

import asyncio
import gc
import inspect
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import openai
import openai.resources.responses
import pytest

import energy_tracking
from energy_tracking import Session
from energy_tracking.calls.call import Call
from energy_tracking.lifecycle import close_open_calls, held_calls, open_calls, run_deferred
from energy_tracking.openai_client import background
from loopback import (
    RESPONSE_USAGE,
    Body,
    Flavour,
    Loopback,
    error_reply,
    json_reply,
    response_events,
    response_object,
    sse,
)
from observed_calls import Watch

REQUEST: Body = {"model": "gpt-4o", "input": "Capital of Mexico?"}
if "background" in inspect.signature(openai.resources.responses.Responses.create).parameters:
    REQUEST["background"] = True
else:
    REQUEST["extra_body"] = {"background": True}


def body(status: str, id: str = "resp_1", text: str = "") -> Any:
    usage = RESPONSE_USAGE if status in ("completed", "incomplete") else None
    return json_reply(response_object(text, id=id, status=status, usage=usage))


@pytest.fixture(autouse=True)
def _held_two_at_most(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(background, "MAX_HELD", 2)
    yield
    close_open_calls()


async def start(flavour: Flavour, client: Any) -> Any:
    return await flavour.call(client.responses.create, **REQUEST)


async def test_polling_counts_once_when_the_response_is_finished(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    loopback.serve(body("queued"), endpoint="responses")
    loopback.serve(
        body("in_progress"),
        body("in_progress", text="Mex"),
        body("completed", text="Mexico City"),
        endpoint="responses/resp_1",
    )
    client = watch.wrap(flavour.client(loopback.base_url))
    with Session("here") as session:
        response = await start(flavour, client)
    polls = 0
    while response.status in ("queued", "in_progress"):
        assert watch.records == []
        response = await flavour.call(client.responses.retrieve, response.id)
        polls += 1
    assert polls == 3
    for _ in range(3):
        await flavour.call(client.responses.retrieve, response.id)
    assert watch.record.usage is not None
    assert (watch.record.status, watch.record.usage.output_tokens) == ("estimated", 80)
    assert watch.record.response_id == "resp_1"
    assert session.totals.calls == 1


@pytest.mark.parametrize("way", ["with_raw_response", "with_streaming_response"])
async def test_polling_for_raw_responses_counts_once(
    flavour: Flavour, loopback: Loopback, watch: Watch, way: str
) -> None:
    loopback.serve(body("queued"), endpoint="responses")
    loopback.serve(body("in_progress"), body("completed"), endpoint="responses/resp_1")
    client = watch.wrap(flavour.client(loopback.base_url))
    create = getattr(client.responses, way).create
    retrieve = getattr(client.responses, way).retrieve
    for method, request in ((create, REQUEST), *[(retrieve, {"response_id": "resp_1"})] * 3):
        if way == "with_raw_response":
            await flavour.call(method, **request)
        else:
            async with flavour.entered(method(**request)) as response:
                await flavour.call(response.read)
    assert (len(loopback.requests), watch.record.status) == (4, "estimated")


@pytest.mark.parametrize(
    ("status", "expected"),
    [("incomplete", "estimated"), ("failed", "unestimated"), ("cancelled", "unestimated")],
)
async def test_a_response_that_ends_otherwise_is_counted_once(
    flavour: Flavour, loopback: Loopback, watch: Watch, status: str, expected: str
) -> None:
    loopback.serve(body("queued"), endpoint="responses")
    path = "responses/resp_1/cancel" if status == "cancelled" else "responses/resp_1"
    loopback.serve(body(status), endpoint=path)
    client = watch.wrap(flavour.client(loopback.base_url))
    await start(flavour, client)
    if not hasattr(client.responses, "cancel"):
        pytest.skip(f"openai {openai.VERSION} has no responses.cancel")
    end = client.responses.cancel if status == "cancelled" else client.responses.retrieve
    for _ in range(2):
        await flavour.call(end, "resp_1")
    assert (watch.record.status, watch.record.response_status) == (expected, status)


async def test_a_poll_that_fails_leaves_the_call_open(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    loopback.serve(body("queued"), endpoint="responses")
    loopback.serve(error_reply(500), body("completed"), endpoint="responses/resp_1")
    client = watch.wrap(flavour.client(loopback.base_url))
    await start(flavour, client)
    with pytest.raises(openai.InternalServerError):
        await flavour.call(client.responses.retrieve, "resp_1")
    assert watch.records == []
    await flavour.call(client.responses.retrieve, "resp_1")
    assert (watch.record.status, watch.record.error_type) == ("estimated", None)


@pytest.mark.parametrize("gone", ["deleted", "not found", "both"])
async def test_a_response_that_its_server_no_longer_has_is_held_no_more(
    flavour: Flavour, loopback: Loopback, watch: Watch, gone: str
) -> None:
    loopback.serve(body("queued"), endpoint="responses")
    client = watch.wrap(flavour.client(loopback.base_url))
    await start(flavour, client)
    if gone != "not found":
        deletion = json_reply({"id": "resp_1", "object": "response", "deleted": True})
        loopback.serve(deletion, endpoint="responses/resp_1")
        await flavour.call(client.responses.delete, "resp_1")
    if gone != "deleted":
        loopback.serve(error_reply(404), endpoint="responses/resp_1")
        with pytest.raises(openai.NotFoundError):
            await flavour.call(client.responses.retrieve, "resp_1")
    assert not held_calls
    assert (watch.record.status, watch.record.response_status) == ("unestimated", "deleted")
    assert "deleted before" in (watch.record.reason or "")


async def test_a_response_finished_at_once_is_counted_at_once(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    loopback.serve(body("completed"))
    client = watch.wrap(flavour.client(loopback.base_url))
    await start(flavour, client)
    assert watch.record.status == "estimated"
    await flavour.call(client.responses.retrieve, "resp_1")
    assert len(watch.records) == 1


async def test_another_client_of_the_process_may_poll(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    loopback.serve(body("queued"), endpoint="responses")
    loopback.serve(body("completed"), endpoint="responses/resp_1")
    await start(flavour, watch.wrap(flavour.client(loopback.base_url)))
    other = watch.wrap(flavour.client(loopback.base_url), gpu="A100")
    await flavour.call(other.responses.retrieve, "resp_1")
    assert watch.record.estimate is not None
    assert watch.record.estimate.gpu == "H100"


async def test_a_background_stream_left_early_goes_on_where_it_is_taken_up(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    events = response_events("Mexico ", "City")
    half = len(events) // 2
    loopback.serve(sse(*events[:half]), endpoint="responses")
    loopback.serve(sse(*events[half:]), endpoint="responses/resp_1")
    client = watch.wrap(flavour.client(loopback.base_url))
    stream = await flavour.call(client.responses.create, **REQUEST, stream=True)
    async with flavour.entered(stream):
        await flavour.next(stream)
    assert watch.records == []
    rest = await flavour.call(
        client.get,
        "/responses/resp_1",
        cast_to=object,
        options={"params": {"stream": True, "starting_after": half}},
        stream=True,
        stream_cls=type(stream)[object],
    )
    _ = [event async for event in flavour.items(rest)]
    assert (watch.record.status, watch.record.error_type) == ("estimated", None)
    await flavour.call(client.responses.retrieve, "resp_1")
    assert len(watch.records) == 1


async def test_a_background_stream_is_taken_up_by_the_helper(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    loopback.serve(body("queued"), endpoint="responses")
    loopback.serve(sse(*response_events("Mexico ", "City")), endpoint="responses/resp_1")
    client = watch.wrap(flavour.client(loopback.base_url))
    helper = getattr(client.responses, "stream", None)
    if helper is None or "response_id" not in inspect.signature(helper).parameters:
        pytest.skip(f"openai {openai.VERSION} has no responses.stream(response_id=...)")
    await start(flavour, client)
    for _ in range(2):
        async with flavour.entered(helper(response_id="resp_1")) as stream:
            _ = [event async for event in flavour.items(stream)]
    assert watch.record.usage is not None
    assert (watch.record.status, watch.record.usage.output_tokens) == ("estimated", 80)


async def test_a_stream_of_another_processs_response_is_not_counted(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    loopback.serve(sse(*response_events("Mexico ", "City")))
    client = watch.wrap(flavour.client(loopback.base_url))
    retrieve = client.responses.retrieve
    if "starting_after" not in inspect.signature(retrieve).parameters:
        pytest.skip(f"openai {openai.VERSION} has no responses.retrieve(starting_after=...)")
    stream = await flavour.call(retrieve, "resp_9", stream=True, starting_after=2)
    assert [event async for event in flavour.items(stream)]
    assert watch.records == []


async def test_a_late_finaliser_of_one_call_lets_go_of_no_other(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    # Servers use ids again; the finaliser of a stream long settled comes when it comes.
    loopback.serve(body("completed"), body("queued"), endpoint="responses")
    loopback.serve(body("completed"), endpoint="responses/resp_1")
    client = watch.wrap(flavour.client(loopback.base_url))
    await start(flavour, client)
    settled = Call(watch.record.request, lambda call: None, {"background": True})
    settled.response_id = "resp_1"
    settled.close()
    await start(flavour, client)
    background.hold(settled)
    await flavour.call(client.responses.retrieve, "resp_1")
    assert [record.status for record in watch.records] == ["estimated", "estimated"]


@pytest.mark.parametrize("fetched_first", [0, 1])
async def test_of_two_servers_with_one_id_each_answers_for_its_own_call(
    flavour: Flavour, loopback: Loopback, watch: Watch, fetched_first: int
) -> None:
    with Loopback() as other:
        clients = []
        for server, tokens in ((loopback, 80), (other, 90)):
            server.serve(body("queued"), endpoint="responses")
            usage = RESPONSE_USAGE | {"output_tokens": tokens, "total_tokens": 120 + tokens}
            finished = response_object(id="resp_1", status="completed", usage=usage)
            server.serve(json_reply(finished), endpoint="responses/resp_1")
            clients.append(watch.wrap(flavour.client(server.base_url)))
            await start(flavour, clients[-1])
        if fetched_first:
            clients.reverse()
        for client in clients:
            await flavour.call(client.responses.retrieve, "resp_1")
        counted = [record.usage.output_tokens for record in watch.records if record.usage]
        assert counted == ([90, 80] if fetched_first else [80, 90])
        await flavour.aclose()


async def test_of_two_calls_under_one_id_none_is_lost(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    loopback.serve(body("queued"), endpoint="responses")
    loopback.serve(body("completed"), endpoint="responses/resp_1")
    client = watch.wrap(flavour.client(loopback.base_url))
    for _ in range(2):
        await start(flavour, client)
    for number in range(1, 3):
        await flavour.call(client.responses.retrieve, "resp_1")
        assert [record.status for record in watch.records] == ["estimated"] * number
    assert not held_calls


async def test_a_held_call_lasts_until_it_is_found_finished(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    loopback.serve(body("queued"), endpoint="responses")
    loopback.serve(body("completed"), endpoint="responses/resp_1")
    client = watch.wrap(flavour.client(loopback.base_url))
    await start(flavour, client)
    started = time.monotonic()
    await asyncio.sleep(0.3)
    await flavour.call(client.responses.retrieve, "resp_1")
    assert watch.record.duration_seconds >= 0.3
    assert watch.record.duration_seconds <= time.monotonic() - started + 10


def test_a_held_call_whose_stream_was_dropped_lasts_until_it_is_found_finished(
    loopback: Loopback, watch: Watch
) -> None:
    events = response_events("Mexico ", "City")
    loopback.serve(sse(*events[: len(events) // 2]), endpoint="responses")
    loopback.serve(body("completed"), endpoint="responses/resp_1")
    client: Any = watch.wrap(openai.OpenAI(api_key="none", base_url=loopback.base_url))
    stream = client.responses.create(**REQUEST, stream=True)
    next(iter(stream))
    del stream
    gc.collect()
    run_deferred()  # its end, as the finaliser saw it, is not the end of the call
    assert len(held_calls) == 1, watch.records
    (held,) = held_calls
    before = time.perf_counter()
    client.responses.retrieve("resp_1")
    assert watch.record.duration_seconds > before - held.started_at


async def test_a_held_call_keeps_the_count_of_its_prompt_alone(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    queued = response_object("", id="resp_1", status="queued", usage=None)
    finished = response_object("Mexico City", id="resp_1", status="completed", usage=None)
    loopback.serve(json_reply(queued), endpoint="responses")
    loopback.serve(json_reply(finished), endpoint="responses/resp_1")
    client = watch.wrap(flavour.client(loopback.base_url))
    question = "Capital? " * 1000
    await flavour.call(client.responses.create, **REQUEST | {"input": question})
    (call,) = held_calls
    assert call.prompt is None
    await flavour.call(client.responses.retrieve, "resp_1")
    assert watch.record.usage is not None
    assert watch.record.status == "partial"
    assert watch.record.usage.input_tokens == pytest.approx(len(question) / 4.3, rel=0.01)


def calls_in_memory() -> dict[int, Call]:
    """Calls that something in the process holds, by identity; other tests' among them."""
    return {id(each): each for each in gc.get_objects() if type(each) is Call}


def test_a_held_call_that_is_closed_elsewhere_is_kept_nowhere(
    loopback: Loopback, watch: Watch
) -> None:
    earlier = calls_in_memory()
    loopback.serve(body("queued"), endpoint="responses")
    client: Any = watch.wrap(openai.OpenAI(api_key="none", base_url=loopback.base_url))
    client.responses.create(**REQUEST)
    close_open_calls()
    assert len(watch.records) == 1
    gc.collect()
    assert calls_in_memory().keys() <= earlier.keys()


async def test_of_too_many_the_oldest_is_closed_as_far_as_it_is_known(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    loopback.serve(*(body("queued", id=f"resp_{n}") for n in range(3)), endpoint="responses")
    client = watch.wrap(flavour.client(loopback.base_url))
    for _ in range(3):
        await start(flavour, client)
    assert (watch.record.response_id, watch.record.status) == ("resp_0", "unestimated")
    assert watch.record.reason == "still queued when last seen"
    close_open_calls()
    assert sorted(record.response_id or "" for record in watch.records) == [
        "resp_0",
        "resp_1",
        "resp_2",
    ]
    assert open_calls == set()


def test_what_is_held_is_settled_when_the_process_ends(loopback: Loopback) -> None:
    loopback.serve(body("queued"))
    code = f"""
import atexit, openai
from energy_tracking import process_session, wrap_openai
atexit.register(lambda: print(process_session().totals.unestimated_calls))
client = wrap_openai(openai.OpenAI(api_key="none", base_url={loopback.base_url!r}))
client.responses.create(**{REQUEST!r})
assert process_session().totals.calls == 0
"""
    source = str(Path(energy_tracking.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": source},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("1\n", "")


# Each way in which a server may end a stream of events, and the status that it says or means.
ENDINGS: dict[str, tuple[Body, str]] = {
    "completed": ({"type": "response.completed", "response": {"status": "completed"}}, "completed"),
    "failed": (
        {"type": "response.failed", "response": {"status": "failed", "usage": None}},
        "failed",
    ),
    "cancelled": ({"type": "response.cancelled", "response": {"status": "cancelled"}}, "cancelled"),
    "incomplete": (
        {"type": "response.incomplete", "response": {"status": "incomplete", "usage": None}},
        "incomplete",
    ),
    "no status": ({"type": "response.failed", "response": {"id": "resp_1"}}, "failed"),
    "a stale status": (
        {"type": "response.incomplete", "response": {"status": "in_progress"}},
        "incomplete",
    ),
    "an error": ({"type": "error", "code": "server_error", "message": "Sorry."}, "failed"),
    "an error that raises": (
        {"type": "error", "error": {"code": "server_error", "message": "Sorry."}},
        "failed",
    ),
}


@pytest.mark.parametrize(("event", "status"), ENDINGS.values(), ids=ENDINGS.keys())
@pytest.mark.parametrize("background", [False, True], ids=["waited for", "in the background"])
@pytest.mark.parametrize("raw", [False, True], ids=["decoded", "raw"])
async def test_any_terminal_event_ends_the_call_with_the_servers_status(
    flavour: Flavour,
    loopback: Loopback,
    watch: Watch,
    event: Body,
    status: str,
    background: bool,
    raw: bool,
) -> None:
    if "error" in event and not raw and openai.VERSION < "3":
        pytest.skip("this openai raises such an event and leaves the response open")
    begun = response_events("Mexico ", "City")[:-1]
    loopback.serve(sse(*begun, event))
    client = watch.wrap(flavour.client(loopback.base_url))
    request = REQUEST if background else {"model": "gpt-4o", "input": "Capital of Mexico?"}
    if raw:
        manager = client.responses.with_streaming_response.create(**request, stream=True)
        async with flavour.entered(manager) as response:
            await flavour.call(response.read)
    else:
        stream = await flavour.call(client.responses.create, **request, stream=True)
        with pytest.raises(openai.APIError) if "error" in event else nullcontext():
            _ = [item async for item in flavour.items(stream)]
    assert not held_calls
    record = watch.record
    assert (record.response_status, record.response_id) == (status, "resp_1")
    assert (record.error_type is not None) == (event["type"] == "error")
