"""A profile under its names, built when something first needs its numbers.

Hundreds of profiles come with the library, of which a process uses a few: to build them all took
most of the time and memory of its first tracker.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Self, TypeVar

from energy_tracking.profiles.profile import Profile

_P = TypeVar("_P", bound=Profile)


class Entry(Generic[_P]):
    """A profile that may not be built yet.

    Attributes:
        name: Its name.
        aliases: Its other names.
    """

    __slots__ = ("_build", "_built", "aliases", "name")

    def __init__(self, name: str, aliases: tuple[str, ...], build: Callable[[], _P]) -> None:
        """Build nothing yet.

        Args:
            name: Name of the profile.
            aliases: Its other names.
            build: Builds it.
        """
        self.name = name
        self.aliases = aliases
        self._build = build
        self._built: list[_P] = []

    @property
    def profile(self) -> _P:
        """The profile, the same object for all who ask."""
        if not self._built:
            # Of two threads that come here at once, the first has built it.
            self._built.append(self._build())
        return self._built[0]

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        """Itself: a profile never changes."""
        return self


def enter(profile: _P | Entry[_P]) -> Entry[_P]:
    """The entry of a profile."""
    if isinstance(profile, Entry):
        return profile
    return Entry(profile.name, profile.aliases, lambda: profile)
