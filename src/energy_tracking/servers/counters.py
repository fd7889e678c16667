"""Counters of joules: which names hold them, in which unit, and what rose between two readings.

The law:

1. ``COUNTERS`` is asked in its order; the first row that a page has samples of is read, so that
   power is integrated only where nothing counts energy.
2. A device is counted once, however many pods or partitions a page repeats it for; several devices
   are summed.
3. Every number is held against its bound. What is none is left out, as if it were not there.
4. A counter that went down has started anew: what it shows is what it has counted since, and the
   window is marked as incomplete. So is one in which a device came or went.

A further exporter is a row of ``COUNTERS``, with its unit and its source.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Protocol

from energy_tracking.bounds import Bound
from energy_tracking.errors import ConfigurationError, must_be
from energy_tracking.frozen import frozen

COUNTED = Bound(0, 1e13, "J")
"""What one device can have counted [J]: 1 kW for 300 years."""

POWER = Bound(0, 1e6, "W")
"""What one device, or a whole machine, can draw [W]."""


class Sample(Protocol):
    """A sample of a metrics page, as prometheus_client's parser has it."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def labels(self) -> Mapping[str, str]:
        """Its labels."""

    @property
    def value(self) -> float:
        """Its value."""


@frozen(kw_only=True)
class EnergyCounter:
    """One metric that holds energy, or power.

    Attributes:
        name: Its name; a ``_total`` at the end is left out, which parsers add and take.
        exporter: Who exports it.
        unit: Joules in one of its unit [J]; of a power, watts [W].
        is_power: Whether it is a power, to be integrated.
        devices: Labels that tell one device from another, of which a sample's first is taken.
        parts: Labels that tell parts of one device's energy from another, all of them.
        machines: Labels that tell one machine from another, where a page is of several.
        only: Label -> the values that are counted; others are part of these, or of something else.
        source: Where the name and the unit are from.
    """

    name: str
    exporter: str
    unit: float
    source: str
    devices: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    is_power: bool = False
    machines: tuple[str, ...] = ("Hostname", "hostname", "node_name", "instance")
    only: Mapping[str, frozenset[str]] | None = None


_DCGM = (
    "https://github.com/NVIDIA/dcgm-exporter/blob/main/etc/default-counters.csv: "
    "'Total energy consumption since boot (in mJ)', 'Power draw (in W)'"
)
_AMD = (
    "https://github.com/ROCm/device-metrics-exporter/blob/main/docs/configuration/metricslist.md: "
    "'Accumulated energy consumed by the GPU in Micro Jules (uJ)', 'GPU power usage in Watts'"
)
_KEPLER = (
    "https://github.com/sustainable-computing-io/kepler/blob/main/docs/user/metrics.md; of versions"
    " before 0.10: https://sustainable-computing.io/design/metrics/"
)
_AMD_DEVICES = ("serial_number", "gpu_uuid", "gpu_id")

COUNTERS: tuple[EnergyCounter, ...] = (
    EnergyCounter(
        name="DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION",
        exporter="NVIDIA DCGM exporter",
        unit=1e-3,
        devices=("UUID", "gpu"),
        source=_DCGM,
    ),
    EnergyCounter(
        name="gpu_energy_consumed",
        exporter="AMD device metrics exporter",
        unit=1e-6,
        devices=_AMD_DEVICES,
        source=_AMD,
    ),
    EnergyCounter(
        name="kepler_node_gpu_joules",
        exporter="Kepler, GPUs",
        unit=1.0,
        devices=("gpu_uuid", "gpu"),
        # Dynamic and idle energy.
        parts=("mode", "source"),
        source=_KEPLER,
    ),
    EnergyCounter(
        name="kepler_node_platform_joules",
        exporter="Kepler, whole machine",
        unit=1.0,
        parts=("mode", "source"),
        source=_KEPLER,
    ),
    EnergyCounter(
        name="kepler_node_cpu_joules",
        exporter="Kepler, processor and memory",
        unit=1.0,
        parts=("path", "zone"),
        # The zones core and uncore are parts of package.
        only={"zone": frozenset({"package", "dram"})},
        source=_KEPLER,
    ),
    EnergyCounter(
        name="DCGM_FI_DEV_POWER_USAGE",
        exporter="NVIDIA DCGM exporter",
        unit=1.0,
        is_power=True,
        devices=("UUID", "gpu"),
        source=_DCGM,
    ),
    *(
        EnergyCounter(
            name=name,
            exporter="AMD device metrics exporter",
            unit=1.0,
            is_power=True,
            devices=_AMD_DEVICES,
            source=_AMD,
        )
        for name in ("gpu_package_power", "gpu_average_package_power", "gpu_power_usage")
    ),
)

TENSORRT_LLM = EnergyCounter(
    name="total_energy_j",
    exporter="TensorRT-LLM /energy_metrics",
    unit=1.0,
    source=(
        "https://github.com/NVIDIA/TensorRT-LLM/pull/11855: an object with total_energy_j [J], of"
        " all GPUs of the server, where enable_energy_metrics is set"
    ),
)

