# SPDX-License-Identifier: Apache-2.0
"""A real QEMU whose guest stays in its BIOS, and its domain as other tools see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import libvirt

from orchestrator.domain_xml.parse import parse_domain
from orchestrator.values.domain import DomainId

if TYPE_CHECKING:
    from orchestrator.hypervisor.connection import Hypervisor

UUID = DomainId("8889e6cd-caca-4c68-8934-da43e4863198")
CONTROLLER = "<controller type='virtio-serial' index='0'/>"
INACTIVE = libvirt.VIR_DOMAIN_XML_INACTIVE
LIVE = libvirt.VIR_DOMAIN_AFFECT_LIVE
CONFIG = libvirt.VIR_DOMAIN_AFFECT_CONFIG


def definition(
    devices: str = CONTROLLER,
    *,
    name: str = "guest",
    vcpus: str = "<vcpu>2</vcpu>",
    features: str = "",
) -> str:
    return (
        f"<domain type='qemu'><name>{name}</name><uuid>{UUID}</uuid>"
        f"<memory unit='MiB'>32</memory>{vcpus}"
        "<os><type arch='x86_64' machine='pc'>hvm</type></os>"
        f"<features>{features}</features>"
        f"<devices>{devices}<memballoon model='none'/></devices></domain>"
    )


def channel(number: int) -> str:
    name = f"virtio.serial.port.poweragent.{number}"
    return (
        "<channel type='unix'><source mode='bind'/>"
        f"<target type='virtio' name='{name}'/></channel>"
    )


def free_ports(hypervisor: Hypervisor) -> int:
    live = hypervisor.describe(UUID).live
    assert live
    return live.free_ports


class Guest:
    """A domain as other tools see and change it."""

    def __init__(self, connection: libvirt.virConnect) -> None:
        self.connection = connection
        self.domain: libvirt.virDomain = None

    def start(self, xml: str) -> None:
        self.domain = self.connection.defineXML(xml)
        self.domain.create()

    def numbers(self, flags: int) -> list[int]:
        parsed = parse_domain(self.domain.XMLDesc(flags))
        return [item.number for item in parsed.channels]

    def both(self) -> tuple[list[int], list[int]]:
        """Channels of the running domain and of its definition."""
        return self.numbers(0), self.numbers(INACTIVE)

    def notes(self) -> tuple[set[int], set[int]]:
        live, config = self.domain.XMLDesc(0), self.domain.XMLDesc(INACTIVE)
        return (
            set(parse_domain(live).note.numbers),
            set(parse_domain(config).note.numbers),
        )

    def end(self) -> None:
        for domain in self.connection.listAllDomains():
            is_active = domain.isActive()
            if domain.isPersistent():
                domain.undefine()
            if is_active:
                domain.destroy()
