"""From tokens and a model's name to an outcome: the energy, or the reason there is none.

This module alone decides about an estimate: which profile a name means, on which GPU and by which
assumptions, what the calibrated number beside the seed's is, and what the same tokens would cost
as another model, on another GPU or by another method. It delivers nothing.

The order of an estimate:

1. ``match_model`` finds the profile: the user's mapping, then the catalogue, then the default;
2. ``Basis`` holds method, GPU and assumptions: one made from the settings, and for
   ``estimate_as`` one with what is other;
3. ``_estimate_with_profile`` asks the estimator;
4. ``_build_outcome`` adds what stands beside it: what caching avoided, the calibrated number.

A new assumption is a setting, a field of ``Assumptions`` and a line in ``_build_basis``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from typing import Any
from weakref import WeakValueDictionary

from energy_tracking.calls.call import Call
from energy_tracking.calls.past import PastCall
from energy_tracking.calls.record import Alternative, CallRecord, Outcome, status_of
from energy_tracking.calls.session import current_session
from energy_tracking.error_boundary import ErrorBoundaries
from energy_tracking.errors import ConfigurationError, must_be
from energy_tracking.estimator import (
    CALIBRATED_METHOD,
    Assumptions,
    EnergyEstimate,
    ServingProfile,
    apply_evidence,
    check_memory_bandwidth,
    compute_avoided_energy,
    estimate_usage,
)
from energy_tracking.estimator.evidence import ServingEvidence
from energy_tracking.estimator.serving import SERVING, check_one_batch
from energy_tracking.frozen import declared_fields, fill_fields, frozen
from energy_tracking.notices import log_once
from energy_tracking.profiles.catalogue import Catalogue, ModelMatch
from energy_tracking.profiles.files import extend_catalogue, get_catalogue
from energy_tracking.profiles.profile import GpuProfile, ModelProfile
from energy_tracking.settings import SERVING_SETTINGS, Settings
from energy_tracking.settings.names import named, naming
from energy_tracking.units import NANOJOULES_PER_JOULE
from energy_tracking.usage.names import MAX_SENTENCE, text_of
from energy_tracking.usage.token_usage import TokenUsage


class Estimation:
    """Estimates the energy of tokens by the settings of one tracker.

    Attributes:
        settings: The settings.
        catalogue: The profiles that names are looked up in.
    """

    def __init__(
        self,
        settings: Settings,
        catalogue: Catalogue | None = None,
        boundaries: ErrorBoundaries | None = None,
    ) -> None:
        """Check the settings that are about estimates, and prepare for them.

        Args:
            settings: The settings.
            catalogue: Profiles in place of the process-wide ones.
            boundaries: Where the library's own errors are reported.

        Raises:
            ConfigurationError: A setting names an unknown profile, or has no effect.
            ProfileError: The method needs a number that the GPU profile lacks.
        """
        self.settings = settings
        base = catalogue or get_catalogue()
        self.catalogue = base
        self._boundaries = boundaries or ErrorBoundaries()
        if self.settings.profiles is not None:
            with naming("profiles"):
                self.catalogue = extend_catalogue(base, self.settings.profiles)
        with naming("gpu"):
            self.catalogue.gpu(self.settings.gpu)
        self._gpus = self.catalogue.gpus_by_name
        self._basis = self._build_basis(self.settings)
        if self._basis.method != CALIBRATED_METHOD and self._basis.calibrated is None:
            without_effect = _select_serving_settings(self.settings)
            if self.settings.timing_evidence:
                without_effect["timing_evidence"] = True
            if self.settings.server_metrics:
                without_effect["server_metrics"] = ",".join(map(str, self.settings.server_metrics))
            for name, value in without_effect.items():
                what = f"unset: it has no effect on GPU {self._basis.gpu.name!r}"
                remedy = (
                    "it is for the calibrated number, for which the GPU profile needs a "
                    "memory_bandwidth"
                )
                raise ConfigurationError(must_be(named(name), what, value, remedy))
        with naming("model_mapping"):
            self._mapping = self.catalogue.check_mapping(self.settings.model_mapping or {})
        if self.settings.default_model is not None:
            with naming("default_model"):
                self.catalogue.model(self.settings.default_model)

    def estimate(
        self,
        request_model: str | None,
        response_model: str | None,
        usage: TokenUsage,
        evidence: ServingEvidence | None = None,
    ) -> Outcome:
        """The energy of these tokens on the configured GPU, or why it is not known.

        Args:
            request_model: The model asked for.
            response_model: The model that answered.
            usage: The tokens.
            evidence: What was seen of the server while it served them, if anything was.
        """
        match = self.match_model(request_model, response_model)
        if match is None:
            return Outcome(reason=self.explain_unknown_model(response_model or request_model))
        return self._build_outcome(self.current_basis(), match, usage, evidence)

    def shared(self) -> Estimation:
        """One that estimates the same, for all whose settings and profiles are these.

        It holds nothing else of a tracker, such as its user's handler of errors: a session keeps
        it for ``compare``, and a program may make a tracker per request.
        """
        values = (getattr(self.settings, name) for name in declared_fields(Settings))
        key = id(self.catalogue), *map(_as_key, values)
        known = _shared.get(key)
        if known is None:
            known = copy(self)
            known._boundaries = ErrorBoundaries()
            _shared[key] = known
        return known

    def estimate_safely(
        self,
        request_model: str | None,
        response_model: str | None,
        usage: TokenUsage,
        evidence: ServingEvidence | None,
    ) -> Outcome:
        """The same as ``estimate``, where an error of the library is the reason for no energy.

        Args:
            request_model: The model asked for.
            response_model: The model that answered.
            usage: The tokens.
            evidence: What was seen of the server while it served them, if anything was.
        """
        try:
            return self.estimate(request_model, response_model, usage, evidence)
        except Exception as error:
            self._boundaries.report("estimate", error)
            return Outcome(reason="the estimator failed")

    def record(self, past: PastCall) -> CallRecord:
        """The record of a call that ran somewhere else, which nobody receives."""
        call = Call(past.request, lambda call: None, session=current_session())
        past.state_in(call)
        return call.record(self.estimate_safely)

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
        basis = self._build_other_basis(other)
        if other.model is not None:
            match: ModelMatch | None = self.find_model(other.model)
        else:
            match = self.match_model(request_model, response_model)
        if match is None:
            return Outcome(reason=self.explain_unknown_model(response_model or request_model))
        return self._build_outcome(basis, match, usage, None)

    def estimate_again(self, record: CallRecord, model: str | None = None) -> CallRecord:
        """A record with the energy that its tokens have by this tracker's settings.

        It is delivered nowhere. A measured energy stays what the server measured, unless
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
            reason=text_of(outcome.reason, MAX_SENTENCE)
            or (record.reason if usage.estimated else None),
            estimate=outcome.estimate,
            calibrated=outcome.calibrated,
            cache_avoided_energy_joules=outcome.cache_avoided_energy_joules,
            measured_energy_joules=measured,
            measurement=None if measured is None else record.measurement,
            model_match=outcome.model_match,
        )

    def find_model(self, name: str) -> ModelMatch:
        """The profile of a model that the user has named, never the default in its place.

        Raises:
            UnknownModelError: There is none; the message has the nearest names.
        """
        found = self.catalogue.match(name, mapping=self._mapping)
        return found or ModelMatch(self.catalogue.model(name), "exact")

    def match_model(
        self, request_model: str | None, response_model: str | None
    ) -> ModelMatch | None:
        """The profile of the model that answered; of the one asked for if that is unknown.

        The user's own mapping comes before either, since a deployment's name is only
        known to its owner.

        Args:
            request_model: The model asked for.
            response_model: The model that answered.
        """
        names = [name for name in (response_model, request_model) if name]
        if self._mapping:
            for name in names:
                found = self.catalogue.match(name, mapping=self._mapping)
                if found is not None and found.rule == "mapping":
                    return found
        for name in names:
            found = self.catalogue.match(name)
            if found is not None:
                return found
        if self.settings.default_model is None:
            return None
        # With no name at all, only a default is left.
        for default_for in names or (None,):
            found = self.catalogue.match(default_for, default=self.settings.default_model)
            if found is not None:
                return found
        return None

    def _build_outcome(
        self,
        basis: Basis,
        match: ModelMatch,
        usage: TokenUsage,
        evidence: ServingEvidence | None,
    ) -> Outcome:
        """The estimate of a matched model, and what stands beside it."""
        estimate, assumptions = self._estimate_with_profile(basis, match, usage, evidence)
        if not _can_be_summed(estimate):
            self._boundaries.report("estimate", _build_not_finite_error(estimate, usage))
            return Outcome(reason="the estimate is not a finite number")
        avoided = None
        if usage.cached_input_tokens:
            profile = self.select_profile(basis, match)
            avoided = compute_avoided_energy(estimate, usage, profile, basis.gpu, assumptions)
        calibrated = None
        if basis.calibrated is not None:
            # Whatever goes wrong here must not cost the call its own estimate.
            try:
                calibrated, _ = self._estimate_with_profile(
                    basis.calibrated, match, usage, evidence
                )
                if not _can_be_summed(calibrated):
                    raise _build_not_finite_error(calibrated, usage)
            except Exception as error:
                calibrated = None
                self._boundaries.report("estimate.calibrated", error)
        values = {
            "estimate": estimate,
            "model_match": match.rule,
            "reason": None,
            "cache_avoided_energy_joules": avoided,
            "calibrated": calibrated,
        }
        return fill_fields(Outcome, values)

    def _estimate_with_profile(
        self,
        basis: Basis,
        match: ModelMatch,
        usage: TokenUsage,
        evidence: ServingEvidence | None,
    ) -> tuple[EnergyEstimate, Assumptions]:
        """The estimate of a matched model, by the profile that the method needs.

        Beside it is what was assumed for it.
        """
        profile, assumptions = self.select_profile(basis, match), basis.assumptions
        if evidence is not None and basis.method == CALIBRATED_METHOD:
            assumptions = apply_evidence(
                assumptions,
                usage,
                profile,
                basis.gpu,
                evidence,
                match.rule,
                uses_timing=self.settings.timing_evidence,
                is_engine_known=self.settings.engine_year is not None,
            )
        estimate = estimate_usage(
            usage,
            profile,
            basis.gpu,
            method=basis.method,
            assumptions=assumptions,
            rule=match.rule,
        )
        return estimate, assumptions

    def select_profile(self, basis: Basis, match: ModelMatch) -> ModelProfile:
        """The profile of a matched model that a method needs.

        Args:
            basis: The method.
            match: The matched model.
        """
        if basis.method != CALIBRATED_METHOD:
            return match.profile
        # The seed's own rows lack what this method needs, and have better ones beside them.
        return self.catalogue.corrected_model(match.profile)

    def explain_unknown_model(self, model: str | None) -> str:
        """Why a model has no energy; each name is logged once."""
        if model is None:
            return "the model is not named"
        reason = self.catalogue.explain_no_profile(model) or "no energy profile for this model"
        log_once(
            model,
            "calls to model %r are counted without energy: %s. Name a profile for it with "
            "model_mapping or default_model, or register one.",
            model,
            reason,
            kind="models without a profile",
        )
        return reason

    def current_basis(self) -> Basis:
        """The basis, built anew where a GPU profile has been registered since."""
        gpus = self.catalogue.gpus_by_name
        if gpus is not self._gpus:
            self._basis = self._build_basis(self.settings)
            self._gpus = gpus
        return self._basis

    def _build_basis(self, settings: Settings) -> Basis:
        """How calls are estimated by these settings.

        Raises:
            UnknownGpuError: The GPU has no profile.
            ConfigurationError: The method does not know the scope, or both numbers of
                sequences are given.
        """
        method = settings.method
        gpu = self.catalogue.gpu(settings.gpu)
        if method != CALIBRATED_METHOD and settings.scope != "gpu":
            what = f"'gpu' with method {method!r}, which knows the GPU board alone"
            remedy = f"use method {CALIBRATED_METHOD!r}"
            raise ConfigurationError(must_be(named("scope"), what, settings.scope, remedy))
        assumptions = Assumptions(
            attention_mode=settings.attention_mode,
            serving=_build_serving(settings),
            scope=settings.scope,
        )
        corrected = self.catalogue.corrected_gpu(gpu)
        if method == CALIBRATED_METHOD:
            check_memory_bandwidth(corrected)
            return Basis(method, corrected, assumptions)
        calibrated = None
        if corrected.memory_bandwidth is not None:
            calibrated = Basis(CALIBRATED_METHOD, corrected, assumptions)
        return Basis(method, gpu, assumptions, calibrated)

    def _build_other_basis(self, other: Alternative) -> Basis:
        """The basis with what is other in it."""
        changes = other.changes
        changes.pop("model", None)
        if not changes:
            return self.current_basis()
        batch = [name for name in ("concurrency_per_gpu", "sequences") if name in changes]
        other.check_effect(other.method or self.settings.method)
        settings = self.settings
        if batch:
            settings = replace(settings, concurrency_per_gpu=None, sequences=None)
        return self._build_basis(replace(settings, **changes))  # type: ignore[arg-type]


