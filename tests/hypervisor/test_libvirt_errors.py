# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno

import libvirt
import pytest

from orchestrator.errors import DomainGone, HypervisorError, HypervisorGone
from orchestrator.hypervisor.libvirt_errors import is_denied, translate

Facts = tuple[int, int, int]


def error_of(code: int, domain: int, number: int = 0) -> libvirt.libvirtError:
    """An error as libvirt-python raises it, with the fields that libvirt sets."""
    error = libvirt.libvirtError("refused")
    error.err = (code, domain, "words", 2, None, None, None, number, 0)
    return error


@pytest.mark.parametrize(
    ("code", "domain", "expected"),
    [
        (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_FROM_QEMU, DomainGone),
        (libvirt.VIR_ERR_INTERNAL_ERROR, libvirt.VIR_FROM_RPC, HypervisorGone),
        (libvirt.VIR_ERR_SYSTEM_ERROR, libvirt.VIR_FROM_RPC, HypervisorGone),
        (libvirt.VIR_ERR_INVALID_CONN, libvirt.VIR_FROM_NONE, HypervisorGone),
        (libvirt.VIR_ERR_INTERNAL_ERROR, libvirt.VIR_FROM_QEMU, HypervisorError),
        (libvirt.VIR_ERR_OPERATION_TIMEOUT, libvirt.VIR_FROM_QEMU, HypervisorError),
    ],
)
def test_each_cause_has_its_own_error(
    code: int, domain: int, expected: type[HypervisorError]
) -> None:
    error = translate(error_of(code, domain))
    assert type(error) is expected
    assert error.code == code


@pytest.mark.parametrize(
    "facts",
    [
        (libvirt.VIR_ERR_SYSTEM_ERROR, libvirt.VIR_FROM_RPC, errno.EACCES),
        (libvirt.VIR_ERR_AUTH_UNAVAILABLE, libvirt.VIR_FROM_POLKIT, 0),
        (libvirt.VIR_ERR_OPERATION_DENIED, libvirt.VIR_FROM_NONE, 0),
    ],
)
def test_missing_rights_are_recognized(facts: Facts) -> None:
    assert is_denied(error_of(*facts))


def test_an_absent_libvirt_is_not_a_matter_of_rights() -> None:
    facts = (libvirt.VIR_ERR_SYSTEM_ERROR, libvirt.VIR_FROM_RPC, errno.ENOENT)
    assert not is_denied(error_of(*facts))


def test_missing_rights_have_a_hint() -> None:
    error = translate(error_of(libvirt.VIR_ERR_ACCESS_DENIED, libvirt.VIR_FROM_ACCESS))
    assert "group" in error.hint
