# SPDX-License-Identifier: Apache-2.0
"""Real libvirtds: processes that tests can freeze, kill and restart.

Usage, in a test (both fixtures are shared by the session)::

    def test_it(system_host: SystemHost) -> None:       # of the system, as root
        guest = system_host.start(GuestSpec(name="g", channels=(0,)))
        start_daemon("-c", system_host.uri)     # visible to any process of the test

    def test_that(session_host: SessionHost) -> None:   # libvirtd and QEMU as nobody
        guest = session_host.start(GuestSpec(name="g"))
        session_host.libvirtd.freeze()                  # SIGSTOP; thaw() undoes it
        session_host.libvirtd.kill()                    # SIGKILL; guests keep running
        session_host.libvirtd.start()                   # and it finds them again

The system one runs in the tests' private machine (:mod:`tests.rig.machine`) under its
ordinary names. All calls over a connection to a frozen libvirtd hang.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import libvirt

from examples.guests.embed import (
    load_capabilities,
    make_guest_directory,
    save_capabilities,
)
from orchestrator.hypervisor.eventloop import ensure_event_loop
from tests.rig.guest import GuestHost
from tests.rig.waiting import DEADLINE_S, wait_for

if TYPE_CHECKING:
    from collections.abc import Mapping

_SYSTEM_SOCKET = Path("/run/libvirt/libvirt-sock")
_SYSTEM_CACHE = Path("/var/cache/libvirt")
_QEMU_CONF = 'security_driver = "none"\nnamespaces = []\n'
_LIBVIRTD_CONF = """\
auth_unix_ro = "none"
auth_unix_rw = "none"
unix_sock_ro_perms = "0777"
unix_sock_rw_perms = "0770"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How a libvirtd is started and checked."""

    arguments: tuple[str, ...]
    socket: Path
    uri: str
    directory: Path
    """Of its log and its PID file."""
    account: pwd.struct_passwd | None = None
    """The user that it runs as; None: the current one."""
    environment: Mapping[str, str] | None = None


class Libvirtd:
    """A libvirtd process that can be restarted.

    Synchronization: one thread.
    """

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        self._process: subprocess.Popen[bytes] | None = None
        self.log = launch.directory / "libvirtd.log"
        """Its output."""

    @property
    def pid(self) -> int:
        """The process.

        Raises:
            RuntimeError: it does not run.
        """
        if self._process is None:
            raise RuntimeError("libvirtd does not run")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not exited."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            TimeoutError: it does not; the error shows its log.
            RuntimeError: it exited at once, likewise.
        """
        launch = self._launch
        account = launch.account
        pid_file = launch.directory / "libvirtd.pid"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [_find("libvirtd"), "--pid-file", str(pid_file), *launch.arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=launch.environment,
                user=account.pw_uid if account else None,
                group=account.pw_gid if account else None,
                extra_groups=[] if account else None,
                start_new_session=True,
            )
        try:
            wait_for(self._answers, "libvirtd answers")
        except TimeoutError as error:
            self.kill()
            raise TimeoutError(f"{error}; its log:\n{self._log_text()}") from None

    def stop(self) -> None:
        """Stop it gracefully (SIGTERM); guests keep running."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it (SIGKILL); guests keep running."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop it gracefully and start it again."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Freeze it (SIGSTOP): it exists and does not answer."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it continue (SIGCONT)."""
        os.kill(self.pid, signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)  # a frozen one would not react to SIGTERM
        try:
            process.wait(timeout=DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _answers(self) -> bool:
        if not self.is_running:
            raise RuntimeError(f"libvirtd ended at once; its log:\n{self._log_text()}")
        if not self._launch.socket.exists():
            return False
        try:
            libvirt.openReadOnly(self._launch.uri).close()
        except libvirt.libvirtError:
            return False
        return True

    def _log_text(self) -> str:
        return self.log.read_text(errors="replace")


class LibvirtdHost(GuestHost):
    """Guests under a libvirtd of their own.

    Synchronization: one thread.
    """

    libvirtd: Libvirtd
    """The process; it runs at the start of each test, whatever the last test did to
    it."""

    def revive(self) -> None:
        """Make libvirtd run and answer again, whatever a test did to it."""
        if self.libvirtd.is_running:
            self.libvirtd.thaw()
        else:
            self.libvirtd.start()

    def close(self) -> None:
        """End the guests and libvirtd, remove the directory."""
        self.revive()
        self.remove_guests()
        self.disconnect()
        self.libvirtd.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


class SystemHost(LibvirtdHost):
    """``qemu:///system`` of the private machine, with virtlogd.

    Synchronization: one thread.
    """

    def __init__(self) -> None:
        ensure_event_loop()
        directory = _make_directory()
        # With the socket: a process that has opened an embedded driver takes a plain
        # qemu:///system for that driver. Other processes may use either.
        uri = f"qemu+unix:///system?socket={_SYSTEM_SOCKET}"
        super().__init__(uri, directory, make_guest_directory(directory))
        etc = Path("/etc/libvirt")
        (etc / "libvirtd.conf").write_text(_LIBVIRTD_CONF)
        (etc / "qemu.conf").write_text(_QEMU_CONF)
        (etc / "virtlogd.conf").write_text("")
        load_capabilities(_SYSTEM_CACHE)
        self._virtlogd = subprocess.Popen(
            [_find("virtlogd"), "--pid-file", f"{directory}/virtlogd.pid"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.libvirtd = Libvirtd(
            Launch(
                arguments=("-f", f"{etc}/libvirtd.conf"),
                socket=_SYSTEM_SOCKET,
                uri=self.uri,
                directory=directory,
            )
        )
        try:
            self.libvirtd.start()
        except BaseException:
            self._end_virtlogd()
            raise

    def close(self) -> None:
        """End the guests, libvirtd and virtlogd, remove the directory."""
        super().close()
        self._end_virtlogd()
        save_capabilities(_SYSTEM_CACHE)

    def _end_virtlogd(self) -> None:
        self._virtlogd.terminate()
        self._virtlogd.wait()


class SessionHost(LibvirtdHost):
    """``qemu:///session`` of an unprivileged user, by its socket.

    Synchronization: one thread.
    """

    def __init__(self) -> None:
        ensure_event_loop()
        directory = _make_directory()
        is_root = os.geteuid() == 0
        account = pwd.getpwnam("nobody") if is_root else None
        guests = make_guest_directory(directory, "nobody")
        socket = directory / "run/libvirt/libvirt-sock"
        uri = f"qemu+unix:///session?socket={socket}"
        super().__init__(uri, directory, guests)
        self._cache = directory / "cache/libvirt"
        self._prepare(account)
        self.libvirtd = Libvirtd(
            Launch(
                arguments=(),
                socket=socket,
                uri=uri,
                directory=directory,
                account=account,
                environment=self._environment(),
            )
        )
        self.libvirtd.start()

    def close(self) -> None:
        """End the guests and libvirtd, remove the directory."""
        # Before the directory is removed.
        save_capabilities(self._cache)
        super().close()

    def _prepare(self, account: pwd.struct_passwd | None) -> None:
        # The configuration's directory also contains the sockets of channels, and their
        # paths may have 107 bytes: it must not be longer.
        (self.directory / "libvirt").mkdir()
        (self.directory / "libvirt/qemu.conf").write_text('stdio_handler = "file"\n')
        # Guests migrate between hosts that differ in it.
        (self.directory / "libvirt/libvirtd.conf").write_text(
            f'host_uuid = "{uuid4()}"\n'
        )
        (self.directory / "run").mkdir(mode=0o700)
        load_capabilities(self._cache)
        self._cache.mkdir(parents=True, exist_ok=True)
        if account is not None:
            for path in (self.directory, *self.directory.rglob("*")):
                os.chown(path, account.pw_uid, account.pw_gid)

    def _environment(self) -> dict[str, str]:
        home = str(self.directory)
        return {
            "PATH": os.environ["PATH"],
            "HOME": home,
            "XDG_CONFIG_HOME": home,
            "XDG_RUNTIME_DIR": f"{home}/run",
            "XDG_CACHE_HOME": f"{home}/cache",
        }


def _make_directory() -> Path:
    directory = Path(tempfile.mkdtemp(prefix="v", dir="/tmp"))
    directory.chmod(0o755)
    return directory


def _find(program: str) -> str:
    found = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        raise FileNotFoundError(f"{program} is not installed (make setup does)")
    return found
