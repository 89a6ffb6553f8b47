# SPDX-License-Identifier: Apache-2.0
"""Decides about packets: a vote, a message to main, a reply, or a refusal.

Nothing in a packet identifies a guest: its socket does, and the name in a packet is
ignored.
"""

from __future__ import annotations

from time import monotonic_ns
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.channel.protocol import Command, CoreType, Request
from orchestrator.monitor.link.reports import RequestRefused
from orchestrator.monitor.link.table import ERRORS, count_refusals
from orchestrator.monitor.process.allowance import Ticket
from orchestrator.monitor.process.clock import Clock, CoreClocks
from orchestrator.monitor.process.policy_requests import PolicyForwarder
from orchestrator.monitor.process.queries import (
    QUERIES,
    QUERY_ENERGY,
    build_energy_reply,
    build_refusal,
    build_reply,
)
from orchestrator.values.refusal import Permission, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.channel.protocol import Generation, Header
    from orchestrator.monitor.arbiter import Domain
    from orchestrator.monitor.link.reports import Report
    from orchestrator.monitor.process.clock_groups import ClockGroups
    from orchestrator.monitor.process.endpoint import Endpoint

_CPU_POWER = int(Command.CPU_POWER)
_CONNECT = int(Command.CONNECT)
_POLICY = int(Command.PKT_POLICY)
_POLICY_REMOVE = int(Command.PKT_POLICY_REMOVE)
_VIRTUAL = int(CoreType.VIRTUAL)


class Reply(NamedTuple):
    """An answer other than the packet itself."""

    data: bytes
    is_ack: bool


Decision = Clock | CoreClocks | Ticket | Reply | Refusal | None
"""What the answer is or depends on: a clock to be written or taken, a policy that main
installs; None: there is no answer."""


class Decider:
    """Decides about packets, and counts refusals by reason.

    Synchronization: one thread, the monitor's.
    """

    def __init__(
        self,
        groups: ClockGroups,
        words: memoryview[int],
        report: Callable[[Report], None],
        now_ns: Callable[[], int] = monotonic_ns,
    ) -> None:
        self._groups = groups
        self._words = words
        self._policies = PolicyForwarder(report)
        self._report = report
        self._now_ns = now_ns

    def decide(
        self,
        endpoint: Endpoint,
        generation: Generation,
        header: Header,
        data: bytes,
        start: int,
    ) -> Decision:
        """Carry out a packet, except for writing the frequency.

        Args:
            endpoint: whose packet it is.
            generation: of the packet.
            header: its fields.
            data: the bytes that contain it.
            start: where it begins.
        """
        number, unit, command, core_type = header
        if command == _CPU_POWER:
            decision = find_general_refusal(endpoint, core_type) or self._decide_power(
                endpoint, number, unit
            )
            if decision is Refusal.OBSERVED and core_type == _VIRTUAL:
                self._observe(endpoint, number, unit)
        elif command == _POLICY:
            packet = data[start : start + generation.size_bytes]
            decision = find_general_refusal(endpoint, core_type) or self._decide_policy(
                endpoint, packet
            )
        elif command in QUERIES and generation.is_answered:
            packet = data[start : start + generation.size_bytes]
            return self._query(endpoint, generation, Request(*header), packet)
        else:
            self._handle_unanswered(endpoint, command)
            return None
        if type(decision) is Refusal:
            self.refuse(endpoint, decision, number, unit)
        return decision

    def count(self, endpoint: Endpoint, refusal: Refusal, times: int = 1) -> None:
        """Count refusals other than those that `decide` returns, which are counted."""
        count_refusals(self._words, endpoint.index, refusal, times, self._now_ns())

    def refuse(
        self,
        endpoint: Endpoint,
        refusal: Refusal,
        number: int,
        unit: int,
        times: int = 1,
    ) -> None:
        """Count a refusal; report the first for each reason.

        Refusals that main or the kernel decides later are known to main.

        Args:
            endpoint: whose request it was.
            refusal: the reason.
            number: the vCPU in the request, as it is.
            unit: the unit in the request, or the step of a P-state, as it is.
            times: how many such requests.
        """
        self.count(endpoint, refusal, times)
        if endpoint.reported_refusals >> refusal & 1:
            return
        endpoint.reported_refusals |= 1 << refusal
        adopted = endpoint.adopted
        self._report(
            RequestRefused(
                uuid=adopted.uuid,
                number=adopted.number,
                adoption=adopted.adoption,
                reason=refusal,
                vcpu=number,
                unit=unit,
            )
        )

    def _decide_power(self, endpoint: Endpoint, number: int, unit: int) -> Decision:
        vcpu = endpoint.domain.vcpus.get(number)
        if vcpu is None:
            return Refusal.NO_VCPU
        return self._groups.request(vcpu, unit, endpoint.number)

    def _decide_policy(self, endpoint: Endpoint, packet: bytes) -> Decision:
        if Permission.GUEST_POLICIES not in endpoint.domain.permissions:
            return Refusal.POLICIES_FORBIDDEN
        ticket = self._policies.forward(endpoint, packet, self._now_ns())
        return ticket or Refusal.POLICIES_TOO_MANY

    def _observe(self, endpoint: Endpoint, number: int, unit: int) -> None:
        """Note what a refused request would have led to, in mode `observe`."""
        vcpu = endpoint.domain.vcpus.get(number)
        if vcpu is not None:
            self._groups.observe(vcpu, unit)

    def _query(
        self,
        endpoint: Endpoint,
        generation: Generation,
        query: Request,
        packet: bytes,
    ) -> Reply:
        # Queries are answered in observe mode, too.
        permission = QUERIES[query.command]
        refusal: Refusal
        if not endpoint.is_enabled:
            refusal = Refusal.DISABLED
        elif permission not in endpoint.domain.permissions:
            refusal = permission.refusal
        else:
            reply = self._build_reply(endpoint.domain, generation, query, packet)
            if isinstance(reply, bytes):
                return Reply(reply, is_ack=True)
            refusal = reply
        self.refuse(endpoint, refusal, query.vcpu, query.unit)
        data = build_refusal(query.command, packet, generation)
        return Reply(data, is_ack=False)

    def _build_reply(
        self, domain: Domain, generation: Generation, query: Request, packet: bytes
    ) -> bytes | Refusal:
        if query.command == QUERY_ENERGY:
            now_ns = self._now_ns()
            energy = build_energy_reply(packet, self._words, domain.index, now_ns)
            return energy or Refusal.ENERGY_UNKNOWN
        clocks = self._groups.clocks
        reply = build_reply(query, packet, generation, domain.vcpus, clocks)
        return reply or Refusal.NO_VCPU

    def _handle_unanswered(self, endpoint: Endpoint, command: int) -> None:
        """Handle a packet that has no answer."""
        if command == _CONNECT:
            # Use only the command: the rest is uninitialized memory of the guest.
            vcpu = endpoint.domain.vcpus.get(endpoint.number)
            if vcpu is not None and find_general_refusal(endpoint, _VIRTUAL) is None:
                self._groups.on_connect(vcpu, endpoint.number)
        elif command != _POLICY_REMOVE or not self._policies.forward_removal(
            endpoint, self._now_ns()
        ):
            self._words[endpoint.index + ERRORS] += 1


def find_general_refusal(
    endpoint: Endpoint, core_type: int = _VIRTUAL
) -> Refusal | None:
    """Return why all requests of an endpoint are refused; None: they are not."""
    if not endpoint.is_enabled:
        return Refusal.DISABLED
    if not endpoint.domain.is_enforced:
        return Refusal.OBSERVED
    return Refusal.PHYSICAL if core_type else None
