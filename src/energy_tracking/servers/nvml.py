"""NVIDIA's GPUs of this machine, read through the driver's own library.

The package ``nvidia-ml-py`` is an extra. Volta and later count energy; before that there is power
alone, which is not read here.
"""

from __future__ import annotations

from typing import Any

from energy_tracking.errors import say_install
from energy_tracking.servers.counters import NVML, EnergyReading, read_amount
from energy_tracking.servers.pages import PageError


def read_nvml(at: float, only: frozenset[str] = frozenset()) -> EnergyReading:
    """What the GPUs of this machine have counted.

    Args:
        at: When it is read [s].
        only: The GPUs that are read, by their number or UUID; empty: all.

    Raises:
        PageError: The package or the driver is missing, or no such GPU counts energy.
    """
    try:
        import pynvml
    except ImportError:
        raise PageError(f"needs the package 'nvidia-ml-py'; {say_install('nvml')}") from None
    try:
        pynvml.nvmlInit()
        try:
            devices = _read_devices(pynvml, only)
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        raise PageError(f"cannot be read: {error}") from None
    if not devices:
        raise PageError("shows no GPU that counts energy" + (" of those named" if only else ""))
    return EnergyReading(at, NVML, devices)


def _read_devices(pynvml: Any, only: frozenset[str]) -> dict[str, float]:
    """Each GPU by its UUID, with what it has counted [J]."""
    devices: dict[str, float] = {}
    for number in range(pynvml.nvmlDeviceGetCount()):
        handle = pynvml.nvmlDeviceGetHandleByIndex(number)
        uuid = _as_text(pynvml.nvmlDeviceGetUUID(handle))
        if only and not only & {uuid, str(number)}:
            continue
        counted = read_amount(NVML, pynvml.nvmlDeviceGetTotalEnergyConsumption(handle))
        if counted is not None:
            devices[uuid] = counted
    return devices


def _as_text(name: str | bytes) -> str:
    # Bindings before version 12 return bytes.
    return name.decode("ascii", "replace") if isinstance(name, bytes) else name
