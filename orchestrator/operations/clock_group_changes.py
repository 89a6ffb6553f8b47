# SPDX-License-Identifier: Apache-2.0
"""What an operator changes of one clock group, and whether it takes effect."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from orchestrator import events
from orchestrator.controller.group_lifecycle import HELD, GroupStage
from orchestrator.errors import ControlError
from orchestrator.values.domain_settings import Mode

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.controller.inventory import Inventory
    from orchestrator.controller.records import GroupRecord
    from orchestrator.events import Event
    from orchestrator.monitor.client.client import Monitor
    from orchestrator.values.domain import PCpu

SET_TIMEOUT_S = 2.0
"""Taking a group takes some 25 ms at most; after this time the kernel refuses."""
POLL_INTERVAL_S = 0.005
_OURS = HELD - {GroupStage.PREPARED, GroupStage.DRIFTED}
"""Stages in which a clock group has the settings of vmpowerd."""


class ClockGroupChanges:
    """Overrides, releases and retakes clock groups, and waits until it is done.

    Synchronization: the asyncio thread only.
    """

    def __init__(
        self, inventory: Inventory, monitor: Monitor, react: Callable[[Event], None]
    ) -> None:
        self._inventory = inventory
        self._monitor = monitor
        self._react = react

    def find(self, pcpu: PCpu) -> GroupRecord:
        """Return the clock group of a CPU, whose frequency can be set.

        Raises:
            ControlError: 404 unknown CPU; 409 it cannot be set now.
        """
        topology = self._inventory.topology
        group = topology.group_of(pcpu)
        if group is None:
            reason = topology.unmanaged.get(pcpu)
            if reason is None:
                raise ControlError(f"no such CPU: {pcpu}", status=404)
            raise ControlError(f"CPU {pcpu} cannot be set: {reason}", status=409)
        if self._inventory.config.mode is Mode.OBSERVE:
            raise ControlError(
                f"CPU {pcpu} cannot be set: the daemon is in observe mode",
                status=409,
                hint="set mode = 'enforce' in its configuration",
            )
        return self._inventory.groups[group.number]

    async def override(
        self, pcpu: PCpu, record: GroupRecord, khz: int, by: str
    ) -> None:
        """Set the frequency of a CPU's clock group until it is released.

        Raises:
            ControlError: 409 it does not take effect.
        """
        target = self._inventory.group_window(record.group.number).fit(khz)
        before_khz = record.override_khz
        if record.stage is GroupStage.DRIFTED:
            self._react(events.GroupRetaken(record.group.number, by))
        self._react(events.OverrideSet(record.group.number, target, by))
        if not await self._takes_effect(record, target):
            why = record.reason or "the kernel did not accept the frequency"
            if record.override_khz == target:  # it was not changed meanwhile
                self._undo_override(record, before_khz, by)
            raise ControlError(f"CPU {pcpu} cannot be set: {why}", status=409)

    def _undo_override(
        self, record: GroupRecord, before_khz: int | None, by: str
    ) -> None:
        """Undo an override that failed: it must not take effect later."""
        number = record.group.number
        self._react(
            events.OverrideReleased(number, by)
            if before_khz is None
            else events.OverrideSet(number, before_khz, by)
        )

    async def release(self, record: GroupRecord, by: str) -> None:
        """Release an overridden clock group to its votes.

        Without votes, its original settings are restored before this returns.
        """
        self._react(events.OverrideReleased(record.group.number, by))
        await self._wait_until_restored(record)

    async def _wait_until_restored(self, record: GroupRecord) -> None:
        """Wait until a group has its original settings, unless votes keep it."""
        deadline = time.monotonic() + SET_TIMEOUT_S
        while (
            record.stage in _OURS
            and not self._has_votes(record.group.number)
            and time.monotonic() < deadline
        ):
            await asyncio.sleep(POLL_INTERVAL_S)

    def _has_votes(self, number: int) -> bool:
        requested_khz = self._monitor.snapshot().requested_khz
        return any(
            requested_khz.get((domain.spec.uuid, int(vcpu))) is not None
            for domain in self._inventory.pinned_into(number)
            if domain.is_enforced()
            for vcpu, placement in domain.placements.items()
            if number in placement.groups or number in domain.following()
        )

    async def retake(self, pcpu: PCpu, record: GroupRecord, by: str) -> None:
        """Take the clock group of a CPU back from another program; else do nothing.

        Raises:
            ControlError: 409 the kernel refuses it.
        """
        if record.stage is not GroupStage.DRIFTED:
            return
        self._react(events.GroupRetaken(record.group.number, by))
        if not await self._is_reached(record, lambda: True):
            why = record.reason or "the kernel did not accept the governor"
            raise ControlError(f"CPU {pcpu} not retaken: {why}", status=409)

    async def _takes_effect(self, record: GroupRecord, khz: int) -> bool:
        number = record.group.number
        return await self._is_reached(
            record, lambda: self._monitor.grant_of(number).khz == khz
        )

    async def _is_reached(
        self, record: GroupRecord, is_reached: Callable[[], bool]
    ) -> bool:
        """Wait until a group is taken, and a condition is true."""
        deadline = time.monotonic() + SET_TIMEOUT_S
        while time.monotonic() < deadline:
            if record.stage is GroupStage.FAILED:
                return False
            if record.stage is GroupStage.TAKEN and is_reached():
                return True
            await asyncio.sleep(POLL_INTERVAL_S)
        return False
