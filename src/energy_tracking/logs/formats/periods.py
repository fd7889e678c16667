"""Sums of a period are known by what they say: exports of a dashboard overlap.

A sum with a time is the same as one of another file whose period, names and counts are the same.
Equal ones in one file are told apart by how many came before, so that they count as often as in the
file that has most of them. One of the same period and names with other counts may have grown, or be
another's: it counts beside the other, which is said.
"""

from __future__ import annotations

from collections.abc import Mapping

from energy_tracking.logs.formats.base import LogFile, remember
from energy_tracking.logs.logged import LoggedCall
from energy_tracking.logs.once import Seen

PERIODS_REMEMBERED = 10_000
"""How many periods of sums are remembered, from one file for the next."""
READ_TWICE = (
    "of a period that was read with other counts too, counted beside those: if they are of one "
    "organisation, leave the earlier page out, or group pages by project; of two tables of the "
    "same, leave the earlier one out"
)


def identify_sum(
    call: LoggedCall, names: Mapping[str, object], file: LogFile, place: object = None
) -> None:
    """Say what a sum is known by, if it has a time and nothing else to be known by.

    Args:
        call: The sum.
        names: What it says beside its counts: the end of its period, a model, a user.
        file: Where it is.
        place: The part of the file in which equal ones are apart; None: the whole file is one.
    """
    counts = call.counts
    if call.identity is not None or call.time is None or counts is None:
        return
    named = sorted((name, str(value)) for name, value in names.items())
    period = ("sum", call.time.isoformat(), repr(named))
    counted = (
        *(call.requests, counts.input_tokens, counts.cached_input_tokens, counts.output_tokens),
    )
    equal: Seen = file.memory.setdefault("equal sums", Seen())
    before = equal.find_tokens((period, counted, place)) or 0
    equal.put((period, counted, place), before + 1)
    call.identity = (*period, counted, before)
    periods: dict[object, tuple[object, object]] = file.shared.setdefault("periods", {})
    source = (file.path, place)
    if period not in periods:
        remember(periods, period, (source, counted), PERIODS_REMEMBERED)
    elif periods[period][0] != source and periods[period][1] != counted:
        call.assumed = READ_TWICE
