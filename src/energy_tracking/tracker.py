"""The composition root: calls in, records to sessions, telemetry and the user's sink.

Whatever goes wrong in here is reported to one handler and never to the caller of the LLM.
"""

from __future__ import annotations

import atexit
import logging
import math
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import cache, partial
from types import TracebackType
from typing import Any, Unpack

from energy_tracking.background import held_calls
from energy_tracking.call import (
    Call,
    CallRecord,
    CallRequest,
    CreditedSession,
    Outcome,
    forget_deferred,
    hold_settling,
    settle_deferred,
    status_of,
)
from energy_tracking.catalogue import Catalogue, ModelMatch
from energy_tracking.data import load_catalogue, read_profiles
from energy_tracking.errors import ConfigurationError, EnergyBudgetExceeded, not_one_of
from energy_tracking.estimator import (
    Assumptions,
    ServingProfile,
    check_gpu,
    estimate_usage,
    learned,
)
from energy_tracking.ledger import Ledger
from energy_tracking.profiles import GpuProfile, ModelProfile
from energy_tracking.session import current_session, process_session
from energy_tracking.settings import SettingArguments, Settings, naming
from energy_tracking.shapes import MAX_MEASURED, ToolUsage, joules_from
from energy_tracking.telemetry import ProviderArguments, Telemetry
from energy_tracking.usage import TokenUsage
from energy_tracking.version import VERSION

logger = logging.getLogger("energy_tracking")

ErrorHandler = Callable[[str, Exception], object]
"""Told where in the library an error happened, and the error."""


class TrackerArguments(SettingArguments, ProviderArguments, total=False):
    """Everything a tracker can be made with; None means: not given."""

    catalogue: Catalogue | None
    on_record: Callable[[CallRecord], object] | None
    on_error: ErrorHandler | None


