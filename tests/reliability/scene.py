# SPDX-License-Identifier: Apache-2.0
"""A daemon on two simulated CPUs with one guest, whose life is a series of phases.

No phase uses the API, whose answers read the CPU tree: the calls of a phase are the
same each time, as far as threads permit.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from orchestrator.channel.protocol import Request, Unit, encode, encode_connect
from orchestrator.control.client import ControlClient
from orchestrator.monitor.client.heartbeat import sample_process
from orchestrator.power.journal import JOURNAL_NAME
from orchestrator.power.simulated import lay_out
from orchestrator.power.sysfs import CpuTree, policy_path
from tests.daemon.libvirt_test_guests import (
    DriverDomain,
    tree_bytes,
    write_driver_file,
)
from tests.reliability.faults import Fault
from tests.reliability.programs import (
    PATIENCE_S,
    ForkServer,
    Program,
    is_running,
    kill_pid,
    wait_for_end,
)
from tests.rig.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from orchestrator.control.documents import Status
    from tests.reliability.faults import Faults, Point

HIGHEST, LOWEST = 3_000_000, 1_200_000
"""The steps that the configuration leaves."""
STEPS = (3_001_000, HIGHEST, 2_000_000, LOWEST)
GROUPS = (0, 1)
ORIGINALS = {0: ("ondemand", 1_217_000), 1: ("powersave", 1_219_000)}
"""Governor and frequency of each clock group, all different."""
CONFIG = """\
[libvirt]
resync_s = 600
[power]
release_after_s = 0.05
verify_s = 600
[bounds]
max_khz = "3GHz"
"""
_SERVING = "INFO serving mode="
_QUIET_S = 0.05


class Guest:
    """The guest's end of one channel; never blocks.

    Synchronization: one thread.
    """

    def __init__(self, path: Path) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(4)
        self._listener.settimeout(0)
        self._path = path
        self._peer: socket.socket | None = None

    def accept(self) -> bool:
        """Whether the daemon is connected."""
        with contextlib.suppress(BlockingIOError):
            peer = self._listener.accept()[0]
            if self._peer is not None:
                self._peer.close()
            self._peer = peer
        return self._peer is not None

    def send(self, *packets: bytes) -> None:
        """Send packets one by one; a daemon that is gone does not matter."""
        assert self._peer is not None
        with contextlib.suppress(OSError):
            for packet in packets:
                self._peer.sendall(packet)

    def close(self) -> None:
        """End as QEMU does; may be repeated."""
        self._path.unlink(missing_ok=True)
        self._listener.close()
        if self._peer is not None:
            self._peer.close()


class Scene:
    """The daemon, its guest and its CPU tree.

    Synchronization: one thread.
    """

    def __init__(self, server: ForkServer, faults: Faults) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="vmp-", dir="/tmp"))
        self._server = server
        self.faults = faults
        watched = self.directory / "watched"
        self.run_dir = watched / "run"
        self.journal = self.run_dir / JOURNAL_NAME
        self.tree = CpuTree(watched / "sys")
        lay_out(self.tree.root, cpus=len(GROUPS), steps_khz=STEPS)
        for number, (governor, khz) in ORIGINALS.items():
            self._write(number, "scaling_governor", governor)
            self._write(number, "scaling_setspeed", str(khz))
        self.original = self.meaning()
        self._log = self.directory / "log"
        self._config = self.directory / "vmpower.toml"
        self._config.write_text(CONFIG, encoding="utf-8")
        channel = self.directory / "channel"
        self._uri = write_driver_file(
            self.directory / "node.xml",
            [DriverDomain(name="vnf", pins=("0", "1"), paths={0: channel})],
        )
        self.guest: Guest | None = None
        self.program: Program | None = None
        """The daemon, or `vmpower restore`."""
        self._starts = 0
        faults.watch(watched)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.faults.disarm()
        self.kill_both()
        self.unplug()
        shutil.rmtree(self.directory)

    def _write(self, group: int, name: str, value: str) -> None:
        path = self.tree.root / policy_path(group, name)
        path.write_text(f"{value}\n", encoding="ascii")

    # The host

    def meaning(self) -> dict[str, bytes]:
        """Return the first line of each file of the tree, as the kernel reads it."""
        files = tree_bytes(self.tree.root)
        return {path: data.partition(b"\n")[0] for path, data in files.items()}

    @property
    def is_given_back(self) -> bool:
        """Whether the governor and the frequency of every group are as they were."""
        names = ("scaling_governor", "scaling_setspeed")
        return not any(path.endswith(names) for path in self.differences())

    @property
    def is_original(self) -> bool:
        """Whether every file is as it was found."""
        return not self.differences()

    def differences(self) -> dict[str, tuple[bytes, bytes]]:
        """Return the files that are not as found: what they have, what they had."""
        now = self.meaning()
        return {
            path: (now[path], value)
            for path, value in self.original.items()
            if now[path] != value
        }

    def effective_differences(self) -> dict[str, tuple[bytes, bytes]]:
        """Return those of them that have an effect.

        A frequency that is set has none under another governor than `userspace`: the
        kernel shows `<unsupported>` there, and forgets it.
        """
        differences = self.differences()
        for number in GROUPS:
            governor = policy_path(number, "scaling_governor")
            if governor not in differences:
                differences.pop(policy_path(number, "scaling_setspeed"), None)
        return differences

    def governors(self) -> list[str]:
        return [self.tree.read(policy_path(n, "scaling_governor")) for n in GROUPS]

    def frequencies(self) -> list[int]:
        return [int(self.tree.read(policy_path(n, "scaling_setspeed"))) for n in GROUPS]

    # The programs

    @property
    def main(self) -> Program:
        assert self.program is not None
        return self.program

    @property
    def has_ended(self) -> bool:
        """Whether the program has ended of itself."""
        return self.program is not None and self.program.has_ended

    def log_text(self) -> str:
        return self._log.read_text(encoding="utf-8") if self._log.exists() else ""

    def launch(self) -> None:
        """Start the daemon without waiting for it."""
        self._starts = self.log_text().count(_SERVING)
        self.program = self._server.start(
            *("vmpowerd", "-c", self._uri, "--sysfs-root", str(self.tree.root)),
            *("--run-dir", str(self.run_dir), "--config", str(self._config)),
            log=self._log,
        )

    @property
    def is_serving(self) -> bool:
        return self.log_text().count(_SERVING) > self._starts

    def settle(self) -> None:
        """Wait until main and the monitor have made no call for a while.

        Time in which one of them waits for a CPU does not count.
        """
        seen, since = self.faults.activity, time.monotonic()

        def is_quiet() -> bool:
            nonlocal seen, since
            if self.faults.activity != seen or self._has_runnable():
                seen, since = self.faults.activity, time.monotonic()
            return time.monotonic() - since > _QUIET_S

        wait_for(is_quiet, "nothing is done any more", timeout_s=PATIENCE_S)

    def _has_runnable(self) -> bool:
        main = None if self.program is None else self.program.pid
        for pid in (main, self.faults.monitor_pid):
            with contextlib.suppress(OSError):  # it has ended
                if pid is not None and sample_process(pid).state == "R":
                    return True
        return False

    def launch_restore(self) -> None:
        """Start `vmpower restore` without waiting for it."""
        self._starts = self.log_text().count(_SERVING)
        self.program = self._server.start(
            *("vmpower", "--run-dir", str(self.run_dir), "restore"),
            *("--sysfs-root", str(self.tree.root)),
            log=self._log,
        )

    def status(self) -> Status:
        with ControlClient(self.run_dir / "vmpower.sock") as client:
            return client.status()

    def kill_main(self) -> None:
        if self.program is not None:
            self.program.kill()
            self.program = None

    def kill_monitor(self) -> None:
        if pid := self.faults.monitor_pid:
            kill_pid(pid)

    def kill_both(self) -> None:
        """Kill main and the monitor, which undoes nothing."""
        monitor = self.faults.monitor_pid
        if monitor and is_running(monitor):
            with contextlib.suppress(ProcessLookupError):
                os.kill(monitor, signal.SIGSTOP)
        self.kill_main()
        self.kill_monitor()

    def wait_for_the_monitor_s_end(self) -> None:
        if pid := self.faults.monitor_pid:
            wait_for_end(pid)

    # The phases

    def complete(self, *phases: Phase) -> None:
        """Go through phases without a fault."""
        for phase in phases:
            phase.begin(self)
            self._wait_until_over(phase, lambda: False)
            assert phase is END or not self.has_ended, f"it ended in '{phase.name}'"

    def reach(self, phase: Phase, point: Point) -> bool:
        """Go through a phase until a point is reached; return whether it was."""
        self.faults.arm(point)
        phase.begin(self)
        self._wait_until_over(phase, lambda: self.faults.is_reached)
        if point.fault is not Fault.FAIL_ONWARDS:
            self.faults.disarm()
        return self.faults.is_reached

    def _wait_until_over(self, phase: Phase, is_enough: Callable[[], bool]) -> None:
        def is_over() -> bool:
            return is_enough() or phase.is_over(self) or self.has_ended

        wait_for(is_over, f"the end of '{phase.name}'", timeout_s=PATIENCE_S)
        if not is_enough():
            self.settle()

    # The guest

    def plug(self) -> None:
        """Let the guest's channel appear."""
        self.guest = Guest(self.directory / "channel")

    def unplug(self) -> None:
        """End the guest's channel, as QEMU does when it ends."""
        if self.guest is not None:
            self.guest.close()
            self.guest = None

    def send(self, *packets: bytes) -> None:
        assert self.guest is not None
        self.guest.send(*packets)


