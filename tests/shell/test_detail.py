"""How much spans say of a call, for people who pay their backend by attribute."""

from __future__ import annotations

import pytest
from opentelemetry.trace import SpanKind

from calls import CHAT, CHAT_SPAN
from energy_tracking import ConfigurationError, Session, wrap_openai
from energy_tracking.settings import Settings
from loopback import Flavour, Loopback, chat_completion, error_reply, json_reply
from observed_calls import Watch

CALL = {"gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model"}
ENERGY = {
    "energy_tracking.status",
    "energy_tracking.total_energy_joules",
    "energy_tracking.total_energy_low_joules",
    "energy_tracking.total_energy_high_joules",
    "energy_tracking.method",
    "energy_tracking.model_profile",
    "energy_tracking.gpu",
    "energy_tracking.session.total_energy_wh",
}


async def test_essential_attributes_are_about_ten(
    loopback: Loopback, flavour: Flavour, watch: Watch
) -> None:
    loopback.serve(json_reply(chat_completion()))
    client = watch.wrap(flavour.client(loopback.base_url), detail="essential")
    await flavour.call(client.chat.completions.create, **CHAT)
    assert watch.attributes.keys() == CALL | ENERGY


async def test_an_essential_span_has_the_error_and_the_tags_of_the_session(
    loopback: Loopback, flavour: Flavour, watch: Watch
) -> None:
    loopback.serve(error_reply(500))
    client = watch.wrap(flavour.client(loopback.base_url), detail="essential")
    with Session("tagged", tags={"team": "search"}), pytest.raises(Exception, match="refused"):
        await flavour.call(client.chat.completions.create, **CHAT)
    assert watch.attributes["error.type"] == "InternalServerError"
    assert watch.attributes["energy_tracking.tag.team"] == "search"


async def test_on_another_instrumentations_span_they_are_fewer_still(
    loopback: Loopback, flavour: Flavour, watch: Watch
) -> None:
    loopback.serve(json_reply(chat_completion()))
    client = watch.wrap(flavour.client(loopback.base_url), detail="essential")
    tracer = watch.arguments["tracer_provider"].get_tracer("theirs")
    with tracer.start_as_current_span("chat", kind=SpanKind.CLIENT, attributes=CHAT_SPAN):
        await flavour.call(client.chat.completions.create, **CHAT)
    assert watch.attributes.keys() == CHAT_SPAN.keys() | ENERGY


async def test_all_attributes_are_the_default(
    loopback: Loopback, flavour: Flavour, watch: Watch
) -> None:
    loopback.serve(json_reply(chat_completion()))
    client = watch.wrap(flavour.client(loopback.base_url))
    await flavour.call(client.chat.completions.create, **CHAT)
    assert len(watch.attributes) > 30
    assert watch.attributes.keys() > CALL | ENERGY


def test_the_environment_sets_it() -> None:
    assert Settings.load({}, {"ENERGY_TRACKING_DETAIL": "essential"}).detail == "essential"


def test_it_is_refused_where_there_are_no_spans() -> None:
    with pytest.raises(ConfigurationError, match=r"detail .ENERGY_TRACKING_DETAIL. must be unset"):
        wrap_openai(Flavour("sync").client("http://127.0.0.1:9/v1"), detail="full", spans="off")
