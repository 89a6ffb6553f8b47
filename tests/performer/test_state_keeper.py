# SPDX-License-Identifier: Apache-2.0
"""When the state file is written."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from orchestrator.config import Config
from orchestrator.controller.inventory import Inventory
from orchestrator.controller.records import ChannelRecord, DomainRecord
from orchestrator.performer.state_keeper import StateKeeper
from orchestrator.power.simulated import lay_out
from orchestrator.power.sysfs import CpuTree
from orchestrator.power.topology import Topology
from orchestrator.saved.store import STATE_NAME, StateStore
from tests.controller.specs import domain

if TYPE_CHECKING:
    from pathlib import Path

NO_CPUS = Topology(groups=(), unmanaged={}, online=frozenset())
SPEC = domain()


class NoPolicies:
    """Counts how often the policies in effect are read."""

    def __init__(self) -> None:
        self.reads = 0

    def statuses(self) -> tuple[()]:
        self.reads += 1
        return ()


def test_updates_at_once_are_one_and_are_on_disk_after_the_flush(
    tmp_path: Path,
) -> None:
    policies = NoPolicies()
    lay_out(tmp_path / "tree", cpus=1)
    store = StateStore(tmp_path / STATE_NAME, CpuTree(tmp_path / "tree"))
    inventory = Inventory(Config(), NO_CPUS)
    record = inventory.domains[SPEC.uuid] = DomainRecord(SPEC)

    async def disable_channels() -> None:
        keeper = StateKeeper(
            inventory=inventory,
            policy_runner=policies,  # type: ignore[arg-type]
            monitor=None,  # type: ignore[arg-type]
            store=store,
        )
        for spec in SPEC.channels:
            channel = ChannelRecord(spec, disabled_by="root")
            record.channels[spec.number] = channel
            keeper.update()
        await keeper.flush()

    asyncio.run(disable_channels())
    assert policies.reads == 1
    assert dict(store.load().domains[SPEC.uuid].disabled) == {0: "root", 1: "root"}
