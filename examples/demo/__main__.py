# SPDX-License-Identifier: Apache-2.0
"""`python -m examples.demo`: arguments, signals, exit status."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from examples.guests.cache import GuestError
from examples.guests.kernel import fetch_kernel
from examples.guests.kvm import fix_kvm, is_kvm_misconfigured, leave_mount_namespace
from orchestrator.errors import VmpowerError
from orchestrator.power.simulated_drivers import DEFAULT_DRIVER, SIMULATED_DRIVERS

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_SECONDS = 30
FILE_WIDTH = 100
"""Columns of the output without a terminal."""
INTERRUPTED = 130
"""Exit status after Ctrl-C, as from a shell."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; return the exit status.

    0: success, and everything was restored; 1: failure; 130: interrupted.
    """
    options = _parse_arguments(arguments)
    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = FILE_WIDTH
    try:
        _prepare(console)
        return asyncio.run(_run(options, console))
    except (VmpowerError, GuestError) as error:
        console.print(f"demo: {error}", style="red", markup=False)
        hint = getattr(error, "hint", "")
        if hint:
            console.print(f"hint: {hint}", markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("demo: interrupted before anything was started")
        return INTERRUPTED


def _parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make demo ARGS=",
        description="Run QEMU guests that request CPU frequencies over virtio-serial"
        " or by P-states, and vmpowerd, which sets them. Needs no KVM, cpufreq or"
        " libvirtd, and leaves nothing behind.",
    )
    guests = parser.add_mutually_exclusive_group()
    guests.add_argument(
        "--dpdk", action="store_true", help="Run DPDK's own power test in a guest."
    )
    guests.add_argument(
        "--p-states",
        action="store_true",
        help="Run an unmodified Linux guest, whose own cpufreq driver requests"
        " frequencies.",
    )
    cpus = parser.add_mutually_exclusive_group()
    cpus.add_argument(
        "--host-cpus",
        action="store_true",
        help="Set the frequencies of this host instead of simulated CPUs (as root).",
    )
    cpus.add_argument(
        "--driver",
        metavar="NAME",
        choices=SIMULATED_DRIVERS,
        default=DEFAULT_DRIVER,
        help="Scaling driver of the simulated CPUs (default: %(default)s); one of"
        f" {', '.join(SIMULATED_DRIVERS)}.",
    )
    parser.add_argument(
        "--seconds",
        metavar="N",
        type=int,
        choices=range(3, 601),
        default=DEFAULT_SECONDS,
        help="How long the guests run, 3 to 600 (default: 30).",
    )
    parser.add_argument(
        "--svg", metavar="FILE", type=Path, help="Save the live display to an SVG file."
    )
    parser.add_argument(
        "--plain",
        action="store_true",
        help="Print plain text, even on a terminal.",
    )
    return parser.parse_args(arguments)


def _prepare(console: Console) -> None:
    # Before libvirt is imported: its library would log to the terminal. Errors are
    # reported as exceptions anyway.
    os.environ.setdefault("LIBVIRT_LOG_OUTPUTS", "4:file:/dev/null")
    if is_kvm_misconfigured():
        try:
            leave_mount_namespace()
            fix_kvm()
        except OSError as error:
            console.print(f"the permissions of /dev/kvm slow libvirt down: {error}")
    began_s = time.monotonic()
    fetch_kernel()
    if time.monotonic() - began_s > 1:
        console.print("downloaded a kernel for the guests", style="dim")


async def _run(options: argparse.Namespace, console: Console) -> int:
    # Imports libvirt, see _prepare.
    from examples.demo.environment import DemoEnvironment
    from examples.demo.runs import run_dpdk, run_traffic

    interrupted = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, interrupted.set)
    driver = None if options.host_cpus else options.driver
    environment = DemoEnvironment(simulated_driver=driver)
    try:
        run_demo = run_dpdk if options.dpdk else run_traffic
        is_ok = await run_demo(environment, options, console, interrupted)
    except (VmpowerError, GuestError):
        console.print(environment.log.tail(), style="dim", markup=False)
        raise
    finally:
        await environment.close()
    if interrupted.is_set():
        return INTERRUPTED
    return 0 if is_ok else 1


def entry() -> None:
    """Exit as soon as `main` returns: threads of libvirt may still be running."""
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    entry()
