# SPDX-License-Identifier: Apache-2.0
"""The composition root: builds everything, starts it, stops it in reverse order."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator import events
from orchestrator.config import DEFAULT_HISTORY_DIRECTORY, Config
from orchestrator.control.feed import EventFeed
from orchestrator.control.metrics_endpoint import MetricsEndpoint
from orchestrator.control.server import ControlServer
from orchestrator.controller import Controller
from orchestrator.controller.actions import StartMonitor
from orchestrator.controller.inventory import Inventory
from orchestrator.energy.profiles import GENERIC
from orchestrator.energy.residency import Activity
from orchestrator.errors import ConfigError, VmpowerError
from orchestrator.history.store import HISTORY_NAME, HistoryStore
from orchestrator.hypervisor.connection import Hypervisor
from orchestrator.hypervisor.qemu_process import QemuProcesses
from orchestrator.hypervisor.uri import TrustedUids
from orchestrator.metrics.cpus import CpuSource
from orchestrator.metrics.domains import DomainSource
from orchestrator.metrics.energy import EnergySource
from orchestrator.metrics.host import HostSource
from orchestrator.metrics.scraper import Scraper
from orchestrator.metrics.snapshot import SnapshotTaker
from orchestrator.monitor.arbiter import NO_VOTE
from orchestrator.monitor.client.client import Monitor
from orchestrator.monitor.link.commands import SetPolicyVote
from orchestrator.operations.dpdk.commands import VmPowerManagerCommands
from orchestrator.operations.dpdk.fifo import Fifos
from orchestrator.operations.service import Operations
from orchestrator.performer.call_pool import CallPool
from orchestrator.performer.channel_connector import ChannelConnector
from orchestrator.performer.energy_runner import EnergyRunner
from orchestrator.performer.event_archive import ARCHIVE_NAME, EventArchive
from orchestrator.performer.event_queue import EventQueue
from orchestrator.performer.guest_energy import GuestEnergy
from orchestrator.performer.history_keeper import HistoryKeeper
from orchestrator.performer.host_watch import HostWatch
from orchestrator.performer.performer import DOMAIN_CALLS, Performer
from orchestrator.performer.policy_runner import PolicyRunner
from orchestrator.performer.rapl_helper import RaplHelper
from orchestrator.performer.state_keeper import StateKeeper
from orchestrator.performer.virtual_packages import VirtualPackages
from orchestrator.power.held_settings import HeldSettings
from orchestrator.power.obtained import ObtainedFrequencies
from orchestrator.power.sysfs import CpuTree
from orchestrator.power.topology import Topology, read_outline, read_topology
from orchestrator.power.tree_lock import CpuTreeLock
from orchestrator.reporting.event_log import EventLog
from orchestrator.sampling.kinds import build_samplers
from orchestrator.sampling.qemu_times import PROC
from orchestrator.saved.store import STATE_NAME, StateStore
from orchestrator.system.service_manager import notify
from orchestrator.values.domain_settings import Mode

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.control.models import EventRecord
    from orchestrator.events import Event
    from orchestrator.values.domain import DomainId

logger = logging.getLogger(__name__)

NO_TOPOLOGY = Topology(groups=(), unmanaged={}, online=frozenset())
KERNEL_SYSFS = Path("/sys")
COLLECT_FROM = 10_000
"""New objects from which on Python looks for cycles. The default, 700, takes a tenth of
the CPU time of a start beside 1,000 domains, whose descriptions all stay."""
MONITOR_STOP_TIMEOUT_S = 1.0
_CURVE_KHZ = (800_000, 3_500_000)
"""The range of the published curve, until the CPUs' own is known."""
_FIXED = (
    *("run_dir", "sysfs_root", "libvirt", "channels", "fifo", "history"),
    "metrics",
)
"""Parts of the configuration that only a restart changes."""
LIBVIRT_CLOSE_TIMEOUT_S = 0.5
"""A hung libvirtd is abandoned after this; restoring CPUs does not wait for it."""


def _network_root(config: Config) -> Path:
    # Simulated CPUs have no network interfaces: use the host's.
    root = config.sysfs_root
    return root if (root / "class" / "net").is_dir() else KERNEL_SYSFS


