"""Arguments over environment over defaults; what is wrong is named."""

from __future__ import annotations

import math
import os
import pydoc
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import pytest

from energy_tracking import (
    ConfigurationError,
    EnergySpanProcessor,
    EnergyTrackingWarning,
    Session,
    Tracker,
    estimate_table,
    instrument_openai,
    record_log,
    register_gpu_profile,
    track_energy,
    wrap_openai,
)
from energy_tracking.errors import shown
from energy_tracking.estimator import ATTENTION_MODES, METHODS
from energy_tracking.hosts import MetricsPage, PageAddress
from energy_tracking.settings import SettingArguments
from energy_tracking.settings.effects import DELIVERY_SETTINGS, STREAM_SETTINGS
from energy_tracking.settings.names import variable
from energy_tracking.settings.settings import (
    INCLUDE_USAGE,
    SERVING_SETTINGS,
    SPANS,
    Settings,
    settings_rows,
)
from small_profiles import BARE

METER = "http://127.0.0.1:9/"
METER_TEXT = f"{METER},{METER}x#gpu=1"
METERS = (METER + "metrics", METER + "x#gpu=1")

NAMES = [setting.name for setting in fields(Settings)]

# Setting, as an argument, as text, the same as read, and another for the argument to win with.
GIVEN: list[tuple[str, Any, str, Any, Any]] = [
    ("gpu", "A100", "A100", "A100", "GB200"),
    ("method", "reference", "reference", "reference", "reference"),
    ("attention_mode", "linear", "linear", "linear", "quadratic"),
    ("scope", "facility", "facility", "facility", "gpu"),
    ("concurrency_per_gpu", 8, "8", 8.0, 16.5),
    ("sequences", 64, "64", 64.0, 1),
    ("num_gpus", 4, "4", 4, 8.5),
    ("weight_bytes", 0.5, "0.5", 0.5, 2),
    ("weight_format", "fp8", "fp8", "fp8", "bf16"),
    ("expert_parallel", 8, "8", 8, 1),
    ("engine_year", 2025, "2025", 2025, 2024),
    ("speculative", True, "yes", True, False),
    ("timing_evidence", True, "on", True, False),
    (
        "server_metrics",
        ["http://a:8000", "b=http://c/m"],
        "http://a:8000, b=http://c/m",
        (
            MetricsPage("a", 8000, PageAddress("http", "a", 8000, "/metrics")),
            MetricsPage("b", None, PageAddress("http", "c", 80, "/m")),
        ),
        (),
    ),
    ("energy_meter", [METER, METER + "x#gpu=1"], METER_TEXT, METERS, ("http://127.0.0.1:9/x",)),
    ("calibration", Path("c.toml"), "c.toml", "c.toml", "d.toml"),
    ("include_usage", "never", "never", "never", "always"),
    ("include_usage_hosts", ["a.b", "c"], "a.b, c", ("a.b", "c"), ("d",)),
    ("default_model", "o1", "o1", "o1", "gpt-4o"),
    ("model_mapping", {"ours": "o1", "x": "y"}, "ours=o1, x = y", {"ours": "o1", "x": "y"}, {}),
    ("profiles", Path("a.toml"), "a.toml", "a.toml", "b.toml"),
    ("spans", "off", "off", "off", "own"),
    ("detail", "essential", "essential", "essential", "full"),
    ("metrics", "off", "off", "off", "on"),
    ("metric_tags", ["team", "env"], "team, env", ("team", "env"), ("env",)),
    ("region", "DE", "Germany", "DE", "GB"),
    ("grams_per_kwh", 381, "381", 381, 50.5),
    ("ledger", Path("a.jsonl"), "a.jsonl", "a.jsonl", "b.jsonl"),
    ("summary", True, "1", True, False),
    ("disabled", True, "yes", True, False),
]

# What must be given beside a setting for it to have an effect.
NEEDED: dict[str, dict[str, Any]] = {
    "timing_evidence": {"gpu": "H100"},
    "expert_parallel": {"engine_year": 2025},
}