NVML = EnergyCounter(
    name="nvmlDeviceGetTotalEnergyConsumption",
    exporter="NVML on this machine",
    unit=1e-3,
    source=(
        "https://docs.nvidia.com/deploy/nvml-api/group__nvmlDeviceQueries.html: 'total energy"
        " consumption for this GPU in millijoules (mJ) since the driver was last reloaded'"
    ),
)


@frozen()
class EnergyReading:
    """What a meter showed at one time.

    Attributes:
        at: When, by a clock of ours that never goes back [s].
        counter: What was read.
        devices: Device -> what it has counted [J]; of a power, what it draws [W].
    """

    at: float
    counter: EnergyCounter
    devices: Mapping[str, float]


@frozen()
class Counted:
    """What a meter counted between two readings.

    Attributes:
        joules: The energy [J].
        is_complete: Whether nothing of it is missing.
    """

    joules: float
    is_complete: bool


def read_counters(
    samples: Iterable[Sample], at: float, only: frozenset[str] = frozenset()
) -> EnergyReading | None:
    """What the first counter of the table shows that a page has; None where it has none.

    Args:
        samples: The page.
        at: When it was read [s].
        only: The devices that are read, by the value of any of the labels that name them; empty:
            all.
    """
    by_name: dict[str, list[Sample]] = {}
    for sample in samples:
        by_name.setdefault(sample.name.removesuffix("_total"), []).append(sample)
    for counter in COUNTERS:
        devices: dict[str, float] = {}
        for sample in by_name.get(counter.name, ()):
            if _is_counted(counter, sample.labels, only):
                value = read_amount(counter, sample.value)
                if value is not None:
                    # Partitions and pods repeat the counter of the device that they are on.
                    device = _name_device(counter, sample.labels)
                    devices[device] = max(value, devices.get(device, 0.0))
        if devices:
            return EnergyReading(at, counter, devices)
    return None


def read_energy_metrics(text: str, at: float) -> EnergyReading | None:
    """What TensorRT-LLM's ``/energy_metrics`` shows; None where it shows no energy.

    Args:
        text: The body.
        at: When it was read [s].
    """
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return None
    shown = body.get(TENSORRT_LLM.name) if isinstance(body, dict) else None
    value = read_amount(TENSORRT_LLM, shown)
    return None if value is None else EnergyReading(at, TENSORRT_LLM, {"": value})


def read_amount(counter: EnergyCounter, value: object) -> float | None:
    """The energy [J] or the power [W] that a number stands for; None where it cannot be one.

    Args:
        counter: What the number is of.
        value: The number.
    """
    bound = POWER if counter.is_power else COUNTED
    if not Bound(0, bound.high / counter.unit).holds(value):
        return None
    return float(value) * counter.unit  # type: ignore[arg-type]


def count_between(before: EnergyReading, after: EnergyReading) -> Counted:
    """The energy between two readings of one meter.

    Args:
        before: The earlier one.
        after: The later one.
    """
    if before.counter.name != after.counter.name:
        return Counted(0.0, is_complete=False)
    seconds = after.at - before.at
    is_complete = before.devices.keys() == after.devices.keys()
    joules = 0.0
    for device in before.devices.keys() & after.devices.keys():
        first, last = before.devices[device], after.devices[device]
        if after.counter.is_power:
            joules += (first + last) / 2 * seconds
        elif last >= first:
            joules += last - first
        else:
            joules += last
            is_complete = False
    # A counter that leaps has lied, or was another one's.
    most = POWER.high * len(after.devices) * max(seconds, 0.0)
    return Counted(joules, is_complete) if joules <= most else Counted(0.0, is_complete=False)


def has_advanced(before: EnergyReading, after: EnergyReading) -> bool:
    """Whether the meter has counted anew since: exporters show the same for seconds, some for 30.

    Args:
        before: The earlier reading.
        after: The later one.
    """
    return after.counter.is_power or before.devices != after.devices


def read_devices(fragment: str) -> frozenset[str]:
    """The devices that the end of an address names, as in ``#gpu=0,1``; empty: all.

    Raises:
        ConfigurationError: It is written in another way.
    """
    if not fragment:
        return frozenset()
    name, _, given = fragment.partition("=")
    devices = frozenset(part.strip() for part in given.split(",") if part.strip())
    if name != "gpu" or not devices:
        remedy = "name GPUs by their number or UUID"
        raise ConfigurationError(must_be("", "an address that ends in #gpu=0,1", fragment, remedy))
    return devices


def _is_counted(counter: EnergyCounter, labels: Mapping[str, str], only: frozenset[str]) -> bool:
    """Whether a sample is of a device that is asked for, and no part of another sample."""
    for label, values in (counter.only or {}).items():
        if labels.get(label) not in values:
            return False
    return not only or any(labels.get(label) in only for label in counter.devices)


def _name_device(counter: EnergyCounter, labels: Mapping[str, str]) -> str:
    """What tells a device from the others of a page."""
    machine = next((labels[label] for label in counter.machines if labels.get(label)), "")
    device = next((labels[label] for label in counter.devices if labels.get(label)), "")
    return "/".join([machine, device, *(labels.get(label, "") for label in counter.parts)])
