# SPDX-License-Identifier: Apache-2.0
"""The demo's guests: their images, starting and stopping them."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import libvirt

from domain_templates import DomainKind, TemplateSpec, build
from examples.demo.consoles import DONE
from examples.guests.cache import GuestError
from examples.guests.embed import kill_guests
from examples.guests.images import CMDLINE, CPUFREQ_MODULES, start_image
from examples.guests.kernel import fetch_kernel
from examples.guests.programs import compile_program
from orchestrator.domain_xml.identity import with_uuid
from orchestrator.hypervisor.eventloop import ensure_event_loop
from orchestrator.hypervisor.p_state_tables import write_table
from orchestrator.hypervisor.p_states import has_table_element, make_definition

if TYPE_CHECKING:
    from collections.abc import Sequence

    from examples.guests.embed import EmbedRoot
    from orchestrator.config import Config
    from orchestrator.values.domain import PCpu
    from orchestrator.values.frequencies import FrequencyTable

_FORWARDER = Path(__file__).with_name("forwarder.c")
VCPUS = 2
_MEMORY_MIB = 128
_DPDK_MEMORY_MIB = 512
_LOAD = Path(__file__).with_name("load.sh")
_LOADS = ("10 30 60 100 60 30", "0 0 100 100")
"""Of each vCPU, in percent of its time; see load.sh."""
_LINGER_S = 20
"""Guests that are done power off then, if the demo has not stopped them."""
_CPU_MODEL = "Haswell"
"""Of guests with P-states: without KVM, QEMU's other models are an old one of AMD to
Linux's acpi-cpufreq, which refuses it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestPlan:
    """A guest to start."""

    name: str
    image: Path
    """Its initramfs."""
    parameters: str = ""
    """Additional parameters on the kernel command line."""
    memory_mib: int = _MEMORY_MIB
    has_p_states: bool = False
    """Whether it has P-states instead of channels."""


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


def build_load_image() -> Path:
    """Return the initramfs of an ordinary guest with a changing load, see `load.sh`.

    It has a shell and modules of Debian's kernel.

    Raises:
        GuestError: something that it is built from is missing on this host.
    """
    starts = "".join(
        f'taskset {1 << vcpu:x} sh /load.sh {vcpu} "$demo_seconds" {loads} &\n'
        'loads="$loads $!"\n'
        for vcpu, loads in enumerate(_LOADS)
    )
    work = f"{starts}wait $loads\necho '{DONE}'\nsleep {_LINGER_S}\n"
    image = start_image(work, modules=CPUFREQ_MODULES)
    image.add_link("bin/taskset", "busybox")
    image.add_data("load.sh", _LOAD.read_bytes())
    return image.build("load")


def load_plan(image: Path, *, seconds: int) -> GuestPlan:
    """Plan the guest with P-states."""
    parameters = f"demo_seconds={seconds}"
    return GuestPlan(
        name="unmodified", image=image, parameters=parameters, has_p_states=True
    )


class Guests:
    """Domains of the embedded driver, with their own root directory.

    Synchronization: one thread at a time; all calls may block for seconds.
    """

    def __init__(self, root: EmbedRoot, config: Config) -> None:
        self._root = root
        self._config = config
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
                channels=frozenset() if plan.has_p_states else None,
                console=self.console_path(plan),
            ),
        )
        try:
            if self._connection is None:
                ensure_event_loop()
                self._connection = libvirt.open(self._root.uri)
            if plan.has_p_states:
                xml = self._add_p_states(xml)
            # Defined, not transient, so that its counters outlive it.
            domain = self._connection.defineXML(xml)
            self._domains.append(domain)
            domain.create()
        except libvirt.libvirtError as error:
            raise GuestError(f"libvirt cannot start {plan.name}: {error}") from error

    def _add_p_states(self, xml: str) -> str:
        model = f"<cpu><model>{_CPU_MODEL}</model></cpu>"
        made = make_definition(
            with_uuid(re.sub(r"<cpu [^>]*/>", model, xml)),
            self._config,
            has_table_element=has_table_element(self._connection),
        )
        write_table(made.path, made.table)
        return made.xml

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
