"""libvirt: whether it answers, and with which rights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.errors import HypervisorGone, VmpowerError

if TYPE_CHECKING:
    from orchestrator.hypervisor.inspection import Inspection

PATIENCE_S = 10.0
"""libvirt's own first look at QEMU takes some seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Libvirt:
    """What came of connecting."""

    uri: str
    inspection: Inspection | None
    failure: str = ""
    """Why there is none."""
    hint: str = ""


def read_libvirt(uri: str) -> Libvirt:
    """Connect, list domains, and leave again."""
    # lxml and libvirt cost 80 ms; --help need not wait for them.
    from orchestrator.hypervisor.inspection import inspect

    try:
        return Libvirt(uri=uri, inspection=inspect(uri, timeout_s=PATIENCE_S))
    except HypervisorGone as error:  # its hint leads here
        return Libvirt(uri=uri, inspection=None, failure=str(error))
    except VmpowerError as error:
        return Libvirt(uri=uri, inspection=None, failure=str(error), hint=error.hint)
