"""Arguments over environment over defaults, checked as soon as they are read.

The only module that reads the environment, and only when a tracker is made: importing
the library reads nothing.

The order: ``Settings.load`` takes the argument, else the variable, else the default; each value
goes through the check of its field; then those that depend on each other are checked together.
What goes wrong names the argument or the variable (``naming``).

A new setting is a key of ``SettingArguments`` and a field of ``Settings`` with its default, its
meaning and its check; the README's table is made of these.
"""

from __future__ import annotations

import math
import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields
from ipaddress import ip_address
from typing import Any, TypedDict
from urllib.parse import urlsplit

from energy_tracking.errors import ConfigurationError, EnergyTrackingWarning, not_one_of
from energy_tracking.estimator import ATTENTION_MODES, CALIBRATED_METHOD, METHODS, SCOPES
from energy_tracking.estimator.serving import CURRENT_ENGINE_YEAR, UNBALANCED_ENGINE_YEAR
from energy_tracking.profiles.weight_formats import WEIGHT_FORMATS

PREFIX = "ENERGY_TRACKING_"
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


_HOST = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*")

# Each reads what an argument or a variable gives, and says what it should have been.


def _text(given: object) -> str:
    if not isinstance(given, str):
        raise ConfigurationError(f"{given!r} is no text")
    return given


def _path(given: object) -> str:
    return os.fspath(given) if isinstance(given, os.PathLike) else _text(given)


def _flag(given: object) -> bool:
    if isinstance(given, bool):
        return given
    known = {"1": True, "true": True, "yes": True, "on": True}
    known |= {"0": False, "false": False, "no": False, "off": False}
    text = _text(given)
    if text.lower() not in known:
        raise ConfigurationError(not_one_of("flag", text, known))
    return known[text.lower()]


def _number(given: object) -> float:
    # A flag would pass for a number, and hide a mistake.
    if isinstance(given, bool):
        raise ConfigurationError(f"{given!r} is no number")
    try:
        number = float(given)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ConfigurationError(f"{given!r} is no number") from None
    if not 0 < number < math.inf:
        raise ConfigurationError(f"{given!r} must be finite and above 0")
    return number


def _whole(given: object) -> int:
    number = _number(given)
    if number != int(number):
        raise ConfigurationError(f"{given!r} must be a whole number")
    return int(number)


def _names(given: object) -> tuple[str, ...]:
    names = given.split(",") if isinstance(given, str) else given
    listed = tuple(names) if isinstance(names, Iterable) else (None,)
    if not all(isinstance(name, str) for name in listed):
        raise ConfigurationError(f"{given!r} is no list of names; write name,name")
    return tuple(name.strip() for name in listed if name.strip())


def _hosts(given: object) -> tuple[str, ...]:
    return tuple(map(_host, _names(given)))


def _host(name: str) -> str:
    """A host, or a host and a port, as ``is_among_hosts`` compares them."""
    is_url = name.lower().startswith(("http://", "https://"))
    # `urlsplit` passes over most of what is wrong.
    if name.isprintable() and not set(name) & set(" " if is_url else " /?#@"):
        with suppress(ValueError):
            return ip_address(name.strip("[]") if name.endswith("]") else name).compressed
        with suppress(ValueError):
            url = urlsplit(name if is_url else f"//{name}")
            host, port = _named_host(url.hostname or ""), url.port
            if port != 0:
                return host if port is None else _with_port(host, port)
    raise ConfigurationError(
        f"{name!r} must be a host, host:port or URL, such as llm.example.org, localhost:8000 or"
        " http://localhost:8000/v1"
    )


def _named_host(host: str) -> str:
    """A host by its address or name, in small letters of any script, as HTTP clients have it.

    Raises:
        ValueError: It is none.
    """
    if ":" in host:
        return ip_address(host).compressed
    host = host.removesuffix(".").encode("idna").decode("ascii").lower()
    if not _HOST.fullmatch(host):
        raise ValueError(host)
    return host.encode("ascii").decode("idna")


def _with_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_among_hosts(hosts: Iterable[str], host: str, port: int) -> bool:
    """Whether a setting's hosts name this one, or this one at this port.

    Args:
        hosts: The setting.
        host: Host of a client's URL.
        port: Its port, the scheme's own where it names none.
    """
    return host in hosts or _with_port(host, port) in hosts


