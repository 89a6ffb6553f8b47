# SPDX-License-Identifier: Apache-2.0
"""The demos: guests with traffic, an ordinary guest, and DPDK's own test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from examples.demo.display import Display
from examples.demo.dpdk import DpdkTest, render_result
from examples.demo.guests import (
    build_forwarder_image,
    build_load_image,
    forwarder_plans,
    load_plan,
)
from examples.demo.picture import status_command
from examples.demo.summary import next_steps, summary
from examples.demo.traffic import TrafficDemo

if TYPE_CHECKING:
    import argparse
    import asyncio

    from rich.console import Console

    from examples.demo.environment import DemoEnvironment
    from examples.demo.guests import GuestPlan

_TIMED_OUT = " this host is busy: the guests were stopped before they were done"
_INTERRUPTED = " interrupted: the guests were stopped early"


async def run_traffic(
    environment: DemoEnvironment,
    options: argparse.Namespace,
    console: Console,
    interrupted: asyncio.Event,
) -> bool:
    """Run guests with changing traffic; return whether there were no problems.

    With P-states, it is an ordinary guest with a changing load.

    Raises:
        VmpowerError: the daemon failed.
        GuestError: a guest failed.
    """
    demo = TrafficDemo(environment, _plan(environment, options), options.seconds)
    if options.plain or not console.is_terminal:
        command = status_command(demo.recording.setup.run_dir)
        console.print(f" in another terminal: {command}", soft_wrap=True)
    with Display(console, is_plain=options.plain, svg=options.svg) as display:
        result = await demo.run(interrupted, display.show)
    console.print(summary(result, console.width))
    if options.svg is not None:
        console.print(f" the live display was saved to {options.svg}", style="dim")
    for problem in result.problems():
        console.print(f" {problem}", style="red")
    if result.is_interrupted:
        console.print(_INTERRUPTED, style="yellow")
    else:
        if result.is_timed_out:
            console.print(_TIMED_OUT, style="yellow")
        console.print(next_steps(options))
    return not result.problems()


def _plan(environment: DemoEnvironment, options: argparse.Namespace) -> list[GuestPlan]:
    if options.p_states:
        return [load_plan(build_load_image(), seconds=options.seconds)]
    steps = environment.groups[0].steps
    return forwarder_plans(
        build_forwarder_image(), seconds=options.seconds, steps=steps
    )


async def run_dpdk(
    environment: DemoEnvironment,
    options: argparse.Namespace,
    console: Console,
    interrupted: asyncio.Event,
) -> bool:
    """Run DPDK's test in a guest; return whether it passed.

    Raises:
        VmpowerError: the daemon failed.
        GuestError: the guest failed.
    """
    console.print(
        " booting a guest that runs dpdk-test; this takes about 10 s", style="dim"
    )
    result = await DpdkTest(environment).run(interrupted)
    console.print(render_result(result))
    if interrupted.is_set():
        console.print(_INTERRUPTED, style="yellow")
    else:
        console.print(next_steps(options))
    return result.is_ok
