"""Meters that a setting names, and the moments that are read from them.

A meter is an address: of an exporter's page, of TensorRT-LLM's ``/energy_metrics``, or ``nvml``,
this machine's GPUs; behind it, as in ``#gpu=0,1``, the GPUs that are read. It is of the calls to
the host that it is on, or to the one before it, as in ``llm.example.org=http://gpu-1:9400``.
"""

from __future__ import annotations

from collections.abc import Iterable
from time import perf_counter

from energy_tracking.frozen import frozen
from energy_tracking.hosts import PageAddress, name_machine, read_host, read_page_address
from energy_tracking.servers.counters import (
    COUNTERS,
    EnergyReading,
    read_counters,
    read_devices,
    read_energy_metrics,
)
from energy_tracking.servers.engines import ENGINES, read_page
from energy_tracking.servers.nvml import read_nvml
from energy_tracking.servers.pages import PageError, fetch_page, read_samples
from energy_tracking.servers.windows import Moment

NVML_WORD = "nvml"
"""Names this machine's NVIDIA GPUs."""

_NAMES = frozenset(name for counter in COUNTERS for name in (counter.name, f"{counter.name}_total"))

_COUNTING_AT_END = frozenset(engine.name for engine in ENGINES if engine.counts_at_end)

NO_COUNTER = (
    "shows none of the counters known of the NVIDIA DCGM exporter, the AMD device metrics "
    "exporter, Kepler and TensorRT-LLM"
)


@frozen()
class MeterAddress:
    """A meter that a setting names.

    Attributes:
        page: Its page; None: NVML.
        only: The GPUs that are read; empty: all.
        host: The host of the calls that it is of.
    """

    page: PageAddress | None
    only: frozenset[str]
    host: str

    def __str__(self) -> str:
        """As people write it."""
        where = NVML_WORD if self.page is None else str(self.page)
        if self.host != _own_host(self.page):
            where = f"{self.host}={where}"
        return f"{where}#gpu={','.join(sorted(self.only))}" if self.only else where


def read_meter_address(given: str) -> MeterAddress:
    """The meter that a text names.

    Raises:
        ConfigurationError: It is neither ``nvml`` nor the address of a page, or names its GPUs in
            another way.
    """
    where, _, fragment = given.strip().partition("#")
    only = read_devices(fragment)
    named, separator, rest = where.partition("=")
    if not separator or "/" in named:
        named, rest = "", where
    page = None if rest.lower() == NVML_WORD else read_page_address(rest)
    return MeterAddress(page, only, read_host(named) if named else _own_host(page))


def _own_host(page: PageAddress | None) -> str:
    return "localhost" if page is None else page.host


def find_meter(meters: Iterable[MeterAddress], host: str | None) -> MeterAddress | None:
    """The meter of calls to a host, the first of those that are on it; None where none is.

    Args:
        meters: The meters.
        host: The host that calls go to.
    """
    if host is None:
        return None
    machine = name_machine(host)
    return next((one for one in meters if name_machine(one.host) == machine), None)


def read_energy(address: MeterAddress) -> EnergyReading:
    """What a meter shows now.

    Raises:
        PageError: It cannot be read, or shows no energy.
    """
    before = perf_counter()
    if address.page is None:
        return read_nvml(before, address.only)
    text = fetch_page(address.page)
    # Exporters gather their page when they are asked for it.
    at = (before + perf_counter()) / 2
    if text.lstrip().startswith("{"):
        reading = read_energy_metrics(text, at)
    else:
        reading = read_counters(read_samples(text, _NAMES), at, address.only)
    if reading is None:
        raise PageError(NO_COUNTER)
    return reading


def read_moment(address: MeterAddress, server: PageAddress | None) -> Moment:
    """What a meter and the page of its server show now.

    Args:
        address: The meter.
        server: The server's page; None where it has none.

    Raises:
        PageError: One of them cannot be read. Without the server's tokens, another client's joules
            would be taken for ours.
    """
    energy = read_energy(address)
    if server is None:
        return Moment(energy=energy)
    try:
        models = read_page(fetch_page(server))
    except PageError as error:
        raise PageError(f"its server's page {server} {error}") from None
    prompt = [one.input_tokens for one in models if one.input_tokens is not None]
    output = [one.output_tokens for one in models if one.output_tokens is not None]
    return Moment(
        energy=energy,
        running=sum(one.running_requests for one in models),
        prompt_tokens=sum(prompt) if prompt else None,
        cached_tokens=sum(one.cached_input_tokens or 0.0 for one in models),
        output_tokens=sum(output) if output else None,
        counts_at_end=any(one.engine in _COUNTING_AT_END for one in models),
    )
