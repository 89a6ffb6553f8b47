# SPDX-License-Identifier: Apache-2.0
"""Serves P-state channels: bytes that the guest's cpufreq driver sends, no answers.

Each byte is a request. Of those that arrive together, the last for each vCPU counts,
and all are counted, as requests without an answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.monitor.link.table import UNANSWERED
from orchestrator.monitor.process.clock import CoreClocks, Stage
from orchestrator.monitor.process.decisions import find_general_refusal
from orchestrator.values.refusal import Refusal

if TYPE_CHECKING:
    from orchestrator.monitor.process.clock import Clock
    from orchestrator.monitor.process.clock_groups import ClockGroups
    from orchestrator.monitor.process.decisions import Decider
    from orchestrator.monitor.process.endpoint import Endpoint
    from orchestrator.monitor.process.step_reader import Requests, StepReader


class PStateExchange:
    """Turns the bytes of P-state channels into votes and frequencies.

    Synchronization: one thread, the monitor's.
    """

    def __init__(
        self, groups: ClockGroups, decider: Decider, words: memoryview[int]
    ) -> None:
        self._groups = groups
        self._refuse = decider.refuse
        self._words = words

    def serve(self, endpoint: Endpoint, reader: StepReader, data: bytes) -> None:
        """Apply what a guest has sent in one read."""
        self._words[endpoint.index + UNANSWERED] += len(data)
        all_requests = reader.read(data)
        if reader.is_full:
            self._groups.doubt_p_states(endpoint.domain, endpoint.number)
        for requests in all_requests:
            refusal = find_general_refusal(endpoint) or self._apply(
                endpoint, reader, requests
            )
            if refusal is Refusal.OBSERVED:
                self._observe(endpoint, requests)
            if refusal:
                vcpu, step, _, times = requests
                self._refuse(endpoint, refusal, vcpu, step, times)

    def _apply(
        self, endpoint: Endpoint, reader: StepReader, requests: Requests
    ) -> Refusal | None:
        vcpu = endpoint.domain.vcpus.get(requests.vcpu)
        if requests.khz is None or vcpu is None:
            is_known = vcpu is not None and reader.steps.has_vcpu(requests.vcpu)
            return Refusal.NO_STEP if is_known else Refusal.NO_VCPU
        outcome = self._groups.request_p_state(vcpu, requests.khz, endpoint.number)
        if isinstance(outcome, Refusal):
            return outcome
        clocks = outcome.clocks if isinstance(outcome, CoreClocks) else (outcome,)
        are_written = [self._write(clock) for clock in clocks]
        return None if all(are_written) else Refusal.KERNEL

    def _observe(self, endpoint: Endpoint, requests: Requests) -> None:
        """Note what a refused request would have led to, in mode `observe`."""
        vcpu = endpoint.domain.vcpus.get(requests.vcpu)
        if vcpu is not None and requests.khz is not None:
            self._groups.observe_p_state(vcpu, requests.khz)

    def _write(self, clock: Clock) -> bool:
        # One that is not taken yet gets the vote when it is.
        return clock.stage is not Stage.TAKEN or self._groups.write_target(clock)
