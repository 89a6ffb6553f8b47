"""The demo's guests: what is in them, and their life under the embedded driver."""

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
    """One guest, before it exists."""

    name: str
    image: Path
    """Its initramfs."""
    words: str = ""
    """More words of the kernel command line."""
    memory_mib: int = _MEMORY_MIB


def build_forwarder_image() -> Path:
    """Return the initramfs of a guest that forwards packets, see `forwarder.c`.

    Raises:
        GuestError: something that it is made of is missing on this machine.
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
    """Plan two guests with different traffic, which share the same CPUs."""
    mhz = ",".join(str(khz // 1000) for khz in steps.khz)
    words = f"demo_seconds={seconds} demo_steps={mhz} demo_profile="
    return [
        GuestPlan(name="router", image=image, words=f"{words}waves"),
        GuestPlan(name="firewall", image=image, words=f"{words}pauses"),
    ]


def dpdk_plan(image: Path) -> GuestPlan:
    """Plan the guest that runs DPDK's own test."""
    return GuestPlan(name="dpdk-test", image=image, memory_mib=_DPDK_MEMORY_MIB)


class Guests:
    """Domains of the embedded driver in a root of its own, as long as this lives.

    Synchronization: one thread at a time; everything here may block for seconds.
    """

    def __init__(self, root: EmbedRoot) -> None:
        self._root = root
        self._connection: Any = None
        self._domains: list[Any] = []

    def start(self, plan: GuestPlan, pins: Sequence[PCpu]) -> None:
        """Boot a guest whose vCPUs are pinned to these CPUs.

        Raises:
            GuestError: libvirt refused.
        """
        xml = build(
            plan.name,
            TemplateSpec(
                vcpus=len(pins),
                memory_mib=plan.memory_mib,
                kernel=self._root.publish(fetch_kernel().image),
                initrd=self._root.publish(plan.image),
                cmdline=f"{CMDLINE} {plan.words}".strip(),
                pins=tuple(pins),
                kind=DomainKind.QEMU,
                console=self.console_path(plan),
            ),
        )
        try:
            if self._connection is None:
                ensure_event_loop()
                self._connection = libvirt.open(self._root.uri)
            # Defined, so that what was counted of it is known after its end.
            domain = self._connection.defineXML(xml)
            self._domains.append(domain)
            domain.create()
        except libvirt.libvirtError as error:
            raise GuestError(f"libvirt cannot start {plan.name}: {error}") from error

    def console_path(self, plan: GuestPlan) -> Path:
        """Return the file that a guest's serial console is written to."""
        return self._root.guests / f"{plan.name}.log"

    def close(self) -> None:
        """End them at once, and wait until libvirt knows: it would write files else."""
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
