"""One call's life: started, fed with what the server sends, closed once.

A call is shown every body and stream event and keeps only what cannot be found out
later. Closing it, by whichever of the many ways a call can end comes first, hands it to
its tracker exactly once; every other close is a no-op.

The clock here only measures durations. Nothing else of the outside world is touched, and
sync and async clients share every line.

A further fact about a call is kept by ``observe``, and put into the record by its own field.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from time import perf_counter
from typing import TYPE_CHECKING, Any

from energy_tracking.calls.call_tokens import read_tokens
from energy_tracking.calls.record import (
    PROCESS,
    CallRecord,
    CallRequest,
    Estimate,
    Outcome,
    status_of,
)
from energy_tracking.calls.serving import build_evidence
from energy_tracking.calls.span_places import SpanPlace
from energy_tracking.estimator.evidence import ServerLoad, ServingEvidence
from energy_tracking.frozen import declared_defaults, fill_fields
from energy_tracking.lifecycle import defer
from energy_tracking.usage.dialects import (
    is_lower,
    merge_halves,
    reports_output,
    reports_tokens,
)
from energy_tracking.usage.extras import has_extras
from energy_tracking.usage.measured_energy import (
    may_hold_energy,
    read_energy,
)
from energy_tracking.usage.names import MAX_SENTENCE, text_of
from energy_tracking.usage.payloads import (
    ToolUsage,
    created_in,
    error_code_in,
    identity_in,
    is_generating,
    tool_usage_in,
)
from energy_tracking.usage.plain_text import plain_text_tokens
from energy_tracking.usage.server_timing import ServerTiming, read_timing
from energy_tracking.usage.text import generated_tokens
from energy_tracking.usage.token_usage import TokenUsage
from energy_tracking.usage.usage_paths import unwrap_event, usage_in

if TYPE_CHECKING:
    from energy_tracking.calls.receivers import CallSpan, CreditedSession
    from energy_tracking.usage.prompt_text import PromptTokens

_DEFAULTS = declared_defaults(CallRecord)
_NO_OUTCOME = Outcome()

OWN_REPORT = "energy_tracking"
"""The reporter of a call that has no span, and that another instrumentation may report yet."""


class Call:
    """A call that is still going on. ``observe`` and ``close`` may come from any thread.

    Its ``response_id`` and ``response_model`` are texts as ``text_of`` makes them: whoever sets
    them has them cleaned. Its ``usage`` is for whoever has read the tokens already; else they are
    read from its ``raw_usage`` once the call has ended. ``is_in_text`` says that its text has begun
    and its model is known: then there is nothing else in an event that is plain text.
    """

    __slots__ = (
        "_choice_usages",
        "_closed_by",
        "_deliver",
        "_is_background",
        "_named_tool_calls",
        "asks_for_usage",
        "created",
        "ended_at",
        "error_type",
        "final_record",
        "first_chunk_at",
        "implausible_energy",
        "is_at_work",
        "is_delivered",
        "is_in_text",
        "log_identity",
        "logged_end",
        "logged_tags",
        "measured_energy_joules",
        "meter",
        "prompt",
        "prompt_tokens",
        "raw_usage",
        "read_load",
        "replaces",
        "request",
        "response_id",
        "response_model",
        "retries",
        "server_load",
        "server_timing",
        "session",
        "span",
        "span_place",
        "started_at",
        "status",
        "text_tokens",
        "tools",
        "unreadable",
        "usage",
        "usage_remedy",
    )

    def __init__(
        self,
        request: CallRequest,
        deliver: Callable[[Call], None],
        prompt: object = None,
        session: CreditedSession | None = None,
    ) -> None:
        """Start the call now.

        Args:
            request: What is known of it.
            deliver: Called once, when the call has ended.
            prompt: The request's body, looked at only if the server reports no usage.
            session: The innermost session; it is credited however late, and wherever, the
                call ends.
        """
        self.request = request
        self.session = session
        self.prompt = prompt
        self._is_background = False
        self.is_at_work = False
        self.prompt_tokens: PromptTokens | None = None
        self.span: CallSpan | None = None
        self.span_place: SpanPlace | None = None
        self.raw_usage: object = None
        self.usage: TokenUsage | None = None
        self.measured_energy_joules: float | None = None
        self.meter: Any = None
        self.implausible_energy: str | None = None
        self.server_timing: ServerTiming | None = None
        self.server_load: ServerLoad | None = None
        self.read_load: Callable[[], ServerLoad | None] | None = None
        self.text_tokens = 0.0
        self.is_in_text = False
        self._choice_usages: dict[str, object] | None = None
        self._named_tool_calls: set[object] | None = None
        self.tools: tuple[ToolUsage, ...] = ()
        self.response_id: str | None = None
        self.created: float | None = None
        self.response_model: str | None = None
        self.status: str | None = None
        self.error_type: str | None = None
        self.retries = 0
        self.asks_for_usage = False
        self.unreadable: str | None = None
        self.usage_remedy: str | None = None
        self.first_chunk_at: float | None = None
        self.ended_at: float | None = None
        self.is_delivered = False
        self.final_record: CallRecord | None = None
        self.logged_end: str | None = None
        self.logged_tags: Mapping[str, str] | None = None
        self.log_identity: str | None = None
        self.replaces = False
        self._deliver = deliver
        self._closed_by: dict[str, object] = {}
        self.started_at = perf_counter()

    @property
    def reporter(self) -> str | None:
        """Another instrumentation that reports the call, or ours where one may; else None."""
        if self.span is None:
            return OWN_REPORT if self.request.reported_elsewhere else None
        return self.span.reporter

    @property
    def is_background(self) -> bool:
        """Whether the response may be generated on after the request has been answered."""
        prompt = self.prompt
        # A plain one is asked in a tenth of the time.
        is_mapping = type(prompt) is dict or isinstance(prompt, Mapping)
        return self._is_background or (is_mapping and prompt.get("background") is True)  # type: ignore[attr-defined]

    @property
    def observed(self) -> bool:
        """Whether any body or event has been seen."""
        return self.first_chunk_at is not None

    @property
    def closed(self) -> bool:
        """Whether the call has ended and was handed over."""
        return bool(self._closed_by)

    def observe(self, data: object) -> bool:
        """Take in a decoded body or stream event; returns whether it is more than plain text."""
        if self._closed_by:
            return False
        # Most of a stream.
        if self.is_in_text and (tokens := plain_text_tokens(data)) is not None:
            self.text_tokens += tokens
            return False
        if self.first_chunk_at is None:
            self.first_chunk_at = perf_counter()
        if type(data) is not dict and not isinstance(data, Mapping):
            return False
        self._observe_in_full(data)
        return True

    def _observe_in_full(self, data: Mapping[str, Any]) -> None:
        if "data" in data:
            data = unwrap_event(data)
        usage = usage_in(data)
        if usage is not None:
            if self._choice_usages or ("choices" in data and data.get("usage") is not usage):
                usage = self._join_choices(data, usage)
            earlier = self.raw_usage
            self.raw_usage = usage if earlier is None else _choose_usage(usage, earlier)
        if has_extras(data, usage):
            self._observe_extras(data, usage)
        is_stream = self.request.stream
        if data.get("object") == "response":
            # A whole body, which polling shows again with more text in it.
            self.text_tokens = max(self.text_tokens, generated_tokens(data))
        elif is_stream or not reports_output(usage):
            if self._named_tool_calls is None:
                self._named_tool_calls = set()
            self.text_tokens += generated_tokens(data, self._named_tool_calls)
        if is_stream and not self.text_tokens and (generates := is_generating(data)) is not None:
            self.is_at_work = generates
        is_error = "type" in data and data["type"] == "error"
        if is_error:
            self.error_type = error_code_in(data)
        # Only the first and the last events of a response carry it.
        if (
            self.response_model is None
            or usage is not None
            or "status" in data
            or "response" in data
            or is_error
        ):
            response_id, model, status = identity_in(data)
            self.response_id = response_id or self.response_id
            self.created = created_in(data) or self.created
            self.response_model = model or self.response_model
            self.status = status or self.status
        if self.text_tokens and self.response_model is not None:
            self.is_in_text = True

    def _join_choices(self, data: Mapping[str, Any], usage: object) -> object:
        """A usage with those of the choices that other events have ended, if it is of a choice."""
        from energy_tracking.usage.choices import add_choices, usages_of_choices  # rarely needed

        choices = {} if data.get("usage") is usage else usages_of_choices(data)
        if not choices:
            if self._choice_usages and reports_tokens(usage):
                # The whole one stands, be it lower than their sum.
                self.raw_usage = self._choice_usages = None
            return usage
        if self._choice_usages is None and reports_tokens(self.raw_usage):
            return self.raw_usage
        self._choice_usages = (self._choice_usages or {}) | choices
        return add_choices(self._choice_usages.values())

    def _observe_extras(self, data: Mapping[str, Any], usage: object) -> None:
        """Take in what few servers state of a response beside its tokens.

        Args:
            data: The body or event.
            usage: The usage in it, if it has one.
        """
        if usage is not None or "svg_usage" in data:
            self.tools = tool_usage_in(data) or self.tools
        if may_hold_energy(data, usage):
            self.observe_energy(data)
        self.server_timing = read_timing(data, usage) or self.server_timing

    def observe_energy(self, data: Mapping[str, Any]) -> None:
        """Take in the energy that the server has measured, if this states one."""
        measured, implausible = read_energy(data)
        if measured is not None:
            self.measured_energy_joules = measured
        elif implausible is not None:
            self.implausible_energy = implausible

    def close(self, error: BaseException | None = None) -> None:
        """End the call, once; a later close changes nothing."""
        if isinstance(error, GeneratorExit):
            # A coroutine is closed, perhaps by the garbage collector: no locks here.
            self.ended_at = self.ended_at or perf_counter()
            defer(self._close_cancelled)
            return
        mine = object()
        try:
            # One step, before or after which an interrupt comes: whoever is first closes.
            if self._closed_by.setdefault("first", mine) is not mine:
                return
            if error is not None:
                self.error_type = type(error).__qualname__
            if self.ended_at is None:
                self.ended_at = perf_counter()
            self._deliver(self)
        except Exception:
            raise
        except BaseException:
            self._close_again(mine)
            raise

    def _close_again(self, mine: object) -> None:
        """Deliver where an interrupt came before anything was delivered.

        Args:
            mine: Whoever was interrupted; where another one closes the call, that one delivers.
        """
        if self._closed_by.get("first") is not mine or self.is_delivered:
            return
        try:
            self._deliver(self)
        finally:
            if not self.is_delivered:
                # Interrupted again: the next one to close it starts anew.
                self._closed_by.clear()

    def _close_cancelled(self) -> None:
        if not self.closed:
            # As where a task is cancelled: it is how the coroutine is closed that differs.
            self.error_type = "CancelledError"
        self.close()

    def forget_prompt(self) -> None:
        """Keep the number of its tokens alone: the call may be open for hours."""
        self._is_background = self.is_background
        if self.prompt is not None:
            # Nobody knows yet whether they are needed; what goes wrong is theirs to say.
            with suppress(Exception):
                from energy_tracking.usage.prompt_text import count_prompt  # of few calls alone

                self.prompt_tokens = count_prompt(self.prompt)
            self.prompt = None

    def abandon(self) -> None:
        """End the call without delivering it: it is another process's."""
        self._closed_by.setdefault("first", None)

    def record(self, estimate: Estimate) -> CallRecord:
        """Everything the call has shown, with its energy."""
        if self.read_load is not None:
            self.server_load, self.read_load = self.read_load(), None
        usage, reason = read_tokens(self)
        outcome = _NO_OUTCOME
        if usage is not None:
            seen = None
            if self.request.stream or self.server_timing or self.server_load:
                seen = self._see_server(usage)
            outcome = estimate(self.request.model, self.response_model, usage, seen)
            reason = outcome.reason or reason
        if not reason and self.implausible_energy and self.measured_energy_joules is None:
            # Why the energy is an estimate although the server states one.
            reason = f"the server's {self.implausible_energy} is not an energy"
        return self._build_record(usage, outcome, reason)

    def _see_server(self, usage: TokenUsage) -> ServingEvidence | None:
        """What was seen of the server; None where that is nothing."""
        is_timed = self.request.stream and self.ended_at is not None
        if not is_timed and self.server_timing is None and self.server_load is None:
            return None
        ended_at = self.ended_at or perf_counter()
        streamed = None
        if is_timed and self.first_chunk_at is not None:
            streamed = ended_at - self.first_chunk_at
        took = ended_at - self.started_at
        return build_evidence(
            usage, streamed, took, self.server_timing, self.server_load, self.prompt
        )

    def record_without_tokens(self, error: Exception) -> CallRecord:
        """A record where building a better one has failed: the call is counted all the same."""
        known: dict[str, object] = {
            "request": self.request,
            "status": status_of(None, None, self.measured_energy_joules),
            "reason": text_of(
                f"reading the call failed with {type(error).__qualname__}", MAX_SENTENCE
            ),
            "response_model": self.response_model,
            "response_id": self.response_id,
            "measured_energy_joules": self.measured_energy_joules,
            "error_type": text_of(self.error_type),
            "session": PROCESS if self.session is None else self.session.name,
            "tags": {},
        }
        return fill_fields(CallRecord, _DEFAULTS | known)

    def _build_record(
        self, usage: TokenUsage | None, outcome: Outcome, reason: str | None
    ) -> CallRecord:
        session, ended_at = self.session, self.ended_at or perf_counter()
        estimate = outcome.estimate
        measured = self.measured_energy_joules
        # One by one: Python takes three times as long for a display of so many names. What most
        # calls have not is as it was.
        values = _DEFAULTS.copy()
        values["request"] = request = self.request
        values["status"] = status_of(usage, estimate, measured)
        if reason is not None:
            values["reason"] = text_of(reason, MAX_SENTENCE)
        values["response_model"] = self.response_model
        values["response_id"] = self.response_id
        if self.status is not None:
            values["response_status"] = text_of(self.status)
        values["usage"] = usage
        values["estimate"] = estimate
        values["calibrated"] = outcome.calibrated
        values["cache_avoided_energy_joules"] = outcome.cache_avoided_energy_joules
        if measured is not None:
            values["measured_energy_joules"] = measured
        values["model_match"] = outcome.model_match
        values["duration_seconds"] = ended_at - self.started_at
        if request.stream and self.first_chunk_at is not None:
            values["first_chunk_seconds"] = self.first_chunk_at - self.started_at
        if self.error_type is not None:
            values["error_type"] = text_of(self.error_type)
        if self.retries:
            values["retries"] = self.retries
        values["session"] = PROCESS if session is None else session.name
        values["tags"] = {} if session is None else session.tags
        if self.logged_tags:
            # As those of the innermost session.
            values["tags"] = values["tags"] | self.logged_tags
        if self.logged_end is not None:
            values["ended_at"] = self.logged_end
        if self.log_identity is not None:
            values["log_identity"] = text_of(self.log_identity)
        if self.replaces:
            values["replaces"] = True
        if self.server_timing is not None:
            values["server_timing"] = self.server_timing
        if self.server_load is not None:
            values["server_load"] = self.server_load
        return fill_fields(CallRecord, values)


def _choose_usage(usage: object, earlier: object) -> object:
    """What stands of two usages of a call: the last one, since servers report sums so far.

    Some end with zeros, or with a part of what they have reported.

    Args:
        usage: The later one.
        earlier: What stood before it.
    """
    usage = merge_halves(usage, earlier)
    return usage if reports_tokens(usage) and not is_lower(usage, earlier) else earlier
