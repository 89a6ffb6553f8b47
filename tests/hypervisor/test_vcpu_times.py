# SPDX-License-Identifier: Apache-2.0
"""Run times of vCPUs, from libvirt's own test driver."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.errors import DomainGone, HypervisorError
from orchestrator.hypervisor.vcpu_times import interrupts_kvm, is_kvm
from orchestrator.values.domain import DomainId
from tests.hypervisor.driver_domains import DEFINED, OFF, UUID

if TYPE_CHECKING:
    from orchestrator.hypervisor.connection import Hypervisor


@pytest.fixture
def hypervisor(driver_hypervisor: Hypervisor) -> Hypervisor:
    return driver_hypervisor


def test_the_run_time_of_each_online_vcpu_grows(hypervisor: Hypervisor) -> None:
    first = hypervisor.vcpu_times(UUID)
    second = hypervisor.vcpu_times(UUID)
    assert first.keys() == second.keys() == {0, 1}
    assert all(second[vcpu] > first[vcpu] > 0 for vcpu in first)


def test_a_domain_that_is_off_or_undefined_is_refused(hypervisor: Hypervisor) -> None:
    with hypervisor._using_link() as link:
        link.connection.defineXML(DEFINED)
    with pytest.raises(HypervisorError, match="inactive domain"):
        hypervisor.vcpu_times(OFF)
    with pytest.raises(DomainGone):
        hypervisor.vcpu_times(DomainId("00000000-0000-0000-0000-000000000000"))


def test_without_the_call_for_many_each_domain_is_read_alone(
    hypervisor: Hypervisor,
) -> None:
    assert hypervisor.vcpu_times_together([UUID, OFF]) == {}
    assert hypervisor.vcpu_times(UUID).keys() == {0, 1}


@pytest.mark.parametrize(
    ("libvirt_version", "qemu_version", "expected"),
    [
        (9_000_000, 7_002_000, True),
        (8_009_000, 7_001_000, True),
        (8_008_000, 7_002_000, False),
        (10_000_000, 7_000_000, False),
        (10_000_000, 8_001_000, False),
    ],
)
def test_some_versions_interrupt_guests_for_the_call_for_many(
    libvirt_version: int, qemu_version: int, *, expected: bool
) -> None:
    assert interrupts_kvm(libvirt_version, qemu_version) is expected


@pytest.mark.parametrize(
    ("xml", "expected"),
    [
        ("<domain type='kvm' id='1'><name>a</name></domain>", True),
        ("<domain type='qemu' id='1'><name>kvm</name></domain>", False),
        # Invalid XML: to be safe, the domain is read alone.
        ("<domain", True),
    ],
)
def test_kvm_is_recognized_by_the_domain_s_type(xml: str, *, expected: bool) -> None:
    assert is_kvm(xml) is expected
