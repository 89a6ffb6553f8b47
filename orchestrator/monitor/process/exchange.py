"""The exchange with guests: bytes in, votes and clocks, answers out.

Theory of operation: serving an endpoint takes what its guest has sent in one read, up
to a bound, lets the requests in it supersede each other, writes each clock that has
changed, and answers with the bytes that were received, because an ACK of a request is
the request. It answers at once, unless the loop has told it to gather the answers of
many guests.

There are three ways through serving, of which the first two do what the third would
do: one request with a plan (see `endpoint.Plan`), many of them, and everything else.
Plans are for packets of 464 bytes; what else a guest may speak is found out on the
third way (see `channel.recognition`).

Source: docs/design.md, "Guest packet".
"""

from __future__ import annotations

from itertools import takewhile
from os import pwrite
from time import monotonic_ns
from typing import TYPE_CHECKING

from orchestrator.channel.protocol import (
    GENERATION_464,
    Answer,
    Command,
    CoreType,
    encode_answer,
    read_headers,
)
from orchestrator.monitor.link.table import (
    ERRORS,
    GENERATION,
    GRANT,
    HEARD,
    UNANSWERED,
    VOTE,
    pack_generation,
)
from orchestrator.monitor.process.allowance import Ticket
from orchestrator.monitor.process.answers import SIZE, explain, refuse
from orchestrator.monitor.process.clock import Clock, Stage
from orchestrator.monitor.process.decisions import Reply
from orchestrator.monitor.process.endpoint import HeldAnswer
from orchestrator.monitor.process.queries import QUERIES
from orchestrator.values.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orchestrator.channel.protocol import Generation, Header
    from orchestrator.channel.recognition import Cut
    from orchestrator.monitor.process.answers import Answers
    from orchestrator.monitor.process.clock_groups import ClockGroups
    from orchestrator.monitor.process.decisions import Decision, Decisions
    from orchestrator.monitor.process.endpoint import Endpoint, Plan

IDLE_NS = 20_000_000
"""Silence after which what is left of a stream is no packet's beginning: a guest writes
a packet whole."""

_ORDINARY = (int(Command.CPU_POWER), int(CoreType.VIRTUAL))
"""Command and core type of nearly every packet."""


