# SPDX-License-Identifier: Apache-2.0
"""What clients of the API request of the history."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from orchestrator.errors import ControlError, StateError
from orchestrator.history.ranges import Range
from orchestrator.reporting.history import check_rows, render_history
from orchestrator.values.domain import DomainId

if TYPE_CHECKING:
    from orchestrator.control import models
    from orchestrator.control.service import HistorySelection
    from orchestrator.controller.inventory import Inventory
    from orchestrator.history.ranges import Found
    from orchestrator.performer.history_keeper import HistoryKeeper

_EVER_S = 1e12


class HistoryReader:
    """Reads the history by the domain and the time that a client requests.

    Synchronization: the asyncio thread only.
    """

    def __init__(self, inventory: Inventory, history: HistoryKeeper) -> None:
        self._inventory = inventory
        self._history = history

    async def read(self, selection: HistorySelection) -> models.History:
        """Return what domains did in a time.

        Raises:
            ControlError: 400 the answer would be too long; 404 no such domain; 409 no
                history is kept, or it cannot be read.
        """
        wanted = Range(
            selection.since.timestamp(),
            selection.until.timestamp(),
            selection.step_s,
            is_per_domain=selection.is_per_domain or bool(selection.domain),
        )
        if selection.domain:
            whole = await self._find(wanted._replace(step_s=_EVER_S))
            uuids = self._uuids(selection.domain, whole)
            wanted = wanted._replace(uuids=frozenset(uuids))
        found = await self._find(wanted)
        check_rows(len(found.domains))
        # In a thread: thousands of rows take a second.
        return await asyncio.to_thread(
            render_history,
            found,
            self._inventory.config.energy,
            since=selection.since,
            until=selection.until,
            step_s=selection.step_s,
            problem=self._history.problem,
        )

    async def _find(self, wanted: Range) -> Found:
        try:
            found = await self._history.read(wanted)
        except StateError as error:
            raise ControlError(str(error), status=409) from error
        if found is None:
            raise ControlError(
                "no history is kept",
                status=409,
                hint="set enabled = true in [history] of its configuration",
            )
        return found

    def _uuids(self, domain: str, found: Found) -> set[str]:
        """Return the UUIDs of a domain, or of those that had its name."""
        specs = [record.spec for record in self._inventory.domains.values()]
        uuids = {spec.uuid for spec in specs if str(spec.run) == domain}
        known = {spec.uuid: spec.name for spec in specs}
        known |= {DomainId(part.uuid): part.name for part in found.domains}
        uuids = uuids or {uuid for uuid in known if uuid == domain.lower()}
        uuids = uuids or {uuid for uuid, name in known.items() if name == domain}
        if not uuids:
            raise ControlError(f"no such domain: '{domain[:80]}'", status=404)
        return set(uuids)
