# SPDX-License-Identifier: Apache-2.0
"""The guest's end of a channel: a virtio-serial port, opened non-blocking.

Theory of operation: while no host is connected, poll reports POLLHUP at once and
always, reads return no data (as at the end of a file), and writes fail with EAGAIN; all
this ends without notice when a host connects. A port can be opened by one program at a
time. A socket can be used instead of a port: a closed peer looks the same, except for
EPIPE.

Source: Linux, drivers/char/virtio_console.c (port_fops_*).
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
from pathlib import Path

from orchestrator.errors import HostAbsent, PortAbsent, PortRefused

PORT_NAME = "virtio.serial.port.poweragent."
"""The name of a port, before the number of its vCPU."""

DEVICES = Path("/dev")
PORT_CLASS = Path("/sys/class/virtio-ports")

_READ_BYTES = 65536
_REST_TIMEOUT_S = 0.1
"""How long to wait for room for the rest of a packet."""

_HOST_HINT = "check on the host whether vmpowerd serves this VM: vmpower status"
PORT_HINT = (
    "add the VM's channels on the host: vmpower domain onboard DOMAIN (or with virsh, a"
    " channel of target type virtio with that name)"
)


class Port:
    """An open port, or a socket instead.

    Owns the descriptor.

    Synchronization: one thread.
    """

    def __init__(self, fd: int, name: str = "port") -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self.name = name
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)

    def fileno(self) -> int:
        """Return the descriptor; -1 when closed."""
        return self._fd

    def has_host(self) -> bool:
        """Return whether a host is connected now."""
        return not any(event & select.POLLHUP for _, event in self._poll.poll(0))

    def wait(self, timeout_s: float) -> bool:
        """Wait for data or the loss of the host; return False after the timeout."""
        return bool(self._poll.poll(max(0, round(timeout_s * 1000))))

    def read(self) -> bytes | None:
        """Return the data that has arrived; None: no data, empty: no host.

        Raises:
            PortAbsent: the port was unplugged.
        """
        try:
            return os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno == errno.ECONNRESET:
                return b""
            raise self._unplugged(error) from error

    def write(self, packet: bytes) -> None:
        """Write a whole packet.

        Raises:
            HostAbsent: no host is connected, or it does not read.
            PortAbsent: the port was unplugged.
        """
        rest = memoryview(packet)
        while rest:
            written = self._write_some(rest)
            if not written:
                self._await_room(is_cut=len(rest) < len(packet))
            rest = rest[written:]

    def close(self) -> None:
        """Close the port; the host withdraws the requests made over it."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def no_host(self) -> HostAbsent:
        """Return the error for a missing host."""
        return HostAbsent(f"no host is connected to {self.name}", hint=_HOST_HINT)

    def _write_some(self, data: memoryview) -> int:
        try:
            return os.write(self._fd, data)
        except BlockingIOError:
            return 0
        except (BrokenPipeError, ConnectionResetError):
            raise self.no_host() from None
        except OSError as error:
            raise self._unplugged(error) from error

    def _await_room(self, *, is_cut: bool) -> None:
        if not self.has_host():
            raise self.no_host()
        waiter = select.poll()
        waiter.register(self._fd, select.POLLOUT)
        # The kernel accepts a whole packet or nothing; only sockets accept a part.
        if not is_cut or not waiter.poll(_REST_TIMEOUT_S * 1000):
            raise HostAbsent(
                f"the host does not read from {self.name}", hint=_HOST_HINT
            )

    def _unplugged(self, error: OSError) -> PortAbsent:
        code = errno.errorcode.get(error.errno or 0, str(error.errno))
        return PortAbsent(f"{self.name} was unplugged: {code}", hint=PORT_HINT)


def open_port(
    vcpu: int, *, devices: Path = DEVICES, port_class: Path = PORT_CLASS
) -> Port:
    """Open the port of a vCPU, whether or not a host is connected.

    Args:
        vcpu: number as in /proc/cpuinfo.
        devices: directory of device nodes.
        port_class: directory where the kernel lists the ports by name.

    Raises:
        PortAbsent: the VM has no such port.
        PortRefused: another program has it open, or permission was denied.
    """
    name = f"{PORT_NAME}{vcpu}"
    path = _find(name, devices, port_class)
    try:
        fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _translate(error, name, path) from error
    return Port(fd, name)


def list_ports(
    *, devices: Path = DEVICES, port_class: Path = PORT_CLASS
) -> tuple[int, ...]:
    """Return the vCPUs that have a port, in order."""
    names = {path.name for path in (devices / "virtio-ports").glob(f"{PORT_NAME}*")}
    names.update(_names_by_device(port_class).values())
    numbers = (name[len(PORT_NAME) :] for name in names if name.startswith(PORT_NAME))
    return tuple(sorted(int(n) for n in numbers if n.isascii() and n.isdigit()))


def _find(name: str, devices: Path, port_class: Path) -> Path:
    link = devices / "virtio-ports" / name
    if link.exists():
        return link
    # Without udev there are no links, but the kernel's own list.
    for device, known in _names_by_device(port_class).items():
        if known == name:
            return devices / device
    raise PortAbsent(f"no such virtio port: {name}", hint=PORT_HINT)


def _names_by_device(port_class: Path) -> dict[str, str]:
    names = {}
    for path in port_class.glob("*/name"):
        with contextlib.suppress(OSError):
            names[path.parent.name] = path.read_text(encoding="utf-8").strip()
    return names


def _translate(error: OSError, name: str, path: Path) -> PortAbsent | PortRefused:
    if error.errno in (errno.EBUSY, errno.EMFILE):
        return PortRefused(
            f"another program has {name} open",
            hint=f"a port is for one program at a time; find it with: fuser {path}",
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return PortRefused(
            f"permission denied: {path}", hint="run as root, or chown the port"
        )
    code = errno.errorcode.get(error.errno or 0, str(error.errno))
    return PortAbsent(f"cannot open {path}: {code}", hint=PORT_HINT)
