# SPDX-License-Identifier: Apache-2.0
"""Boots Debian with systemd, libvirt and a scaling driver of Linux, and runs a script.

The system is installed once for each release (mmdebstrap; minutes) and cached. A run
copies it, installs packages that it is to boot with, and makes a disk of it. The script
and its files are a second disk: a tar archive, which a unit unpacks when the system is
up. `sections` splits what the script prints.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from examples.guests.cache import GuestError, cached, digest
from tests.rig.acpi import PSTATES, build_table
from tests.rig.console import Console
from tests.rig.waiting import LAB_DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CPUS = 2
MEMORY_MIB = 1536
_DISK = "1700M"
_PACKAGES = (
    *("systemd-sysv", "udev", "dbus", "kmod", "procps", "linux-image-cloud-amd64"),
    *("initramfs-tools", "libvirt-daemon-system", "libvirt-clients", "polkitd"),
    *("qemu-system-x86", "apparmor", "tuned", "python3"),
)
_LIBRARIES = {
    "trixie": (
        *("python3-typer", "python3-aiohttp", "python3-pydantic", "python3-rich"),
        *("python3-lxml", "python3-pyroute2", "python3-libvirt", "python3-seccomp"),
        *("python3-prometheus-client", "cockpit-bridge"),
    ),
    "bookworm": ("python3-seccomp", "cockpit-bridge"),
}
"""What the packages depend on, which cannot be fetched in the guest."""
_PREPARE = """
set -e
cd "$1"
mkdir -p etc/initramfs-tools/conf.d
printf 'MODULES=list\\nCOMPRESS=gzip\\n' >etc/initramfs-tools/conf.d/vmpower
printf 'virtio_pci\\nvirtio_blk\\next4\\n' >etc/initramfs-tools/modules
"""
_ARCHIVE = "/srv/archive"
"""A directory of the guest with packages for APT, which has no network there."""
_FETCH = f"""
set -e
chroot "$1" apt-get -q -y --no-install-recommends --download-only install PACKAGES
mkdir -p "$1{_ARCHIVE}" && cd "$1{_ARCHIVE}"
mv "$1"/var/cache/apt/archives/*.deb .
dpkg-scanpackages --multiversion . >Packages
rm -f "$1"/etc/apt/sources.list.d/*
echo 'deb [trusted=yes] file:{_ARCHIVE} ./' >"$1/etc/apt/sources.list"
"""
_UNIT = """\
[Unit]
Description=Test
After=multi-user.target libvirtd.service

[Service]
Type=oneshot
StandardOutput=tty
StandardError=inherit
TTYPath=/dev/ttyS0
ExecStart=/bin/sh /usr/local/sbin/run-test

[Install]
WantedBy=multi-user.target
"""
_RUN_TEST = """\
mkdir -p /run/test && cd /run/test && tar -xf /dev/vdb && sh ./run
echo "guest: ended with $?"
systemctl poweroff --force --force
"""
_FINISH = """
set -e
cd "$1"
# Emulators that nothing here needs: libvirt would try each, for a minute.
rm -rf usr/bin/qemu-system-i386 usr/share/doc usr/share/locale var/lib/apt/lists/*
rm -rf var/cache/apt etc/resolv.conf
# TuneD would set the governors; a test starts it.
rm -f etc/systemd/system/multi-user.target.wants/tuned.service
# An emulated CPU on a busy machine needs long.
mkdir -p etc/systemd/system.conf.d
printf '[Manager]\\nDefaultTimeoutStartSec=900\\n' >etc/systemd/system.conf.d/slow.conf
# Linux's scaling driver, which no device of QEMU requests.
echo acpi-cpufreq >etc/modules-load.d/acpi-cpufreq.conf
echo vmhost >etc/hostname
mkdir -p etc/systemd/system/multi-user.target.wants var/cache/apt/archives/partial
ln -s ../vmpower-test.service etc/systemd/system/multi-user.target.wants/
"""
_CMDLINE = (
    "root=/dev/vda rw console=ttyS0 quiet no_timer_check panic=-1"
    " systemd.show_status=0 systemd.mask=apt-daily.timer"
    " systemd.mask=apt-daily-upgrade.timer systemd.mask=e2scrub_reap.service"
    " systemd.mask=serial-getty@ttyS0.service systemd.mask=getty@tty1.service"
)
_SECTION = re.compile(r"^=== (.*)$", re.MULTILINE)


def fetch_system(release: str, more: Sequence[str] = (), *, bare: bool = False) -> Path:
    """Return the directory of an installed release, or skip the test.

    Args:
        release: its code name.
        more: packages that it is to have, too.
        bare: without what vmpower depends on: APT installs it from `_ARCHIVE` there.
    """
    for program in ("mmdebstrap", "mkfs.ext4", "qemu-system-x86_64"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (see scripts/packages.txt)")
    if os.geteuid() != 0:
        pytest.skip("Debian can only be installed by root")
    libraries = _LIBRARIES[release]
    packages = (*_PACKAGES, *more, *(() if bare else libraries))
    archived = libraries if bare else ()
    parts = (release, *packages, _PREPARE, _UNIT, _RUN_TEST, _FINISH)
    key = digest([*parts, *((_FETCH, *archived) if bare else ())])
    name = f"debian-{release}-{key}"
    try:
        return cached(name, lambda path: _install(release, packages, archived, path))
    except GuestError as error:
        pytest.skip(str(error))


def _install(
    release: str, packages: Sequence[str], archived: Sequence[str], root: Path
) -> None:
    included = ",".join(packages)
    fetch = _FETCH.replace("PACKAGES", " ".join(archived))
    done = subprocess.run(
        [
            *("mmdebstrap", "--quiet", "--variant=minbase", f"--include={included}"),
            f"--setup-hook={_PREPARE}",
            *([f"--customize-hook={fetch}"] if archived else ()),
            *(release, str(root)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise GuestError(f"cannot install Debian {release}: {done.stderr[-500:]}")
    (root / "etc/systemd/system/vmpower-test.service").write_text(_UNIT)
    (root / "usr/local/sbin/run-test").write_text(_RUN_TEST)
    subprocess.run(["sh", "-c", _FINISH, "sh", str(root)], check=True)


class Outcome(NamedTuple):
    """What a script printed."""

    output: str

    @property
    def sections(self) -> Mapping[str, str]:
        """What follows each line `=== name`, by name."""
        _, *parts = _SECTION.split(self.output)
        return dict(zip(parts[::2], parts[1::2], strict=True))


def run_in_debian(
    system: Path,
    script: Path,
    files: Mapping[str, Path | str],
    *,
    installed: Sequence[Path] = (),
    deadline_s: float = LAB_DEADLINE_S,
    counted: bool = False,
) -> Outcome:
    """Boot a release and run a script in a directory with files; then power it off.

    Args:
        system: of the release.
        script: for sh, as root; it may reboot, and is run again then.
        files: paths, or texts, by name.
        installed: packages that are installed before it boots.
        deadline_s: for all of it.
        counted: its clock counts instructions, one per nanosecond, while its CPUs run,
            so that what it measures does not depend on how busy this machine is.
    """
    with tempfile.TemporaryDirectory(prefix="vm-", dir="/var/tmp") as name:
        directory = Path(name)
        disk, archive = directory / "disk", directory / "tar"
        _make_disk(system, disk, installed)
        _pack(archive, {"run": script, **files})
        (kernel,) = (system / "boot").glob("vmlinuz-*")
        (initrd,) = (system / "boot").glob("initrd.img-*")
        console = directory / "console"
        command = [
            *("qemu-system-x86_64", "-machine", "pc", "-accel", "tcg,thread=single"),
            *("-cpu", "Haswell", "-m", str(MEMORY_MIB), "-smp", str(CPUS)),
            *("-nodefaults", "-display", "none", "-serial", f"file:{console}"),
            *("-device", "pc-testdev"),
            *(("-icount", "shift=0") if counted else ()),
            *("-acpitable", f"file={build_table(PSTATES, cpus=CPUS)}"),
            *("-kernel", str(kernel), "-initrd", str(initrd), "-append", _CMDLINE),
            *("-drive", f"file={disk},format=raw,if=virtio"),
            *("-drive", f"file={archive},format=raw,if=virtio,readonly=on"),
        ]
        done = subprocess.run(
            ["timeout", str(deadline_s), *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        output = Console(console).text
    assert "guest: ended with 0" in output, output + done.stderr
    return Outcome(output)


def _make_disk(system: Path, disk: Path, installed: Sequence[Path]) -> None:
    root = disk.with_name("root")
    subprocess.run(["cp", "-a", str(system), str(root)], check=True)
    for package in installed:
        shutil.copy(package, root / "tmp")
    if installed:
        names = [f"/tmp/{package.name}" for package in installed]
        # It starts no service: /run/systemd does not exist there.
        done = subprocess.run(
            ["chroot", str(root), "dpkg", "-i", *names],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    make = ["mkfs.ext4", "-q", "-d", str(root), str(disk), _DISK]
    subprocess.run(make, check=True, capture_output=True)
    shutil.rmtree(root)


def _pack(archive: Path, files: Mapping[str, Path | str]) -> None:
    directory = archive.with_name("files")
    directory.mkdir()
    with tarfile.open(archive, "w") as tar:
        for name, content in files.items():
            path = directory / name
            if isinstance(content, str):
                path.write_text(content)
            else:
                shutil.copyfile(content, path)
            tar.add(path, name)
    # QEMU's disks consist of whole sectors; tar ignores what follows its end.
    with archive.open("ab") as file:
        file.truncate(-(-file.tell() // 65_536) * 65_536)
