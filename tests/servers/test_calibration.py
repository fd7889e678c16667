"""Factors between meter and estimator: measured, kept in a file, and used for their host."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from calls import CHAT
from energy_tracking import CallRecord, Tracker, wrap_openai
from energy_tracking.errors import ConfigurationError
from energy_tracking.servers.calibration import (
    METER_ERROR,
    Calibration,
    load_calibrations,
    measure_factor,
    write_calibration,
)
from loopback import Flavour, Loopback, chat_completion, json_reply

USAGE = {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}


def calibration_of(**changes: Any) -> Calibration:
    facts: dict[str, Any] = {
        "host": "127.0.0.1",
        "model": "gpt-4o",
        "gpu": "H100-SXM",
        "engine": "vLLM",
        "date": "2026-11-26",
        "factor": 0.5,
        "factor_error": 1.1,
    }
    return Calibration(**facts | changes)


def test_the_factor_is_that_of_the_sums_and_its_error_falls_with_windows() -> None:
    assert measure_factor([]) is None
    assert measure_factor([(0.0, 5.0), (5.0, 0.0)]) is None
    found = measure_factor([(50.0, 100.0)] * 20)
    assert found is not None
    assert found[0] == 0.5
    assert found[1] == pytest.approx(METER_ERROR)
    # Windows that differ by a factor of e either way: s = 1 / sqrt(1 - 1 / n).
    few = measure_factor([(math.e, 1.0), (1 / math.e, 1.0)])
    many = measure_factor([(math.e, 1.0), (1 / math.e, 1.0)] * 50)
    assert few is not None
    assert many is not None
    assert few[0] == pytest.approx(math.cosh(1.0))
    assert math.log(few[1]) == pytest.approx(math.hypot(1.645, math.log(1.05)))
    spread = math.sqrt(100 / 99) / 10
    assert math.log(many[1]) == pytest.approx(math.hypot(1.645 * spread, math.log(1.05)))
    # One window does not say how much they differ.
    one = measure_factor([(1.0, 1.0)])
    assert one is not None
    assert one[1] > 2


def test_a_file_keeps_each_server_once(tmp_path: Path) -> None:
    path = str(tmp_path / "calibration.toml")
    first, other = calibration_of(), calibration_of(host="gpu-1:8000", model='a"b\\c\n')
    write_calibration(path, first)
    write_calibration(path, other)
    later = calibration_of(factor=0.7, date="2026-12-01")
    write_calibration(path, later)
    kept = load_calibrations(path)
    assert kept == (calibration_of(host="gpu-1:8000", model='a"b\\c '), later)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "a file with tables"),
        ("[[servers", "a calibration file"),
        ("servers = 5", "a file with tables"),
        ('[[servers]]\nhost = "a"', "model must be a string, got None"),
        ("{host}\nfactor = 1e9", "factor must be a number from 0.001 to 1000, got"),
        ("{host}\nfactor = 1\nfactor_error = 0.5", "factor_error must be a number from 1 to 1000"),
        ("{host}\nfactor = true", "factor must be a number"),
    ],
)
def test_what_is_no_calibration_is_refused(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "calibration.toml"
    names = "\n".join(f'{name} = "a"' for name in ("host", "model", "gpu", "engine", "date"))
    path.write_text(text.replace("{host}", f"[[servers]]\n{names}"))
    with pytest.raises(ConfigurationError) as raised:
        Tracker(calibration=path)
    assert what in str(raised.value)
    assert "calibration (ENERGY_TRACKING_CALIBRATION)" in str(raised.value)
    with pytest.raises(ConfigurationError, match="calibration"):
        Tracker(calibration=tmp_path / "missing.toml")


@pytest.mark.parametrize("method", ["reference", "roofline"])
@pytest.mark.parametrize(
    ("changes", "is_used"),
    [
        ({}, True),
        ({"host": "10.0.0.9"}, False),
        ({"model": "o1"}, False),
        # The factor is of an estimate on another GPU.
        ({"gpu": "GB200"}, False),
    ],
    ids=["this server", "another host", "another model", "another gpu"],
)
async def test_the_estimate_of_roofline_has_the_factor_of_its_server(
    flavour: Flavour,
    loopback: Loopback,
    tmp_path: Path,
    method: str,
    changes: dict[str, Any],
    is_used: bool,
) -> None:
    path = str(tmp_path / "calibration.toml")
    write_calibration(path, calibration_of(**changes))
    loopback.serve(*[json_reply(chat_completion("Hi", usage=USAGE, model="gpt-4o"))] * 2)
    records: list[CallRecord] = []
    for arguments in ({}, {"calibration": path}):
        client = flavour.client(loopback.base_url)
        wrap_openai(client, on_record=records.append, method=method, **arguments)  # type: ignore[arg-type]
        await flavour.call(client.chat.completions.create, **CHAT | {"model": "gpt-4o"})
    plain, record = records
    before = plain.calibrated or plain.estimate
    after = record.calibrated or record.estimate
    assert before is not None
    assert after is not None
    if not is_used:
        assert after == before
        return
    assert after.total_energy_joules == pytest.approx(before.total_energy_joules / 2)
    assert after.assumed["calibration"] == "x 0.5 as measured on 2026-11-26"
    assert set(after.range_parts) == {"formula", "prefill", "calibration"}
    width = after.total_energy_high_joules / after.total_energy_low_joules
    assert width < before.total_energy_high_joules / before.total_energy_low_joules
    assert after.total_energy_low_joules < after.total_energy_joules
    # The seed's number stays as it is.
    if method == "reference":
        assert record.estimate == plain.estimate
