"""All that policies can see of this host, behind one door."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from orchestrator.errors import HypervisorError
from orchestrator.sampling.branches import BranchCounters
from orchestrator.sampling.interfaces import InterfaceCounters
from orchestrator.sampling.question import Need, SamplingError
from orchestrator.sampling.readings import (
    BranchReading,
    Reading,
    TrafficReading,
    UtilisationReading,
)
from orchestrator.sampling.virtual_functions import VirtualFunctionCounters

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from orchestrator.sampling.question import Question
    from orchestrator.values.domain import DomainId


LONGEST_CALL_S = 0.5
"""For 500 domains; half of it is by how much a reading's time may be wrong."""


class VCpuTimes(Protocol):
    """For how long vCPUs have run; see `hypervisor.connection`."""

    def vcpu_times(self, uuid: DomainId) -> Mapping[int, int]:
        """Return nanoseconds by vCPU of a domain.

        Raises:
            HypervisorError: nobody can tell.
        """
        ...

    def vcpu_times_together(
        self, uuids: Collection[DomainId]
    ) -> Mapping[DomainId, Mapping[int, int]]:
        """Return the same of those of the domains that one call tells of.

        Raises:
            HypervisorError: nobody can tell.
        """
        ...


class HostSampling:
    """Reads the host's counters.

    Synchronization: `read` from any thread, it can block; the rest does not block.
    """

    def __init__(
        self,
        *,
        sysfs_root: Path,
        vcpu_times: VCpuTimes,
        branches: BranchCounters | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open nothing yet.

        Args:
            sysfs_root: /sys or an imitation.
            vcpu_times: tells for how long vCPUs have run.
            branches: None: the machine's.
            clock: tells seconds, monotonic.
        """
        virtual_functions = VirtualFunctionCounters(sysfs_root)
        self._interfaces = InterfaceCounters(sysfs_root, virtual_functions.read)
        self._branches = BranchCounters() if branches is None else branches
        self._vcpu_times = vcpu_times
        self._clock = clock

    def find_obstacle(self, question: Question) -> str | None:
        """Say why a question can never be answered here; None: try it."""
        if question.need is Need.BRANCHES:
            return self._branches.find_obstacle(question.pcpus)
        return None

    def read(self, question: Question) -> Reading:
        """Answer a question.

        Raises:
            SamplingError: it cannot be answered now.
        """
        match question.need:
            case Need.TRAFFIC:
                packets = self._interfaces.read(question.interfaces)
                return TrafficReading(self._clock(), packets)
            case Need.BRANCHES:
                counters = self._branches.read(question.pcpus)
                return BranchReading(self._clock(), counters)
            case Need.UTILISATION:
                return self._read_utilisation(question.uuid)

    def _read_utilisation(self, uuid: DomainId) -> UtilisationReading:
        try:
            run_ns = self._vcpu_times.vcpu_times(uuid)
        except HypervisorError as error:
            raise SamplingError(f"libvirt does not tell: {error}") from error
        return UtilisationReading(self._clock(), run_ns)

    def read_together(self, questions: Collection[Question]) -> dict[DomainId, Reading]:
        """Answer for many domains with one call.

        The call says nothing of when it looked at which. Unless it was quick, that is
        not known well enough, and nothing is answered.
        """
        began_s = self._clock()
        try:
            times = self._vcpu_times.vcpu_times_together(
                {question.uuid for question in questions}
            )
        except HypervisorError:
            return {}
        ended_s = self._clock()
        if ended_s - began_s > LONGEST_CALL_S:
            return {}
        at_s = (began_s + ended_s) / 2
        return {
            uuid: UtilisationReading(at_s, run_ns) for uuid, run_ns in times.items()
        }

    def keep(self, pcpus: Collection[int]) -> None:
        """Close the counters of branches of all other CPUs."""
        self._branches.keep(pcpus)
