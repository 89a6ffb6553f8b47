# SPDX-License-Identifier: Apache-2.0
"""The exchange with guests: reads packets, changes votes and frequencies, answers.

Theory of operation: serving an endpoint processes what its guest has sent in one read,
up to a maximum. Requests in it supersede each other, each changed frequency is written
once, and the answer consists of the received bytes, because the ACK of a request is the
request itself. Answers are sent at once unless the loop gathers the answers of many
guests.

There are three paths, of which the first two are shortcuts of the third: one request
with a plan (see `endpoint.Plan`), many of them, and everything else. Plans are for
packets of 464 bytes; other generations are detected on the third path (see
`channel.recognition`). A P-state channel has bytes instead of packets, and no answers:
see `p_states`.

Source: docs/design.md, "Guest packet".
"""

from __future__ import annotations

from itertools import takewhile
from time import monotonic_ns, thread_time_ns
from typing import TYPE_CHECKING

from orchestrator.channel.protocol import (
    GENERATION_464,
    Answer,
    Command,
    CoreType,
    encode_answer,
    read_headers,
)
from orchestrator.monitor.link.reports import ChannelAbused
from orchestrator.monitor.link.table import (
    ERRORS,
    GENERATION,
    GRANT,
    LAST_RECEIVED,
    THROTTLED,
    UNANSWERED,
    VOTE,
    WRITES,
    pack_generation,
)
from orchestrator.monitor.process.allowance import Ticket
from orchestrator.monitor.process.answers import SIZE, find_refusal, make_nacks
from orchestrator.monitor.process.clock import Clock, CoreClocks, Stage
from orchestrator.monitor.process.decisions import Reply
from orchestrator.monitor.process.endpoint import HeldAnswer
from orchestrator.monitor.process.p_states import PStateExchange
from orchestrator.monitor.process.queries import QUERIES
from orchestrator.values.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orchestrator.channel.protocol import Generation, Header
    from orchestrator.channel.recognition import Cut
    from orchestrator.monitor.link.reports import Report
    from orchestrator.monitor.process.answers import AnswerSender
    from orchestrator.monitor.process.clock_groups import ClockGroups
    from orchestrator.monitor.process.decisions import Decider, Decision
    from orchestrator.monitor.process.endpoint import Endpoint, Plan
    from orchestrator.monitor.process.step_reader import StepReader

IDLE_NS = 20_000_000
"""Silence after which the rest of a stream cannot be the beginning of a packet: a guest
writes a packet whole."""

ABUSE_PAUSE_NS = 1_000_000_000
"""How long main may take to close a channel whose abuse was reported."""

_ORDINARY = (int(Command.CPU_POWER), int(CoreType.VIRTUAL))
"""Command and core type of almost all packets."""


