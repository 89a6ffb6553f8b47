# SPDX-License-Identifier: Apache-2.0
"""The options of `vmpower domain add`."""

# No postponed annotations: typer evaluates them when the command is built.

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cli.commands.arguments import Connect, MaxFrequency, MinFrequency, Turbo
from cli.completion import candidates
from orchestrator.values.domain_settings import Mode


class DomainType(StrEnum):
    """The values of `domain_templates.DomainKind`, whose import takes 70 ms."""

    KVM = "kvm"
    """The CPU executes the guest's instructions."""
    QEMU = "qemu"
    """QEMU emulates the CPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddOptions:
    """A request for a new domain, as it is typed."""

    template: Annotated[
        str,
        typer.Option(
            "--template",
            "-t",
            metavar="NAME",
            help="Template: a name from 'vmpower template list', or ./FILE.xml, which"
            " may be the XML of an existing domain.",
            autocompletion=candidates.templates,
        ),
    ] = "minimal"
    vcpus: Annotated[
        int | None, typer.Option(min=1, help="Number of vCPUs; each gets a channel.")
    ] = None
    memory: Annotated[
        int | None, typer.Option(min=1, metavar="MIB", help="Memory in MiB.")
    ] = None
    disk: Annotated[
        str,
        typer.Option(
            metavar="PATH[,format=FORMAT]", help="Disk image or block device."
        ),
    ] = ""
    cloud_init: Annotated[
        Path | None,
        typer.Option(metavar="ISO", help="ISO image with the cloud-init data."),
    ] = None
    network: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NETWORK",
            help="NAME, bridge:NAME, vhostuser:PATH, hostdev:PCI, user or none; repeat"
            " it for more interfaces.",
        ),
    ] = None
    kernel: Annotated[Path | None, typer.Option(help="Kernel to boot directly.")] = None
    initrd: Annotated[
        Path | None, typer.Option(help="Initial RAM disk for the kernel.")
    ] = None
    cmdline: Annotated[str, typer.Option(help="Command line for the kernel.")] = ""
    pin: Annotated[
        str,
        typer.Option(
            metavar="CPUS",
            help="Host CPUs, one for each vCPU in order: 2-5,8; or none. By default,"
            " CPUs are proposed.",
        ),
    ] = ""
    emulator_pin: Annotated[
        str, typer.Option(metavar="CPUS", help="Host CPUs for QEMU's emulator threads.")
    ] = ""
    numa_node: Annotated[
        int | None, typer.Option(min=0, help="Propose CPUs of this NUMA node.")
    ] = None
    channels: Annotated[
        str | None,
        typer.Option(
            metavar="all|none|NUMBERS",
            help="Channels to create: 0,2. By default, all, and none with --p-states.",
        ),
    ] = None
    p_states: Annotated[
        bool | None,
        typer.Option(
            "--p-states/--no-p-states",
            help="P-states for the guest, which its own cpufreq driver requests. By"
            " default, as the template says.",
        ),
    ] = None
    configuration: Annotated[
        Path | None,
        typer.Option(
            "--configuration",
            metavar="FILE",
            help="Configuration file of vmpowerd, for P-states.",
        ),
    ] = None
    low: MinFrequency = ""
    high: MaxFrequency = ""
    turbo: Turbo = None
    mode: Annotated[
        Mode | None,
        typer.Option(help="Whether its requests are applied, or refused and counted."),
    ] = None
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Set a parameter of the template."
        ),
    ] = None
    kind: Annotated[
        DomainType,
        typer.Option(
            "--type", help="Domain type; qemu emulates the CPU, which is slow."
        ),
    ] = DomainType.KVM
    socket_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Create the sockets as DIR/NAME.N, as DPDK's host does. By default,"
            " libvirt chooses their paths.",
        ),
    ] = None
    console: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Log the console to this file.")
    ] = None
    define: Annotated[
        bool,
        typer.Option("--define", help="Define the domain instead of printing its XML."),
    ] = False
    start: Annotated[
        bool, typer.Option("--start", help="Define and start the domain.")
    ] = False
    print_xml: Annotated[
        bool, typer.Option("--print-xml", help="Print the XML and change nothing.")
    ] = False
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Validate the domain and change nothing.")
    ] = False
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Accept the proposed pinning.")
    ] = False
    sysfs_root: Annotated[
        Path, typer.Option("--sysfs-root", help="Root of the CPU tree.")
    ] = Path("/sys")
    connect: Connect = ""

    @property
    def is_defining(self) -> bool:
        """Whether the domain is to be defined, and not only printed or validated."""
        return (self.define or self.start) and not (self.print_xml or self.dry_run)
