# SPDX-License-Identifier: Apache-2.0
"""A spec for each template and each of its options."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from domain_templates import DomainKind, TemplateSpec, build, load_template
from domain_templates.spec import Link, Network
from orchestrator.values.domain import PCpu
from orchestrator.values.domain_settings import DomainSettings, Mode
from orchestrator.values.units import KHz

if TYPE_CHECKING:
    from collections.abc import Mapping

NO_DIRECTORY = Path("/nonexistent")
"""Instead of the directory of local templates."""
SETTINGS = DomainSettings(
    min_khz=KHz(1_200_000), max_khz=KHz(2_400_000), turbo=False, mode=Mode.OBSERVE
)
SWITCH = Network(Link.VHOST_USER, "/run/openvswitch/vhu0")
FUNCTION = Network(Link.HOSTDEV, "0000:3b:02.1")
IMAGE = Path("/var/lib/libvirt/images/vm.qcow2")
PINS = tuple(map(PCpu, (2, 3, 4, 5)))

CASES: Mapping[str, tuple[str, TemplateSpec]] = {
    "minimal": ("minimal", TemplateSpec()),
    "minimal-31-channels": ("minimal", TemplateSpec(vcpus=31)),
    "minimal-kernel": (
        "minimal",
        TemplateSpec(
            kernel=Path("/boot/vmlinuz"),
            initrd=Path("/boot/initrd"),
            cmdline="console=ttyS0 <&>",
            console=Path("/tmp/console.log"),
            kind=DomainKind.QEMU,
        ),
    ),
    "minimal-settings": ("minimal", TemplateSpec(settings=SETTINGS)),
    "minimal-some-channels": (
        "minimal",
        TemplateSpec(
            vcpus=3,
            memory_mib=512,
            channels=frozenset({0, 2}),
            socket_dir=Path("/tmp/powermonitor"),
        ),
    ),
    "minimal-everything-else": (
        "minimal",
        TemplateSpec(
            disk=Path("/dev/vg/vm"),
            cloud_init=Path("/var/lib/libvirt/images/seed.iso"),
            networks=(SWITCH, Network(Link.BRIDGE, "br0"), Network(Link.USER)),
            channels=frozenset(),
            parameters={"machine": "pc"},
        ),
    ),
    "nfv": ("nfv", TemplateSpec(networks=(SWITCH,))),
    "nfv-pinned": (
        "nfv",
        TemplateSpec(
            pins=PINS,
            emulator_pins=frozenset(map(PCpu, (0, 1))),
            numa_node=1,
            disk=IMAGE,
            settings=SETTINGS,
            parameters={"vhost-user": "/run/openvswitch/vhu0", "queues": "4"},
        ),
    ),
    "nfv-sriov": (
        "nfv",
        TemplateSpec(
            vcpus=2,
            memory_mib=2048,
            networks=(FUNCTION,),
            parameters={"hugepage-mib": "2", "numa": "preferred"},
        ),
    ),
    "nfv-without-huge-pages": (
        "nfv",
        TemplateSpec(
            kind=DomainKind.QEMU,
            networks=(),
            parameters={"hugepage-mib": "none", "numa": "none"},
        ),
    ),
    "cloud": ("cloud", TemplateSpec(disk=IMAGE)),
    "cloud-with-cloud-init": (
        "cloud",
        TemplateSpec(
            vcpus=4,
            disk=Path("/var/lib/libvirt/images/vm.img"),
            disk_format="qcow2",
            cloud_init=Path("/var/lib/libvirt/images/seed.iso"),
            networks=(Network(Link.NETWORK, "lan"),),
        ),
    ),
    "linux": (
        "linux",
        TemplateSpec(
            disk=IMAGE,
            channels=frozenset(),
            parameters={"bus": "scsi", "cache": "writeback", "machine": "pc"},
        ),
    ),
    "cloud-31-channels": (
        "cloud",
        TemplateSpec(
            vcpus=31,
            memory_mib=8192,
            disk=IMAGE,
            pins=tuple(map(PCpu, range(31))),
            emulator_pins=frozenset({PCpu(31)}),
            settings=SETTINGS,
            parameters={"bus": "sata", "cache": "writeback", "machine": "pc"},
        ),
    ),
    "nfv-kernel": (
        "nfv",
        TemplateSpec(
            kernel=Path("/boot/vmlinuz"),
            initrd=Path("/boot/initrd"),
            cmdline="default_hugepagesz=1G",
            console=Path("/tmp/console.log"),
            channels=frozenset({1, 2, 3}),
            socket_dir=Path("/tmp/powermonitor"),
            networks=(SWITCH, Network(Link.VHOST_USER, "/run/openvswitch/vhu1")),
            cloud_init=Path("/var/lib/libvirt/images/seed.iso"),
            parameters={"machine": "q35"},
        ),
    ),
}


def build_case(case: str) -> str:
    template, spec = CASES[case]
    return build(case, spec, load_template(template, NO_DIRECTORY))
