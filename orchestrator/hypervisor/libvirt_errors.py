# SPDX-License-Identifier: Apache-2.0
"""Translates libvirt's errors into vmpower's.

Source: virErrorNumber and virErrorDomain of libvirt's virterror.h. A lost connection
was observed (libvirt 9.0) as error domain RPC, code 1, "client socket is closed", and
in the call that was waiting also as codes 38 and 39.
"""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING

import libvirt

from orchestrator.errors import DomainGone, HypervisorError, HypervisorGone

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOST_CODES = frozenset({libvirt.VIR_ERR_NO_CONNECT, libvirt.VIR_ERR_INVALID_CONN})
_TRANSPORT_CODES = frozenset(
    {
        libvirt.VIR_ERR_INTERNAL_ERROR,
        libvirt.VIR_ERR_SYSTEM_ERROR,
        libvirt.VIR_ERR_RPC,
    }
)
_DENIED_CODES = frozenset(
    {
        libvirt.VIR_ERR_ACCESS_DENIED,
        libvirt.VIR_ERR_AUTH_CANCELLED,
        libvirt.VIR_ERR_AUTH_FAILED,
        libvirt.VIR_ERR_AUTH_UNAVAILABLE,
        libvirt.VIR_ERR_OPERATION_DENIED,
    }
)


@contextmanager
def translated() -> Iterator[None]:
    """Translate a libvirtError that leaves the block.

    Raises:
        HypervisorGone: the connection is lost.
        DomainGone: no such domain (any more).
        HypervisorError: any other refusal.
    """
    try:
        yield
    except libvirt.libvirtError as error:
        raise translate(error) from error


def translate(error: libvirt.libvirtError) -> HypervisorError:
    """Translate a libvirtError."""
    code = error.get_error_code() or 0
    text = str(error)
    if code == libvirt.VIR_ERR_NO_DOMAIN:
        return DomainGone(text, code=code)
    # Before is_lost: a socket that may not be opened is a transport error, too.
    if is_denied(error):
        hint = "join libvirt's group, or check libvirt's access control (polkit)"
        return HypervisorError(text, code=code, hint=hint)
    if is_lost(error):
        hint = "check that libvirtd or virtqemud is running, or run 'vmpower doctor'"
        return HypervisorGone(text, code=code, hint=hint)
    return HypervisorError(text, code=code)


def is_lost(error: libvirt.libvirtError) -> bool:
    """Whether the connection failed, not only the call."""
    code = error.get_error_code()
    is_transport = error.get_error_domain() == libvirt.VIR_FROM_RPC
    return code in _LOST_CODES or (is_transport and code in _TRANSPORT_CODES)


def is_denied(error: libvirt.libvirtError) -> bool:
    """Whether access was denied, so that a read-only connection may work."""
    if error.get_error_code() == libvirt.VIR_ERR_SYSTEM_ERROR:
        return error.get_int1() in (errno.EACCES, errno.EPERM)
    return error.get_error_code() in _DENIED_CODES
