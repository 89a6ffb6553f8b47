# SPDX-License-Identifier: Apache-2.0
"""The checks: each function with `@check` in one of the modules is one."""

from __future__ import annotations

from cli.doctor.checks import (
    confinement,
    domains,
    drivers,
    firmware,
    host,
    kernel_options,
    libvirt,
    limits,
    p_states,
    power_managers,
    service,
    sharing,
)
from cli.doctor.diagnosis import checks_in

CHECKS = checks_in(
    [
        libvirt,
        service,
        host,
        drivers,
        firmware,
        kernel_options,
        limits,
        power_managers,
        domains,
        p_states,
        sharing,
        confinement,
    ]
)
"""All checks, in the order in which they run."""