def _pairs(given: object) -> dict[str, str]:
    pairs = given
    if isinstance(given, str):
        parted = [pair.partition("=") for pair in _names(given)]
        pairs = {name.strip(): profile.strip() for name, _, profile in parted}
    if not isinstance(pairs, Mapping) or not all(
        part and isinstance(part, str) for pair in pairs.items() for part in pair
    ):
        raise ConfigurationError(
            f"{given!r} is no list of pairs; write model=profile,model=profile"
        )
    return dict(pairs)


def _setting(
    default: Any,
    doc: str,
    read: Callable[[object], Any] = _text,
    choices: Iterable[str] = (),
    is_of_serving: bool = False,
) -> Any:
    metadata = {"doc": doc, "read": read, "choices": tuple(choices), "is_of_serving": is_of_serving}
    return field(default=default, metadata=metadata)


def _serving_setting(
    doc: str, read: Callable[[object], Any] = _text, choices: Iterable[str] = ()
) -> Any:
    """A setting about how the models are served, of which the seed's formula knows nothing."""
    return _setting(None, f"for the calibrated number: {doc}", read, choices, is_of_serving=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a tracker estimates and reports. Each field's metadata documents it."""

    gpu: str = _setting("H100", "GPU profile the calls are assumed to run on")
    method: str = _setting(
        "reference",
        "estimator: the project's seed formula with the calibrated number beside it, or the"
        " calibrated number alone",
        choices=METHODS,
    )
    attention_mode: str = _setting(
        "quadratic",
        "attention term of the `reference` formula; refused with `roofline`, which has none",
        choices=ATTENTION_MODES,
    )
    scope: str = _setting(
        "gpu",
        "what `roofline` counts: the GPU boards, or the whole facility; `reference`, and the"
        " calibrated number beside it, count the boards",
        choices=SCOPES,
    )
    concurrency_per_gpu: float | None = _serving_setting(
        "sequences decoded together, divided by the GPUs that hold the model, taken as known;"
        " unset: 32 for a model of 70e9 parameters, more for smaller and fewer for larger ones,"
        " and a range of a factor of 32 either way",
        _number,
    )
    sequences: float | None = _serving_setting(
        "sequences decoded together on all GPUs that hold the model, in place of"
        " `concurrency_per_gpu`",
        _number,
    )
    num_gpus: float | None = _serving_setting(
        "GPUs that hold one copy of the model; unset: as many as its weights need", _number
    )
    weight_bytes: float | None = _serving_setting(
        "bytes per weight as served; unset: those of `weight_format`", _number
    )
    weight_format: str | None = _serving_setting(
        "format of the weights as served; unset: the one the model is shipped in, FP8 for closed"
        " models where the GPU has it",
        choices=WEIGHT_FORMATS,
    )
    expert_parallel: int | None = _serving_setting(
        "GPUs that the experts of a mixture are spread over, each expert whole on one; unset: all"
        " that hold the model. For engines of 2025 or before, whose busiest GPU sets the pace",
        _whole,
    )
    engine_year: int | None = _serving_setting(
        "year of the serving engine's release: up to 2025 (vLLM 0.11) experts were not balanced and"
        " narrow weights cost more, up to 2024 (vLLM 0.5) the GPU waited for its scheduler; unset:"
        " 2026",
        _whole,
    )
    speculative: bool | None = _serving_setting(
        "whether a draft model or head proposes tokens (speculative decoding, multi-token"
        " prediction); unset: not known, which widens the range",
        _flag,
    )
    timing_evidence: bool = _setting(
        False,
        "let the speed of a stream narrow the concurrency of `roofline`: for open models, on a"
        " GPU that `gpu` names",
        _flag,
    )
    include_usage: str = _setting(
        "auto",
        "ask chat streams for their usage where the caller left it open: on hosts known to"
        " accept it, on every host, or on none",
        choices=INCLUDE_USAGE,
    )
    include_usage_hosts: tuple[str, ...] = _setting(
        (),
        "further hosts that accept `stream_options.include_usage`: host, host:port or URL",
        _hosts,
    )
    default_model: str | None = _setting(None, "profile for models no rule matches")
    model_mapping: Mapping[str, str] | None = _setting(
        None, "model or deployment name to profile", _pairs
    )
    profiles: str | None = _setting(None, "TOML file with more model and GPU profiles", _path)
    spans: str = _setting(
        "auto",
        "where energy goes: onto another instrumentation's span where one is open and on our"
        " own otherwise, always our own, only others', or no spans",
        choices=SPANS,
    )
    metrics: str = _setting(
        "on",
        "whether metrics are recorded; off where somebody else makes metrics of the spans",
        choices=METRICS,
    )
    metric_tags: tuple[str, ...] = _setting(
        (),
        "tags of sessions that metrics carry too; each distinct value adds a time series",
        _names,
    )
    ledger: str | None = _setting(
        None, "file to which every call is appended as a line of JSON, without its text", _path
    )
    summary: bool = _setting(
        False, "print a table of all calls of the process to stderr when it ends", _flag
    )
    disabled: bool = _setting(False, "track nothing", _flag)

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
                effect on the method; the message names the argument or the environment
                variable.
        """
        environ = os.environ if environ is None else environ
        known = {variable(setting.name) for setting in fields(cls)}
        for name in environ:
            if name.startswith(PREFIX) and name not in known:
                message = not_one_of("environment variable", name, known)
                warnings.warn(message, EnergyTrackingWarning, stacklevel=4)
        values: dict[str, Any] = {}
        origins: dict[str, str] = {}
        for setting in fields(cls):
            given: object = arguments.get(setting.name)
            text = environ.get(variable(setting.name), "").strip()
            if given is not None:
                origins[setting.name] = setting.name
            elif text:
                origins[setting.name], given = variable(setting.name), text
            if setting.name in origins:
                values[setting.name] = _read(origins[setting.name], setting.metadata, given)
        if values.get("method") == CALIBRATED_METHOD and "attention_mode" in values:
            raise ConfigurationError(
                f"{origins['attention_mode']} has no effect on method {CALIBRATED_METHOD!r}, got "
                f"{values['attention_mode']!r}; leave it unset, or use method 'reference'"
            )
        if values.get("metrics") == "off" and values.get("metric_tags"):
            raise ConfigurationError(
                f"{origins['metric_tags']} has no effect while {origins['metrics']} is 'off', got "
                f"{values['metric_tags']!r}; leave it unset, or use 'on'"
            )
        if values.get("timing_evidence") and "gpu" not in values:
            raise ConfigurationError(
                f"{origins['timing_evidence']} needs to know the GPU, got True with gpu "
                f"({variable('gpu')}) not set: on a GPU that is assumed, speed is no evidence"
            )
        year = values.get("engine_year", CURRENT_ENGINE_YEAR)
        if "expert_parallel" in values and year > UNBALANCED_ENGINE_YEAR:
            raise ConfigurationError(
                f"{origins['expert_parallel']} has no effect on an engine of {year}, which"
                f" balances its experts, got {values['expert_parallel']!r}; leave it unset, or"
                f" set engine_year ({variable('engine_year')}) to {UNBALANCED_ENGINE_YEAR}"
                " or before"
            )
        gpus = values.get("num_gpus", math.inf)
        if values.get("expert_parallel", 0) > gpus:
            raise ConfigurationError(
                f"{origins['expert_parallel']} must be at most {origins['num_gpus']}, {gpus:g},"
                f" got {values['expert_parallel']!r}"
            )
        return cls(**values)


SERVING_SETTINGS = tuple(
    setting.name for setting in fields(Settings) if setting.metadata["is_of_serving"]
)
"""Settings about how the models are served; each is a field of ``ServingProfile``."""


def variable(setting: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + setting.upper()


@contextmanager
def naming(setting: str) -> Iterator[None]:
    """Name a setting, and its variable, in what goes wrong with its value.

    Raises:
        ConfigurationError: The block raised one; this one has the name before its message.
    """
    try:
        yield
    except ConfigurationError as error:
        joint = " " if str(error).startswith("must ") else ": "
        raise type(error)(f"{setting} ({variable(setting)}){joint}{error}") from None


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


def _read(name: str, metadata: Mapping[str, Any], given: object) -> Any:
    try:
        value = metadata["read"](given)
        if metadata["choices"] and value not in metadata["choices"]:
            raise ConfigurationError(not_one_of("value", value, metadata["choices"]))
    except ConfigurationError as error:
        raise ConfigurationError(f"{name}: {error}") from None
    return value
