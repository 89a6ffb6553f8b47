# SPDX-License-Identifier: Apache-2.0
"""Whether a guest with P-states waits: its requests while the daemon is stopped.

The guest is real, in a QEMU of its own, which listens where the daemon connects. Its
cpufreq driver writes to a serial port, and QEMU could wait for the socket behind it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.figures import GuestWrites
from bench.process_stats import read_cpu_ns
from bench.servers import start_vmpowerd
from bench.workspace import describe_p_states, make_workspace
from examples.guests.cache import GuestError
from examples.guests.images import CMDLINE, CPUFREQ_MODULES, start_image
from examples.guests.kernel import fetch_kernel
from orchestrator.acpi.p_state_table import build_p_state_table
from orchestrator.power.simulated_drivers import DEFAULT_DRIVER, find_simulated
from orchestrator.values.domain import ChannelKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bench.servers import Server
    from bench.workspace import Workspace

WRITES = 6_000
NOTHING = "nothing"
NO_DAEMON = "no daemon"
STOPPED: dict[str, Callable[[Server], list[int]]] = {
    NOTHING: lambda _server: [],
    "monitor": lambda server: [server.serving_pid()],
    "main": lambda server: [server.main_pid],
    "both": lambda server: [server.main_pid, server.serving_pid()],
}
"""What is stopped (SIGSTOP) while the guest writes."""
_DEADLINE_S = 240.0
_POLL_S = 0.05
_SERIAL = 1
_LATENCY_US = 10_000
_HIGHEST, *_, _LOWEST = find_simulated(DEFAULT_DRIVER).steps.khz
_READY, _TOOK = b"ready", b"took"
_WORK = f"""\
cd /sys/devices/system/cpu/cpufreq/policy0
echo userspace >scaling_governor
stty -echo 2>/dev/null
echo {_READY.decode()}
while read -r command; do
    read -r began _ </proc/uptime
    count={WRITES // 2}
    [ "$command" = flood ] || count=1
    while [ $count -gt 0 ]; do
        echo {_HIGHEST} >scaling_setspeed
        echo {_LOWEST} >scaling_setspeed
        count=$((count - 1))
    done
    read -r ended _ </proc/uptime
    echo {_TOOK.decode()} $began $ended
done
"""
"""Each line of its console is a command: `flood`, or anything for two requests."""


def measure_guest_writes(rounds: int) -> tuple[GuestWrites, ...]:
    """Measure each case in each round, in turn.

    Raises:
        BenchError: the guest cannot be started, or does not answer.
    """
    cases = (*STOPPED, NO_DAEMON)
    found: dict[str, list[tuple[float, float]]] = {case: [] for case in cases}
    with (
        make_workspace(
            channels=1, per_domain=1, cpus=2, kind=ChannelKind.P_STATES
        ) as workspace,
        _started(workspace) as guest,
    ):
        guest.flood()
        for _ in range(rounds):
            with start_vmpowerd(workspace) as server:
                for case, choose in STOPPED.items():
                    guest.wait_until_obeyed(workspace)
                    with _stopped(choose(server)):
                        found[case].append(guest.flood())
            found[NO_DAEMON].append(guest.flood())
    return tuple(
        GuestWrites(
            stopped=case,
            writes=WRITES,
            wall_s=tuple(wall_s for wall_s, _ in runs),
            cpu_s=tuple(cpu_s for _, cpu_s in runs),
        )
        for case, runs in found.items()
    )


@contextmanager
def _stopped(pids: list[int]) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):  # main has replaced it
                os.kill(pid, signal.SIGCONT)


@dataclass(frozen=True, slots=True)
class _Guest:
    """The guest, by its console.

    Synchronization: one thread.
    """

    pid: int
    """Of QEMU."""
    console: socket.socket

    def flood(self) -> tuple[float, float]:
        """Let it write, and return how long that took: in the guest, and QEMU's CPU."""
        before_ns = read_cpu_ns(self.pid)
        self.console.sendall(b"flood\n")
        began, ended = self.read_line(_TOOK).split()[1:3]
        return float(ended) - float(began), (read_cpu_ns(self.pid) - before_ns) / 1e9

    def wait_until_obeyed(self, workspace: Workspace) -> None:
        """Let it request until the daemon sets what it has requested last.

        Raises:
            BenchError: the daemon does not.
        """
        deadline_s = time.monotonic() + _DEADLINE_S
        while True:
            self.console.sendall(b"step\n")
            self.read_line(_TOOK)
            until_s = time.monotonic() + 1
            while time.monotonic() < until_s:
                if workspace.read_khz(0) == _LOWEST:
                    return
                time.sleep(_POLL_S)
            if time.monotonic() > deadline_s:
                raise BenchError("the guest's requests are not obeyed")

    def read_line(self, beginning: bytes) -> bytes:
        """Return the next line that begins like this.

        Raises:
            BenchError: there is none in time.
        """
        lines = b""
        while True:
            try:
                data = self.console.recv(4096)
            except TimeoutError:
                data = b""
            if not data:
                text = lines.decode(errors="replace")
                raise BenchError(f"the guest does not answer; it shows:\n{text}")
            lines += data
            for line in lines.split(b"\n")[:-1]:
                if line.startswith(beginning):
                    return line


@contextmanager
def _started(workspace: Workspace) -> Iterator[_Guest]:
    try:
        command = _build_command(workspace)
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    except (GuestError, FileNotFoundError) as error:
        raise BenchError(f"a guest cannot be started: {error}") from error
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as console:
            console.settimeout(_DEADLINE_S)
            _connect(console, _console_of(workspace))
            guest = _Guest(process.pid, console)
            guest.read_line(_READY)
            yield guest
    finally:
        process.kill()
        process.wait()


def _build_command(workspace: Workspace) -> list[str]:
    image = start_image(_WORK, modules=CPUFREQ_MODULES)
    p_states = describe_p_states(workspace, 0)
    (endpoint,) = p_states.endpoints
    port, path = endpoint.port, endpoint.path
    table = workspace.directory / "table.aml"
    table.write_bytes(build_p_state_table(p_states, (_SERIAL,), _LATENCY_US))
    place = f"index={_SERIAL},iobase={port.io_base:#x},irq={port.irq}"
    # Without KVM, which some machines only seem to have.
    return [
        *("qemu-system-x86_64", "-machine", "pc,accel=tcg", "-cpu", "Haswell"),
        *("-m", "192", "-nodefaults", "-display", "none", "-no-reboot"),
        *("-kernel", str(fetch_kernel().image), "-append", CMDLINE),
        *("-initrd", str(image.build("guest-writes")), "-acpitable", f"file={table}"),
        *("-chardev", f"socket,id=p,path={path},server=on,wait=off"),
        *("-device", f"isa-serial,chardev=p,{place}"),
        *("-serial", f"unix:{_console_of(workspace)},server=on,wait=on"),
    ]


def _console_of(workspace: Workspace) -> Path:
    return workspace.directory / "console"


def _connect(console: socket.socket, path: Path) -> None:
    deadline_s = time.monotonic() + _DEADLINE_S
    while True:
        try:
            console.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError) as error:
            if time.monotonic() > deadline_s:
                raise BenchError("QEMU does not listen at its console") from error
            time.sleep(_POLL_S)
        else:
            return