def _proc(tree: CpuTree) -> Path:
    """Return /proc, or its imitation in a tree whose guests are simulated, too."""
    imitation = tree.root / "proc"
    return imitation if tree.is_simulated and imitation.is_dir() else PROC


def _fifos(
    directory: Path | None, dpdk_commands: VmPowerManagerCommands
) -> Fifos | None:
    def execute(message: str | ConfigError, cpu: int) -> None:
        dpdk_commands.execute(message, by=f"fifo{cpu}", cpu=cpu)

    return None if directory is None else Fifos(directory, execute)


def _history_store(config: Config) -> HistoryStore | None:
    history = config.history
    if not history.enabled:
        return None
    is_default = config.run_dir == Config().run_dir
    # Daemons with other run directories may run beside the host's own.
    directory = history.directory or (
        DEFAULT_HISTORY_DIRECTORY if is_default else config.run_dir / "history"
    )
    return HistoryStore(
        directory / HISTORY_NAME,
        max_bytes=history.max_mb * 1_000_000,
        max_age_s=history.max_days * 86_400,
    )


class Daemon:
    """One running vmpowerd.

    Synchronization: created and run in the asyncio thread; `post` from any.
    """

    def __init__(self, config: Config, reload: Callable[[], Config]) -> None:
        """Build everything; nothing is opened before `run`.

        Args:
            config: the effective configuration.
            reload: reads it again, for SIGHUP.

        Raises:
            ConfigError: invalid libvirt URI.
        """
        self._reload = reload
        self._event_queue = EventQueue(self.react)
        self._stopping = asyncio.Event()
        self._inventory = Inventory(config, NO_TOPOLOGY)
        self._controller = Controller(self._inventory)
        self._feed = feed = EventFeed()
        self._event_archive = EventArchive(config.run_dir / ARCHIVE_NAME)
        event_log = EventLog(feed, self._keep_event, self._uuid_of)
        self._tree = CpuTree(config.sysfs_root)
        self._tree_lock = CpuTreeLock(self._tree)
        self._held = HeldSettings(
            self._tree,
            config.run_dir,
            fallback_governor=config.power.fallback_governor,
        )
        self._monitor = Monitor(
            release_after_s=config.power.release_after_s,
            post=self.post,
            budget=config.channels.budget,
        )
        self._hypervisor = Hypervisor(
            config.libvirt.uri, access=config.libvirt.access, post=self.post
        )
        domain_calls = CallPool("libvirt", size=DOMAIN_CALLS)
        self._policy_runner = PolicyRunner(
            samplers=build_samplers(
                sysfs_root=_network_root(config),
                vcpu_times=self._hypervisor,
            ),
            libvirt_calls=domain_calls,
            vote=self._vote_by_policy,
            post=self.post,
        )
        self._state_keeper = StateKeeper(
            inventory=self._inventory,
            policy_runner=self._policy_runner,
            monitor=self._monitor,
            store=StateStore(config.run_dir / STATE_NAME, self._tree),
        )
        self._history = HistoryKeeper(
            inventory=self._inventory,
            monitor=self._monitor,
            store=_history_store(config),
            watts=self._core_watts,
        )
        self._energy, self._rapl_helper = self._build_energy(config)
        obtained, scraper, self._metrics_endpoint = self._build_metrics(event_log)
        self._performer = Performer(
            inventory=self._inventory,
            hypervisor=self._hypervisor,
            monitor=self._monitor,
            held=self._held,
            policy_runner=self._policy_runner,
            state_keeper=self._state_keeper,
            domain_calls=domain_calls,
            event_log=event_log,
            obtained=obtained,
            connector=ChannelConnector(
                inventory=self._inventory,
                monitor=self._monitor,
                react=self.react,
                find_qemu=QemuProcesses(config.libvirt.uri).find,
                trusted_uids=TrustedUids(
                    config.libvirt.uri, config.channels.trusted_uids
                ),
            ),
            post=self.post,
        )
        dpdk_commands = VmPowerManagerCommands(
            inventory=self._inventory,
            policy_runner=self._policy_runner,
            event_log=event_log,
            react=self.react,
        )
        self._fifos = _fifos(config.fifo.directory, dpdk_commands)
        self._operations = Operations(
            inventory=self._inventory,
            monitor=self._monitor,
            policy_runner=self._policy_runner,
            dpdk_commands=dpdk_commands,
            fifos=self._fifos,
            tree=self._tree,
            event_log=event_log,
            feed=feed,
            state_keeper=self._state_keeper,
            history=self._history,
            obtained=obtained,
            scraper=scraper,
            metrics_endpoint=self._metrics_endpoint,
            energy=self._energy,
            react=self.react,
        )
        self._is_state_loaded = False
        """Whether the state file has been read, and so may be replaced."""
        self._host_watch = HostWatch(
            self._tree, lambda: self._config.power.verify_s, self.react
        )
        self._server = ControlServer(
            self._operations, config.run_dir, group_id=config.control.group_id
        )

    def _build_energy(self, config: Config) -> tuple[EnergyRunner, RaplHelper]:
        """Build the accounting of energy, and what passes it on."""
        inventory, uri = self._inventory, config.libvirt.uri
        processes = QemuProcesses(uri)
        runner = EnergyRunner(
            inventory=inventory,
            monitor=self._monitor,
            tree=self._tree,
            find_qemu=processes.find,
            react=self.react,
            proc=_proc(self._tree),
        )
        guest_energy = GuestEnergy(inventory, self._monitor)
        packages = VirtualPackages(inventory)
        runner.listeners = [
            self._history.add_energy,
            guest_energy.publish,
            packages.add,
        ]
        helper = RaplHelper(
            read_energy=packages.read,
            find_name=processes.name_of,
            trusted_uids=TrustedUids(uri, config.channels.trusted_uids),
        )
        return runner, helper

    def _build_metrics(
        self, event_log: EventLog
    ) -> tuple[ObtainedFrequencies, Scraper, MetricsEndpoint | None]:
        """Build what answers scrapes; every source of metrics is listed here."""
        inventory, obtained = self._inventory, ObtainedFrequencies()
        snapshots = SnapshotTaker(inventory, self._monitor.totals, obtained)
        sources = (
            HostSource(inventory, event_log.counts, datetime.now(UTC)),
            CpuSource(inventory),
            DomainSource(inventory, self._policy_runner.statuses),
            EnergySource(inventory, lambda: self._energy.ledger),
        )
        scraper = Scraper(snapshots.take, sources)
        listen = self._config.metrics.listen
        endpoint = MetricsEndpoint(listen, scraper.scrape) if listen else None
        return obtained, scraper, endpoint

    @property
    def _config(self) -> Config:
        return self._inventory.config

    def _uuid_of(self, name: str) -> str:
        record = self._inventory.find_domain(name)
        return record.spec.uuid if record else ""

    def _vote_by_policy(self, uuid: DomainId, vcpu: int, khz: int | None) -> None:
        self._monitor.send(SetPolicyVote(uuid, vcpu, khz or NO_VOTE))

    def _core_watts(self, khz: int) -> float:
        """Return the power of a busy core at a frequency; 0: unknown.

        By the curve of the first package: learnt from its meter, or published.
        """
        if not khz:
            return 0.0
        state = self._energy.state
        for package in state.packages.values() if state else ():
            return package.curves[Activity.POLL].at(khz)
        return GENERIC.curve(*_CURVE_KHZ).at(khz)

    def _keep_event(self, record: EventRecord) -> None:
        self._event_archive.append(record)
        self._history.add_event(record)

    def post(self, event: Event) -> None:
        """Queue an event for the controller; safe from any thread."""
        self._event_queue.post(event)

    def react(self, event: Event) -> None:
        """Decide about an event and carry out the actions, unless stopping."""
        logger.debug("event %s", event)
        if not self._stopping.is_set():
            self._performer.perform(self._controller.react(event))

    def stop(self) -> None:
        """Make `run` return; may be repeated."""
        self._stopping.set()

    def reload(self) -> None:
        """Read the configuration again; keep the current one if it is invalid."""
        try:
            config = self._reload()
            self._check_reload(config)
        except VmpowerError as error:
            logger.error("configuration not reloaded: %s", error)  # noqa: TRY400
            return
        self.react(events.ConfigReloaded(config))
        self._energy.update()
        self._rapl_helper.update(config.energy.rapl_socket)

    def _check_reload(self, new: Config) -> None:
        old = self._config
        for name in _FIXED:
            if getattr(new, name) != getattr(old, name):
                raise ConfigError(f"{name} changed", hint="restart the daemon")
        if new.mode is Mode.ENFORCE and not self._tree_lock.is_held:
            self._tree_lock.acquire()
            try:
                self._take_over_tree()
            except VmpowerError:
                self._tree_lock.release()
                raise

    async def run(self) -> None:
        """Serve until `stop`.

        Raises:
            TreeLockedError: another daemon enforces on this CPU tree.
            SysfsError: no CPU tree.
            JournalError: the journal of a previous run cannot be read.
            ControlError: another daemon uses this run directory.
        """
        if self._config.mode is Mode.ENFORCE:
            self._tree_lock.acquire()
        try:
            # The run directory is locked before its journal is read: it may belong to a
            # running daemon with another tree.
            await self._server.start()
            try:
                await self._serve()
            finally:
                await self._shut_down()
        finally:
            self._tree_lock.release()

    def _take_over_tree(self) -> None:
        self._held.replay()
        self._monitor.use_lock(self._tree_lock.open_for_monitor())

    async def _serve(self) -> None:
        self._feed.restore(self._event_archive.load())
        if self._tree_lock.is_held:
            self._take_over_tree()
        saved = self._state_keeper.load()
        self._performer.note_outline(read_outline(self._tree))
        topology = read_topology(self._tree)
        self.react(events.TopologyRead(topology))
        numbers = [group.number for group in topology.groups]
        self.react(events.KernelLimitsRead(self._held.limits.refresh(numbers)))
        self.react(events.StateLoaded(saved))
        self._is_state_loaded = True
        self._performer.perform([StartMonitor()])
        self._hypervisor.start()
        self._host_watch.start()
        self._history.start()
        self._energy.update()
        # Everything loaded so far stays; scanning it costs 10 ms in each full
        # collection.
        gc.freeze()
        gc.set_threshold(COLLECT_FROM)
        notify("READY=1")
        self._monitor.on_progress = lambda: notify("WATCHDOG=1")
        logger.info(
            "serving mode=%s uri=%s tree=%s%s",
            self._config.mode,
            self._hypervisor.uri,
            self._tree.root,
            " (simulated CPUs)" if self._tree.is_simulated else "",
        )
        while not self._stopping.is_set():
            self._update_fifos()
            self._rapl_helper.update(self._config.energy.rapl_socket)
            if self._metrics_endpoint is not None:
                await self._metrics_endpoint.open()
            with contextlib.suppress(TimeoutError):
                resync_s = self._config.libvirt.resync_s
                await asyncio.wait_for(self._stopping.wait(), resync_s)
            self.react(events.ResyncDue())

    def _update_fifos(self) -> None:
        """Provide a FIFO for each CPU; a problem is logged once."""
        if self._fifos is None:
            return
        before = self._fifos.problem
        try:
            self._fifos.keep(
                cpu for g in self._inventory.topology.groups for cpu in g.pcpus
            )
        except ConfigError:
            if self._fifos.problem != before:
                logger.error("fifo: %s", self._fifos.problem)  # noqa: TRY400

    async def _shut_down(self) -> None:
        """Restore the host; a hung libvirt does not delay it."""
        notify("STOPPING=1")
        self._stopping.set()
        self._host_watch.stop()
        self._energy.stop()
        self._rapl_helper.stop()
        self._history.stop()
        self._operations.stop()
        if self._fifos is not None:
            self._fifos.close()
        closing = asyncio.create_task(
            asyncio.to_thread(self._hypervisor.close, LIBVIRT_CLOSE_TIMEOUT_S)
        )
        self._performer.stop()
        # The monitor ends last: it restores if this process is killed before.
        await self._monitor.quiesce(MONITOR_STOP_TIMEOUT_S)
        await asyncio.to_thread(self._restore)
        await self._monitor.stop(MONITOR_STOP_TIMEOUT_S)
        if self._is_state_loaded:
            await asyncio.to_thread(self._state_keeper.save_all)
        await self._server.stop()
        if self._metrics_endpoint is not None:
            await self._metrics_endpoint.stop()
        await closing
        await asyncio.to_thread(self._event_archive.close)
        await asyncio.to_thread(self._history.close)

    def _restore(self) -> None:
        is_restored = self._held.restore_all()
        if self._tree_lock.is_held and is_restored:
            logger.info("stopped, all CPU settings restored")
