# SPDX-License-Identifier: Apache-2.0
"""Reports of the monitor; `monitor.client` posts most as the event of the same name.

Imported by the monitor process: import nothing heavier than ``typing`` here. The codec
in `messages` reads the annotations at run time.
"""

from typing import NamedTuple

from orchestrator.monitor.link.commands import distinguish
from orchestrator.values.refusal import Refusal


class Ready(NamedTuple):
    """The monitor's first message: its loop is running."""

    version: int


class Quiesced(NamedTuple):
    """The channels are closed, and no frequency is written any more."""


class TakeWanted(NamedTuple):
    """A vote requires this group to be taken."""

    group: int


class GroupYielded(NamedTuple):
    """A group has had no votes for long; its frequency is no longer written."""

    group: int


class WriteRefused(NamedTuple):
    """The kernel refused a frequency; sent once until a write succeeds."""

    group: int
    errno: int


class EndpointClosed(NamedTuple):
    """The other side hung up; the channel's votes have ended."""

    uuid: str
    number: int
    adoption: int
    reason: str


class PolicySent(NamedTuple):
    """A guest sent a permitted policy; main has 8 ms to answer."""

    uuid: str
    number: int
    adoption: int
    ticket: int
    """Identifies the policy, also among those of an earlier monitor."""
    generation: int
    """Size of the guest's packets in bytes."""
    packet: str
    """Each character stands for a byte."""


class PolicyRemoved(NamedTuple):
    """A guest removed its policy; not answered."""

    uuid: str
    number: int
    adoption: int


class RequestRefused(NamedTuple):
    """A request was refused; sent once per reason.

    Sent again after its channel was connected or switched, or its domain was redefined.
    """

    uuid: str
    number: int
    adoption: int
    reason: Refusal
    vcpu: int
    """The vCPU in the request, or (PHYSICAL) the host CPU."""
    unit: int
    """The unit in the request, unchecked."""


class ChannelAbused(NamedTuple):
    """A guest exceeded its budget for long, or sent much garbage; see `budget`.

    Sent again, at most once a second, while the channel stays open.
    """

    uuid: str
    number: int
    adoption: int
    is_garbage: bool


ChannelReport = (
    ChannelAbused | EndpointClosed | PolicySent | PolicyRemoved | RequestRefused
)
Report = Ready | Quiesced | TakeWanted | GroupYielded | WriteRefused | ChannelReport
distinguish(Report)
