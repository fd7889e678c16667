"""The meters of one tracker: which measures a call, and the record with what it measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from importlib.util import find_spec

from energy_tracking.calls.call import Call
from energy_tracking.calls.record import CallRecord, Measurement
from energy_tracking.error_boundary import ErrorHandler
from energy_tracking.errors import ConfigurationError, say_install
from energy_tracking.frozen import fill_fields
from energy_tracking.hosts import MetricsPage, PageAddress, name_machine
from energy_tracking.notices import log_once
from energy_tracking.servers.metering import EnergyMeter, find_energy_meter
from energy_tracking.servers.meters import (
    MeterAddress,
    find_meter,
    read_meter_address,
    read_moment,
)
from energy_tracking.servers.pages import require_parser
from energy_tracking.servers.sampler import find_page
from energy_tracking.servers.sharing import CallShare
from energy_tracking.usage.names import MAX_SENTENCE, text_of

Deliver = Callable[[Call, CallRecord], None]
"""Delivers a call with this record."""


class ServerMeters:
    """The meters that ``energy_meter`` names, each with the page of a server on its machine."""

    def __init__(
        self,
        meters: Iterable[str],
        servers: Iterable[MetricsPage],
        report: ErrorHandler,
    ) -> None:
        """Read each meter once, in the background.

        Args:
            meters: The meters, as the setting names them.
            servers: The pages of servers, as ``server_metrics`` names them.
            report: Called with errors of the library's own.

        Raises:
            ConfigurationError: What reads one of them is not installed.
        """
        self._addresses = tuple(map(read_meter_address, meters))
        self._servers = tuple(servers)
        self._report = report
        self._has_matched = False
        for address in self._addresses:
            _require_reader(address)
            machine = name_machine(address.host)
            beside = [one for one in self._servers if name_machine(one.host) == machine]
            for page in [one.address for one in beside] or (None,):
                self._meter_of(address, page)

    def start(self, call: Call) -> None:
        """Note that a call has started, where it goes to the host of a meter."""
        host, port = call.request.server_address, call.request.server_port
        address = find_meter(self._addresses, host)
        if address is None:
            if host is not None and not self._has_matched:
                self._say_no_match(host)
            return
        self._has_matched = True
        call.meter = self._meter_of(address, find_page(self._servers, host or "", port))
        call.meter.start(call)

    def _say_no_match(self, host: str) -> None:
        meters = ", ".join(map(str, self._addresses))
        log_once(
            f"no meter of {meters}",
            "energy_meter (ENERGY_TRACKING_ENERGY_METER): calls to %s are on the machine of none "
            "of %s: they are estimated. Where a meter is of a server behind another host, write "
            "HOST=ADDRESS. This is said once.",
            host,
            meters,
            kind="meters",
        )

    def _meter_of(self, address: MeterAddress, page: PageAddress | None) -> EnergyMeter:
        read = partial(read_moment, address, page)
        return find_energy_meter((address, page), str(address), read, self._report)


def end_metered_call(call: Call, record: CallRecord, deliver: Deliver) -> None:
    """Leave a call that has ended to its meter, which delivers it once it is measured, or is not.

    Args:
        call: The call, which has one.
        record: Its record, as it is estimated.
        deliver: Delivers it, with its measurement where it has one.
    """
    meter: EnergyMeter = call.meter

    def settle(call: Call, record: CallRecord, share: CallShare | None, why: str | None) -> None:
        deliver(call, _add_measurement(record, meter.describe(), share, why))

    meter.end(call, record, settle)


def _add_measurement(
    record: CallRecord, measured_by: str, share: CallShare | None, why: str | None
) -> CallRecord:
    """A record with what its meter has measured, or why it has not."""
    if share is not None:
        measurement = Measurement(
            measured_by=measured_by,
            window_seconds=share.window_seconds,
            share=share.joules / share.window_joules,
            idle_joules=share.idle_joules,
        )
        changed = {
            "status": "measured",
            "measured_energy_joules": share.joules,
            "measurement": measurement,
        }
        return fill_fields(CallRecord, vars(record) | changed)
    if why is None or record.reason is not None:
        return record
    reason = f"not measured: the energy meter {measured_by}: {why}"
    return fill_fields(CallRecord, vars(record) | {"reason": text_of(reason, MAX_SENTENCE)})


def _require_reader(address: MeterAddress) -> None:
    """Check that what reads a meter is installed.

    Raises:
        ConfigurationError: It is not.
    """
    if address.page is not None:
        require_parser("energy_meter (ENERGY_TRACKING_ENERGY_METER)")
    elif find_spec("pynvml") is None:
        raise ConfigurationError(
            "energy_meter (ENERGY_TRACKING_ENERGY_METER) 'nvml' needs the package 'nvidia-ml-py'; "
            f"{say_install('nvml')}"
        )
