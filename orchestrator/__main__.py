"""`vmpowerd`: arguments, signals and exit status."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import logging
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator import __version__
from orchestrator.config import (
    DEFAULT_FILE,
    Config,
    LogLevel,
    load_config,
    show_config,
)
from orchestrator.errors import ConfigError, VmpowerError
from orchestrator.system import open_files
from orchestrator.values.safe_text import printable, printable_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

LOG_FORMAT = "%(levelname)s %(message)s"
"""No time: the journal of the service manager has one."""


class LineFormatter(logging.Formatter):
    """Makes one line of each message, which no name in it can end or colour."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's
        """Write a message; the traceback, which has lines, comes after it."""
        return printable(" ".join(super().formatMessage(record).split("\n")))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the daemon; return the exit status.

    0: ended as asked; 1: could not run; 2: wrong arguments or configuration.
    """
    options = build_parser().parse_args(arguments)
    try:
        config = _read_config(options)
    except ConfigError as error:
        return _fail(error, status=2)
    if options.show_config:
        print(show_config(config))  # noqa: T201 - what was asked for
        return 0
    if options.check_config:
        return 0
    log = logging.StreamHandler(sys.stderr)
    log.setFormatter(LineFormatter(LOG_FORMAT))
    logging.basicConfig(handlers=[log], level=config.log_level.upper())
    try:
        asyncio.run(_run(options, config))
    except VmpowerError as error:
        logging.getLogger(__name__).debug("the daemon ends", exc_info=True)
        return _fail(error, status=2 if isinstance(error, ConfigError) else 1)
    return 0


def _fail(error: VmpowerError, *, status: int) -> int:
    words = f"error: {error}" + (f"\nhint: {error.hint}" if error.hint else "")
    print(printable_lines(words), file=sys.stderr)  # noqa: T201 - to whoever started us
    return status


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog="vmpowerd",
        description="Find the poweragent channels of all domains and obey their guests"
        " within the operator's bounds.",
        epilog="SIGTERM ends it and gives the CPUs back; SIGHUP has it read its"
        " configuration again. See vmpowerd(8) and vmpower.toml(5).",
        add_help=False,
    )
    parser.add_argument(
        "-h", "--help", action="help", help="Show this message and exit."
    )
    parser.add_argument(
        "-c",
        "--connect",
        metavar="URI",
        help="libvirt to watch (default: LIBVIRT_DEFAULT_URI, else qemu:///system).",
    )
    parser.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        help=f"Configuration (default: {DEFAULT_FILE}); conf.d beside it is read too.",
    )
    parser.add_argument(
        "--sysfs-root",
        metavar="DIR",
        type=Path,
        help="CPU tree (default: /sys); `vmpower simulate` makes another.",
    )
    parser.add_argument(
        "--run-dir",
        metavar="DIR",
        type=Path,
        help="Sockets and restore journal (default: /run/vmpower).",
    )
    parser.add_argument(
        "--log-level",
        choices=[level.value for level in LogLevel],
        help="How much is logged (default: info).",
    )
    parser.add_argument(
        "--show-config",
        action="store_true",
        help="Print the configuration in force as JSON and end.",
    )
    parser.add_argument(
        "--check-config",
        action="store_true",
        help="Say what is wrong with the configuration and end.",
    )
    parser.add_argument(
        "--version", action="version", version=__version__, help="Show the version."
    )
    return parser


def _read_config(options: argparse.Namespace) -> Config:
    """Merge files and arguments; arguments win."""
    from orchestrator.hypervisor.uri import check_uri, choose_uri

    config = load_config(options.config)
    uri = choose_uri(options.connect, config.libvirt.uri)
    changes: dict[str, object] = {
        "libvirt": dataclasses.replace(config.libvirt, uri=check_uri(uri))
    }
    if options.sysfs_root:
        changes["sysfs_root"] = options.sysfs_root
    if options.run_dir:
        changes["run_dir"] = options.run_dir
    if options.log_level:
        changes["log_level"] = LogLevel(options.log_level)
    return dataclasses.replace(config, **changes)  # type: ignore[arg-type]


async def _run(options: argparse.Namespace, config: Config) -> None:
    # What the daemon imports takes a quarter of a second; --help need not wait.
    from orchestrator.daemon import Daemon

    open_files.raise_limit()
    daemon = Daemon(config, reload=lambda: _read_config(options))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, daemon.stop)
    loop.add_signal_handler(signal.SIGHUP, daemon.reload)
    await daemon.run()


def entry() -> None:
    """End the process at once when `main` returns.

    A thread that hangs inside libvirt, and a connection that is closed when Python
    takes its objects apart, would hold us as long as libvirtd hangs.
    """
    status = main()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    entry()
