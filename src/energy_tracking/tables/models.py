"""What the formulas take of each model that was named, looked up once."""

from __future__ import annotations

from collections.abc import Sequence
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

KEPT_TABLES = 64
"""Tables whose names are remembered together [1]."""


class Numbers:
    """What the formulas take of each model that a table names, by the number of its name."""

    def __init__(self, rows: Sequence[tuple[float, ...]]) -> None:
        """Make columns of them.

        Args:
            rows: The numbers of each name, in the order of the names above.
        """
        columns = np.array(rows).T.copy()
        self._common = [
            float(column[0]) if (column == column[0]).all() else None for column in columns
        ]
        # Status and profile are whole numbers.
        self._columns = [columns[0].astype(np.uint8), columns[1].astype(np.int32), *columns[2:]]

    def take(self, what: int, names: Any) -> Any:
        """One of them, of the models of some rows: a float where it is the same of all names.

        Args:
            what: Which one.
            names: The number of a name, or of each row's, an array of them.
        """
        common = self._common[what]
        if common is not None:
            return common
        column = self._columns[what]
        return float(column[names]) if isinstance(names, int) else column.take(names, mode="wrap")


class Models:
    """What the formulas take of each model that was named.

    Attributes:
        basis: Method, GPU and assumptions.
        cases: Of ``roofline``: the deployment by the number of the profile.
        excesses: What the parts of the range that are the same for every request add to it,
            likewise, as ``sum_excesses`` gives them.
        profiles: Names of the profiles.
        grades: Confidence in each.
        reasons: Names without a profile, and why.
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
        self._numbers: dict[tuple[Any, ...], int] = {}
        self._rows: dict[str | None, tuple[float, ...]] = {}
        self._found: dict[tuple[str | None, ...], Numbers] = {}

    def find_numbers(self, names: tuple[str | None, ...]) -> Numbers:
        """Look names up; returns what the formulas take of each.

        Args:
            names: The names of a table, one or more.
        """
        # Tables of one log name the same models.
        found = self._found.get(names)
        if found is None:
            with self._looking_up:
                rows = [self._find_row(name) for name in names]
            if len(self._found) >= KEPT_TABLES:
                self._found.clear()
            found = self._found[names] = Numbers(rows)
        return found

    def _find_row(self, name: str | None) -> tuple[float, ...]:
        row = self._rows.get(name)
        if row is None:
            row = self._rows[name] = self._build_row(name)
        return row

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
