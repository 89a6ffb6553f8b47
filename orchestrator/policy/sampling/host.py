"""All that policies can see of this host, behind one door."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from orchestrator.errors import HypervisorError
from orchestrator.policy.contract import Need
from orchestrator.policy.readings import (
    BranchReading,
    Reading,
    TrafficReading,
    UtilisationReading,
)
from orchestrator.policy.refusal import SamplingError
from orchestrator.policy.sampling.branches import BranchCounters
from orchestrator.policy.sampling.interfaces import InterfaceCounters
from orchestrator.policy.sampling.virtual_functions import VirtualFunctionCounters

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from orchestrator.domain import DomainId
    from orchestrator.policy.tenant import Question


class HostSampling:
    """Reads the host's counters.

    Synchronization: `read` from any thread, it can block; the rest does not block.
    """

    def __init__(
        self,
        *,
        sysfs_root: Path,
        vcpu_times: Callable[[DomainId], Mapping[int, int]],
        branches: BranchCounters | None = None,
    ) -> None:
        """Open nothing yet.

        Args:
            sysfs_root: /sys or an imitation.
            vcpu_times: returns for how many nanoseconds each vCPU of a domain has
                run; raises HypervisorError.
            branches: None: the machine's.
        """
        virtual_functions = VirtualFunctionCounters(sysfs_root)
        self._interfaces = InterfaceCounters(sysfs_root, virtual_functions.read)
        self._branches = BranchCounters() if branches is None else branches
        self._vcpu_times = vcpu_times

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
                return TrafficReading(time.monotonic(), packets)
            case Need.BRANCHES:
                counters = self._branches.read(question.pcpus)
                return BranchReading(time.monotonic(), counters)
            case Need.UTILISATION:
                return self._read_utilisation(question.uuid)

    def _read_utilisation(self, uuid: DomainId) -> UtilisationReading:
        try:
            run_ns = self._vcpu_times(uuid)
        except HypervisorError as error:
            raise SamplingError(f"libvirt does not tell: {error}") from error
        return UtilisationReading(time.monotonic(), run_ns)

    def keep(self, pcpus: Collection[int]) -> None:
        """Close the counters of branches of all other CPUs."""
        self._branches.keep(pcpus)