class Tracker:
    """Estimates calls and tells of them.

    Args:
        **arguments: Settings, and ``catalogue`` (profiles in place of the process-wide
            ones), ``tracer_provider``, ``meter_provider`` (in place of the global ones),
            ``on_record`` (a sink told of every record), ``on_error`` (told of errors
            inside the library; by default each kind is logged once).

    Raises:
        ConfigurationError: A setting is wrong, or names an unknown profile.
    """

    def __init__(self, **arguments: Unpack[TrackerArguments]) -> None:
        known = TrackerArguments.__optional_keys__
        for name in arguments:
            if name not in known:
                raise ConfigurationError(not_one_of("setting", name, sorted(known)))
        self.settings = Settings.load(arguments)
        self.catalogue = arguments.get("catalogue") or default_catalogue()
        if self.settings.profiles is not None:
            models, gpus = read_profiles(self.settings.profiles)
            self.catalogue = self.catalogue.extended()
            for model in models:
                self.catalogue.register_model(model)
            for gpu in gpus:
                self.catalogue.register_gpu(gpu)
        with naming("gpu"):
            self._gpu = self.catalogue.gpu(self.settings.gpu)
        self._assumptions = self._assume()
        with naming("model_mapping"):
            self._mapping = self.catalogue.check_mapping(self.settings.model_mapping or {})
        if self.settings.default_model is not None:
            with naming("default_model"):
                self.catalogue.model(self.settings.default_model)
        self.telemetry = Telemetry(
            self.settings.spans,
            arguments.get("tracer_provider"),
            arguments.get("meter_provider"),
            VERSION,
            self.settings.metric_tags,
        )
        with naming("ledger"):
            path = self.settings.ledger
            self._ledger = None if path is None or self.settings.disabled else Ledger(path)
        if self.settings.summary and not self.settings.disabled:
            summarise_at_exit()
        self._on_record = arguments.get("on_record")
        self._on_error = partial(_report, arguments.get("on_error") or _LogOnce())
        self._unknown_models: set[str] = set()
        self._seams: dict[str, Seam] = {}

    def over_budget(self) -> EnergyBudgetExceeded | None:
        """Why no further call may be sent here, where a budget says so."""
        with self.seam("budget"):
            try:
                current_session().check_budget()
            except EnergyBudgetExceeded as exceeded:
                return exceeded
        return None

    def seam(self, name: str) -> Seam:
        """A ``with`` block out of which none of our own errors gets."""
        seam = self._seams.get(name)
        if seam is None:
            seam = self._seams[name] = Seam(name, self._on_error)
        return seam

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
        told_elsewhere: bool = False,
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
            told_elsewhere: Whether another instrumentation reports the call's tokens.
            session: Credited in place of the current one.
            span: Another instrumentation's span of the call, which the energy is put on.
        """
        settle_at_exit()
        settle_deferred()
        request = CallRequest(
            operation=operation,
            provider=provider,
            model=model,
            session=current_session() if session is None else session,
            stream=stream,
            server_address=server_address,
            server_port=server_port,
            told_elsewhere=told_elsewhere,
        )
        call = Call(request, self._settle, prompt)
        with self.seam("telemetry.start"):
            telemetry = self.telemetry
            # Span processors have locks, too.
            call.span = (
                hold_settling(telemetry.start, request) if span is None else telemetry.onto(span)
            )
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

        Raises:
            ConfigurationError: The measured energy is not a number from 0 to 1e12 J.
        """
        if measured_energy_joules is not None:
            joules = joules_from(measured_energy_joules)
            if joules is None:
                raise ConfigurationError(
                    f"measured_energy_joules must be a number from 0 to {MAX_MEASURED:g} J, "
                    f"got {measured_energy_joules!r}"
                )
            measured_energy_joules = joules
        call = self.start(operation=operation, provider=provider, model=model)
        # There was a response, if only one that tells nothing. Nobody timed it.
        call.observe(None)
        call.ended_at = call.started_at
        call.raw_usage = usage
        call.response_id = response_id
        call.measured_energy_joules = measured_energy_joules
        call.error_type = error_type
        return hold_settling(self._tell, call)

    def estimate(
        self,
        request_model: str | None,
        response_model: str | None,
        usage: TokenUsage,
        tokens_per_second: float | None = None,
    ) -> Outcome:
        """The energy of these tokens on the configured GPU, or why it is not known.

        Args:
            request_model: The model asked for.
            response_model: The model that answered.
            usage: The tokens.
            tokens_per_second: Rate at which a stream arrived [tokens/s], if it was timed.
        """
        match = self.match(request_model, response_model)
        if match is None:
            return Outcome(reason=self._unknown(response_model or request_model))
        return self._estimated(match, usage, self._gpu, tokens_per_second)

    def estimate_as(
        self,
        request_model: str | None,
        response_model: str | None,
        usage: TokenUsage,
        model: str | None = None,
        gpu: str | None = None,
    ) -> Outcome:
        """The energy of these tokens on another model or GPU, all else as it is set.

        Raises:
            UnknownModelError: There is no such model.
            UnknownGpuError: There is no such GPU.
        """
        on = self._gpu if gpu is None else self._prepared(self.catalogue.gpu(gpu))
        if model is not None:
            request_model, response_model = model, None
        match = self.match(request_model, response_model)
        if match is None and model is not None:
            # It raises, with the nearest names.
            self.catalogue.model(model)
        if match is None:
            return Outcome(reason=self._unknown(response_model or request_model))
        return self._estimated(match, usage, on, None)

    def _estimated(
        self,
        match: ModelMatch,
        usage: TokenUsage,
        gpu: GpuProfile,
        tokens_per_second: float | None,
    ) -> Outcome:
        profile = match.profile
        if self.settings.method == "roofline":
            # The seed's own rows lack what this method needs, and have better ones beside them.
            profile = self.catalogue.corrected_model(profile)
        assumptions = self._assumptions
        if self.settings.timing_evidence and tokens_per_second is not None:
            assumptions = learned(assumptions, usage, profile, gpu, tokens_per_second)
        method = self.settings.method
        estimate = estimate_usage(usage, profile, gpu, method=method, assumptions=assumptions)
        joules = estimate.total_energy_joules
        if not math.isfinite(joules):
            what = f"{joules} J for model {profile.name!r} on GPU {gpu.name!r}: {usage}"
            self._on_error("estimate", ArithmeticError(what))
            return Outcome(reason="the estimate is not a finite number")
        if not usage.cached_input_tokens:
            return Outcome(estimate, match.rule)
        anew = replace(usage, cached_input_tokens=0)
        uncached = estimate_usage(anew, profile, gpu, method=method, assumptions=assumptions)
        avoided = uncached.total_energy_joules - estimate.total_energy_joules
        return Outcome(estimate, match.rule, cache_avoided_energy_joules=avoided)

    def estimate_again(self, record: CallRecord, model: str | None = None) -> CallRecord:
        """A record with the energy that its tokens have by this tracker's settings.

        Nobody is told of it. A measured energy stays what the server measured, unless
        another model is named, which nobody measured.

        Args:
            record: The call.
            model: Another model than the call's own.
        """
        usage = record.usage
        if usage is None:
            return record
        measured = record.measured_energy_joules if model is None else None
        outcome = self.estimate_as(record.request.model, record.response_model, usage, model)
        return replace(
            record,
            status=status_of(usage, outcome.estimate, measured),
            reason=outcome.reason or (record.reason if usage.estimated else None),
            estimate=outcome.estimate,
            cache_avoided_energy_joules=outcome.cache_avoided_energy_joules,
            measured_energy_joules=measured,
            model_match=outcome.model_match,
        )

    def match(self, request_model: str | None, response_model: str | None) -> ModelMatch | None:
        """The profile of the model that answered; of the one asked for if that is unknown.

        The user's own mapping comes before either, since a deployment's name is only
        known to its owner.
        """
        # With no name at all, only a default is left.
        names: list[str | None] = [name for name in (response_model, request_model) if name]
        names = names or [None]
        attempts: list[dict[str, Any]] = [{"mapping": self._mapping}] if self._mapping else []
        attempts.append({})
        if self.settings.default_model is not None:
            attempts.append({"default": self.settings.default_model})
        for attempt in attempts:
            for name in names:
                found = self.catalogue.match(name, **attempt)
                if found is not None and (found.rule == "mapping" or "mapping" not in attempt):
                    return found
        return None

    def _unknown(self, model: str | None) -> str:
        if model is None:
            return "the model is not named"
        refusal = self.catalogue.refusal(model)
        reason = "no energy profile for this model" if refusal is None else refusal
        if model not in self._unknown_models and len(self._unknown_models) < 1000:
            self._unknown_models.add(model)
            # A logging handler that raises must not change the result.
            with self.seam("log"):
                logger.warning(
                    "calls to model %r are counted without energy: %s. Name a profile for it with "
                    "model_mapping or default_model, or register one.",
                    model,
                    reason,
                )
        return reason

    def _settle(self, call: Call) -> None:
        with self.seam("settle"):
            hold_settling(self._tell, call)

    def _tell(self, call: Call) -> CallRecord:
        open_streams.discard(call)
        record = call.record(self._estimate_safely)
        with self.seam("witnesses"):
            for witness in witnesses:
                witness(call, record)
        # The session first: the span shows the running total this call is part of.
        with self.seam("session"):
            record.request.session.add(record, self.estimate_as)
        if call.span is not None:
            with self.seam("telemetry.end"):
                call.span.end(record)
        if self._ledger is not None:
            with self.seam("ledger"):
                self._ledger.write(record)
        if self._on_record is not None:
            with self.seam("on_record"):
                self._on_record(record)
        for tool in call.tools:
            with self.seam("tools"):
                self._tell_part(call, tool)
        return record

    def _tell_part(self, call: Call, tool: ToolUsage) -> None:
        """Count what another model did for a call, whose usage says nothing of it."""
        request = replace(call.request, operation=tool.operation, model=tool.model, stream=False)
        part = Call(request, self._settle)
        part.ended_at = part.started_at
        part.raw_usage = tool.usage
        if call.span is not None:
            part.span = call.span.part(request)
        part.close()

    def _assume(self) -> Assumptions:
        settings = self.settings
        if settings.method == "reference" and settings.scope != "gpu":
            raise ConfigurationError(
                f"scope {settings.scope!r} needs method 'roofline'; 'reference' knows the GPU"
                " board alone"
            )
        self._gpu = self._prepared(self._gpu)
        if settings.concurrency_per_gpu is not None and settings.sequences is not None:
            raise ConfigurationError(
                "concurrency_per_gpu and sequences say the same in two ways; give one of them, got "
                f"{settings.concurrency_per_gpu:g} and {settings.sequences:g}"
            )
        serving = ServingProfile(
            sequences=settings.sequences,
            num_gpus=settings.num_gpus,
            weight_bytes=settings.weight_bytes,
            weight_format=settings.weight_format or "",
            expert_parallel=settings.expert_parallel,
            speculative=settings.speculative,
        )
        if settings.concurrency_per_gpu is not None:
            serving = replace(
                serving, concurrency_per_gpu=settings.concurrency_per_gpu
            ).with_known_concurrency()
        return Assumptions(
            attention_mode=settings.attention_mode, serving=serving, scope=settings.scope
        )

    def _prepared(self, gpu: GpuProfile) -> GpuProfile:
        """The GPU as the method needs it."""
        if self.settings.method == "roofline":
            gpu = self.catalogue.corrected_gpu(gpu)
            check_gpu(gpu)
        return gpu

    def _estimate_safely(
        self,
        request_model: str | None,
        response_model: str | None,
        usage: TokenUsage,
        tokens_per_second: float | None,
    ) -> Outcome:
        with self.seam("estimate"):
            return self.estimate(request_model, response_model, usage, tokens_per_second)
        return Outcome(reason="the estimator failed")


