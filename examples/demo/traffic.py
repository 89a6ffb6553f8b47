# SPDX-License-Identifier: Apache-2.0
"""Runs guests with a changing load until they are done, and watches them."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from examples.demo.consoles import DONE, Console, parse_load, parse_report
from examples.demo.recording import Recording
from examples.guests.cache import GuestError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from examples.demo.environment import DemoEnvironment
    from examples.demo.guests import GuestPlan

_POLL_S = 0.125
_EVENTS_POLL_S = 0.5
_BOOT_S = 180.0
"""Time for booting, which takes two seconds on an idle host and a minute on a very busy
one. Then the demo ends, done or not."""
_INIT_ENDED = "init: work ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficResult:
    """The result of the demo."""

    recording: Recording
    boot_to_end_s: float
    """From the start of the first guest until the CPUs were restored."""
    restored_in_s: float
    """How long the daemon took to stop and restore everything."""
    compared_files: int
    changed_files: tuple[str, ...]
    """Files that differ; empty: everything was restored."""
    warnings: tuple[str, ...]
    """Warnings and errors that the daemon logged."""
    is_interrupted: bool
    is_timed_out: bool
    """Whether the host was so slow that the guests were stopped early."""

    def problems(self) -> list[str]:
        """Return what failed, one sentence each; empty: success."""
        found = []
        if not self.is_interrupted:
            tracks = self.recording.tracks.values()
            if self.recording.setup.has_p_states:
                what = "has no frequency that it requested"
                failed = [it for it in tracks if it.requested_khz is None]
            else:
                what = "received no answer"
                failed = [it for it in tracks if not (it.latest and it.latest.acks)]
            found += [f"{track.name} {what}" for track in failed]
        if self.changed_files:
            found.append("not everything was restored")
        return found


class TrafficDemo:
    """One run, from booting the guests to comparing the CPUs.

    Synchronization: the asyncio thread.
    """

    def __init__(
        self, environment: DemoEnvironment, plans: Sequence[GuestPlan], seconds: int
    ) -> None:
        self._environment = environment
        self._plans = plans
        self.recording = Recording(environment.setup(plans, seconds))
        self._consoles = {
            plan.name: Console(environment.guests.console_path(plan))
            for plan in self._plans
        }
        self._timeout_s = seconds + _BOOT_S
        self._events_due_s = 0.0

    async def run(
        self, interrupted: asyncio.Event, show: Callable[[Recording], None]
    ) -> TrafficResult:
        """Run the demo; `show` is called after each sample.

        Raises:
            VmpowerError: the daemon failed.
            GuestError: a guest failed.
        """
        environment = self._environment
        await environment.start_daemon()
        began_s = time.monotonic()
        await self._watch(interrupted, show, began_s + self._timeout_s)
        restored_in_s = await environment.stop_daemon()
        return TrafficResult(
            recording=self.recording,
            boot_to_end_s=time.monotonic() - began_s,
            restored_in_s=restored_in_s,
            compared_files=environment.compared_files,
            changed_files=environment.changed_files(),
            warnings=tuple(environment.log.warnings),
            is_interrupted=interrupted.is_set(),
            is_timed_out=not self._is_done(),
        )

    async def _watch(
        self,
        interrupted: asyncio.Event,
        show: Callable[[Recording], None],
        deadline_s: float,
    ) -> None:
        booting = asyncio.create_task(self._boot(self._plans))
        try:
            while not (self._is_finished(deadline_s) or interrupted.is_set()):
                await self._sample()
                show(self.recording)
                if booting.done():
                    booting.result()
                await _pause(interrupted, _POLL_S)
        finally:
            await asyncio.wait([booting])
        booting.result()
        await self._sample()
        show(self.recording)

    async def _boot(self, plans: Sequence[GuestPlan]) -> None:
        for plan in plans:
            await self._environment.start_guest(plan)

    async def _sample(self) -> None:
        status = await self._environment.status()
        now_s = time.monotonic()
        self.recording.add_status(now_s, status)
        if now_s >= self._events_due_s:
            self._events_due_s = now_s + _EVENTS_POLL_S
            self.recording.add_events(await self._environment.events())
        for name, console in self._consoles.items():
            self._add_lines(name, console.read_lines())
            if console.has(_INIT_ENDED):
                raise GuestError(f"guest {name} exited too early:\n{console.tail()}")

    def _add_lines(self, guest: str, lines: list[str]) -> None:
        if self.recording.setup.has_p_states:
            loads = map(parse_load, lines)
            self.recording.add_loads(guest, (it for it in loads if it is not None))
        else:
            reports = map(parse_report, lines)
            self.recording.add_reports(guest, (it for it in reports if it is not None))

    def _is_finished(self, deadline_s: float) -> bool:
        if self._is_done():
            return True
        if time.monotonic() < deadline_s:
            return False
        tracks = self.recording.tracks.values()
        if not any(track.latest or track.load for track in tracks):
            raise GuestError(f"the guests did not start:\n{self._tails()}")
        return True

    def _is_done(self) -> bool:
        return all(console.has(DONE) for console in self._consoles.values())

    def _tails(self) -> str:
        return "\n".join(f"{n}:\n{c.tail()}" for n, c in self._consoles.items())


async def _pause(interrupted: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(interrupted.wait(), seconds)
    except TimeoutError:
        return