# Setting, a wrong argument, and what the message has between "must be" and ", got", and behind.
FLAG = "True, False or one of '1', 'true', 'yes', 'on', '0', 'false', 'no', 'off'"
CONCURRENCY = "a number from 0.001 to 1e+06"
REGION = "a country by its name or letters, 'EU' or 'WORLD'"
TAGS = "names of tags, of letters, digits, '_' and '-', a letter first"
LIST, PAIRS = "a list of names", "pairs of model and profile"
WRITE_LIST, WRITE_PAIRS = "; write name,name", "; write model=profile,model=profile"
PAGE = "the address of a page by http or https, such as http://localhost:8000/metrics"
HOST = "a host, host:port or URL, such as llm.example.org, localhost:8000 or "
HOST += "http://localhost:8000/v1"
WRONG: list[tuple[str, Any, str, str]] = [
    ("gpu", 5, "a string", ""),
    ("gpu", True, "a string", ""),
    ("method", "referense", "one of 'reference', 'roofline'", "; did you mean 'reference'?"),
    ("attention_mode", "Quadratic", "one of 'quadratic', 'linear'", "; did you mean 'quadratic'?"),
    ("scope", "gpus", "one of 'gpu', 'facility'", "; did you mean 'gpu'?"),
    ("scope", "zzz", "one of 'gpu', 'facility'", ""),
    ("concurrency_per_gpu", "many", CONCURRENCY, ""),
    ("concurrency_per_gpu", True, CONCURRENCY, ""),
    ("concurrency_per_gpu", [8], CONCURRENCY, ""),
    ("concurrency_per_gpu", "-1", CONCURRENCY, ""),
    ("concurrency_per_gpu", "nan", CONCURRENCY, ""),
    ("concurrency_per_gpu", 1e308, CONCURRENCY, ""),
    ("concurrency_per_gpu", "1e-320", CONCURRENCY, ""),
    ("sequences", 0, "a number from 0.001 to 1e+12", ""),
    ("num_gpus", 0, "a number from 0.001 to 1e+06", ""),
    ("num_gpus", 10**80, "a number from 0.001 to 1e+06", ""),
    ("num_gpus", 10**400, "a number from 0.001 to 1e+06", ""),
    ("num_gpus", "1" + "0" * 400, "a number from 0.001 to 1e+06", ""),
    ("weight_bytes", math.inf, "a number from 0.04 to 8 bytes", ""),
    ("weight_bytes", 100, "a number from 0.04 to 8 bytes", ""),
    ("weight_format", "fp9", "a known name", "; did you mean 'fp8' or 'fp32' or 'fp16'?"),
    ("expert_parallel", 0.5, "a whole number from 1 to 1e+06", ""),
    ("expert_parallel", 1.5, "a whole number from 1 to 1e+06", ""),
    ("engine_year", "last year", "a whole number from 2020 to 2100", ""),
    ("engine_year", 1900, "a whole number from 2020 to 2100", ""),
    ("speculative", "perhaps", FLAG, ""),
    ("timing_evidence", "maybe", FLAG, ""),
    ("energy_meter", 5, LIST, WRITE_LIST),
    ("energy_meter", "localhost:9400", PAGE, ""),
    ("calibration", 5, "a path", ""),
    ("include_usage", "allways", "one of 'auto', 'always', 'never'", "; did you mean 'always'?"),
    ("server_metrics", 5, LIST, WRITE_LIST),
    ("server_metrics", "localhost:8000", PAGE, ""),
    ("server_metrics", "http://", PAGE, ""),
    ("include_usage_hosts", 5, LIST, WRITE_LIST),
    ("include_usage_hosts", ["a", 5], LIST, WRITE_LIST),
    ("include_usage_hosts", "a b", HOST, ""),
    ("default_model", ("o1",), "a string", ""),
    ("model_mapping", "gpt-4o", PAIRS, WRITE_PAIRS),
    ("model_mapping", "=gpt-4o", PAIRS, WRITE_PAIRS),
    ("model_mapping", {"ours": 4}, PAIRS, WRITE_PAIRS),
    ("model_mapping", ["ours"], PAIRS, WRITE_PAIRS),
    ("profiles", 5, "a path", ""),
    ("profiles", "a\0b", "a path", ""),
    ("spans", "of", "one of 'auto', 'own', 'annotate', 'off'", "; did you mean 'off'?"),
    ("detail", "esential", "one of 'full', 'essential'", "; did you mean 'essential'?"),
    ("metrics", "zzz", "one of 'on', 'off'", ""),
    ("metrics", False, "one of 'on', 'off'", ""),
    ("spans", ["own"], "one of 'auto', 'own', 'annotate', 'off'", "; did you mean 'own'?"),
    ("include_usage", True, "one of 'auto', 'always', 'never'", ""),
    ("metric_tags", 5, LIST, WRITE_LIST),
    ("metric_tags", "a.b", TAGS, ""),
    ("metric_tags", "1a", TAGS, ""),
    ("region", "Grmany", REGION, "; did you mean 'Germany' or 'Romania' or 'Oman'?"),
    ("grams_per_kwh", -1, "a number from 0 to 10000 g CO2e/kWh", ""),
    ("grams_per_kwh", "many", "a number from 0 to 10000 g CO2e/kWh", ""),
    ("ledger", 5, "a path", ""),
    ("ledger", "\ud800x", "a path", ""),
    ("profiles", Path("\ud800x"), "a path", ""),
    ("ledger", Path("a\0b"), "a path", ""),
    ("summary", "perhaps", FLAG, ""),
    ("disabled", "maybe", FLAG, ""),
    ("disabled", 2, FLAG, ""),
]


