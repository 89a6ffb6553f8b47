"""Entry point of `vmpower-guest`, of its archive, and of `python -m`."""

from __future__ import annotations

import os
import signal
import sys
from enum import IntEnum
from typing import TYPE_CHECKING, Callable

from orchestrator.errors import (
    AnswerMissing,
    ConfigError,
    HostAbsent,
    PacketError,
    VmpowerError,
)
from orchestrator.guest import auto, verbs, watching
from orchestrator.guest.arguments import build_parser
from orchestrator.guest.report import Reporter, warn

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence


class ExitStatus(IntEnum):
    """Exit statuses of the command, the same as of `vmpower`; scripts rely on them."""

    FAILED = 1
    """It could not be done, or the host refused it."""
    USAGE = 2
    """The command line cannot be meant."""
    UNREACHABLE = 3
    """No host is connected, or none answers."""
    DENIED = 4
    """The kernel does not permit it."""
    INTERRUPTED = 130
    """Ctrl-C."""


_VERBS: dict[str, Callable[[Namespace, Reporter], None]] = {
    "set": verbs.set_clock,
    "query": verbs.query,
    "watch": watching.watch,
    "auto": auto.auto,
}
_DEEDS = {"send": verbs.send_policy, "remove": verbs.remove_policy}


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says.

    Returns:
        The exit status.
    """
    options = build_parser().parse_args(arguments)
    verb = _DEEDS[options.deed] if options.verb == "policy" else _VERBS[options.verb]
    # What is held is given back by closing the port, also when a service ends us.
    signal.signal(signal.SIGTERM, _end)
    try:
        verb(options, Reporter(is_json=options.output == "json"))
    except VmpowerError as error:
        warn(f"error: {error}", error.hint)
        return _status_of(error)
    except KeyboardInterrupt:
        return ExitStatus.INTERRUPTED
    except BrokenPipeError:
        # Nobody reads along any more; nor may the interpreter's last flush fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitStatus.FAILED
    return 0


def _end(_number: int, _frame: object) -> None:
    sys.exit(0)


def _status_of(error: VmpowerError) -> ExitStatus:
    if isinstance(error, (HostAbsent, AnswerMissing)):
        return ExitStatus.UNREACHABLE
    if isinstance(error, (ConfigError, PacketError)):
        return ExitStatus.USAGE
    if isinstance(error.__cause__, PermissionError):
        return ExitStatus.DENIED
    return ExitStatus.FAILED


def entry() -> None:
    """Run the command line and exit with its status."""
    sys.exit(main())


if __name__ == "__main__":
    entry()
