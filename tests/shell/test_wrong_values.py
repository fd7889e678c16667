"""Whatever is passed to a public door, it works, or fails with an error of ours in one grammar."""

from __future__ import annotations

import datetime
import enum
import io
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from decimal import Decimal
from fractions import Fraction
from functools import cache
from inspect import signature
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import openai
import pytest

import energy_tracking
from energy_tracking import (
    CallRecord,
    EnergyCompletionHook,
    EnergySpanProcessor,
    EnergyTrackingError,
    LedgerEntry,
    Session,
    Totals,
    Tracker,
    cloud_inference_energy_estimate_w_model_attributes,
    energy_of,
    estimate_table,
    instrument_openai,
    read_ledger,
    read_logs,
    read_usage,
    record_log,
    register_gpu_profile,
    register_model_profile,
    track_energy,
    uninstrument_openai,
    unwrap_openai,
    wrap_openai,
)
from energy_tracking.asgi import EnergyMiddleware
from energy_tracking.profiles.files import load_catalogue, read_profiles
from energy_tracking.tracker import TrackerArguments

pytestmark = [
    # Numbers of numpy overflow with a warning, decimals and the like convert with one.
    pytest.mark.filterwarnings("ignore"),
]


class Region(enum.Enum):
    """An enum of no strings, whose members have a name all the same."""

    US = "US"
    NUMBER = 5


class Text(str, enum.Enum):  # noqa: UP042  # people write it so
    GPU = "A100"


class Number(enum.IntEnum):
    ONE = 1


class Hostile:
    """An object that answers no question."""

    def __repr__(self) -> str:
        raise RuntimeError("repr")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("eq")

    def __bool__(self) -> bool:
        raise RuntimeError("bool")

    def __iter__(self) -> Any:
        raise RuntimeError("iter")

    __hash__ = None  # type: ignore[assignment]


class HostileText(str):
    """A text that is not what it is printed as."""

    __slots__ = ()

    def __str__(self) -> str:
        raise RuntimeError("str")


def _nest(depth: int) -> dict[str, Any]:
    inner: dict[str, Any] = {}
    for _ in range(depth):
        inner = {"a": inner}
    return inner


VALUES: dict[str, Any] = {
    "an enum": Region.US,
    "an enum of a number": Region.NUMBER,
    "an enum of strings": Text.GPU,
    "an enum of integers": Number.ONE,
    "a path": Path("x/y"),
    "numpy's integer": np.int64(3),
    "numpy's float": np.float32(1.5),
    "numpy's text": np.str_("A100"),
    "numpy's flag": np.bool_(True),
    "numpy's NaN": np.float64("nan"),
    "an array": np.array([1, 2]),
    "an array of no dimension": np.array(5.0),
    "a decimal": Decimal("1.5"),
    "a decimal NaN": Decimal("NaN"),
    "a signalling NaN": Decimal("sNaN"),
    "a fraction": Fraction(3, 2),
    "bytes": b"A100",
    "a flag": True,
    "no": False,
    "zero": 0,
    "a negative number": -1,
    "a number": 5,
    "a number of 400 digits": 10**400,
    "the same, negative": -(10**400),
    "a large float": 1e308,
    "infinity": float("inf"),
    "NaN": float("nan"),
    "a complex number": 1j,
    "None": None,
    "an empty text": "",
    "a blank": "  ",
    "a null character": "a\0b",
    "a lone surrogate": "\ud800",
    "two lines": "a\nb",
    "a long text": "x" * 100_000,
    "a text": "nonsense",
    "an empty list": [],
    "a list of numbers": [1],
    "a list of None": [None],
    "a tuple": (1, 2),
    "a set": {1},
    "an empty mapping": {},
    "a mapping of numbers": {1: 2},
    "a mapping to numbers": {"a": 5},
    "a mapping of None": {None: None},
    "a deep mapping": _nest(3_000),
    "an object": object(),
    "a class": int,
    "a function": lambda: 1,
    "a hostile object": Hostile(),
    "a hostile text": HostileText("abc"),
    "a mock": MagicMock(),
    "a namespace": SimpleNamespace(),
    "a module": sys,
    "an error": ValueError("x"),
    "a date": datetime.date(2020, 1, 1),
    "a time without a zone": datetime.datetime(2020, 1, 1),
    "a duration": datetime.timedelta(1),
    "an ellipsis": ...,
    "a text file": io.StringIO("{}"),
}

USAGE = {"prompt_tokens": 10, "completion_tokens": 5}
SETTINGS = sorted(TrackerArguments.__optional_keys__)
GPU, MODEL = load_catalogue().gpu("H100"), load_catalogue().model("o1")


def _use(session: Session) -> None:
    with session:
        Tracker().record(model="gpt-4o", usage=USAGE)
    assert str(session)
    assert session.to_json()
    assert session.to_csv()
    assert session._repr_html_()


def _used() -> Session:
    session = Session()
    _use(session)
    return session


@cache
def _client() -> openai.OpenAI:
    return openai.OpenAI(api_key="none")


