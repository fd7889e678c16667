"""Energy that a server has measured itself, in a body, an event or a header.

Every number that enters from outside as an energy is held against ``MEASURED``. Servers name it
as they like: a new name is a row in ``MEASURED_ENERGY``, with its unit. What may be a sum over
requests is left out: of a header, its name alone says so.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, cast

from energy_tracking.bounds import Bound
from energy_tracking.units import joules_from_wh
from energy_tracking.usage.endpoints import AZURE_HOST_ENDS
from energy_tracking.usage.usage_paths import usages_in

# Names under which servers that measure report the energy of the request itself, in the
# body or its usage, plainly or inside an `energy` object, and joules in one of each.
MEASURED_ENERGY = {
    "energy_joules": 1.0,
    "total_energy_joules": 1.0,
    "total_joules": 1.0,
    "joules": 1.0,
    "energy_wh": joules_from_wh(1.0),
    "total_energy_wh": joules_from_wh(1.0),
    "watt_hours": joules_from_wh(1.0),
    "wh": joules_from_wh(1.0),
    "energy_kwh": joules_from_wh(1000.0),
    "kwh": joules_from_wh(1000.0),
}

MEASURED = Bound(0, 1e12, "J")
"""What the energy of one request can be: the most is what a large power plant delivers in 15
minutes."""

ENERGY_NAMES = frozenset({"energy", *MEASURED_ENERGY})
"""What makes the top of a body, an event or a usage worth a look."""

# Hosts or host suffixes known not to report measured energy.
UNMEASURED_HOSTS = ("api.openai.com", *AZURE_HOST_ENDS)

# A header is the energy of the request if its name consists of these words, "joules" among them.
# Any other word may make a sum over requests of it, a rate or a limit: "daily", "so-far", "per".
OF_THE_REQUEST = frozenset(
    {b"", b"x", b"energy", b"joules", b"total", b"measured", b"used", b"usage", b"consumed"}
    | {b"consumption", b"request", b"response", b"call", b"inference", b"llm", b"model", b"ai"}
    | {b"prompt", b"completion", b"input", b"output", b"prefill", b"decode", b"generation"}
    | {b"gpu", b"cpu", b"dram", b"accelerator", b"board", b"device", b"server", b"nvml", b"dcgm"}
    | {b"nvidia", b"amd", b"rocm", b"vllm", b"sglang", b"tgi", b"llama", b"cpp", b"llamacpp"}
    | {b"ollama", b"trtllm", b"neuralwatt"}
)

# One whose name holds this may be such a sum, too: it is taken for the request's own where the
# parts that it is made of stand beside it.
SUM_OF_PARTS = b"total"


def joules_from(value: object, unit_joules: float = 1.0) -> float | None:
    """A number of a body, a header or a file, as the energy of a call [J].

    Args:
        value: What was given.
        unit_joules: Joules in one of its unit.

    Returns:
        The energy; None where it cannot be one.
    """
    # In any unit it is larger as a number of joules.
    if not MEASURED.holds(value):
        return None
    joules = float(value) * unit_joules  # type: ignore[arg-type]
    return joules if MEASURED.holds(joules) else None


def may_hold_energy(data: Mapping[str, Any], usage: object) -> bool:
    """Whether a body or event may report an energy.

    Args:
        data: The body or event.
        usage: The usage in it, if it has one.
    """
    if "response" in data or not ENERGY_NAMES.isdisjoint(data):
        return True
    if usage is None:
        return False
    # Most usages are plain, and where all have theirs.
    is_plain = usage is data.get("usage") and isinstance(usage, dict)
    return not (is_plain and ENERGY_NAMES.isdisjoint(cast(dict[str, Any], usage)))


def read_energy(data: Mapping[str, Any]) -> tuple[float | None, str | None]:
    """Energy that the server itself measured for the request; a zero measures nothing.

    Returns:
        The energy [J], or None; then the name of one that cannot be that of the request, or None.
    """
    implausible = None
    for name, value, unit_joules in _list_energies(data):
        joules = joules_from(value, unit_joules)
        if joules:
            return joules, None
        if joules is None and value is not None and implausible is None:
            implausible = name
    return None, implausible


def measured_energy_in(data: Mapping[str, Any]) -> float | None:
    """Energy [J] that the server itself measured for the request, or None."""
    return read_energy(data)[0]


def _list_energies(data: Mapping[str, Any]) -> Iterator[tuple[str, object, float]]:
    """Each energy in a body or event: name, value, and joules in one of its unit."""
    for holder in (data, *usages_in(data), data.get("response")):
        if isinstance(holder, Mapping) and not ENERGY_NAMES.isdisjoint(holder):
            for place in (holder.get("energy"), holder):
                if isinstance(place, Mapping):
                    for name, unit_joules in MEASURED_ENERGY.items():
                        if name in place:
                            yield name, place[name], unit_joules


def may_measure(host: str) -> bool:
    """Whether a server may report measured energy outside of a response's body."""
    return not host.endswith(UNMEASURED_HOSTS)


def measured_energy_in_headers(headers: Iterable[tuple[bytes, bytes]]) -> float | None:
    """Energy [J] of the request by a response's headers, as they came, or None.

    Of several, the largest: parts of it may stand beside their sum.
    """
    reported = _read_energy_headers(headers)
    amounts = [joules for name, joules in reported if joules and SUM_OF_PARTS not in name]
    parts = math.fsum(amounts)
    amounts += [
        joules
        for name, joules in reported
        if joules and SUM_OF_PARTS in name and math.isclose(joules, parts, rel_tol=0.01)
    ]
    return max(amounts, default=None)


def has_implausible_energy_header(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a header is named as the energy of the request and its value cannot be one."""
    return any(joules is None for _, joules in _read_energy_headers(headers))


def _read_energy_headers(
    headers: Iterable[tuple[bytes, bytes]],
) -> list[tuple[bytes, float | None]]:
    """Headers named as an energy, and their value [J]; None where it cannot be one."""
    reported: list[tuple[bytes, float | None]] = []
    for name, value in headers:
        lower = name.lower()
        if b"joules" in lower and OF_THE_REQUEST.issuperset(re.split(b"[-_]", lower)):
            joules = None
            with suppress(ValueError):
                joules = joules_from(float(value))
            reported.append((lower, joules))
    return reported
