"""The composition root: calls in, records to sessions, telemetry and the user's sink.

A call's life has four verbs, each with its place:

=========  =====================  ==========================================================
start      ``Tracker.start``      in the session that is current, with a span of its own or on
                                  another instrumentation's
observe    ``calls.call``         takes in bodies and stream events; keeps what cannot be
                                  found out later
close      ``calls.call``         ends it, once, by whichever of its endings comes first
deliver    ``Tracker._deliver_call``   hands its record to all who want it, in the order of
                                  ``_DELIVERIES``: a new receiver is a row there
=========  =====================  ==========================================================

Whatever goes wrong in here is reported to one handler and never to the caller of the LLM. An
interrupt passes, once the rest of the delivery is done.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Self, Unpack

from energy_tracking.calls.accounts import open_accounts
from energy_tracking.calls.call import Call
from energy_tracking.calls.counted import counted_responses
from energy_tracking.calls.record import CallRecord, CallRequest, Intensity, build_request
from energy_tracking.calls.session import check_budgets, current_session
from energy_tracking.calls.tool_usage import bounded_parts
from energy_tracking.calls.untracked import warn_outside_of_sessions
from energy_tracking.error_boundary import ErrorBoundaries, ErrorBoundary, ErrorHandler, run_every
from energy_tracking.errors import ConfigurationError, EnergyBudgetExceeded, must_be, not_one_of
from energy_tracking.frozen import fill_fields
from energy_tracking.lifecycle import (
    held_calls,
    hold_deferred,
    open_calls,
    prepare_for_call,
)
from energy_tracking.notices import log, log_once
from energy_tracking.settings import SettingArguments, Settings, add_settings
from energy_tracking.settings.names import naming
from energy_tracking.settings.process import read_process_settings
from energy_tracking.summary import print_summary_at_exit
from energy_tracking.telemetry.documented import document_telemetry
from energy_tracking.telemetry.pipelines import UNREPORTED
from energy_tracking.telemetry.spans import ProviderArguments, Telemetry
from energy_tracking.usage.names import MAX_CHARACTERS, text_of
from energy_tracking.usage.payloads import ToolUsage
from energy_tracking.usage.token_usage import wrong_kind_of
from energy_tracking.version import VERSION

if TYPE_CHECKING:
    from energy_tracking.calls.past import PastCall
    from energy_tracking.calls.receivers import CreditedSession
    from energy_tracking.ledger import Ledger
    from energy_tracking.profiles.catalogue import Catalogue
    from energy_tracking.servers.metered import ServerMeters
    from energy_tracking.servers.sampler import Servers


class TrackerArguments(SettingArguments, ProviderArguments, total=False):
    """Everything a tracker can be made with; None means: not given."""

    catalogue: Catalogue | None
    on_record: Callable[[CallRecord], object] | None
    on_error: ErrorHandler | None


def _has_method(name: str) -> Callable[[object], bool]:
    """Whether an object, and not a class, has a method, whatever library it comes from."""
    return lambda given: callable(getattr(given, name, None)) and not isinstance(given, type)


# Argument, what it must be, and whether an object is one.
_KINDS: tuple[tuple[str, str, Callable[[object], bool]], ...] = (
    ("on_record", "a function", callable),
    ("on_error", "a function", callable),
    ("tracer_provider", "a TracerProvider", _has_method("get_tracer")),
    ("meter_provider", "a MeterProvider", _has_method("get_meter")),
)


@document_telemetry(add_settings)
class Tracker:
    """Estimates each call and delivers its record to session, span, ledger and sink.

    Args:
        **arguments: The settings below, and ``catalogue`` (profiles in place of the process-wide
            ones), ``tracer_provider``, ``meter_provider`` (in place of the global ones),
            ``on_record`` (called with every record), ``on_error`` (called with errors
            inside the library; by default each kind is logged once).

    Raises:
        ConfigurationError: A setting is none of its choices, out of its bounds or without
                effect, or names an unknown profile.
    """

    def __init__(self, **arguments: Unpack[TrackerArguments]) -> None:
        known = TrackerArguments.__optional_keys__
        for name in arguments:
            if name not in known:
                raise ConfigurationError(not_one_of("setting", name, sorted(known)))
        for name, what, is_one in _KINDS:
            given = arguments.get(name)
            if given is not None and not is_one(given):
                raise ConfigurationError(must_be(name, what, given))
        from energy_tracking.estimation import Estimation  # a third of the library, with profiles

        self.settings = Settings.load(arguments)
        read_process_settings()
        self._intensity: Intensity | None = None
        electricity = self.settings.region, self.settings.grams_per_kwh
        if electricity != (None, None):
            from energy_tracking.calls.carbon import find_intensity  # most trackers have none

            self._intensity = find_intensity(*electricity)
        self._boundaries = ErrorBoundaries(arguments.get("on_error"))
        self._has_error_handler = arguments.get("on_error") is not None
        self.estimation = Estimation(self.settings, arguments.get("catalogue"), self._boundaries)
        self._estimate_as = self.estimation.shared().estimate_as
        self.telemetry = Telemetry(
            self.settings.spans,
            arguments.get("tracer_provider"),
            arguments.get("meter_provider"),
            VERSION,
            self.settings.metric_tags,
            self.settings.metrics,
            self._boundaries.report,
            self.settings.detail,
        )
        self._servers: Servers | None = None
        if self.settings.server_metrics and not self.settings.disabled:
            from energy_tracking.servers.sampler import Servers  # most trackers have none

            self._servers = Servers(self.settings.server_metrics)
        with naming("ledger"):
            path = self.settings.ledger
            self._ledger: Ledger | None = None
            if path is not None and not self.settings.disabled:
                from energy_tracking.ledger import Ledger  # most trackers have none

                self._ledger = Ledger(path)
        if self.settings.summary and not self.settings.disabled:
            print_summary_at_exit()
        self._meters: ServerMeters | None = None
        if self.settings.energy_meter and not self.settings.disabled:
            from energy_tracking.servers.metered import ServerMeters  # most trackers have none

            self._meters = ServerMeters(
                self.settings.energy_meter, self.settings.server_metrics, self._boundaries.report
            )
        self._calibrate: Callable[[CallRecord], CallRecord] | None = None
        if self.settings.calibration is not None:
            from energy_tracking.servers.calibration import make_calibration  # likewise

            with naming("calibration"):
                self._calibrate = make_calibration(self.settings.calibration)
        self._on_record = arguments.get("on_record")
        unused = {"ledger": self._ledger is None, "on_record": self._on_record is None}
        self._deliveries = tuple(
            row for row in _DELIVERIES if not (self.settings.disabled or unused.get(row[0]))
        )
        # Providers stay with their process.
        self._arguments: TrackerArguments = {
            name: given
            for name, given in arguments.items()
            if name not in ProviderArguments.__optional_keys__
        }  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by the arguments: a copy in another process delivers to that one's providers."""
        return _make_tracker, (self._arguments,)

    def __copy__(self) -> Self:
        """The same: nothing of a tracker changes."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """The same."""
        return self

    def over_budget(self) -> EnergyBudgetExceeded | None:
        """Why no further call may be sent here, where a budget says so."""
        try:
            check_budgets()
        except EnergyBudgetExceeded as exceeded:
            return exceeded
        except Exception as error:
            self.report("budget", error)
        return None

    def boundary(self, name: str) -> ErrorBoundary:
        """A ``with`` block that catches and reports the library's own errors."""
        return self._boundaries(name)

    def report(self, where: str, error: Exception) -> None:
        """Report an error of the library's own, in the ``try`` of what runs for every call.

        Args:
            where: As the name of a boundary.
            error: The error.
        """
        self._boundaries.report(where, error)

    def start(
        self,
        *,
        operation: str,
        provider: str,
        model: str | None,
        stream: bool = False,
        server_address: str | None = None,
        server_port: int | None = None,
        prompt: object = None,
        wrappers: Iterable[object] = (),
        session: CreditedSession | None = None,
        span: object = None,
    ) -> Call:
        """Start a call now, in the current session.

        Args:
            operation: ``gen_ai.operation.name``.
            provider: ``gen_ai.provider.name``.
            model: The model asked for, if the request names one.
            stream: Whether a stream was asked for.
            server_address: Host the request goes to.
            server_port: Its port.
            prompt: The request's body, looked at only if the server reports no usage.
            wrappers: What is wrapped around the method that was called; another
                instrumentation's reports the call.
            session: Credited in place of the current one.
            span: Another instrumentation's span of the call, which the energy is put on.
        """
        prepare_for_call()
        is_on = not self.settings.disabled
        reported = UNREPORTED
        if is_on and wrappers:
            try:
                reported = self.telemetry.pipeline.reported_by(wrappers)
            except Exception as error:
                self.report("telemetry.reported", error)
        # What is of another class may have an equality of its own; what is long is not remembered.
        if type(model) is not str or len(model) > MAX_CHARACTERS:
            model = text_of(model)
        if type(server_address) is not str or len(server_address) > MAX_CHARACTERS:
            server_address = text_of(server_address)
        is_reported = reported.anywhere
        request = build_request(
            operation, provider, model, stream, server_address, server_port, is_reported
        )
        if session is None:
            session = current_session()
            if is_on and open_accounts:
                try:
                    warn_outside_of_sessions()
                except Exception as error:
                    self.report("session.outside", error)
        call = Call(request, self._deliver_safely, prompt, session)
        if self._servers is not None and server_address is not None:
            try:
                call.read_load = self._servers.begin(server_address, server_port, request.model)
            except Exception as error:
                self.report("servers.begin", error)
        if is_on:
            try:
                call.span = (
                    self.telemetry.start(request, reported.here)
                    if span is None
                    else self.telemetry.onto(span)
                )
            except Exception as error:
                self.report("telemetry.start", error)
        if self._meters is not None:
            try:
                self._meters.start(call)
            except Exception as error:
                self.report("meter", error)
        return call

    def record(
        self,
        *,
        model: str | None,
        usage: object,
        operation: str = "chat",
        provider: str = "unknown",
        response_id: str | None = None,
        measured_energy_joules: float | None = None,
        error_type: str | None = None,
        ended_at: datetime | None = None,
        log_identity: str | None = None,
    ) -> CallRecord:
        """Count a call that ran somewhere else, from the usage it came back with.

        Args:
            model: Name of the model.
            usage: A usage in any dialect this library reads: a dict or an SDK's object.
            operation: ``gen_ai.operation.name``.
            provider: ``gen_ai.provider.name``.
            response_id: The server's id of the response.
            measured_energy_joules: The energy as the server measured it [J], if it did.
            error_type: What failed, if anything did.
            ended_at: When the call ended, with its zone; the ledger keeps it. None: now.
            log_identity: What the call is known again by where its log is read again, if its
                response's id is not enough; the ledger keeps it.

        Raises:
            ConfigurationError: The measured energy is not a number from 0 to 1e12 J, or the end
                is not past, or has no zone.
        """
        from energy_tracking.calls.past import PastCall  # clients record none

        past = PastCall(
            model=model,
            usage=usage,
            operation=operation,
            provider=provider,
            response_id=response_id,
            measured_energy_joules=measured_energy_joules,
            error_type=error_type,
            ended_at=ended_at,
            log_identity=log_identity,
        )
        return self.count(past)

    def count(self, past: PastCall) -> CallRecord:
        """Count a call that ran somewhere else, as ``record`` does."""
        asked = past.request
        if past.requests == 1:
            call = self.start(operation=asked.operation, provider=asked.provider, model=asked.model)
            past.state_in(call)
        else:
            # It has no span, and is in no metric: histograms are of calls.
            call = past.build_call(self._deliver_safely, current_session())
        return hold_deferred(self._deliver_call, call)

    def _deliver_safely(self, call: Call) -> None:
        try:
            if call.meter is None or not self._leave_to_meter(call):
                hold_deferred(self._deliver_call, call)
        except Exception as error:
            self.report("deliver", error)

    def _leave_to_meter(self, call: Call) -> bool:
        """Have a call delivered once its meter has been read; it counts as open until then."""
        from energy_tracking.servers.metered import end_metered_call

        def deliver(call: Call, record: CallRecord) -> None:
            open_calls.discard(call)
            call.final_record = counted.record = record
            hold_deferred(self._deliver_call, call)

        with self._boundaries("meter"):
            held_calls.pop(call, None)
            # Whoever sees its response again finds it counted.
            call.final_record = estimated = self._build_record(call)
            counted = counted_responses.remember_measured(call, estimated)
            open_calls.add(call)
            end_metered_call(call, estimated, deliver)
            call.is_delivered = True
        return call.is_delivered

    def _deliver_call(self, call: Call) -> CallRecord:
        """Deliver the record of a call that has ended, to everybody although an interrupt comes."""
        rows = self._deliveries
        # None where nothing is delivered.
        deliveries = iter((*rows, _TOOLS) if rows and call.tools else rows)
        interrupt: BaseException | None = None
        try:
            self._record_once(call)
        except BaseException as raised:
            interrupt = raised
        while True:
            try:
                for name, deliver in deliveries:
                    try:
                        deliver(self, call, call.final_record or self._record_once(call))
                    except Exception as error:
                        self.report(name, error)
                break
            except BaseException as raised:
                # The rest of the deliveries comes first.
                interrupt = interrupt or raised
        record = call.final_record or self._record_once(call)
        # The caller may keep the response, and that the call.
        call.prompt = None
        if interrupt is not None:
            try:
                raise interrupt
            finally:
                # The frame would hold the error, and the error the frame.
                interrupt = None
        return record

    def _record_once(self, call: Call) -> CallRecord:
        """The record of a call, built where it is not yet: building it may be interrupted too."""
        call.is_delivered = True
        if call.final_record is None:
            open_calls.discard(call)
            held_calls.pop(call, None)
            call.final_record = self._build_record(call)
        return call.final_record

    def _build_record(self, call: Call) -> CallRecord:
        """The record of a call, as it is estimated; what is wrong with its usage is said."""
        try:
            record = call.record(self.estimation.estimate_safely)
        except Exception as error:
            self._boundaries.report("record", error)
            record = call.record_without_tokens(error)
        if record.reason is not None and not self.settings.disabled:
            with self._boundaries("usage"):
                _log_wrong_usage(call.raw_usage, record.request)
        if self._calibrate is not None:
            with self._boundaries("calibration"):
                record = self._calibrate(record)
        if self._intensity is None:
            return record
        return fill_fields(CallRecord, vars(record) | {"intensity": self._intensity})

    def _remember_response(self, call: Call, record: CallRecord) -> None:
        if call.meter is None and record.requests == 1:
            counted_responses.remember(call, record)

    def _credit_session(self, call: Call, record: CallRecord) -> None:
        if call.session is not None:
            call.session.credit(record, self._estimate_as)

    def _end_span(self, call: Call, record: CallRecord) -> None:
        if call.span is not None:
            call.span.end(record, call.session)

    def _call_sink(self, call: Call, record: CallRecord) -> None:
        if self._on_record is not None:
            self._on_record(record)

    def _write_line(self, call: Call, record: CallRecord) -> None:
        if self._ledger is None:
            return
        try:
            self._ledger.write(record)
        except Exception as error:
            if call.session is not None:
                call.session.add_lost_ledger_line()
            # What keeps a file from being written the ledger has logged itself.
            if self._has_error_handler or not isinstance(error, OSError):
                raise

    def _deliver_tools(self, call: Call, record: CallRecord) -> None:
        parts = bounded_parts(call.tools)
        run_every([partial(self._deliver_tool_usage, call, part) for part in parts])

    def _deliver_tool_usage(self, call: Call, tool: ToolUsage) -> None:
        """Count what another model did for a call, whose usage says nothing of it."""
        request = replace(call.request, operation=tool.operation, model=tool.model, stream=False)
        part = Call(request, self._deliver_safely, session=call.session)
        part.ended_at = part.started_at
        part.raw_usage = tool.usage
        if call.span is not None:
            part.span = call.span.part(request)
        part.close()