def _names_of(function: Callable[..., Any]) -> list[str]:
    return [
        name for name, one in signature(function).parameters.items() if one.kind != one.VAR_KEYWORD
    ]


def _compare(**given: Any) -> None:
    assert str(_used().compare(**given))


def _read(**given: Any) -> None:
    list(read_logs(**{"paths": ["log.jsonl"]} | given))


def _fields_of(value: Any) -> list[str]:
    return [field.name for field in fields(value)]


def _show(value: Any) -> None:
    """Look at a value in every way: what is wrong with it was said before."""
    assert str(value)
    assert repr(value)
    if hasattr(value, "_repr_html_"):
        value._repr_html_()
    for name, looked_at in vars(type(value)).items():
        if isinstance(looked_at, property):
            getattr(value, name)


def _change(value: Any) -> Callable[..., None]:
    """Makes a value like this one, but for what is given, and looks at it."""
    return lambda **given: _show(replace(value, **given))


@cache
def _record() -> CallRecord:
    return Tracker().record(model="gpt-4o", usage=USAGE)


def _examples() -> list[Any]:
    """One of each kind of value that users may make themselves."""
    record, session = _record(), _used()
    entry = LedgerEntry(record, datetime.datetime.now(datetime.UTC), 1)
    made = [session.compare(model="o1"), session.carbon(region="DE"), entry]
    return [record, record.request, *made]


ONE = ["value"]
# Door -> what is done with one argument, and the names of its arguments.
DOORS: dict[str, tuple[Callable[..., Any], list[str]]] = {
    "Session": (lambda **given: _use(Session(**given)), _names_of(Session)),
    "Session.compare": (_compare, _names_of(Session().compare)),
    "Session.add": (lambda value: Session().add(value), ONE),
    "Session.carbon": (lambda **given: str(_used().carbon(**given)), _names_of(Session().carbon)),
    "Tracker": (
        lambda **given: Tracker(**given).record(model="gpt-4o", usage=USAGE),
        SETTINGS,
    ),
    "Tracker of roofline": (
        lambda **given: Tracker(**{"method": "roofline"} | given).record(model="o1", usage=USAGE),
        SETTINGS,
    ),
    "Tracker.record": (
        lambda **given: Tracker().record(**{"model": "gpt-4o", "usage": USAGE} | given),
        _names_of(Tracker().record),
    ),
    "EnergySpanProcessor": (EnergySpanProcessor, SETTINGS),
    "EnergyCompletionHook": (EnergyCompletionHook, SETTINGS),
    "instrument_openai": (instrument_openai, SETTINGS),
    "wrap_openai": (lambda **given: wrap_openai(_client(), **given), SETTINGS),
    "wrap_openai of": (wrap_openai, ["client"]),
    "unwrap_openai of": (unwrap_openai, ["client"]),
    "track_energy": (lambda **given: track_energy(**given)(lambda: None)(), [*SETTINGS, "name"]),
    "track_energy of": (lambda value: track_energy(value) and None, ONE),
    "track_energy()(...)": (lambda value: track_energy()(value) and None, ONE),
    "what a decorated function returns": (lambda value: track_energy(lambda: value)(), ONE),
    "read_usage": (read_usage, ["usage"]),
    "energy_of": (energy_of, ["response"]),
    "read_ledger": (lambda path: list(read_ledger(path)), ["path"]),
    "read_logs": (_read, _names_of(read_logs)),
    "record_log of": (lambda value: record_log(value).calls, ONE),
    "record_log": (
        lambda **given: record_log("log.jsonl", **given),
        ["provider", "columns", "strict", *SETTINGS],
    ),
    "register_gpu_profile": (register_gpu_profile, ["profile"]),
    "register_model_profile": (register_model_profile, ["profile"]),
    "GpuProfile": (lambda **given: replace(GPU, **given), _fields_of(GPU)),
    "ModelProfile": (lambda **given: replace(MODEL, **given), _fields_of(MODEL)),
    "the seed's function": (
        cloud_inference_energy_estimate_w_model_attributes,
        _names_of(cloud_inference_energy_estimate_w_model_attributes),
    ),
    "estimate_table": (
        lambda **given: estimate_table(
            **{"input_tokens": [1], "output_tokens": [1], "model": "gpt-4o"} | given
        ),
        [*_names_of(estimate_table), "gpu", "method", "ledger"],
    ),
    "Session.run": (lambda value: Session().run(value), ONE),
    "Totals.add": (lambda value: Totals().add(value), ONE),
    "Totals.plus": (lambda value: Totals().plus(value), ONE),
    "EnergyMiddleware": (
        lambda **given: EnergyMiddleware(**{"app": print} | given),
        _names_of(EnergyMiddleware),
    ),
    "estimate_table of places": (
        lambda value: estimate_table([1], [1], model=[0], models=[value]),
        ONE,
    ),
}
RECORDS = {type(one).__name__: (_change(one), _fields_of(one)) for one in _examples()}
DOORS |= RECORDS

