# SPDX-License-Identifier: Apache-2.0
"""Formats an event as one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.output.tables.cells import format_time
from orchestrator.values.safe_text import printable

if TYPE_CHECKING:
    from datetime import tzinfo

    from orchestrator.control.documents import EventRecord

_KIND_WIDTH = 14


def render_event(event: EventRecord, zone: tzinfo | None) -> str:
    """Format time, kind, domain and text of an event in one line."""
    when = format_time(event["time"], zone)
    about = f"{event['domain']}: " if event["domain"] else ""
    text = printable(f"{event['kind']:<{_KIND_WIDTH}} {about}{event['text']}")
    return f"{when}  {text}"
