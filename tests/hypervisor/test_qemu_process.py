# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from orchestrator.channel.acceptance import Connection, find_problems
from orchestrator.channel.endpoint import connect
from orchestrator.hypervisor.qemu_process import QemuProcesses
from orchestrator.hypervisor.uri import trusted_uids
from tests.rig.waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rig.embed import EmbedHost
    from tests.rig.libvirtd import SessionHost

TARGET = "virtio.serial.port.poweragent.0"


@pytest.mark.parametrize(
    ("uri", "directory"),
    [
        ("qemu:///embed?root={}", "run/qemu"),
        ("qemu:///session", "libvirt/qemu/run"),
        ("qemu+unix:///session?socket={}/libvirt/libvirt-sock", "libvirt/qemu/run"),
        ("qemu+unix:///system?socket={}/libvirt/libvirt-sock", "libvirt/qemu"),
    ],
)
def test_the_process_is_read_from_libvirt_s_file(
    uri: str, directory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / directory).mkdir(parents=True)
    (tmp_path / directory / "fw.pid").write_text("4711")
    (tmp_path / directory / "empty.pid").touch()
    processes = QemuProcesses(uri.format(tmp_path))
    found = [processes.find(name) for name in ("fw", "empty", "gone")]
    assert found == [4711, None, None]
    assert [processes.name_of(pid) for pid in (4711, 4712)] == ["fw", None]


def test_without_a_runtime_directory_a_session_uses_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "libvirt/qemu/run").mkdir(parents=True)
    (tmp_path / "libvirt/qemu/run/fw.pid").write_text("4711")
    assert QemuProcesses("qemu:///session").find("fw") == 4711


def test_of_the_test_driver_it_is_beside_the_file_of_the_domains(
    tmp_path: Path,
) -> None:
    (tmp_path / "fw.pid").write_text("4711")
    processes = QemuProcesses(f"test://{tmp_path}/node.xml")
    assert [processes.find(name) for name in ("fw", "gone")] == [4711, None]


@pytest.mark.parametrize(
    "uri", ["test:///default", "qemu+unix:///system?socket=/x", "qemu:///other"]
)
def test_the_process_is_unknown_where_the_file_is_elsewhere(uri: str) -> None:
    assert QemuProcesses(uri).find("test") is None


@pytest.mark.rig
def test_the_process_of_a_domain_of_a_session_is_found(
    session_host: SessionHost,
) -> None:
    domain = session_host.connection.defineXML(
        "<domain type='qemu'><name>of-session</name><memory unit='MiB'>32</memory>"
        "<vcpu>1</vcpu><os><type arch='x86_64' machine='q35'>hvm</type></os>"
        "<devices><memballoon model='none'/></devices></domain>"
    )
    try:
        domain.create()
        pid = session_host.find_qemu("of-session")
        assert QemuProcesses(session_host.uri).find("of-session") == pid
    finally:
        domain.destroy()
        domain.undefine()


@pytest.mark.rig
def test_a_channel_with_an_explicit_path_is_accepted_by_its_domain_s_qemu(
    embed_host: EmbedHost,
) -> None:
    path = str(embed_host.guests / "explicit.0")
    domain = embed_host.connection.defineXML(
        "<domain type='qemu'><name>explicit</name><memory unit='MiB'>32</memory>"
        "<vcpu>1</vcpu><os><type arch='x86_64' machine='q35'>hvm</type></os><devices>"
        f"<channel type='unix'><source mode='bind' path='{path}'/>"
        f"<target type='virtio' name='{TARGET}'/></channel>"
        "<memballoon model='none'/></devices></domain>"
    )
    try:
        domain.create()
        pid = QemuProcesses(embed_host.uri).find("explicit")
        assert pid == embed_host.find_qemu("explicit")
        with connect(path, trusted_uids(embed_host.uri)) as sock:
            ours = Connection(sock, path, begun_s=0.0, qemu_pid=pid)
            wait_for(lambda: not find_problems([ours]), "QEMU accepts")
            other = ours._replace(qemu_pid=os.getpid())
            assert "than the domain's QEMU" in str(find_problems([other])[other])
    finally:
        domain.destroy()
        domain.undefine()
