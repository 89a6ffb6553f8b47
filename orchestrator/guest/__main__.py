# SPDX-License-Identifier: Apache-2.0
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
from orchestrator.guest import auto, commands, watch
from orchestrator.guest.arguments import build_parser
from orchestrator.guest.report import Reporter, warn

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence


class ExitStatus(IntEnum):
    """Exit statuses, the same as those of `vmpower`; scripts rely on them."""

    FAILED = 1
    """The operation failed, or the host refused the request."""
    USAGE = 2
    """Invalid command line."""
    UNREACHABLE = 3
    """No host is connected, or it does not answer."""
    DENIED = 4
    """Permission denied by the kernel."""
    INTERRUPTED = 130
    """Ctrl-C."""


_COMMANDS: dict[str, Callable[[Namespace, Reporter], None]] = {
    "set": commands.set_frequency,
    "query": commands.query,
    "energy": commands.energy,
    "watch": watch.watch,
    "auto": auto.auto,
}
_POLICY_COMMANDS = {"send": commands.send_policy, "remove": commands.remove_policy}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line.

    Returns:
        The exit status.
    """
    options = build_parser().parse_args(arguments)
    command = _COMMANDS.get(options.command) or _POLICY_COMMANDS[options.policy_command]
    # Closing the port withdraws the request, also when systemd stops the command.
    signal.signal(signal.SIGTERM, _exit)
    try:
        command(options, Reporter(is_json=options.output == "json"))
    except VmpowerError as error:
        warn(f"error: {error}", error.hint)
        return _status_of(error)
    except KeyboardInterrupt:
        return ExitStatus.INTERRUPTED
    except BrokenPipeError:
        # The reader is gone; make the interpreter's final flush succeed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitStatus.FAILED
    return 0


def _exit(_number: int, _frame: object) -> None:
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
