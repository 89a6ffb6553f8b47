# SPDX-License-Identifier: Apache-2.0
"""Carries out the controller's actions and posts the outcomes as events.

Actions that can block run in threads, all others at once. Each outcome is an event, so
that nothing is decided here.

Synchronization: `perform` and the callbacks run in the asyncio thread; methods whose
names begin with `_work` run in the pools' threads and only post.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, get_args

from orchestrator import events
from orchestrator.controller import actions
from orchestrator.errors import (
    DomainGone,
    HypervisorError,
    HypervisorGone,
    JournalError,
    NoCpufreqError,
    SysfsError,
    VmpowerError,
)
from orchestrator.monitor.client.views import GuestVote
from orchestrator.monitor.link.commands import CloseChannel, Decided, HandOver
from orchestrator.monitor.link.table import Voter
from orchestrator.performer.call_pool import CallPool
from orchestrator.performer.drift_detector import DriftDetector
from orchestrator.performer.guest_policy_notes import GuestPolicyNotes
from orchestrator.performer.port_sessions import PortSessions
from orchestrator.power.topology import read_outline, read_topology
from orchestrator.system.open_files import describe_shortage
from orchestrator.values.domain import DomainId

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from orchestrator.controller.inventory import Inventory
    from orchestrator.hypervisor.connection import Hypervisor
    from orchestrator.monitor.client.client import Monitor
    from orchestrator.performer.channel_connector import ChannelConnector
    from orchestrator.performer.policy_runner import PolicyRunner
    from orchestrator.performer.state_keeper import StateKeeper
    from orchestrator.power.attribute_state import AttributeState
    from orchestrator.power.held_settings import HeldSettings
    from orchestrator.power.kernel_limits import KernelLimits
    from orchestrator.power.obtained import ObtainedFrequencies
    from orchestrator.reporting.event_log import EventLog

logger = logging.getLogger(__name__)

DOMAIN_CALLS = 4
"""Concurrent libvirt calls about domains: libvirtd serves five per client
(max_client_requests), and one is reserved for listing."""
POWER_CALLS = 4
"""Clock groups processed at once: leaving schedutil waits some 20 ms for RCU, without
using a CPU."""
MAX_POWER_CALL_S = 1.0
"""Longer than any change of a governor takes on a working kernel."""
MONITOR_RETRY_S = 0.5
"""When to try again after the monitor could not be started."""
_READINGS = "readings"
"""Key of the calls that read limits, change them, or verify groups. Outcomes arrive in
order; and threads that read small files at once mostly wait for the interpreter's
lock."""


class Performer:
    """Carries out the controller's actions."""

    def __init__(  # noqa: PLR0913 - the composition root hands over what it built
        self,
        *,
        inventory: Inventory,
        hypervisor: Hypervisor,
        monitor: Monitor,
        held: HeldSettings,
        policy_runner: PolicyRunner,
        state_keeper: StateKeeper,
        domain_calls: CallPool,
        event_log: EventLog,
        obtained: ObtainedFrequencies,
        post: Callable[[events.Event], None],
        connector: ChannelConnector,
    ) -> None:
        self._inventory = inventory
        self._hypervisor = hypervisor
        self._monitor = monitor
        self._held_groups = held.groups
        self._held_limits = held.limits
        self._held_attributes = held.attributes
        self._policy_runner = policy_runner
        self._event_log = event_log
        self._post = post
        self._connector = connector
        self._notes = GuestPolicyNotes(
            inventory=inventory,
            policy_runner=policy_runner,
            hypervisor=hypervisor,
            domain_calls=domain_calls,
        )
        self._listing = CallPool("listing", size=1)
        self._domain_calls = domain_calls
        self._power_calls = CallPool("power", size=POWER_CALLS)
        self._loop = asyncio.get_running_loop()
        self._outline: object = None
        """The CPU tree's outline when it was last read."""
        self._journal_changes: deque[actions.PrepareGroup | actions.DropGroup] = deque()
        self._limit_changes: deque[actions.HoldLimits] = deque()
        self._attribute_changes: deque[actions.HoldAttributes] = deque()
        self._start_tasks: set[asyncio.Task[None]] = set()
        self._handlers: Mapping[type, Callable[[Any], None]] = {
            actions.Report: event_log.add,
            actions.ReadTopology: self._read_topology,
            actions.ReadKernelLimits: lambda action: self._read_limits(action.groups),
            actions.HoldLimits: self._hold_limits,
            actions.HoldAttributes: self._hold_attributes,
            actions.RefreshAttributes: self._refresh_attributes,
            actions.ListDomains: self._list_domains,
            actions.DescribeDomain: self._describe,
            actions.AttachChannels: self._attach,
            actions.AddPorts: self._add_ports,
            actions.MakePStates: self._make_p_states,
            actions.DetachChannels: self._detach,
            actions.ConnectChannel: connector.connect_later,
            actions.EndPortSession: PortSessions(monitor, policy_runner, post).end,
            actions.UpdatePolicySubject: lambda a: policy_runner.update_subject(
                a.subject, a.orders
            ),
            actions.ForgetPolicySubject: lambda a: policy_runner.forget_subject(a.uuid),
            actions.InstallPolicy: self._install_policy,
            actions.EndGuestPolicies: lambda a: policy_runner.end_guest(
                a.uuid, a.number, a.cause
            ),
            actions.ResumeVotes: self._resume_votes,
            actions.ResumePolicy: lambda a: policy_runner.resume(
                a.uuid, a.source, a.order
            ),
            actions.NoteGuestPolicies: lambda a: self._notes.update_later(a.uuid),
            actions.SaveState: lambda _action: state_keeper.update(),
            actions.PrepareGroup: self._journal,
            actions.TakeGroup: self._take,
            actions.RestoreGroup: self._restore,
            actions.UnpinGroup: self._unpin,
            actions.DropGroup: self._journal,
            actions.VerifyGroups: DriftDetector(
                held.groups,
                monitor.grant_of,
                self._power_calls,
                _READINGS,
                post,
                obtained,
            ).verify,
            **dict.fromkeys(get_args(Decided), monitor.send),
            CloseChannel: self._close_channel,
            HandOver: self._hand_over,
            actions.StartMonitor: self._start_monitor,
        }

    def perform(self, decided: Iterable[actions.Action]) -> None:
        """Carry out actions in order."""
        for action in decided:
            self._handlers[type(action)](action)

    def stop(self) -> None:
        """Start nothing more; calls that hang in libvirt are abandoned.

        Blocks until no clock group is being changed, which takes milliseconds.
        """
        self._connector.stop()
        for task in self._start_tasks:
            task.cancel()
        self._policy_runner.stop()
        self._notes.stop()
        for pool in (self._listing, self._domain_calls):
            pool.stop()
        self._power_calls.stop()
        if not self._power_calls.join(MAX_POWER_CALL_S):
            logger.error("changing a clock group takes too long, not waiting any more")

    # libvirt

    def _list_domains(self, _action: actions.ListDomains) -> None:
        self._listing.submit("list", "list", self._work_list)

    def _work_list(self) -> None:
        try:
            self._post(events.DomainsListed(self._hypervisor.list_domains()))
        except HypervisorError as error:
            logger.debug("cannot list domains: %s", error)

    def _describe(self, action: actions.DescribeDomain) -> None:
        work = partial(self._work_describe, action.uuid)
        self._domain_calls.submit(action.uuid, "describe", work)

    def _work_describe(self, uuid: DomainId) -> None:
        asked_ns = time.monotonic_ns()
        try:
            spec = self._hypervisor.describe(uuid)
            self._post(events.DomainDescribed(spec, asked_ns))
        except DomainGone:
            self._post(events.DomainVanished(uuid))
        except HypervisorGone as error:
            # Everything is described again after reconnecting.
            logger.debug("cannot describe a domain: %s", error)
        except VmpowerError as error:
            self._post(events.DomainUndescribed(uuid, str(error)))

    def _attach(self, action: actions.AttachChannels) -> None:
        def attach() -> events.Event:
            wanted = (action.uuid, action.live, action.config)
            self._hypervisor.attach_channels(*wanted)
            return events.ChannelsAttached(*wanted)

        work = partial(self._work_onboard, action.uuid, attach)
        self._domain_calls.submit(action.uuid, "attach", work)

    def _add_ports(self, action: actions.AddPorts) -> None:
        def add() -> events.Event:
            obstacle = self._hypervisor.add_ports(action.uuid, action.channels)
            return events.PortsAdded(action.uuid, obstacle)

        work = partial(self._work_onboard, action.uuid, add)
        self._domain_calls.submit(action.uuid, "add ports", work)

    def _make_p_states(self, action: actions.MakePStates) -> None:
        def make() -> None:
            try:
                done = self._hypervisor.make_p_states(action.uuid, action.config)
            except VmpowerError as error:
                is_final = not isinstance(error, HypervisorGone)
                failure = str(error)
                event = events.PStatesMade(
                    action.uuid, failure=failure, is_final=is_final
                )
            else:
                event = events.PStatesMade(action.uuid, done.is_changed, done.vcpus)
            self._post(event)

        self._domain_calls.submit(action.uuid, "make P-states", make)

    def _detach(self, action: actions.DetachChannels) -> None:
        def detach() -> events.Event:
            unwanted = (action.uuid, action.live, action.config)
            self._hypervisor.detach_channels(*unwanted)
            return events.ChannelsDetached(*unwanted)

        work = partial(self._work_onboard, action.uuid, detach)
        self._domain_calls.submit(action.uuid, "detach", work)

    def _work_onboard(self, uuid: DomainId, change: Callable[[], events.Event]) -> None:
        try:
            outcome = change()
        except VmpowerError as error:
            is_final = not isinstance(error, HypervisorGone)
            self._post(events.OnboardingFailed(uuid, str(error), is_final))
        else:
            self._post(outcome)

    # channels

    def _close_channel(self, command: CloseChannel) -> None:
        self._connector.cancel(DomainId(command.uuid), command.number)
        self._monitor.send(command)

    def _install_policy(self, action: actions.InstallPolicy) -> None:
        self._policy_runner.install_for_guest(
            action.uuid, action.number, action.ticket, action.order
        )

    def _resume_votes(self, action: actions.ResumeVotes) -> None:
        votes = [
            GuestVote(
                vcpu=vote.vcpu,
                group=vote.group,
                khz=vote.khz,
                voter=Voter(vote.channel, vote.has_turbo_right, vote.is_connect_vote),
            )
            for vote in action.votes
        ]
        self._monitor.resume_votes(action.uuid, votes)

    # clock groups

    def note_outline(self, outline: object) -> None:
        """Note the outline of a topology that the controller has received."""
        self._outline = outline

    def _read_topology(self, action: actions.ReadTopology) -> None:
        kind = "read all" if action.is_thorough else "read"
        work = partial(self._work_topology, is_thorough=action.is_thorough)
        self._power_calls.submit("topology", kind, work)

    def _work_topology(self, *, is_thorough: bool) -> None:
        tree = self._held_groups.tree
        try:
            self._held_groups.retry_restoring()
            self._resume_restored(self._held_limits.suspended())
            outline = read_outline(tree)
            if is_thorough or outline != self._outline:
                topology = read_topology(tree)
                self._post(events.TopologyRead(topology))
                self._outline = outline
                # Groups that are new to the controller have only raw limits.
                numbers = [group.number for group in topology.groups]
                self._read_limits(numbers, is_complete=True)
        except (SysfsError, JournalError) as error:
            logger.warning(
                "cannot read the CPU tree, keeping the last state: %s", error
            )

    def _read_limits(
        self, numbers: Collection[int], *, is_complete: bool = False
    ) -> None:
        kind = "read all" if is_complete else f"read {len(numbers)}"
        work = partial(self._work_read_limits, numbers, is_complete=is_complete)
        self._power_calls.submit(_READINGS, kind, work)

    def _work_read_limits(self, numbers: Collection[int], *, is_complete: bool) -> None:
        limits = self._held_limits.refresh(numbers, is_complete=is_complete)
        self._post_limits(limits)

    def _hold_limits(self, action: actions.HoldLimits) -> None:
        self._limit_changes.append(action)
        self._power_calls.submit(_READINGS, "hold", self._work_hold_limits)

    def _work_hold_limits(self) -> None:
        """Hold everything that waits, with one journal write, as `_work_journal`."""
        waiting = self._limit_changes
        changes = [waiting.popleft() for _ in range(len(waiting))]
        wanted = {change.group: change.limits for change in changes}
        self._post_limits(self._held_limits.hold(wanted))

    def _hold_attributes(self, action: actions.HoldAttributes) -> None:
        self._attribute_changes.append(action)
        self._power_calls.submit("attributes", "hold", self._work_hold_attributes)

    def _work_hold_attributes(self) -> None:
        """Hold everything that waits, with one journal write, as `_work_journal`."""
        waiting = self._attribute_changes
        changes: dict[str, str | None] = {}
        for _ in range(len(waiting)):
            changes.update(waiting.popleft().changes)
        self._post_attributes(self._held_attributes.hold(changes))

    def _refresh_attributes(self, _action: actions.RefreshAttributes) -> None:
        def work() -> None:
            self._post_attributes(self._held_attributes.refresh())

        self._power_calls.submit("attributes", "refresh", work)

    def _post_attributes(self, states: Mapping[str, AttributeState]) -> None:
        if states:
            self._post(events.AttributesRead(states))

    def _post_limits(self, limits: Mapping[int, KernelLimits]) -> None:
        if limits:
            self._post(events.KernelLimitsRead(limits))

    def _journal(self, action: actions.PrepareGroup | actions.DropGroup) -> None:
        is_new = isinstance(action, actions.PrepareGroup)
        if is_new and not self._monitor.reserve(action.group):
            self._post(events.GroupFailed(action.group, describe_shortage()))
            return
        self._journal_changes.append(action)
        self._power_calls.submit("journal", "journal", self._work_journal)

    def _work_journal(self) -> None:
        """Process everything that waits, in order, with one journal write per run.

        The journal is one file, written as a whole: 512 groups one by one take 2 s, all
        at
        once 4 ms (measured).
        """
        waiting = self._journal_changes
        changes = [waiting.popleft() for _ in range(len(waiting))]
        for kind, run in itertools.groupby(changes, type):
            groups = [change.group for change in run]
            if kind is actions.PrepareGroup:
                self._work_prepare(groups)
            else:
                self._work_drop(groups)

    def _work_prepare(self, groups: list[int]) -> None:
        refused = self._held_groups.prepare(self._inventory.topology, groups)
        for group in groups:
            if group in refused:
                self._post(events.GroupFailed(group, str(refused[group])))
            else:
                self._post(events.GroupPrepared(group))

    def _work_drop(self, groups: list[int]) -> None:
        try:
            self._held_groups.drop(groups)
        except JournalError as error:
            logger.warning(
                "cannot remove groups from the journal groups=%s: %s", groups, error
            )
        self._resume_restored(groups)

    def _resume_restored(self, groups: Iterable[int]) -> None:
        """Hold the settings of groups again that are not held, and restored."""
        for group in groups:
            is_held = self._held_groups.held(group) is not None
            if not (is_held or self._held_groups.is_unrestored(group)):
                self._resume_settings(group)

    def _suspend_settings(self, group: int) -> None:
        """Leave the limits and the preference of a group to its mechanism."""
        self._post_limits(self._held_limits.suspend(group))
        self._held_attributes.suspend(group)

    def _resume_settings(self, group: int) -> None:
        """Hold them again: the group is not taken any more."""
        self._post_limits(self._held_limits.resume(group))
        self._held_attributes.resume(group)

    def _take(self, action: actions.TakeGroup) -> None:
        work = partial(self._work_take, action.group)
        self._power_calls.submit(action.group, "take", work)

    def _work_take(self, group: int) -> None:
        try:
            if self._held_groups.is_set_by_limits(group):
                self._suspend_settings(group)
            if renewed := self._held_groups.renew(group):
                governor = renewed.group.governor
                self._post(events.GroupRenewed(group, governor))
                return
            self._held_groups.take(group)
        except (SysfsError, NoCpufreqError, JournalError) as error:
            self._post(events.GroupFailed(group, str(error)))
        else:
            self._post(events.GroupTaken(group))

    def _hand_over(self, command: HandOver) -> None:
        if prepared := self._held_groups.held(command.group):
            originals = prepared.originals
            command = command._replace(
                writer=prepared.group.mechanism,
                originals=tuple(o.value.decode("latin-1") for o in originals),
                taken_values=tuple(o.taken_value.decode("latin-1") for o in originals),
            )
            fds = [*prepared.writer.fds, *prepared.original_fds]
            self._monitor.send(command, fds)

    def _unpin(self, action: actions.UnpinGroup) -> None:
        work = partial(self._work_unpin, action.group)
        self._power_calls.submit(action.group, "unpin", work)

    def _work_unpin(self, group: int) -> None:
        try:
            self._held_groups.unpin(group)
        except SysfsError as error:
            logger.warning("limits of clock group %d not restored: %s", group, error)

    def _restore(self, action: actions.RestoreGroup) -> None:
        work = partial(self._work_restore, action.group)
        self._power_calls.submit(action.group, "restore", work)

    def _work_restore(self, group: int) -> None:
        try:
            self._held_groups.restore(group)
        except SysfsError as error:
            # Its originals stay in the journal. Restoring is retried at each resync, at
            # the next start, or by `vmpower restore`.
            self._post(events.GroupFailed(group, str(error)))
        else:
            self._resume_settings(group)
            self._post(events.GroupRestored(group))

    # the monitor

    def _start_monitor(self, _action: actions.StartMonitor) -> None:
        task = self._loop.create_task(self._start_until_up())
        self._start_tasks.add(task)
        task.add_done_callback(self._start_tasks.discard)

    async def _start_until_up(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            while True:
                try:
                    await self._monitor.start()
                except VmpowerError as error:
                    logger.error("monitor not started, retrying: %s", error)  # noqa: TRY400
                    await asyncio.sleep(MONITOR_RETRY_S)
                else:
                    self._post(events.MonitorStarted())
                    return
