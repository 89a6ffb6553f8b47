"""`python -m examples.demo`: arguments, signals, what is shown, exit status."""

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
from examples.guests.kvm import cure_kvm, is_kvm_ill, leave_mount_namespace
from orchestrator.errors import VmpowerError

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_SECONDS = 30
FILE_WIDTH = 100
"""Columns of the output where no terminal has a width."""
INTERRUPTED = 130
"""Exit status after Ctrl-C, as a shell gives it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; return the exit status.

    0: everything went well and was restored; 1: it did not; 130: interrupted.
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
        console.print("demo: interrupted, nothing was started yet")
        return INTERRUPTED


def _parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make demo ARGS=",
        description="Real QEMU guests ask for clocks over virtio-serial, and vmpowerd"
        " obeys. Needs no KVM, no cpufreq and no libvirtd; leaves nothing behind.",
    )
    parser.add_argument(
        "--dpdk", action="store_true", help="DPDK's own power test as the guest"
    )
    parser.add_argument(
        "--host-cpus",
        action="store_true",
        help="set this machine's own clocks instead of simulated ones (root)",
    )
    parser.add_argument(
        "--seconds",
        metavar="N",
        type=int,
        choices=range(3, 601),
        default=DEFAULT_SECONDS,
        help="how long the guests work: 3 to 600 (default: 30)",
    )
    parser.add_argument(
        "--svg", metavar="FILE", type=Path, help="save a live picture there"
    )
    parser.add_argument(
        "--plain", action="store_true", help="text now and then, also on a terminal"
    )
    return parser.parse_args(arguments)


def _prepare(console: Console) -> None:
    # Before libvirt is imported: its library would write what it thinks over the
    # picture, and errors arrive as exceptions anyway.
    os.environ.setdefault("LIBVIRT_LOG_OUTPUTS", "4:file:/dev/null")
    if is_kvm_ill():
        try:
            leave_mount_namespace()
            cure_kvm()
        except OSError as error:
            console.print(f"this machine's /dev/kvm slows libvirt down: {error}")
    began_s = time.monotonic()
    fetch_kernel()
    if time.monotonic() - began_s > 1:
        console.print("fetched a kernel for the guests", style="dim")


async def _run(options: argparse.Namespace, console: Console) -> int:
    # Imports libvirt, see _prepare.
    from examples.demo.shows import show_dpdk, show_traffic
    from examples.demo.stage import Stage

    interrupted = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, interrupted.set)
    stage = Stage(is_on_host_cpus=options.host_cpus)
    try:
        show = show_dpdk if options.dpdk else show_traffic
        is_well = await show(stage, options, console, interrupted)
    except (VmpowerError, GuestError):
        console.print(stage.log.tail(), style="dim", markup=False)
        raise
    finally:
        await stage.close()
    if interrupted.is_set():
        return INTERRUPTED
    return 0 if is_well else 1


def entry() -> None:
    """End the process at once when `main` returns: threads of libvirt live on."""
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    entry()