_shared: WeakValueDictionary[tuple[Any, ...], Estimation] = WeakValueDictionary()


def _as_key(value: Any) -> Any:
    """The value of a setting as part of a key."""
    return tuple(value.items()) if isinstance(value, Mapping) else value


@frozen()
class Basis:
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
    calibrated: Basis | None = None


def _can_be_summed(estimate: EnergyEstimate) -> bool:
    """Whether its energies, in the unit of sums, are finite numbers."""
    joules = estimate.total_energy_joules + estimate.total_energy_high_joules
    return math.isfinite(joules * NANOJOULES_PER_JOULE)


def _build_not_finite_error(estimate: EnergyEstimate, usage: TokenUsage) -> ArithmeticError:
    """The error of an estimate that is too large to be added up."""
    return ArithmeticError(
        f"{estimate.total_energy_joules} J for model {estimate.model_profile!r} on GPU "
        f"{estimate.gpu!r}, method {estimate.method!r}: {usage}"
    )


def _build_serving(settings: Settings) -> ServingProfile:
    """The serving that the settings state, the rest left to be assumed.

    Raises:
        ConfigurationError: Both numbers of sequences are given.
    """
    with naming("sequences"):
        check_one_batch(settings.concurrency_per_gpu, settings.sequences)
    given = _select_serving_settings(settings)
    if not given:
        return SERVING  # the one object, which is found at once among what is computed for it
    serving = ServingProfile(**given)
    return serving if "concurrency_per_gpu" not in given else serving.with_known_concurrency()


def _select_serving_settings(settings: Settings) -> dict[str, Any]:
    """The settings about serving that are not left to be assumed."""
    given = {name: getattr(settings, name) for name in SERVING_SETTINGS}
    return {name: value for name, value in given.items() if value is not None}
