# SPDX-License-Identifier: Apache-2.0
"""Applies the commands of main to groups, domains and endpoints."""

from __future__ import annotations

import _socket
import contextlib
import errno
import gc
import os
from typing import TYPE_CHECKING, Any

from orchestrator.channel.protocol import GENERATIONS
from orchestrator.channel.recognition import Stream
from orchestrator.monitor.arbiter import Domain, Group, VCpu
from orchestrator.monitor.link import commands, reports
from orchestrator.monitor.link.table import (
    CHANNEL_WORDS,
    DONE_AT,
    GENERATION,
    LAST_RECEIVED,
    P_STATE_VOTE,
    P_STATE_VOTER,
    VOTE,
    VOTER,
    channel_at,
    domain_at,
    unpack_generation,
    unpack_voter,
    vcpu_at,
)
from orchestrator.monitor.process.budget import UNLIMITED, Budget
from orchestrator.monitor.process.clock import Stage
from orchestrator.monitor.process.endpoint import Endpoint
from orchestrator.system import lock_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.monitor.link.commands import VCpuDefinition
    from orchestrator.monitor.link.handoff import Delivery
    from orchestrator.monitor.link.reports import Report
    from orchestrator.monitor.link.table import SharedTable
    from orchestrator.monitor.process.answers import AnswerSender
    from orchestrator.monitor.process.clock import Clock
    from orchestrator.monitor.process.clock_groups import ClockGroups
    from orchestrator.monitor.process.epoll_set import EpollSet
    from orchestrator.monitor.process.exchange import Exchange


