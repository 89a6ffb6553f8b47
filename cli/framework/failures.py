"""How the command ends when something goes wrong: words on stderr and a status."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from enum import IntEnum
from typing import TYPE_CHECKING

from cli.output.echo import say
from orchestrator.errors import ConfigError, ControlError, SysfsError, VmpowerError

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    FINDINGS = 5
    """A check found something to be cured."""


class UsageError(VmpowerError):
    """The command line cannot be meant; write it differently."""


@contextmanager
def usage() -> Iterator[None]:
    """Blame the command line for a value in it that is none.

    Raises:
        UsageError: the block raised ConfigError.
    """
    try:
        yield
    except ConfigError as error:
        raise UsageError(str(error), hint=error.hint) from error


def status_of(error: VmpowerError) -> ExitStatus:
    """Return the exit status that belongs to an error."""
    if is_denial(error):
        return ExitStatus.DENIED
    if isinstance(error, UsageError):
        return ExitStatus.USAGE
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
    say(f"error: {message}", err=True)
    if hint:
        say(f"hint: {hint}", err=True)
