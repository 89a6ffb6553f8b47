# SPDX-License-Identifier: Apache-2.0
"""Exit statuses of the command, and which error leads to which."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from enum import IntEnum
from typing import TYPE_CHECKING

from orchestrator.errors import ConfigError, ControlError, SysfsError, VmpowerError

if TYPE_CHECKING:
    from collections.abc import Iterator

_HTTP_FORBIDDEN = 403
_DENIALS = {errno.EACCES, errno.EPERM}


class ExitStatus(IntEnum):
    """Exit statuses of the command; scripts rely on them."""

    FAILED = 1
    """The operation failed."""
    USAGE = 2
    """Invalid command line."""
    UNREACHABLE = 3
    """The daemon is not running or does not respond."""
    DENIED = 4
    """Permission denied by the kernel or the daemon."""
    FINDINGS = 5
    """'vmpower doctor' found a problem."""


class UsageError(VmpowerError):
    """Invalid command line; correct it and retry."""


@contextmanager
def as_usage_error() -> Iterator[None]:
    """Report an invalid value on the command line as a usage error.

    Raises:
        UsageError: the block raised ConfigError.
    """
    try:
        yield
    except ConfigError as error:
        raise UsageError(str(error), hint=error.hint) from error


def status_of(error: VmpowerError) -> ExitStatus:
    """Return the exit status for an error."""
    if is_denial(error):
        return ExitStatus.DENIED
    if isinstance(error, UsageError):
        return ExitStatus.USAGE
    if isinstance(error, ControlError):
        # Only commands that use the client have it imported; it costs 30 ms.
        from orchestrator.control.client import DaemonUnreachable

        if isinstance(error, DaemonUnreachable):
            return ExitStatus.UNREACHABLE
    return ExitStatus.FAILED


def is_denial(error: VmpowerError) -> bool:
    """Return whether an error was caused by missing permissions."""
    if isinstance(error, ControlError):
        return error.status == _HTTP_FORBIDDEN
    if isinstance(error, SysfsError):
        return error.errno in _DENIALS
    return isinstance(error.__cause__, PermissionError)
