"""How attributes get onto a span that holds a limited number of them.

The SDK's spans drop their oldest attribute for each one beyond the limit (128 by default,
``OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT``). So the law here:

1. What somebody else has put on a span is never dropped for ours: only as many are put there
   as fit, the most important ones.
2. How many fit is known when the span ends, and not before: another instrumentation adds the
   answer and the tokens last. ``BeforeEnd`` waits for that.
3. What did not fit is logged, once per tracker.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from energy_tracking.notices import log_once
from energy_tracking.telemetry.names import most_important_first

_ENDING = "_energy_tracking_is_ending"
"""Name of what marks a span whose ``end`` has been called."""

LIMIT_VARIABLE = "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT"


def room_on(span: Any) -> int | None:
    """How many attributes still fit on a span; None where it is not known to have a limit."""
    # Private to the SDK, whose spans have no public name for a limit, and make a view of their
    # public ``attributes`` for each that asks.
    held = getattr(span, "_attributes", None)
    limit = getattr(held, "maxlen", None)
    if held is None or not isinstance(limit, int):
        return None
    room = limit - len(held)
    return room if room > 0 else 0


def _limit_of(span: Any) -> int | None:
    limit = getattr(getattr(span, "_attributes", None), "maxlen", None)
    return limit if isinstance(limit, int) else None


def attributes_of(span: Any) -> Mapping[str, Any]:
    """What a span has now, as far as it can be read: the API has no way to, the SDK's spans have.

    A copy, since each look into the attributes of an open span of the SDK is a call of Python.
    """
    held: Any = getattr(span, "attributes", None)
    if held is None:
        return {}
    try:
        return held.copy()  # type: ignore[no-any-return]
    except AttributeError:  # a mapping that has no more than it must
        return dict(held)


def may_be_cut(span: Any, text: str) -> bool:
    """Whether a text on a span is as long as the span lets one be.

    Args:
        span: The span.
        text: One of its attributes.
    """
    # Private to the SDK, as above.
    limit = getattr(getattr(span, "_attributes", None), "max_value_len", None)
    return isinstance(limit, int) and len(text) >= limit


class BeforeEnd:
    """Runs something once, right before a span ends.

    The SDK freezes a span's attributes before it hands the span to its processors, so the
    ``end`` of this one span is replaced by this object until it is called.
    """

    __slots__ = ("_actions", "_before", "_held", "_original")

    def __init__(self, span: Any, action: Callable[[], object]) -> None:
        """Wait for the end of a span.

        Args:
            span: A span that has not ended.
            action: Must not raise.
        """
        self._actions = [action]
        self._original = span.end
        self._held = held = vars(span)
        self._before = held.get("end")
        held["end"] = self

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        """End the span."""
        self.run()
        self._original(*args, **kwargs)

    def run(self) -> None:
        """Run it now, unless it has run."""
        held = self._held
        try:
            action = self._actions.pop()  # one step, which one thread alone succeeds in
        except IndexError:
            return
        # Without this the span would be in a reference cycle.
        if held.get("end") is self:
            if self._before is None:
                del held["end"]
            else:
                held["end"] = self._before
        held[_ENDING] = True
        action()


def can_wait_for_end(span: Any) -> bool:
    """Whether a span may fill up until its end, and that can be waited for, unless it has come."""
    held = getattr(span, "__dict__", None)
    return held is not None and _ENDING not in held and _limit_of(span) is not None


def put_attributes(
    span: Any, attributes: Mapping[str, Any], room: int | None, at_least: int = 0
) -> None:
    """Put attributes onto a span, as many as fit, the most important ones last.

    What did not fit is said once.

    Args:
        span: The span.
        attributes: Name -> value.
        room: How many fit [1]; None where any number does.
        at_least: How many of the most important are put there also where others are dropped
            for them, as on a span of our own.
    """
    if room is None or len(attributes) <= room:
        span.set_attributes(attributes)
        return
    names = most_important_first(attributes)
    kept = names[: max(room, at_least)]
    span.set_attributes({name: attributes[name] for name in reversed(kept)})
    left_out = names[len(kept) :]
    log_once(
        LIMIT_VARIABLE,
        "A span holds %s attributes, so %d of energy_tracking were left out: %s. Raise %s "
        "to keep them; this is logged once.",
        _limit_of(span),
        len(left_out),
        ", ".join(left_out),
        LIMIT_VARIABLE,
    )
