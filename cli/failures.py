"""How the command ends when something goes wrong: words on stderr and a status."""

from __future__ import annotations

import errno
import sys
from enum import IntEnum

from orchestrator.errors import ControlError, SysfsError, VmpowerError

_FORBIDDEN = 403
_DENIALS = {errno.EACCES, errno.EPERM}


class ExitStatus(IntEnum):
    """Exit statuses of the command; scripts rely on them."""

    FAILED = 1
    """The operation failed, as virsh ends."""
    USAGE = 2
    """The command line cannot be meant."""
    UNREACHABLE = 3
    """No daemon answers."""
    DENIED = 4
    """The kernel or the daemon does not permit it."""


def status_of(error: VmpowerError) -> ExitStatus:
    """Return the exit status that belongs to an error."""
    if is_denial(error):
        return ExitStatus.DENIED
    if isinstance(error, ControlError):
        # Whoever raised it has imported the client; nobody else pays for it.
        from orchestrator.control.client import DaemonUnreachable

        if isinstance(error, DaemonUnreachable):
            return ExitStatus.UNREACHABLE
    return ExitStatus.FAILED


def is_denial(error: VmpowerError) -> bool:
    """Tell whether missing rights are what went wrong."""
    if isinstance(error, ControlError):
        return error.status == _FORBIDDEN
    if isinstance(error, SysfsError):
        return error.errno in _DENIALS
    return isinstance(error.__cause__, PermissionError)


def tell(message: str, hint: str = "") -> None:
    """Write what went wrong, and the cure if it is known, to stderr."""
    sys.stderr.write(f"error: {message}\n")
    if hint:
        sys.stderr.write(f"hint: {hint}\n")
