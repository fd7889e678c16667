"""Arguments over environment over defaults, checked as soon as they are read.

The only module that reads settings from the environment, and only when a tracker is made:
importing the library reads nothing.

The order: ``Settings.load`` takes the argument, else the variable, else the default; each value
goes through the check of its field; then those that depend on each other are checked together.
What goes wrong names the argument or the variable (``naming``).

A new setting is a key of ``SettingArguments`` and a field of ``Settings`` with its default, its
meaning and its reader of ``readers``. ``help()`` and ``energy-tracking settings`` show
them.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from inspect import cleandoc
from typing import TYPE_CHECKING, Any, TypeVar

from energy_tracking.bounds import is_choice
from energy_tracking.calls.record import INTENSITY
from energy_tracking.errors import ConfigurationError, EnergyTrackingWarning, must_be, not_one_of
from energy_tracking.estimator import ATTENTION_MODES, METHOD_NAMES, SCOPES
from energy_tracking.estimator.serving_bounds import SERVING_BOUNDS
from energy_tracking.frozen import declared_defaults, declared_fields, frozen
from energy_tracking.notices import is_first
from energy_tracking.profiles.weight_formats import WEIGHT_FORMATS
from energy_tracking.settings.arguments import SettingArguments
from energy_tracking.settings.effects import check_together
from energy_tracking.settings.names import PREFIX, naming, variable
from energy_tracking.settings.readers import (
    make_number_reader,
    read_flag,
    read_hosts,
    read_meters,
    read_metrics_pages,
    read_pairs,
    read_region,
    read_tags,
    read_text,
    read_user_path,
)

if TYPE_CHECKING:
    from energy_tracking.hosts import MetricsPage

INCLUDE_USAGE = ("auto", "always", "never")
SPANS = ("auto", "own", "annotate", "off")
METRICS = ("on", "off")
DETAIL = ("full", "essential")


def _setting_field(
    default: Any,
    doc: str,
    read: Callable[[object], Any] = read_text,
    choices: Iterable[str] = (),
    is_of_serving: bool = False,
) -> Any:
    metadata = {"doc": doc, "read": read, "choices": tuple(choices), "is_of_serving": is_of_serving}
    return field(default=default, metadata=metadata)


def _serving_setting(
    doc: str, read: Callable[[object], Any] = read_text, choices: Iterable[str] = ()
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
        choices=METHOD_NAMES,
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
        make_number_reader(SERVING_BOUNDS["concurrency_per_gpu"]),
    )
    sequences: float | None = _serving_setting(
        "sequences decoded together on all GPUs that hold the model, in place of"
        " `concurrency_per_gpu`",
        make_number_reader(SERVING_BOUNDS["sequences"]),
    )
    num_gpus: float | None = _serving_setting(
        "GPUs that hold one copy of the model; unset: as many as its weights need",
        make_number_reader(SERVING_BOUNDS["num_gpus"]),
    )
    weight_bytes: float | None = _serving_setting(
        "bytes per weight as served; unset: those of `weight_format`",
        make_number_reader(SERVING_BOUNDS["weight_bytes"]),
    )
    weight_format: str | None = _serving_setting(
        "format of the weights as served; unset: the one the model is shipped in, FP8 for closed"
        " models where the GPU has it",
        choices=WEIGHT_FORMATS,
    )
    expert_parallel: int | None = _serving_setting(
        "GPUs that the experts of a mixture are spread over, each expert whole on one; unset: all"
        " that hold the model. For engines of 2025 or before, whose busiest GPU sets the pace",
        make_number_reader(SERVING_BOUNDS["expert_parallel"]),
    )
    engine_year: int | None = _serving_setting(
        "year of the serving engine's release: up to 2025 (vLLM 0.11) experts were not balanced and"
        " narrow weights cost more, up to 2024 (vLLM 0.5) the GPU waited for its scheduler; unset:"
        " 2026",
        make_number_reader(SERVING_BOUNDS["engine_year"]),
    )
    speculative: bool | None = _serving_setting(
        "whether a draft model or head proposes tokens (speculative decoding, multi-token"
        " prediction); unset: not known, which widens the range",
        read_flag,
    )
    timing_evidence: bool = _setting_field(
        False,
        "let the speed of a stream narrow the concurrency of `roofline`: for open models, on a"
        " GPU that `gpu` names",
        read_flag,
    )
    server_metrics: tuple[MetricsPage, ...] = _setting_field(
        (),
        "metrics pages of your own servers (vLLM, SGLang, TGI, TensorRT-LLM, Triton, llama.cpp, Ray"
        " Serve), read once per second while calls to their hosts are under way: the calibrated"
        " number then knows the batch; `HOST=ADDRESS` where the calls go to another host. Needs"
        " `energy-tracking[servers]`",
        read_metrics_pages,
    )
    energy_meter: tuple[str, ...] = _setting_field(
        (),
        "meters of joules beside servers that you run, for calls to the host that each is on: the"
        " address of the NVIDIA DCGM exporter, AMD's device metrics exporter, Kepler or"
        " TensorRT-LLM's `/energy_metrics`, or `nvml`, this machine's GPUs; with `#gpu=0,1` behind"
        " it, of these GPUs alone; `HOST=ADDRESS` as above. Calls are measured then, each by its"
        " share of the tokens that `server_metrics` counts, or of the process's own",
        read_meters,
    )
    calibration: str | None = _setting_field(
        None,
        "file of factors between measured and estimated energy, as `energy-tracking meter --write`"
        " makes it: the calibrated number of calls to these servers has theirs",
        read_user_path,
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
        read_hosts,
    )
    default_model: str | None = _setting_field(None, "profile for models no rule matches")
    model_mapping: Mapping[str, str] | None = _setting_field(
        None, "model or deployment name to profile", read_pairs
    )
    profiles: str | None = _setting_field(
        None, "TOML file with more model and GPU profiles", read_user_path
    )
    spans: str = _setting_field(
        "auto",
        "where energy goes: onto another instrumentation's span where one is open and on our"
        " own otherwise, always our own, only others', or no spans",
        choices=SPANS,
    )
    detail: str = _setting_field(
        "full",
        "what spans say of a call: all attributes, or the energy with its range, status, method,"
        " profiles and the session's total alone, where a backend is paid by attributes",
        choices=DETAIL,
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
        read_tags,
    )
    region: str | None = _setting_field(
        None,
        "whose electricity the calls use, by name or letters, such as `DE`, `UK` or `WORLD`: puts"
        " grams of CO2e beside the energy; unset: no emissions, nothing is guessed",
        read_region,
    )
    grams_per_kwh: float | None = _setting_field(
        None,
        "in place of `region`: CO2e of the electricity [g/kWh]",
        make_number_reader(INTENSITY),
    )
    ledger: str | None = _setting_field(
        None,
        "file to which every call is appended as a line of JSON, without its text",
        read_user_path,
    )
    summary: bool = _setting_field(
        False, "print a table of all calls of the process to stderr when it ends", read_flag
    )
    disabled: bool = _setting_field(False, "track nothing", read_flag)

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
        for name, setting in declared_fields(cls).items():
            given: object = arguments.get(name)
            other = _INSTEAD.get(name)
            if given is None and (other is None or arguments.get(other) is None):
                given = environ.get(variable(name), "").strip() or None
            if given is not None:
                values[name] = _read_setting(name, setting.metadata, given)
        check_together(values)
        return cls(**values)


_INSTEAD = {"region": "grams_per_kwh", "grams_per_kwh": "region"}
"""Setting -> the one that stands in its place: as an argument it wins over this one's variable."""


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


