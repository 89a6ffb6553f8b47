# SPDX-License-Identifier: Apache-2.0
"""The poweragent channels of domains."""

from __future__ import annotations

from typing import Annotated

from pydantic import AwareDatetime, Field

from orchestrator.channel.lifecycle import ChannelState
from orchestrator.control.models.document import Count, Document

__all__ = ["Channel", "ChannelList", "DomainChannel", "EnabledRequest"]


class Channel(Document):
    """One poweragent channel of a domain.

    The totals start at zero when the daemon starts and when the domain is shut off;
    while the domain runs they only grow.
    """

    number: int
    """N of virtio.serial.port.poweragent.N."""
    target: str
    """Name of the channel in the guest."""
    path: str | None
    """Path of its socket on the host; null until libvirt has chosen one."""
    state: ChannelState
    """State of the connection."""
    requests_total: Count
    """Requests, policies and queries received."""
    acks_total: Count
    """Of these, answered ACK."""
    nacks_total: Count
    """Of these, answered NACK."""
    dropped_total: Count
    """Answers not sent because the guest does not read."""
    late_total: Count
    """Answers not sent because the guest had stopped waiting."""
    errors_total: Count
    """Pieces of input that were not a valid packet."""
    enabled: bool = True
    """Whether the operator has the channel enabled."""
    unanswered_total: Count = 0
    """Requests from a guest too old to read answers."""
    nack_reasons: dict[str, Count] = Field(default_factory=dict)
    """Number of requests answered NACK, by reason: `physical`, `no-vcpu`, `floating`,
    ..."""
    nack_causes: dict[str, str] = Field(default_factory=dict)
    """Explanation of a reason's most recent NACK, by reason; left out once the cause
    has ended, as when the channel is enabled again."""
    throttled_total: Count = 0
    """How often its guest was not read for a while, having exceeded the budget."""
    budget: int | None = None
    """Requests per second that its guest may send; null: unlimited."""
    nack_last: dict[str, AwareDatetime] = Field(default_factory=dict)
    """When a request was answered NACK for a reason the last time, by reason."""
    generation: int | None = None
    """Packet size of its guest in bytes: 464 for DPDK 18.11 and newer, 456 for 17.11,
    16 before, 460 for 32-bit guests; null until the guest has sent a packet."""
    generation_given: bool = False
    """Whether an operator set the generation; false if it was detected."""
    reason: str | None = None
    """Why it is not open; null while it is."""


class DomainChannel(Channel):
    """A channel and the domain that it belongs to."""

    domain: str
    """Name of the domain."""
    uuid: str
    """UUID of the domain."""


class ChannelList(Document):
    """All channels of all domains."""

    channels: tuple[DomainChannel, ...]
    """In the order of the domains' names, then of their numbers."""


class EnabledRequest(Document):
    """Whether a channel is to be enabled."""

    enabled: Annotated[bool, Field(strict=True)]
    """True: requests are served; false: the channel's votes are dropped and its
    requests are answered NACK."""
