"""From tokens and a model's name to an outcome: the energy, or the reason there is none.

This module alone decides about an estimate: which profile a name means, on which GPU and by which
assumptions, what the calibrated number beside the seed's is, and what the same tokens would cost
as another model, on another GPU or by another method. It delivers nothing.

The order of an estimate:

1. ``match_model`` finds the profile: the user's mapping, then the catalogue, then the default;
2. ``Basis`` holds method, GPU and assumptions: one made from the settings, and for
   ``estimate_as`` one with what is other;
3. ``MatchedModel`` is both with their estimators, kept for the next call with these names until a
   profile is registered;
4. ``_build_outcome`` asks the estimator, and adds what stands beside its number: what caching
   avoided, the calibrated number.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from energy_tracking.basis import Basis, build_basis, change_basis, check_effects
from energy_tracking.calls.record import Alternative, CallRecord, Outcome, status_of
from energy_tracking.calls.session import current_session
from energy_tracking.error_boundary import ErrorBoundaries
from energy_tracking.errors import ConfigurationError, must_be
from energy_tracking.estimator import (
    CALIBRATED_METHOD,
    METHODS,
    EnergyEstimate,
    Estimator,
    apply_evidence,
    prepare_estimator,
    widen_by_doubts,
)
from energy_tracking.estimator.doubts import may_be_doubtful
from energy_tracking.estimator.estimate import check_token_counts
from energy_tracking.estimator.evidence import ServingEvidence
from energy_tracking.frozen import declared_defaults, frozen
from energy_tracking.notices import log_once
from energy_tracking.profiles.catalogue import Catalogue, ModelMatch
from energy_tracking.profiles.files import extend_catalogue, get_catalogue
from energy_tracking.profiles.profile import ModelProfile
from energy_tracking.settings import Settings
from energy_tracking.settings.names import naming
from energy_tracking.units import NANOJOULES_PER_JOULE
from energy_tracking.usage.names import MAX_SENTENCE, text_of
from energy_tracking.usage.token_usage import TokenUsage

if TYPE_CHECKING:
    from energy_tracking.calls.past import PastCall

MOST_JOULES = sys.float_info.max / NANOJOULES_PER_JOULE / 2
"""An energy and the high end of its range, added up, above which they may be no finite numbers in
the unit of sums [J]; what is no number is not below it either."""

MAX_NAMES = 1024
"""Pairs of names whose models are kept ready [1]."""

MAX_NAME = 256
"""Length of a name above which they are not [1]."""


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
            ConfigurationError: The catalogue is none, or a setting names an unknown profile or
                has no effect.
            ProfileError: The method needs a number that the GPU profile lacks.
        """
        if not isinstance(catalogue, Catalogue | None):
            raise ConfigurationError(must_be("catalogue", "a Catalogue", catalogue))
        self.settings = settings
        base = catalogue or get_catalogue()
        self.catalogue = base
        self._boundaries = boundaries or ErrorBoundaries()
        if self.settings.profiles is not None:
            with naming("profiles"):
                self.catalogue = extend_catalogue(base, self.settings.profiles)
        with naming("gpu"):
            self.catalogue.gpu(self.settings.gpu)
        self._prepared = self._prepare()
        check_effects(self.settings, self._prepared.basis)
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

        Raises:
            TokenCountError: A count is negative or not finite, or more is cached than given.
        """
        check_token_counts(usage.input_tokens, usage.cached_input_tokens, usage.output_tokens)
        return self._estimate(request_model, response_model, usage, evidence)

    def _estimate(
        self,
        request_model: str | None,
        response_model: str | None,
        usage: TokenUsage,
        evidence: ServingEvidence | None,
    ) -> Outcome:
        """The same of tokens whose counts have been checked."""
        prepared = self._prepared
        found = None
        if prepared.generation is self.catalogue.generation:
            found = prepared.models.get((request_model, response_model))
        if found is None:
            found = self._match_anew(request_model, response_model)
        if found is None:
            return Outcome(reason=self.explain_unknown_model(response_model or request_model))
        return self._build_outcome(found, usage, evidence)

    def shared(self) -> Estimation:
        """One that estimates the same, for all whose settings and profiles are these.

        It holds nothing else of a tracker, such as its user's handler of errors: a session keeps
        it for ``compare``, and a program may make a tracker per request.
        """
        values = (getattr(self.settings, name) for name in declared_defaults(Settings))
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
            usage: The tokens, as ``read_tokens`` gives them: no count needs to be checked.
            evidence: What was seen of the server while it served them, if anything was.
        """
        try:
            return self._estimate(request_model, response_model, usage, evidence)
        except Exception as error:
            self._boundaries.report("estimate", error)
            return Outcome(reason="the estimator failed")

    def record(self, past: PastCall) -> CallRecord:
        """The record of a call that ran somewhere else, which nobody receives."""
        call = past.build_call(lambda call: None, current_session())
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
        basis = self.current_basis()
        if not other.changes.keys() <= {"model"}:
            basis = change_basis(self.settings, self.catalogue, other)
        if other.model is not None:
            match: ModelMatch | None = self.find_model(other.model)
        else:
            match = self.match_model(request_model, response_model)
        if match is None:
            return Outcome(reason=self.explain_unknown_model(response_model or request_model))
        check_token_counts(usage.input_tokens, usage.cached_input_tokens, usage.output_tokens)
        found = MatchedModel(match, basis, self._prepare_estimator(basis, match))
        return self._build_outcome(found, usage, None)

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
        from energy_tracking.calls.aggregates import estimate_sum  # most estimates are of one call

        usage = record.usage
        if usage is None:
            return record
        measured = record.measured_energy_joules if model is None else None
        asked, answered = record.request.model, record.response_model
        other = Alternative(model=model)
        outcome = estimate_sum(
            usage, record.requests, lambda one: self.estimate_as(asked, answered, one, other)
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

    def _match_anew(
        self, request_model: str | None, response_model: str | None
    ) -> MatchedModel | None:
        """The model that these names mean, ready to be estimated as it is set, kept from now on."""
        self.current_basis()
        prepared = self._prepared
        match = self.match_model(request_model, response_model)
        if match is None:
            return None
        basis, names = prepared.basis, (request_model, response_model)
        found = MatchedModel(match, basis, self._prepare_estimator(basis, match))
        if len(prepared.models) >= MAX_NAMES:
            prepared.models.clear()
        # Servers choose names.
        if all(name is None or len(name) <= MAX_NAME for name in names):
            prepared.models[names] = found
        return found

    def _prepare_estimator(self, basis: Basis, match: ModelMatch) -> Estimator:
        """What estimates calls to a matched model, by the profile that the method needs."""
        profile = self.select_profile(basis, match)
        return prepare_estimator(profile, basis.gpu, basis.method, basis.assumptions)

    def _build_outcome(
        self, found: MatchedModel, usage: TokenUsage, evidence: ServingEvidence | None
    ) -> Outcome:
        """The estimate of a matched model, and what stands beside it."""
        basis, match = found.basis, found.match
        estimator = found.estimator
        if evidence is not None:
            estimator = self._learn(estimator, basis, match, usage, evidence)
        is_doubtful = may_be_doubtful(usage, match.rule)
        estimate = estimator.estimate(usage)
        if is_doubtful:
            estimate = widen_by_doubts(estimate, usage, estimator.model, match.rule)
        joules = estimate.prefill_energy_joules + estimate.decode_energy_joules
        if not -MOST_JOULES <= joules + estimate.total_energy_high_joules <= MOST_JOULES:
            self._boundaries.report("estimate", _build_not_finite_error(estimate, usage))
            return Outcome(reason="the estimate is not a finite number")
        avoided = None
        if usage.cached_input_tokens:
            # A cache holds the beginning of the prompt: what it saves is that prompt's price.
            avoided = estimator.price_prompt(usage.cached_input_tokens)
        calibrated = None
        if basis.calibrated is not None:
            # Whatever goes wrong here must not cost the call its own estimate.
            try:
                beside = found.beside
                if beside is None:
                    beside = found.beside = self._prepare_estimator(basis.calibrated, match)
                if evidence is not None:
                    beside = self._learn(beside, basis.calibrated, match, usage, evidence)
                calibrated = beside.estimate(usage)
                if is_doubtful:
                    calibrated = widen_by_doubts(calibrated, usage, beside.model, match.rule)
                joules = calibrated.prefill_energy_joules + calibrated.decode_energy_joules
                if not -MOST_JOULES <= joules + calibrated.total_energy_high_joules <= MOST_JOULES:
                    raise _build_not_finite_error(calibrated, usage)
            except Exception as error:
                calibrated = None
                self._boundaries.report("estimate.calibrated", error)
        return Outcome(estimate, match.rule, None, avoided, calibrated)

    def _learn(
        self,
        estimator: Estimator,
        basis: Basis,
        match: ModelMatch,
        usage: TokenUsage,
        evidence: ServingEvidence,
    ) -> Estimator:
        """The estimator after the server was seen to serve a call; itself if that changes nothing.

        Args:
            estimator: The one of all calls to this model.
            basis: How it estimates.
            match: The matched model.
            usage: The tokens of the call.
            evidence: What was seen of the server.
        """
        if basis.method != CALIBRATED_METHOD:
            return estimator
        profile = self.select_profile(basis, match)
        assumptions = apply_evidence(
            basis.assumptions,
            usage,
            profile,
            basis.gpu,
            evidence,
            match.rule,
            uses_timing=self.settings.timing_evidence,
            is_engine_known=self.settings.engine_year is not None,
        )
        if assumptions is basis.assumptions:
            return estimator
        # Not kept: the next call is another one.
        return METHODS[basis.method](profile, basis.gpu, assumptions)

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
        """The basis, built anew where a profile has been registered since."""
        if self._prepared.generation is not self.catalogue.generation:
            self._prepared = self._prepare()
        return self._prepared.basis

    def _prepare(self) -> Prepared:
        """What calls have in common, as long as no profile is registered."""
        # Taken first: if one is registered meanwhile, this is void.
        generation = self.catalogue.generation
        return Prepared(generation, build_basis(self.settings, self.catalogue), {})


_shared: WeakValueDictionary[tuple[Any, ...], Estimation] = WeakValueDictionary()


def _as_key(value: Any) -> Any:
    """The value of a setting as part of a key."""
    return tuple(value.items()) if isinstance(value, Mapping) else value


class MatchedModel:
    """A model that was found by its name, ready to be estimated.

    Attributes:
        match: The profile, and how it was found.
        basis: How it is estimated.
        estimator: Estimates calls to it.
        beside: Makes the calibrated estimate beside that; None before it is asked for.
    """

    __slots__ = ("basis", "beside", "estimator", "match")

    def __init__(self, match: ModelMatch, basis: Basis, estimator: Estimator) -> None:
        self.match = match
        self.basis = basis
        self.estimator = estimator
        self.beside: Estimator | None = None


@frozen()
class Prepared:
    """What calls have in common, as long as no profile is registered.

    Attributes:
        generation: That of the catalogue from which it was made.
        basis: How calls are estimated.
        models: The models that were asked for, by the names of the request and of the response.
    """

    generation: object
    basis: Basis
    models: dict[tuple[str | None, str | None], MatchedModel]


def _build_not_finite_error(estimate: EnergyEstimate, usage: TokenUsage) -> ArithmeticError:
    """The error of an estimate that is too large to be added up."""
    return ArithmeticError(
        f"{estimate.total_energy_joules} J for model {estimate.model_profile!r} on GPU "
        f"{estimate.gpu!r}, method {estimate.method!r}: {usage}"
    )
