"""The OpenTelemetry instrumentor: ``opentelemetry-instrument python app.py``.

It has the interface of the instrumentors of OpenTelemetry and not their base class, whose
package exists as pre-releases only.
"""

from __future__ import annotations

import logging
import os
import threading
from typing import Any, ClassVar, Self, Unpack

from opentelemetry import trace

from energy_tracking.errors import ConfigurationError
from energy_tracking.notices import log
from energy_tracking.openai_client.client import instrument_openai, uninstrument_openai
from energy_tracking.settings.effects import STREAM_SETTINGS
from energy_tracking.tracker import TrackerArguments

SDK_DISABLED = "OTEL_SDK_DISABLED"


class EnergyTrackingInstrumentor:
    """Tracks every OpenAI client, and the spans of all other GenAI instrumentations.

    The spans of others get their energy where the global tracer provider is set by then,
    as ``opentelemetry-instrument`` sees to; elsewhere, add an ``EnergySpanProcessor``. With
    the setting ``spans`` at ``"off"`` they are counted and left as they are. Without
    openai, only theirs are tracked.

    ``OTEL_SDK_DISABLED=true`` leaves everything alone: telemetry is all this is for. To
    disable it and no other instrumentation, write
    ``OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=energy_tracking``.
    """

    _instance: ClassVar[Self | None] = None
    _changing: ClassVar[Any] = threading.RLock()

    is_instrumented_by_opentelemetry: bool
    _processor: Any

    def __new__(cls) -> Self:
        """The only instance."""
        with cls._changing:
            if cls._instance is None:
                cls._instance = super().__new__(cls)
                cls._instance.is_instrumented_by_opentelemetry = False
                cls._instance._processor = None
            return cls._instance

    def instrumentation_dependencies(self) -> tuple[str, ...]:
        """Nothing is required: what is not installed is not tracked."""
        return ()

    def instrument(self, **kwargs: Any) -> None:
        """Start tracking; a second time changes nothing.

        Args:
            **kwargs: Settings, see ``energy-tracking settings``, and what ``Tracker`` takes. What
                instrumentations of OpenTelemetry are given besides is ignored.

        Raises:
            ConfigurationError: A setting given here is wrong. One of the environment is
                only logged: the other instrumentations are to start all the same.
        """
        if _sdk_is_disabled():
            return
        known = TrackerArguments.__optional_keys__
        arguments: Any = {name: value for name, value in kwargs.items() if name in known}
        try:
            with self._changing:
                if not self.is_instrumented_by_opentelemetry:
                    self._start(**arguments)
        except ConfigurationError as error:
            if arguments:
                raise
            log("energy is not tracked: %s", error, level=logging.ERROR)

    def _start(self, **arguments: Unpack[TrackerArguments]) -> None:
        provider = arguments.get("tracer_provider") or trace.get_tracer_provider()
        if hasattr(provider, "add_span_processor"):
            from energy_tracking.otel.span_processor import EnergySpanProcessor

            of_spans: Any = {
                name: given for name, given in arguments.items() if name not in STREAM_SETTINGS
            }
            processor = EnergySpanProcessor(**of_spans)
            if processor.enabled:
                provider.add_span_processor(processor)
                self._processor = processor
        try:
            instrument_openai(**arguments)
        except ModuleNotFoundError as error:
            if error.name != "openai":
                raise
        self.is_instrumented_by_opentelemetry = True

    def uninstrument(self, **kwargs: Any) -> None:
        """Stop tracking; calls under way are still recorded."""
        with self._changing:
            if self.is_instrumented_by_opentelemetry:
                self._stop()

    def _stop(self) -> None:
        if self._processor is not None:
            self._processor.shutdown()
            self._processor = None
        try:
            uninstrument_openai()
        except ModuleNotFoundError as error:
            if error.name != "openai":
                raise
        self.is_instrumented_by_opentelemetry = False


def _sdk_is_disabled() -> bool:
    return os.environ.get(SDK_DISABLED, "").strip().lower() == "true"
