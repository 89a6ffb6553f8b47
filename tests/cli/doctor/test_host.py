# SPDX-License-Identifier: Apache-2.0
"""Checks of /dev/kvm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.cli.doctor.conftest import found
from tests.cli.doctor.machines import write

if TYPE_CHECKING:
    from pathlib import Path


def test_a_kvm_node_that_qemu_cannot_open_is_an_error(healthy: Path) -> None:
    (healthy / "dev/kvm").chmod(0o600)
    finding = found(healthy)["kvm-unusable"]
    assert (finding["subject"], finding["severity"]) == ("/dev/kvm", "error")
    assert "mode 0600" in finding["what"]
    assert "chgrp kvm /dev/kvm; chmod 0660" in finding["fix"]


def test_a_kvm_node_of_qemus_group_is_ok(healthy: Path) -> None:
    node = healthy / "dev/kvm"
    node.chmod(0o660)
    gid = node.stat().st_gid
    write(healthy, {"etc/group": f"root:x:0:\nfun:x:{gid}:libvirt-qemu"})
    assert "kvm-unusable" not in found(healthy)


def test_without_a_qemu_user_the_kvm_node_is_not_an_error(healthy: Path) -> None:
    (healthy / "dev/kvm").chmod(0o600)
    write(healthy, {"etc/passwd": "root:x:0:0::/root:/bin/sh"})
    assert "kvm-unusable" not in found(healthy)


def test_unused_virtualization_support_is_a_warning(healthy: Path) -> None:
    (healthy / "dev/kvm").unlink()
    assert "modprobe kvm_intel" in found(healthy)["kvm-absent"]["fix"]
    write(healthy, {"proc/cpuinfo": "flags : fpu svm"})
    assert "modprobe kvm_amd" in found(healthy)["kvm-absent"]["fix"]


def test_a_cpu_without_virtualization_is_information(healthy: Path) -> None:
    (healthy / "dev/kvm").unlink()
    write(healthy, {"proc/cpuinfo": "flags : fpu"})
    assert found(healthy)["kvm-absent"]["severity"] == "info"
