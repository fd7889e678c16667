"""OpenTelemetry's way to turn the tracking on and off."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider

from calls import CHAT, CHAT_SPAN
from energy_tracking import ConfigurationError, Session
from energy_tracking.otel.instrumentor import EnergyTrackingInstrumentor
from energy_tracking.otel.span_processor import EnergySpanProcessor
from loopback import Flavour, Loopback, chat_completion, json_reply


@pytest.fixture
def instrumentor() -> Iterator[EnergyTrackingInstrumentor]:
    instrumentor = EnergyTrackingInstrumentor()
    yield instrumentor
    instrumentor.uninstrument()


def ask(loopback: Loopback) -> int:
    """Calls counted for one call of an untracked client."""
    client = Flavour("sync").client(loopback.base_url)
    with Session() as session:
        client.chat.completions.create(**CHAT)
    client.close()
    return session.totals.calls


def test_the_instrumentor_starts_once_and_stops(
    instrumentor: EnergyTrackingInstrumentor, loopback: Loopback
) -> None:
    loopback.serve(json_reply(chat_completion()))
    provider = TracerProvider()
    given: dict[str, Any] = {"skip_dep_check": True, "tracer_provider": provider, "unheard_of": 1}
    for _ in range(2):
        EnergyTrackingInstrumentor().instrument(**given)
    assert EnergyTrackingInstrumentor() is instrumentor
    assert instrumentor.is_instrumented_by_opentelemetry
    assert ask(loopback) == 1
    processors = provider._active_span_processor._span_processors
    assert [type(processor) for processor in processors] == [EnergySpanProcessor]
    for _ in range(2):
        instrumentor.uninstrument()
    assert not instrumentor.is_instrumented_by_opentelemetry
    assert ask(loopback) == 0
    span = provider.get_tracer("theirs").start_span("theirs", attributes=CHAT_SPAN)
    assert "end" not in vars(span)
    span.end()


@pytest.mark.parametrize("value", ["true", "TRUE "])
def test_a_disabled_sdk_leaves_everything_alone(
    instrumentor: EnergyTrackingInstrumentor,
    loopback: Loopback,
    monkeypatch: pytest.MonkeyPatch,
    value: str,
) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", value)
    instrumentor.instrument()
    assert not instrumentor.is_instrumented_by_opentelemetry


def test_a_wrong_environment_is_logged_and_a_wrong_argument_raised(
    instrumentor: EnergyTrackingInstrumentor,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'H100'"):
        instrumentor.instrument(gpu="H1000")
    monkeypatch.setenv("ENERGY_TRACKING_GPU", "H1000")
    instrumentor.instrument(skip_dep_check=True)
    assert "did you mean 'H100'" in caplog.text
    assert not instrumentor.is_instrumented_by_opentelemetry
