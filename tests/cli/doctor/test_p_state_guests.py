# SPDX-License-Identifier: Apache-2.0
"""What keeps guests from the P-states that they are to have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lxml import etree

from cli.doctor.checks import p_states as checks
from cli.doctor.facts.libvirt import Libvirt
from orchestrator.domain_xml.p_state_guests import read_p_state_guest
from orchestrator.domain_xml.p_states import build_note
from orchestrator.hypervisor.inspection import Inspection, inspect
from orchestrator.values.frequencies import table_from
from orchestrator.values.p_states import PStatePort, PStates

if TYPE_CHECKING:
    from pathlib import Path

    from cli.doctor.diagnosis import Finding

CHECKS = (
    checks.p_states_impossible,
    checks.p_states_cpu_model,
    checks.p_states_table_missing,
    checks.p_states_emulated,
)
HOST_CPU = "<cpu mode='host-passthrough'/>"


def note_for(file: Path) -> str:
    port = PStatePort(io_base=0x5C0, irq=3, first_vcpu=0, vcpus=1, step_bits=4)
    table = table_from([2_000_000, 1_000_000])
    p_states = PStates(tables=(table,), ports=(port,), file=str(file))
    return etree.tostring(build_note(p_states), encoding="unicode")


def domain_with(
    file: Path, *, machine: str = "q35", cpu: str = HOST_CPU, kind: str = "kvm"
) -> str:
    return (
        f"<domain type='{kind}'><name>web</name>"
        f"<metadata>{note_for(file)}</metadata><memory>1024</memory>"
        f"<os><type arch='x86_64' machine='{machine}'>hvm</type></os>"
        f"<features><acpi/></features>{cpu}</domain>"
    )


@pytest.fixture
def table(tmp_path: Path) -> Path:
    (tmp_path / "a.aml").touch()
    return tmp_path / "a.aml"


def found_in(xml: str) -> list[Finding]:
    guest = read_p_state_guest(xml)
    inspection = Inspection(
        version="9.0.0",
        write_refusal="",
        security_models=frozenset(),
        domains=(),
        unreadable={},
        p_state_guests=() if guest is None else (guest,),
    )
    libvirt = Libvirt(uri="qemu:///system", inspection=inspection)
    return [finding for each in CHECKS for finding in each(libvirt)]


def test_a_guest_that_can_use_them_is_healthy(table: Path) -> None:
    assert found_in(domain_with(table)) == []


def test_a_domain_without_them_is_not_checked(table: Path) -> None:
    xml = domain_with(table, machine="virt", cpu="", kind="qemu")
    assert len(found_in(xml)) == 3
    assert found_in(xml.replace(note_for(table), "")) == []


@pytest.mark.parametrize(
    ("more", "check", "what"),
    [
        ({"machine": "microvm"}, "p-states-impossible", "'microvm' has no P-states"),
        ({"cpu": ""}, "p-states-cpu-model", "CPU model 'qemu64'"),
        ({"kind": "qemu"}, "p-states-emulated", "without KVM"),
    ],
)
def test_what_keeps_a_guest_from_them(
    more: dict[str, str], check: str, what: str, table: Path
) -> None:
    [finding] = found_in(domain_with(table, **more))
    assert finding.check == check
    assert what in finding.what
    assert finding.fix


def test_a_missing_table_keeps_the_domain_from_starting(table: Path) -> None:
    table.unlink()
    [finding] = found_in(domain_with(table))
    assert finding.check == "p-states-table-missing"
    assert finding.fix == "vmpower domain onboard web --p-states"


def test_without_libvirt_nothing_is_found() -> None:
    libvirt = Libvirt(uri="qemu:///system", inspection=None, failure="down")
    assert [finding for each in CHECKS for finding in each(libvirt)] == []


def test_libvirt_is_asked_for_definitions(table: Path, tmp_path: Path) -> None:
    node = tmp_path / "node.xml"
    xml = domain_with(table, kind="test")
    node.write_text(f"<node>{xml}</node>")
    [guest] = inspect(f"test://{node}", timeout_s=60).p_state_guests
    assert (guest.name, guest.file) == ("web", str(table))
