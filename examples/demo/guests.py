# SPDX-License-Identifier: Apache-2.0
"""The demo's guests: their images, starting and stopping them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import libvirt

from domain_templates import DomainKind, TemplateSpec, build
from examples.guests.cache import GuestError
from examples.guests.embed import kill_guests
from examples.guests.images import CMDLINE, start_image
from examples.guests.kernel import fetch_kernel
from examples.guests.programs import compile_program
from orchestrator.hypervisor.eventloop import ensure_event_loop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from examples.guests.embed import EmbedRoot
    from orchestrator.values.domain import PCpu
    from orchestrator.values.frequencies import FrequencyTable

_FORWARDER = Path(__file__).with_name("forwarder.c")
VCPUS = 2
_MEMORY_MIB = 128
_DPDK_MEMORY_MIB = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestPlan:
    """A guest to start."""

    name: str
    image: Path
    """Its initramfs."""
    parameters: str = ""
    """Additional parameters on the kernel command line."""
    memory_mib: int = _MEMORY_MIB


def build_forwarder_image() -> Path:
    """Return the initramfs of a guest that forwards packets, see `forwarder.c`.

    Raises:
        GuestError: something that it is built from is missing on this host.
    """
    program = compile_program(_FORWARDER, options=["-static", "-pthread"])
    waits = "".join(f"await_channel {number}\n" for number in range(VCPUS))
    image = start_image(
        f'{waits}forwarder "$demo_profile" "$demo_seconds" "$demo_steps"\n'
    )
    image.add_program(program, "bin/forwarder")
    return image.build("forwarder")


def forwarder_plans(
    image: Path, *, seconds: int, steps: FrequencyTable
) -> list[GuestPlan]:
    """Plan two guests with different traffic on the same CPUs."""
    mhz = ",".join(str(khz // 1000) for khz in steps.khz)
    parameters = f"demo_seconds={seconds} demo_steps={mhz} demo_profile="
    return [
        GuestPlan(name="router", image=image, parameters=f"{parameters}waves"),
        GuestPlan(name="firewall", image=image, parameters=f"{parameters}pauses"),
    ]


def dpdk_plan(image: Path) -> GuestPlan:
    """Plan the guest that runs DPDK's own test."""
    return GuestPlan(name="dpdk-test", image=image, memory_mib=_DPDK_MEMORY_MIB)


class Guests:
    """Domains of the embedded driver, with their own root directory.

    Synchronization: one thread at a time; all calls may block for seconds.
    """

    def __init__(self, root: EmbedRoot) -> None:
        self._root = root
        self._connection: Any = None
        self._domains: list[Any] = []

    def start(self, plan: GuestPlan, pins: Sequence[PCpu]) -> None:
        """Boot a guest with its vCPUs pinned to these CPUs.

        Raises:
            GuestError: libvirt returned an error.
        """
        xml = build(
            plan.name,
            TemplateSpec(
                vcpus=len(pins),
                memory_mib=plan.memory_mib,
                kernel=self._root.publish(fetch_kernel().image),
                initrd=self._root.publish(plan.image),
                cmdline=f"{CMDLINE} {plan.parameters}".strip(),
                pins=tuple(pins),
                kind=DomainKind.QEMU,
                console=self.console_path(plan),
            ),
        )
        try:
            if self._connection is None:
                ensure_event_loop()
                self._connection = libvirt.open(self._root.uri)
            # Defined, not transient, so that its counters outlive it.
            domain = self._connection.defineXML(xml)
            self._domains.append(domain)
            domain.create()
        except libvirt.libvirtError as error:
            raise GuestError(f"libvirt cannot start {plan.name}: {error}") from error

    def console_path(self, plan: GuestPlan) -> Path:
        """Return the log file of a guest's serial console."""
        return self._root.guests / f"{plan.name}.log"

    def close(self) -> None:
        """Kill the guests, and wait until libvirt knows and writes no more files."""
        kill_guests(self._root.directory / "run/qemu")
        while self._domains:
            domain = self._domains.pop()
            with suppress(libvirt.libvirtError):
                domain.destroy()
            with suppress(libvirt.libvirtError):
                domain.undefine()
        if self._connection is not None:
            self._connection.close()
            self._connection = None