class Seam:
    """A ``with`` block that hands our own errors to a handler instead of the caller."""

    __slots__ = ("_handler", "_name")

    def __init__(self, name: str, handler: ErrorHandler) -> None:
        self._name = name
        self._handler = handler

    def __enter__(self) -> None:
        """Nothing to set up."""

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """Swallow errors; interrupts and exits of the process pass."""
        if isinstance(exc, Exception):
            _report(self._handler, self._name, exc)
            return True
        return False


def _report(handler: ErrorHandler, where: str, error: Exception) -> None:
    """Hand an error of our own to a handler, and survive that.

    Args:
        handler: The handler.
        where: Where in the library it happened.
        error: The error. What it was raised over is taken off: that may be the caller's own
            error, with a provider's text and a key in it.
    """
    error.__cause__ = error.__context__ = None
    try:
        handler(where, error)
    except Exception as failed:
        if handler is not _last_resort:
            _report(_last_resort, "on_error", failed)


class _LogOnce:
    """Logs each kind of error the first time it happens."""

    def __init__(self) -> None:
        self._seen: set[tuple[str, type[Exception]]] = set()

    def __call__(self, where: str, error: Exception) -> None:
        if (where, type(error)) not in self._seen:
            self._seen.add((where, type(error)))
            logger.warning(
                "energy tracking failed in %s; the call itself is not affected. "
                "Further errors of this kind are not logged.",
                where,
                exc_info=error,
            )


