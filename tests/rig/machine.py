# SPDX-License-Identifier: Apache-2.0
"""A private machine for the tests: libvirt's directories, /dev/kvm, processes.

As root, the test process leaves the machine's mount namespace when it starts. From then
on ``/etc/libvirt``, ``/var/lib/libvirt``, ``/run/libvirt`` and so on are empty private
directories, also for all processes that it starts: a libvirtd there serves
``qemu:///system`` to the tests and is invisible to everything else, and test runs do
not collide. Nothing is changed on the machine itself, and nothing that the tests start
outlives them.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from examples.guests.kvm import bind, fix_kvm, leave_mount_namespace
from tests.rig.reaper import move_under_reaper

_PRIVATE = (
    "/etc/libvirt",
    "/var/lib/libvirt",
    "/var/cache/libvirt",
    "/var/log/libvirt",
    "/run/libvirt",
)
# systemd-machined, if it runs, would move the guests into the machine's slices.
_HIDDEN = ("/run/dbus",)

_base: Path | None = None
_reason = "the test process has not entered a machine of its own"


def enter_machine() -> None:
    """Enter a private machine; if that is impossible, record the reason and stay.

    Call it before any thread is started. It returns in a child of the calling process.
    """
    global _base, _reason  # noqa: PLW0603 - a process has one mount namespace
    try:
        leave_mount_namespace()
    except OSError as error:
        _reason = f"a private machine needs root and mount namespaces: {error}"
        move_under_reaper(has_own_mounts=False)
        return
    move_under_reaper(has_own_mounts=True)
    try:
        fix_kvm()
        _base = Path(tempfile.mkdtemp(prefix="vm-", dir="/tmp"))
        _base.chmod(0o755)
        for number, name in enumerate((*_PRIVATE, *_HIDDEN)):
            _replace(Path(name), _base / str(number))
    except OSError as error:
        _base = None
        _reason = f"this container forbids mounts: {error}"


def leave_machine() -> None:
    """Remove what :func:`enter_machine` created."""
    if _base is not None:
        shutil.rmtree(_base, ignore_errors=True)


def why_no_machine() -> str | None:
    """Return why there is no private machine; None: there is one."""
    return None if _base is not None else _reason


def _replace(path: Path, private: Path) -> None:
    if str(path) in _HIDDEN and not path.exists():
        return
    private.mkdir(mode=0o755)
    path.mkdir(parents=True, exist_ok=True)
    bind(private, path)