class Exchange:
    """Serves endpoints and has them answered.

    Synchronization: one thread, the monitor's.
    """

    def __init__(
        self,
        groups: ClockGroups,
        decisions: Decisions,
        answers: Answers,
        words: memoryview[int],
        watch: Callable[[Endpoint], None],
        now_ns: Callable[[], int] = monotonic_ns,
    ) -> None:
        self._groups = groups
        self._decide = decisions.decide
        self._count = decisions.count
        self._answers = answers
        self._acknowledge = answers.acknowledge
        self._words = words
        self._watch = watch
        self._now_ns = now_ns
        self.is_gathering = False
        """Whether answers to planned requests are gathered."""
        self.silences: dict[Endpoint, int] = {}
        """When (monotonic) the silence of a channel whose stream has a rest will have
        been long enough to explain it; the earliest first."""
        self.resting: dict[Endpoint, int] = {}
        """Until when (monotonic) a guest is not read; see `share`."""
        self._unpack = GENERATION_464.header.unpack
        self._iter_unpack = GENERATION_464.header.iter_unpack

    # Serving

    def serve(self, endpoint: Endpoint, polled_ns: int) -> None:
        """Take what a guest has sent, do it, and answer.

        Args:
            endpoint: whose socket is readable; once in a pass.
            polled_ns: time (monotonic) of the poll that said so.

        Raises:
            EOFError: the other side has hung up.
            OSError: the socket is broken.
        """
        try:
            data = endpoint.receive(endpoint.read_bytes)
        except BlockingIOError:
            return
        self._words[endpoint.index + HEARD] = polled_ns
        if len(data) == SIZE and endpoint.is_quiet:
            plan = endpoint.plans.get(self._unpack(data))
            if plan is not None:
                if not self._follow(plan):
                    self._echo(endpoint, data, (True,), polled_ns)
                elif self.is_gathering:
                    self._answers.gather(endpoint, data)
                else:
                    self._acknowledge(endpoint, data, polled_ns)
                return
        self._serve_slowly(endpoint, data, polled_ns)

    def _follow(self, plan: Plan) -> bool:
        vcpu, vote_khz, clock, grant_khz, data = plan
        if vcpu.vote_khz != vote_khz:
            vcpu.vote_khz = vote_khz
            self._words[vcpu.index + VOTE] = vote_khz
        if clock.khz == grant_khz:
            return True
        try:
            pwrite(clock.write_fd, data, 0)
        except OSError as error:
            self._groups.refuse(clock, error.errno or -1)
            return False
        clock.khz = grant_khz
        self._words[clock.index + GRANT] = grant_khz
        return True

    def _serve_slowly(self, endpoint: Endpoint, data: bytes, polled_ns: int) -> None:
        if not data:
            raise EOFError
        headers: list[Header] = []
        if endpoint.is_quiet and not len(data) % SIZE:
            headers = list(self._iter_unpack(data))
            plans = [endpoint.plans.get(header) for header in headers]
            if all(plans):
                self._follow_all(endpoint, data, plans, polled_ns)
                return
        began_ns = self._now_ns()
        # Packets of another size would hardly look like this.
        if {header[2:] for header in headers} == {_ORDINARY}:
            self._consider(endpoint, GENERATION_464, data, headers, polled_ns)
        else:
            if endpoint.stream.rest and polled_ns - endpoint.last_partial_ns >= IDLE_NS:
                self.explain_silence(endpoint)
            self._take(endpoint, endpoint.stream.feed(data), polled_ns)
        if len(data) > (endpoint.stream.generation or GENERATION_464).size_bytes:
            self._charge(endpoint, began_ns)

    def _charge(self, endpoint: Endpoint, began_ns: int) -> None:
        """Have the guest of a burst rest if its share of our time is used up."""
        now_ns = self._now_ns()
        until_ns = endpoint.share.charge(now_ns - began_ns, now_ns)
        endpoint.refresh()
        if until_ns:
            self.resting[endpoint] = until_ns
            endpoint.share.is_resting = True
            self._watch(endpoint)

    def resume(self) -> None:
        """Have the guests read again that have rested long enough."""
        now_ns = self._now_ns()
        for endpoint in [e for e, until in self.resting.items() if until <= now_ns]:
            del self.resting[endpoint]
            endpoint.share.is_resting = False
            self._watch(endpoint)

    def _follow_all(
        self,
        endpoint: Endpoint,
        packets: bytes,
        plans: Sequence[Plan | None],
        polled_ns: int,
    ) -> None:
        # Per clock only the last one counts.
        last = {plan.clock: plan for plan in plans if plan is not None}
        refused = {clock for clock, plan in last.items() if not self._follow(plan)}
        self._echo(
            endpoint,
            packets,
            [plan is not None and plan.clock in refused for plan in plans]
            if refused
            else (),
            polled_ns,
        )

    def _echo(
        self,
        endpoint: Endpoint,
        packets: bytes,
        refusals: Sequence[bool],
        polled_ns: int,
        size: int = SIZE,
    ) -> None:
        """Answer requests at once, those that the kernel refused with NACK.

        Args:
            endpoint: whose requests they are.
            packets: all of them.
            refusals: whether each is refused; empty: none is.
            polled_ns: time (monotonic) of the poll that delivered them.
            size: bytes of each.
        """
        nacks = [index for index, is_refused in enumerate(refusals) if is_refused]
        if nacks:
            packets = refuse(packets, nacks, size)
            self._count(endpoint, Refusal.KERNEL, len(nacks))
        self._answers.send(endpoint, packets, nacks, polled_ns, size)

    # The stream

    def admit(self, endpoint: Endpoint) -> None:
        """Begin with an endpoint, or with another word of the operator's about it."""
        # What was refused may be refused for another cause now.
        endpoint.reported_refusals = 0
        endpoint.stream.configure(endpoint.domain.generation)
        self._note(endpoint)

    def forget(self, endpoint: Endpoint) -> None:
        """End with an endpoint."""
        self.silences.pop(endpoint, None)
        self.resting.pop(endpoint, None)

    def silent(self) -> list[Endpoint]:
        """Return the channels whose silence has been long enough to be explained."""
        now_ns = self._now_ns()
        due = takewhile(lambda item: item[1] <= now_ns, self.silences.items())
        return [endpoint for endpoint, _ in due]

    def explain_silence(self, endpoint: Endpoint) -> None:
        """Do what the silence of a channel says that its last bytes were.

        Raises:
            OSError: the socket is broken.
        """
        self._take(endpoint, endpoint.stream.settle(), endpoint.last_partial_ns)

    def _take(self, endpoint: Endpoint, cut: Cut, polled_ns: int) -> None:
        """Do what is in a piece of stream, remember what is left of it."""
        self._words[endpoint.index + ERRORS] += cut.is_lost
        self._note(endpoint)
        self.silences.pop(endpoint, None)
        if endpoint.stream.rest:
            endpoint.last_partial_ns = polled_ns
            self.silences[endpoint] = polled_ns + IDLE_NS
        generation = endpoint.stream.generation
        if cut.packets and generation is not None:
            headers = read_headers(cut.packets, generation)
            self._consider(endpoint, generation, cut.packets, headers, polled_ns)

    def _note(self, endpoint: Endpoint) -> None:
        endpoint.refresh()
        stream = endpoint.stream
        size = stream.generation.size_bytes if stream.generation is not None else None
        word = pack_generation(size, is_given=stream.is_configured)
        self._words[endpoint.index + GENERATION] = word

    # The way of what has no plan

    def _consider(
        self,
        endpoint: Endpoint,
        generation: Generation,
        data: bytes,
        headers: Sequence[Header],
        polled_ns: int,
    ) -> None:
        size = generation.size_bytes
        decisions = self._decide_all(endpoint, generation, data, headers)
        written = [decision for decision in decisions if type(decision) is Clock]
        clocks = set(written)
        if not generation.is_answered:
            unanswered = sum(decision is not None for decision in decisions)
            self._words[endpoint.index + UNANSWERED] += unanswered
        elif (
            endpoint.held
            or len(written) < len(decisions)
            or any(clock.stage is not Stage.TAKEN for clock in clocks)
        ):
            self._give(endpoint, decisions, data, polled_ns, size)
        else:
            refused = {clock for clock in clocks if clock.refused_errno}
            refusals = [d in refused for d in decisions] if refused else ()
            self._echo(endpoint, data, refusals, polled_ns, size)

    def _decide_all(
        self,
        endpoint: Endpoint,
        generation: Generation,
        data: bytes,
        headers: Sequence[Header],
    ) -> list[Decision]:
        decisions: list[Decision] = []
        unsettled: set[Clock] = set()
        for index, header in enumerate(headers):
            if unsettled and header[2] in QUERIES:  # which tells of the clocks
                self._settle(unsettled)
            start = index * generation.size_bytes
            decision = self._decide(endpoint, generation, header, data, start)
            decisions.append(decision)
            if type(decision) is Clock:
                unsettled.add(decision)
        self._settle(unsettled)
        return decisions

    def _settle(self, clocks: set[Clock]) -> None:
        for clock in clocks:
            if clock.stage is Stage.TAKEN:
                self._groups.settle(clock)
        clocks.clear()

    def _give(
        self,
        endpoint: Endpoint,
        decisions: Sequence[Decision],
        data: bytes,
        polled_ns: int,
        size: int,
    ) -> None:
        """Answer what cannot be answered by echoes alone, or not at once."""
        answers = [
            self._answer(
                endpoint, decision, data[index * size : (index + 1) * size], polled_ns
            )
            for index, decision in enumerate(decisions)
            if decision is not None
        ]
        self._answers.give(endpoint, answers, polled_ns)

    def _answer(
        self, endpoint: Endpoint, decision: Decision, packet: bytes, polled_ns: int
    ) -> HeldAnswer:
        if isinstance(decision, Clock):
            if decision.stage is Stage.WANTED:
                return HeldAnswer(packet, polled_ns, decision, is_ack=True)
            refusal = explain(decision)
            if refusal is None:
                return HeldAnswer(packet, polled_ns, None, is_ack=True)
            self._count(endpoint, refusal)
        elif isinstance(decision, Reply):
            return HeldAnswer(decision.data, polled_ns, None, is_ack=decision.is_ack)
        elif isinstance(decision, Ticket):
            ack = encode_answer(packet, Answer.ACK)  # only of a request it is that
            return HeldAnswer(ack, polled_ns, decision, is_ack=True)
        return HeldAnswer(refuse(packet), polled_ns, None, is_ack=False)
