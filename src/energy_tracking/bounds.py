"""What a value may be that enters from outside: a setting, an argument, a profile, a record.

Whatever is given, the answer is a value of a plain type or an error in the one grammar: nothing
is asked of an object before its type is known.

Bounds of numbers are wide: they refuse what no model, machine or year can have, so that no product
of numbers inside them overflows, and no sum is spoilt. The one comparison refuses NaN, infinity
and whole numbers of any length too.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Container, Mapping
from contextlib import suppress
from functools import cache
from types import NoneType
from typing import Any, Literal, TypeGuard, TypeVar

from energy_tracking.errors import ConfigurationError, must_be
from energy_tracking.frozen import frozen

T = TypeVar("T")

_NO_NUMBERS = (str, bytes, Mapping, list, tuple)


def is_of_kind(value: object, kind: Literal["Number", "Real", "Integral"]) -> bool:
    """Whether a value is a number of a kind that ``numbers`` distinguishes; a flag is one of each.

    Args:
        value: The value.
        kind: The kind.
    """
    # The built-in types first: asking the abstract ones is ten times slower, and loads them.
    if isinstance(value, int):
        return True
    if isinstance(value, float):
        return kind != "Integral"
    if value is None or isinstance(value, _NO_NUMBERS):
        return False
    import numbers

    return isinstance(value, getattr(numbers, kind))


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a number; a flag, which would pass for one and hide a mistake, is none."""
    return is_of_kind(value, "Real") and not isinstance(value, bool)


def read_number(value: object) -> object:
    """The number that a text states; anything else as it is."""
    if isinstance(value, str):
        for kind in (int, float):
            with suppress(ValueError):
                return kind(value)
    return value


def read_whole(value: object, most: float) -> int | None:
    """The whole number from 0 that a number or a text states; None: it states none.

    Args:
        value: The value.
        most: The greatest.
    """
    if type(value) is int:
        return value if 0 <= value <= most else None
    if isinstance(value, bool) or not (isinstance(value, str) or is_of_kind(value, "Number")):
        return None
    try:
        number = float(value)  # type: ignore[arg-type]
    except Exception:  # not a number, over 1e308, or a number class of somebody else's
        return None
    return int(number) if 0 <= number <= most and number % 1 == 0 else None


@frozen()
class Bound:
    """The least and the greatest value of a number.

    Attributes:
        low: The least.
        high: The greatest.
        unit: The unit of both; empty for plain numbers.
        is_whole: Whether only whole numbers are allowed.
        or_zero: Whether 0 is allowed too.
    """

    low: float
    high: float
    unit: str = ""
    is_whole: bool = False
    or_zero: bool = False

    @property
    def text(self) -> str:
        """What a number must be, for messages."""
        zero = "0 or " if self.or_zero else ""
        noun = "a whole number" if self.is_whole else "a number"
        unit = f" {self.unit}" if self.unit else ""
        return f"{zero}{noun} from {self.low:g} to {self.high:g}{unit}"

    def holds(self, value: object) -> bool:
        """Whether a value is such a number."""
        if not is_number(value):
            return False
        number: Any = value
        if not (self.low <= number <= self.high or (self.or_zero and number == 0)):
            return False
        return not self.is_whole or bool(number % 1 == 0)

    def check(self, name: str, value: object) -> float:
        """The value as a float, or an int where only whole numbers are allowed.

        Args:
            name: The argument or setting, for messages.
            value: What was given.

        Raises:
            ConfigurationError: It is no number, or out of bounds.
        """
        if not self.holds(value):
            raise ConfigurationError(must_be(name, self.text, value))
        number: Any = value
        return int(number) if self.is_whole else float(number)


def is_choice(value: object, choices: Container[str]) -> bool:
    """Whether a value is one of a few words.

    Args:
        value: The value; of another type it may compare in any way.
        choices: The words.
    """
    return isinstance(value, str) and value in choices


def read_path(name: str, value: object) -> str:
    """A path as a text.

    Args:
        name: The argument or setting, for messages.
        value: What was given: a number would be a file that somebody else has open.

    Raises:
        ConfigurationError: It is no path, or one that no file can have.
    """
    path = os.fspath(value) if isinstance(value, os.PathLike) else value
    if isinstance(path, bytes):
        path = os.fsdecode(path)
    if isinstance(path, str) and path and "\0" not in path:
        path = str.__str__(path)  # of a subclass, which may answer otherwise
        with suppress(UnicodeEncodeError):  # a lone surrogate, which no file's name can have
            os.fsencode(path)
            return path
    raise ConfigurationError(must_be(name, "a path", value))


_LARGEST = 1e100
"""Larger numbers, in any unit, are no fact about a call; nor are those below 0."""

_PLAIN_TYPES: Mapping[str, tuple[type, str]] = {
    "str": (str, "a string"),
    "int": (int, "a whole number"),
    "float": (float, f"a number from 0 to {_LARGEST:g}"),
    "bool": (bool, "True or False"),
    "Mapping": (Mapping, "a mapping"),
    "tuple": (tuple, "a tuple"),
    "None": (NoneType, "None"),
}
"""What an annotation names -> its type, and what messages call it."""


def checked(kind: type[T]) -> type[T]:
    """Have the ``__init__`` of a frozen class refuse values that its annotations do not name.

    For records that users may make themselves; ``fill_fields`` checks nothing.
    """
    the_class: Any = kind

    def __post_init__(self: Any) -> None:
        for name, types, what in _expected_fields(the_class):
            if not _is_one_of(getattr(self, name), types):
                raise ConfigurationError(must_be(name, what, getattr(self, name)))

    the_class.__post_init__ = __post_init__
    return kind


@cache
def _expected_fields(kind: type[Any]) -> list[tuple[str, tuple[type, ...], str]]:
    """Each field of a class, the types that its annotation names, and what they are called.

    What is in brackets is not looked at.
    """
    expected = []
    for name, annotation in kind.__annotations__.items():
        while annotation != (annotation := re.sub(r"\[[^][]*\]", "", annotation)):
            pass
        found = [_find_type(kind, part) for part in annotation.split(" | ")]
        what = " or ".join(text for _, text in found)
        expected.append((name, tuple(each for each, _ in found), what))
    return expected


def _find_type(kind: type[Any], name: str) -> tuple[type, str]:
    plain = _PLAIN_TYPES.get(name)
    if plain is not None:
        return plain
    found = vars(sys.modules[kind.__module__])[name]
    # Anything else is a choice of words.
    return (found, f"of type {name}") if isinstance(found, type) else _PLAIN_TYPES["str"]


def _is_one_of(value: object, types: tuple[type, ...]) -> bool:
    """Whether a value is of one of these types; a flag is no number."""
    if isinstance(value, bool):
        return bool in types
    if not is_number(value):
        return isinstance(value, types)
    is_named = float in types or (int in types and is_of_kind(value, "Integral"))
    # The one comparison refuses NaN and infinity too.
    return is_named and 0 <= value <= _LARGEST
