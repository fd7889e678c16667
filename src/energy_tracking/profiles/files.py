"""The profiles that come with the library or are registered, and the reader of profile files.

A profile file is TOML. ``[models."name"]`` and ``[gpus."name"]`` tables hold the fields of
``ModelProfile`` and ``GpuProfile``. A number stands alone or as
``{ value, low, high, grade, source }``. ``like = "other"`` takes the numbers of another profile.
``[families.name]`` holds what tables with ``family = "name"`` need not repeat: ``grade``,
``source``, and per field a number, or only its grade and source.

Of a number, the first that has it counts: the table, the profile it is like, the family. A new
model or GPU is a table in ``data/``; a new field is one of the profile and a row of its bounds.

TOML is slow to read, and the first tracker of a process waits for it: what comes with the library
is read from ``data/profiles.json``, which ``python tests/profiles_json.py`` makes of the tables.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, replace
from datetime import date
from functools import cache, partial
from typing import Any, Final, Generic, TypeVar

from energy_tracking.bounds import Bound, is_number
from energy_tracking.errors import ConfigurationError, ProfileError, must_be, not_one_of, shown
from energy_tracking.frozen import declared_defaults, fill_fields, frozen
from energy_tracking.lifecycle import call_after_fork
from energy_tracking.profiles.catalogue import Catalogue, NoProfile
from energy_tracking.profiles.entry import Entry, enter
from energy_tracking.profiles.profile import (
    GPU_BOUNDS,
    MODEL_BOUNDS,
    GpuProfile,
    ModelProfile,
    Profile,
    Quantity,
)

_P = TypeVar("_P", bound=Profile)

MAX_FILE_BYTES = 16 * 2**20
"""Longer profile files are refused [byte]: ours are a thousandth of it."""


@frozen()
class Source:
    """Where numbers come from.

    Attributes:
        title: What it is.
        where: Link, file or formula.
        read: Day it was read.
        notes: What a reader should know.
    """

    title: str
    where: str
    read: date
    notes: str = ""


@cache
def load_catalogue() -> Catalogue:
    """The profiles that come with the library, read once, each built when it is needed.

    One object for the whole process: copy it before registering anything.
    """
    models, gpus, without_profile = _read_shipped()
    return Catalogue(models.values(), gpus.values(), without_profile)


@cache
def _read_shipped() -> tuple[
    dict[str, Entry[ModelProfile]], dict[str, Entry[GpuProfile]], dict[str, NoProfile]
]:
    """The shipped profiles by their names in small letters, and known names without one."""
    import json  # loaded with the first tracker, as is the file

    document = json.loads(_read_data("profiles.json"))
    models, gpus = document["models"], document["gpus"]
    without_profile = {
        name: NoProfile(group["reason"], group.get("is_text_model", False))
        for group in models["no_basis"]
        for name in group["names"]
    }
    return _list_tables(_MODELS, models), _list_tables(_GPUS, gpus), without_profile


def _list_tables(kind: _Kind[_P], document: Mapping[str, Any]) -> dict[str, Entry[_P]]:
    """The profiles of one kind by their names in small letters, none of them built.

    Args:
        kind: Models or GPUs.
        document: The parsed file, whose numbers a test has checked: that takes longer than to
            read them.
    """
    families = {name: _read_family(table) for name, table in document["families"].items()}
    listed: dict[str, Entry[_P]] = {}
    for name, table in document[kind.table].items():
        build = partial(_build_profile, kind, name, table, families, listed, is_checked=True)
        listed[name.casefold()] = Entry(name, tuple(table.get("aliases", ())), build)
    return listed


_catalogue_lock = threading.RLock()
_catalogue: Catalogue | None = None


def get_catalogue() -> Catalogue:
    """The process-wide profiles: those shipped and those registered."""
    global _catalogue
    with _catalogue_lock:
        if _catalogue is None:
            loaded = load_catalogue().copy()
            # A signal handler may have come here while it was loaded.
            _catalogue = _catalogue or loaded
        return _catalogue


def register_model_profile(profile: ModelProfile) -> None:
    """Add a model profile to the process-wide ones; the same name is replaced.

    Raises:
        ProfileError: It is no ``ModelProfile``.
    """
    if not isinstance(profile, ModelProfile):
        raise ProfileError(must_be("profile", "a ModelProfile", profile))
    get_catalogue().register_model(profile)


def register_gpu_profile(profile: GpuProfile) -> None:
    """Add a GPU profile to the process-wide ones; the same name is replaced.

    Raises:
        ProfileError: It is no ``GpuProfile``.
    """
    if not isinstance(profile, GpuProfile):
        raise ProfileError(must_be("profile", "a GpuProfile", profile))
    get_catalogue().register_gpu(profile)


def _renew_catalogue_lock() -> None:
    """Replace the lock in the child of a fork, where another thread may hold it for ever."""
    global _catalogue_lock
    _catalogue_lock = threading.RLock()


call_after_fork(_renew_catalogue_lock)


@cache
def load_sources() -> Mapping[str, Source]:
    """The sources of the library's own numbers, by key."""
    return {key: Source(**table) for key, table in _parse_toml(_read_data("sources.toml")).items()}


