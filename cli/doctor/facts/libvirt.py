# SPDX-License-Identifier: Apache-2.0
"""libvirt: whether it responds, and with which rights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orchestrator.errors import HypervisorGone, VmpowerError
from orchestrator.system.service_unit import has_unit

if TYPE_CHECKING:
    from orchestrator.hypervisor.inspection import Inspection

UNITS = ("libvirtd.service", "virtqemud.socket")
"""Units that start libvirt's QEMU driver: the one daemon, and one for each driver."""
TIMEOUT_S = 10.0
"""libvirt probes QEMU at its first connection, which takes some seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Libvirt:
    """The result of connecting."""

    uri: str
    inspection: Inspection | None
    failure: str = ""
    """Why there is no inspection."""
    hint: str = ""
    units: tuple[str, ...] = ()
    """Those of `UNITS` that this host has."""


def read_libvirt(uri: str) -> Libvirt:
    """Connect, list domains and disconnect; find libvirt's units."""
    units = tuple(unit for unit in UNITS if has_unit(unit=unit))
    return replace(_inspect(uri), units=units)


def _inspect(uri: str) -> Libvirt:
    # lxml and libvirt take 80 ms to import; --help does without them.
    from orchestrator.hypervisor.inspection import inspect

    try:
        return Libvirt(uri=uri, inspection=inspect(uri, timeout_s=TIMEOUT_S))
    except HypervisorGone as error:  # its hint refers to the doctor
        return Libvirt(uri=uri, inspection=None, failure=str(error))
    except VmpowerError as error:
        return Libvirt(uri=uri, inspection=None, failure=str(error), hint=error.hint)
