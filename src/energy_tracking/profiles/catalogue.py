"""The model and GPU profiles by name, and which of them the name in a response stands for.

The law: a name means a profile only by a rule that can be said; nothing is guessed from how alike
two names look. The rules, in order: the user's mapping; the exact name or an alias; the same in
another spelling; the same after what ``model_names.RULES`` takes off; the user's default. A name
that is known to have no profile ends the search with its reason.

Profiles are rows of the TOML files that ``files`` reads; a new kind of name is a row of
``model_names.RULES``. What a lookup reads is replaced, never changed, so it takes no lock.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final, TypeVar
from weakref import WeakSet

from energy_tracking.errors import (
    ConfigurationError,
    UnknownGpuError,
    UnknownModelError,
    must_be,
    not_one_of,
    shown,
    with_sentence,
)
from energy_tracking.frozen import frozen
from energy_tracking.lifecycle import call_after_fork
from energy_tracking.profiles.entry import Entry, enter
from energy_tracking.profiles.model_names import (
    find_readings,
    find_stored_format,
    fold_name,
    unify_spelling,
)
from energy_tracking.profiles.profile import GpuProfile, ModelProfile, Profile

_P = TypeVar("_P", bound=Profile)


@frozen()
class NoProfile:
    """Why the name of a known model has no profile.

    Attributes:
        reason: The reason, for the record of a call that could not be estimated.
        is_text_model: Whether a default profile for unknown models may stand in:
            the model generates text, only its size is unknown.
    """

    reason: str
    is_text_model: bool = False


@frozen()
class ModelMatch:
    """The profile a model name stands for, and why.

    Attributes:
        profile: The profile.
        rule: The rules that led to it, in order, joined by ``+``: ``mapping``, ``exact``,
            ``alias``, ``spelling``, ``default`` or those of ``model_names.RULES``; for
            instance ``provider_prefix+snapshot``.
    """

    profile: ModelProfile
    rule: str


_OPEN_WEIGHTS: Final = ("open", "user")
"""Families of models whose weights anyone may store in another format."""

_CACHE_SIZE: Final = 4096
_CACHED_NAME_LENGTH: Final = 256
_UNSEEN: Final[Any] = object()


_GPU_MAKERS: Final = re.compile(
    r"^(?:(?:nvidia|geforce|tesla|amd|instinct|apple|google|cloud|aws|intel)-)+"
)


def _fold_gpu(name: str) -> str:
    """The name without its maker, and with no case or separators: ``RTX 4090`` is ``rtx4090``."""
    folded = re.sub(r"[\s_]+", "-", name.strip().casefold())
    return _GPU_MAKERS.sub("", folded).replace("-", "")


class Catalogue:
    """Model and GPU profiles by name.

    Lookups may run in any number of threads, also while another thread registers:
    what they read is replaced, never changed. A name belongs to the profile that claimed
    it last, as its name or an alias, so that a profile that was registered is always found.

    Attributes:
        generation: Another object whenever a profile has been registered: what was found before
            is void.
    """

    __slots__ = (
        "__weakref__",
        "_extensions",
        "_gpu_aliases",
        "_gpus",
        "_model_aliases",
        "_models",
        "_own",
        "_resolved",
        "_spellings",
        "_without_profile",
        "generation",
    )

    def __init__(
        self,
        models: Iterable[ModelProfile | Entry[ModelProfile]] = (),
        gpus: Iterable[GpuProfile | Entry[GpuProfile]] = (),
        without_profile: Mapping[str, NoProfile] = MappingProxyType({}),
    ) -> None:
        """Hold these profiles.

        Args:
            models: Model profiles, built or not; of two with one name, the later stays.
            gpus: GPU profiles, likewise.
            without_profile: Known model names that have no profile, and why.
        """
        self._models: dict[str, Entry[ModelProfile]] = {}
        self._model_aliases: dict[str, str] = {}
        self._gpus: dict[str, Entry[GpuProfile]] = {}
        self._gpu_aliases: dict[str, str] = {}
        self.generation = object()
        self._own: tuple[Profile, ...] = ()
        self._extensions: WeakSet[Catalogue] = WeakSet()
        self._without_profile = {fold_name(name): why for name, why in without_profile.items()}
        self._resolved: dict[str | None, ModelMatch | NoProfile | None] = {}
        self._spellings = {unify_spelling(name): name for name in self._without_profile}
        self._put_entries(map(enter, models), map(enter, gpus))

    @property
    def models(self) -> tuple[ModelProfile, ...]:
        """All model profiles, in the order they were given."""
        return tuple(entry.profile for entry in self._models.values())

    @property
    def gpus(self) -> tuple[GpuProfile, ...]:
        """All GPU profiles, in the order they were given."""
        return tuple(entry.profile for entry in self._gpus.values())

    @property
    def without_profile(self) -> Mapping[str, NoProfile]:
        """Known model names that have no profile, and why."""
        return MappingProxyType(self._without_profile)

    def copy(self) -> Catalogue:
        """A catalogue with the same profiles, to add to without changing this one."""
        other = Catalogue()
        for name in _COPIED:
            setattr(other, name, getattr(self, name))
        return other

    def extended(self) -> Catalogue:
        """A copy that also sees what is registered here later; its own profiles win."""
        with _registering:
            other = self.copy()
            self._extensions.add(other)
        return other

    def extended_by(self, profiles: tuple[Profile, ...]) -> Catalogue:
        """One that is extended by these profiles, the same for all who ask for it.

        A program may make a tracker per request, each of which reads its file of profiles.
        """
        with _registering:
            for known in tuple(self._extensions):
                if known._own == profiles:
                    return known
            other = self.extended()
            for profile in profiles:
                other._register_profile(profile)
        return other

    def register_model(self, profile: ModelProfile) -> None:
        """Add a model profile, in place of one with the same name.

        Names that led to the profile replaced lead to the new one; so do those that led to
        a profile whose name is one of its aliases.
        """
        self._register_profile(profile)

    def register_gpu(self, profile: GpuProfile) -> None:
        """Add a GPU profile, in place of one with the same name; aliases as for models."""
        self._register_profile(profile)

    def _register_profile(self, profile: Profile) -> None:
        with _registering:
            self._own = (*self._own, profile)
            self._put_profiles((profile,))
            for extension in self._extensions:
                extension._put_registered_below(profile)

    def _put_registered_below(self, profile: Profile) -> None:
        """Add a profile that is not one of its own."""
        self._put_profiles((profile, *self._own))
        for extension in self._extensions:
            extension._put_registered_below(profile)

    def _put_profiles(self, profiles: tuple[Profile, ...]) -> None:
        self._put_entries(
            (enter(profile) for profile in profiles if isinstance(profile, ModelProfile)),
            (enter(profile) for profile in profiles if isinstance(profile, GpuProfile)),
        )

    def _put_entries(
        self, new_models: Iterable[Entry[ModelProfile]], new_gpus: Iterable[Entry[GpuProfile]]
    ) -> None:
        models, model_aliases = dict(self._models), dict(self._model_aliases)
        gpus, gpu_aliases = dict(self._gpus), dict(self._gpu_aliases)
        spellings = dict(self._spellings)
        for gpu in new_gpus:
            _add_entry(gpu, gpus, gpu_aliases, _fold_gpu)
        for model in new_models:
            _add_spellings(_add_entry(model, models, model_aliases, fold_name), spellings)
        self._gpus, self._gpu_aliases = gpus, gpu_aliases
        self._models, self._model_aliases, self._spellings = models, model_aliases, spellings
        # Last, so that no answer from before can be stored for after.
        self._resolved = {}
        self.generation = object()

    def model(self, name: str) -> ModelProfile:
        """The model profile with this name or alias.

        Raises:
            UnknownModelError: There is none; says the nearest names, and how to
                register one.
        """
        if not isinstance(name, str):
            raise UnknownModelError(must_be("model", "a string", name))
        profile = self._find_model(fold_name(name))
        if profile is None:
            what = "the name of a model profile"
            reason = self.explain_no_profile(name)
            raise UnknownModelError(
                with_sentence(
                    must_be("model", what, name, f"it has none: {reason}")
                    if reason
                    else not_one_of("model", name, _list_names(self._models), what),
                    "`energy-tracking models` lists all. To use one of your own:"
                    " register_model_profile(ModelProfile(...)), or a"
                    f" [models.{shown(name)}] table in a TOML file"
                    " that ENERGY_TRACKING_PROFILES names.",
                )
            )
        return profile

    def gpu(self, name: str) -> GpuProfile:
        """The GPU profile with this name or alias.

        Raises:
            UnknownGpuError: There is none; says the nearest names, and how to
                register one.
        """
        if not isinstance(name, str):
            raise UnknownGpuError(must_be("gpu", "a string", name))
        profile = _find_profile(self._gpus, self._gpu_aliases, _fold_gpu(name))
        if profile is None:
            raise UnknownGpuError(
                with_sentence(
                    not_one_of("gpu", name, _list_names(self._gpus), "the name of a GPU profile"),
                    "`energy-tracking gpus` lists all. To use one of your own:"
                    " register_gpu_profile(GpuProfile(...)), or a"
                    f" [gpus.{shown(name)}] table in a TOML file"
                    " that ENERGY_TRACKING_PROFILES names.",
                )
            )
        return profile

    def corrected_model(self, profile: ModelProfile) -> ModelProfile:
        """The profile with better numbers for the same model, itself if none."""
        if not profile.corrected:
            return profile
        return self._find_model(fold_name(profile.corrected)) or profile

    def corrected_gpu(self, profile: GpuProfile) -> GpuProfile:
        """The profile with better numbers for the same GPU, itself if none."""
        better = self._gpus.get(_fold_gpu(profile.corrected))
        return profile if better is None else better.profile

    def match(
        self,
        name: str | None,
        mapping: Mapping[str, str] | None = None,
        default: str | None = None,
    ) -> ModelMatch | None:
        """The profile the model name of a response stands for, never raising.

        The rules, in order: the user's mapping; the exact name or an alias, case
        ignored; the same in another spelling (``llama3.1:8b``, ``llama-v3p1-8b``); the
        same after taking off what ``model_names.RULES`` lists, such as a provider prefix
        or a snapshot's date; the default. Nothing is guessed from how alike two names
        look. Where the name says how the weights are stored, so does the profile.

        Args:
            name: Model name as the server gave it.
            mapping: The user's names to profile names, as ``check_mapping`` gives it.
            default: Profile for names no other rule explains. It does not stand in
                for models known to be something else, such as embeddings.

        Returns:
            The profile and the rule, or None.
        """
        if mapping and name is not None:
            target = mapping.get(name)
            if target is None:
                target = mapping.get(fold_name(name))
            if target is not None:
                mapped = self._find_model(fold_name(target))
                return None if mapped is None else ModelMatch(mapped, "mapping")
        found = self._resolved.get(name, _UNSEEN)
        if found is _UNSEEN:
            found = self._resolve_name(name)
        if isinstance(found, ModelMatch):
            return found
        if default is None or (found is not None and not found.is_text_model):
            return None
        fallback = self._find_model(fold_name(default))
        return None if fallback is None else ModelMatch(fallback, "default")

    def explain_no_profile(self, name: str | None) -> str | None:
        """Why a known model name has no profile, None if it has or is not known."""
        found = self._resolved.get(name, _UNSEEN)
        if found is _UNSEEN:
            found = self._resolve_name(name)
        return found.reason if isinstance(found, NoProfile) else None

    def check_mapping(self, mapping: Mapping[str, str]) -> dict[str, str]:
        """A user's mapping of model names, checked and ready for ``match``.

        Args:
            mapping: Names as servers give them, such as Azure deployment names, to
                names of model profiles.

        Returns:
            The mapping with its keys folded, so that case is ignored.

        Raises:
            ConfigurationError: A value names no profile.
        """
        for name, target in mapping.items():
            try:
                self.model(target)
            except UnknownModelError as error:
                _, rule, message = str(error).partition(" must be ")
                raise ConfigurationError(f"model_mapping[{name!r}]{rule}{message}") from None
        return {fold_name(name): target for name, target in mapping.items()}

    def _find_model(self, folded: str) -> ModelProfile | None:
        return _find_profile(self._models, self._model_aliases, folded)

    def _resolve_name(self, name: str | None) -> ModelMatch | NoProfile | None:
        """What the rules say of a name, kept for the next time."""
        # Taken first: if a registration comes between, the answer goes to the old one.
        resolved = self._resolved
        found = self._match_readings(name) if name else None
        if name is None or len(name) <= _CACHED_NAME_LENGTH:
            if len(resolved) >= _CACHE_SIZE:
                resolved.clear()
            resolved[name] = found
        return found

    def _match_readings(self, name: str) -> ModelMatch | NoProfile | None:
        """The first of a name's readings that is known."""
        for reading in find_readings(name):
            target, how = self._find_target(reading.name)
            if target in self._without_profile and target not in self._models:
                return self._without_profile[target]
            entry = self._models.get(target)
            if entry is None:
                continue
            profile = entry.profile
            stored = reading.weight_format
            if profile.family in _OPEN_WEIGHTS:
                # An alias may hold the format that a rule would have taken off.
                stored = stored or (find_stored_format(reading.name) if how != "exact" else "")
            elif any(rule.open_weights for rule in reading.rules):
                continue
            steps = [rule.name for rule in reading.rules]
            if how != "exact" or not steps:
                steps.append(how)
            return ModelMatch(_replace_format(profile, stored), "+".join(steps))
        return None

    def _find_target(self, folded: str) -> tuple[str, str]:
        """The name, of a profile or without one, that a folded name is, and by which rule."""
        name = _follow_aliases(folded, self._model_aliases)
        if name != folded:
            return name, "alias"
        if folded in self._models or folded in self._without_profile:
            return folded, "exact"
        spelt = self._spellings.get(unify_spelling(folded), "")
        return _follow_aliases(spelt, self._model_aliases), "spelling"


