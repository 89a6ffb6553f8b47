# SPDX-License-Identifier: Apache-2.0
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
from orchestrator.config import Config, LogLevel
from orchestrator.config_files import (
    DEFAULT_FILE,
    configuration_files,
    load_config,
    show_config,
)
from orchestrator.errors import ConfigError, VmpowerError
from orchestrator.system import journal, open_files
from orchestrator.system.log_output import LineSink, LogOutput
from orchestrator.values.safe_text import printable, printable_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

_STDERR = 2
LOG_FORMAT = "%(levelname)s %(message)s"
"""Without a time, which the journal of the service manager adds."""


class LineFormatter(logging.Formatter):
    """Formats each message as one printable line, whatever names it contains."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's
        """Format a message; a traceback follows on separate lines."""
        return printable(" ".join(super().formatMessage(record).split("\n")))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the daemon; return the exit status.

    0: terminated normally; 1: could not start, or had to stop; 2: invalid arguments or
    configuration.
    """
    options = build_parser().parse_args(arguments)
    try:
        config = _read_config(options)
    except ConfigError as error:
        print(_describe(error), file=sys.stderr)  # noqa: T201 - for the caller
        return 2
    if options.show_config:
        print(show_config(config))  # noqa: T201 - the requested output
        return 0
    if options.check_config:
        files = configuration_files(options.config or DEFAULT_FILE)
        names = ", ".join(map(str, files)) or "no file, defaults apply"
        print(printable(f"valid configuration: {names}"))  # noqa: T201 - the same
        return 0
    has_journal = journal.is_connected_to(_STDERR)
    log = LogOutput(journal.JournalSink(_STDERR) if has_journal else LineSink(_STDERR))
    log.setFormatter(LineFormatter(LOG_FORMAT))
    logging.basicConfig(handlers=[log], level=config.log_level.upper())
    try:
        asyncio.run(_run(options, config))
    except VmpowerError as error:
        logging.getLogger(__name__).debug("vmpowerd stops", exc_info=True)
        log.write(_describe(error))
        return 2 if isinstance(error, ConfigError) else 1
    return 0


def _describe(error: VmpowerError) -> str:
    hint = f"\nhint: {error.hint}" if error.hint else ""
    return printable_lines(f"error: {error}{hint}")


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="vmpowerd",
        description="Set CPU frequencies as guests request over their poweragent"
        " channels, within the operator's limits.",
        epilog="SIGTERM stops the daemon and restores the CPUs; SIGHUP reloads the"
        " configuration. See vmpowerd(8) and vmpower.toml(5).",
        add_help=False,
    )
    parser.add_argument(
        "-h", "--help", action="help", help="Show this message and exit."
    )
    parser.add_argument(
        "-c",
        "--connect",
        metavar="URI",
        help="libvirt connection (default: LIBVIRT_DEFAULT_URI, else qemu:///system).",
    )
    parser.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        help=f"Configuration file (default: {DEFAULT_FILE}); conf.d/*.toml beside it is"
        " read, too.",
    )
    parser.add_argument(
        "--sysfs-root",
        metavar="DIR",
        type=Path,
        help="Root of the CPU tree (default: /sys); `vmpower simulate` creates one.",
    )
    parser.add_argument(
        "--run-dir",
        metavar="DIR",
        type=Path,
        help="Directory of sockets, journal and state file (default: /run/vmpower).",
    )
    parser.add_argument(
        "--log-level",
        choices=[level.value for level in LogLevel],
        help="Minimum severity of log messages (default: info).",
    )
    parser.add_argument(
        "--show-config",
        action="store_true",
        help="Print the effective configuration as JSON and exit.",
    )
    parser.add_argument(
        "--check-config",
        action="store_true",
        help="Validate the configuration, print its files and exit.",
    )
    parser.add_argument(
        "--version",
        action="version",
        version=__version__,
        help="Show the version and exit.",
    )
    return parser


def _read_config(options: argparse.Namespace) -> Config:
    """Merge files and arguments, which take precedence."""
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
    # The imports of the daemon take a quarter of a second, which --help need not wait.
    from orchestrator.daemon import Daemon

    open_files.raise_limit()
    daemon = Daemon(config, reload=lambda: _read_config(options))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, daemon.stop)
    loop.add_signal_handler(signal.SIGHUP, daemon.reload)
    await daemon.run()


def entry() -> None:
    """Exit the process immediately when `main` returns.

    Otherwise a thread inside libvirt, or a connection that Python closes at exit, would
    delay the exit as long as libvirtd hangs.
    """
    status = main()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    entry()
