"""The show: two guests with changing traffic, watched until they are done."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from examples.demo.consoles import DONE, Console, parse_report
from examples.demo.guests import build_forwarder_image, forwarder_plans
from examples.demo.recording import Recording
from examples.guests.cache import GuestError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from examples.demo.guests import GuestPlan
    from examples.demo.stage import Stage

_LOOK_EVERY_S = 0.125
_EVENTS_EVERY_S = 0.5
_SLACK_S = 25.0
"""For booting, two seconds of work for an idle machine; then the show ends, done or
not, so that half a minute of traffic never takes more than one."""
_SHORTEST_S = 55.0
"""A short show waits as long for its guests as one of half a minute."""
_INIT_ENDED = "init: work ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How the show went."""

    recording: Recording
    boot_to_end_s: float
    """From the first guest's start until the clocks were back."""
    restored_in_s: float
    """How long the daemon took to stop and give everything back."""
    compared_files: int
    changed_files: tuple[str, ...]
    """What is not as it was; empty: everything was restored."""
    surprises: tuple[str, ...]
    """What the daemon warned of."""
    is_interrupted: bool
    is_cut: bool
    """Whether the machine was so slow that the guests were ended early."""

    def problems(self) -> list[str]:
        """Say what went wrong, one sentence each; empty: all went well."""
        found = []
        if not self.is_interrupted:
            found += [
                f"{lane.name} was never answered"
                for lane in self.recording.lanes.values()
                if lane.latest is None or not lane.latest.acks
            ]
        if self.changed_files:
            found.append("not everything was restored")
        return found


class Performance:
    """One run, from the first boot to the last comparison.

    Synchronization: the asyncio thread.
    """

    def __init__(self, stage: Stage, seconds: int, steps_of: int = 0) -> None:
        steps = stage.groups[steps_of].steps
        image = build_forwarder_image()
        self._stage = stage
        self._plans = forwarder_plans(image, seconds=seconds, steps=steps)
        names = [plan.name for plan in self._plans]
        self.recording = Recording(stage.scene(names, seconds))
        self._consoles = {
            plan.name: Console(stage.guests.console_path(plan)) for plan in self._plans
        }
        self._lasts_s = max(_SHORTEST_S, seconds + _SLACK_S)
        self._events_due_s = 0.0

    async def run(
        self, interrupted: asyncio.Event, show: Callable[[Recording], None]
    ) -> Outcome:
        """Run it; `show` is called whenever something may have changed.

        Raises:
            VmpowerError: the daemon failed.
            GuestError: a guest did.
        """
        stage = self._stage
        await stage.start_daemon()
        began_s = time.monotonic()
        await self._watch(interrupted, show, began_s + self._lasts_s)
        restored_in_s = await stage.stop_daemon()
        return Outcome(
            recording=self.recording,
            boot_to_end_s=time.monotonic() - began_s,
            restored_in_s=restored_in_s,
            compared_files=stage.compared_files,
            changed_files=stage.changed_files(),
            surprises=tuple(stage.log.surprises),
            is_interrupted=interrupted.is_set(),
            is_cut=not self._is_done(),
        )

    async def _watch(
        self,
        interrupted: asyncio.Event,
        show: Callable[[Recording], None],
        ends_s: float,
    ) -> None:
        booting = asyncio.create_task(self._boot(self._plans))
        try:
            while not (self._is_over(ends_s) or interrupted.is_set()):
                await self._look()
                show(self.recording)
                if booting.done():
                    booting.result()
                await _pause(interrupted, _LOOK_EVERY_S)
        finally:
            await asyncio.wait([booting])
        booting.result()
        await self._look()
        show(self.recording)

    async def _boot(self, plans: Sequence[GuestPlan]) -> None:
        for plan in plans:
            await self._stage.start_guest(plan)

    async def _look(self) -> None:
        status = await self._stage.look()
        now_s = time.monotonic()
        self.recording.add_status(now_s, status)
        if now_s >= self._events_due_s:
            self._events_due_s = now_s + _EVENTS_EVERY_S
            self.recording.add_events(await self._stage.events())
        for name, console in self._consoles.items():
            reports = map(parse_report, console.read_lines())
            self.recording.add_reports(name, (r for r in reports if r is not None))
            if console.has(_INIT_ENDED):
                raise GuestError(f"{name} ended too early:\n{console.tail()}")

    def _is_over(self, ends_s: float) -> bool:
        if self._is_done():
            return True
        if time.monotonic() < ends_s:
            return False
        if not any(lane.latest for lane in self.recording.lanes.values()):
            raise GuestError(f"the guests do not come up:\n{self._tails()}")
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
