"""The composition root: builds everything, wires it, stops it in reverse order."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator import events
from orchestrator.control.feed import EventFeed
from orchestrator.control.server import ControlServer
from orchestrator.controller import Controller
from orchestrator.controller.actions import StartMonitor
from orchestrator.controller.inventory import Inventory
from orchestrator.errors import ConfigError, VmpowerError
from orchestrator.hypervisor.connection import Hypervisor
from orchestrator.hypervisor.uri import trusted_uids
from orchestrator.monitor.arbiter import NO_VOTE
from orchestrator.monitor.client.client import Monitor
from orchestrator.monitor.link.commands import SetPolicyVote
from orchestrator.operations.dpdk.commands import Instructing
from orchestrator.operations.dpdk.fifo import Fifos
from orchestrator.operations.service import Operations
from orchestrator.performer.call_pool import CallPool
from orchestrator.performer.channel_connector import ChannelConnector
from orchestrator.performer.performer import DOMAIN_CALLS, Performer
from orchestrator.performer.policy_runner import PolicyRunner
from orchestrator.power.held_groups import HeldGroups
from orchestrator.power.journal import JOURNAL_NAME, Journal
from orchestrator.power.sysfs import CpuTree
from orchestrator.power.topology import Topology, read_topology
from orchestrator.power.tree_lock import CpuTreeLock
from orchestrator.reporting.event_log import EventLog
from orchestrator.sampling.kinds import build_samplers
from orchestrator.system.service_manager import notify
from orchestrator.values.domain_settings import Mode

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.config import Config
    from orchestrator.events import Event
    from orchestrator.values.domain import DomainId

logger = logging.getLogger(__name__)

KERNEL_SYSFS = Path("/sys")
MONITOR_STOPS_WITHIN_S = 1.0
LIBVIRT_CLOSES_WITHIN_S = 0.5
"""A hung libvirtd is left behind after this; the clocks do not wait for it."""


def _root_of_interfaces(config: Config) -> Path:
    # A simulation of CPUs has no network: its guests' packets are in the host's.
    root = config.sysfs_root
    return root if (root / "class" / "net").is_dir() else KERNEL_SYSFS


def _fifos(directory: Path | None, instructing: Instructing) -> Fifos | None:
    def obey(message: str | ConfigError, cpu: int) -> None:
        instructing.obey(message, by=f"fifo{cpu}", cpu=cpu)

    return None if directory is None else Fifos(directory, obey)


class Daemon:
    """One running vmpowerd.

    Synchronization: created and run in the asyncio thread; `post` from any.
    """

    def __init__(self, config: Config, reload: Callable[[], Config]) -> None:
        """Build everything; nothing is opened before `run`.

        Args:
            config: the configuration in force.
            reload: reads it again, for SIGHUP.

        Raises:
            ConfigError: the libvirt URI makes no sense.
        """
        self._reload = reload
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        uri = config.libvirt.uri
        nothing = Topology(groups=(), unmanaged={}, online=frozenset())
        self._inventory = Inventory(config, nothing)
        self._controller = Controller(self._inventory)
        feed = EventFeed()
        event_log = EventLog(feed)
        self._tree = CpuTree(config.sysfs_root)
        self._claim = CpuTreeLock(self._tree)
        journal = Journal(config.run_dir / JOURNAL_NAME, self._tree)
        fallback = config.power.fallback_governor
        self._held_groups = HeldGroups(self._tree, journal, fallback_governor=fallback)
        self._monitor = Monitor(
            release_after_s=config.power.release_after_s, post=self.post
        )
        self._hypervisor = Hypervisor(uri, access=config.libvirt.access, post=self.post)
        domain_calls = CallPool("libvirt", size=DOMAIN_CALLS)
        self._policy_runner = PolicyRunner(
            samplers=build_samplers(
                sysfs_root=_root_of_interfaces(config),
                vcpu_times=self._hypervisor,
            ),
            libvirt_calls=domain_calls,
            vote=self._vote_by_policy,
            post=self.post,
        )
        self._performer = Performer(
            inventory=self._inventory,
            hypervisor=self._hypervisor,
            monitor=self._monitor,
            held_groups=self._held_groups,
            policy_runner=self._policy_runner,
            domain_calls=domain_calls,
            event_log=event_log,
            connector=ChannelConnector(
                inventory=self._inventory,
                monitor=self._monitor,
                post=self.post,
                # Asked for each channel: the libvirt socket that an URI names, and
                # its owner, may appear after us.
                trusted_uids=lambda: (
                    trusted_uids(uri) | {*config.channels.trusted_uids}
                ),
            ),
            post=self.post,
        )
        instructing = Instructing(
            inventory=self._inventory,
            policy_runner=self._policy_runner,
            event_log=event_log,
            react=self.react,
        )
        self._fifos = _fifos(config.fifo.directory, instructing)
        self._operations = Operations(
            inventory=self._inventory,
            monitor=self._monitor,
            policy_runner=self._policy_runner,
            instructing=instructing,
            tree=self._tree,
            event_log=event_log,
            feed=feed,
            react=self.react,
        )
        self._fifo_problem = ""
        self._server = ControlServer(self._operations, config.run_dir)

    @property
    def _config(self) -> Config:
        return self._inventory.config

    def _vote_by_policy(self, uuid: DomainId, vcpu: int, khz: int | None) -> None:
        self._monitor.send(SetPolicyVote(uuid, vcpu, khz or NO_VOTE))

    def post(self, event: Event) -> None:
        """Queue an event for the controller; safe from any thread."""
        # The loop is closed only after the last word was said: nobody listens then.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self.react, event)

    def react(self, event: Event) -> None:
        """Decide about an event and do it, unless we are stopping."""
        logger.debug("event %s", event)
        if not self._stopping.is_set():
            self._performer.perform(self._controller.react(event))

    def stop(self) -> None:
        """Ask `run` to end; asking twice is no error."""
        self._stopping.set()

    def reload(self) -> None:
        """Read the configuration again; a bad one changes nothing."""
        try:
            config = self._reload()
            self._check_reload(config)
        except VmpowerError as error:
            logger.error("configuration not reloaded: %s", error)  # noqa: TRY400
            return
        self.react(events.ConfigReloaded(config))

    def _check_reload(self, new: Config) -> None:
        old = self._config
        for name in ("run_dir", "sysfs_root", "libvirt", "channels", "fifo"):
            if getattr(new, name) != getattr(old, name):
                raise ConfigError(f"{name} changed", hint="restart the daemon")
        if new.mode is Mode.ENFORCE and not self._claim.is_held:
            self._claim.acquire()
            try:
                self._replay_journal()
            except VmpowerError:
                self._claim.release()
                raise

    async def run(self) -> None:
        """Serve until `stop`.

        Raises:
            TreeLockedError: another daemon enforces on this CPU tree.
            SysfsError: there is no CPU tree.
            JournalError: the journal of an earlier run cannot be read.
            ControlError: another daemon has this run directory.
        """
        if self._config.mode is Mode.ENFORCE:
            self._claim.acquire()
        try:
            # Holding the run directory comes before reading the journal in it: it may
            # be a living daemon's, of another tree.
            await self._server.start()
            try:
                await self._serve()
            finally:
                await self._wind_down()
        finally:
            self._claim.release()

    def _replay_journal(self) -> None:
        replay = self._held_groups.replay()
        if replay.restored:
            logger.warning(
                "restored clock groups left by a previous run groups=%s",
                ",".join(map(str, replay.restored)),
            )
        if replay.left:
            logger.info(
                "not restored: governor was changed since the previous run groups=%s",
                ",".join(map(str, replay.left)),
            )
        for number, refusal in replay.kept.items():
            logger.error("not restored group=%d: %s", number, refusal)
        if replay.set_aside:
            logger.warning("%s: set aside as %s", replay.reason, replay.set_aside)

    async def _serve(self) -> None:
        if self._claim.is_held:
            self._replay_journal()
        self.react(events.TopologyRead(read_topology(self._tree)))
        self._performer.perform([StartMonitor()])
        self._hypervisor.start()
        # What is loaded stays, and to look at it costs each full collection 10 ms.
        gc.freeze()
        notify("READY=1")
        logger.info(
            "serving mode=%s uri=%s tree=%s%s",
            self._config.mode,
            self._hypervisor.uri,
            self._tree.root,
            " (simulated CPUs)" if self._tree.is_simulated else "",
        )
        while not self._stopping.is_set():
            self._keep_fifos()
            with contextlib.suppress(TimeoutError):
                resync_s = self._config.libvirt.resync_s
                await asyncio.wait_for(self._stopping.wait(), resync_s)
            self._monitor.check_health()
            self.react(events.ResyncDue())

    def _keep_fifos(self) -> None:
        """Have a FIFO for each CPU that is there now; what cannot be is said once."""
        if self._fifos is None:
            return
        try:
            self._fifos.keep(
                cpu for g in self._inventory.topology.groups for cpu in g.pcpus
            )
        except ConfigError as error:
            if str(error) != self._fifo_problem:
                logger.error("fifo: %s", error)  # noqa: TRY400
            self._fifo_problem = str(error)

    async def _wind_down(self) -> None:
        """Put the host back as it was; a hung libvirt does not delay it."""
        notify("STOPPING=1")
        self._stopping.set()
        self._operations.stop()
        if self._fifos is not None:
            self._fifos.close()
        closing = asyncio.create_task(
            asyncio.to_thread(self._hypervisor.close, LIBVIRT_CLOSES_WITHIN_S)
        )
        self._performer.stop()
        await self._monitor.stop(MONITOR_STOPS_WITHIN_S)
        await asyncio.to_thread(self._restore)
        await self._server.stop()
        await closing

    def _restore(self) -> None:
        refused = self._held_groups.restore_all()
        for reason in refused:
            logger.error("not restored, try `vmpower restore`: %s", reason)
        if self._claim.is_held and not refused:
            logger.info("stopped, all clocks are as they were found")
