"""What a data centre adds to the energy of its GPUs, with a range for other operators."""

from __future__ import annotations

from energy_tracking.frozen import frozen


@frozen(kw_only=True)
class FacilityOverhead:
    """What a data centre adds to the GPUs.

    Attributes:
        host: CPU, memory and network of the server, per GPU energy [1].
        idle: Machines kept waiting, per energy of the busy ones [1].
        pue: Power usage effectiveness: everything over the IT equipment [1].

    Source: Elsworth et al., "Measuring the environmental impact of delivering AI at
    Google scale", 2025, https://arxiv.org/abs/2508.15734: of a median prompt's 0.24 Wh,
    accelerators 0.14, host 0.06, idle machines 0.02, PUE 1.09. Wider for other operators.
    """

    host: float
    idle: float
    pue: float

    @property
    def factor(self) -> float:
        """Facility energy per GPU energy [1]."""
        return (1 + self.host) * (1 + self.idle) * self.pue


FACILITY_LOW = FacilityOverhead(host=0.2, idle=0.10, pue=1.09)
FACILITY = FacilityOverhead(host=0.4, idle=0.12, pue=1.12)
FACILITY_HIGH = FacilityOverhead(host=0.6, idle=0.12, pue=1.20)
