"""The composition root: calls in, records to sessions, telemetry and the user's sink.

Whatever goes wrong in here is reported to one handler and never to the caller of the LLM.
"""

from __future__ import annotations

import atexit
import logging
import math
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from types import TracebackType
from typing import Any, Unpack

from energy_tracking.background import held_calls
from energy_tracking.call import (
    Alternative,
    Call,
    CallRecord,
    CallRequest,
    CreditedSession,
    Outcome,
    forget_deferred,
    settle_deferred,
    status_of,
)
from energy_tracking.catalogue import Catalogue, ModelMatch
from energy_tracking.data import default_catalogue, read_profiles
from energy_tracking.errors import ConfigurationError, EnergyBudgetExceeded, not_one_of
from energy_tracking.estimator import (
    CALIBRATED_METHOD,
    Assumptions,
    EnergyEstimate,
    ServingProfile,
    check_gpu,
    estimate_usage,
    with_timing_evidence,
)
from energy_tracking.ledger import Ledger
from energy_tracking.profiles import GpuProfile
from energy_tracking.session import current_session, process_session
from energy_tracking.settings import SERVING_SETTINGS, SettingArguments, Settings, naming
from energy_tracking.shapes import ToolUsage
from energy_tracking.telemetry import ProviderArguments, Telemetry
from energy_tracking.units import NANOJOULES_PER_JOULE
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
            self.catalogue = self.catalogue.copy()
            for model in models:
                self.catalogue.register_model(model)
            for gpu in gpus:
                self.catalogue.register_gpu(gpu)
        with naming("gpu"):
            self.catalogue.gpu(self.settings.gpu)
        self._basis = self._basis_of(self.settings)
        if self._basis.method != CALIBRATED_METHOD and self._basis.calibrated is None:
            for name, value in _serving_given(self.settings).items():
                raise ConfigurationError(
                    f"{name} has no effect on GPU {self._basis.gpu.name!r}, got {value!r}; it is "
                    "for the calibrated number, for which the GPU profile needs a memory_bandwidth"
                )
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
        self._on_error = arguments.get("on_error") or _LogOnce()
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
            call.span = telemetry.start(request) if span is None else telemetry.onto(span)
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
        """
        call = self.start(operation=operation, provider=provider, model=model)
        # There was a response, if only one that tells nothing. Nobody timed it.
        call.observe(None)
        call.ended_at = call.started_at
        call.raw_usage = usage
        call.response_id = response_id
        call.measured_energy_joules = measured_energy_joules
        call.error_type = error_type
        return self._tell(call)

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
        return self._estimate_on(self._basis, match, usage, tokens_per_second)

    def estimate_as(
        self,
        request_model: str | None,
        response_model: str | None,
        usage: TokenUsage,
        other: Alternative,
    ) -> Outcome:
        """The energy of these tokens in another way, all else as it is set.

        Args:
            request_model: The model asked for.
            response_model: The model that answered.
            usage: The tokens.
            other: What is other.

        Raises:
            UnknownModelError: There is no such model.
            UnknownGpuError: There is no such GPU.
            ConfigurationError: The method knows no such scope or number of sequences.
        """
        basis = self._basis_as(other)
        if other.model is not None:
            match: ModelMatch | None = self.find_model(other.model)
        else:
            match = self.match(request_model, response_model)
        if match is None:
            return Outcome(reason=self._unknown(response_model or request_model))
        return self._estimate_on(basis, match, usage, None)

    def _estimate_on(
        self,
        basis: _Basis,
        match: ModelMatch,
        usage: TokenUsage,
        tokens_per_second: float | None,
    ) -> Outcome:
        estimate = self._estimate_by(basis, match, usage, tokens_per_second)
        if not _can_be_summed(estimate):
            self._on_error("estimate", _not_finite(estimate, usage))
            return Outcome(reason="the estimate is not a finite number")
        avoided = None
        if usage.cached_input_tokens:
            anew = replace(usage, cached_input_tokens=0)
            uncached = self._estimate_by(basis, match, anew, tokens_per_second)
            avoided = uncached.total_energy_joules - estimate.total_energy_joules
        calibrated = None
        if basis.calibrated is not None:
            # Whatever goes wrong here must not cost the call its own estimate.
            with self.seam("estimate.calibrated"):
                beside = self._estimate_by(basis.calibrated, match, usage, tokens_per_second)
                if not _can_be_summed(beside):
                    raise _not_finite(beside, usage)
                calibrated = beside
        return Outcome(
            estimate,
            match.rule,
            cache_avoided_energy_joules=avoided,
            calibrated=calibrated,
        )

    def _estimate_by(
        self,
        basis: _Basis,
        match: ModelMatch,
        usage: TokenUsage,
        tokens_per_second: float | None,
    ) -> EnergyEstimate:
        profile, assumptions = match.profile, basis.assumptions
        if basis.method == CALIBRATED_METHOD:
            # The seed's own rows lack what this method needs, and have better ones beside them.
            profile = self.catalogue.corrected_model(profile)
            if self.settings.timing_evidence and tokens_per_second is not None:
                assumptions = with_timing_evidence(
                    assumptions, usage, profile, basis.gpu, tokens_per_second, match.rule
                )
        return estimate_usage(
            usage,
            profile,
            basis.gpu,
            method=basis.method,
            assumptions=assumptions,
            rule=match.rule,
        )

    def estimate_again(self, record: CallRecord, model: str | None = None) -> CallRecord:
        """A record with the energy that its tokens have by this tracker's settings.

        Nobody is told of it. A measured energy stays what the server measured, unless
        another model is named, which nobody measured.

        Args:
            record: The call.
            model: Another model than the call's own.

        Raises:
            UnknownModelError: There is no such model.
        """
        usage = record.usage
        if usage is None:
            return record
        measured = record.measured_energy_joules if model is None else None
        outcome = self.estimate_as(
            record.request.model, record.response_model, usage, Alternative(model=model)
        )
        return replace(
            record,
            status=status_of(usage, outcome.estimate, measured),
            reason=outcome.reason or (record.reason if usage.estimated else None),
            estimate=outcome.estimate,
            calibrated=outcome.calibrated,
            cache_avoided_energy_joules=outcome.cache_avoided_energy_joules,
            measured_energy_joules=measured,
            model_match=outcome.model_match,
        )

    def find_model(self, name: str) -> ModelMatch:
        """The profile of a model that the user has named, never the default in its place.

        Raises:
            UnknownModelError: There is none; the message has the nearest names.
        """
        found = self.catalogue.match(name, mapping=self._mapping)
        return found or ModelMatch(self.catalogue.model(name), "exact")

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
            logger.warning(
                "calls to model %r are counted without energy: %s. Name a profile for it with "
                "model_mapping or default_model, or register one.",
                model,
                reason,
            )
        return reason

    def _settle(self, call: Call) -> None:
        with self.seam("settle"):
            self._tell(call)

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

    def _basis_of(self, settings: Settings) -> _Basis:
        """How calls are estimated by these settings.

        Raises:
            UnknownGpuError: The GPU has no profile.
            ConfigurationError: The method does not know the scope, or both numbers of
                sequences are given.
        """
        method = settings.method
        gpu = self.catalogue.gpu(settings.gpu)
        if method != CALIBRATED_METHOD and settings.scope != "gpu":
            raise ConfigurationError(
                f"scope {settings.scope!r} needs method {CALIBRATED_METHOD!r}; {method!r} knows"
                " the GPU board alone"
            )
        assumptions = Assumptions(
            attention_mode=settings.attention_mode,
            serving=_serving_of(settings),
            scope=settings.scope,
        )
        corrected = self.catalogue.corrected_gpu(gpu)
        if method == CALIBRATED_METHOD:
            check_gpu(corrected)
            return _Basis(method, corrected, assumptions)
        calibrated = None
        if corrected.memory_bandwidth is not None:
            calibrated = _Basis(CALIBRATED_METHOD, corrected, assumptions)
        return _Basis(method, gpu, assumptions, calibrated)

    def _basis_as(self, other: Alternative) -> _Basis:
        """The basis with what is other in it."""
        changes = other.changes
        changes.pop("model", None)
        if not changes:
            return self._basis
        batch = [name for name in ("concurrency_per_gpu", "sequences") if name in changes]
        method = other.method or self.settings.method
        if batch and method != CALIBRATED_METHOD:
            raise ConfigurationError(
                f"{batch[0]} has no effect on method {method!r}, which knows no batch, got "
                f"{changes[batch[0]]!r}; compare with method={CALIBRATED_METHOD!r}"
            )
        settings = self.settings
        if batch:
            settings = replace(settings, concurrency_per_gpu=None, sequences=None)
        return self._basis_of(replace(settings, **changes))  # type: ignore[arg-type]

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


@dataclass(frozen=True, slots=True)
class _Basis:
    """How calls are estimated.

    Attributes:
        method: The method.
        gpu: The GPU profile, as the method needs it.
        assumptions: What is assumed beside it.
        calibrated: How the calibrated estimate beside this one is made; None: there is none.
    """

    method: str
    gpu: GpuProfile
    assumptions: Assumptions
    calibrated: _Basis | None = None


def _can_be_summed(estimate: EnergyEstimate) -> bool:
    """Whether its energies, in the unit of sums, are finite numbers."""
    joules = estimate.total_energy_joules + estimate.total_energy_high_joules
    return math.isfinite(joules * NANOJOULES_PER_JOULE)


def _not_finite(estimate: EnergyEstimate, usage: TokenUsage) -> ArithmeticError:
    return ArithmeticError(
        f"{estimate.total_energy_joules} J for model {estimate.model_profile!r} on GPU "
        f"{estimate.gpu!r}, method {estimate.method!r}: {usage}"
    )


def _serving_of(settings: Settings) -> ServingProfile:
    """The serving that the settings say, the rest left to be assumed.

    Raises:
        ConfigurationError: Both numbers of sequences are given.
    """
    if settings.concurrency_per_gpu is not None and settings.sequences is not None:
        raise ConfigurationError(
            "concurrency_per_gpu and sequences say the same in two ways; give one of them, got "
            f"{settings.concurrency_per_gpu:g} and {settings.sequences:g}"
        )
    given = _serving_given(settings)
    serving = ServingProfile(**given)
    return serving if "concurrency_per_gpu" not in given else serving.with_known_concurrency()


def _serving_given(settings: Settings) -> dict[str, Any]:
    """The settings about serving that are not left to be assumed."""
    named = ((name, getattr(settings, name)) for name in SERVING_SETTINGS)
    return {name: value for name, value in named if value is not None}


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
            self._handler(self._name, exc)
            return True
        return False


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


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_open_calls_to_parent)
