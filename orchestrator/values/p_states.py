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

    def split(self, byte: int) -> tuple[int, int] | None:
        """Return the vCPU and the step of a byte; None: a vCPU of no such number."""
        number, step = byte >> self.step_bits, byte & (1 << self.step_bits) - 1
        return (self.first_vcpu + number, step) if number < self.vcpus else None


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

    def decode(self, port: PStatePort, byte: int) -> tuple[int, int] | None:
        """Return what a byte from a port requests.

        Args:
            port: one of these ports.
            byte: 0 to 255.

        Returns:
            The vCPU and its requested frequency in kHz; None: the vCPU has no P-states,
            or there is no such vCPU or step.
        """
        found = port.split(byte)
        if found is None:
            return None
        vcpu, step = found
        table = self.tables[vcpu] if vcpu < len(self.tables) else None
        if table is None or step >= len(table.khz):
            return None
        return vcpu, table.khz[step]


def vcpus_per_port(step_bits: int) -> int:
    """Return how many vCPUs fit into a byte beside so many bits for the step."""
    return 1 << _BYTE_BITS - step_bits


def steps_per_vcpu(step_bits: int) -> int:
    """Return how many steps a vCPU can have with so many bits for the step."""
    return 1 << step_bits
