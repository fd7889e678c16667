"""A session that has used up its budget sends no further call, or says so."""

from __future__ import annotations

import asyncio
import logging
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import openai
import pytest

from calls import CHAT
from counts import the_only
from energy_tracking import (
    ConfigurationError,
    EnergyBudgetExceeded,
    EnergyTrackingError,
    Session,
    Tracker,
    current_session,
    energy_session,
    instrument_openai,
)
from loopback import (
    DONE,
    Body,
    Flavour,
    Loopback,
    after,
    chat_chunks,
    chat_completion,
    json_reply,
    response_object,
    sse,
)
from observed_calls import Watch

ANSWER = json_reply(chat_completion())


async def ask(flavour: Flavour, client: Any, **more: Any) -> Any:
    return await flavour.call(client.chat.completions.create, **CHAT | more)


def test_the_error_is_ours_and_states_whose_budget_it_was() -> None:
    error = EnergyBudgetExceeded("nightly", 5, 5.25)
    assert isinstance(error, EnergyTrackingError)
    assert not isinstance(error, openai.OpenAIError)
    again = pickle.loads(pickle.dumps(error))
    assert (again.session, again.budget_wh, again.total_energy_wh) == ("nightly", 5, 5.25)
    assert str(error) == "session 'nightly' has used 5.2 Wh of its budget of 5 Wh" == str(again)


@pytest.mark.parametrize(
    ("budget_wh", "used_wh", "words"),
    [
        (52, 52.3, "has used 52.3 Wh of its budget of 52 Wh"),
        (52, 52, "has used up its budget of 52 Wh"),
        (123, 123.4, "has used 123.4 Wh of its budget of 123 Wh"),
        (5, 5.0001, "has used 5.0001 Wh of its budget of 5 Wh"),
        (5, 5 + 1e-12, "has used up its budget of 5 Wh"),
        (1234.5, 1300, "has used 1,300 Wh of its budget of 1,234.5 Wh"),
        (1e-6, 1.26e-6, "has used 0.0000013 Wh of its budget of 0.000001 Wh"),
        (500 / 3600, 0.1401, "has used 0.14 Wh of its budget of 0.138889 Wh"),
        (2e12, 3e12, "has used 3,000,000,000,000 Wh of its budget of 2,000,000,000,000 Wh"),
        (0, 0, "has used up its budget of 0 Wh"),
        (0, 0.25, "has used 0.25 Wh of its budget of 0 Wh"),
    ],
)
def test_the_error_shows_that_more_was_used_than_allowed(
    budget_wh: float, used_wh: float, words: str
) -> None:
    assert str(EnergyBudgetExceeded("s", budget_wh, used_wh)) == f"session 's' {words}"


