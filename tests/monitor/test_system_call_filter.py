# SPDX-License-Identifier: Apache-2.0
"""The filter of the monitor's system calls, on this kernel."""

from __future__ import annotations

import asyncio
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator.channel.protocol import Unit
from orchestrator.monitor.client.system_call_filter import REFUSED, compile_filter
from tests.monitor.monitor_harness import monitor_harness

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
DEBIAN_MODULES = Path("/usr/lib/python3/dist-packages")


@pytest.fixture
def binding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Libseccomp's binding, which a virtual environment does not show."""
    version = f"cpython-{sys.version_info.major}{sys.version_info.minor}-*"
    for path in DEBIAN_MODULES.glob(f"seccomp.{version}"):
        (tmp_path / path.name).symlink_to(path)
        monkeypatch.syspath_prepend(tmp_path)
        yield
        sys.modules.pop("seccomp", None)
        return
    pytest.skip("python3-seccomp is not installed for this Python")


@pytest.mark.usefixtures("binding")
def test_it_is_compiled_without_a_directory_for_temporary_files(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/missing")
    assert compile_filter()


ATTEMPTS = """
import ctypes, errno, os, socket, sys
from orchestrator.monitor.process import privileges
privileges.drop(*(65534, 65534) if os.geteuid() == 0 else (None, None))
privileges.filter_system_calls(bytes.fromhex(sys.argv[1]))
libc = ctypes.CDLL(None, use_errno=True)
def fork():
    # RLIMIT_NPROC would refuse it with EAGAIN.
    if os.fork() == 0:
        os._exit(0)
attempts = {
    "fork": fork,
    "exec": lambda: os.execv("/bin/true", ["true"]),
    "tcp": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
    "udp": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
    "unix": socket.socketpair,
    "kill": lambda: os.kill(os.getppid(), 0),
    "read": lambda: os.read(os.pipe()[0], 0),
}
for name, attempt in attempts.items():
    try:
        attempt()
        outcome = "done"
    except OSError as error:
        outcome = errno.errorcode[error.errno]
    # An exec that succeeds discards what is buffered.
    print(name, outcome, flush=True)
"""


def run_attempts(program: bytes) -> subprocess.CompletedProcess[str]:
    """Try what the filter refuses, in a process that has it."""
    return subprocess.run(
        [Path(sys.executable).resolve(), "-c", ATTEMPTS, program.hex()],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )


def attempt(program: bytes) -> dict[str, str]:
    """Return the outcomes of `run_attempts`, by system call."""
    done = run_attempts(program)
    assert done.stderr == ""
    return dict(line.split() for line in done.stdout.splitlines())


@pytest.mark.usefixtures("binding")
def test_no_process_no_program_and_no_connection_can_be_started() -> None:
    program = compile_filter()
    assert program is not None
    outcomes = attempt(program)
    assert outcomes.pop("read") == "done"
    assert outcomes == dict.fromkeys(
        ("fork", "exec", "tcp", "udp", "unix", "kill"), "EPERM"
    )


@pytest.mark.usefixtures("binding")
def test_a_monitor_with_the_filter_serves_guests_and_restores(tmp_path: Path) -> None:
    async def run() -> str:
        async with monitor_harness(tmp_path) as main:
            guest = main.simple()
            assert await guest.request(Unit.SCALE_MIN) == "ACK"
            return Path(f"/proc/{main.pid()}/status").read_text()

    facts = dict(
        line.split(":\t", 1)
        for line in asyncio.run(run()).splitlines()
        if ":\t" in line
    )
    filter_mode = "2"
    assert facts["Seccomp"] == filter_mode


def test_without_the_binding_there_is_no_filter_and_that_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    if compile_filter() is not None:
        pytest.skip("the binding is installed")

    async def run() -> None:
        async with monitor_harness(tmp_path) as main:
            await main.monitor._child.kill()
            await main.monitor.start()

    caplog.set_level("INFO")
    asyncio.run(run())
    line = "no system call filter: pyseccomp is not installed"
    assert caplog.messages.count(line) == 1


def test_a_filter_that_the_kernel_refuses_is_reported_and_survived() -> None:
    invalid = struct.pack("HBBI", 0xFFFF, 0, 0, 0)
    done = run_attempts(invalid)
    assert done.stderr == "no system call filter: [Errno 22] Invalid argument\n"
    assert done.stdout.splitlines()[0] == "fork EAGAIN"  # by RLIMIT_NPROC


def test_each_refused_call_is_listed_once() -> None:
    assert len(REFUSED) == len(set(REFUSED))
