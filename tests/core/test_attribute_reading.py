"""The attributes of a call are read at once as each of them would be by itself."""

from __future__ import annotations

import random
from dataclasses import replace
from math import inf, isfinite, nan

from energy_tracking.calls.past import PastCall
from energy_tracking.calls.record import CallRecord, Intensity
from energy_tracking.estimation import Estimation
from energy_tracking.frozen import fill_fields
from energy_tracking.settings import SettingArguments, Settings
from energy_tracking.telemetry.attributes import (
    ENERGY_ATTRIBUTES,
    REQUEST_ATTRIBUTES,
    RESPONSE_ATTRIBUTES,
    TOKEN_ATTRIBUTES,
)
from energy_tracking.telemetry.reading import AttributeReader, find_readers

TABLE = RESPONSE_ATTRIBUTES + TOKEN_ATTRIBUTES + ENERGY_ATTRIBUTES
SETTINGS: list[SettingArguments] = [
    {},
    {"method": "roofline", "scope": "facility"},
    {"method": "roofline", "engine_year": 2024, "speculative": True},
    {"gpu": "L40S", "attention_mode": "linear"},
]
ESTIMATIONS = [Estimation(Settings.load(each, {})) for each in SETTINGS]


def random_record(rng: random.Random) -> CallRecord:
    """The record of a call of any kind."""
    inputs, outputs = rng.randrange(5_000), rng.randrange(5_000)
    usage = {
        "prompt_tokens": inputs,
        "completion_tokens": outputs,
        "prompt_tokens_details": {"cached_tokens": rng.randrange(inputs + 1)},
        "completion_tokens_details": {"reasoning_tokens": rng.randrange(2 * outputs + 1)},
    }
    model = rng.choice(("gpt-4o", "openai/gpt-oss-120b", "llama-3.1-8b", "no such model", None))
    joules = rng.choice((None, None, rng.random() * 1e4))
    past = PastCall(
        model=model, usage=rng.choice((usage, usage, None)), measured_energy_joules=joules
    )
    record = rng.choice(ESTIMATIONS).record(past)
    record = replace(
        record,
        intensity=rng.choice((None, Intensity(rng.random() * 500, "here"))),
        usage=record.usage
        and replace(record.usage, estimated=rng.choice(((), ("output_tokens",)))),
        error_type=rng.choice((None, "APIError")),
        retries=rng.randrange(2),
    )
    # Whatever is no number, which a record is otherwise not made with.
    seconds = rng.choice((None, 0.25, nan, inf))
    return fill_fields(CallRecord, vars(record) | {"first_chunk_seconds": seconds})


def each_by_itself(record: CallRecord) -> list[tuple[str, object]]:
    """What each row of the table says of a call, those without a value left out."""
    read = [(row.name, row.read(record)) for row in TABLE]
    return [
        (name, value)
        for name, value in read
        if value is not None and not (isinstance(value, float) and not isfinite(value))
    ]


def test_a_table_is_read_as_its_rows_are() -> None:
    rng = random.Random(13)
    kinds = set()
    for _ in range(1_000):
        record = random_record(rng)
        kinds.add(record.status)
        assert list(find_readers("full").own.read(record).items()) == each_by_itself(record)
    assert kinds == {"measured", "estimated", "unestimated"}


def test_a_table_of_one_row_is_read() -> None:
    rng = random.Random(14)
    for row in TABLE:
        for _ in range(5):
            record = random_record(rng)
            expected = [pair for pair in each_by_itself(record) if pair[0] == row.name]
            assert list(AttributeReader([row]).read(record).items()) == expected


def test_the_request_is_read_as_its_rows_are() -> None:
    record = random_record(random.Random(15))
    expected = {row.name: row.read(record.request) for row in REQUEST_ATTRIBUTES}
    found = find_readers("full").request.read(record.request)
    assert found == {name: value for name, value in expected.items() if value is not None}