def _replace_format(profile: ModelProfile, weight_format: str) -> ModelProfile:
    """The profile with its weights in another format than the one it is shipped in."""
    if weight_format in ("", profile.weight_format):
        return profile
    provenance = {key: of for key, of in profile.provenance.items() if key != "weight_bytes"}
    return replace(profile, weight_format=weight_format, weight_bytes=None, provenance=provenance)


def _add_entry(
    entry: Entry[_P],
    entries: dict[str, Entry[_P]],
    aliases: dict[str, str],
    fold: Callable[[str], str],
) -> list[str]:
    """Put a profile under its folded name, and its aliases beside it; returns them, folded."""
    name, *others = names = list(map(fold, (entry.name, *entry.aliases)))
    entries[name] = entry
    aliases.update(dict.fromkeys(others, name))
    # Its name is not another's alias any longer.
    aliases.pop(name, None)
    return names


def _follow_aliases(folded: str, aliases: Mapping[str, str]) -> str:
    """The folded name of the profile that a name leads to, itself where it is no alias.

    An alias may stand for a name that is another profile's alias by now. They form no
    circle: the profile that comes last takes its own name out of the aliases.
    """
    while folded in aliases:
        folded = aliases[folded]
    return folded


def _add_spellings(names: list[str], spellings: dict[str, str]) -> None:
    """Let other spellings of names lead to a profile, also without a repository's owner.

    Args:
        names: The profile's name and its aliases, folded.
        spellings: Spelling -> name of the profile.
    """
    for name in names:
        spellings[unify_spelling(name)] = names[0]
        if "/" in name:
            spellings[unify_spelling(name.rpartition("/")[2])] = names[0]


def _find_profile(
    entries: Mapping[str, Entry[_P]], aliases: Mapping[str, str], folded: str
) -> _P | None:
    """The profile with this folded name or alias."""
    entry = entries.get(_follow_aliases(folded, aliases))
    return None if entry is None else entry.profile


def _list_names(entries: Mapping[str, Entry[_P]]) -> list[str]:
    """All names as written, aliases last."""
    return [entry.name for entry in entries.values()] + [
        alias for entry in entries.values() for alias in entry.aliases
    ]


_COPIED: Final = (
    *("_models", "_model_aliases", "_spellings", "_without_profile"),
    *("_gpus", "_gpu_aliases"),
)
_registering = threading.RLock()


def _renew_lock() -> None:
    """In the child of a fork, where another thread may hold it for ever."""
    global _registering
    _registering = threading.RLock()


call_after_fork(_renew_lock)
