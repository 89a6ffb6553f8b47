# SPDX-License-Identifier: Apache-2.0
"""Host CPUs, their clock groups and their frequencies."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from orchestrator.control.models.document import CpuNumber, Document, Khz

__all__ = ["ClockRequest", "Cpu", "CpuList", "Followed", "UnmanagedCpu"]


class Followed(Document):
    """A domain whose vCPUs a clock group follows."""

    domain: str
    """Its name."""
    threads: tuple[str, ...]
    """Its threads that are pinned into the clock group: `emulator`, `I/O thread N`."""
    decides: bool
    """Whether its vCPUs request more than those that are pinned into the clock group,
    so that the grant is theirs."""


class Cpu(Document):
    """One online host CPU whose frequency can be set."""

    pcpu: CpuNumber
    """Number of the CPU."""
    clock_group: int
    """Number N of the kernel's cpufreq policyN; CPUs of one group share one
    frequency."""
    driver: str
    """Scaling driver."""
    mechanism: str = "setspeed"
    """How the frequency of its clock group is set: `setspeed` (the governor `userspace`
    and scaling_setspeed), or `limits` (scaling_min_freq and scaling_max_freq)."""
    governor: str
    """Governor in force."""
    claimed: bool
    """Whether the daemon has taken the clock group and sets its frequency."""
    simulated: bool
    """Whether it is a file of a simulated CPU tree, not a real CPU."""
    min_khz: Khz
    """Lowest frequency that it may have now, in kHz: within the bounds of the host, the
    kernel and the domains that are pinned to it."""
    max_khz: Khz
    """Highest frequency that it may have now, in kHz."""
    grant_khz: Khz | None
    """Frequency that the clock group has been granted, in kHz; null while it is not
    taken."""
    current_khz: Khz | None
    """Current frequency, in kHz; null if the kernel does not report it."""
    steps_khz: tuple[Khz, ...]
    """Frequencies that the hardware offers, in kHz, highest first."""
    nominal_khz: Khz | None = None
    """Highest frequency without turbo, in kHz: higher steps are turbo. null if not
    known."""
    override_khz: Khz | None = None
    """Frequency that an operator has set for the clock group, in kHz; null without an
    override."""
    drift: str | None = None
    """What another program changed while the clock group was taken; the group is left
    like that until it is retaken. null: nothing."""
    reason: str | None = None
    """Why its frequency cannot be set or lowered now, or why the hardware runs it
    higher than granted; null if nothing prevents it."""
    package: int | None = None
    """Physical package (socket); null if the CPU tree does not report it."""
    core: int | None = None
    """Lowest CPU number of its core, which SMT siblings share; null if not reported."""
    node: int | None = None
    """NUMA node; null if not reported."""
    boost: bool = True
    """Whether the kernel allows turbo."""
    held_min_khz: Khz | None = None
    """Lower limit that the daemon has set in the kernel (scaling_min_freq), in kHz;
    null: none."""
    held_max_khz: Khz | None = None
    """Upper limit that the daemon has set in the kernel (scaling_max_freq), in kHz;
    null: none."""
    coordinated_cpus: tuple[CpuNumber, ...] = ()
    """CPUs of other clock groups whose frequency the hardware coordinates with this
    one, lowest first: all run at the highest frequency that is set for one of them."""
    held_up_by: tuple[CpuNumber, ...] = ()
    """Those of them that are set higher than this clock group's grant, so that it runs
    higher than granted."""
    turbo_switch: str | None = None
    """The kernel's switch that forbids turbo, such as `cpufreq/boost`; null: turbo is
    allowed."""
    epp: str | None = None
    """Energy preference (EPP) that the kernel shows for the clock group, a word or a
    number from 0 to 255; null: the daemon does not hold one."""
    idle_latency_us: int | None = None
    """Longest time in microseconds that the kernel lets the CPU take to leave an idle
    state; null: not limited, or the daemon does not hold a limit."""
    follows: tuple[Followed, ...] = ()
    """Domains whose vCPUs the clock group follows (their setting `emulator`): it is
    granted no less than the highest frequency that one of them requests."""


class UnmanagedCpu(Document):
    """One host CPU whose frequency cannot be set."""

    pcpu: CpuNumber
    """Number of the CPU."""
    reason: str
    """Why: offline, without cpufreq, frequencies unknown, ..."""


class CpuList(Document):
    """All host CPUs."""

    cpus: tuple[Cpu, ...]
    """CPUs whose frequency can be set, in the order of their numbers."""
    unmanaged_cpus: tuple[UnmanagedCpu, ...] = ()
    """The others."""


class ClockRequest(Document):
    """The frequency that a whole clock group is to have until it is released."""

    khz: Annotated[int, Field(strict=True, gt=0)]
    """Frequency in kHz, above 0; rounded up to a step of the hardware and limited by
    the host's bounds only."""
