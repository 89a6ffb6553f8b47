"""What the command `auto` does: keeps vCPUs' clocks in step with their load."""

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
from orchestrator.guest.asks import word_of
from orchestrator.guest.load import loads_between, read_times
from orchestrator.guest.pace import Decision, Pace, Stride, decide
from orchestrator.guest.ports import open_clock, open_free_clocks
from orchestrator.guest.report import warn

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Mapping
    from typing import Callable

    from orchestrator.guest.clock import VCpuClock
    from orchestrator.guest.report import Reporter

    Tell = Callable[[int, float, Unit], None]

_MOST_PATIENCE = 32
"""Steps that are taken back make the patience so much longer at most."""
_REGRET = 4
"""How soon a vCPU must be busy again, in patiences, for a step to have been wrong."""


class Follower:
    """Follows the load of one vCPU with its clock.

    Synchronization: one thread.
    """

    def __init__(self, clock: VCpuClock, pace: Pace, tell: Tell) -> None:
        self._clock = clock
        self._pace = pace
        self._tell = tell
        self._stride: Stride | None = None
        """None: it is not known to be ours, and at the highest step."""
        self._trouble = ""

    def follow(self, load: float) -> None:
        """Ask for what a sample of the load asks for, if anything.

        Raises:
            PortAbsent: the port was unplugged.
        """
        if not self._clock.has_host():
            self._stride = None
            self._note("the host is gone; waiting for it")
            return
        if self._stride is None:
            decision = Decision(Stride(), Unit.SCALE_MAX)
        else:
            decision = decide(load, self._stride, self._pace)
        if decision.unit is not None and not self._change(decision.unit, load):
            return  # the next sample asks again
        self._stride = decision.stride

    def _change(self, unit: Unit, load: float) -> bool:
        try:
            self._clock.change(unit)
        except (AnswerMissing, HostAbsent, RequestRefused) as error:
            self._note(str(error), error.hint)
            return False
        self._tell(self._clock.vcpu, load, unit)
        self._trouble = ""
        return True

    def _note(self, trouble: str, hint: str = "") -> None:
        """Say what is wrong, once as long as it is."""
        if trouble != self._trouble:
            warn(f"vCPU {self._clock.vcpu}: {trouble}", hint)
        self._trouble = trouble


def auto(options: Namespace, reporter: Reporter) -> None:
    """Keep the clocks in step with the load, for ever."""
    pace = pace_from(options)

    def tell(vcpu: int, load: float, unit: Unit) -> None:
        if options.verbose:
            text = f"vCPU {vcpu}: load {load:.0%}, {word_of(unit)}"
            reporter.tell(text, vcpu=vcpu, load=round(load, 3), asked=word_of(unit))

    with ExitStack() as stack:
        followers = {}
        for clock in _open_clocks(options, stack):
            followers[clock.vcpu] = Follower(clock, pace, tell)
        text = f"following the load of vCPU {','.join(map(str, followers))}"
        reporter.tell(text, vcpus=list(followers))
        _follow_all(followers, options)


def pace_from(options: Namespace) -> Pace:
    """Build what decisions go by.

    Raises:
        ConfigError: the loads leave no gap.
    """
    if options.calm >= options.busy:
        raise ConfigError(
            f"--calm {options.calm:g} is not below --busy {options.busy:g}",
            hint="leave a gap, or the clock swings: --busy 0.8 --calm 0.4",
        )
    samples = max(1, round(options.patience / options.interval))
    return Pace(
        busy_load=options.busy,
        calm_load=options.calm,
        calm_samples=samples,
        most_calm_samples=samples * _MOST_PATIENCE,
        regret_samples=samples * _REGRET,
    )


def _open_clocks(options: Namespace, stack: ExitStack) -> list[VCpuClock]:
    if options.vcpus is None:
        return [stack.enter_context(clock) for clock in open_free_clocks(options)]
    return [stack.enter_context(open_clock(vcpu, options)) for vcpu in options.vcpus]


def _follow_all(followers: Mapping[int, Follower], options: Namespace) -> None:
    before = read_times(options.stat)
    while True:
        time.sleep(options.interval)
        after = read_times(options.stat)
        for vcpu, load in loads_between(before, after).items():
            if vcpu in followers:
                followers[vcpu].follow(load)
        before = after
