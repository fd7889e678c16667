"""Fault: our own code raises, at every seam it has."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from calls import SHAPES, Shape
from energy_tracking import Session, process_session, wrap_openai
from energy_tracking.openai_client.background import HeldCalls
from energy_tracking.telemetry.spans import Telemetry
from energy_tracking.tracker import Tracker
from loopback import Flavour, Loopback
from watch import Watch

plain = SHAPES["chat"]
each_shape = pytest.mark.parametrize(
    "shape",
    [SHAPES[name] for name in ("chat", "chat stream", "embedding", "response stream")],
    ids=lambda shape: f"{shape.method}{' stream' * bool(shape.request.get('stream'))}",
)


class OurError(Exception):
    """Raised where the library might be wrong."""


def broken(*args: object, **kwargs: object) -> Any:
    raise OurError


# Everything a tracked call runs of ours, by owner and name.
SEAMS: list[tuple[object | str, str]] = [
    (Tracker, "start"),
    (Tracker, "over_budget"),
    (Tracker, "estimate"),
    (Telemetry, "start"),
    (Telemetry, "_end"),
    (Session, "add"),
    ("energy_tracking.openai_client.client", "endpoint_of"),
    ("energy_tracking.openai_client.client", "provider_of"),
    ("energy_tracking.openai_client.client", "follow"),
    (HeldCalls, "hold"),
    ("energy_tracking.openai_client.client", "is_told_elsewhere"),
    ("energy_tracking.openai_client.client", "may_ask_for_usage"),
    ("energy_tracking.openai_client.stream_usage", "_without_usage_chunk"),
    ("energy_tracking.openai_client.client", "read_in_memory"),
    ("energy_tracking.calls.call", "usage_in"),
    ("energy_tracking.calls.call", "identity_in"),
    ("energy_tracking.calls.call", "read_usage"),
    ("energy_tracking.tracker", "current_session"),
    ("energy_tracking.tracker", "estimate_usage"),
]


@each_shape
@pytest.mark.parametrize(
    ("owner", "name"), SEAMS, ids=[f"{getattr(o, '__name__', o)}.{n}" for o, n in SEAMS]
)
async def test_our_own_errors_never_reach_the_caller(
    flavour: Flavour,
    loopback: Loopback,
    watch: Watch,
    monkeypatch: pytest.MonkeyPatch,
    shape: Shape,
    owner: object | str,
    name: str,
) -> None:
    loopback.serve(shape.answer)
    untracked = await shape.ask(flavour, flavour.client(loopback.base_url))
    client = watch.wrap(flavour.client(loopback.base_url), include_usage="always")
    with monkeypatch.context() as patch:
        patch.setattr(sys.modules[owner] if isinstance(owner, str) else owner, name, broken)
        tracked = await shape.ask(flavour, client)
    assert [item.to_dict() for item in tracked] == [item.to_dict() for item in untracked]
    assert {type(error) for _, error in watch.errors} <= {OurError}
    watch.errors.clear()
    await shape.ask(flavour, client)
    assert watch.records[-1].status == "estimated"
    watch.every_call_has_a_span = owner is not Telemetry


@pytest.mark.parametrize("failing", ["on_record", "tracer_provider"])
async def test_a_failing_sink_or_provider_of_the_user_is_not_the_callers_trouble(
    flavour: Flavour, loopback: Loopback, watch: Watch, failing: str
) -> None:
    class BadProvider:
        def get_tracer(self, *args: object, **kwargs: object) -> Any:
            return self

        start_span = broken

    errors: list[tuple[str, Exception]] = []
    arguments: dict[str, Any] = {
        "on_error": lambda where, error: errors.append((where, error)),
        failing: broken if failing == "on_record" else BadProvider(),
    }
    loopback.serve(plain.answer)
    client = wrap_openai(flavour.client(loopback.base_url), **arguments)
    before = process_session().totals.calls
    (answer,) = await plain.ask(flavour, client)
    assert answer.usage.total_tokens == 200
    assert process_session().totals.calls == before + 1
    assert [type(error) for _, error in errors] == [OurError]


async def test_our_errors_are_logged_once_by_default(
    flavour: Flavour, loopback: Loopback, caplog: pytest.LogCaptureFixture
) -> None:
    loopback.serve(plain.answer)
    client = wrap_openai(flavour.client(loopback.base_url), on_record=broken)
    for _ in range(3):
        await plain.ask(flavour, client)
    assert len(caplog.records) == 1
    assert "the call itself is not affected" in caplog.text
