# SPDX-License-Identifier: Apache-2.0
"""A trial: simulated CPUs, a daemon of its own, and simulated guests."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from cli.trial.directory import TrialDirectory
from cli.trial.domains import GUESTS, write_domains, write_process_id
from cli.trial.errors import TrialError
from cli.trial.guest import GuestKind
from cli.trial.places import cpus_of, default_directory, log_of, proc_of, run_dir_of
from cli.trial.processes import Processes
from orchestrator.control import READ_ONLY_SOCKET
from orchestrator.control.client import ControlClient, DaemonUnreachable
from orchestrator.power.simulated import lay_out
from orchestrator.power.simulated_drivers import DEFAULT_DRIVER

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

    from cli.trial.domains import TrialGuest

CPUS = 8
"""The number of CPUs of libvirt's test driver."""
_SOCKETS = 2
_CONFIG = """\
[power]
release_after_s = 5  # sooner than by default, for an impatient operator

[energy]
calibration_file = "{directory}/energy.json"

[p_states]
directory = "{directory}/acpi"
"""
_READY_WITHIN_S = 120.0
_POLL_S = 0.1


class Trial:
    """Started when entered; ended and removed when left.

    Synchronization: one thread, the only one of the process.
    """

    def __init__(
        self,
        guests: Sequence[TrialGuest] = GUESTS,
        *,
        directory: Path | None = None,
        driver: str = DEFAULT_DRIVER,
    ) -> None:
        """Start nothing yet.

        Args:
            guests: their vCPUs are pinned to CPUs 0 to 7.
            directory: is created, and removed in the end; None: this user's own.
            driver: scaling driver of the simulated CPUs.
        """
        self._guests = guests
        self._driver = driver
        self._directory = TrialDirectory(directory or default_directory())
        self._processes = Processes(self._directory)

    @property
    def run_dir(self) -> Path:
        """The daemon's run directory."""
        return run_dir_of(self._directory.path)

    @property
    def log(self) -> Path:
        """The log of the daemon and of the guests."""
        return log_of(self._directory.path)

    def __enter__(self) -> Self:
        """Start everything, and wait until all channels are open.

        Raises:
            TrialError: something could not be started.
            ConfigError: no such driver.
        """
        self._directory.__enter__()
        try:
            self._start()
            self._wait_until_ready()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def wait(self) -> None:
        """Wait until a part of it ends.

        Raises:
            TrialError: it has ended.
        """
        self._processes.wait()

    def _start(self) -> None:
        path = self._directory.path
        lay_out(cpus_of(path), cpus=CPUS, sockets=_SOCKETS, driver=self._driver)
        proc_of(path).mkdir()
        config = path / "vmpower.toml"
        config.write_text(_CONFIG.format(directory=path), encoding="utf-8")
        uri = write_domains(path, self._guests)
        for guest in self._guests:
            kind = GuestKind.POLLING if guest.is_polling else GuestKind.SLEEPING
            pid = self._processes.start(
                f"guest {guest.name}",
                "cli.trial.guest",
                *(str(path), guest.name, str(len(guest.pins)), kind),
            )
            write_process_id(path, guest.name, pid)
        self._processes.start(
            "vmpowerd",
            "orchestrator",
            *("--connect", uri, "--config", str(config)),
            *("--sysfs-root", str(cpus_of(path)), "--run-dir", str(self.run_dir)),
        )

    def _wait_until_ready(self) -> None:
        deadline_s = time.monotonic() + _READY_WITHIN_S
        while not self._is_ready():
            self._processes.check()
            if time.monotonic() > deadline_s:
                raise TrialError(
                    f"the guests were not served within {_READY_WITHIN_S:.0f} s"
                )
            time.sleep(_POLL_S)

    def _is_ready(self) -> bool:
        try:
            with ControlClient(self.run_dir / READ_ONLY_SOCKET) as client:
                domains = client.status()["domains"]
        except DaemonUnreachable:
            return False
        states = [channel["state"] for it in domains for channel in it["channels"]]
        return states == ["open"] * sum(len(guest.pins) for guest in self._guests)

    def _end(self) -> None:
        self._processes.stop()
        self._directory.__exit__(None, None, None)
