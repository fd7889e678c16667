"""Our frozen classes are those of ``dataclasses``, but for what they cost."""

from __future__ import annotations

import copy
import inspect
import pickle
from dataclasses import FrozenInstanceError, asdict, astuple, dataclass, field, fields, replace
from typing import Any

import pytest

from energy_tracking.errors import ConfigurationError
from energy_tracking.estimator.serving import ServingProfile
from energy_tracking.frozen import fill_fields, frozen


@frozen()
class Ours:
    """One with fields by place."""

    name: str
    size: int = 3
    parts: dict[str, int] = field(default_factory=dict[str, int])
    hidden: float = field(default=0.5, repr=False, compare=False)


@dataclass(frozen=True)
class Theirs:
    """The same, by the standard library."""

    name: str
    size: int = 3
    parts: dict[str, int] = field(default_factory=dict[str, int])
    hidden: float = field(default=0.5, repr=False, compare=False)


@frozen(kw_only=True)
class Named:
    """One with fields by name, those without a default in any order."""

    size: int = 3
    name: str


GIVEN: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    (("a",), {}),
    (("a", 4), {}),
    (("a", 4, {"x": 1}, 2.0), {}),
    (("a",), {"hidden": 9.0}),
    ((), {"size": 5, "name": "b"}),
]


@pytest.mark.parametrize(("args", "named"), GIVEN)
def test_a_frozen_class_holds_shows_and_copies_what_the_usual_one_does(
    args: tuple[Any, ...], named: dict[str, Any]
) -> None:
    ours, theirs = Ours(*args, **named), Theirs(*args, **named)
    assert asdict(ours) == asdict(theirs)
    assert astuple(ours) == astuple(theirs)
    assert repr(ours) == repr(theirs).replace("Theirs", "Ours")
    assert [each.name for each in fields(ours)] == [each.name for each in fields(theirs)]
    assert asdict(replace(ours, size=7)) == asdict(replace(theirs, size=7))
    for other in (pickle.loads(pickle.dumps(ours)), copy.copy(ours), copy.deepcopy(ours)):
        assert other == ours
        assert asdict(other) == asdict(ours)


def test_frozen_instances_are_equal_by_their_compared_fields_alone() -> None:
    assert Ours("a") == Ours("a", 3, {}, hidden=2.0)
    assert Ours("a") != Ours("b")
    assert Ours("a") != object()
    assert hash(Named(name="a")) == hash(Named(name="a", size=3))
    assert len({Named(name="a"), Named(name="a"), Named(name="b")}) == 2


def test_frozen_instances_share_no_default_that_can_change() -> None:
    first, second = Ours("a"), Ours("a")
    first.parts["x"] = 1
    assert second.parts == {}


@pytest.mark.parametrize("name", ["name", "size", "other"])
def test_frozen_instances_cannot_be_changed(name: str) -> None:
    ours = Ours("a")
    with pytest.raises(FrozenInstanceError, match="cannot assign"):
        setattr(ours, name, 1)
    with pytest.raises(FrozenInstanceError, match="cannot delete"):
        delattr(ours, name)
    assert ours == Ours("a")


@pytest.mark.parametrize(
    ("kind", "args", "named", "what"),
    [
        (Ours, (), {}, "lacks arguments: name"),
        (Ours, ("a", 1, {}, 2.0, 5), {}, "at most 4 positional arguments, got 5"),
        (Ours, ("a",), {"name": "b"}, "multiple values for name"),
        (Ours, ("a",), {"colour": 1, "sise": 2}, "unexpected arguments: colour, sise"),
        (Named, ("a",), {}, "at most 0 positional arguments, got 1"),
        (Named, (), {"size": 1}, "lacks arguments: name"),
    ],
)
def test_arguments_that_are_no_fields_are_refused(
    kind: Any, args: tuple[Any, ...], named: dict[str, Any], what: str
) -> None:
    with pytest.raises(TypeError, match=what):
        kind(*args, **named)


def test_the_signature_of_a_frozen_class_is_that_of_the_usual_one() -> None:
    ours = inspect.signature(Ours).parameters.values()
    theirs = inspect.signature(Theirs).parameters.values()
    assert [(each.name, each.kind) for each in ours] == [(each.name, each.kind) for each in theirs]
    assert [each.default for each in ours][:2] == [inspect.Parameter.empty, 3]
    assert str(inspect.signature(Named)) == "(*, size: 'int' = 3, name: 'str') -> None"


def test_a_check_after_filling_may_refuse() -> None:
    with pytest.raises(ConfigurationError, match="num_gpus"):
        ServingProfile(num_gpus=-1)


def test_an_instance_that_is_filled_at_once_is_as_one_that_was_made() -> None:
    filled = fill_fields(Named, {"size": 3, "name": "a"})
    assert filled == Named(name="a")
    assert (filled.size, asdict(filled)) == (3, {"size": 3, "name": "a"})
    assert pickle.loads(pickle.dumps(filled)) == filled
