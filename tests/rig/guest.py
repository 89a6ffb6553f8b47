# SPDX-License-Identifier: Apache-2.0
"""Guests under libvirt: their XML, their consoles, and the talker inside.

A :class:`GuestHost` is a place for guests (see :mod:`tests.rig.embed`,
:mod:`tests.rig.libvirtd`); it starts :class:`Guest` objects from a
:class:`GuestSpec`::

    guest = host.start(GuestSpec(name="g", channels=(0, 1), vcpus=2))
    guest.talker.run("open:0")              # -> "ok"; talker.c lists all statements
    guest.talker.run("ask:0:3")             # -> "ack 812 us"
    guest.destroy()
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_DNS, UUID, uuid4, uuid5
from xml.sax.saxutils import escape, quoteattr

import libvirt

from examples.guests.embed import publish
from examples.guests.images import CMDLINE, build_talker_image
from examples.guests.kernel import fetch_kernel
from tests.rig.console import Console
from tests.rig.talker import RIG_TARGET, Talker
from tests.rig.waiting import GUEST_DEADLINE_S, wait_for

if TYPE_CHECKING:
    from collections.abc import Mapping

STALL_S = 45.0
"""A boot takes 2 s, or 20 s on a machine that is busy with others."""
AGENT_TARGET = "virtio.serial.port.poweragent."


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestSpec:
    """The properties of a guest."""

    name: str
    """A unique suffix is added, so that parallel test runs do not collide."""
    channels: tuple[int, ...] = (0,)
    """The numbers of its poweragent channels, with paths chosen by libvirt."""
    paths: Mapping[int, str] = field(default_factory=dict)
    """Explicit paths of channels."""
    vcpus: int = 1
    max_vcpus: int = 0
    """More than ``vcpus`` if vCPUs are to be plugged in later."""
    pins: Mapping[int, str] = field(default_factory=dict)
    """vCPU to CPU list, such as ``{0: "1"}``; other vCPUs float."""
    memory_mib: int = 128
    machine: str = "q35"
    cpu_model: str = ""
    """QEMU's name of it; default: all features that QEMU can emulate."""
    image: Path | None = None
    """The initramfs; None: the talker's."""
    parameters: str = ""
    """Appended to the kernel command line, such as ``talker=open:0;connect:0``."""
    has_rig_port: bool = True
    """Whether tests can send statements to the talker."""
    metadata: str = ""
    """XML inside ``<metadata>``."""
    extra_devices: str = ""
    """XML inside ``<devices>``."""


class Guest:
    """A domain that a host has defined.

    Synchronization: one thread.
    """

    def __init__(
        self, host: GuestHost, spec: GuestSpec, *, is_unique: bool = True
    ) -> None:
        self.host = host
        self.spec = spec
        self.name = spec.name
        self.uuid: UUID = uuid5(NAMESPACE_DNS, spec.name)
        if is_unique:
            self.name += f"-{secrets.token_hex(2)}"
            self.uuid = uuid4()
        self.console = Console(host.guests / f"{self.name}.log")
        self._rig_path = host.guests / f"{self.name}.rig"
        self._talker: Talker | None = None

    @property
    def domain(self) -> Any:
        """The ``virDomain``, over the host's current connection."""
        return self.host.connection.lookupByUUIDString(str(self.uuid))

    @property
    def talker(self) -> Talker:
        """The program in the guest, once it is ready for statements.

        Raises:
            TimeoutError: the guest did not get that far.
        """
        if self._talker is None:
            try:
                self._talker = Talker(self._rig_path, self.console, timeout_s=STALL_S)
            except TimeoutError:
                # Under TCG one boot in several hundred does not reach its first line. A
                # reset keeps QEMU, its sockets and their connections.
                if not self.console.text:
                    self.domain.reset(0)
                self._talker = Talker(self._rig_path, self.console)
        return self._talker

    @property
    def pid(self) -> int:
        """QEMU's process."""
        return self.host.find_qemu(self.name)

    def channel_path(self, number: int) -> str:
        """Return the path of a channel's socket from the live XML."""
        parts = self.domain.XMLDesc().split("<channel ")
        for part in parts[1:]:
            if f"name='{AGENT_TARGET}{number}'" in part and " path='" in part:
                return str(part.split(" path='")[1].split("'")[0])
        raise LookupError(f"{self.name} has no channel {number} with a path")

    def start(self) -> None:
        """Boot it; ``talker`` or the console shows when it is up."""
        self._forget_talker()
        self.console.path.unlink(missing_ok=True)
        self.domain.create()

    def destroy(self) -> None:
        """Kill it; the domain stays defined."""
        self._forget_talker()
        self.domain.destroy()

    def remove(self) -> None:
        """Kill it if it runs, and undefine it."""
        self._forget_talker()
        with contextlib.suppress(LookupError, ProcessLookupError):
            # A graceful shutdown of a guest without KVM takes libvirt 1.6 s.
            os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(libvirt.libvirtError):
            self.domain.destroy()
        with contextlib.suppress(libvirt.libvirtError):
            self.domain.undefine()

    def wait_until_off(self, *, timeout_s: float = GUEST_DEADLINE_S) -> None:
        """Wait until libvirt reports that it is off.

        Raises:
            TimeoutError: it is still running.
        """
        what = f"{self.name} is off"
        wait_for(lambda: not self.domain.isActive(), what, timeout_s=timeout_s)

    def xml(self) -> str:
        """Build the domain XML."""
        spec, host = self.spec, self.host
        kernel = host.publish(fetch_kernel().image)
        initrd = host.publish(spec.image or build_talker_image())
        pins = "".join(
            f"<vcpupin vcpu='{vcpu}' cpuset={quoteattr(cpus)}/>"
            for vcpu, cpus in spec.pins.items()
        )
        most = max(spec.vcpus, spec.max_vcpus)
        cpu = "<cpu mode='maximum'/>"
        if spec.cpu_model:
            cpu = f"<cpu><model>{spec.cpu_model}</model></cpu>"
        return f"""<domain type='qemu'>
  <name>{self.name}</name><uuid>{self.uuid}</uuid>
  <metadata>{spec.metadata}</metadata>
  <memory unit='MiB'>{spec.memory_mib}</memory>
  <vcpu placement='static' current='{spec.vcpus}'>{most}</vcpu>
  <cputune>{pins}</cputune>
  <os><type arch='x86_64' machine='{spec.machine}'>hvm</type>
    <kernel>{kernel}</kernel><initrd>{initrd}</initrd>
    <cmdline>{escape(f"{CMDLINE} {spec.parameters}".strip())}</cmdline></os>
  <features><acpi/></features>
  {cpu}
  <on_reboot>restart</on_reboot><on_crash>destroy</on_crash>
  <devices>
    <serial type='file'><source path='{self.console.path}'/></serial>
    <controller type='virtio-serial' index='0' ports='31'/>
    {"".join(self._channel(number) for number in spec.channels)}
    {self._rig_channel()}{spec.extra_devices}
    <memballoon model='none'/>
  </devices>
</domain>"""

    def _channel(self, number: int) -> str:
        path = self.spec.paths.get(number)
        source = f" path={quoteattr(path)}" if path else ""
        return (
            f"<channel type='unix'><source mode='bind'{source}/>"
            f"<target type='virtio' name='{AGENT_TARGET}{number}'/></channel>"
        )

    def _rig_channel(self) -> str:
        if not self.spec.has_rig_port:
            return ""
        return (
            f"<channel type='unix'><source mode='bind' path='{self._rig_path}'/>"
            f"<target type='virtio' name='{RIG_TARGET}'/></channel>"
        )

    def _forget_talker(self) -> None:
        if self._talker is not None:
            self._talker.close()
            self._talker = None