def read_profiles(
    path: str | os.PathLike[str],
) -> tuple[tuple[ModelProfile, ...], tuple[GpuProfile, ...]]:
    """Model and GPU profiles from a user's TOML file.

    Args:
        path: The file.

    Returns:
        The model profiles and the GPU profiles, in the order of the file.

    Raises:
        ConfigurationError: The file cannot be read, or is not TOML.
        ProfileError: A table, key or value is wrong; names file, table, key, value
            and bound.
    """
    document = _read_document(path)
    where = f"profile file {os.fspath(path)}"
    try:
        _check_table(document, ("families", _MODELS.table, _GPUS.table))
    except ProfileError as error:
        raise ProfileError(f"{where}: {error}") from None
    models, gpus, _ = _read_shipped()
    return (
        _build_profiles(_MODELS, document, where, models.values()),
        _build_profiles(_GPUS, document, where, gpus.values()),
    )


def extend_catalogue(base: Catalogue, path: str | os.PathLike[str]) -> Catalogue:
    """A catalogue, with the profiles of a user's TOML file before its own.

    Args:
        base: The catalogue; it stays as it is.
        path: The file.

    Raises:
        ConfigurationError: As ``read_profiles``.
    """
    models, gpus = read_profiles(path)
    return base.extended_by((*models, *gpus))


