"""The two shows: traffic that changes, and DPDK's own test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from examples.demo.dpdk import DpdkTest, verdict
from examples.demo.performance import Performance
from examples.demo.picture import look_command
from examples.demo.screens import Screen
from examples.demo.summary import summary, what_next

if TYPE_CHECKING:
    import argparse
    import asyncio

    from rich.console import Console

    from examples.demo.stage import Stage

_CUT = " this machine is busy: the guests were ended before they were done"
_ENDED_EARLY = " interrupted: the guests were ended early"


async def show_traffic(
    stage: Stage,
    options: argparse.Namespace,
    console: Console,
    interrupted: asyncio.Event,
) -> bool:
    """Show guests with changing traffic; return whether all went well.

    Raises:
        VmpowerError: the daemon failed.
        GuestError: a guest did.
    """
    performance = Performance(stage, options.seconds)
    if options.plain or not console.is_terminal:
        command = look_command(performance.recording.scene.run_dir)
        console.print(f" another terminal: {command}", soft_wrap=True)
    with Screen(console, is_plain=options.plain, svg=options.svg) as screen:
        outcome = await performance.run(interrupted, screen.show)
    console.print(summary(outcome, console.width))
    if options.svg is not None:
        console.print(f" the live picture is in {options.svg}", style="dim")
    for problem in outcome.problems():
        console.print(f" {problem}", style="red")
    if outcome.is_interrupted:
        console.print(_ENDED_EARLY, style="yellow")
    else:
        if outcome.is_cut:
            console.print(_CUT, style="yellow")
        console.print(what_next(is_dpdk=False))
    return not outcome.problems()


async def show_dpdk(
    stage: Stage,
    options: argparse.Namespace,
    console: Console,
    interrupted: asyncio.Event,
) -> bool:
    """Show DPDK's test suite; return whether it says that it is well.

    Raises:
        VmpowerError: the daemon failed.
        GuestError: the guest did.
    """
    console.print(" booting a guest that runs dpdk-test, some 10 s", style="dim")
    result = await DpdkTest(stage).run(interrupted)
    console.print(verdict(result))
    if interrupted.is_set():
        console.print(_ENDED_EARLY, style="yellow")
    else:
        console.print(what_next(is_dpdk=options.dpdk))
    return result.is_well
