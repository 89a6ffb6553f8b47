"""A guest's end of a channel: one virtio-serial port, opened and never blocking.

Theory of operation: while nobody on the host is connected, the kernel says POLLHUP at
once and always, reads give nothing at all (as at an end of file), and writes EAGAIN;
when the host is back, all that ends without a word. A port belongs to one program at a
time. A socket is taken for a port too: its other end hanging up looks the same, but
for EPIPE.

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
_REST_PATIENCE_S = 0.1
"""How long the host may keep us from writing the rest of a packet."""

_HOST_CURE = "on the host, vmpowerd must run: systemctl status vmpowerd"
PORT_CURE = (
    "on the host, give the VM its channels: vmpower domain onboard DOMAIN "
    "(virsh: a channel of target type virtio with that name)"
)


class Port:
    """An open port, or a socket in its place.

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
        """Tell whether somebody on the host is connected now."""
        return not any(event & select.POLLHUP for _, event in self._poll.poll(0))

    def wait(self, timeout_s: float) -> bool:
        """Wait until something can be read, or the host is gone; tell whether it is."""
        return bool(self._poll.poll(max(0, round(timeout_s * 1000))))

    def read(self) -> bytes | None:
        """Return what has arrived; None: nothing, and empty: nobody is there.

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
        """Write a packet, whole.

        Raises:
            HostAbsent: nobody on the host is connected, or reads.
            PortAbsent: the port was unplugged.
        """
        rest = memoryview(packet)
        while rest:
            written = self._write_some(rest)
            if not written:
                self._await_room(is_cut=len(rest) < len(packet))
            rest = rest[written:]

    def close(self) -> None:
        """Close it; the host then takes back what was asked through it."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def no_host(self) -> HostAbsent:
        """Describe that nobody on the host is connected."""
        return HostAbsent(f"nobody on the host serves {self.name}", hint=_HOST_CURE)

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
        # The kernel takes a packet whole or not at all; only sockets cut them.
        if not is_cut or not waiter.poll(_REST_PATIENCE_S * 1000):
            raise HostAbsent(
                f"the host does not read what {self.name} is told", hint=_HOST_CURE
            )

    def _unplugged(self, error: OSError) -> PortAbsent:
        word = errno.errorcode.get(error.errno or 0, str(error.errno))
        return PortAbsent(f"{self.name} is gone: {word}", hint=PORT_CURE)


def open_port(
    vcpu: int, *, devices: Path = DEVICES, port_class: Path = PORT_CLASS
) -> Port:
    """Open the port of a vCPU; whether the host is there is not looked at.

    Args:
        vcpu: its number, as in /proc/cpuinfo.
        devices: where device nodes are.
        port_class: where the kernel lists the ports by name.

    Raises:
        PortAbsent: the VM has no such port.
        PortRefused: another program has it open, or we have no right to it.
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
    # udev makes the links; a guest without it has the kernel's own list.
    for device, known in _names_by_device(port_class).items():
        if known == name:
            return devices / device
    raise PortAbsent(f"this VM has no virtio port {name}", hint=PORT_CURE)


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
            hint=f"a port serves one program; find it: fuser {path}",
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return PortRefused(
            f"no permission to open {path}", hint="run this as root, or chown the port"
        )
    word = errno.errorcode.get(error.errno or 0, str(error.errno))
    return PortAbsent(f"{path} cannot be opened: {word}", hint=PORT_CURE)