def _read_document(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A user's TOML file.

    Raises:
        ConfigurationError: The file cannot be read, is too long, or is not TOML.
    """
    reason: object
    try:
        if not stat.S_ISREG(os.stat(path).st_mode) and not os.path.isdir(path):
            # A pipe would be waited for, for ever.
            raise OSError(errno.EINVAL, "it is no regular file")
        with open(path, "rb") as file:
            text = file.read(MAX_FILE_BYTES + 1)
        if len(text) <= MAX_FILE_BYTES:
            # Editors of Windows put a mark before it.
            return _parse_toml(text.decode("utf-8-sig"))
        reason = f"it is longer than {MAX_FILE_BYTES:,} bytes"
    except OSError as error:
        reason = error.strerror
    except RecursionError:
        reason = "it is nested too deep"
    except ValueError as error:
        reason = error
    message = must_be("profiles", "a TOML file that can be read", os.fspath(path))
    raise ConfigurationError(f"{message}: {reason}")


def _parse_toml(text: str) -> dict[str, Any]:
    import tomllib  # for a user's file, not with the library

    return tomllib.loads(text)


def _read_data(name: str) -> str:
    """A data file of this package, which may lie in an archive."""
    # Lighter than pkgutil and importlib.resources, which do the same.
    loader: Any = __spec__.loader
    path = os.path.join(os.path.dirname(__file__), "data", name)
    data: bytes = loader.get_data(path)
    return data.decode("utf-8")


@frozen()
class _Kind(Generic[_P]):
    """What differs between the tables of models and of GPUs."""

    table: str
    noun: str
    profile: type[_P]
    bounds: Mapping[str, Bound]
    texts: tuple[str, ...]


_TEXTS: Final = ("family", "like", "grade", "source", "corrected", "notes")
_MODELS: Final = _Kind("models", "model", ModelProfile, MODEL_BOUNDS, (*_TEXTS, "weight_format"))
_GPUS: Final = _Kind("gpus", "GPU", GpuProfile, GPU_BOUNDS, _TEXTS)

_QUANTITY: Final = ("value", "low", "high", "grade", "source")
_NEEDED: Final[Mapping[type[Any], tuple[str, ...]]] = {
    profile: tuple(
        name
        for name, default in declared_defaults(profile).items()
        if name not in ("name", "provenance") and default is MISSING
    )
    for profile in (ModelProfile, GpuProfile)
}
"""The numbers without a default."""

_NO_NUMBER: Final = dict.fromkeys(_QUANTITY)
_USER_FAMILY: Final = {"grade": "C", "source": "user"}


def _build_profiles(
    kind: _Kind[_P],
    document: Mapping[str, Any],
    where: str,
    builtin: Iterable[Entry[_P]] = (),
) -> tuple[_P, ...]:
    """The profiles of one kind in a user's file, checked.

    Args:
        kind: Models or GPUs.
        document: The parsed file.
        where: The file, for messages.
        builtin: Profiles that ``like`` may name besides the file's own.
    """
    families = {}
    known = {name.casefold(): one for one in builtin for name in (one.name, *one.aliases)}
    read = []
    claimed: dict[str, str] = {}
    here = where
    try:
        for name, table in _check_table(document.get("families", {}), what="families").items():
            here = _name_table(where, "families", name)
            families[name] = _read_family(table)
        here = where
        for name, table in _check_table(document.get(kind.table, {}), what=kind.table).items():
            here = _name_table(where, kind.table, f'"{name}"')
            profile = _build_profile(kind, name, table, families, known, is_checked=False)
            _claim_names(profile, claimed)
            known[name.casefold()] = enter(profile)
            read.append(profile)
    except ProfileError as error:
        joint = " " if str(error).startswith("must ") else ": "
        raise ProfileError(f"{here}{joint}{error}") from None
    return tuple(read)


def _name_table(where: str, kind: str, name: str) -> str:
    """A table of a file, as messages name it.

    Args:
        where: The file.
        kind: What it is a table of.
        name: Its name.

    Raises:
        ProfileError: The name cannot be shown.
    """
    if not name.isprintable():
        raise ProfileError(must_be(f"[{kind}]: names", "without control characters", name))
    return f"{where}: [{kind}.{name}]"


def _claim_names(profile: Profile, claimed: dict[str, str]) -> None:
    """Note the names of a profile as its own.

    Args:
        profile: The profile.
        claimed: Names in small letters, and whose they are.

    Raises:
        ProfileError: Another profile of the file has one of them.
    """
    for name in {name.casefold(): name for name in (*profile.aliases, profile.name)}.values():
        if name.casefold() in claimed:
            owner = claimed[name.casefold()]
            what = f"names of this profile alone, and not of {shown(owner)}"
            raise ProfileError(must_be("name and aliases", what, name))
        claimed[name.casefold()] = profile.name


def _read_family(table: object) -> dict[str, Any]:
    """The defaults of a family: grade, source, and a table per number."""
    known = ("grade", "source", *MODEL_BOUNDS, *GPU_BOUNDS)
    return {
        key: given if key in _USER_FAMILY else _expand_number(key, given)
        for key, given in _check_table(table, known).items()
    }


def _build_profile(
    kind: _Kind[_P],
    name: str,
    given: object,
    families: Mapping[str, Mapping[str, Any]],
    known: Mapping[str, Entry[_P]],
    *,
    is_checked: bool,
) -> _P:
    """One profile from its table, its family's defaults and the profile it is like."""
    table = _check_table(given, ("aliases", *kind.texts, *kind.bounds))
    for key in kind.texts:
        if not isinstance(table.get(key, ""), str):
            raise ProfileError(must_be(key, "a string", table[key]))
    named = known.get(table["like"].casefold()) if "like" in table else None
    like = None if named is None else named.profile
    if like is None and "like" in table:
        names = (entry.name for entry in known.values())
        what = f"the name of a {kind.noun} profile"
        raise ProfileError(not_one_of("like", table["like"], dict.fromkeys(names), what))
    family = table.get("family", "user" if like is None else like.family)
    defaults = families.get(family, {})
    above = defaults if like is None else {"grade": like.grade, "source": like.source}
    origin = {key: table.get(key, above.get(key, last)) for key, last in _USER_FAMILY.items()}
    values, provenance = _collect_numbers(
        kind, table, like, defaults, origin, is_checked=is_checked
    )
    _check_complete(kind, values)
    weight_format = table.get("weight_format", getattr(like, "weight_format", ""))
    if weight_format:
        values["weight_format"] = weight_format
    values |= origin
    values["name"], values["family"] = name, family
    aliases = table.get("aliases", ())
    values["aliases"] = tuple(aliases) if is_checked else aliases
    values["corrected"], values["notes"] = table.get("corrected", ""), table.get("notes", "")
    values["provenance"] = provenance
    if is_checked:
        return fill_fields(kind.profile, declared_defaults(kind.profile) | values)
    return kind.profile(**values)


def _collect_numbers(
    kind: _Kind[_P],
    table: Mapping[str, Any],
    like: _P | None,
    defaults: Mapping[str, Any],
    origin: Mapping[str, str],
    *,
    is_checked: bool,
) -> tuple[dict[str, Any], dict[str, Quantity]]:
    """Every number of a profile by its field, and where it comes from.

    Args:
        kind: Models or GPUs.
        table: The profile's own table.
        like: The profile whose numbers stand where the table has none.
        defaults: What the family says of each number.
        origin: Grade and source of the profile.
        is_checked: Whether the numbers are those of the library, which a test has checked.
    """
    values: dict[str, Any] = {}
    provenance: dict[str, Quantity] = {}
    for key in kind.bounds:
        if like is not None and key not in table:
            values[key] = getattr(like, key)
            if (number := like.provenance.get(key)) is not None:
                # Another's number is at most as good as the likeness itself.
                worse = number.grade < origin["grade"]
                provenance[key] = replace(number, grade=origin["grade"]) if worse else number
            continue
        stated = _expand_number(key, table[key]) if key in table else {}
        quantity = {**_NO_NUMBER, **origin, **defaults.get(key, {}), **stated}
        if quantity["value"] is not None:
            number = provenance[key] = fill_fields(Quantity, quantity)
            if not is_checked:
                _check_number(key, number, kind.bounds[key])
            value = quantity["value"]
            values[key] = float(value) if is_checked and not kind.bounds[key].is_whole else value
        elif stated:
            raise ProfileError(must_be(key, "a number, or a table with a value", table[key]))
    if (active := provenance.get("num_active_params")) is not None:
        ends = {"num_active_params_low": active.low, "num_active_params_high": active.high}
        values.update((key, end) for key, end in ends.items() if key not in table)
    return values, provenance


def _check_number(key: str, number: Quantity, bound: Bound) -> None:
    """Check a number and its ends.

    Args:
        key: Its field.
        number: The number.
        bound: What it and its ends may be.

    Raises:
        ProfileError: One is out of bounds, or its ends are not around it.
    """
    try:
        number.__post_init__()
    except ProfileError as error:
        raise ProfileError(f"{key}: {error}") from None
    for end, given in (
        (key, number.value),
        (f"{key}.low", number.low),
        (f"{key}.high", number.high),
    ):
        if given is not None and not bound.holds(given):
            raise ProfileError(must_be(end, bound.text, given))


def _check_complete(kind: _Kind[_P], values: Mapping[str, Any]) -> None:
    """Check that every number without a default is there."""
    missing = [name for name in _NEEDED[kind.profile] if name not in values]
    if missing:
        raise ProfileError(f"{', '.join(missing)} must be given")


def _check_table(given: object, known: tuple[str, ...] = (), what: str = "") -> Mapping[str, Any]:
    """The table as given, if it is one and its keys are known, where any are."""
    if not isinstance(given, Mapping):
        raise ProfileError(must_be(what, "a table", given))
    for key in given if known else ():
        if key not in known:
            raise ProfileError(not_one_of(f"{what}: key" if what else "key", key, known))
    return given


def _expand_number(key: str, given: object) -> Mapping[str, Any]:
    """A number as the table it is short for."""
    if type(given) is int or type(given) is float:
        return {"value": given}
    table = _check_table(given if isinstance(given, Mapping) else {"value": given}, _QUANTITY, key)
    for part in ("value", "low", "high"):
        number = table.get(part, 0)
        if not is_number(number):
            raise ProfileError(must_be(key, "a number", number))
    return table