def loaded(environ: Mapping[str, str] = MappingProxyType({}), /, **arguments: Any) -> Settings:
    given: SettingArguments = arguments  # type: ignore[assignment]
    return Settings.load(given, environ)


def test_every_setting_is_walked_here() -> None:
    assert [row[0] for row in GIVEN] == NAMES
    assert {row[0] for row in WRONG} == set(NAMES)


def test_arguments_and_settings_have_the_same_names() -> None:
    assert list(SettingArguments.__annotations__) == NAMES


@pytest.mark.parametrize(("name", "argument", "text", "value", "other"), GIVEN)
def test_arguments_win_over_the_environment_over_the_default(
    name: str, argument: Any, text: str, value: Any, other: Any
) -> None:
    needed: dict[str, Any] = NEEDED.get(name, {})
    environ = {variable(name): f" {text} "}
    assert getattr(loaded(**needed, **{name: argument}), name) == value
    assert getattr(loaded(**needed, **{name: text}), name) == value
    assert getattr(loaded(environ, **needed), name) == value
    assert getattr(loaded(environ, **needed, **{name: other}), name) == other
    assert getattr(loaded(environ, **needed, **{name: None}), name) == value


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_given_or_empty_is_the_default(name: str) -> None:
    default = getattr(Settings(), name)
    assert getattr(loaded(), name) == default
    assert getattr(loaded({variable(name): " "}), name) == default


def test_the_defaults_are_those_documented() -> None:
    assert Settings() == Settings(gpu="H100", method="reference", attention_mode="quadratic")
    assert Settings().include_usage == Settings().spans == "auto"
    assert not Settings().disabled


@pytest.mark.parametrize("year", [{}, {"engine_year": 2026}], ids=["usual", "2026"])
def test_expert_parallel_on_an_engine_that_balances_its_experts_is_refused(
    year: dict[str, Any],
) -> None:
    with pytest.raises(ConfigurationError, match=r"expert_parallel .* has no effect.*2026.*got 8"):
        loaded(expert_parallel=8, **year)
    assert loaded(expert_parallel=8, engine_year=2025).expert_parallel == 8