def _log_wrong_usage(usage: object, request: CallRequest) -> None:
    """Say once per server that what it sends as usage cannot be one."""
    what = wrong_kind_of(usage)
    if what is not None:
        host, port = request.server_address, request.server_port
        server = request.provider if host is None else f"{host}:{port}"
        message = f"the usage in a response of {server} is {what}, not an object"
        says = "%s: its tokens cannot be read. This is logged once per server."
        log_once(message, says, message, kind="usages")


def _make_tracker(arguments: TrackerArguments) -> Tracker:
    """A tracker that was pickled; one that tracks nothing where its settings do not hold."""
    try:
        return Tracker(**arguments)
    except ConfigurationError as error:
        log("a tracker sent to this process (%s) tracks nothing here: %s", os.getpid(), error)
        return Tracker(disabled=True, spans="off")


# Boundary, and what is done in it. The session comes before the span, which shows the running
# total that this call is part of.
_DELIVERIES: tuple[tuple[str, Callable[[Tracker, Call, CallRecord], None]], ...] = (
    ("counted", Tracker._remember_response),
    ("session", Tracker._credit_session),
    ("telemetry.end", Tracker._end_span),
    ("ledger", Tracker._write_line),
    ("on_record", Tracker._call_sink),
)
# After those, of the few calls that have any.
_TOOLS = "tools", Tracker._deliver_tools
