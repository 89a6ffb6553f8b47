# SPDX-License-Identifier: Apache-2.0
"""Minutes for tests, with figures that are easy to add up."""

from __future__ import annotations

from orchestrator.energy.residency import (
    Activity,
    DomainEnergy,
    HostEnergy,
    MeterSource,
    Slot,
)
from orchestrator.history.holds import HoldCause
from orchestrator.history.minute import (
    DomainMinute,
    EventRow,
    HoldTime,
    Minute,
    Requests,
)
from orchestrator.values.domain import DomainId

FIREWALL = DomainId("11111111-1111-4111-8111-111111111111")
ROUTER = DomainId("22222222-2222-4222-8222-222222222222")
DAY_S = 86_400
START_S = 20_000 * float(DAY_S)
"""A midnight, UTC."""
LOW = Slot(Activity.POLL, 2, 1_200_000, 1_200_000, 3_000_000)
SAME_LOW = Slot(Activity.POLL, 3, 1_200_000, 1_200_000, 3_000_000)
HIGH = Slot(Activity.POLL, 2, 3_000_000, 1_200_000, 3_000_000)


def domain_minute(uuid: DomainId = FIREWALL, name: str = "fw") -> DomainMinute:
    return DomainMinute(
        uuid=uuid,
        name=name,
        requests=Requests(total=100, refused=3, late=2, dropped=1),
        refusals={"floating": 2, "no-vcpu": 1},
        holds={HoldCause.LOWER_LIMIT: HoldTime(30.0, 12.0)},
        energy=DomainEnergy(
            joules=600.0,
            error_joules=6.0,
            saved_joules=300.0,
            saved_error_joules=3.0,
            possible_joules=400.0,
            residency={LOW: 60.0, SAME_LOW: 30.0, HIGH: 30.0},
        ),
    )


def host_energy() -> HostEnergy:
    return HostEnergy(
        source=MeterSource.POWERCAP,
        measured_joules=6_000.0,
        static_joules=2_700.0,
        idle_joules=300.0,
        host_joules=2_400.0,
        saved_joules=300.0,
        possible_joules=400.0,
        is_static_calibrated=True,
    )


def minute(number: int, *domains: DomainMinute) -> Minute:
    """Return the minute of this number after START_S."""
    start_s = START_S + 60 * number
    event = EventRow(number + 1, start_s + 1, "policy", "fw", "set")
    return Minute(
        start_s=start_s,
        duration_s=60.0,
        domains=domains or (domain_minute(),),
        host=host_energy(),
        events=(event,),
    )
