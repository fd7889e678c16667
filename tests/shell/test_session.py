"""Sessions count every call inside them, exactly, wherever and whenever it ends."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import json
import math
import re
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from typing import Any

import openai
import pytest

from calls import CHAT, STREAM
from counts import the_only
from energy_tracking import (
    ConfigurationError,
    EnergyBudgetExceeded,
    Session,
    Tracker,
    current_session,
    energy_session,
    lifecycle,
    process_session,
)
from energy_tracking.units import nanojoules_from_joules
from loopback import (
    CHAT_USAGE,
    DONE,
    Flavour,
    Loopback,
    chat_chunks,
    chat_completion,
    error_reply,
    json_reply,
    sse,
)
from observed_calls import Watch
from untracked import untrack_all


@pytest.fixture
def tracker(watch: Watch) -> Tracker:
    return Tracker(**watch.arguments)


def count_one(tracker: Tracker, output_tokens: int = 100, **details: Any) -> None:
    """A call of another client, in the current session."""
    usage = {"prompt_tokens": 10, "completion_tokens": output_tokens}
    tracker.record(model=details.pop("model", "gpt-4o"), usage=usage, **details)


def count_and_fail(tracker: Tracker) -> None:
    count_one(tracker)
    raise KeyError


def calls(*sessions: Session) -> list[int]:
    return [session.totals.calls for session in sessions]


# Nesting.


def test_a_call_counts_in_every_session_around_it(tracker: Tracker) -> None:
    before = process_session().totals.calls
    with energy_session("outer") as outer:
        count_one(tracker)
        with energy_session("inner") as inner:
            count_one(tracker)
            with energy_session("innermost") as innermost:
                count_one(tracker)
        count_one(tracker)
    count_one(tracker)
    assert calls(outer, inner, innermost) == [4, 2, 1]
    assert process_session().totals.calls == before + 5
    assert outer.total_energy_joules > inner.total_energy_joules > 0


def test_the_current_session_is_the_innermost(tracker: Tracker) -> None:
    assert current_session() == process_session()
    with energy_session("outer") as outer:
        with energy_session() as inner:
            assert current_session() == inner != outer
            assert len({current_session(), inner, outer}) == 2
        assert (current_session(), current_session().name) == (outer, "outer")
    assert current_session() == process_session()
    assert (process_session().name, inner.name) == ("process", "session")


async def test_a_session_can_be_entered_by_async_with(tracker: Tracker) -> None:
    async with energy_session("a") as session:
        await asyncio.sleep(0)
        count_one(tracker)
    assert calls(session) == [1]


def test_a_session_entered_within_itself_counts_a_call_once(tracker: Tracker) -> None:
    with energy_session("a") as a:
        with energy_session("b") as b, a, a:
            count_one(tracker)
        assert current_session() == a
        count_one(tracker)
    assert calls(a, b) == [2, 1]
    assert current_session() == process_session()


def test_a_session_entered_again_goes_on_where_it_is(tracker: Tracker) -> None:
    session = Session("reused")
    with energy_session("first") as first, session:
        count_one(tracker)
    with energy_session("second") as second, session:
        count_one(tracker)
    with session:
        count_one(tracker)
    assert calls(session, first, second) == [3, 1, 1]


def test_a_session_shared_by_threads_counts_for_each_where_it_is_entered(
    tracker: Tracker,
) -> None:
    shared = Session("app")
    both_inside = threading.Barrier(2, timeout=10)

    def request(name: str) -> list[int]:
        with energy_session(name) as own, shared:
            both_inside.wait()
            for _ in range(3):
                count_one(tracker)
            both_inside.wait()
        count_one(tracker)
        assert current_session() == process_session()
        return calls(own)

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(request, ["a", "b"])) == [[3], [3]]
    assert calls(shared) == [6]


def test_many_threads_may_enter_and_leave_one_session_at_once(
    tracker: Tracker,
) -> None:
    shared = Session("app")

    def work() -> None:
        for _ in range(300):
            with shared, shared:
                pass
            assert current_session() == process_session()
        with shared:
            count_one(tracker)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            for thread in [pool.submit(work) for _ in range(8)]:
                thread.result()
    finally:
        sys.setswitchinterval(interval)
    assert calls(shared) == [8]


def test_an_error_inside_passes_and_is_counted_until_there(tracker: Tracker) -> None:
    session = energy_session("a")
    with pytest.raises(KeyError), session:
        count_and_fail(tracker)
    assert calls(session) == [1]
    assert current_session() == process_session()


# Tasks and threads.


async def test_sessions_follow_tasks_but_not_bare_threads(tracker: Tracker) -> None:
    async def work() -> None:
        await asyncio.sleep(0)
        count_one(tracker)

    already = process_session().totals.calls
    before = asyncio.create_task(work())
    with energy_session("outer") as outer, energy_session("inner") as inner:
        await asyncio.gather(work(), work(), asyncio.create_task(work()))
        await asyncio.to_thread(count_one, tracker)
        assert calls(inner, outer) == [4, 4]
        await asyncio.get_running_loop().run_in_executor(None, count_one, tracker)
        thread = threading.Thread(target=count_one, args=(tracker,))
        thread.start()
        thread.join()
        await before
        assert calls(inner, outer) == [4, 4]
        outliving = asyncio.create_task(work())
    await outliving
    assert calls(inner, outer) == [5, 5]
    assert process_session().totals.calls - already == 8


async def test_concurrent_tasks_each_have_their_own_session(tracker: Tracker) -> None:
    async def work(number: int) -> list[int]:
        with energy_session(str(number)) as session:
            for _ in range(number):
                await asyncio.sleep(0)
                count_one(tracker)
        return calls(session)

    with energy_session("all") as session:
        assert await asyncio.gather(*map(work, range(10))) == [[number] for number in range(10)]
    assert calls(session) == [45]


def test_a_session_is_carried_into_threads_with_those_around_it(tracker: Tracker) -> None:
    def attached() -> None:
        with session.attach() as same, energy_session("in the thread"):
            assert same is session
            count_one(tracker)
        assert current_session() == process_session()

    session = Session("made before")
    with energy_session("outer") as outer, session, ThreadPoolExecutor(1) as pool:
        pool.submit(attached).result()
        pool.submit(session.run, count_one, tracker).result()
        pool.submit(current_session().run, count_one, tracker, output_tokens=7).result()
    assert calls(session, outer) == [3, 3]
    assert session.run(int, "11", base=2) == 3


@pytest.mark.parametrize("way", ["closed", "read to its end"])
def test_a_generator_that_is_closed_in_a_session_takes_no_lock_and_logs_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    """The garbage collector may be closing it, while this thread holds any lock."""
    untrack_all()
    sent = iter(range(9))
    monkeypatch.setattr(lifecycle, "request_counts", [lambda: next(sent)])
    settled: list[str] = []

    def steps() -> Generator[int, None, None]:
        with Session("app"):
            yield 1

    generator = steps()
    next(generator)
    lifecycle.defer(lambda: settled.append("settled"))
    if way == "closed":
        generator.close()
        assert (settled, caplog.messages) == ([], [])
    else:
        assert list(generator) == []
        assert settled == ["settled"]
        assert "No call of session 'app' was counted" in caplog.text
    lifecycle.run_deferred()


@pytest.mark.parametrize("joules", [-1e6, math.nan, math.inf, "5", True, 1e13])
def test_a_record_whose_measured_energy_cannot_be_is_refused(tracker: Tracker, joules: Any) -> None:
    record = tracker.record(model="gpt-4o", usage=CHAT_USAGE)
    session = Session("app", budget_wh=1)
    with pytest.raises(ConfigurationError, match="measured_energy_joules must be a number from 0"):
        session.add(replace(record, measured_energy_joules=joules))
    assert session.totals.calls == 0


@pytest.mark.parametrize("joules", ["5", None, math.nan, math.inf])
@pytest.mark.parametrize("name", ["prefill_energy_joules", "total_energy_high_joules"])
def test_a_record_that_cannot_be_added_up_is_refused_at_once(
    tracker: Tracker, name: str, joules: Any
) -> None:
    record = tracker.record(model="gpt-4o", usage=CHAT_USAGE)
    assert record.estimate is not None
    session = Session("app")
    session.add(record)
    wrong = replace(record, estimate=replace(record.estimate, **{name: joules}))
    with pytest.raises((ConfigurationError, ValueError, OverflowError)):
        session.add(wrong)
    session.add(record)
    assert session.totals.calls == 2
    assert session.running_total_energy_joules == pytest.approx(session.total_energy_joules)


@pytest.mark.parametrize("runs", ["after", "after both", "beside"])
def test_sessions_around_a_shared_one_that_were_left_do_not_count_what_comes_after(
    tracker: Tracker, runs: str
) -> None:
    shared, stopped = Session("app"), threading.Event()
    outer = [Session("a", budget_wh=0, on_exceed="raise"), Session("b")]

    def enter(one: Session, inside: threading.Event | None = None) -> None:
        with one, shared:
            if inside is not None:
                inside.set()
                assert stopped.wait(10)

    inside = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(enter, outer[0]).result()
        if runs == "after both":
            pool.submit(enter, outer[1]).result()
        elif runs == "beside":
            # Around it is now the other one alone.
            pool.submit(enter, outer[1], inside)
            assert inside.wait(10)
        shared.check_budget()
        shared.run(count_one, tracker)
        stopped.set()
    assert calls(shared, *outer) == [1, 0, 1 if runs == "beside" else 0]


@pytest.mark.parametrize("way", ["run", "attach", "bound before", "run in the worker", "direct"])
def test_a_session_shared_by_threads_is_carried_with_those_around_it_there(
    tracker: Tracker, way: str
) -> None:
    shared = Session("app")
    both_inside = threading.Barrier(2, timeout=10)

    def attached(attachment: AbstractContextManager[Session]) -> None:
        with attachment:
            count_one(tracker)

    def request(name: str, number: int) -> list[int]:
        with energy_session(name) as own, shared, ThreadPoolExecutor(1) as pool:
            run = shared.run
            both_inside.wait()
            for _ in range(number):
                if way == "attach":
                    pool.submit(attached, shared.attach()).result()
                elif way == "run in the worker":
                    # There nothing says which of the two places is meant.
                    pool.submit(lambda: shared.run(count_one, tracker)).result()
                elif way == "direct":
                    shared.run(count_one, tracker)
                else:
                    pool.submit(run if way == "bound before" else shared.run, count_one, tracker)
            both_inside.wait()
        return calls(own)

    with energy_session("around both") as around, ThreadPoolExecutor(2) as pool:
        counted = list(pool.map(around.run, [request] * 2, ["a", "b"], [1, 2]))
    assert counted == ([[0], [0]] if way == "run in the worker" else [[1], [2]])
    assert calls(shared, around) == [3, 3]


def test_a_session_entered_elsewhere_asks_the_budgets_and_has_the_tags_of_here() -> None:
    shared = Session("app")
    both_inside = threading.Barrier(2, timeout=10)

    def request(budget_wh: float) -> tuple[bool, dict[str, str]]:
        tags = {"budget": str(budget_wh)}
        with Session("own", budget_wh=budget_wh, on_exceed="raise", tags=tags), shared:
            both_inside.wait()
            try:
                shared.check_budget()
            except EnergyBudgetExceeded:
                return True, shared.tags
            finally:
                both_inside.wait()
            return False, shared.tags

    with ThreadPoolExecutor(2) as pool:
        asked = list(pool.map(request, [0.0, 1.0]))
    assert asked == [(True, {"budget": "0.0"}), (False, {"budget": "1.0"})]


def test_many_threads_that_share_a_session_credit_no_other_threads_session(
    tracker: Tracker,
) -> None:
    shared = Session("app")

    def request(number: int) -> int:
        with energy_session() as own, shared:
            thread = threading.Thread(target=shared.run, args=[count_one, tracker])
            thread.start()
            thread.join()
            return own.totals.calls

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(request, range(100))) == [1] * 100
    finally:
        sys.setswitchinterval(interval)
    assert calls(shared) == [100]


def test_attaching_inside_another_session_counts_in_both(tracker: Tracker) -> None:
    other = Session("other")
    with energy_session("here") as here, other.attach():
        count_one(tracker)
    assert calls(here, other) == [1, 1]


def test_totals_are_exact_under_threads(tracker: Tracker, watch: Watch) -> None:
    sessions = [Session(str(number)) for number in range(4)]

    def work(number: int) -> None:
        with sessions[number % 4].attach():
            for i in range(20):
                count_one(tracker, output_tokens=1 + 20 * number + i)

    with energy_session("all") as whole, ThreadPoolExecutor(64) as pool:
        threads = [pool.submit(current_session().run, work, number) for number in range(64)]
        for thread in threads:
            thread.result()
    energies = [record.estimate for record in watch.records]
    expected = sum(
        nanojoules_from_joules(energy.prefill_energy_joules)
        + nanojoules_from_joules(energy.decode_energy_joules)
        for energy in energies
        if energy is not None
    )
    assert whole.totals.total_energy_nanojoules == expected
    assert calls(whole, *sessions) == [1280, 320, 320, 320, 320]
    assert sum(session.totals.total_energy_nanojoules for session in sessions) == expected
    assert whole.totals.output_tokens == 1280 * 1281 / 2


async def test_totals_are_exact_under_a_thousand_tasks(tracker: Tracker) -> None:
    async def work(number: int) -> None:
        await asyncio.sleep(0)
        count_one(tracker, output_tokens=number)

    with energy_session("all") as session:
        await asyncio.gather(*map(work, range(1, 1001)))
    assert (session.totals.calls, session.totals.output_tokens) == (1000, 500_500)


def test_the_running_total_only_grows_and_stands_on_the_spans(
    tracker: Tracker, watch: Watch
) -> None:
    seen: list[float] = []
    with energy_session("all") as session, ThreadPoolExecutor(8) as pool:
        work = [pool.submit(session.run, count_one, tracker) for _ in range(200)]
        while not all(each.done() for each in work):
            seen.append(session.running_total_energy_joules)
    assert seen == sorted(seen)
    named: list[dict[str, Any]] = [dict(span.attributes or {}) for span in watch.spans]
    assert {attributes["energy_tracking.session.name"] for attributes in named} == {"all"}
    shown = [attributes["energy_tracking.session.total_energy_wh"] for attributes in named]
    assert max(shown) == pytest.approx(session.total_energy_wh, rel=1e-15)
    assert min(shown) > 0


# Calls that end late.


async def test_a_stream_is_credited_where_it_began(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    loopback.serve(sse(*chat_chunks(), DONE))
    client = watch.wrap(flavour.client(loopback.base_url), include_usage="always")
    with energy_session("began") as began:
        stream = await flavour.call(client.chat.completions.create, **STREAM)
    with energy_session("read") as read:
        async for _ in flavour.items(stream):
            pass
    assert calls(began, read) == [1, 0]
    assert began.totals.output_tokens == CHAT_USAGE["completion_tokens"]


def test_a_stream_read_in_a_bare_thread_is_credited_where_it_began(
    loopback: Loopback, watch: Watch
) -> None:
    loopback.serve(sse(*chat_chunks(), DONE))
    with openai.OpenAI(api_key="none", base_url=loopback.base_url) as plain:
        client = watch.wrap(plain, include_usage="always")
        with energy_session("began") as began, ThreadPoolExecutor(1) as pool:
            stream = client.chat.completions.create(**STREAM)
            pool.submit(list, stream).result()
    assert calls(began) == [1]


def test_leaving_a_session_settles_what_was_dropped_inside(
    loopback: Loopback, watch: Watch
) -> None:
    loopback.serve(sse(*chat_chunks("Mexico ", "City"), DONE))
    with openai.OpenAI(api_key="none", base_url=loopback.base_url) as plain:
        client = watch.wrap(plain, include_usage="always")
        with energy_session("dropped") as session:
            stream = client.chat.completions.create(**STREAM)
            next(stream)
            next(stream)
            del stream
            gc.collect()
        span = the_only(watch._exporter.get_finished_spans())
    assert (span.attributes or {})["energy_tracking.status"] == "partial"
    assert calls(session) == [1]


# Leaving a session in odd places.


def session_in_generator(name: str, kept: dict[str, Session]) -> Generator[Session, None, None]:
    with energy_session(name) as session:
        kept[name] = session
        yield session
        yield session


def test_generators_may_leave_their_sessions_in_any_order(tracker: Tracker) -> None:
    kept: dict[str, Session] = {}
    a, b = session_in_generator("a", kept), session_in_generator("b", kept)
    next(a), next(b)
    a_left = list(a)
    assert current_session() == kept["b"]
    count_one(tracker)
    assert list(b)
    assert a_left
    assert current_session() == process_session()
    count_one(tracker)
    assert calls(kept["a"], kept["b"]) == [0, 1]


@pytest.mark.parametrize("copied", [True, False])
def test_leaving_in_another_context_neither_raises_nor_sticks(
    tracker: Tracker, copied: bool
) -> None:
    kept: dict[str, Session] = {}
    generator = session_in_generator("a", kept)
    next(generator)
    elsewhere = contextvars.copy_context() if copied else contextvars.Context()
    elsewhere.run(generator.close)
    assert current_session() == process_session()
    assert elsewhere.run(current_session) == process_session()
    with kept["a"]:
        count_one(tracker)
    count_one(tracker)
    assert calls(kept["a"]) == [1]


async def test_an_async_generator_may_be_closed_by_another_task(tracker: Tracker) -> None:
    async def items() -> AsyncGenerator[Session, None]:
        async with energy_session("a") as session:
            yield session

    async def close() -> None:
        await generator.aclose()

    generator = items()
    session = await anext(generator)
    await asyncio.create_task(close())
    count_one(tracker)
    assert current_session() == process_session()
    assert calls(session) == [0]


def test_one_generator_closed_elsewhere_takes_a_shared_session_from_nobody_else(
    tracker: Tracker,
) -> None:
    shared = Session("shared")

    def items() -> Generator[None, None, None]:
        with shared:
            yield

    generator = items()
    contextvars.copy_context().run(next, generator)
    with shared:
        contextvars.Context().run(generator.close)
        count_one(tracker)
    count_one(tracker)
    assert calls(shared) == [1]
    assert current_session() == process_session()


def test_leaving_more_often_than_entering_is_harmless(tracker: Tracker) -> None:
    with energy_session("outer") as outer:
        Session("never entered").__exit__(None, None, None)
        count_one(tracker)
    assert calls(outer) == [1]
    with ExitStack() as stack:
        session = stack.enter_context(energy_session("a"))
        stack.callback(session.__exit__, None, None, None)
    assert current_session() == process_session()


def test_entering_the_process_session_changes_nothing(tracker: Tracker) -> None:
    with energy_session("outer") as outer, process_session(), current_session():
        count_one(tracker)
    count_one(tracker)
    assert calls(outer) == [1]


def test_a_generator_collected_while_a_lock_is_held_takes_none(
    loopback: Loopback, watch: Watch, tracker: Tracker
) -> None:
    loopback.serve(sse(*chat_chunks(), DONE))
    client = openai.OpenAI(api_key="none", base_url=loopback.base_url)
    watch.wrap(client, include_usage="always")
    kept: dict[str, Session] = {}

    def items() -> Iterator[object]:
        with energy_session("a") as kept["a"]:
            yield from client.chat.completions.create(**STREAM)

    def collect() -> None:
        generator = items()
        next(generator)
        # As if the collector ran while this thread adds a call up.
        with process_session()._account._lock, kept["a"]._account._lock:
            del generator
            gc.collect()
        done.set()

    done = threading.Event()
    threading.Thread(target=collect, daemon=True).start()
    assert done.wait(10)
    assert calls(kept["a"]) == [1]
    client.close()


# What a session shows.


def test_a_session_states_models_gpus_and_reasons(watch: Watch) -> None:
    known = Tracker(**watch.arguments | {"default_model": None})
    other = Tracker(**watch.arguments | {"default_model": None}, gpu="A100")
    with energy_session("nightly") as session:
        count_one(known)
        count_one(other, model="o1")
        count_one(known, model="o1")
        count_one(known, model="nobody-knows-it")
    by_model, by_gpu = session.by_model, session.by_gpu
    assert {name: totals.calls for name, totals in by_model.items()} == {
        "gpt-4o": 1,
        "o1": 2,
        "nobody-knows-it": 1,
    }
    assert {name: totals.calls for name, totals in by_gpu.items()} == {
        "H100": 2,
        "A100": 1,
        "-": 1,
    }
    assert by_model["nobody-knows-it"].unestimated_calls == 1
    assert by_model["nobody-knows-it"].output_tokens == 100
    ((model, reason),) = session.reasons
    assert (model, session.reasons[model, reason]) == ("nobody-knows-it", 1)
    for grouped in (by_model, by_gpu):
        assert sum(totals.calls for totals in grouped.values()) == session.totals.calls
        assert sum(totals.total_energy_nanojoules for totals in grouped.values()) == (
            session.totals.total_energy_nanojoules
        )
    head, *rows = str(session).splitlines()
    assert head.startswith("nightly: 4 calls (1 unestimated), ")
    assert rows[-1] == f"  1 call to nobody-knows-it: {reason}"
    assert re.fullmatch(r"<Session 'nightly': 4 calls, [\d.]+ mWh>", repr(session))


@pytest.mark.parametrize(
    ("watt_hours", "shown"),
    [(0, "1 call, 0 Wh"), (1.5e-5, "1 call, 15 µWh"), (0.25, "1 call, 250 mWh"), (4e3, "4.0 kWh")],
)
def test_the_repr_of_a_session_has_plain_units(watt_hours: float, shown: str) -> None:
    with energy_session("a") as session:
        Tracker().record(model="x", usage=None, measured_energy_joules=watt_hours * 3600)
    assert repr(session).endswith(f"{shown}>")


def test_what_a_session_holds_is_shown_in_plain_units(tracker: Tracker) -> None:
    """Inside of lists and dictionaries, too, where Python shows the ``repr``."""
    with energy_session("a") as session:
        record = tracker.record(model="gpt-4o", usage={"prompt_tokens": 9, "completion_tokens": 9})
    compared, emitted = session.compare(model="gpt-4o"), session.carbon(grams_per_kwh=100)
    for one in (session.totals, record, emitted):
        assert str(one) in repr(one)
    for shown in map(repr, (session.by_kind, session.by_model, [record], compared, emitted)):
        assert "nanojoules" not in shown
        assert len(shown) < 200, shown
    assert repr(compared) == ("<Comparison: 1 call compared with model=gpt-4o, a factor of 1>")


def test_what_a_session_gave_out_changes_no_more(tracker: Tracker) -> None:
    with energy_session("a") as session:
        count_one(tracker)
        totals, by_model, reasons = session.totals, session.by_model, session.reasons
        totals.calls += 10
        by_model["gpt-4o"].calls += 10
        reasons["gpt-4o", "x"] = 10
        count_one(tracker)
    assert (calls(session), session.by_model["gpt-4o"].calls, session.reasons) == ([2], 2, {})


def test_a_session_is_shown_to_machines_and_notebooks(tracker: Tracker) -> None:
    with energy_session("<nightly>", tags={"team": "search"}) as session:
        count_one(tracker)
        count_one(tracker, model="o1")
    shown = json.loads(session.to_json())
    assert (shown["name"], shown["tags"]) == ("<nightly>", {"team": "search"})
    assert shown["totals"] == session.totals.as_dict()
    assert session.to_csv().splitlines()[1].startswith("gpt-4o,H100,reference,gpu,C,1,")
    assert "&lt;nightly&gt;: 2 calls" in session._repr_html_()


async def test_failed_and_unestimated_calls_are_counted_with_their_reason(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    client = watch.wrap(flavour.client(loopback.base_url), default_model=None)
    loopback.serve(
        error_reply(401),
        json_reply(chat_completion(model="mystery-1")),
        json_reply(chat_completion(usage=None)),
        json_reply(chat_completion()),
    )
    with energy_session("mixed") as session:
        with pytest.raises(openai.AuthenticationError):
            await flavour.call(client.chat.completions.create, **CHAT)
        for model in ("mystery-1", "gpt-4o", "gpt-4o"):
            await flavour.call(client.chat.completions.create, **CHAT | {"model": model})
    totals = session.totals
    assert (totals.calls, totals.failed_calls) == (4, 1)
    assert (totals.unestimated_calls, totals.partial_calls) == (1, 1)
    assert ("gpt-4o", "failed with AuthenticationError") in session.reasons
    assert str(session).startswith("mixed: 4 calls (1 partial, 1 unestimated, 1 failed), ")


# Fork.

FORK = """
import os, threading
from energy_tracking import Tracker, energy_session, process_session

def count_one():
    usage = {"prompt_tokens": 10, "completion_tokens": 5}
    tracker.record(model="gpt-4o", usage=usage)

tracker = Tracker()
held, release = threading.Event(), threading.Event()

def hold(session):
    with session._account._lock, process_session()._account._lock:
        held.set()
        release.wait(10)

with energy_session("job") as session:
    count_one()
    thread = threading.Thread(target=hold, args=(session,))
    thread.start()
    held.wait()
    child = os.fork()
    if not child:
        count_one()
        count_one()
        counted = session.totals.calls, process_session().totals.calls
        os._exit(10 * counted[0] + counted[1])
    release.set()
    thread.join()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), session.totals.calls)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no fork there")
def test_a_forked_child_starts_at_zero_with_locks_nobody_holds() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORK],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.stdout.split(), done.stderr) == (["22", "1"], "")
