"""Counters of joules, on what their exporters really show."""

from __future__ import annotations

import json
from typing import NamedTuple

import pytest

from energy_tracking.bounds import Bound
from energy_tracking.errors import ConfigurationError
from energy_tracking.servers.counters import (
    COUNTERS,
    NVML,
    TENSORRT_LLM,
    EnergyReading,
    count_between,
    has_advanced,
    read_counters,
    read_devices,
    read_energy_metrics,
)


class Shown(NamedTuple):
    """A sample of a page."""

    name: str
    labels: dict[str, str]
    value: float


DCGM = "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"
WATTS = "DCGM_FI_DEV_POWER_USAGE"

# Exporter's name, its samples, and the joules that its documents say they are.
PAGES = {
    # A Tesla T4 behind dcgm-exporter: 15,152,422,938 mJ.
    "dcgm": ([Shown(DCGM, {"gpu": "0", "UUID": "GPU-6d5c"}, 15152422938)], 15152422.938),
    # prometheus_client adds _total to a counter that lacks it.
    "dcgm parsed": ([Shown(DCGM + "_total", {"gpu": "0", "UUID": "GPU-6d5c"}, 1000)], 1.0),
    "two gpus": ([Shown(DCGM, {"UUID": "a"}, 1000), Shown(DCGM, {"UUID": "b"}, 2000)], 3.0),
    # Two MIG instances, or two pods, show the counter of the one board that they are on.
    "one gpu twice": (
        [
            Shown(DCGM, {"UUID": "a", "GPU_I_ID": "1", "pod": "x"}, 1000),
            Shown(DCGM, {"UUID": "a", "GPU_I_ID": "2", "pod": "y"}, 1000),
        ],
        1.0,
    ),
    "energy before power": (
        [Shown(WATTS, {"UUID": "a"}, 300), Shown(DCGM, {"UUID": "a"}, 1000)],
        1.0,
    ),
    # Microjoules, which a float holds to 16 of them.
    "amd": (
        [
            Shown("gpu_energy_consumed", {"gpu_id": "0", "serial_number": "SN-0"}, 1.4e15),
            Shown("gpu_energy_consumed", {"gpu_id": "1", "serial_number": "SN-1"}, 6e14),
        ],
        2e9,
    ),
    "kepler gpu": (
        [
            Shown("kepler_node_gpu_joules_total", {"mode": "dynamic"}, 30.0),
            Shown("kepler_node_gpu_joules_total", {"mode": "idle"}, 12.0),
        ],
        42.0,
    ),
    # A core is part of its package.
    "kepler cpu": (
        [
            Shown("kepler_node_cpu_joules_total", {"zone": "package", "path": "p0"}, 5.0),
            Shown("kepler_node_cpu_joules_total", {"zone": "package", "path": "p1"}, 6.0),
            Shown("kepler_node_cpu_joules_total", {"zone": "core", "path": "c0"}, 3.0),
            Shown("kepler_node_cpu_joules_total", {"zone": "dram", "path": "d0"}, 1.0),
        ],
        12.0,
    ),
}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_shows_the_joules_that_its_exporter_documents(page: str) -> None:
    samples, joules = PAGES[page]
    reading = read_counters(samples, 0.0)
    assert reading is not None
    assert sum(reading.devices.values()) == pytest.approx(joules, rel=1e-12)


def test_power_is_in_watts_where_nothing_counts_energy() -> None:
    reading = read_counters([Shown(WATTS, {"UUID": "a"}, 68.244)], 0.0)
    assert reading is not None
    assert reading.counter.is_power
    assert reading.devices == {"/a": 68.244}


def test_only_the_gpus_named_are_read() -> None:
    samples = [Shown(DCGM, {"UUID": f"GPU-{n}", "gpu": str(n)}, 1000 * n) for n in range(1, 5)]
    for fragment, joules in (("gpu=1,3", 4.0), ("gpu=GPU-2", 2.0), ("", 10.0)):
        reading = read_counters(samples, 0.0, read_devices(fragment))
        assert reading is not None
        assert sum(reading.devices.values()) == joules
    assert read_counters(samples, 0.0, read_devices("gpu=9")) is None
    for wrong in ("gpu=", "model=x", "top"):
        with pytest.raises(ConfigurationError, match=r"#gpu=0,1, got '"):
            read_devices(wrong)


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), -1.0, 1e30, True, "7", None, 10**400]
)
def test_what_is_no_energy_is_not_read(value: object) -> None:
    assert read_counters([Shown(DCGM, {"UUID": "a"}, value)], 0.0) is None  # type: ignore[arg-type]
    if value is not None and value == value:
        text = json.dumps({"total_energy_j": value})
        assert read_energy_metrics(text, 0.0) is None


