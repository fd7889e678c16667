"""Arguments over environment over defaults, checked as soon as they are read.

The only module that reads the environment, and only when a tracker is made: importing
the library reads nothing.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypedDict

from energy_tracking.errors import ConfigurationError, EnergyTrackingWarning, not_one_of
from energy_tracking.estimator import ATTENTION_MODES, METHODS

PREFIX = "ENERGY_TRACKING_"
INCLUDE_USAGE = ("auto", "always", "never")
SPANS = ("auto", "own", "annotate", "off")


class SettingArguments(TypedDict, total=False):
    """The settings as keyword arguments; None means: not given."""

    gpu: str | None
    method: str | None
    attention_mode: str | None
    include_usage: str | None
    include_usage_hosts: tuple[str, ...] | list[str] | None
    default_model: str | None
    model_mapping: Mapping[str, str] | None
    profiles: str | os.PathLike[str] | None
    spans: str | None
    disabled: bool | None


def _text(text: str) -> str:
    return text


def _flag(text: str) -> bool:
    known = {"1": True, "true": True, "yes": True, "on": True}
    known |= {"0": False, "false": False, "no": False, "off": False}
    try:
        return known[text.lower()]
    except KeyError:
        raise ConfigurationError(not_one_of("flag", text, known)) from None


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _pairs(text: str) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in _names(text)]
    if not all(name.strip() and equals and profile.strip() for name, equals, profile in pairs):
        raise ConfigurationError(
            f"{text!r} is no list of pairs; write model=profile,model=profile"
        )
    return {name.strip(): profile.strip() for name, _, profile in pairs}


def _setting(
    default: Any, doc: str, parse: Callable[[str], Any] = _text, choices: tuple[str, ...] = ()
) -> Any:
    return field(default=default, metadata={"doc": doc, "parse": parse, "choices": choices})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a tracker estimates and reports. Each field's metadata documents it."""

    gpu: str = _setting("H100", "GPU profile the calls are assumed to run on")
    method: str = _setting("reference", "estimator", choices=tuple(METHODS))
    attention_mode: str = _setting(
        "quadratic", "attention term of the reference formula", choices=ATTENTION_MODES
    )
    include_usage: str = _setting(
        "auto",
        "ask chat streams for their usage where the caller left it open: on hosts known to"
        " accept it, on every host, or on none",
        choices=INCLUDE_USAGE,
    )
    include_usage_hosts: tuple[str, ...] = _setting(
        (), "further hosts that accept `stream_options.include_usage`", _names
    )
    default_model: str | None = _setting(None, "profile for models no rule matches")
    model_mapping: Mapping[str, str] | None = _setting(
        None, "model or deployment name to profile", _pairs
    )
    profiles: str | None = _setting(None, "TOML file with more model and GPU profiles")
    spans: str = _setting(
        "auto",
        "where energy goes: onto another instrumentation's span where one is open and on our"
        " own otherwise, always our own, only others', or no spans",
        choices=SPANS,
    )
    disabled: bool = _setting(False, "track nothing", _flag)

    @classmethod
    def load(cls, arguments: SettingArguments, environ: Mapping[str, str] | None = None) -> Settings:
        """Settings from arguments, else the environment, else the defaults.

        Raises:
            ConfigurationError: A value is not one of its choices, or cannot be read; the
                message names the argument or the environment variable.
        """
        environ = os.environ if environ is None else environ
        values: dict[str, Any] = {}
        known = {variable(setting.name) for setting in fields(cls)}
        for name in environ:
            if name.startswith(PREFIX) and name not in known:
                message = not_one_of("environment variable", name, known)
                warnings.warn(message, EnergyTrackingWarning, stacklevel=4)
        for setting in fields(cls):
            given: Any = arguments.get(setting.name)
            text = environ.get(variable(setting.name), "")
            if given is not None:
                values[setting.name] = _checked(setting.name, setting.metadata, given)
            elif text:
                values[setting.name] = _parsed(variable(setting.name), setting.metadata, text)
        values["include_usage_hosts"] = tuple(values.get("include_usage_hosts", ()))
        if "profiles" in values:
            values["profiles"] = os.fspath(values["profiles"])
        return cls(**values)


def variable(setting: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + setting.upper()


def settings_rows() -> list[tuple[str, str, str, str]]:
    """The table of settings: argument, environment variable, default, meaning."""
    rows = []
    for setting in fields(Settings):
        choices = ", ".join(f"`{choice}`" for choice in setting.metadata["choices"])
        meaning = setting.metadata["doc"] + (f" ({choices})" if choices else "")
        default = setting.default
        shown = "" if default in (None, ()) else str(default)
        rows.append((setting.name, variable(setting.name), shown, meaning))
    return rows


def _parsed(name: str, metadata: Mapping[str, Any], text: str) -> Any:
    try:
        value = metadata["parse"](text)
    except ConfigurationError as error:
        raise ConfigurationError(f"{name}: {error}") from None
    return _checked(name, metadata, value)


def _checked(name: str, metadata: Mapping[str, Any], value: Any) -> Any:
    choices = metadata["choices"]
    if choices and value not in choices:
        raise ConfigurationError(f"{name}: {not_one_of('value', value, choices)}")
    return value