class Exchange:
    """Serves endpoints and has them answered.

    Synchronization: one thread, the monitor's.
    """

    def __init__(  # noqa: PLR0913 - the main function hands over what it built
        self,
        groups: ClockGroups,
        decider: Decider,
        answers: AnswerSender,
        words: memoryview[int],
        rearm: Callable[[Endpoint], None],
        report: Callable[[Report], None],
        now_ns: Callable[[], int] = monotonic_ns,
    ) -> None:
        self._groups = groups
        self._decide = decider.decide
        self._count = decider.count
        self._p_states = PStateExchange(groups, decider, words)
        self._answers = answers
        self._acknowledge = answers.acknowledge
        self._words = words
        self._rearm = rearm
        self._report = report
        self._now_ns = now_ns
        self.cpu_ns: Callable[[], int] = thread_time_ns
        """CPU time, for shares of the time: no guest pays for other processes."""
        self.is_gathering = False
        """Whether answers to planned requests are gathered."""
        self.rest_deadlines: dict[Endpoint, int] = {}
        """When (monotonic) a channel will have been silent for so long that the rest of
        its stream can be processed; the earliest first."""
        self.paused: dict[Endpoint, int] = {}
        """Until when (monotonic) a guest is not read; see `share` and `budget`."""
        self._unpack = GENERATION_464.header.unpack
        self._iter_unpack = GENERATION_464.header.iter_unpack

    # Serving

    def serve(self, endpoint: Endpoint, polled_ns: int) -> None:
        """Read and process what a guest has sent, and answer it.

        Args:
            endpoint: whose socket is readable; at most once in a pass.
            polled_ns: time (monotonic) of the poll that reported it.

        Raises:
            EOFError: the other side has hung up.
            OSError: the socket failed.
        """
        try:
            data = endpoint.receive(endpoint.read_bytes)
        except BlockingIOError:
            return
        self._words[endpoint.index + LAST_RECEIVED] = polled_ns
        credit = endpoint.credit = endpoint.credit - 1
        if credit < 0:
            self._renew_budget(endpoint, polled_ns)
        if len(data) == SIZE and endpoint.has_fast_path:
            plan = endpoint.plans.get(self._unpack(data))
            if plan is not None:
                if not self._follow(plan, polled_ns):
                    self._echo(endpoint, data, (True,), polled_ns)
                elif self.is_gathering:
                    self._answers.gather(endpoint, data)
                else:
                    self._acknowledge(endpoint, data, polled_ns)
                return
        self._serve_slowly(endpoint, data, polled_ns)

    def _follow(self, plan: Plan, polled_ns: int) -> bool:
        vcpu, vote_khz, clock, grant_khz, data, granted_at = plan
        words = self._words
        if vcpu.vote_khz != vote_khz:
            vcpu.vote_khz = vote_khz
            words[vcpu.index + VOTE] = vote_khz
        if clock.khz == grant_khz:
            return True
        try:
            clock.writer.write(data)
        except OSError as error:
            self._groups.on_write_refused(clock, error.errno or -1)
            return False
        granted_ns = polled_ns - clock.since_ns
        if granted_ns > 0:  # else it has changed in this pass already
            words[clock.granted_at] += granted_ns
            clock.since_ns = polled_ns
        clock.granted_at = granted_at
        clock.khz = grant_khz
        clock.writes += 1
        words[clock.index + GRANT] = grant_khz
        words[clock.index + WRITES] = clock.writes
        return True

    def _serve_slowly(self, endpoint: Endpoint, data: bytes, polled_ns: int) -> None:
        if not data:
            raise EOFError
        if endpoint.steps is not None:
            self._serve_p_states(endpoint, endpoint.steps, data)
            return
        size = (endpoint.stream.generation or GENERATION_464).size_bytes
        # One is charged already, and the budget is compared with at the next read.
        endpoint.credit -= (len(data) - 1) // size
        headers: list[Header] = []
        if endpoint.has_fast_path and not len(data) % SIZE:
            headers = list(self._iter_unpack(data))
            plans = [endpoint.plans.get(header) for header in headers]
            if all(plans):
                self._follow_all(endpoint, data, plans, polled_ns)
                return
        began_ns = self.cpu_ns()
        # Packets of another size are very unlikely to look like this.
        if {header[2:] for header in headers} == {_ORDINARY}:
            self._serve_packets(endpoint, GENERATION_464, data, headers, polled_ns)
        else:
            is_silence_over = polled_ns - endpoint.last_partial_ns >= IDLE_NS
            if endpoint.stream.rest and endpoint.is_drained and is_silence_over:
                self.process_rest(endpoint)
            # Otherwise more may wait in the socket, and that is no silence.
            endpoint.is_drained = len(data) < endpoint.read_bytes
            self._process_cut(endpoint, endpoint.stream.feed(data), polled_ns)
        if len(data) > (endpoint.stream.generation or GENERATION_464).size_bytes:
            self._charge(endpoint, began_ns)

    def _serve_p_states(
        self, endpoint: Endpoint, reader: StepReader, data: bytes
    ) -> None:
        if len(data) == 1:
            self._p_states.serve(endpoint, reader, data)
            return
        endpoint.credit -= len(data) - 1
        began_ns = self.cpu_ns()
        self._p_states.serve(endpoint, reader, data)
        self._charge(endpoint, began_ns)

    def _renew_budget(self, endpoint: Endpoint, now_ns: int) -> None:
        """Pause a guest whose budget is used up; report one that always exceeds it."""
        until_ns = endpoint.budget.renew(endpoint.credit, now_ns)
        endpoint.credit = endpoint.budget.per_window - 1
        if until_ns:
            self._words[endpoint.index + THROTTLED] += 1
            self._pause(endpoint, until_ns)
        if endpoint.budget.take_strikes():
            self._report_abuse(endpoint, is_garbage=False)

    def _report_abuse(self, endpoint: Endpoint, *, is_garbage: bool) -> None:
        """Report a guest to main, and do not read it until main has decided."""
        adopted = endpoint.adopted
        self._report(
            ChannelAbused(adopted.uuid, adopted.number, adopted.adoption, is_garbage)
        )
        self._pause(endpoint, self._now_ns() + ABUSE_PAUSE_NS)

    def _pause(self, endpoint: Endpoint, until_ns: int) -> None:
        """Do not read a guest until a time (monotonic)."""
        self.paused[endpoint] = max(until_ns, self.paused.get(endpoint, 0))
        endpoint.time_share.is_paused = True
        self.rest_deadlines.pop(endpoint, None)
        self._rearm(endpoint)

    def _charge(self, endpoint: Endpoint, began_ns: int) -> None:
        """Pause a guest that sends bursts if its share of the time is used up."""
        took_ns, now_ns = self.cpu_ns() - began_ns, self._now_ns()
        until_ns = endpoint.time_share.charge(took_ns, now_ns)
        endpoint.refresh()
        if until_ns:
            self._pause(endpoint, until_ns)

    def resume(self) -> None:
        """Read guests again whose pause is over."""
        now_ns = self._now_ns()
        for endpoint in [e for e, until in self.paused.items() if until <= now_ns]:
            del self.paused[endpoint]
            endpoint.time_share.is_paused = False
            # What the guest has sent since is not read yet: its silence begins now.
            self._await_rest(endpoint, now_ns)
            self._rearm(endpoint)

    def _follow_all(
        self,
        endpoint: Endpoint,
        packets: bytes,
        plans: Sequence[Plan | None],
        polled_ns: int,
    ) -> None:
        # Only the last one of each clock group takes effect.
        last = {plan.clock: plan for plan in plans if plan is not None}
        refused = {
            clock for clock, plan in last.items() if not self._follow(plan, polled_ns)
        }
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
        """Answer requests at once, with NACK if the kernel refused them.

        Args:
            endpoint: whose requests they are.
            packets: all of them.
            refusals: whether each is refused; empty: none is.
            polled_ns: time (monotonic) of the poll that delivered them.
            size: bytes of each.
        """
        nacks = [index for index, is_refused in enumerate(refusals) if is_refused]
        if nacks:
            packets = make_nacks(packets, nacks, size)
            self._count(endpoint, Refusal.KERNEL, len(nacks))
        self._answers.send(endpoint, packets, nacks, polled_ns, size)

    # The stream

    def configure(self, endpoint: Endpoint) -> None:
        """Apply the domain's settings to an endpoint, new or not."""
        endpoint.reported_refusals = 0  # the cause of a refusal may be different now
        if endpoint.steps is not None:
            return
        endpoint.stream.configure(endpoint.domain.generation)
        self._store_generation(endpoint)

    def forget(self, endpoint: Endpoint) -> None:
        """Drop the deadlines of an endpoint."""
        self.rest_deadlines.pop(endpoint, None)
        self.paused.pop(endpoint, None)

    def overdue_rests(self) -> list[Endpoint]:
        """Return the channels whose silence has been long enough."""
        now_ns = self._now_ns()
        due = takewhile(lambda item: item[1] <= now_ns, self.rest_deadlines.items())
        return [endpoint for endpoint, _ in due]

    def process_rest(self, endpoint: Endpoint) -> None:
        """Process the rest of a channel's stream after a silence.

        Raises:
            OSError: the socket failed.
        """
        self._process_cut(endpoint, endpoint.stream.settle(), endpoint.last_partial_ns)

    def _process_cut(self, endpoint: Endpoint, cut: Cut, polled_ns: int) -> None:
        """Process packets cut from the stream, and keep track of its rest."""
        self._words[endpoint.index + ERRORS] += cut.is_lost
        self._store_generation(endpoint)
        self._await_rest(endpoint, polled_ns)
        if cut.is_lost and not endpoint.budget.spend_garbage(polled_ns):
            self._report_abuse(endpoint, is_garbage=True)
        generation = endpoint.stream.generation
        if cut.packets and generation is not None:
            headers = read_headers(cut.packets, generation)
            self._serve_packets(endpoint, generation, cut.packets, headers, polled_ns)

    def _await_rest(self, endpoint: Endpoint, since_ns: int) -> None:
        """Wait for the rest of a packet, if a part of it was received."""
        self.rest_deadlines.pop(endpoint, None)
        if endpoint.stream.rest:
            endpoint.last_partial_ns = since_ns
            self.rest_deadlines[endpoint] = since_ns + IDLE_NS

    def _store_generation(self, endpoint: Endpoint) -> None:
        endpoint.refresh()
        stream = endpoint.stream
        size = stream.generation.size_bytes if stream.generation is not None else None
        word = pack_generation(size, is_configured=stream.is_configured)
        self._words[endpoint.index + GENERATION] = word

    # Packets without a plan

    def _serve_packets(
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
            self._answer_each(endpoint, decisions, data, polled_ns, size)
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
        unwritten: set[Clock] = set()
        for index, header in enumerate(headers):
            # whose reply contains the frequencies
            if unwritten and header[2] in QUERIES:
                self._write_targets(unwritten)
            start = index * generation.size_bytes
            decision = self._decide(endpoint, generation, header, data, start)
            decisions.append(decision)
            if type(decision) is Clock:
                unwritten.add(decision)
            elif type(decision) is CoreClocks:
                unwritten.update(decision.clocks)
        self._write_targets(unwritten)
        return decisions

    def _write_targets(self, clocks: set[Clock]) -> None:
        for clock in clocks:
            if clock.stage is Stage.TAKEN:
                self._groups.write_target(clock)
        clocks.clear()

    def _answer_each(
        self,
        endpoint: Endpoint,
        decisions: Sequence[Decision],
        data: bytes,
        polled_ns: int,
        size: int,
    ) -> None:
        """Answer packets if some have no echo, or cannot be answered at once."""
        answers = [
            self._make_answer(
                endpoint, decision, data[index * size : (index + 1) * size], polled_ns
            )
            for index, decision in enumerate(decisions)
            if decision is not None
        ]
        self._answers.send_in_order(endpoint, answers, polled_ns)

    def _make_answer(
        self, endpoint: Endpoint, decision: Decision, packet: bytes, polled_ns: int
    ) -> HeldAnswer:
        if isinstance(decision, Clock | CoreClocks):
            if decision.stage is Stage.WANTED:
                return HeldAnswer(packet, polled_ns, decision, is_ack=True)
            refusal = find_refusal(decision)
            if refusal is None:
                return HeldAnswer(packet, polled_ns, None, is_ack=True)
            self._count(endpoint, refusal)
        elif isinstance(decision, Reply):
            return HeldAnswer(decision.data, polled_ns, None, is_ack=decision.is_ack)
        elif isinstance(decision, Ticket):
            # only the ACK of a request is the request
            ack = encode_answer(packet, Answer.ACK)
            return HeldAnswer(ack, polled_ns, decision, is_ack=True)
        return HeldAnswer(make_nacks(packet), polled_ns, None, is_ack=False)
