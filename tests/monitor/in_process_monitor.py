# SPDX-License-Identifier: Apache-2.0
"""The monitor's parts in this process, with real sockets and plain files."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Self

from orchestrator.channel.protocol import (
    GENERATION_464,
    Answer,
    EnergyFigures,
    Request,
    encode,
    encode_answer,
)
from orchestrator.limits import Limits
from orchestrator.monitor.link import commands, reports
from orchestrator.monitor.link.handoff import Delivery, Handoff
from orchestrator.monitor.link.table import (
    ACKS,
    DROPPED,
    ERRORS,
    GENERATION,
    GRANT,
    LATE,
    NACKS,
    OBSERVED,
    OBSERVED_P_STATE,
    REASONS,
    REFUSALS,
    THROTTLED,
    UNANSWERED,
    VOTE,
    WAITING,
    SharedTable,
    channel_at,
    create_table,
    domain_at,
    group_at,
    unpack_generation,
    vcpu_at,
    write_figures,
)
from orchestrator.monitor.process.answers import AnswerSender
from orchestrator.monitor.process.clock_groups import ClockGroups
from orchestrator.monitor.process.decisions import Decider
from orchestrator.monitor.process.epoll_set import EpollSet
from orchestrator.monitor.process.exchange import Exchange
from orchestrator.monitor.process.loop import MAX_EVENTS, Loop
from orchestrator.monitor.process.registry import Registry
from orchestrator.values.frequencies import table_from
from orchestrator.values.refusal import Permission, Refusal

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.monitor.link.commands import Command
    from orchestrator.monitor.link.reports import Report
    from orchestrator.values.p_states import PortSteps

SIZE = GENERATION_464.size_bytes
STEPS = (3_001_000, 3_000_000, 2_000_000, 1_200_000)
TURBO, NOMINAL, MIDDLE, LOWEST = STEPS
SECOND_NS = 1_000_000_000

COUNTS = {
    "acks": ACKS,
    "nacks": NACKS,
    "dropped": DROPPED,
    "late": LATE,
    "errors": ERRORS,
    "waiting": WAITING,
    "unanswered": UNANSWERED,
    "throttled": THROTTLED,
}


class InProcessMonitor:
    """All of the monitor except its process; `run_pass` is one pass of its loop."""

    def __init__(
        self,
        directory: Path,
        *,
        release_after_ns: int = SECOND_NS,
        table_fd: int | None = None,
    ) -> None:
        """Start one.

        Args:
            directory: where the files of its clock groups are.
            release_after_ns: how long a group without votes is kept.
            table_fd: the shared table of an earlier one; None: a new table.
        """
        self.reports: list[Report] = []
        self.now_ns = SECOND_NS
        """The current time; tests advance it."""
        self.tick_ns = 0
        """How much the time advances each time it is read."""
        self._directory = directory
        self._guests: list[socket.socket] = []
        self._fds: list[int] = []
        self.main, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.handoff = Handoff(theirs)
        fd = create_table() if table_fd is None else os.dup(table_fd)
        self.table = SharedTable(fd)
        os.close(fd)
        self.epoll_set = EpollSet(self.handoff)
        report = self.reports.append
        words = self.table.words
        self.groups = ClockGroups(words, release_after_ns, report, self._now_ns)
        epoll_set, groups = self.epoll_set, self.groups
        answers = AnswerSender(words, epoll_set.rearm, self._now_ns)
        decider = Decider(groups, words, report, self._now_ns)
        self.exchange = Exchange(
            groups, decider, answers, words, epoll_set.rearm, report, self._now_ns
        )
        self.exchange.cpu_ns = self._now_ns
        self.registry = Registry(
            groups, self.exchange, answers, epoll_set, self.table, report
        )
        self.loop = Loop(
            self.handoff, epoll_set, groups, answers, self.exchange, self.registry
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for endpoint in list(self.epoll_set.endpoints.values()):
            endpoint.close()
        for clock in self.groups.clocks.values():
            clock.close()
        for guest in self._guests:
            guest.close()
        self.epoll_set.close()
        self.handoff.close()
        self.main.close()
        self.table.close()

    # As main

    def apply(self, message: Command, fds: tuple[int, ...] = ()) -> None:
        self.registry.apply(Delivery(message, fds))

    def define_group(
        self,
        number: int = 0,
        *,
        steps: tuple[int, ...] = STEPS,
        min_khz: int = 0,
        max_khz: int = TURBO,
        has_host_cpus: bool = False,
        override_khz: int | None = None,
    ) -> None:
        group = commands.DefineGroup(
            group=number,
            steps=table_from(steps),
            limits=Limits(min_khz, max_khz),
            has_host_cpus=has_host_cpus,
            override_khz=override_khz,
            row=number,
        )
        self.apply(group)

    def hand_over(self, number: int = 0, *, is_taken: bool = True) -> None:
        path, governor = self.path(number), self.governor(number)
        for file, value in ((path, "<unsupported>\n"), (governor, "schedutil\n")):
            if not file.exists():
                file.write_text(value)
        fds = (os.open(path, os.O_RDWR), os.open(governor, os.O_RDWR))
        originals = (governor.read_text(),)
        command = commands.HandOver(
            number, is_taken, originals, ("userspace",), "setspeed"
        )
        self.apply(command, fds)

    def refuse_writes(self, number: int = 0) -> None:
        """Hand over a frequency file that refuses writes, as for an offline CPU."""
        fd = os.open("/dev/full", os.O_RDWR)
        command = commands.HandOver(number, is_taken=True, writer="setspeed")
        self.apply(command, (fd,))

    def define_domain(
        self,
        number: int = 0,
        groups: tuple[int | None, ...] = (0,),
        *,
        is_executing: bool = True,
        is_enforced: bool = True,
        min_khz: int = 0,
        max_khz: int = TURBO,
        is_turbo_allowed: bool = True,
        may_query: bool = True,
        may_query_energy: bool = True,
        may_send_policies: bool = True,
        generation: int | None = None,
        refusal: Refusal = Refusal.FLOATING,
        siblings: tuple[int, ...] = (),
        following: tuple[int, ...] = (),
    ) -> None:
        """Define a domain with one vCPU in each of the groups.

        vCPU 0 is in the groups of `siblings`, too; the groups of `following` follow.
        """
        vcpus = tuple(
            commands.VCpuDefinition(
                vcpu,
                group,
                Limits(min_khz, max_khz),
                is_turbo_allowed,
                refusal,
                () if vcpu else siblings,
            )
            for vcpu, group in enumerate(groups)
        )
        definition = commands.DefineDomain(
            uuid=str(number),
            is_executing=is_executing,
            is_enforced=is_enforced,
            permissions=tuple(
                name
                for name, is_granted in (
                    (Permission.QUERIES, may_query),
                    (Permission.ENERGY_QUERIES, may_query_energy),
                    (Permission.GUEST_POLICIES, may_send_policies),
                )
                if is_granted
            ),
            generation=generation,
            vcpus=vcpus,
            rows=tuple(number * 100 + vcpu for vcpu in range(len(groups))),
            following=following,
            row=number,
        )
        self.apply(definition)

    def write_energy(self, figures: EnergyFigures, number: int = 0) -> None:
        """Write what a domain draws, as main does each second."""
        write_figures(self.table.words, domain_at(number), figures, self.now_ns)

    def adopt(
        self,
        domain: int = 0,
        number: int = 0,
        *,
        is_enabled: bool = True,
        steps: PortSteps | None = None,
        send_bytes: int | None = None,
    ) -> socket.socket:
        """Open a channel; return the guest's end.

        Args:
            domain: its domain.
            number: the channel's number, below 100.
            is_enabled: whether its requests are accepted.
            steps: the requests of a P-state channel; None: the other kind.
            send_bytes: how much either end may send; None: the kernel's default.
        """
        guest, ours = socket.socketpair()
        if send_bytes is not None:
            for end in (guest, ours):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_bytes)
        guest.settimeout(0)
        self._guests.append(guest)
        row = self._row(domain, number)
        adopt = commands.Adopt(str(domain), number, row, 1, is_enabled, steps)
        self.apply(adopt, (ours.detach(),))
        return guest

    def simple(self) -> socket.socket:
        """One taken group, one domain with one vCPU in it, one channel."""
        self.define_group()
        self.hand_over()
        self.define_domain()
        return self.adopt()

    def policies(self) -> list[reports.PolicySent]:
        """Return the policies that were forwarded to main."""
        return [r for r in self.reports if isinstance(r, reports.PolicySent)]

    def reported_refusals(self) -> list[tuple[int, str, int, int]]:
        """Return the reported refusals: channel, reason, vCPU, unit."""
        return [
            (report.number, report.reason.word, report.vcpu, report.unit)
            for report in self.reports
            if isinstance(report, reports.RequestRefused)
        ]

    def answer_policy(
        self, sent: reports.PolicySent, *, is_accepted: bool = True
    ) -> None:
        self.apply(
            commands.AnswerPolicy(sent.uuid, sent.number, sent.ticket, is_accepted)
        )

    # As time

    def run_pass(self, *, age_ns: int = 0) -> None:
        """Make one pass over ready sockets, polled `age_ns` ago."""
        self.loop.handle(self.epoll_set.wait(0, MAX_EVENTS), self.now_ns - age_ns)

    def run_until_idle(self) -> None:
        """Make passes until no socket is ready."""
        while events := self.epoll_set.wait(0, MAX_EVENTS):
            self.loop.handle(events, self.now_ns)

    def _now_ns(self) -> int:
        self.now_ns += self.tick_ns
        return self.now_ns

    # As guest

    def request(self, guest: socket.socket, packets: bytes) -> bytes:
        """Send packets, have them all served, return the answers."""
        guest.sendall(packets)
        self.run_until_idle()
        return receive(guest)

    def request_with_main(self, guest: socket.socket, packets: bytes) -> bytes:
        """Do the same as `request`, with a main that accepts every policy."""
        answers = self.request(guest, packets)
        for sent in self.policies():
            self.answer_policy(sent)
        return answers + receive(guest)

    # As observer

    def path(self, number: int = 0) -> Path:
        return self._directory / f"clock{number}"

    def governor(self, number: int = 0) -> Path:
        return self._directory / f"governor{number}"

    def frequency(self, number: int = 0) -> int:
        return int(self.path(number).read_text().split("\n")[0])

    def grant(self, number: int = 0) -> int:
        return self.table.words[group_at(number) + GRANT]

    def refusals(self, number: int = 0) -> int:
        return self.table.words[group_at(number) + REFUSALS]

    def vote(self, vcpu: int = 0, domain: int = 0) -> int:
        return self.table.words[vcpu_at(domain * 100 + vcpu) + VOTE]

    def observed(self, vcpu: int = 0, domain: int = 0) -> int:
        """Return what a vCPU would vote for if it were not only observed."""
        return self.table.words[vcpu_at(domain * 100 + vcpu) + OBSERVED]

    def observed_p_state(self, vcpu: int = 0, domain: int = 0) -> int:
        """Do the same for its P-state channel."""
        return self.table.words[vcpu_at(domain * 100 + vcpu) + OBSERVED_P_STATE]

    def counts(self, domain: int = 0, number: int = 0) -> dict[str, int]:
        """Return the counters that are not zero."""
        at = channel_at(self._row(domain, number))
        found = {name: self.table.words[at + kind] for name, kind in COUNTS.items()}
        return {name: count for name, count in found.items() if count}

    def reasons(self, domain: int = 0, number: int = 0) -> dict[str, int]:
        """Return the number of refused requests by reason."""
        at = channel_at(self._row(domain, number)) + REASONS
        found = {refusal.word: self.table.words[at + refusal] for refusal in Refusal}
        return {word: count for word, count in found.items() if count}

    def generation(self, domain: int = 0, number: int = 0) -> tuple[int | None, bool]:
        """Return the generation of a channel's guest, and whether it is configured."""
        at = channel_at(self._row(domain, number))
        return unpack_generation(self.table.words[at + GENERATION])

    def _row(self, domain: int, number: int) -> int:
        return domain * 100 + number


def receive(guest: socket.socket) -> bytes:
    """Return everything that has arrived."""
    data = b""
    while True:
        try:
            piece = guest.recv(1 << 20)
        except BlockingIOError:
            return data
        if not piece:
            return data
        data += piece


def ack(vcpu: int, unit: int) -> bytes:
    """Return the ACK of a request."""
    return encode_answer(encode(Request(vcpu, unit)), Answer.ACK)


def nack(vcpu: int, unit: int, core_type: int = 0) -> bytes:
    """Return the NACK of a request."""
    packet = encode(Request(vcpu, unit, core_type=core_type))
    return encode_answer(packet, Answer.NACK)
