# SPDX-License-Identifier: Apache-2.0
"""What the daemon recorded before the dashboard was started."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cli.top.history import MAX_SAMPLES, History
from orchestrator.errors import ControlError

if TYPE_CHECKING:
    from orchestrator.control.client import ControlClient

_MINUTE_S = 60
_LONGEST = timedelta(hours=6)


def read_recorded(client: ControlClient, delay_s: float) -> History:
    """Return time series that begin with what the daemon recorded, if it did.

    Args:
        client: of the daemon.
        delay_s: between two samples of the dashboard.
    """
    history, now = History(), datetime.now(UTC)
    length = min(_LONGEST, timedelta(seconds=MAX_SAMPLES * delay_s))
    try:
        past = client.history(since=(now - length).isoformat(), step=_MINUTE_S)
    except ControlError:  # no history is kept, or the daemon is an older one
        return history
    history.begin(past, now, delay_s)
    return history
