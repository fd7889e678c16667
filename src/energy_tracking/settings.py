"""Arguments over environment over defaults, checked as soon as they are read.

The only module that reads settings from the environment, and only when a tracker is made:
importing the library reads nothing.

The order: ``Settings.load`` takes the argument, else the variable, else the default; each value
goes through the check of its field; then those that depend on each other are checked together.
What goes wrong names the argument or the variable (``naming``).

A new setting is a key of ``SettingArguments`` and a field of ``Settings`` with its default, its
meaning and its check; the README's table is made of these.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import field, fields
from difflib import get_close_matches
from functools import cache
from inspect import cleandoc
from textwrap import fill
from typing import Any, TypedDict, TypeVar

from energy_tracking.bounds import is_choice, read_path
from energy_tracking.calls.tags import TAG_NAME
from energy_tracking.errors import ConfigurationError, EnergyTrackingWarning, must_be, not_one_of
from energy_tracking.estimator import ATTENTION_MODES, METHODS, SCOPES
from energy_tracking.estimator.serving import (
    SERVING_BOUNDS,
)
from energy_tracking.frozen import frozen
from energy_tracking.hosts import read_host
from energy_tracking.notices import is_first
from energy_tracking.profiles.weight_formats import WEIGHT_FORMATS
from energy_tracking.setting_effects import check_together
from energy_tracking.setting_names import PREFIX, naming, variable

INCLUDE_USAGE = ("auto", "always", "never")
SPANS = ("auto", "own", "annotate", "off")
METRICS = ("on", "off")


class SettingArguments(TypedDict, total=False):
    """The settings as keyword arguments; None means: not given."""

    gpu: str | None
    method: str | None
    attention_mode: str | None
    scope: str | None
    concurrency_per_gpu: float | None
    sequences: float | None
    num_gpus: float | None
    weight_bytes: float | None
    weight_format: str | None
    expert_parallel: int | None
    engine_year: int | None
    speculative: bool | None
    timing_evidence: bool | None
    include_usage: str | None
    include_usage_hosts: Iterable[str] | None
    default_model: str | None
    model_mapping: Mapping[str, str] | None
    profiles: str | os.PathLike[str] | None
    spans: str | None
    metrics: str | None
    metric_tags: Iterable[str] | None
    ledger: str | os.PathLike[str] | None
    summary: bool | None
    disabled: bool | None


# Each reads what an argument or a variable gives. The message of what it raises begins with
# "must be"; the setting's name is put before it.


def _read_text(given: object) -> str:
    if not isinstance(given, str):
        raise ConfigurationError(must_be("", "a string", given))
    return given


def _read_path(given: object) -> str:
    return os.path.expanduser(read_path("", given))


_FLAGS = {"1": True, "true": True, "yes": True, "on": True}
_FLAGS |= {"0": False, "false": False, "no": False, "off": False}


def _read_flag(given: object) -> bool:
    if isinstance(given, bool):
        return given
    if not isinstance(given, str) or given.lower() not in _FLAGS:
        words = ", ".join(map(repr, _FLAGS))
        raise ConfigurationError(must_be("", f"True, False or one of {words}", given))
    return _FLAGS[given.lower()]


def _make_number_reader(name: str) -> Callable[[object], float]:
    """A reader of a number, by the name of its bound."""
    bound = SERVING_BOUNDS[name]

    def read_number(given: object) -> float:
        number = given
        if isinstance(given, str):
            with suppress(ValueError):
                number = float(given)
        if not bound.holds(number):
            raise ConfigurationError(must_be("", bound.text, given))
        return bound.check("", number)

    return read_number


def _read_names(given: object) -> tuple[str, ...]:
    names = given.split(",") if isinstance(given, str) else given
    listed: tuple[Any, ...] = (None,)
    if isinstance(names, Iterable):
        with suppress(Exception):  # what is iterable by its type may not be, as an array of none
            listed = tuple(names)
    if not all(isinstance(name, str) for name in listed):
        raise ConfigurationError(must_be("", "a list of names", given, "write name,name"))
    return tuple(name.strip() for name in listed if name.strip())


def _read_hosts(given: object) -> tuple[str, ...]:
    return tuple(map(read_host, _read_names(given)))


def _read_tags(given: object) -> tuple[str, ...]:
    names = _read_names(given)
    for name in names:
        if not TAG_NAME.fullmatch(name):
            what = "names of tags, of letters, digits, '_' and '-', a letter first"
            raise ConfigurationError(must_be("", what, name))
    return names


def _read_pairs(given: object) -> dict[str, str]:
    pairs = given
    if isinstance(given, str):
        parted = [pair.partition("=") for pair in _read_names(given)]
        pairs = {name.strip(): profile.strip() for name, _, profile in parted}
    if not isinstance(pairs, Mapping) or not all(
        part and isinstance(part, str) for pair in pairs.items() for part in pair
    ):
        remedy = "write model=profile,model=profile"
        raise ConfigurationError(must_be("", "pairs of model and profile", given, remedy))
    return dict(pairs)


def _setting_field(
    default: Any,
    doc: str,
    read: Callable[[object], Any] = _read_text,
    choices: Iterable[str] = (),
    is_of_serving: bool = False,
) -> Any:
    metadata = {"doc": doc, "read": read, "choices": tuple(choices), "is_of_serving": is_of_serving}
    return field(default=default, metadata=metadata)


def _serving_setting(
    doc: str, read: Callable[[object], Any] = _read_text, choices: Iterable[str] = ()
) -> Any:
    """A setting about how the models are served, of which the seed's formula knows nothing."""
    return _setting_field(
        None, f"for the calibrated number: {doc}", read, choices, is_of_serving=True
    )