@dataclass(frozen=True, slots=True)
class Phase:
    """What is done to the daemon, and how it shows that it has finished."""

    name: str
    begin: Callable[[Scene], None]
    is_over: Callable[[Scene], bool]


def _is_prepared(scene: Scene) -> bool:
    assert scene.guest is not None
    return scene.guest.accept() and scene.journal.exists()


def _request(scene: Scene) -> None:
    scene.send(encode_connect(), encode(Request(1, Unit.SCALE_MIN)))


def _is_taken(scene: Scene) -> bool:
    is_switched = scene.governors() == ["userspace"] * len(GROUPS)
    return is_switched and scene.frequencies() == [HIGHEST, LOWEST]


def _change(scene: Scene) -> None:
    minimum, maximum = Request(0, Unit.SCALE_MIN), Request(1, Unit.SCALE_MAX)
    scene.send(encode(minimum), encode(maximum))


def _is_changed(scene: Scene) -> bool:
    return scene.frequencies() == [LOWEST, HIGHEST]


def _is_released(scene: Scene) -> bool:
    return scene.is_given_back and not scene.journal.exists()


def _terminate(scene: Scene) -> None:
    scene.main.signal(signal.SIGTERM)


def _undo(scene: Scene) -> None:
    scene.kill_main()


def _is_without_monitor(scene: Scene) -> bool:
    pid = scene.faults.monitor_pid
    return pid is not None and not is_running(pid)


def _start_again(scene: Scene) -> None:
    scene.kill_both()
    scene.unplug()
    scene.launch()


def _is_serving(scene: Scene) -> bool:
    return scene.is_serving


def _restore(scene: Scene) -> None:
    scene.kill_both()
    scene.launch_restore()


def _has_ended(scene: Scene) -> bool:
    return scene.has_ended


START = Phase("start", Scene.launch, _is_serving)
PREPARE = Phase("prepare", Scene.plug, _is_prepared)
TAKE = Phase("take", _request, _is_taken)
WRITE = Phase("write", _change, _is_changed)
RELEASE = Phase("release", Scene.unplug, _is_released)
END = Phase("end", _terminate, _has_ended)
UNDO = Phase("undo", _undo, _is_without_monitor)
"""Main is killed: the monitor restores."""
REPLAY = Phase("replay", _start_again, _is_serving)
"""Both are killed, and the daemon is started again."""
RESTORE = Phase("restore", _restore, _has_ended)
"""Both are killed, and `vmpower restore` is started."""
