# SPDX-License-Identifier: Apache-2.0
"""`vmpower-guest auto`: requests frequencies that follow the load of vCPUs."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from orchestrator.channel.protocol import Unit
from orchestrator.errors import (
    AnswerMissing,
    ConfigError,
    HostAbsent,
    RequestRefused,
)
from orchestrator.guest.calls import name_of
from orchestrator.guest.load import loads_between, read_times
from orchestrator.guest.ports import open_clock, open_free_clocks
from orchestrator.guest.report import warn
from orchestrator.guest.stepping import Decision, StepState, Thresholds, decide

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Mapping
    from typing import Callable

    from orchestrator.guest.clock import VCpuClock
    from orchestrator.guest.report import Reporter

    Report = Callable[[int, float, Unit], None]

_MAX_BACKOFF = 32
"""Reverted steps make the delay before the next one this many times longer at most."""
_REVERTED_WITHIN = 4
"""A step is reverted if the load is high within this many delays."""


class LoadFollower:
    """Requests frequencies that follow the load of one vCPU.

    Synchronization: one thread.
    """

    def __init__(
        self, clock: VCpuClock, thresholds: Thresholds, report: Report
    ) -> None:
        self._clock = clock
        self._thresholds = thresholds
        self._report = report
        self._state: StepState | None = None
        """None: the host does not have our request for the highest step."""
        self._last_warning = ""

    def follow(self, load: float) -> None:
        """Request the change that a sample of the load requires, if any.

        Raises:
            PortAbsent: the port was unplugged.
        """
        if not self._clock.has_host():
            self._state = None
            self._warn_once("no host is connected; waiting for one")
            return
        if self._state is None:
            decision = Decision(StepState(), Unit.SCALE_MAX)
        else:
            decision = decide(load, self._state, self._thresholds)
        if decision.unit is not None and not self._change(decision.unit, load):
            return  # retried with the next sample
        self._state = decision.state

    def _change(self, unit: Unit, load: float) -> bool:
        try:
            self._clock.change(unit)
        except (AnswerMissing, HostAbsent, RequestRefused) as error:
            self._warn_once(str(error), error.hint)
            return False
        self._report(self._clock.vcpu, load, unit)
        self._last_warning = ""
        return True

    def _warn_once(self, message: str, hint: str = "") -> None:
        """Print a warning, but not the same one twice in a row."""
        if message != self._last_warning:
            warn(f"vCPU {self._clock.vcpu}: {message}", hint)
        self._last_warning = message


def auto(options: Namespace, reporter: Reporter) -> None:
    """Follow the load until the command is interrupted."""
    thresholds = thresholds_of(options)

    def report(vcpu: int, load: float, unit: Unit) -> None:
        if options.verbose:
            text = f"vCPU {vcpu}: load {load:.0%}, {name_of(unit)}"
            reporter.write(text, vcpu=vcpu, load=round(load, 3), asked=name_of(unit))

    with ExitStack() as stack:
        followers = {}
        for clock in _open_clocks(options, stack):
            followers[clock.vcpu] = LoadFollower(clock, thresholds, report)
        vcpus = ",".join(map(str, followers))
        text = f"following the load of vCPU{'s' if len(followers) > 1 else ''} {vcpus}"
        reporter.write(text, vcpus=list(followers))
        _follow_all(followers, options)


def thresholds_of(options: Namespace) -> Thresholds:
    """Read the thresholds from the options.

    Raises:
        ConfigError: there is no gap between the thresholds.
    """
    if options.calm >= options.busy:
        raise ConfigError(
            f"--calm {options.calm:g} must be below --busy {options.busy:g}",
            hint="a gap avoids oscillation: --busy 0.8 --calm 0.4",
        )
    samples = max(1, round(options.patience / options.interval))
    return Thresholds(
        up_above=options.busy,
        down_below=options.calm,
        down_after_samples=samples,
        max_down_after_samples=samples * _MAX_BACKOFF,
        reverted_within_samples=samples * _REVERTED_WITHIN,
    )


def _open_clocks(options: Namespace, stack: ExitStack) -> list[VCpuClock]:
    if options.vcpus is None:
        return [stack.enter_context(clock) for clock in open_free_clocks(options)]
    return [stack.enter_context(open_clock(vcpu, options)) for vcpu in options.vcpus]


def _follow_all(followers: Mapping[int, LoadFollower], options: Namespace) -> None:
    before = read_times(options.stat)
    while True:
        time.sleep(options.interval)
        after = read_times(options.stat)
        for vcpu, load in loads_between(before, after).items():
            if vcpu in followers:
                followers[vcpu].follow(load)
        before = after
