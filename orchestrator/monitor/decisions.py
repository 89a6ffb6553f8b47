"""What becomes of one packet: a vote, a word to main, a reply, or a refusal.

Nothing that a guest writes is identity: the socket says whose it is, and a name in a
packet is looked at by nobody.
"""

from __future__ import annotations

from time import monotonic_ns
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.channel.protocol import Command, encode_refusal
from orchestrator.monitor.clock import Clock
from orchestrator.monitor.policy_desk import PolicyDesk, Ticket
from orchestrator.monitor.queries import QUERIES, build_reply
from orchestrator.monitor.refusals import Refusal
from orchestrator.monitor.table import ERRORS, REASONS

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.channel.protocol import Generation, Request
    from orchestrator.monitor.claims import Claims
    from orchestrator.monitor.endpoint import Endpoint
    from orchestrator.monitor.messages import Message

_CPU_POWER = int(Command.CPU_POWER)
_CONNECT = int(Command.CONNECT)
_POLICY = int(Command.PKT_POLICY)
_POLICY_REMOVE = int(Command.PKT_POLICY_REMOVE)


class Reply(NamedTuple):
    """An answer that is no echo of its request."""

    data: bytes
    is_ack: bool


Decision = Clock | Ticket | Reply | Refusal | None
"""What the answer is, or depends on: a clock that is to be written or taken, main's
word about a policy; None: there is none."""


class Decisions:
    """Decides about packets, and counts refusals by reason.

    Synchronization: one thread, the monitor's.
    """

    def __init__(
        self,
        claims: Claims,
        words: memoryview[int],
        report: Callable[[Message], None],
        now_ns: Callable[[], int] = monotonic_ns,
    ) -> None:
        self._claims = claims
        self._words = words
        self._policy_desk = PolicyDesk(report)
        self._now_ns = now_ns

    def decide(
        self,
        endpoint: Endpoint,
        generation: Generation,
        request: Request,
        packet: bytes,
    ) -> Decision:
        """Do what can be done at once; the clock itself is written by its settling.

        Args:
            endpoint: whose packet it is.
            generation: the packet's.
            request: its fields.
            packet: all of it.
        """
        if request.command == _CPU_POWER:
            decision: Decision = self._power(endpoint, request)
        elif request.command == _POLICY:
            decision = self._policy(endpoint, request, packet)
        elif request.command in QUERIES and generation.is_answered:
            return self._query(endpoint, generation, request, packet)
        else:
            self._note(endpoint, request)
            return None
        if isinstance(decision, Refusal):
            self.count(endpoint, decision)
        return decision

    def count(self, endpoint: Endpoint, refusal: Refusal) -> None:
        """Count a refusal; of those that `decide` returns it has done so."""
        self._words[endpoint.index + REASONS + refusal] += 1

    def _power(self, endpoint: Endpoint, request: Request) -> Clock | Refusal:
        refusal = _refuse_all(endpoint) or _refuse_physical(request)
        if refusal is not None:
            return refusal
        vcpu = endpoint.domain.vcpus.get(request.vcpu)
        if vcpu is None:
            return Refusal.NO_VCPU
        return self._claims.request(vcpu, request.unit, endpoint.number)

    def _policy(
        self, endpoint: Endpoint, request: Request, packet: bytes
    ) -> Ticket | Refusal:
        refusal = _refuse_all(endpoint) or _refuse_physical(request)
        if refusal is not None:
            return refusal
        if not endpoint.domain.may_send_policies:
            return Refusal.POLICIES_FORBIDDEN
        ticket = self._policy_desk.submit(endpoint, packet, self._now_ns())
        return ticket or Refusal.POLICIES_TOO_MANY

    def _query(
        self,
        endpoint: Endpoint,
        generation: Generation,
        query: Request,
        packet: bytes,
    ) -> Reply:
        # That a domain is only observed keeps nobody from reading.
        vcpus = endpoint.domain.vcpus
        refusal = Refusal.NO_VCPU
        if not endpoint.is_enabled:
            refusal = Refusal.DISABLED
        elif not endpoint.domain.may_query:
            refusal = Refusal.QUERIES_FORBIDDEN
        else:
            clocks = self._claims.clocks
            reply = build_reply(query, packet, generation, vcpus, clocks)
            if reply is not None:
                return Reply(reply, is_ack=True)
        self.count(endpoint, refusal)
        return Reply(encode_refusal(query.command, generation), is_ack=False)

    def _note(self, endpoint: Endpoint, request: Request) -> None:
        """Take what nobody answers."""
        if request.command == _CONNECT:
            # Nothing but the command may be looked at: the rest is stack garbage.
            vcpu = endpoint.domain.vcpus.get(endpoint.number)
            if vcpu is not None and _refuse_all(endpoint) is None:
                self._claims.greet(vcpu, endpoint.number)
        elif request.command != _POLICY_REMOVE or not self._policy_desk.remove(
            endpoint, self._now_ns()
        ):
            self._words[endpoint.index + ERRORS] += 1


def _refuse_all(endpoint: Endpoint) -> Refusal | None:
    if not endpoint.is_enabled:
        return Refusal.DISABLED
    return None if endpoint.domain.is_enforced else Refusal.OBSERVED


def _refuse_physical(request: Request) -> Refusal | None:
    return Refusal.PHYSICAL if request.core_type else None