def test_experts_spread_over_more_gpus_than_hold_the_model_are_refused() -> None:
    environ = {"ENERGY_TRACKING_NUM_GPUS": "2"}
    with pytest.raises(
        ConfigurationError, match=r"must be at most num_gpus \(ENERGY_TRACKING_NUM_GPUS\), 2, got 4"
    ):
        loaded(environ, expert_parallel=4, engine_year=2025)
    assert loaded(environ, expert_parallel=2, engine_year=2025).expert_parallel == 2


@pytest.mark.parametrize(
    ("name", "value", "end"),
    [
        ("gpu", "H1000", "?"),
        ("gpu", "~~~", " more."),
        ("default_model", "gpt-4o-mimi", "?"),
        ("default_model", "~~~", " more."),
    ],
)
def test_how_to_use_a_profile_of_ones_own_is_a_sentence_of_its_own(
    name: str, value: str, end: str
) -> None:
    with pytest.raises(ConfigurationError) as raised:
        Tracker(**cast(SettingArguments, {name: value}))
    before, _, remedy = str(raised.value).partition(" To use one of your own: ")
    command = "gpus" if name == "gpu" else "models"
    assert before.endswith(f"{end} `energy-tracking {command}` lists all.")
    assert remedy.endswith(" in a TOML file that ENERGY_TRACKING_PROFILES names.")


@pytest.mark.parametrize(("name", "value", "what", "remedy"), WRONG)
@pytest.mark.parametrize("how", ["argument", "variable"])
def test_a_wrong_value_is_explained_in_one_grammar(
    name: str, value: Any, what: str, remedy: str, how: str
) -> None:
    environ = {}
    arguments = {name: value}
    if how == "variable":
        if not isinstance(value, str) or "\0" in value:
            return
        environ, arguments = {variable(name): value}, {}
    with pytest.raises(ConfigurationError) as raised:
        loaded(environ, **arguments)
    assert str(raised.value) == (
        f"{name} (ENERGY_TRACKING_{name.upper()}) must be {what}, got {shown(value)}{remedy}"
    )
    assert len(str(raised.value)) < 600