class Registry:
    """Applies the commands of main; owns the endpoints.

    Synchronization: one thread, the monitor's.
    """

    def __init__(
        self,
        groups: ClockGroups,
        exchange: Exchange,
        answers: AnswerSender,
        epoll_set: EpollSet,
        table: SharedTable,
        report: Callable[[Report], None],
    ) -> None:
        self.is_quiescing = False
        """Whether main has sent Quiesce."""
        self.budget = UNLIMITED
        """Of each channel, in requests per second."""
        self._groups = groups
        self._exchange = exchange
        self._answers = answers
        self._epoll_set = epoll_set
        self._table = table
        self._report = report
        self._domains: dict[str, Domain] = {}
        self._appliers: dict[type, Callable[[Any], None]] = {
            commands.DefineGroup: self._define_group,
            commands.AnswerTake: self._answer_take,
            commands.Reapply: self._reapply,
            commands.ConfirmRelease: self._confirm_release,
            commands.CloseGroup: self._close_group,
            commands.DefineDomain: self._define_domain,
            commands.SetPolicyVote: self._set_policy_vote,
            commands.ForgetDomain: self._forget_domain,
            commands.CloseChannel: self._close_channel,
            commands.SwitchChannel: self._switch_channel,
            commands.WithdrawVotes: self._withdraw_votes,
            commands.AnswerPolicy: self._answer_policy,
            commands.Quiesce: self._quiesce,
        }

    def apply(self, delivery: Delivery) -> None:
        """Apply a command; it is ignored if it refers to something unknown."""
        message, fds = delivery.message, delivery.fds
        if isinstance(message, commands.HandOver):
            self._hand_over(message, fds)
        elif isinstance(message, commands.Adopt):
            self._adopt(message, fds)
        elif isinstance(message, commands.UseLock):
            _use_lock(fds)
        else:
            _close_all(fds)
            applier = self._appliers.get(type(message))
            if applier is not None:
                applier(message)
        self._table.words[DONE_AT] += 1

    # Groups

    def _define_group(self, message: commands.DefineGroup) -> None:
        clock = self._groups.clock(message.group, message.steps, message.row)
        group = clock.group
        if group.steps != message.steps:
            group.steps = message.steps
            self._groups.note_grant(clock)  # its time has another field now
        group.limits = message.limits
        group.has_host_cpus = message.has_host_cpus
        is_released = group.override_khz is not None and message.override_khz is None
        group.override_khz = message.override_khz
        group.update_windows()
        self._groups.review(clock)
        for domain in {vcpu.domain for vcpu in group.members}:
            self._groups.review_following(domain)
        if is_released and clock in self._groups.deadlines:
            # An operator who releases a group without votes wants it back now.
            self._groups.deadlines[clock] = 0

    def _hand_over(self, message: commands.HandOver, fds: tuple[int, ...]) -> None:
        clock = self._groups.clocks.get(message.group)
        known = zip(message.originals, message.taken_values, strict=True)
        originals = [(o.encode("latin-1"), t.encode("latin-1")) for o, t in known]
        if clock is None or not clock.take_over(message.writer, fds, originals):
            _close_all(fds)
            # Descriptors are lost only if this process may open no more.
            self._report(reports.WriteRefused(message.group, errno.EMFILE))
            return
        if message.is_taken:
            self._take(clock)
        elif clock.stage is not Stage.WANTED:
            self._groups.reset(clock)

    def _answer_take(self, message: commands.AnswerTake) -> None:
        clock = self._groups.clocks.get(message.group)
        if clock is None:
            return
        if message.is_taken and clock.is_handed_over:
            self._take(clock)
        else:
            self._groups.fail(clock)
            self._send_waiting(clock)

    def _take(self, clock: Clock) -> None:
        self._groups.take(clock)
        self._send_waiting(clock)

    def _send_waiting(self, clock: Clock) -> None:
        for endpoint, error in self._answers.send_waiting(clock):
            self.end(endpoint, error_name(error))

    def _reapply(self, message: commands.Reapply) -> None:
        clock = self._groups.clocks.get(message.group)
        if clock is not None:
            self._groups.reapply(clock)

    def _confirm_release(self, message: commands.ConfirmRelease) -> None:
        clock = self._groups.clocks.get(message.group)
        if clock is not None and clock.stage is Stage.YIELDED:
            self._groups.reset(clock)

    def _close_group(self, message: commands.CloseGroup) -> None:
        clock = self._groups.clocks.get(message.group)
        if clock is not None:
            clock.close()
            self._groups.reset(clock)
            self._send_waiting(clock)

    # Domains

    def _define_domain(self, message: commands.DefineDomain) -> None:
        domain = self._domains.setdefault(message.uuid, Domain())
        domain.index = domain_at(message.row)
        is_paused = domain.is_executing and not message.is_executing
        domain.is_executing = message.is_executing
        domain.is_enforced = message.is_enforced
        domain.permissions = frozenset(message.permissions)
        domain.generation = GENERATIONS.get(message.generation or 0)
        for endpoint in self._groups.endpoints.get(domain, {}).values():
            self._exchange.configure(endpoint)
        touched = _groups(domain)
        for number in domain.vcpus.keys() - {vcpu.vcpu for vcpu in message.vcpus}:
            self._unplug(domain.vcpus.pop(number))
        for defined, row in zip(message.vcpus, message.rows, strict=True):
            self._define_vcpu(domain, defined, row)
        known = self._groups.clocks
        following = (known[n].group for n in message.following if n in known)
        domain.let_follow(tuple(following))
        if is_paused:  # the guest that goes on may be another one, from a snapshot
            self._groups.doubt_p_states(domain, None)
        self._review(touched | _groups(domain))

    def _define_vcpu(self, domain: Domain, defined: VCpuDefinition, row: int) -> None:
        vcpu = domain.vcpus.get(defined.vcpu)
        is_new = vcpu is None
        if vcpu is None:
            vcpu = VCpu(domain, defined.vcpu, vcpu_at(row))
            domain.vcpus[defined.vcpu] = vcpu
        clocks = self._groups.clocks
        clock = None if defined.group is None else clocks.get(defined.group)
        vcpu.limits = defined.limits
        vcpu.is_turbo_allowed = defined.is_turbo_allowed
        vcpu.refusal = defined.refusal
        siblings = (clocks[n].group for n in defined.siblings if n in clocks)
        vcpu.place(None if clock is None else clock.group, tuple(siblings))
        if is_new:
            self._restore_votes(vcpu)
        if domain.is_enforced:
            self._groups.forget_observed(vcpu)
        vcpu.update_window()
        self._groups.store_vote(vcpu)

    def _restore_votes(self, vcpu: VCpu) -> None:
        """Resume the votes that an earlier monitor, or main, left in the table."""
        words = self._table.words
        vote_khz = words[vcpu.index + VOTE]
        if vote_khz and vcpu.group is not None:
            vcpu.vote_khz = vcpu.group.steps.round_up(vote_khz)
            voter = unpack_voter(words[vcpu.index + VOTER])
            vcpu.voter, vcpu.has_turbo_right, vcpu.is_connect_vote = voter
        requested_khz = words[vcpu.index + P_STATE_VOTE]
        number = unpack_voter(words[vcpu.index + P_STATE_VOTER]).number
        if requested_khz and number is not None:
            vcpu.set_p_state_vote(requested_khz, number)

    def _unplug(self, vcpu: VCpu) -> None:
        vcpu.place(None)
        vcpu.withdraw()
        vcpu.withdraw_p_state()
        self._groups.store_vote(vcpu)

    def _set_policy_vote(self, message: commands.SetPolicyVote) -> None:
        domain = self._domains.get(message.uuid)
        vcpu = None if domain is None else domain.vcpus.get(message.vcpu)
        if vcpu is not None:
            self._groups.set_policy_vote(vcpu, message.khz)

    def _forget_domain(self, message: commands.ForgetDomain) -> None:
        domain = self._domains.pop(message.uuid, None)
        if domain is not None:
            for endpoint in list(self._groups.endpoints.get(domain, {}).values()):
                self._close(endpoint)
            self._groups.endpoints.pop(domain, None)
            touched = _groups(domain)
            for vcpu in domain.vcpus.values():
                self._unplug(vcpu)
            domain.let_follow(())
            self._review(touched)
        self._table.clear(map(channel_at, message.channel_rows), CHANNEL_WORDS)
        # Garbage collection is disabled, and domain and vCPUs form a cycle.
        del domain
        gc.collect()

    def _review(self, groups: set[Group]) -> None:
        for group in groups:
            self._groups.review(self._groups.clocks[group.number])

    def _withdraw_votes(self, message: commands.WithdrawVotes) -> None:
        domain = self._domains.get(message.uuid)
        if domain is None or self._has_received_since(message):
            return
        self._groups.withdraw_all(domain, message.number)

    def _has_received_since(self, message: commands.WithdrawVotes) -> bool:
        if message.number is None or message.until_ns is None:
            return False
        endpoint = self._find(message.uuid, message.number)
        if endpoint is None:
            return False
        return self._table.words[endpoint.index + LAST_RECEIVED] > message.until_ns

    # Endpoints

    def _adopt(self, message: commands.Adopt, fds: tuple[int, ...]) -> None:
        domain = self._domains.get(message.uuid)
        if domain is None or len(fds) != 1:
            _close_all(fds)
            reason = "domain is gone" if fds else "too many open files"
            self._report_closed(message, reason)
            return
        earlier = self._find(message.uuid, message.number)
        if earlier is not None:
            self._close(earlier)
        sock = _socket.socket(fileno=fds[0])
        index = channel_at(message.row)
        # What was detected before a reconnection is a good first guess.
        size, _ = unpack_generation(self._table.words[index + GENERATION])
        stream = Stream(GENERATIONS.get(size or 0))
        budget = Budget(self.budget)
        endpoint = Endpoint(sock, domain, message, index, stream, budget)
        self._groups.endpoints.setdefault(domain, {})[message.number] = endpoint
        self._exchange.configure(endpoint)
        self._epoll_set.add(endpoint)
        voters = (v for v in domain.vcpus.values() if v.voter == message.number)
        self._review({group for vcpu in voters for group in vcpu.groups})
        # QEMU drops what its guest sends while nothing is connected.
        self._groups.doubt_p_states(domain, message.number)

    def _close_channel(self, message: commands.CloseChannel) -> None:
        endpoint = self._find(message.uuid, message.number)
        if endpoint is not None:
            self._close(endpoint)
        domain = self._domains.get(message.uuid)
        if domain is not None:  # votes of a dead monitor may have no endpoint
            self._groups.withdraw_all(domain, message.number)

    def _switch_channel(self, message: commands.SwitchChannel) -> None:
        endpoint = self._find(message.uuid, message.number)
        if endpoint is None:
            return
        endpoint.is_enabled = message.is_enabled
        endpoint.reported_refusals = 0
        if not message.is_enabled:
            self._groups.withdraw_all(endpoint.domain, endpoint.number)

    def _answer_policy(self, message: commands.AnswerPolicy) -> None:
        endpoint = self._find(message.uuid, message.number)
        if endpoint is None:
            return
        try:
            self._answers.answer_policy(
                endpoint, message.ticket, is_accepted=message.is_accepted
            )
        except OSError as error:
            self.end(endpoint, error_name(error))

    def _find(self, uuid: str, number: int) -> Endpoint | None:
        domain = self._domains.get(uuid)
        if domain is None:
            return None
        return self._groups.endpoints.get(domain, {}).get(number)

    def end(self, endpoint: Endpoint, reason: str) -> None:
        """Close an endpoint whose other side hung up, and report it.

        Ignored if main has closed it in the same pass.
        """
        if endpoint.fileno() < 0:
            return
        self._close(endpoint)
        self._report_closed(endpoint.adopted, reason)

    def _report_closed(self, adopted: commands.Adopt, reason: str) -> None:
        self._report(
            reports.EndpointClosed(
                adopted.uuid, adopted.number, adopted.adoption, reason
            )
        )

    def _close(self, endpoint: Endpoint) -> None:
        self._epoll_set.remove(endpoint)
        self._exchange.forget(endpoint)
        del self._groups.endpoints[endpoint.domain][endpoint.number]
        endpoint.close()
        self._groups.withdraw_all(endpoint.domain, endpoint.number)

    def _quiesce(self, _message: commands.Quiesce) -> None:
        self.is_quiescing = True

    def hang_up(self) -> None:
        """Close all endpoints; votes, grants and frequencies stay as they are."""
        for endpoint in list(self._epoll_set.endpoints.values()):
            self._epoll_set.remove(endpoint)
            endpoint.close()


def error_name(error: OSError) -> str:
    """Return the name of an error number, such as EPIPE."""
    return errno.errorcode.get(error.errno or 0, str(error.errno))


def _use_lock(fds: tuple[int, ...]) -> None:
    """Use a lock file; its descriptor stays open until the process ends."""
    for fd in fds:
        # Some file systems have no such locks; guests are served all the same.
        with contextlib.suppress(OSError):
            lock_file.use(fd)


def _groups(domain: Domain) -> set[Group]:
    """Return the groups that depend on a domain."""
    placed = {group for vcpu in domain.vcpus.values() for group in vcpu.groups}
    return placed | {*domain.followed_by}


def _close_all(fds: tuple[int, ...]) -> None:
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)
