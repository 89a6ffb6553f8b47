# SPDX-License-Identifier: Apache-2.0
"""P-states of guests: the frequencies that their own cpufreq drivers find, and request.

Theory of operation: an ACPI table lists frequencies for each vCPU and names an I/O port
as its control register. That port belongs to a serial device of ours, so each request
of the guest's driver arrives as one byte at the device's socket: the number of the vCPU
on this port, then the number of the step, which has `step_bits` bits.

Pure, and imported by the monitor: import nothing heavier than ``typing`` here.

Source: ACPI specification 6.5, 8.4.5 (_PCT, _PSS); drivers/cpufreq/acpi-cpufreq.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from orchestrator.values.frequencies import FrequencyTable

MAX_VCPUS = 64
"""vCPUs with P-states in one domain: more do not fit into the bytes of its ports."""
_BYTE_BITS = 8


class PStatePort(NamedTuple):
    """An I/O port that some vCPUs of a domain write their requests to."""

    io_base: int
    """First I/O address of the serial device; the requests go to this one."""
    irq: int
    """Interrupt line of the device, which has to have one; the guest never sees it."""
    first_vcpu: int
    """The vCPU that is number 0 in a byte."""
    vcpus: int
    """How many vCPUs use the port."""
    step_bits: int
    """Bits of a byte for the step: 4 for 16 vCPUs and 16 steps, 3 for 32 and 8."""

    def encode(self, vcpu: int, step: int) -> int:
        """Return the byte that requests a step for one of the port's vCPUs."""
        return (vcpu - self.first_vcpu) << self.step_bits | step

    def split(self, byte: int) -> tuple[int, int]:
        """Return the vCPU and the step that a byte names, whether they exist or not."""
        number, step = byte >> self.step_bits, byte & (1 << self.step_bits) - 1
        return self.first_vcpu + number, step


class PortSteps(NamedTuple):
    """What the bytes from one port request."""

    port: PStatePort
    khz: tuple[tuple[int, ...], ...]
    """For each vCPU of the port the frequencies of its steps, the highest first; empty:
    the guest's table has none for it."""

    def has_vcpu(self, vcpu: int) -> bool:
        """Return whether the port is one that a vCPU uses."""
        return 0 <= vcpu - self.port.first_vcpu < len(self.khz)

    def find_khz(self, byte: int) -> int | None:
        """Return the frequency that a byte requests; None: no such vCPU or step."""
        vcpu, step = self.port.split(byte)
        if not self.has_vcpu(vcpu):
            return None
        steps = self.khz[vcpu - self.port.first_vcpu]
        return steps[step] if step < len(steps) else None


class PStateEndpoint(NamedTuple):
    """The serial device of a port, as the domain's XML describes it."""

    port: PStatePort
    path: str | None
    """Socket on the host; None while libvirt has not chosen one (the domain is off)."""
    alias: str | None = None
    """libvirt's name of the device in a running domain, as in `serial1`."""
    socket: str | None = None
    """Inode and creation time of its socket; None: there is none yet. See
    `values.domain.ChannelSpec`."""


class PStates(NamedTuple):
    """What a domain's note says about P-states, and the devices that carry them.

    That of a running domain is what this run has booted with, that of a definition is
    for the next start.
    """

    tables: tuple[FrequencyTable | None, ...]
    """The host's frequencies by vCPU, the highest first; None: the vCPU has none. Equal
    vCPUs share one table. A guest finds turbo as 1 MHz above nominal, whatever the
    host's turbo frequency is."""
    ports: tuple[PStatePort, ...]
    """In the order of their vCPUs."""
    file: str = ""
    """Path of the ACPI table on the host."""
    endpoints: tuple[PStateEndpoint, ...] = ()
    """Devices of the ports that the domain has; without one, requests are lost."""

    def steps_of(self, port: PStatePort) -> PortSteps:
        """Return what the bytes from one of these ports request."""
        tables = self.tables[port.first_vcpu : port.first_vcpu + port.vcpus]
        return PortSteps(port, tuple(table.khz if table else () for table in tables))


def vcpus_per_port(step_bits: int) -> int:
    """Return how many vCPUs fit into a byte beside so many bits for the step."""
    return 1 << _BYTE_BITS - step_bits


def steps_per_vcpu(step_bits: int) -> int:
    """Return how many steps a vCPU can have with so many bits for the step."""
    return 1 << step_bits
