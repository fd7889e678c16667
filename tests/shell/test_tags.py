"""Tags go onto the spans of a session's calls, and into metrics where that is allowed."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from calls import CHAT
from counts import the_only
from energy_tracking import ConfigurationError, Session, Tracker, energy_session, track_energy
from energy_tracking.telemetry.metrics import (
    DURATION_METRIC,
    ENERGY_METRIC,
    TOKEN_METRIC,
    UNESTIMATED_METRIC,
)
from loopback import Flavour, Loopback, chat_completion, json_reply
from metric_points import points_of
from observed_calls import Watch

USAGE = {"prompt_tokens": 10, "completion_tokens": 100}


def tags_of(attributes: Any) -> dict[str, str]:
    prefix = "energy_tracking.tag."
    return {
        name.removeprefix(prefix): value
        for name, value in attributes.items()
        if name.startswith(prefix)
    }


async def test_a_call_has_the_tags_of_all_sessions_around_it_the_innermost_first(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    loopback.serve(json_reply(chat_completion()))
    client = watch.wrap(flavour.client(loopback.base_url))

    @track_energy(**watch.arguments | {"spans": "off"})
    async def ask() -> None:
        await flavour.call(client.chat.completions.create, **CHAT)

    with energy_session("service", tags={"team": "search", "env": "prod"}) as service:
        with energy_session("one call", tags={"env": "canary", "feature": "re-rank"}) as one:
            await ask()
        await ask()
    await ask()
    assert [tags_of(span.attributes) for span in watch.spans] == [
        {"team": "search", "env": "canary", "feature": "re-rank"},
        {"team": "search", "env": "prod"},
        {},
    ]
    assert watch.records[0].tags == one.tags
    assert service.tags == {"team": "search", "env": "prod"}


async def test_another_instrumentations_span_is_tagged_too(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    loopback.serve(json_reply(chat_completion()))
    client = watch.wrap(flavour.client(loopback.base_url))
    tracer = watch.arguments["tracer_provider"].get_tracer("another")
    with (
        energy_session(tags={"team": "search"}),
        tracer.start_as_current_span("chat", attributes={"gen_ai.operation.name": "chat"}),
    ):
        await flavour.call(client.chat.completions.create, **CHAT)
    assert tags_of(watch.attributes) == {"team": "search"}
    assert not trace.get_current_span().is_recording()


def test_tags_are_kept_by_a_session_carried_into_a_thread(watch: Watch) -> None:
    tracker = Tracker(**watch.arguments)
    with energy_session(tags={"team": "search"}), energy_session(tags={"env": "prod"}) as inner:
        pass
    inner.run(tracker.record, model="gpt-4o", usage=USAGE)
    assert tags_of(watch.attributes) == {"team": "search", "env": "prod"}


def test_metrics_carry_only_the_tags_that_are_allowed(watch: Watch) -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    arguments = watch.arguments | {"meter_provider": provider, "metric_tags": ("team", "absent")}
    tracker = Tracker(**arguments)
    with energy_session(tags={"team": "search", "request": "r-17"}) as session:
        tracker.record(model="gpt-4o", usage=USAGE)
        tracker.record(model="nobody-knows-it", usage=USAGE)
    tracker.record(model="gpt-4o", usage=USAGE)
    found: dict[str, list[tuple[dict[str, str], Any]]] = {
        name: [(tags_of(point.attributes), point) for point in points]
        for name, points in points_of(reader).items()
    }
    provider.shutdown()
    # Nobody timed these calls.
    assert DURATION_METRIC not in found
    for name in (ENERGY_METRIC, TOKEN_METRIC, UNESTIMATED_METRIC):
        assert {tuple(tags.items()) for tags, _ in found[name]} <= {(("team", "search"),), ()}
        assert ({"team": "search"}) in [tags for tags, _ in found[name]]
    tagged = the_only(point for tags, point in found[ENERGY_METRIC] if tags)
    assert tagged.value == pytest.approx(session.total_energy_joules, abs=1e-8)
    assert tags_of(watch.spans[0].attributes) == {"team": "search", "request": "r-17"}


@pytest.mark.parametrize(
    "tags",
    [{"a.b": "x"}, {"": "x"}, {"1st": "x"}, {"team name": "x"}, {"team": 1}, {1: "x"}, {"t": None}],
)
def test_a_tag_that_cannot_be_is_refused_at_once(tags: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"tags must be a mapping of names.*, got \{"):
        Session(tags=tags)


def test_tags_do_not_change_with_the_dictionary_they_came_in() -> None:
    tags = {"team": "search"}
    session = Session(tags=tags)
    tags["team"] = "ads"
    session.tags["team"] = "mail"
    assert session.tags == {"team": "search"}