Documented = TypeVar("Documented", bound=Callable[..., Any])

SERVING_SETTINGS = tuple(
    name for name, setting in declared_fields(Settings).items() if setting.metadata["is_of_serving"]
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

_VARIABLES = {variable(name): name for name in (*declared_defaults(Settings), *PROCESS_SETTINGS)}


def _explain_unknown(name: str) -> str:
    """That a variable is no setting's, and the nearest that is one."""
    # By what follows the prefix, which all of them share.
    given = name[len(PREFIX) :].lower()
    from difflib import get_close_matches  # needed where something is wrong alone

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
    for name, setting in declared_fields(Settings).items():
        choices = ", ".join(f"`{choice}`" for choice in setting.metadata["choices"])
        meaning = setting.metadata["doc"] + (f" ({choices})" if choices else "")
        default = setting.default
        default_text = "" if default in (None, ()) else str(default)
        rows.append((name, variable(name), default_text, meaning))
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
    """Add every setting to the docstring of a function that takes them, for ``help()``."""
    if documented.__doc__:  # python -OO has none
        documented.__doc__ = add_settings(cleandoc(documented.__doc__))
    return documented


def add_settings(text: str) -> str:
    """A docstring with every setting added."""
    return f"{text}\n\nSettings:\n{_settings_text()}"


def _settings_text() -> str:
    """The settings as paragraphs: argument, environment variable, meaning, default."""
    paragraphs = []
    for name, in_environment, default, meaning in settings_rows():
        text = f"{name} ({in_environment}): {meaning.replace('`', '')}"
        text += f"; default: {default}" if default else ""
        paragraphs.append(_fill(text))
    paragraphs.append("\nWhat spans and metrics say of calls: help(energy_tracking.Tracker)")
    return "\n".join(paragraphs) + "\n"


def _fill(text: str) -> str:
    """A paragraph in lines: ``textwrap.fill`` takes longer than the rest of a start.

    None ends at the hyphen of an extra's name, which would then be copied with a space.
    """
    lines = ["   "]
    for word in text.split(" "):
        if len(lines[-1]) + len(word) >= 88:
            lines.append(" " * 7)
        lines[-1] += f" {word}"
    return "\n".join(lines)
