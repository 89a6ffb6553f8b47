# SPDX-License-Identifier: Apache-2.0
"""Domains whose guests are to have P-states: what keeps them from using them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cli.doctor.diagnosis import check, error, info, warning
from cli.doctor.facts.daemon import Status
from cli.doctor.facts.domains import Domains
from cli.doctor.facts.libvirt import Libvirt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli.doctor.diagnosis import Finding
    from orchestrator.domain_xml.p_state_guests import PStateGuest


@check(Libvirt)
def p_states_impossible(libvirt: Libvirt) -> Iterator[Finding]:
    """Domains with P-states whose machine type has none."""
    for guest in _guests(libvirt):
        if guest.obstacle is not None:
            what, fix = guest.obstacle
            yield warning(
                f"domain {guest.name}",
                f"its guest finds no P-states: {what}",
                f"{fix}, or 'vmpower domain offboard {guest.name} --p-states'",
            )


@check(Libvirt)
def p_states_cpu_model(libvirt: Libvirt) -> Iterator[Finding]:
    """Domains with P-states whose CPU model Linux's cpufreq driver refuses."""
    for guest in _guests(libvirt):
        if guest.refused_model is not None:
            yield warning(
                f"domain {guest.name}",
                f"Linux's cpufreq driver refuses its CPU model '{guest.refused_model}',"
                " so its guest does not request P-states",
                "set another model with 'virsh edit', as in"
                " <cpu mode='host-passthrough'/>, then power the domain off and on",
            )


@check(Libvirt)
def p_states_table_missing(libvirt: Libvirt) -> Iterator[Finding]:
    """Domains whose ACPI table does not exist: they do not start."""
    for guest in _guests(libvirt):
        if guest.file and not _exists(Path(guest.file)):
            yield error(
                f"domain {guest.name}",
                f"it will not start: its ACPI table {guest.file} does not exist",
                f"vmpower domain onboard {guest.name} --p-states",
            )


@check(Libvirt)
def p_states_emulated(libvirt: Libvirt) -> Iterator[Finding]:
    """Domains with P-states that run without KVM."""
    for guest in _guests(libvirt):
        if guest.is_emulated:
            yield info(
                f"domain {guest.name}",
                "it has P-states and runs without KVM: its guest requests them, but"
                " emulation takes most of the CPU's time",
                "use <domain type='kvm'> where the host has KVM",
            )


@check(Domains, Status)
def p_states_unused(domains: Domains, _status: Status) -> Iterator[Finding]:
    """Guests that have P-states and never requested one."""
    for domain in domains.active():
        own = [channel for channel in domain.channels if channel.is_p_states]
        is_open = any(channel.state == "open" for channel in own)
        if is_open and not any(channel.requests for channel in own):
            yield info(
                f"domain {domain.name}",
                "its guest has P-states and has requested none since the domain or"
                " vmpowerd started: it has no cpufreq driver, or its governor is"
                " 'performance'",
                "in the guest: 'modprobe acpi-cpufreq', then choose the governor"
                " schedutil or ondemand",
            )


def _guests(libvirt: Libvirt) -> tuple[PStateGuest, ...]:
    return () if libvirt.inspection is None else libvirt.inspection.p_state_guests


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return True  # permission denied: QEMU may still have access
