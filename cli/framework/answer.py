"""What a command has got from the daemon, and how it is shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from orchestrator.control.client import ControlClient

if TYPE_CHECKING:
    from cli.output.tables.sheet import Sheet


@dataclass(frozen=True, slots=True)
class Answer:
    """What the daemon said, and how it is shown."""

    document: Mapping[str, object]
    build: Callable[[], tuple[Sheet, ...]]


Ask: TypeAlias = Callable[[ControlClient], Answer]
