# SPDX-License-Identifier: Apache-2.0
"""Opens the port for a command: a vCPU's own, or any free one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.errors import PortAbsent, PortRefused
from orchestrator.guest.clock import VCpuClock
from orchestrator.guest.port import PORT_HINT, PORT_NAME, list_ports, open_port
from orchestrator.guest.report import warn

if TYPE_CHECKING:
    from argparse import Namespace


def open_clock(vcpu: int, options: Namespace) -> VCpuClock:
    """Open a vCPU's own port.

    Raises:
        PortAbsent: the VM has no such port.
        PortRefused: another program has it open, or permission was denied.
    """
    return VCpuClock(
        vcpu,
        timeout_s=options.timeout,
        vm_name=options.vm_name,
        port=open_port(vcpu, devices=options.devices),
    )


def open_any_clock(options: Namespace, first: int | None = None) -> VCpuClock:
    """Open any free port: each can be used for every vCPU of the VM.

    Args:
        options: of the command line.
        first: the vCPU whose port is preferred.

    Raises:
        PortAbsent: the VM has no port at all.
        PortRefused: none is free, or permission was denied.
    """
    found = list_ports(devices=options.devices)
    refusals: list[PortRefused] = []
    for vcpu in sorted(found, key=lambda vcpu: (vcpu != first, vcpu)):
        opened = _try(vcpu, options)
        if isinstance(opened, VCpuClock):
            return opened
        refusals.append(opened)
    raise _none_of(refusals)


def open_free_clocks(options: Namespace) -> list[VCpuClock]:
    """Open all free ports.

    Raises:
        PortAbsent: the VM has no port at all.
        PortRefused: none is free, or permission was denied.
    """
    attempts = [_try(vcpu, options) for vcpu in list_ports(devices=options.devices)]
    clocks = [attempt for attempt in attempts if isinstance(attempt, VCpuClock)]
    refusals = [attempt for attempt in attempts if isinstance(attempt, PortRefused)]
    if not clocks:
        raise _none_of(refusals)
    for refusal in refusals:
        warn(f"skipped: {refusal}")
    return clocks


def _none_of(refusals: list[PortRefused]) -> PortAbsent | PortRefused:
    if refusals:
        return refusals[0]
    return PortAbsent(f"no such virtio port: {PORT_NAME}*", hint=PORT_HINT)


def _try(vcpu: int, options: Namespace) -> VCpuClock | PortRefused:
    try:
        return open_clock(vcpu, options)
    except PortRefused as error:
        return error
