# SPDX-License-Identifier: Apache-2.0
"""Turns reports of the monitor into events, as far as they can be true.

A monitor may run another's code. A report that no working one sends is an error, which
ends the process; reports that are too many are ignored.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from orchestrator import events
from orchestrator.channel.protocol import GENERATIONS
from orchestrator.errors import HandoffError
from orchestrator.monitor.client.report_limit import ReportLimit
from orchestrator.monitor.link import reports
from orchestrator.values.domain import DomainId

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

    from orchestrator.monitor.client.records import Records
    from orchestrator.monitor.link.messages import Message

_MAX_REASON = 100
"""Characters of a reason that are logged."""


class Reports:
    """Checks reports and posts them.

    Synchronization: main's thread.
    """

    def __init__(
        self,
        records: Records,
        adoptions: MutableMapping[tuple[DomainId, int], int],
        post: Callable[[events.Event], None],
    ) -> None:
        """Post nothing yet.

        Args:
            records: knows the clock groups.
            adoptions: the number of each channel's open endpoint; that of a closed one
                is removed.
            post: receives events.
        """
        self._records = records
        self._adoptions = adoptions
        self._post = post
        # A working monitor sends 20 policies of a channel per second.
        self._of_channels = ReportLimit(burst=100, per_s=25)
        self._refused_writes = ReportLimit(burst=10, per_s=1)

    def post(self, report: Message) -> None:
        """Post what a report says, unless it is outdated or one of too many.

        Raises:
            HandoffError: no working monitor sends this.
        """
        match report:
            case reports.TakeWanted() | reports.GroupYielded() | reports.WriteRefused():
                if not self._records.is_group(report.group):
                    raise HandoffError(f"unknown clock group: {report!r}")
                self._post_of_group(report)
            case (
                reports.ChannelAbused()
                | reports.EndpointClosed()
                | reports.PolicySent()
                | reports.PolicyRemoved()
                | reports.RequestRefused()
            ):
                # It may be from an earlier endpoint of the same channel.
                key = (DomainId(report.uuid), report.number)
                if self._adoptions.get(key) == report.adoption:
                    self._post_of_channel(key, report)
            case _:
                raise HandoffError(f"unexpected message: {type(report).__name__}")

    def _post_of_group(
        self, report: reports.TakeWanted | reports.GroupYielded | reports.WriteRefused
    ) -> None:
        match report:
            case reports.TakeWanted(group):
                self._post(events.TakeWanted(group))
            case reports.GroupYielded(group):
                self._post(events.GroupYielded(group))
            case reports.WriteRefused(group, errno):
                if self._refused_writes.admit(group, time.monotonic()):
                    self._post(events.WriteRefused(group, errno))

    def _post_of_channel(
        self, key: tuple[DomainId, int], report: reports.ChannelReport
    ) -> None:
        if isinstance(report, reports.EndpointClosed):
            del self._adoptions[key]
            self._post(events.EndpointClosed(*key, report.reason[:_MAX_REASON]))
            return
        if not self._of_channels.admit(key, time.monotonic()):
            return
        match report:
            case reports.ChannelAbused(_, _, _, is_garbage):
                self._post(events.ChannelAbused(*key, is_garbage))
            case reports.PolicySent(_, _, _, ticket, generation, text):
                packet = _read_packet(text, generation)
                self._post(events.PolicySent(*key, ticket, generation, packet))
            case reports.PolicyRemoved():
                self._post(events.PolicyRemoved(*key))
            case reports.RequestRefused(_, _, _, reason, vcpu, unit):
                self._post(events.RequestRefused(*key, reason, vcpu, unit))


def _read_packet(text: str, generation: int) -> bytes:
    """Return a guest's packet.

    Raises:
        HandoffError: it cannot be one of that generation.
    """
    if generation not in GENERATIONS or len(text) != generation:
        raise HandoffError(f"{len(text)} bytes are no packet of {generation}")
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        raise HandoffError("the characters of a packet are not bytes") from None
