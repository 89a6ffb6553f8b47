# SPDX-License-Identifier: Apache-2.0
"""A daemon on a lab's host: every frequency that it sets, and what it leaves behind.

Programs of `run_in_host_lab` use it there; the test reads its facts with `facts_of`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.rig.waiting import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

RUN_DIR = Path("/run/vmpower")
_TREE = Path("/sys/devices/system/cpu/cpufreq")
_CPUS = 4
_SETTINGS = ("scaling_governor", "scaling_min_freq", "scaling_max_freq")
_LOG = Path("/daemon.log")
_INTERVAL_S = 0.02
_MARK = "FACTS "


def use_governors(governors: Sequence[str]) -> None:
    """Switch the governor of each CPU."""
    for number, governor in enumerate(governors):
        (_TREE / f"policy{number}/scaling_governor").write_text(governor)


def read_settings() -> list[str]:
    """Read what a daemon must leave as it found it."""
    policies = [_TREE / f"policy{number}" for number in range(_CPUS)]
    return [(policy / name).read_text() for policy in policies for name in _SETTINGS]


class WatchedDaemon:
    """A daemon that has just been started.

    Synchronization: one thread.
    """

    def __init__(self, uri: str, file: str) -> None:
        """Start it.

        Args:
            uri: of libvirt.
            file: the attribute that shows the frequency that is set.
        """
        paths = [_TREE / f"policy{number}" / file for number in range(_CPUS)]
        self._files = [os.open(path, os.O_RDONLY) for path in paths]
        self._before = read_settings()
        command = [sys.executable, "-s", "-m", "orchestrator", "-c", uri]
        with _LOG.open("w") as log:
            self._process = subprocess.Popen(
                [*command, "--run-dir", str(RUN_DIR)], stderr=log
            )
        self._seen = [self._read()]

    def _read(self) -> list[str]:
        return [os.pread(file, 100, 0).decode().strip() for file in self._files]

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def watch(self, is_over: Callable[[list[list[str]]], bool]) -> None:
        """Collect the frequencies of all CPUs until a condition is true of them."""
        deadline = time.monotonic() + DEADLINE_S
        never = threading.Event()
        while (
            not is_over(self._seen) and time.monotonic() < deadline and self.is_running
        ):
            now = self._read()
            if now != self._seen[-1]:
                sys.stdout.write(f"FREQUENCIES {now}\n")
                sys.stdout.flush()
                self._seen.append(now)
            never.wait(_INTERVAL_S)

    def stop(self, console: str, *more: object) -> None:
        """End it; print its log, the guest's console, and the facts.

        Args:
            console: path of the guest's console.
            more: facts beside the frequencies, the exit status, and the settings
                before and after.
        """
        if self.is_running:
            self._process.send_signal(signal.SIGTERM)
        status = self._process.wait(DEADLINE_S)
        path = Path(console)
        guest = path.read_text(errors="replace") if path.exists() else "no guest"
        facts = [self._seen, status, self._before, read_settings(), *more]
        sys.stdout.write(f"{_LOG.read_text()}\n{guest}\n{_MARK}{json.dumps(facts)}\n")


def facts_of(output: str) -> list[Any]:
    """Return the facts in what a program has printed.

    Raises:
        AssertionError: there are none.
    """
    lines = [line for line in output.splitlines() if line.startswith(_MARK)]
    assert lines, output
    facts: list[Any] = json.loads(lines[0].removeprefix(_MARK))
    return facts
