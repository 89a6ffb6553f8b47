"""libvirt's errors become ours here, and nowhere else.

Source: virErrorNumber and virErrorDomain of libvirt's virterror.h. What a client sees
of a lost connection was measured (libvirt 9.0): error domain RPC, code 1, "client
socket is closed", and for the call that was waiting also codes 38 and 39.
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
    """Raise our error for a libvirtError that leaves the block.

    Raises:
        HypervisorGone: the connection is lost.
        DomainGone: the domain is not known any more.
        HypervisorError: libvirt refused, for another reason.
    """
    try:
        yield
    except libvirt.libvirtError as error:
        raise translate(error) from error


def translate(error: libvirt.libvirtError) -> HypervisorError:
    """Turn a libvirtError into ours."""
    code = error.get_error_code() or 0
    text = str(error)
    if code == libvirt.VIR_ERR_NO_DOMAIN:
        return DomainGone(text, code=code)
    # First this: a socket that may not be opened is an error of the transport, too.
    if is_denied(error):
        hint = "join libvirt's group, or see libvirt's access control (polkit)"
        return HypervisorError(text, code=code, hint=hint)
    if is_lost(error):
        hint = "is libvirtd or virtqemud running? 'vmpower doctor' looks further"
        return HypervisorGone(text, code=code, hint=hint)
    return HypervisorError(text, code=code)


def is_lost(error: libvirt.libvirtError) -> bool:
    """Say whether it was the connection that failed, and not the call."""
    code = error.get_error_code()
    is_transport = error.get_error_domain() == libvirt.VIR_FROM_RPC
    return code in _LOST_CODES or (is_transport and code in _TRANSPORT_CODES)


def is_denied(error: libvirt.libvirtError) -> bool:
    """Say whether we lack the right, so that a lesser right may do."""
    if error.get_error_code() == libvirt.VIR_ERR_SYSTEM_ERROR:
        return error.get_int1() in (errno.EACCES, errno.EPERM)
    return error.get_error_code() in _DENIED_CODES
