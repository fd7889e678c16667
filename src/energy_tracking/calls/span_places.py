"""Where the spans of other instrumentations are: whether two may be of one call."""

from __future__ import annotations

from time import perf_counter

from energy_tracking.frozen import frozen

CALL_SECONDS = 0.02
"""A span that lasts this long is of a call, and not of a report that one has ended [s]."""


@frozen()
class SpanPlace:
    """Where and when another instrumentation's span began.

    Attributes:
        trace_id: Its trace.
        parent_id: The span it is below; None where it is below none.
        began_at: When it began, by ``perf_counter`` [s].
        is_in_call: Whether the span it is below stands for a call.
    """

    trace_id: int
    parent_id: int | None
    began_at: float
    is_in_call: bool = False

    def may_report(self, counted: SpanPlace, counted_at: float, *, has_its_id: bool) -> bool:
        """Whether the span that ends here may report the call that another one was of.

        What is below a span is in its trace. A call that began when the other was over is another
        one: it is known by how long it lasts, and where both are steps of one piece of work, unless
        they have one id.

        Args:
            counted: Where the other span is.
            counted_at: When that one ended, by ``perf_counter`` [s].
            has_its_id: Whether both have one id.
        """
        if self.parent_id is not None and self.trace_id != counted.trace_id:
            return False
        if self.began_at < counted_at:
            return True
        return self.may_follow(counted_at) and (
            has_its_id
            or self.is_in_call
            or self.parent_id is None
            or self.parent_id != counted.parent_id
        )

    def may_follow(self, counted_at: float) -> bool:
        """Whether the span that ends here may report a call that was counted, wherever that was.

        Args:
            counted_at: When it was, by ``perf_counter`` [s].
        """
        return self.began_at < counted_at or perf_counter() - self.began_at < CALL_SECONDS
