# SPDX-License-Identifier: Apache-2.0
"""The kinds of events, which the log, the event stream and `vmpower events` have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

EventKind: TypeAlias = Literal[
    "channel-state",
    "configuration",
    "cpus",
    "domain-changed",
    "drift",
    "energy",
    "grant",
    "group",
    "instruction",
    "libvirt",
    "missed",
    "monitor",
    "onboarding",
    "operator",
    "policy",
    "refusal",
    "right",
]
"""The kind of an event."""

GRANT: Final = "grant"
"""Kind of the events that report frequency changes, which are frequent."""

MISSED: Final = "missed"
"""Kind of the event that a reader gets in place of those that it missed."""

EVENT_KINDS: Final[Mapping[EventKind, str]] = {
    "channel-state": "A channel was opened, closed, disabled or refused.",
    "configuration": "The configuration was reloaded, and what it changed.",
    "cpus": "CPUs that are not managed, and why.",
    "domain-changed": "A domain changed its state, was renamed or rebooted.",
    "drift": "Another program changed a taken clock group; it was left or retaken.",
    "energy": "The energy meters count what cannot be, or count again.",
    "grant": "A clock group got another frequency; only while a client follows them.",
    "group": "A clock group was taken or restored, or the kernel refused it.",
    "instruction": "A message for DPDK's vm_power_manager, and its outcome.",
    "libvirt": "The connection to libvirt was made, lost or awaited.",
    "missed": "Events that this reader did not get.",
    "monitor": "The monitor process ended and was restarted.",
    "onboarding": "Channels were attached or detached, or could not be.",
    "operator": "An operator set or released CPUs, or switched a channel.",
    "policy": "A policy is in force, was refused or ended.",
    "refusal": "Requests of a guest were refused, and why.",
    "right": "A limit or another setting of a domain changed, and its source.",
}
"""What each kind reports."""
