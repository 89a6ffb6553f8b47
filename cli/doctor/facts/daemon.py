"""The daemon: whether it answers, and what it says about itself and all else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.control.calls import READ_ONLY_SOCKET
from orchestrator.control.client import ControlClient
from orchestrator.errors import ControlError

if TYPE_CHECKING:
    from cli.doctor.places import Places
    from orchestrator.control.documents import Status

_PATIENCE_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """What came of asking it."""

    status: Status | None
    failure: str = ""
    """Why there is no status."""
    hint: str = ""


def read_daemon(places: Places) -> Daemon:
    """Ask the daemon for its status over the socket for everybody."""
    path = places.socket or places.run_dir / READ_ONLY_SOCKET
    try:
        with ControlClient(path, timeout_s=_PATIENCE_S) as client:
            return Daemon(status=client.status())
    except ControlError as error:
        return Daemon(status=None, failure=str(error), hint=error.hint)
