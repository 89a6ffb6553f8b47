"""What may be wrong: each function is a check, found by being in one of the modules."""

from __future__ import annotations

from cli.doctor.checks import (
    clocks,
    confinement,
    domains,
    drivers,
    host,
    libvirt,
    rivals,
    service,
    sharing,
)
from cli.doctor.examination import checks_in

CHECKS = checks_in(
    [libvirt, service, host, drivers, clocks, rivals, domains, sharing, confinement]
)
"""All of them, in the order in which they are made."""
