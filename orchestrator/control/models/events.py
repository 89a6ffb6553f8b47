# SPDX-License-Identifier: Apache-2.0
"""The event stream."""

from __future__ import annotations

from typing import Annotated

from pydantic import AwareDatetime, Field

from orchestrator.control.models.document import Count, Document

__all__ = ["EventRecord"]

Fact = Annotated[str | int | bool | None, Field(union_mode="left_to_right")]
"""One value that belongs to an event."""


class EventRecord(Document):
    """Something that happened."""

    id: Count = 0
    """Grows with each event, also over restarts of the daemon and of the host; IDs are
    not consecutive. A reader that passes it as `after` continues behind this event."""
    time: AwareDatetime
    """When it was recorded: ISO 8601, with a time zone."""
    kind: str
    """What it concerns: `channel-state`, `configuration`, `cpus`, `domain-changed`,
    `drift`, `grant`, `group`, `instruction`, `libvirt`, `missed`, `monitor`,
    `onboarding`, `operator`, `policy`, `refusal` or `right`; more may be added."""
    domain: str | None
    """Name of the domain concerned; null if it concerns none."""
    text: str
    """One line of text."""
    facts: dict[str, Fact] = Field(default_factory=dict)
    """Values from the text, for programs; which ones depends on the kind: `number` of a
    channel, `state`, `reason`, `group`, `khz`, `errno`, `source`, `events`."""
