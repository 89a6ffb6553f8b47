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
from orchestrator.system import open_files as descriptors
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
        description="Set CPU frequencies as the guests of all domains request, within"
        " the operator's limits.",
        epilog="SIGTERM: restore the CPUs and exit. SIGHUP: reload the configuration."
        " See vmpowerd(8) and vmpower.toml(5).",
        add_help=False,
    )
    parser.add_argument(
        "-h", "--help", action="help", help="Show this message and exit."
    )
    parser.add_argument(
        "-c",
        "--connect",
        metavar="URI",
        help="libvirt URI (default: LIBVIRT_DEFAULT_URI, or qemu:///system).",
    )
    parser.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        help=f"Configuration file (default: {DEFAULT_FILE}); drop-ins are read from"
        " conf.d beside it.",
    )
    parser.add_argument(
        "--sysfs-root",
        metavar="DIR",
        type=Path,
        help="Root of the CPU tree (default: /sys); see `vmpower simulate`.",
    )
    parser.add_argument(
        "--run-dir",
        metavar="DIR",
        type=Path,
        help="Directory of sockets and restore journal (default: /run/vmpower).",
    )
    parser.add_argument(
        "--log-level",
        choices=[level.value for level in LogLevel],
        help="Level of the log (default: info).",
    )
    parser.add_argument(
        "--show-config",
        action="store_true",
        help="Print the effective configuration as JSON and exit.",
    )
    parser.add_argument(
        "--check-config",
        action="store_true",
        help="Validate the configuration and exit.",
    )
    parser.add_argument(
        "--version",
        action="version",
        version=__version__,
        help="Print the version and exit.",
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

    descriptors.allow_all()
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