# Arguments, and the message as a whole.
TOGETHER: list[tuple[dict[str, Any], str]] = [
    (
        {"method": "roofline", "attention_mode": "linear"},
        "attention_mode (ENERGY_TRACKING_ATTENTION_MODE) must be unset: it has no effect on method "
        "'roofline', got 'linear'; leave it unset, or use method 'reference'",
    ),
    (
        {"timing_evidence": True},
        "timing_evidence (ENERGY_TRACKING_TIMING_EVIDENCE) must be False where gpu "
        "(ENERGY_TRACKING_GPU) is not set: on an assumed GPU, speed is no evidence, got True; name "
        "the GPU, or leave it unset",
    ),
    (
        {"timing_evidence": True, "gpu": "H100", "sequences": 8},
        "timing_evidence (ENERGY_TRACKING_TIMING_EVIDENCE) must be False where sequences "
        "(ENERGY_TRACKING_SEQUENCES) is set: speed is evidence of what is then known, got True; "
        "leave one of them unset",
    ),
    (
        {"expert_parallel": 8},
        "expert_parallel (ENERGY_TRACKING_EXPERT_PARALLEL) must be unset: it has no effect on an "
        "engine of 2026, which balances its experts, got 8; leave it unset, or set engine_year "
        "(ENERGY_TRACKING_ENGINE_YEAR) to 2025 or before",
    ),
    (
        {"expert_parallel": 4, "engine_year": 2025, "num_gpus": 2},
        "expert_parallel (ENERGY_TRACKING_EXPERT_PARALLEL) must be at most num_gpus "
        "(ENERGY_TRACKING_NUM_GPUS), 2, got 4",
    ),
    *(
        (
            {"include_usage": include, "include_usage_hosts": ["llm.example.org", "[::1]:80"]},
            "include_usage_hosts (ENERGY_TRACKING_INCLUDE_USAGE_HOSTS) must be unset: it has no "
            f"effect while include_usage (ENERGY_TRACKING_INCLUDE_USAGE) is '{include}', got "
            "'llm.example.org,[::1]:80'; leave it unset, or use 'auto'",
        )
        for include in ("always", "never")
    ),
    (
        {"sequences": 64, "concurrency_per_gpu": 8},
        "sequences (ENERGY_TRACKING_SEQUENCES) must be unset beside concurrency_per_gpu, 8, which "
        "says the same, got 64.0; give one of them",
    ),
    (
        {"scope": "facility"},
        "scope (ENERGY_TRACKING_SCOPE) must be 'gpu' with method 'reference', which knows the GPU "
        "board alone, got 'facility'; use method 'roofline'",
    ),
    (
        {"gpu": "H1000"},
        "gpu (ENERGY_TRACKING_GPU) must be the name of a GPU profile, got 'H1000'; did you mean "
        "'H100'",
    ),
    (
        {"default_model": "gpt-4o-mimi"},
        "default_model (ENERGY_TRACKING_DEFAULT_MODEL) must be the name of a model profile, got "
        "'gpt-4o-mimi'; did you mean 'gpt-4o-mini'",
    ),
    (
        {"model_mapping": {"ours": "gpt-4o-mimi"}},
        "model_mapping (ENERGY_TRACKING_MODEL_MAPPING)['ours'] must be the name of a model profile"
        ", got 'gpt-4o-mimi'; did you mean 'gpt-4o-mini'",
    ),
    (
        {"profiles": "missing.toml"},
        "profiles (ENERGY_TRACKING_PROFILES) must be a TOML file that can be read, got "
        "'missing.toml': No such file or directory",
    ),
    (
        {"ledger": "missing/energy.jsonl"},
        "ledger (ENERGY_TRACKING_LEDGER) must be a regular file that can be appended to, got "
        "'missing/energy.jsonl': No such file or directory",
    ),
    ({"on_record": 5}, "on_record must be a function, got 5"),
    ({"catalogue": 5}, "catalogue must be a Catalogue, got 5"),
    ({"catalogue": ""}, "catalogue must be a Catalogue, got ''"),
    ({"tracer_provider": 5}, "tracer_provider must be a TracerProvider, got 5"),
    ({"tracer_provider": int}, "tracer_provider must be a TracerProvider, got <class 'int'>"),
    ({"meter_provider": "x"}, "meter_provider must be a MeterProvider, got 'x'"),
    ({"on_error": "log"}, "on_error must be a function, got 'log'"),
    ({"gpus": "H100"}, "setting must be a known name, got 'gpus'; did you mean 'gpu'"),
]


def test_a_mistake_in_a_file_of_profiles_keeps_its_place(tmp_path: Path) -> None:
    path = tmp_path / "profiles.toml"
    path.write_text('[gpus.x]\nlike = "H100"\npower_rating = 1e308\n')
    with pytest.raises(ConfigurationError) as raised:
        Tracker(profiles=path)
    assert str(raised.value) == (
        f'profiles (ENERGY_TRACKING_PROFILES): profile file {path}: [gpus."x"]: '
        "power_rating must be a number from 0.001 to 1e+07 W, got 1e+308"
    )


@pytest.mark.parametrize(("arguments", "message"), TOGETHER, ids=lambda value: str(value)[:30])
def test_settings_that_do_not_go_together_are_explained_in_the_same_grammar(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError) as raised:
        Tracker(**arguments)
    assert str(raised.value).startswith(message)


