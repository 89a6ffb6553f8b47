"""The daemon's status document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.control import documents


@dataclass(frozen=True, slots=True)
class Status:
    """All that a daemon that runs says."""

    document: documents.Status