@frozen(kw_only=True)
class Settings:
    """How a tracker estimates and reports. Each field's metadata documents it."""

    gpu: str = _setting_field("H100", "GPU profile the calls are assumed to run on")
    method: str = _setting_field(
        "reference",
        "estimator: the project's seed formula with the calibrated number beside it, or the"
        " calibrated number alone",
        choices=METHODS,
    )
    attention_mode: str = _setting_field(
        "quadratic",
        "attention term of the `reference` formula; refused with `roofline`, which has none",
        choices=ATTENTION_MODES,
    )
    scope: str = _setting_field(
        "gpu",
        "what `roofline` counts: the GPU boards, or the whole facility; `reference`, and the"
        " calibrated number beside it, count the boards",
        choices=SCOPES,
    )
    concurrency_per_gpu: float | None = _serving_setting(
        "sequences decoded together, divided by the GPUs that hold the model, taken as known;"
        " unset: 32 for a model of 70e9 parameters, more for smaller and fewer for larger ones,"
        " and a range of a factor of 32 either way",
        _make_number_reader("concurrency_per_gpu"),
    )
    sequences: float | None = _serving_setting(
        "sequences decoded together on all GPUs that hold the model, in place of"
        " `concurrency_per_gpu`",
        _make_number_reader("sequences"),
    )
    num_gpus: float | None = _serving_setting(
        "GPUs that hold one copy of the model; unset: as many as its weights need",
        _make_number_reader("num_gpus"),
    )
    weight_bytes: float | None = _serving_setting(
        "bytes per weight as served; unset: those of `weight_format`",
        _make_number_reader("weight_bytes"),
    )
    weight_format: str | None = _serving_setting(
        "format of the weights as served; unset: the one the model is shipped in, FP8 for closed"
        " models where the GPU has it",
        choices=WEIGHT_FORMATS,
    )
    expert_parallel: int | None = _serving_setting(
        "GPUs that the experts of a mixture are spread over, each expert whole on one; unset: all"
        " that hold the model. For engines of 2025 or before, whose busiest GPU sets the pace",
        _make_number_reader("expert_parallel"),
    )
    engine_year: int | None = _serving_setting(
        "year of the serving engine's release: up to 2025 (vLLM 0.11) experts were not balanced and"
        " narrow weights cost more, up to 2024 (vLLM 0.5) the GPU waited for its scheduler; unset:"
        " 2026",
        _make_number_reader("engine_year"),
    )
    speculative: bool | None = _serving_setting(
        "whether a draft model or head proposes tokens (speculative decoding, multi-token"
        " prediction); unset: not known, which widens the range",
        _read_flag,
    )
    timing_evidence: bool = _setting_field(
        False,
        "let the speed of a stream narrow the concurrency of `roofline`: for open models, on a"
        " GPU that `gpu` names",
        _read_flag,
    )
    include_usage: str = _setting_field(
        "auto",
        "ask chat streams for their usage where the caller left it open: on hosts known to"
        " accept it, on every host, or on none",
        choices=INCLUDE_USAGE,
    )
    include_usage_hosts: tuple[str, ...] = _setting_field(
        (),
        "further hosts that accept `stream_options.include_usage`: host, host:port or URL",
        _read_hosts,
    )
    default_model: str | None = _setting_field(None, "profile for models no rule matches")
    model_mapping: Mapping[str, str] | None = _setting_field(
        None, "model or deployment name to profile", _read_pairs
    )
    profiles: str | None = _setting_field(
        None, "TOML file with more model and GPU profiles", _read_path
    )
    spans: str = _setting_field(
        "auto",
        "where energy goes: onto another instrumentation's span where one is open and on our"
        " own otherwise, always our own, only others', or no spans",
        choices=SPANS,
    )
    metrics: str = _setting_field(
        "on",
        "whether metrics are recorded; off where somebody else makes metrics of the spans",
        choices=METRICS,
    )
    metric_tags: tuple[str, ...] = _setting_field(
        (),
        "tags of sessions that metrics carry too; each distinct value adds a time series, up to"
        " 500",
        _read_tags,
    )
    ledger: str | None = _setting_field(
        None, "file to which every call is appended as a line of JSON, without its text", _read_path
    )
    summary: bool = _setting_field(
        False, "print a table of all calls of the process to stderr when it ends", _read_flag
    )
    disabled: bool = _setting_field(False, "track nothing", _read_flag)

    @classmethod
    def load(
        cls, arguments: SettingArguments, environ: Mapping[str, str] | None = None
    ) -> Settings:
        """Settings from arguments, else the environment, else the defaults.

        An argument may also be the text that the environment would hold. A variable that
        is empty counts as not set.

        Args:
            arguments: Settings by name; None: not given.
            environ: Environment variables in place of the process's own.

        Raises:
            ConfigurationError: A value is not one of its choices, cannot be read, or has no
                effect beside the others.
        """
        environ = os.environ if environ is None else environ
        for name in environ:
            if (
                name.upper().startswith(PREFIX)
                and name not in _VARIABLES
                and is_first(name, PREFIX)
            ):
                warnings.warn(_explain_unknown(name), EnergyTrackingWarning, stacklevel=4)
        values: dict[str, Any] = {}
        for setting in fields(cls):
            given: object = arguments.get(setting.name)
            if given is None:
                given = environ.get(variable(setting.name), "").strip() or None
            if given is not None:
                values[setting.name] = _read_setting(setting.name, setting.metadata, given)
        check_together(values)
        return cls(**values)


