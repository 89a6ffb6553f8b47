# SPDX-License-Identifier: Apache-2.0
"""`vmpower domain add` finds what libvirt would refuse when the domain starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.errors import VmpowerError
from orchestrator.power.simulated import lay_out
from tests.cli.test_domain_add import DEFAULT, run

if TYPE_CHECKING:
    from pathlib import Path

TEMPLATE = """\
<domain type='qemu'>
  <name>old</name>
  <memory>65536</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <devices>{devices}</devices>
</domain>
"""


@pytest.fixture
def words(tmp_path: Path) -> tuple[str, ...]:
    lay_out(tmp_path / "sys", cpus=4)
    return ("-c", DEFAULT, "--sysfs-root", str(tmp_path / "sys"), "--type", "qemu")


@pytest.mark.parametrize(
    ("options", "message", "fix"),
    [
        (("--pin", "99"), "no such host CPU: 99", "CPUs 0-7"),
        (("--emulator-pin", "98"), "no such host CPU: 98", "CPUs 0-7"),
        (("--pin", "3"), "CPU 3 is offline", "echo 1 > "),
        (("--network", "absent"), "no such network: 'absent'", "virsh net-list"),
        (("--network", "bridge:absent0"), "device: 'absent0'", "ip link"),
        (("--network", "hostdev:ffff:fe:1f.7"), "device: ffff:fe:1f.7", "lspci"),
        (
            ("--network", "vhostuser:/nonexistent/vhu0"),
            "vhost-user socket: no such directory: /nonexistent",
            "mkdir /nonexistent",
        ),
        (
            ("--socket-dir", "/nonexistent"),
            "channel: no such directory: /nonexistent",
            "mkdir /nonexistent",
        ),
        (
            ("--console", "/nonexistent/r.log"),
            "serial: no such directory: /nonexistent",
            "mkdir /nonexistent",
        ),
    ],
)
def test_what_would_prevent_the_start_is_found(
    options: tuple[str, ...],
    message: str,
    fix: str,
    words: tuple[str, ...],
    tmp_path: Path,
) -> None:
    (tmp_path / "sys/devices/system/cpu/online").write_text("0-2\n")
    pin = () if "--pin" in options else ("--pin", "1")
    for how in ("--dry-run", "--start"):
        result = run("add", "r", *words, *options, *pin, how)
        assert isinstance(result.exception, VmpowerError)
        assert message in str(result.exception)
        assert fix in result.exception.hint


def test_a_domain_that_would_start_passes(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    image = tmp_path / "vm.qcow2"
    image.touch()
    options = ("--template", "cloud", "--disk", str(image), "--pin", "1,2")
    paths = ("--socket-dir", str(tmp_path), "--console", str(tmp_path / "r.log"))
    result = run("add", "r", *words, *options, *paths, "--dry-run")
    assert result.exit_code == 0
    assert result.stderr == ""


def test_what_can_be_created_until_the_start_is_a_hint_for_a_definition(
    words: tuple[str, ...],
) -> None:
    options = ("--pin", "1", "--socket-dir", "/nonexistent", "--define")
    result = run("add", "r", *words, *options)
    assert result.exit_code == 0
    assert (
        "hint: channel: no such directory: /nonexistent; before it starts:"
        " mkdir /nonexistent" in result.stderr
    )


def test_files_of_a_template_are_checked(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    template = tmp_path / "own.xml"
    disk = (
        "<disk type='file'><source file='/nonexistent.img'/><target dev='vdb'/></disk>"
    )
    template.write_text(TEMPLATE.format(devices=disk))
    options = ("--template", str(template), "--pin", "1", "--dry-run")
    result = run("add", "r", *words, *options)
    assert str(result.exception) == "disk vdb: no such file: /nonexistent.img"
    assert "kept from template 'own': disk vdb (/nonexistent.img)" in result.stderr


def test_two_disks_with_one_name_are_refused(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    template = tmp_path / "own.xml"
    disk = "<disk type='file' device='cdrom'><target dev='sda' bus='sata'/></disk>"
    template.write_text(TEMPLATE.format(devices=disk * 2))
    iso = tmp_path / "seed.iso"
    iso.touch()
    options = ("--template", str(template), "--pin", "1", "--dry-run")
    result = run("add", "r", *words, *options, "--cloud-init", str(iso))
    assert str(result.exception) == "two disks have the device name 'sda'"
