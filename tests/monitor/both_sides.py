# SPDX-License-Identifier: Apache-2.0
"""Main's and the monitor's side of clock groups in one process, with the real code.

Real: the controller, its inventory, the held groups with their journal on a simulated
tree, main's records of the shared table, and every part of the monitor. Left out: the
processes, the threads and the sockets between them. Commands, reports and outcomes wait
in queues instead, and a test chooses which arrives next; so they cross in every order
that is possible in reality:

* commands and reports each keep their order;
* operations on groups finish in any order, but those on the journal keep theirs;
* a monitor that dies has sent its reports, and reads no more commands.

The files of the tree stand in for the kernel. An offline CPU refuses every access
through an open descriptor, and comes back with its governor and without its frequency,
as with Linux's acpi-cpufreq.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator import events as e
from orchestrator.config import Config
from orchestrator.controller import Controller
from orchestrator.controller import actions as a
from orchestrator.controller.group_lifecycle import GroupStage
from orchestrator.controller.inventory import Inventory
from orchestrator.errors import JournalError, NoCpufreqError, SysfsError
from orchestrator.monitor.client.pending_withdrawals import PendingWithdrawals
from orchestrator.monitor.client.records import Records
from orchestrator.monitor.link import commands as c
from orchestrator.monitor.link import reports as r
from orchestrator.monitor.link.table import SharedTable, create_table
from orchestrator.monitor.process.clock import Stage
from orchestrator.power.held_groups import HeldGroups
from orchestrator.power.journal import Journal
from orchestrator.power.simulated import lay_out
from orchestrator.power.sysfs import CPU_DIR, CpuTree
from orchestrator.power.topology import Topology, read_topology
from orchestrator.values.domain import DomainState, PCpu, QemuThread
from orchestrator.values.domain_settings import DomainSettings, ThreadFrequency
from orchestrator.values.p_states import PortSteps, PStatePort
from tests.controller.specs import NOW_NS, channel, domain, vcpu
from tests.monitor.in_process_monitor import SECOND_NS, InProcessMonitor, receive

if TYPE_CHECKING:
    from typing import TypeAlias

    from orchestrator.monitor.process.clock import Clock
    from orchestrator.values.domain import DomainSpec

STEPS_KHZ = (3_001_000, 3_000_000, 2_000_000, 1_200_000)
LOST_KHZ = 777_000
"""The frequency of a CPU that was offline, whatever was granted before."""
CPUS = 3
P_STATES = 2000
"""Number of the P-state channel."""
PORT = PStatePort(io_base=0x5C0, irq=3, first_vcpu=0, vcpus=2, step_bits=4)
P_STATE_STEPS = PortSteps(PORT, (STEPS_KHZ, STEPS_KHZ))
Work: TypeAlias = "a.PrepareGroup | a.DropGroup | a.TakeGroup | a.RestoreGroup"
JOURNALLED = (a.PrepareGroup, a.DropGroup)


class BothSides:
    """One domain with two vCPUs on CPUs 0 and 1; CPU 2 is free.

    It has a channel of each kind: the guest's own cpufreq driver is at the other one.
    CPUs 0 and 1 are threads of one core.
    """

    pinnings: tuple[tuple[int, ...], ...] = ((0,), (1,))
    """The CPUs of each vCPU."""
    emulator: frozenset[int] = frozenset()
    """The CPUs of its emulator, which follow its vCPUs; empty: it is not pinned."""

    _readings = 0
    """How often groups were verified, each time a second later."""

    def __init__(self, directory: Path) -> None:
        self.tree = _lay_out(directory / "sys")
        self._directory = directory
        self._offline: dict[int, dict[int, str]] = {}
        """Descriptors that refuse every access, and their files, by CPU."""
        nothing = Topology(groups=(), unmanaged={}, online=frozenset())
        self.inventory = Inventory(Config(), nothing)
        self._controller = Controller(self.inventory)
        journal = Journal(directory / "journal.json", self.tree)
        self.held = HeldGroups(self.tree, journal, fallback_governor="schedutil")
        self._table_fd = create_table()
        self._table = SharedTable(self._table_fd)
        self._records = Records(self._table)
        self._pending = PendingWithdrawals(self._table)
        self.commands: deque[tuple[c.Command, tuple[int, ...]]] = deque()
        self.reports: deque[r.Report] = deque()
        self.work: list[Work] = []
        self._posted: deque[e.Event] = deque()
        self.interfered: set[int] = set()
        """The groups that another program has changed."""
        self.drifts: deque[e.GroupDrifted] = deque()
        """Posted before the outcomes of later operations on the groups."""
        self.topologies: deque[Topology] = deque()
        """The changes of the CPUs that main has yet to notice."""
        self.monitor: InProcessMonitor | None = None
        self._guests: list[socket.socket] = []
        self._adoptions = 0
        self.spec = self._running(1)
        self._start()

    def _start(self) -> None:
        self.guests: dict[int, socket.socket] = {}
        """The guest's ends of its channels, by number."""
        self.adopted: dict[int, int] = {}
        """The adoptions of its open channels, by number."""
        self.react(e.TopologyRead(read_topology(self.tree)))
        self.start_monitor()
        self.react(e.DomainDescribed(self.spec, NOW_NS))

    def _running(self, run: int) -> DomainSpec:
        vcpus = tuple(vcpu(at, *cpus) for at, cpus in enumerate(self.pinnings))
        emulator = QemuThread(
            name="emulator", pinning=frozenset(map(PCpu, self.emulator))
        )
        return domain(
            vcpus=vcpus,
            channels=(channel(0), channel(P_STATES, steps=P_STATE_STEPS)),
            run=run,
            threads=(emulator,) if self.emulator else (),
            settings=DomainSettings(emulator=ThreadFrequency.FOLLOW),
        )

    def close(self) -> None:
        for number in list(self._offline):
            self.bring_online(number)
        if self.monitor is not None:
            self.monitor.__exit__()
        for _, fds in self.commands:
            for fd in fds:
                os.close(fd)
        for guest in self._guests:
            guest.close()
        self.held.restore_all()
        self._table.close()
        os.close(self._table_fd)

    # Main

    def react(self, event: e.Event) -> None:
        """Let the controller react, and perform what it decides."""
        self._posted.append(event)
        if len(self._posted) > 1:
            return  # posted by an action: handled after all actions
        while self._posted:
            for action in self._controller.react(self._posted[0]):
                self._perform(action)
            self._posted.popleft()

    def _perform(self, action: a.Action) -> None:
        match action:
            case a.PrepareGroup() | a.DropGroup() | a.TakeGroup() | a.RestoreGroup():
                self.work.append(action)
            case a.UnpinGroup(group):
                self.held.unpin(group)
            case a.VerifyGroups(groups):
                for group in groups:
                    self._verify(group)
            case a.ReadTopology():
                with contextlib.suppress(SysfsError, JournalError):
                    self.held.retry_restoring()
                self.topologies.append(read_topology(self.tree))
            case a.ConnectChannel(uuid, number, path):
                if self.monitor is not None and self.spec.state.is_active:
                    self._adopt(uuid, number)
                    self.react(e.ChannelConnected(uuid, number, path))
            case a.StartMonitor():
                self.is_start_due = True
            case a.EndPortSession(uuid, number):
                self._send(c.WithdrawVotes(uuid, number))
            case c.HandOver(group):
                self._hand_over(action, group)
            case _ if isinstance(action, tuple):
                self._send(action)
            case _:
                pass  # concerns neither groups nor the monitor

    def _verify(self, group: int) -> None:
        grant = self._records.grant_of(group)
        self._readings += 1
        change = self.held.find_drift(group, grant.khz)
        if change is not None:
            drift = e.GroupDrifted(group, change, grant.writes, (), self._readings)
            self.drifts.append(drift)

    def verify(self) -> None:
        """Let main verify the groups that are taken.

        Half a second passes after a reading with a difference. Main processes within
        milliseconds what the kernel notified it of before, and the monitor the commands
        that follow.
        """
        groups = self.inventory.groups.values()
        if self.drifts or any(group.suspicion for group in groups):
            while self.drifts:
                self.receive_drift()
            while self.topologies:
                self.notice()
            while self.commands:
                self.apply()
        self.react(e.VerificationDue())

    def receive_drift(self) -> None:
        """Let main process one confirmed drift."""
        self.react(self.drifts.popleft())

    def _hand_over(self, command: c.HandOver, group: int) -> None:
        prepared = self.held.held(group)
        assert prepared is not None, "handed over without preparation"
        originals = prepared.originals
        complete = command._replace(
            originals=tuple(o.value.decode() for o in originals),
            taken_values=tuple(o.taken_value.decode() for o in originals),
            writer=prepared.group.mechanism,
        )
        self._send(complete, (*prepared.writer.fds, *prepared.original_fds))

    def _send(self, command: c.Decided, fds: tuple[int, ...] = ()) -> None:
        """Do the same as `Monitor.send`, into the queue."""
        fallback = self._records.find_fallback(command)
        complete = self._records.record(command)
        if isinstance(command, c.CloseChannel):
            self.adopted.pop(command.number, None)
        if complete is not None:
            self._transmit(complete, fds)
            if self.monitor is not None:
                self._pending.count(fallback)
            elif fallback is not None:
                fallback()

    def _transmit(self, command: c.Command, fds: tuple[int, ...] = ()) -> None:
        if self.monitor is not None:
            self.commands.append((command, tuple(map(self._dup, fds))))

    def _dup(self, fd: int) -> int:
        copy = os.dup(fd)
        for broken in self._offline.values():
            if fd in broken:
                broken[copy] = broken[fd]
        return copy

    def _adopt(self, uuid: str, number: int) -> None:
        guest, ours = socket.socketpair()
        guest.settimeout(0)
        self.guests[number] = guest
        self._guests.append(guest)
        self._adoptions += 1
        self.adopted[number] = self._adoptions
        row = self._records.channel_row(self.spec.uuid, number)
        steps = P_STATE_STEPS if number == P_STATES else None
        adopt = c.Adopt(uuid, number, row, self._adoptions, True, steps)  # noqa: FBT003
        self._transmit(adopt, (ours.fileno(),))
        self._pending.count(None)
        ours.close()

    def finish(self, index: int) -> None:
        """Finish one of the operations in progress, like a thread of the performer."""
        while self.drifts:
            self.receive_drift()
        action = self.work[index]
        if isinstance(action, JOURNALLED):
            action = next(x for x in self.work if isinstance(x, JOURNALLED))
        self.work.remove(action)
        group = action.group
        try:
            outcome = self._work(action, group)
        except (SysfsError, NoCpufreqError, JournalError) as error:
            outcome = e.GroupFailed(group, str(error))
        if outcome is not None:
            self.react(outcome)

    def _work(self, action: Work, group: int) -> e.Event | None:
        match action:
            case a.PrepareGroup():
                # The kernel refuses to read the files; those of the tree are readable.
                if not self.is_online(group):
                    return e.GroupFailed(group, "CPU is offline")
                refused = self.held.prepare(self.inventory.topology, [group])
                if group in refused:
                    return e.GroupFailed(group, str(refused[group]))
                return e.GroupPrepared(group)
            case a.TakeGroup():
                if renewed := self.held.renew(group):
                    return e.GroupRenewed(group, renewed.group.governor)
                self.held.take(group)
                return e.GroupTaken(group)
            case a.RestoreGroup():
                self.held.restore(group)
                return e.GroupRestored(group)
            case a.DropGroup():
                self.held.drop([group])
                return None

    def receive_report(self) -> None:
        """Let main read one report."""
        match self.reports.popleft():
            case r.TakeWanted(group):
                self.react(e.TakeWanted(group))
            case r.GroupYielded(group):
                self.react(e.GroupYielded(group))
            case r.WriteRefused(group, errno):
                self.react(e.WriteRefused(group, errno))
            case r.EndpointClosed(_, number, adoption, reason):
                if adoption == self.adopted.get(number):
                    del self.adopted[number]
                    self.react(e.EndpointClosed(self.spec.uuid, number, reason))
            case _:
                pass

    # The monitor

    def start_monitor(self) -> None:
        """Start a monitor and send it the definitions, as `Monitor.start` does."""
        self.is_start_due = False
        self._renew_table()
        self.monitor = InProcessMonitor(self._directory, table_fd=self._table_fd)
        self._pending.reset(self._table)
        for command in self._records.definitions():
            self._transmit(command)
            self._pending.count(None)
        self.react(e.MonitorStarted())

    def _renew_table(self) -> None:
        os.close(self._table_fd)
        self._table_fd = create_table()
        old, self._table = self._table, SharedTable(self._table_fd)
        self._records.move_to(self._table, now_ns=2**63)
        old.close()

    def kill_monitor(self) -> None:
        """Kill it: its reports still arrive, unprocessed commands are lost."""
        if self.monitor is None:
            return
        self.collect()
        while self.reports:
            self.receive_report()
        self.monitor.__exit__()
        self.monitor = None
        self.guests.clear()
        self.adopted.clear()
        for _, fds in self.commands:
            for fd in fds:
                os.close(fd)
        self.commands.clear()
        self._pending.apply_unacknowledged()
        self.react(e.MonitorDied(-9))

    def apply(self) -> None:
        """Let the monitor apply one command."""
        assert self.monitor is not None
        command, fds = self.commands.popleft()
        self.monitor.apply(command, fds)
        self.collect()

    def serve(self) -> None:
        """Let the monitor serve guests and check its deadlines."""
        if self.monitor is not None:
            self.monitor.run_pass()
            self.collect()

    def collect(self) -> None:
        """Move the monitor's reports into the queue."""
        assert self.monitor is not None
        self.reports.extend(self.monitor.reports)
        self.monitor.reports.clear()

    def pass_time(self, seconds: int) -> None:
        if self.monitor is not None:
            self.monitor.now_ns += seconds * SECOND_NS

    # The guest

    def request(self, packet: bytes, number: int = 0) -> None:
        guest = self.guests.get(number)
        if guest is not None:
            with contextlib.suppress(BrokenPipeError):  # its channel was closed
                guest.send(packet)

    def request_step(self, vcpu: int, step: int) -> None:
        """Let the guest's cpufreq driver request a step of the tree's frequencies."""
        self.request(bytes([PORT.encode(vcpu, step)]), P_STATES)

    def answers(self) -> bytes:
        return receive(self.guests[0]) if 0 in self.guests else b""

    # The host

    def restart_domain(self) -> None:
        """Stop the domain and start it again."""
        off = domain(
            state=DomainState.SHUTOFF, run=-1, vcpus=self.spec.vcpus, channels=()
        )
        self.react(e.DomainDescribed(off, NOW_NS))
        self.spec = self._running(self.spec.run + 1)
        self.react(e.DomainDescribed(self.spec, NOW_NS))

    def pin(self, vcpu: int, *cpus: int) -> None:
        """Pin a vCPU of the running domain to other CPUs."""
        pinnings = list(self.pinnings)
        pinnings[vcpu] = cpus
        self.pinnings = tuple(pinnings)
        self.spec = self._running(self.spec.run)
        self.react(e.DomainDescribed(self.spec, NOW_NS))

    def pin_emulator(self, cpus: frozenset[int]) -> None:
        """Pin the emulator of the running domain to CPUs, or (empty) to none."""
        self.emulator = cpus
        self.spec = self._running(self.spec.run)
        self.react(e.DomainDescribed(self.spec, NOW_NS))

    def policy(self, number: int, name: str) -> str:
        return f"{CPU_DIR}/cpufreq/policy{number}/{name}"

    def take_offline(self, number: int) -> None:
        """Take a CPU offline; main notices when it reads the tree again."""
        if number in self._offline:
            return
        directory = f"{self.tree.root}/{self.policy(number, '')}"
        broken: dict[int, str] = {}
        refusing = os.open(self._refusing(number), os.O_RDONLY | os.O_DIRECTORY)
        for link in list(Path("/proc/self/fd").iterdir()):
            with contextlib.suppress(FileNotFoundError):  # that of the listing itself
                path = str(link.readlink())
                if path.startswith(directory):
                    broken[int(link.name)] = path
                    os.dup2(refusing, int(link.name), inheritable=False)
        os.close(refusing)
        self._offline[number] = broken
        self._write_online()

    def bring_online(self, number: int) -> None:
        """Bring a CPU back: its governor is unchanged, its frequency is lost."""
        refusing = self._refusing(number)
        for fd, path in self._offline.pop(number, {}).items():
            # The number may be another file's by now.
            if Path(f"/proc/self/fd/{fd}").resolve() == refusing:
                opened = os.open(path, os.O_RDWR)
                os.dup2(opened, fd, inheritable=False)
                os.close(opened)
        self.write(number, "scaling_setspeed", str(LOST_KHZ))
        self._write_online()

    def _refusing(self, number: int) -> Path:
        """Return a directory, which neither reads nor writes through a descriptor."""
        directory = self._directory / f"offline{number}"
        directory.mkdir(exist_ok=True)
        return directory.resolve()

    def _write_online(self) -> None:
        online = [n for n in range(CPUS) if n not in self._offline]
        text = ",".join(map(str, online))
        (self.tree.root / CPU_DIR / "online").write_text(f"{text}\n")
        for number in range(CPUS):
            affected = f"{number}" if number in online else ""
            self.write(number, "affected_cpus", affected)
        self.topologies.append(read_topology(self.tree))

    def notice(self) -> None:
        """Let main notice one change of the CPUs."""
        self.react(e.TopologyRead(self.topologies.popleft()))

    def write(self, number: int, name: str, value: str) -> None:
        (self.tree.root / self.policy(number, name)).write_text(f"{value}\n")

    def is_online(self, number: int) -> bool:
        return number not in self._offline

    def interfere(self, number: int, name: str, value: str) -> None:
        """Let another program write a setting, if the kernel accepts it now."""
        governor = self.tree.read(self.policy(number, "scaling_governor"))
        is_possible = name == "scaling_governor" or governor == "userspace"
        if self.is_online(number) and is_possible:
            self.interfered.add(number)
            self.write(number, name, value)

    # Both

    def run_until_idle(self) -> None:
        """Let everything in progress finish, and main read the tree and verify it."""
        for _ in range(2):
            for _ in range(1_000):
                if not self._step():
                    break
            else:
                raise AssertionError("both sides never become idle")
            self.react(e.ResyncDue())
            self.react(e.VerificationDue())

    def _step(self) -> bool:
        """Let one pending thing happen; return whether there was any."""
        if self.is_start_due:
            self.start_monitor()
        elif self.topologies:
            self.notice()
        elif self.commands:
            self.apply()
        elif self.drifts:
            self.receive_drift()
        elif self.work:
            self.finish(0)
        elif self.reports:
            self.receive_report()
        else:
            before = self.monitor and self.monitor.now_ns
            self.serve()
            return bool(self.reports or self.commands or self.work) or before is None
        return True

    def check(self) -> None:
        """Check that both sides agree with each other, and with the kernel."""
        assert self.monitor is not None
        for number, record in self.inventory.groups.items():
            clock = self.monitor.registry._groups.clocks.get(number)
            assert clock is not None, number
            self._check_group(number, record.stage, clock)

    def _check_group(self, number: int, stage: GroupStage, clock: Clock) -> None:
        is_taken = stage is GroupStage.TAKEN
        assert (clock.stage is Stage.TAKEN) == is_taken, (number, stage, clock.stage)
        assert clock.is_handed_over == (
            stage in {GroupStage.PREPARED, GroupStage.TAKEN, GroupStage.DRIFTED}
        )
        assert stage in {
            GroupStage.IDLE,
            GroupStage.PREPARED,
            GroupStage.TAKEN,
            GroupStage.DRIFTED,
            *([] if self.is_online(number) else [GroupStage.FAILED]),
        }
        if not self.is_online(number):
            return
        governor = self.tree.read(self.policy(number, "scaling_governor"))
        assert not is_taken or governor == "userspace", (number, stage)
        if number not in self.interfered and stage is not GroupStage.TAKEN:
            assert governor == "schedutil", (number, stage)
        if is_taken:
            khz = self.tree.read_khz(self.policy(number, "scaling_setspeed"))
            assert khz == clock.khz == clock.group.target_khz(), (number, khz)


def _lay_out(directory: Path) -> CpuTree:
    lay_out(directory, cpus=CPUS, steps_khz=STEPS_KHZ)
    for number in (0, 1):
        path = f"{CPU_DIR}/cpu{number}/topology/thread_siblings_list"
        (directory / path).write_text("0-1\n")
    return CpuTree(directory)
