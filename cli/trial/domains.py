# SPDX-License-Identifier: Apache-2.0
"""The domains of a trial, as libvirt's test driver reads them from a file.

The driver runs no guest. A channel has an explicit path, so that the process that
listens there is its other end.

Source: testOpenFromFile of libvirt's test driver; virDomainState for the run state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.sax.saxutils import quoteattr

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_NODE_FILE = "node.xml"
_RUNNING = 1
_DOMAIN = """\
<domain type='test' id='{number}'
    xmlns:test='http://libvirt.org/schemas/domain/test/1.0'>
  <name>{guest.name}</name>
  <uuid>00000000-0000-4000-8000-{number:012x}</uuid>
  <memory>65536</memory><vcpu placement='static'>{vcpus}</vcpu>
  <cputune>{pins}</cputune>
  <os><type arch='x86_64'>hvm</type></os>
  <devices>{channels}</devices>
  <test:runstate>{state}</test:runstate>
</domain>
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialGuest:
    """A simulated guest, with a channel for each vCPU."""

    name: str
    pins: Sequence[str]
    """The CPU list of each vCPU."""
    is_polling: bool
    """Whether its vCPUs run all the time, as those of DPDK applications do."""


GUESTS = (
    TrialGuest(name="fw", pins=("2", "3"), is_polling=True),
    TrialGuest(name="web", pins=("4", "5"), is_polling=False),
)
"""The guests of `vmpower try`."""


def channel_path(directory: Path, name: str, vcpu: int) -> Path:
    """Return the socket of a guest's channel."""
    return directory / f"{name}.{vcpu}"


def write_domains(directory: Path, guests: Sequence[TrialGuest]) -> str:
    """Write a host with domains to a file; return the URI that opens it.

    Raises:
        OSError: the file cannot be written.
    """
    domains = "".join(
        _domain_xml(directory, guest, number) for number, guest in enumerate(guests, 1)
    )
    file = directory / _NODE_FILE
    file.write_text(f"<node>\n{domains}</node>\n", encoding="utf-8")
    return f"test://{file}"


def write_process_id(directory: Path, name: str, pid: int) -> None:
    """Name the process of a domain, beside the file of the domains.

    Raises:
        OSError: the file cannot be written.
    """
    (directory / f"{name}.pid").write_text(f"{pid}\n", encoding="ascii")


def _domain_xml(directory: Path, guest: TrialGuest, number: int) -> str:
    paths = (
        quoteattr(str(channel_path(directory, guest.name, vcpu)))
        for vcpu in range(len(guest.pins))
    )
    return _DOMAIN.format(
        guest=guest,
        number=number,
        vcpus=len(guest.pins),
        pins="".join(
            f"<vcpupin vcpu='{vcpu}' cpuset='{cpus}'/>"
            for vcpu, cpus in enumerate(guest.pins)
        ),
        channels="".join(
            f"<channel type='unix'><source mode='bind' path={path}/>"
            f"<target type='virtio' name='virtio.serial.port.poweragent.{vcpu}'/>"
            "</channel>"
            for vcpu, path in enumerate(paths)
        ),
        state=_RUNNING,
    )
