# SPDX-License-Identifier: Apache-2.0
"""For which share of the time vCPUs ran, from libvirt."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple, Protocol

from orchestrator.errors import HypervisorError
from orchestrator.sampling.contract import NS_PER_S, Lane, Sampler, SamplingError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from orchestrator.sampling.contract import SampleTarget
    from orchestrator.values.domain import DomainId

LONGEST_CALL_S = 0.5
"""For 500 domains; a reading's time is uncertain by half of it."""


class VCpuTimes(Protocol):
    """Reads run times of vCPUs; `hypervisor.connection` implements it."""

    def vcpu_times(self, uuid: DomainId) -> Mapping[int, int]:
        """Return nanoseconds by vCPU of a domain.

        Raises:
            HypervisorError: libvirt does not answer or does not know.
        """
        ...

    def vcpu_times_together(
        self, uuids: Collection[DomainId]
    ) -> Mapping[DomainId, Mapping[int, int]]:
        """Return the same for many domains, as far as one call reports them.

        Raises:
            HypervisorError: libvirt does not answer.
        """
        ...


class VCpuTimeReading(NamedTuple):
    """For how long vCPUs have run."""

    at_s: float
    """When it was read, by the monotonic clock."""
    run_ns: Mapping[int, int]
    """By vCPU."""


class VCpuTimeSampler(Sampler[VCpuTimeReading, float]):
    """Reads run times of vCPUs, of many domains with one call."""

    lane = Lane.LIBVIRT
    is_batched = True

    def __init__(
        self, vcpu_times: VCpuTimes, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._vcpu_times = vcpu_times
        self._clock = clock

    def read(self, target: SampleTarget) -> VCpuTimeReading:
        """Read one domain.

        Raises:
            SamplingError: libvirt does not answer.
        """
        try:
            run_ns = self._vcpu_times.vcpu_times(target.uuid)
        except HypervisorError as error:
            raise SamplingError(f"libvirt reports no vCPU times: {error}") from error
        return VCpuTimeReading(self._clock(), run_ns)

    def read_together(
        self, targets: Collection[SampleTarget]
    ) -> dict[DomainId, VCpuTimeReading]:
        """Read many domains with one call.

        The call does not report when it read which domain. If it took long, that is
        not known well enough, and its result is dropped.
        """
        began_s = self._clock()
        try:
            times = self._vcpu_times.vcpu_times_together({it.uuid for it in targets})
        except HypervisorError:
            return {}
        ended_s = self._clock()
        if ended_s - began_s > LONGEST_CALL_S:
            return {}
        at_s = (began_s + ended_s) / 2
        return {uuid: VCpuTimeReading(at_s, run_ns) for uuid, run_ns in times.items()}

    def between(
        self,
        old: VCpuTimeReading,
        new: VCpuTimeReading,
        cpus: Mapping[int, Collection[int]],
    ) -> Mapping[int, float]:
        """Return the share of time for which each vCPU ran."""
        loads = {vcpu: utilisation(old, new, vcpu) for vcpu in cpus}
        return {vcpu: load for vcpu, load in loads.items() if load is not None}


def utilisation(old: VCpuTimeReading, new: VCpuTimeReading, vcpu: int) -> float | None:
    """Return the share of time for which a vCPU ran, 0 to 1; None: unknown."""
    elapsed_s = new.at_s - old.at_s
    if elapsed_s <= 0 or vcpu not in old.run_ns or vcpu not in new.run_ns:
        return None
    ran_ns = new.run_ns[vcpu] - old.run_ns[vcpu]
    # Run time advances in ticks and is read a moment before or after the clock.
    return None if ran_ns < 0 else min(1.0, ran_ns / NS_PER_S / elapsed_s)
