"""What the formulas take of each model that was named, looked up once."""

from __future__ import annotations

from collections.abc import Iterable
from threading import Lock
from typing import Any

import numpy as np

from energy_tracking.basis import Basis
from energy_tracking.estimation import Estimation
from energy_tracking.estimator import CALIBRATED_METHOD, reference
from energy_tracking.estimator.doubts import grade_match, list_doubts
from energy_tracking.estimator.estimate import GRADE_FACTORS, sum_excesses
from energy_tracking.estimator.roofline.cases import Cases, build_cases
from energy_tracking.estimator.roofline.constants import CALIBRATED
from energy_tracking.estimator.roofline.ranges import list_scope_parts
from energy_tracking.profiles.profile import ModelProfile
from energy_tracking.tables.table import ESTIMATED, NO_PROFILE, NOT_NAMED
from energy_tracking.usage.token_usage import TokenUsage

STATUS, PROFILE, DENSE, ATTENTION, SAMPLES, REASONING, UNDER, OVER = range(8)


class Models:
    """What the formulas take of each model that was named, by its place.

    Attributes:
        basis: Method, GPU and assumptions.
        cases: Of ``roofline``: the deployment by the number of the profile.
        excesses: What the parts of the range that are the same for every request add to it,
            likewise, as ``sum_excesses`` gives them.
        profiles: Names of the profiles.
        grades: Confidence in each.
        reasons: Names without a profile, and why.
        numbers: What the formulas take, in the rows named above, of the model in each column.
    """

    def __init__(self, estimation: Estimation, basis: Basis) -> None:
        """Start without a model.

        Args:
            estimation: Looks names up.
            basis: Method, GPU and assumptions.
        """
        self.basis = basis
        self.cases: list[Cases] = []
        self.excesses: list[tuple[float, float]] = []
        self.profiles: list[str] = []
        self.grades: list[str] = []
        self.reasons: dict[str | None, str] = {}
        self._estimation = estimation
        self._looking_up = Lock()
        self._places: dict[str | None, int] = {}
        self._numbers: dict[tuple[Any, ...], int] = {}
        self._rows: list[tuple[float, ...]] = []
        self.numbers = np.zeros((8, 0))
        self._common: list[float | None] = []
        self._whole: dict[int, Any] = {}

    def places_of(self, names: Iterable[str | None]) -> Any:
        """Look names up; returns the place of each, an array of integers.

        What stands at a place stays, so that other threads may go on with what they have.
        """
        names = tuple(names)
        found = [self._places.get(name, -1) for name in names]
        if -1 in found:
            with self._looking_up:
                found = [self._find_place(name) for name in names]
                self._join_rows()
        return np.array(found, np.intp)

    def _join_rows(self) -> None:
        """Make columns of what was looked up."""
        numbers = np.array(self._rows).T.copy()
        self._whole = {
            STATUS: numbers[STATUS].astype(np.uint8),
            PROFILE: numbers[PROFILE].astype(np.int32),
        }
        self.numbers = numbers
        self._common = [float(row[0]) if (row == row[0]).all() else None for row in numbers]

    def _find_place(self, name: str | None) -> int:
        place = self._places.get(name)
        if place is None:
            place = self._places[name] = len(self._rows)
            self._rows.append(self._build_row(name))
        return place

    def _build_row(self, name: str | None) -> tuple[float, ...]:
        """Status, number of the profile, terms, reasoning factor, excesses under and over."""
        nan = float("nan")
        match = self._estimation.match_model(name, None)
        if match is None:
            self.reasons[name] = self._estimation.explain_unknown_model(name)
            status = NOT_NAMED if name is None else NO_PROFILE
            return (status, -1, nan, nan, nan, 1.0, nan, nan)
        profile = self._estimation.select_profile(self.basis, match)
        doubts = list_doubts(TokenUsage(), profile, match.rule)
        number = self._number_profile(profile, match.rule, doubts)
        spread = GRADE_FACTORS[profile.grade]
        excesses = sum_excesses(((1 / spread, spread), *doubts.values()))
        terms = reference.get_terms(profile)
        dense, attention = terms.dense_flops, terms.attention_flops
        factor = profile.reasoning_factor
        return (ESTIMATED, number, dense, attention, terms.samples, factor, *excesses)

    def _number_profile(
        self, profile: ModelProfile, rule: str, doubts: dict[str, tuple[float, float]]
    ) -> int:
        """The number of a profile with what is doubtful about the name that led to it."""
        grade = grade_match(profile, rule)
        key = (profile, grade, *sorted(doubts.items()))
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self.profiles)
            self.profiles.append(profile.name)
            self.grades.append(grade)
            if self.basis.method == CALIBRATED_METHOD:
                assumptions = self.basis.assumptions
                cases = build_cases(profile, self.basis.gpu, assumptions.serving, CALIBRATED)
                parts = {**cases.factors} | list_scope_parts(assumptions.scope) | doubts
                self.cases.append(cases)
                self.excesses.append(sum_excesses(parts.values()))
        return number

    def take(self, row: int, place: Any) -> Any:
        """A number of each place: one for all where it is one place.

        Args:
            row: Which number.
            place: Of which models.
        """
        if row in self._whole:
            whole = self._whole[row]
            return int(whole[place]) if isinstance(place, int) else whole.take(place, mode="wrap")
        common = self._common[row]
        if common is not None:
            return common
        numbers = self.numbers[row]
        return float(numbers[place]) if isinstance(place, int) else numbers.take(place, mode="wrap")