# Of the type that a record's field has; what is in it is not looked at.
ODD_INSIDE = {
    *("a hostile text", "a tuple", "a deep mapping"),
    *("a mapping of numbers", "a mapping to numbers", "a mapping of None"),
}

# Public names that take nothing, or hold what they are given: values, and errors.
NO_DOORS = {
    *("__version__", "current_session", "process_session", "uninstrument_openai"),
    *("session_from_baggage", "session_to_baggage", "energy_session", "EnergyTable"),
    *("LoggedCall", "ReadReport"),  # made by readers of logs alone
    "EnergyEstimate",  # made by estimators alone, also of arrays
    "TokenUsage",  # may hold anything: it is repaired where it is read, like any usage
}


def test_every_public_name_is_a_door_here_or_takes_nothing() -> None:
    for name in energy_tracking.__all__:
        public = getattr(energy_tracking, name)
        if isinstance(public, type) and issubclass(public, Exception | Warning):
            continue
        is_walked = any(door.partition(".")[0].partition(" ")[0] == name for door in DOORS)
        is_seed = name.startswith("cloud_inference")
        assert is_walked or is_seed or name in NO_DOORS, name
        assert not is_walked or name not in NO_DOORS or is_dataclass(public), name


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory with one log; nothing is tracked afterwards."""
    monkeypatch.chdir(tmp_path)
    usage = '{"prompt_tokens": 1, "completion_tokens": 1}'
    (tmp_path / "log.jsonl").write_text(
        f'{{"id": "r", "model": "gpt-4o", "object": "chat.completion", "usage": {usage}}}\n'
    )
    yield tmp_path
    uninstrument_openai()


def _fault_of(door: Callable[..., Any], argument: str, value: Any) -> str | None:
    """What is wrong with how a door takes a value; None where it is right."""
    try:
        door(**{argument: value})
    except OSError:
        return None  # a path that leads to no file
    except (EnergyTrackingError, TypeError, ValueError) as error:
        message = str(error)
        if not 0 < len(message) < 2_000 or "must be " not in message:
            return f"{type(error).__name__}: {message[:200]}"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    return None


@pytest.mark.parametrize("door", DOORS)
def test_a_wrong_value_is_taken_or_refused_in_the_grammar(
    door: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call, arguments = DOORS[door]
    faults = [
        f"{argument}={name}: {fault}"
        for argument in arguments
        for name, value in VALUES.items()
        if not (door in RECORDS and name in ODD_INSIDE)
        if (fault := _fault_of(call, argument, value)) is not None
    ]
    assert not faults, "\n".join(faults)


# A file of profiles.

PROFILE = '[gpus."mine"]\nlike = "H100"\npower_rating = 500.0\n'


def _make_pipe(path: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("needs pipes with a name")
    os.mkfifo(path)


FILES: dict[str, Callable[[Path], object]] = {
    "a pipe": _make_pipe,
    "a folder": lambda path: path.mkdir(),
    "no file": lambda path: None,
    "binary": lambda path: path.write_bytes(bytes(range(256))),
    "another encoding": lambda path: path.write_text(PROFILE, "utf-16"),
    "a control character in a table's name": lambda path: path.write_text(
        PROFILE.replace("mine", "mi\\u001b[2Jne")
    ),
    "a control character in a family's name": lambda path: path.write_text(
        '[families."a\\nb"]\ngrade = "C"\n' + PROFILE
    ),
    "a control character in a key": lambda path: path.write_text(PROFILE + '"a\\u0000b" = 1\n'),
    "a control character in the name of a kind": lambda path: path.write_text('["a\\u0007"]\n'),
    "a control character in an alias": lambda path: path.write_text(
        PROFILE + 'aliases = ["a\\u0007"]\n'
    ),
    "a huge number": lambda path: path.write_text(PROFILE.replace("500.0", "9" * 5_000)),
    "a deep value": lambda path: path.write_text(f"a = {'[' * 5_000}{']' * 5_000}"),
    "a text for a table": lambda path: path.write_text('gpus = "mine"'),
    "a time for a number": lambda path: path.write_text(PROFILE.replace("500.0", "2026-01-01")),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_holds_no_profiles_is_refused_in_the_grammar(kind: str, folder: Path) -> None:
    path = folder / "profiles.toml"
    FILES[kind](path)
    for read in (read_profiles, lambda path: Tracker(profiles=path)):
        with pytest.raises(energy_tracking.ConfigurationError, match=r"must (be|have)") as caught:
            read(path)
        message = str(caught.value)
        assert "profiles" in message
        assert message.isprintable(), message
        assert len(message) < 1_000


def test_a_file_of_profiles_may_begin_with_a_byte_order_mark(folder: Path) -> None:
    path = folder / "profiles.toml"
    path.write_text(PROFILE, "utf-8-sig")
    _, (gpu,) = read_profiles(path)
    assert (gpu.name, gpu.power_rating) == ("mine", 500.0)
    assert Tracker(profiles=path, gpu="mine").settings.gpu == "mine"
