# SPDX-License-Identifier: Apache-2.0
"""The daemon and its connection to libvirt."""

from __future__ import annotations

from pydantic import AwareDatetime

from orchestrator.control.models.document import Count, Document
from orchestrator.values.domain_settings import Mode

__all__ = ["DaemonStatus", "LibvirtStatus"]


class DaemonStatus(Document):
    """The running daemon."""

    version: str
    """Version of vmpowerd."""
    pid: int
    """Process ID of the main process."""
    mode: Mode
    """Whether frequencies are set, or guests are only observed."""
    uptime_s: float
    """Seconds since the daemon started."""
    run_dir: str
    """Directory of the control sockets and the restore journal."""
    sysfs_root: str
    """Root of the CPU tree in use: /sys, or the directory of a simulation."""
    monitor_pid: int | None = None
    """Process ID of the monitor process, which answers the guests; null while it is
    being restarted."""
    monitor_restarts_total: Count = 0
    """Restarts of the monitor process since the daemon started."""
    problems: tuple[str, ...] = ()
    """Conditions that need an operator's attention, one sentence each."""


class LibvirtStatus(Document):
    """The connection to libvirt."""

    uri: str
    """Connection URI."""
    connected: bool
    """Whether the connection is open."""
    reconnects_total: Count
    """Reconnections since the daemon started."""
    stale_since: AwareDatetime | None
    """Time (ISO 8601) since which domains are shown as last known; null while
    connected."""
    reason: str | None = None
    """Why it is not connected; null while connected."""
