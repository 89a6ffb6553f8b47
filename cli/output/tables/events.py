"""One event as one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.output.tables.words import moment
from orchestrator.values.safe_text import printable

if TYPE_CHECKING:
    from datetime import tzinfo

    from orchestrator.control.documents import EventRecord

_KIND_WIDTH = 14


def render_event(event: EventRecord, zone: tzinfo | None) -> str:
    """Write when, what kind, who and what; never more than one line."""
    when = moment(event["time"], zone)
    about = f"{event['domain']}: " if event["domain"] else ""
    words = printable(f"{event['kind']:<{_KIND_WIDTH}} {about}{event['text']}")
    return f"{when}  {words}"