def _read_setting(name: str, metadata: Mapping[str, Any], given: object) -> Any:
    """The value of a setting.

    Args:
        name: The setting.
        metadata: Its field's.
        given: What the argument or the variable gives.

    Raises:
        ConfigurationError: It cannot be read, or is none of the choices.
    """
    with naming(name):
        if not metadata["choices"]:
            return metadata["read"](given)
        if not is_choice(given, metadata["choices"]):
            raise ConfigurationError(not_one_of("", given, metadata["choices"]))
    return given


Documented = TypeVar("Documented")

SERVING_SETTINGS = tuple(
    setting.name for setting in fields(Settings) if setting.metadata["is_of_serving"]
)
"""Settings about how the models are served; each is a field of ``ServingProfile``."""

PROCESS_SETTINGS = {
    "tags": "tags of every call of the process, as name=value,name=value; in a program:"
    " `energy_session(tags=...)`",
    "budget_wh": "energy that each process may use, such as 5Wh, or a number of watt-hours; in a"
    " program: `energy_session(budget_wh=...)`",
    "on_exceed": "what happens once the process has used `budget_wh`: `warn`, a line of the log, or"
    " `raise`, `EnergyBudgetExceeded` in place of each further call; unset: `warn`",
}
"""Settings without an argument, of the session around everything, and what they mean."""

_VARIABLES = {
    variable(name): name
    for name in (*(setting.name for setting in fields(Settings)), *PROCESS_SETTINGS)
}


def _explain_unknown(name: str) -> str:
    """That a variable is no setting's, and the nearest that is one."""
    # By what follows the prefix, which all of them share.
    given = name[len(PREFIX) :].lower()
    near = get_close_matches(given, _VARIABLES.values(), n=3, cutoff=0.5)
    near += [setting for setting in _VARIABLES.values() if given and setting.startswith(given)]
    remedy = "`energy-tracking settings` lists all"
    if near:
        names = " or ".join(repr(variable(setting)) for setting in dict.fromkeys(near))
        remedy = f"did you mean {names}? {remedy.capitalize()}"
    return must_be("environment variable", "that of a setting", name, f"it has no effect; {remedy}")


def settings_rows() -> list[tuple[str, str, str, str]]:
    """The table of settings: argument, environment variable, default, meaning."""
    rows = []
    for setting in fields(Settings):
        choices = ", ".join(f"`{choice}`" for choice in setting.metadata["choices"])
        meaning = setting.metadata["doc"] + (f" ({choices})" if choices else "")
        default = setting.default
        default_text = "" if default in (None, ()) else str(default)
        rows.append((setting.name, variable(setting.name), default_text, meaning))
    return rows


def all_settings_rows() -> list[tuple[str, str, str, str]]:
    """The same with those of the environment alone, whose argument is empty."""
    alone = [("", variable(name), "", meaning) for name, meaning in PROCESS_SETTINGS.items()]
    return settings_rows() + alone


def name_setting(argument: str, in_environment: str, default: str) -> str:
    """A setting's names and its default, as lists show them.

    Args:
        argument: The argument; empty where it has none.
        in_environment: The environment variable.
        default: The default; empty where it has none.
    """
    names = ", ".join(filter(None, (argument, in_environment)))
    return f"{names} [{default}]" if default else names


def document_settings(documented: Documented) -> Documented:
    """Add every setting to the docstring of what takes them, for ``help()``."""
    if documented.__doc__:  # python -OO has none
        documented.__doc__ = f"{cleandoc(documented.__doc__)}\n\nSettings:\n{_settings_text()}"
    return documented


@cache
def _settings_text() -> str:
    """The settings as paragraphs: argument, environment variable, meaning, default."""
    paragraphs = []
    for name, in_environment, default, meaning in settings_rows():
        text = f"{name} ({in_environment}): {meaning.replace('`', '')}"
        text += f"; default: {default}" if default else ""
        paragraphs.append(fill(text, 88, initial_indent="    ", subsequent_indent=" " * 8))
    return "\n".join(paragraphs) + "\n"
