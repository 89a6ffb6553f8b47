# SPDX-License-Identifier: Apache-2.0
"""What became of the settings that a previous run has left."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Key = TypeVar("Key", int, str)
"""The number of a clock group, or the path of an attribute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay(Generic[Key]):
    """Result of replaying a journal."""

    restored: tuple[Key, ...] = ()
    """Those whose originals are all restored."""
    left: tuple[Key, ...] = ()
    """Those that are as another program has set them since, or gone; they stay."""
    kept: Mapping[Key, str] = field(default_factory=dict)
    """Those that stay journalled, with what the kernel refused: usually their CPUs are
    offline. Replay again when that has changed."""
    refused: Mapping[Key, str] = field(default_factory=dict)
    """Those whose original the kernel refuses whenever it is written, with its answer;
    they stay as they are, and are forgotten."""
    set_aside: Path | None = None
    """New path of a journal that could not be used."""
    reason: str = ""
    """Why it was set aside, for people."""

    @property
    def is_empty(self) -> bool:
        """Whether there was nothing to restore, and no journal that could not be."""
        keys = (self.restored, self.left, self.kept, self.refused)
        return not any(keys) and self.set_aside is None