DOORS: dict[str, tuple[Callable[..., object], tuple[str, ...]]] = {
    "track_energy": (track_energy, STREAM_SETTINGS),
    "EnergySpanProcessor": (EnergySpanProcessor, STREAM_SETTINGS),
    "record_log": (partial(record_log, os.devnull), ("spans", *STREAM_SETTINGS)),
    "estimate_table": (
        partial(estimate_table, [1], [1], model="gpt-4o"),
        STREAM_SETTINGS + DELIVERY_SETTINGS,
    ),
}
EXAMPLES: dict[str, object] = {
    "include_usage": "always",
    "include_usage_hosts": "llm.example.org",
    "timing_evidence": True,
    "server_metrics": "http://localhost:8000/metrics",
    "energy_meter": "nvml",
    "calibration": "calibration.toml",
    "spans": "own",
    "detail": "essential",
    "metrics": "off",
    "metric_tags": "team",
    "region": "DE",
    "grams_per_kwh": 381,
    "ledger": "energy.jsonl",
    "summary": True,
    "disabled": True,
}


@pytest.mark.parametrize(
    ("door", "setting"), [(door, name) for door, (_, names) in DOORS.items() for name in names]
)
def test_a_setting_that_a_door_does_nothing_with_is_refused_there(door: str, setting: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        DOORS[door][0](**{setting: EXAMPLES[setting]})
    assert str(raised.value) == (
        f"{setting} must be unset: it has no effect on {door}, got {EXAMPLES[setting]!r}; "
        "leave it out"
    )


@pytest.mark.parametrize(
    ("name", "value", "shown_as"),
    [("timing_evidence", True, "True"), ("server_metrics", "http://a", "'http://a/metrics'")],
)
def test_what_is_for_the_calibrated_number_is_refused_on_a_gpu_of_unknown_bandwidth(
    name: str, value: Any, shown_as: str
) -> None:
    register_gpu_profile(BARE)
    with pytest.raises(ConfigurationError) as raised:
        Tracker(**cast(SettingArguments, {"gpu": BARE.name, name: value}))
    assert str(raised.value).startswith(
        f"{name} ({variable(name)}) must be unset: it has no effect on GPU "
        f"'{BARE.name}', got {shown_as}; "
    )


@pytest.mark.parametrize("mode", ATTENTION_MODES)
def test_an_attention_mode_is_refused_by_the_method_that_has_none(mode: str) -> None:
    for environ, arguments in (
        ({}, {"attention_mode": mode}),
        ({"ENERGY_TRACKING_ATTENTION_MODE": mode}, {}),
    ):
        with pytest.raises(ConfigurationError, match="must be unset: it has no effect on method"):
            loaded(environ, method="roofline", **arguments)
    assert loaded(attention_mode=mode, method="reference").attention_mode == mode
    assert loaded({"ENERGY_TRACKING_METHOD": "roofline"}).method == "roofline"


@pytest.mark.parametrize("make", [Session, lambda name: track_energy(name=name)])
def test_a_name_that_is_no_string_is_refused(make: Any) -> None:
    with pytest.raises(ConfigurationError) as raised:
        make(5)
    assert str(raised.value) == "name must be a string, got 5"


def test_settings_of_serving_state_that_they_are_for_the_calibrated_number() -> None:
    of_serving = {
        "concurrency_per_gpu",
        "sequences",
        "num_gpus",
        "weight_bytes",
        "weight_format",
        "expert_parallel",
        "engine_year",
        "speculative",
    }
    said = {row[0] for row in settings_rows() if row[3].startswith("for the calibrated number")}
    assert said == set(SERVING_SETTINGS) == of_serving


@pytest.mark.parametrize(
    ("text", "flag"),
    [("1", True), ("TRUE", True), ("on", True), ("0", False), ("No", False), ("off", False)],
)
def test_flags_are_read_as_people_write_them(text: str, flag: bool) -> None:
    assert loaded({"ENERGY_TRACKING_DISABLED": text}).disabled is flag
    assert loaded(disabled=text).disabled is flag


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("GPUS", "did you mean 'ENERGY_TRACKING_GPU'"),
        ("WEIGHTS", "did you mean 'ENERGY_TRACKING_WEIGHT_BYTES' or 'ENERGY_TRACKING_WEIGHT_F"),
        ("LEGDER", "did you mean 'ENERGY_TRACKING_LEDGER'"),
        ("INCLUDE", "did you mean 'ENERGY_TRACKING_INCLUDE_USAGE'"),
        ("xyzzy", "it has no effect; `energy-tracking settings` lists all"),
        ("gpu", "did you mean 'ENERGY_TRACKING_GPU'"),
    ],
)
def test_an_unknown_variable_warns_once_with_the_nearest_of_all_settings(
    name: str, nearest: str
) -> None:
    environ = {f"ENERGY_TRACKING_{name}": "H100", "GPU": "A100"}
    with pytest.warns(EnergyTrackingWarning) as caught:
        loaded(environ)
    loaded(environ)  # warnings are errors here
    (message,) = (str(one.message) for one in caught)
    assert f"must be that of a setting, got 'ENERGY_TRACKING_{name}'; it has no effect" in message
    assert nearest in message
    assert message.endswith("`energy-tracking settings` lists all")
    assert message.count("ENERGY_TRACKING_") <= 4


