"""What a session saved and cost: reasoning, prompt caching, another model or GPU."""

from __future__ import annotations

import math

import pytest

from energy_tracking import (
    Session,
    Tracker,
    UnknownGpuError,
    UnknownModelError,
    energy_session,
)
from energy_tracking.session import CALLS_COMPARED
from loopback import CHAT_USAGE, Body, Flavour, Loopback, chat_completion, json_reply
from watch import Watch

CHAT: Body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Capital of Mexico?"}]}
CACHED = {
    "prompt_tokens": 9000,
    "completion_tokens": 100,
    "prompt_tokens_details": {"cached_tokens": 8000},
}
UNCACHED = {"prompt_tokens": 9000, "completion_tokens": 100}
METHODS = pytest.mark.parametrize("method", ["reference", "roofline"])


@METHODS
def test_what_caching_avoided_is_the_difference_to_no_cache(watch: Watch, method: str) -> None:
    tracker = Tracker(**watch.arguments, method=method)
    with energy_session("cached") as cached:
        tracker.record(model="gpt-4o", usage=CACHED)
    with energy_session("uncached") as uncached:
        tracker.record(model="gpt-4o", usage=UNCACHED)
    avoided = cached.totals.cache_avoided_energy_joules
    assert avoided == pytest.approx(
        uncached.total_energy_joules - cached.total_energy_joules, abs=2e-9
    )
    assert avoided > 0
    assert uncached.totals.cache_avoided_energy_joules == 0
    with_cache, without = (dict(span.attributes or {}) for span in watch.spans)
    name = "energy_tracking.cache_avoided_energy_joules"
    assert with_cache[name] == pytest.approx(avoided)
    assert name not in without
    assert "avoided by prompt caching" in str(cached)
    assert "avoided" not in str(uncached)


async def test_the_table_says_what_reasoning_took(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    loopback.serve(json_reply(chat_completion()))
    client = watch.wrap(flavour.client(loopback.base_url))
    with energy_session("here") as session:
        await flavour.call(client.chat.completions.create, **CHAT)
    # 32 of the 80 output tokens, each at nearly the same context.
    share = session.totals.reasoning_energy_joules / session.totals.decode_energy_joules
    assert share == pytest.approx(32 / 80, rel=0.01)
    assert "of it spent on reasoning" in str(session)


@METHODS
def test_a_comparison_is_what_the_other_model_or_gpu_would_have_given(
    watch: Watch, method: str
) -> None:
    tracker = Tracker(**watch.arguments, method=method)
    with energy_session("large") as large:
        for usage in (CHAT_USAGE, CACHED, UNCACHED):
            tracker.record(model="gpt-4o", usage=usage)
    with energy_session("small") as small:
        for usage in (CHAT_USAGE, CACHED, UNCACHED):
            tracker.record(model="gpt-4o-mini", usage=usage)
    other_gpu = Tracker(**watch.arguments, method=method, gpu="A100")
    with energy_session("other GPU") as elsewhere:
        for usage in (CHAT_USAGE, CACHED, UNCACHED):
            other_gpu.record(model="gpt-4o", usage=usage)
    to_small = large.compare(model="gpt-4o-mini")
    assert (to_small.calls, to_small.actual, to_small.other) == (3, large.totals, small.totals)
    assert to_small.factor == pytest.approx(small.total_energy_wh / large.total_energy_wh)
    assert to_small.factor < 1
    assert large.compare(gpu="A100").other == elsewhere.totals
    assert large.compare().factor == 1
    assert small.compare(model="gpt-4o").other == large.totals


def test_a_comparison_takes_a_name_as_calls_do_and_refuses_an_unknown_one(watch: Watch) -> None:
    tracker = Tracker(**watch.arguments)
    with energy_session() as session:
        tracker.record(model="gpt-4o", usage=UNCACHED)
    dated = session.compare(model="gpt-4o-mini-2024-07-18")
    assert dated == session.compare(model="gpt-4o-mini")
    with pytest.raises(UnknownModelError, match="gpt-4o-mini"):
        session.compare(model="gpt-4o-minni")
    with pytest.raises(UnknownGpuError, match="H100"):
        session.compare(gpu="H1000")


def test_only_calls_with_an_energy_are_compared(watch: Watch) -> None:
    tracker = Tracker(**watch.arguments)
    with energy_session() as session:
        tracker.record(model="nobody-knows-it", usage=UNCACHED)
        assert session.compare(model="gpt-4o").calls == 0
        assert math.isnan(session.compare(model="gpt-4o").factor)
        tracker.record(model="gpt-4o", usage=UNCACHED)
    assert session.compare(model="gpt-4o").calls == 1
    assert Session().compare().calls == 0


def test_a_long_session_compares_its_last_calls(watch: Watch) -> None:
    tracker = Tracker(**watch.arguments | {"tracer_provider": None}, spans="off")
    watch.every_call_has_a_span = False
    with energy_session() as session:
        tracker.record(model="o1", usage=UNCACHED)
        for _ in range(CALLS_COMPARED):
            tracker.record(model="gpt-4o", usage=UNCACHED)
    compared = session.compare(model="gpt-4o")
    assert (compared.calls, session.totals.calls) == (1000, 1001)
    assert compared.factor == 1