@pytest.mark.parametrize(
    ("budget", "watt_hours"),
    [("5Wh", 5), (" 200 mWh ", 0.2), ("1.5kWh", 1500), ("18 kJ", 5), ("3e2uWh", 3e-4), ("0J", 0)],
)
def test_a_budget_may_be_written_with_its_unit(budget: str, watt_hours: float) -> None:
    session = Session("nightly", budget_wh=budget, on_exceed="raise")
    with session:
        Tracker().record(model="x", usage=None, measured_energy_joules=watt_hours * 3600)
    with pytest.raises(EnergyBudgetExceeded) as raised:
        session.check_budget()
    assert raised.value.budget_wh == pytest.approx(watt_hours)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"budget_wh": -1}, "budget_wh must be 0 or a number from 1e-12 to 1e.12 Wh, .*got -1"),
        ({"budget_wh": float("nan")}, "got nan"),
        ({"budget_wh": float("inf")}, "got inf"),
        ({"budget_wh": 1e308}, "got 1e.308"),
        ({"budget_wh": 1e-320}, "got 1e-320"),
        ({"budget_wh": 10**400}, "budget_wh must be 0 or a number"),
        ({"budget_wh": True}, "got True"),
        ({"budget_wh": "5"}, "or an energy such as '5Wh', '200 mWh' or '18 kJ', got '5'"),
        ({"budget_wh": "5 watts"}, "such as '5Wh', '200 mWh' or '18 kJ', got '5 watts'"),
        ({"budget_wh": "1e13 Wh"}, "got '1e13 Wh'"),
        ({"budget_wh": [5]}, r"got \[5\]"),
        (
            {"budget_wh": 5, "on_exceed": "rise"},
            "one of 'warn', 'raise', got 'rise'; did you mean",
        ),
        ({"budget_wh": 5, "on_exceed": None}, "on_exceed must be one of 'warn', 'raise', got None"),
        ({"budget_wh": 5, "on_exceed": ask}, "on_exceed must be a function that is not async"),
    ],
)
def test_a_wrong_budget_is_refused_at_once(arguments: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        energy_session(**arguments)


CALLS: dict[str, tuple[str, Body]] = {
    "plain": ("chat.completions.create", CHAT),
    "stream": ("chat.completions.create", CHAT | {"stream": True}),
    "raw": ("chat.completions.with_raw_response.create", CHAT),
    "response": ("responses.create", {"model": "gpt-4o", "input": "Capital of Mexico?"}),
    "embedding": ("embeddings.create", {"model": "text-embedding-3-small", "input": "Hi"}),
}


@pytest.mark.parametrize("way", ["wrapped", "instrumented", "both"])
@pytest.mark.parametrize(("method", "request_body"), CALLS.values(), ids=CALLS.keys())
async def test_a_refused_call_leaves_no_request_span_or_record(
    flavour: Flavour, loopback: Loopback, watch: Watch, method: str, request_body: Body, way: str
) -> None:
    client = flavour.client(loopback.base_url, max_retries=2)
    if way != "instrumented":
        watch.wrap(client)
    if way != "wrapped":
        instrument_openai(**watch.arguments)
    function: Any = client
    for name in method.split("."):
        function = getattr(function, name)
    with energy_session("none", budget_wh=0, on_exceed="raise") as session:
        for _ in range(2):
            with pytest.raises(EnergyBudgetExceeded) as raised:
                await flavour.call(function, **request_body)
    assert raised.value.session == "none"
    assert (loopback.requests, watch.records, watch.spans) == ([], [], ())
    assert session.totals.calls == 0
    loopback.serve(ANSWER)
    await ask(flavour, client)
    assert watch.record.status == "estimated"


async def test_calls_go_out_until_the_sum_has_reached_the_budget(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    loopback.serve(ANSWER)
    client = watch.wrap(flavour.client(loopback.base_url))
    with energy_session("first") as first:
        await ask(flavour, client)
    one_wh = first.total_energy_wh
    for budget_wh, calls in ((2.5 * one_wh, 3), (2 * one_wh, 2)):
        with energy_session("some", budget_wh=budget_wh, on_exceed="raise") as some:
            for _ in range(calls):
                await ask(flavour, client)
            with pytest.raises(EnergyBudgetExceeded) as raised:
                await ask(flavour, client)
        assert some.totals.calls == calls
        assert raised.value.total_energy_wh == pytest.approx(calls * one_wh)
    await ask(flavour, client)


async def test_the_budget_of_an_outer_session_holds_inside(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    loopback.serve(ANSWER)
    client = watch.wrap(flavour.client(loopback.base_url))
    with energy_session("outer", budget_wh=1e-9, on_exceed="raise"):
        await ask(flavour, client)
        with (
            energy_session("inner", budget_wh=10, on_exceed="raise"),
            pytest.raises(EnergyBudgetExceeded, match="'outer'"),
        ):
            await ask(flavour, client)


async def test_nothing_is_reserved_for_a_call_under_way(loopback: Loopback, watch: Watch) -> None:
    gate = threading.Event()
    loopback.serve(after(gate, ANSWER), ANSWER)
    flavour = Flavour("async")
    client = watch.wrap(flavour.client(loopback.base_url))
    with energy_session("one", budget_wh=1e-9, on_exceed="raise") as session:
        slow = asyncio.create_task(ask(flavour, client))
        while not loopback.requests:
            await asyncio.sleep(0)
        await ask(flavour, client)
        with pytest.raises(EnergyBudgetExceeded):
            await ask(flavour, client)
        gate.set()
        await slow
    assert session.totals.calls == 2
    await flavour.aclose()


def test_with_many_threads_no_call_starts_once_the_budget_is_reached(
    loopback: Loopback, watch: Watch
) -> None:
    loopback.serve(ANSWER)
    client = watch.wrap(openai.OpenAI(api_key="none", base_url=loopback.base_url, max_retries=0))
    with energy_session("first") as first:
        client.chat.completions.create(**CHAT)
    threads = 8
    budget_wh = 20.5 * first.total_energy_wh
    refused: list[EnergyBudgetExceeded] = []

    def work() -> None:
        # Read before asking: from then on the call must be refused.
        while True:
            reached = session.total_energy_wh >= budget_wh
            try:
                client.chat.completions.create(**CHAT)
            except EnergyBudgetExceeded as error:
                refused.append(error)
                return
            assert not reached

    with (
        energy_session("shared", budget_wh=budget_wh, on_exceed="raise") as session,
        ThreadPoolExecutor(threads) as pool,
    ):
        working = [pool.submit(session.run, work) for _ in range(threads)]
    for each in working:
        each.result()
    assert len(refused) == threads
    # The one that reached it, and at most one more under way in every other thread.
    assert 21 <= session.totals.calls <= 21 + threads - 1
    assert len(loopback.requests) == len(watch.records) == session.totals.calls + 1
    client.close()


async def test_a_warning_is_given_once_and_calls_go_on(
    flavour: Flavour, loopback: Loopback, watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    loopback.serve(ANSWER)
    client = watch.wrap(flavour.client(loopback.base_url))
    with (
        caplog.at_level(logging.WARNING, "energy_tracking"),
        energy_session("warned", budget_wh=1e-9) as session,
    ):
        await ask(flavour, client)
        assert caplog.messages == []
        await ask(flavour, client)
        await ask(flavour, client)
    assert session.totals.calls == 3
    message = the_only(caplog.messages)
    assert message.startswith("session 'warned' has used ")


async def test_a_function_is_called_before_every_further_call_and_may_refuse_it(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    loopback.serve(ANSWER)
    client = watch.wrap(flavour.client(loopback.base_url))
    received: list[EnergyBudgetExceeded] = []

    def decide(exceeded: EnergyBudgetExceeded) -> None:
        received.append(exceeded)
        if len(received) > 1:
            raise exceeded

    with energy_session("asked", budget_wh=1e-9, on_exceed=decide) as session:
        await ask(flavour, client)
        await ask(flavour, client)
        with pytest.raises(EnergyBudgetExceeded) as raised:
            await ask(flavour, client)
    assert (len(received), raised.value) == (2, received[1])
    assert session.totals.calls == 2


async def test_what_goes_wrong_in_the_function_touches_no_call(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    loopback.serve(ANSWER)
    client = watch.wrap(flavour.client(loopback.base_url))

    def stumble(exceeded: EnergyBudgetExceeded) -> None:
        raise KeyError("pager")

    with energy_session("asked", budget_wh=0, on_exceed=stumble) as session:
        await ask(flavour, client)
    assert session.totals.calls == 1
    ((where, error),) = watch.errors
    assert (where, type(error)) == ("budget", KeyError)
    watch.errors.clear()


def test_the_function_may_itself_ask_a_model(loopback: Loopback, watch: Watch) -> None:
    loopback.serve(ANSWER)
    client = watch.wrap(openai.OpenAI(api_key="none", base_url=loopback.base_url))

    def word_it(exceeded: EnergyBudgetExceeded) -> None:
        client.chat.completions.create(**CHAT)

    with energy_session("asked", budget_wh=0, on_exceed=word_it) as session:
        client.chat.completions.create(**CHAT)
    assert session.totals.calls == 2
    client.close()


async def test_reading_a_stream_on_and_fetching_a_response_are_never_refused(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    loopback.serve(sse(*chat_chunks("Hello", "!"), DONE), endpoint="chat/completions")
    loopback.serve(json_reply(response_object()), endpoint="responses/resp_1")
    client = watch.wrap(flavour.client(loopback.base_url))
    with energy_session("one", budget_wh=1e-9, on_exceed="raise") as session:
        first = await ask(flavour, client, stream=True)
        second = await ask(flavour, client, stream=True)
        assert len([chunk async for chunk in flavour.items(first)]) > 2
        assert len([chunk async for chunk in flavour.items(second)]) > 2
        await flavour.call(client.responses.retrieve, "resp_1")
        with pytest.raises(EnergyBudgetExceeded):
            await ask(flavour, client)
    assert session.totals.calls == 2


def test_calls_of_other_clients_are_counted_and_can_be_asked_about(watch: Watch) -> None:
    tracker = Tracker(**watch.arguments)
    usage = {"prompt_tokens": 10, "completion_tokens": 100}
    current_session().check_budget()
    with energy_session("outer", budget_wh=1e-9, on_exceed="raise") as outer, Session("inner"):
        current_session().check_budget()
        # They have run already: they are counted, whatever the budget.
        tracker.record(model="gpt-4o", usage=usage)
        tracker.record(model="gpt-4o", usage=usage)
        with pytest.raises(EnergyBudgetExceeded, match="'outer'"):
            current_session().check_budget()
    assert outer.totals.calls == 2
    with pytest.raises(EnergyBudgetExceeded):
        outer.check_budget()


def test_a_call_of_unknown_energy_uses_none_of_the_budget(watch: Watch) -> None:
    tracker = Tracker(**watch.arguments)
    with energy_session(budget_wh=1e-9, on_exceed="raise") as session:
        tracker.record(model="nobody-knows-it", usage={"prompt_tokens": 1, "completion_tokens": 1})
        session.check_budget()


FORK = """
import os
from energy_tracking import EnergyBudgetExceeded, Tracker, energy_session

def left():
    try:
        session.check_budget()
    except EnergyBudgetExceeded:
        return 0
    return 1

with energy_session("job", budget_wh=1e-9, on_exceed="raise") as session:
    Tracker().record(model="gpt-4o", usage={"prompt_tokens": 10, "completion_tokens": 5})
    child = os.fork()
    if not child:
        os._exit(left())
    print(left(), os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no fork there")
def test_a_forked_child_has_the_whole_budget_again() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORK],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.stdout.split(), done.stderr) == (["0", "1"], "")


async def test_a_refused_call_fails_the_decorated_function_around_it(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    from energy_tracking import track_energy

    client = watch.wrap(flavour.client(loopback.base_url))
    watch.every_call_has_a_span = False

    @track_energy(name="answer", **watch.arguments)
    async def answer() -> None:
        await ask(flavour, client)

    with energy_session(budget_wh=0, on_exceed="raise"), suppress(EnergyBudgetExceeded):
        await answer()
    assert watch.attributes["error.type"] == "EnergyBudgetExceeded"
    assert watch.attributes["energy_tracking.rollup.calls"] == 0
