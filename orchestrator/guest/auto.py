# SPDX-License-Identifier: Apache-2.0
"""`vmpower-guest auto`: requests frequencies that follow the load of vCPUs."""

from __future__ import annotations

import time
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from orchestrator.channel.protocol import Unit
from orchestrator.errors import (
    AnswerMissing,
    ConfigError,
    HostAbsent,
    RequestRefused,
)
from orchestrator.guest.calls import name_of
from orchestrator.guest.load import CpuTimes, loads_between, read_times
from orchestrator.guest.ports import open_clock, open_free_clocks
from orchestrator.guest.report import warn
from orchestrator.guest.stepping import (
    POLLING,
    POLLING_INTERVAL_S,
    Decision,
    StepState,
    Thresholds,
    decide,
)
from orchestrator.guest.telemetry import DpdkTelemetry

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Callable

    from orchestrator.guest.clock import VCpuClock
    from orchestrator.guest.report import Reporter

    Report = Callable[[int, float, Unit], None]
    ReadTimes = Callable[[], "dict[int, CpuTimes]"]

_MAX_BACKOFF = 32
"""Reverted steps make the delay before the next one this many times longer at most."""
_REVERTED_WITHIN = 4
"""A step is reverted if the load is high within this many delays."""
_INTERVAL_S = 0.2
_PATIENCE_S = 1.0
_CLIMB_SHARE = POLLING.climb_above / POLLING.up_above
"""Of the load at which polling vCPUs get the highest step; from there on they get one
step more."""


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


def interval_of(options: Namespace) -> float:
    """Return the seconds between samples."""
    default_s = POLLING_INTERVAL_S if options.dpdk else _INTERVAL_S
    return float(options.interval or default_s)


def thresholds_of(options: Namespace) -> Thresholds:
    """Read the thresholds from the options; polling applications have other defaults.

    Raises:
        ConfigError: there is no gap between the thresholds.
    """
    default = POLLING if options.dpdk else Thresholds()
    busy = default.up_above if options.busy is None else options.busy
    calm = default.down_below if options.calm is None else options.calm
    climb = busy * _CLIMB_SHARE if options.dpdk else default.climb_above
    if calm >= min(busy, climb):
        limit = f"five sevenths of --busy, {climb:g}" if options.dpdk else ""
        raise ConfigError(
            f"--calm {calm:g} must be below {limit or f'--busy {busy:g}'}",
            hint="a gap avoids oscillation: --busy 0.8 --calm 0.4",
        )
    interval_s = interval_of(options)
    default_s = POLLING.down_after_samples * POLLING_INTERVAL_S
    patience_s = options.patience or (default_s if options.dpdk else _PATIENCE_S)
    samples = max(1, round(patience_s / interval_s))
    return Thresholds(
        up_above=busy,
        down_below=calm,
        climb_above=climb,
        down_after_samples=samples,
        max_down_after_samples=samples * _MAX_BACKOFF,
        reverted_within_samples=samples * _REVERTED_WITHIN,
        lower_by_step=default.lower_by_step,
    )


def _open_clocks(options: Namespace, stack: ExitStack) -> list[VCpuClock]:
    if options.vcpus is None:
        return [stack.enter_context(clock) for clock in open_free_clocks(options)]
    return [stack.enter_context(open_clock(vcpu, options)) for vcpu in options.vcpus]


def _follow_all(followers: Mapping[int, LoadFollower], options: Namespace) -> None:
    source = _DpdkLoads(options.dpdk) if options.dpdk else _KernelLoads(options.stat)
    source.sample()
    interval_s = interval_of(options)
    while True:
        time.sleep(interval_s)
        loads = source.sample()
        for vcpu, follower in followers.items():
            load = source.unknown if loads is None else loads.get(vcpu)
            if load is not None:
                follower.follow(load)


class _KernelLoads:
    """Loads since the last sample, as the guest's kernel counts them.

    Synchronization: one thread.
    """

    unknown: float | None = None
    """The load of a vCPU while nothing can be read; None: it keeps its frequency."""

    def __init__(self, path: Path) -> None:
        self._read: ReadTimes = partial(read_times, path)
        self._before: dict[int, CpuTimes] = {}

    def sample(self) -> dict[int, float] | None:
        """Return the load of each vCPU; None: nothing can be read now.

        Raises:
            ConfigError: nothing can ever be read.
        """
        after = self._read()
        loads, self._before = loads_between(self._before, after), after
        return loads


class _DpdkLoads(_KernelLoads):
    """Loads as a DPDK application counts them, which may end and start again.

    Synchronization: one thread.
    """

    unknown: float | None = 1.0

    def __init__(self, path: Path) -> None:
        self._read = DpdkTelemetry(path).read_times
        self._before = {}
        self._problem: str | None = None
        """Why nothing could be read; empty: it could; None: not tried yet."""

    def sample(self) -> dict[int, float] | None:
        """Return the load of each vCPU; the first sample must be readable."""
        try:
            loads = super().sample()
        except ConfigError as error:
            if self._problem is None:
                raise
            if self._problem != str(error):
                warn(str(error), error.hint)
            self._problem, self._before = str(error), {}
            return None
        self._problem = ""
        return loads
