"""Which port a command uses: a vCPU's own, or any that is free."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.errors import PortAbsent, PortRefused
from orchestrator.guest.clock import VCpuClock
from orchestrator.guest.port import PORT_CURE, PORT_NAME, list_ports, open_port
from orchestrator.guest.report import warn

if TYPE_CHECKING:
    from argparse import Namespace


def open_clock(vcpu: int, options: Namespace) -> VCpuClock:
    """Open a vCPU's own port.

    Raises:
        PortAbsent: the VM has no such port.
        PortRefused: another program has it open, or we have no right to it.
    """
    return VCpuClock(
        vcpu,
        timeout_s=options.timeout,
        vm_name=options.vm_name,
        port=open_port(vcpu, devices=options.devices),
    )


def open_any_clock(options: Namespace, first: int | None = None) -> VCpuClock:
    """Open any port that is free: each may ask about every vCPU of its VM.

    Args:
        options: the command line's.
        first: the vCPU whose port is the first choice.

    Raises:
        PortAbsent: the VM has no port at all.
        PortRefused: none is free, or we have no right to them.
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
    """Open every port that is there and that nobody else has open.

    Raises:
        PortAbsent: the VM has no port at all.
        PortRefused: none is free, or we have no right to them.
    """
    tries = [_try(vcpu, options) for vcpu in list_ports(devices=options.devices)]
    clocks = [tried for tried in tries if isinstance(tried, VCpuClock)]
    refusals = [tried for tried in tries if isinstance(tried, PortRefused)]
    if not clocks:
        raise _none_of(refusals)
    for refusal in refusals:
        warn(f"left out: {refusal}")
    return clocks


def _none_of(refusals: list[PortRefused]) -> PortAbsent | PortRefused:
    if refusals:
        return refusals[0]
    return PortAbsent(f"this VM has no virtio port {PORT_NAME}*", hint=PORT_CURE)


def _try(vcpu: int, options: Namespace) -> VCpuClock | PortRefused:
    try:
        return open_clock(vcpu, options)
    except PortRefused as error:
        return error
