"""The columns that are returned."""

from __future__ import annotations

from dataclasses import dataclass

from energy_tracking.tables.columns import Column
from energy_tracking.units import wh_from_joules

STATUSES = ("estimated", "model not named", "no energy profile", "not a count of tokens")
"""What the numbers in ``EnergyTable.status`` say."""
ESTIMATED, NOT_NAMED, NO_PROFILE, NO_COUNT = range(len(STATUSES))


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyTable:
    """The energy of many calls; each column is an array of shape (rows,).

    Attributes:
        total_energy_joules: Energy of each call; NaN where it is not known [J], float64.
        total_energy_low_joules: Lower end of the 90 % range [J], float64; None: not asked for.
        total_energy_high_joules: Upper end of it [J], float64; None: not asked for.
        reasoning_energy_joules: Part of the total spent on reasoning [J], float64; NaN where
            the number of reasoning tokens is not known. None: not asked for.
        cache_avoided_energy_joules: What the total would be more by [J], had no token been read
            from a prompt cache, float64; None: not asked for, or no cached tokens were given.
        status: An index into ``STATUSES``, uint8: 0 where the energy was estimated.
        profile: An index into ``profiles``, int32; -1 where the model has none.
        profiles: Names of the model profiles.
        grades: Confidence in each of them for the name that led to it, A to E.
        reasons: Names of models without energy, and why.
        method: The estimator.
        method_version: Its version.
        gpu: Name of the GPU profile.
        scope: ``"gpu"`` or ``"facility"``.
    """

    total_energy_joules: Column
    total_energy_low_joules: Column | None
    total_energy_high_joules: Column | None
    reasoning_energy_joules: Column | None
    cache_avoided_energy_joules: Column | None
    status: Column
    profile: Column
    profiles: tuple[str, ...]
    grades: tuple[str, ...]
    reasons: dict[str | None, str]
    method: str
    method_version: str
    gpu: str
    scope: str

    @property
    def total_energy_wh(self) -> Column:
        """Energy of each call [Wh], float64."""
        return wh_from_joules(self.total_energy_joules)

    @property
    def total_energy_low_wh(self) -> Column | None:
        """Lower end of its 90 % range [Wh], float64."""
        low = self.total_energy_low_joules
        return None if low is None else wh_from_joules(low)

    @property
    def total_energy_high_wh(self) -> Column | None:
        """Upper end of its 90 % range [Wh], float64."""
        high = self.total_energy_high_joules
        return None if high is None else wh_from_joules(high)

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.status)