def test_the_warning_points_to_whoever_made_the_tracker(monkeypatch: pytest.MonkeyPatch) -> None:
    from energy_tracking import track_energy

    monkeypatch.setenv("ENERGY_TRACKING_GPUS", "H100")
    with pytest.warns(EnergyTrackingWarning) as caught:
        track_energy(name="answer")
    assert caught[0].filename == __file__


def test_a_tracker_reads_the_environment_when_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENERGY_TRACKING_GPU", "A100")
    assert Tracker().settings.gpu == "A100"
    assert Tracker(gpu="GB200").settings.gpu == "GB200"


@pytest.mark.parametrize(
    "choices",
    [
        ("method", METHODS),
        ("attention_mode", ATTENTION_MODES),
        ("include_usage", INCLUDE_USAGE),
        ("spans", SPANS),
    ],
)
def test_every_choice_can_be_chosen(choices: tuple[str, list[str]]) -> None:
    name, values = choices
    for value in values:
        assert getattr(loaded(**{name: value}), name) == value


def test_the_table_documents_every_setting() -> None:
    rows = settings_rows()
    assert [row[0] for row in rows] == NAMES
    for (_, name, _, meaning), setting in zip(rows, NAMES, strict=True):
        assert name == f"ENERGY_TRACKING_{setting.upper()}"
        assert meaning
    defaults = {row[0]: row[2] for row in rows}
    assert (defaults["gpu"], defaults["disabled"], defaults["profiles"]) == ("H100", "False", "")


def test_importing_reads_no_environment_and_nothing_heavy() -> None:
    script = """
import os, sys

class Watched(dict):
    read = []
    def __getitem__(self, key):
        self.read.append(key)
        return super().__getitem__(key)

watched = Watched(os.environ._data)
os.environ._data = watched
import energy_tracking
ours = [key for key in watched.read if b"ENERGY_TRACKING" in os.fsencode(key)]
heavy = {"openai", "numpy", "httpx", "httpx2", "opentelemetry.sdk"} & set(sys.modules)
print(ours, sorted(heavy))
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"ENERGY_TRACKING_GPU": "no such GPU", "ENERGY_TRACKING_TYPO": "1"}
        | {"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout.strip(), done.stderr) == ("[] []", "")


@pytest.mark.parametrize("takes_settings", [Tracker, wrap_openai, instrument_openai, track_energy])
def test_help_lists_every_setting_with_variable_meaning_and_default(takes_settings: Any) -> None:
    text = " ".join(pydoc.plain(pydoc.render_doc(takes_settings)).split())
    text = text.replace(" | ", " ")
    for name, in_environment, default, meaning in settings_rows():
        said = f"{name} ({in_environment}): {meaning.replace('`', '')}"
        assert said + (f"; default: {default}" if default else "") in text