def test_a_page_without_a_counter_shows_nothing() -> None:
    assert read_counters([], 0.0) is None
    assert read_counters([Shown("vllm:num_requests_running", {}, 3)], 0.0) is None


def test_tensorrt_llm_shows_joules_in_json() -> None:
    reading = read_energy_metrics('{"total_energy_j": 1234.5678, "query_time": 9.1}', 3.0)
    assert reading == EnergyReading(3.0, TENSORRT_LLM, {"": 1234.5678})


@pytest.mark.parametrize(
    "text", ['{"error": "Energy monitoring is not available"}', "[]", "", "{", "[" * 100_000]
)
def test_tensorrt_llm_without_energy_shows_none(text: str) -> None:
    assert read_energy_metrics(text, 0.0) is None


def reading_of(at: float, name: str, **values: float) -> EnergyReading:
    reading = read_counters([Shown(name, {"UUID": uuid}, v) for uuid, v in values.items()], at)
    assert reading is not None
    return reading


def test_energy_is_what_the_counters_rose_by() -> None:
    before, after = reading_of(0, DCGM, a=1000, b=5000), reading_of(1, DCGM, a=1500, b=5250)
    counted = count_between(before, after)
    assert counted.joules == pytest.approx(0.75)
    assert counted.is_complete


def test_power_is_integrated_by_trapezoids() -> None:
    counted = count_between(reading_of(0, WATTS, a=100, b=50), reading_of(2, WATTS, a=300, b=50))
    assert counted.joules == pytest.approx((100 + 300) / 2 * 2 + 50 * 2)
    assert counted.is_complete


def test_a_counter_that_went_down_starts_anew_and_the_window_is_incomplete() -> None:
    before, after = reading_of(0, DCGM, a=9_000_000, b=1000), reading_of(1, DCGM, a=400, b=1200)
    counted = count_between(before, after)
    assert counted.joules == pytest.approx(0.6)
    assert not counted.is_complete


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (reading_of(0, DCGM, a=1000), reading_of(1, DCGM, a=1500, b=9000)),
        (reading_of(0, DCGM, a=1000, b=9000), reading_of(1, DCGM, a=1500)),
        # Another counter, and a leap that no board can make.
        (reading_of(0, DCGM, a=1000), reading_of(1, WATTS, a=300)),
        (reading_of(0, DCGM, a=1000), reading_of(1, DCGM, a=1e15)),
        # Our clock stands still.
        (reading_of(1, DCGM, a=1000), reading_of(1, DCGM, a=2000)),
    ],
    ids=["a device came", "a device went", "another counter", "a leap", "no time"],
)
def test_a_window_with_a_change_of_devices_is_incomplete(
    before: EnergyReading, after: EnergyReading
) -> None:
    counted = count_between(before, after)
    assert not counted.is_complete
    assert counted.joules in (0.0, pytest.approx(0.5))


def test_a_counter_that_shows_the_same_has_not_advanced() -> None:
    assert not has_advanced(reading_of(0, DCGM, a=1000), reading_of(1, DCGM, a=1000))
    assert has_advanced(reading_of(0, DCGM, a=1000), reading_of(1, DCGM, a=1001))
    # A steady power is a reading like any other.
    assert has_advanced(reading_of(0, WATTS, a=70), reading_of(1, WATTS, a=70))


@pytest.mark.parametrize("counter", [*COUNTERS, TENSORRT_LLM, NVML], ids=lambda row: row.name)
def test_every_counter_has_a_source_and_a_unit(counter: object) -> None:
    assert counter.source.startswith("https://")  # type: ignore[attr-defined]
    assert Bound(1e-6, 1).holds(counter.unit)  # type: ignore[attr-defined]
