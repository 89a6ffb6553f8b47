# SPDX-License-Identifier: Apache-2.0
"""Inspection of libvirt's test driver, and of libvirts that are absent or hang."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from orchestrator.domain_xml.capabilities import read_security_models
from orchestrator.errors import ConfigError, DomainXmlError, HypervisorError
from orchestrator.hypervisor.inspection import inspect, list_names

if TYPE_CHECKING:
    from pathlib import Path


def test_an_inspection_has_domains_version_and_rights() -> None:
    seen = inspect("test:///default", timeout_s=30)
    assert [spec.name for spec in seen.domains] == ["test"]
    assert seen.version.count(".") == 2
    assert (seen.write_refusal, seen.unreadable) == ("", {})


def test_names_are_listed_read_only() -> None:
    assert list_names("test:///default", timeout_s=30) == ("test",)


def test_an_absent_libvirt_is_an_error() -> None:
    with pytest.raises(HypervisorError, match="nowhere"):
        inspect("qemu+unix:///system?socket=/nowhere", timeout_s=30)


def test_a_remote_libvirt_is_refused_without_a_call() -> None:
    with pytest.raises(ConfigError, match="remote"):
        list_names("qemu+ssh://host/system", timeout_s=30)


def test_a_libvirt_that_hangs_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "hung.sock"
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path))
        silent.listen()  # but never accepts
        with pytest.raises(HypervisorError, match=r"within 0\.2 s"):
            list_names(f"qemu+unix:///system?socket={path}", timeout_s=0.2)


def test_security_models_are_read_from_capabilities() -> None:
    xml = (
        "<capabilities><host><secmodel><model>apparmor</model><doi>0</doi></secmodel>"
        "<secmodel><model>dac</model></secmodel></host></capabilities>"
    )
    assert read_security_models(xml) == {"apparmor", "dac"}
    assert read_security_models("<capabilities/>") == frozenset()
    with pytest.raises(DomainXmlError, match="<capabilities> element, found <domain>"):
        read_security_models("<domain/>")