_last_resort = _LogOnce()
"""Handles the error of a handler."""

_catalogue_lock = threading.RLock()
_catalogue: Catalogue | None = None


def default_catalogue() -> Catalogue:
    """The process-wide profiles: those shipped and those registered."""
    global _catalogue
    with _catalogue_lock:
        if _catalogue is None:
            loaded = load_catalogue().copy()
            # A signal handler may have come here while it was loaded.
            _catalogue = _catalogue or loaded
        return _catalogue


def register_model_profile(profile: ModelProfile) -> None:
    """Add a model profile to the process-wide ones; the same name is replaced."""
    default_catalogue().register_model(profile)


def register_gpu_profile(profile: GpuProfile) -> None:
    """Add a GPU profile to the process-wide ones; the same name is replaced."""
    default_catalogue().register_gpu(profile)


witnesses: list[Callable[[Call, CallRecord], object]] = []
"""Told of every call of every tracker as it settles, before anybody else."""

# Streams being read; whatever is left in it when the process ends is settled then.
open_streams: set[Call] = set()


@cache
def settle_at_exit() -> None:
    """See to it that nothing open is lost when the process ends."""
    # Registered with the first call, hence run before the shutdown of any telemetry
    # provider that was set up before it.
    atexit.register(settle_everything)


@cache
def summarise_at_exit() -> None:
    """See to it that the totals of the process are printed when it ends, once."""
    atexit.register(_summarise)


def _summarise() -> None:
    settle_everything()
    session = process_session()
    # A program without a console has no stderr.
    if session.totals.calls and sys.stderr is not None:
        with suppress(OSError, ValueError):
            sys.stderr.write(f"{session}\n")


def settle_everything() -> None:
    """Settle every call that is still open, as far as it got."""
    settle_deferred()
    for call in [*open_streams, *held_calls.release()]:
        call.close()


def _leave_open_calls_to_parent() -> None:
    for call in [*open_streams, *held_calls.begin_anew()]:
        call.abandon()
    open_streams.clear()
    forget_deferred()


def _renew_catalogue_lock() -> None:
    global _catalogue_lock
    _catalogue_lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_open_calls_to_parent)
    os.register_at_fork(after_in_child=_renew_catalogue_lock)
