# SPDX-License-Identifier: Apache-2.0
"""A guest in a QEMU of its own, without libvirt.

Usage::

    with RawGuest(channels=(0,)) as guest, EchoHost(guest.paths) as echo:
        guest.talker.run_all("open:0;ask:0:3")
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Self

from examples.guests.images import CMDLINE, build_talker_image
from examples.guests.kernel import fetch_kernel
from tests.rig.console import Console
from tests.rig.guest import AGENT_TARGET
from tests.rig.talker import RIG_TARGET, Talker
from tests.rig.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType


class RawGuest:
    """The talker in a QEMU process; its channels' sockets listen, as under libvirt.

    Synchronization: one thread.
    """

    def __init__(self, *, channels: Sequence[int] = (0,), parameters: str = "") -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="vm-", dir="/tmp")
        place = Path(self._directory.name)
        self.console = Console(place / "console")
        ports = {f"{AGENT_TARGET}{number}": place / str(number) for number in channels}
        self.paths = [str(path) for path in ports.values()]
        """The sockets of the channels, in the given order."""
        self._rig_path = place / "rig"
        ports[RIG_TARGET] = self._rig_path
        self._talker: Talker | None = None
        self._process = subprocess.Popen(
            [*_command(f"{CMDLINE} {parameters}", self.console.path), *_devices(ports)],
            stdin=subprocess.DEVNULL,
        )

    @property
    def talker(self) -> Talker:
        """The program in the guest, once it is ready for statements."""
        if self._talker is None:
            self._talker = Talker(self._rig_path, self.console)
        return self._talker

    def close(self) -> None:
        """Kill it."""
        if self._talker is not None:
            self._talker.close()
        self._process.kill()
        self._process.wait()
        self._directory.cleanup()

    def __enter__(self) -> Self:
        for path in (*self.paths, str(self._rig_path)):
            wait_for(Path(path).exists, f"QEMU listens at {path}")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _command(cmdline: str, console: Path) -> list[str]:
    return [
        "qemu-system-x86_64",
        *("-machine", "pc,accel=tcg", "-cpu", "max", "-m", "128"),
        *("-nodefaults", "-display", "none", "-no-reboot"),
        *("-kernel", str(fetch_kernel().image), "-append", cmdline),
        *("-initrd", str(build_talker_image()), "-serial", f"file:{console}"),
        *("-device", "virtio-serial-pci"),
    ]


def _devices(ports: dict[str, Path]) -> list[str]:
    arguments: list[str] = []
    for number, (name, path) in enumerate(ports.items()):
        arguments += ["-chardev", f"socket,id=c{number},path={path},server=on,wait=off"]
        arguments += ["-device", f"virtserialport,chardev=c{number},name={name}"]
    return arguments