class GuestHost:
    """A place for guests: a libvirt, and a short directory that QEMU can use.

    Synchronization: one thread.
    """

    def __init__(self, uri: str, directory: Path, guests: Path) -> None:
        self.uri = uri
        self.directory = directory
        self.guests = guests
        self._connection: Any = None
        self._guests: list[Guest] = []

    @property
    def connection(self) -> Any:
        """A read-write ``virConnect``; a new one if the last one broke."""
        if self._connection is not None and not self._is_alive():
            self.disconnect()
        if self._connection is None:
            self._connection = libvirt.open(self.uri)
        return self._connection

    def publish(self, path: Path) -> Path:
        """Return a copy of a file that QEMU's user can read."""
        return publish(path, self.directory)

    def define(self, spec: GuestSpec) -> Guest:
        """Define a domain without starting it."""
        guest = Guest(self, spec)
        self.connection.defineXML(guest.xml())
        self._guests.append(guest)
        return guest

    def start(self, spec: GuestSpec) -> Guest:
        """Define a domain and start it; does not wait for the boot."""
        guest = self.define(spec)
        guest.start()
        return guest

    def adopt(self, guest: Guest) -> Guest:
        """Return a guest of another host that has migrated to this one."""
        moved = Guest(self, replace(guest.spec, name=guest.name), is_unique=False)
        moved.uuid = guest.uuid
        self._guests.append(moved)
        return moved

    def find_qemu(self, name: str) -> int:
        """Return the PID of the QEMU that runs a domain.

        Raises:
            LookupError: there is none.
        """
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if f"guest={name},".encode() in (process / "cmdline").read_bytes():
                    return int(process.name)
        raise LookupError(f"no QEMU runs {name}")

    def can_plug_controllers(self) -> bool:
        """Whether this libvirt can plug a virtio-serial controller into a domain.

        It is tried with a domain that has ACPI and a free PCI slot, and stays in its
        BIOS.
        """
        domain = self.connection.createXML(
            f"<domain type='qemu'><name>plug-{secrets.token_hex(2)}</name>"
            "<memory unit='MiB'>32</memory><features><acpi/></features>"
            "<os><type arch='x86_64' machine='pc'>hvm</type></os>"
            "<devices><memballoon model='none'/></devices></domain>",
            0,
        )
        try:
            domain.attachDeviceFlags(
                "<controller type='virtio-serial' index='0'/>",
                libvirt.VIR_DOMAIN_AFFECT_LIVE,
            )
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_OPERATION_UNSUPPORTED:
                return False
            raise
        finally:
            domain.destroy()
        return True

    def remove_guests(self) -> None:
        """Kill and undefine all the guests that were defined here."""
        while self._guests:
            self._guests.pop().remove()

    def disconnect(self) -> None:
        """Close the connection; the next use opens another."""
        if self._connection is not None:
            with contextlib.suppress(libvirt.libvirtError):
                self._connection.close()
            self._connection = None

    def _is_alive(self) -> bool:
        try:
            return bool(self._connection.isAlive())
        except libvirt.libvirtError:
            return False
