"""Functions decorated with ``@track_energy``, and the spans that they leave."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan

from counts import the_only
from energy_tracking import Tracker, track_energy
from observed_calls import Watch

USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


class Traced:
    """A decorator, and the spans of the functions that it decorated and of their calls."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.tracker = Tracker(**watch.arguments)
        self.decorate: Callable[[Any], Any] = track_energy(**watch.arguments)

    def count_one(self, **details: Any) -> None:
        """A call of another client, in the current session."""
        self.tracker.record(model="gpt-4o", usage=USAGE, **details)

    @property
    def functions(self) -> list[ReadableSpan]:
        """Spans of functions that have ended."""
        return [span for span in self.watch.spans if not is_call(span)]

    @property
    def leaves(self) -> list[ReadableSpan]:
        """Spans of calls that have ended."""
        return [span for span in self.watch.spans if is_call(span)]

    @property
    def rollup(self) -> dict[str, Any]:
        """What the only function's span says of its calls."""
        span = the_only(self.functions)
        prefix = "energy_tracking.rollup."
        attributes = dict(span.attributes or {})
        return {key.removeprefix(prefix): attributes[key] for key in attributes if prefix in key}


def is_call(span: ReadableSpan) -> bool:
    return "gen_ai.operation.name" in (span.attributes or {})
