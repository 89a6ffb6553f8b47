"""What the monitor tells main; `monitor.client` posts each as the event of its name.

Imported by the monitor process: nothing heavier than ``typing`` comes in here. The
annotations are read at run time, by the codec in `messages`.
"""

from typing import NamedTuple

from orchestrator.monitor.link.commands import distinguish
from orchestrator.values.refusal import Refusal


class Ready(NamedTuple):
    """The monitor's first message: its loop runs."""

    version: int


class TakeWanted(NamedTuple):
    """A vote waits for this group to be taken."""

    group: int


class GroupYielded(NamedTuple):
    """A group has had no votes for long; its frequency is written no more."""

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
    """A guest sent a policy that it may send; main is to answer it within 8 ms."""

    uuid: str
    number: int
    adoption: int
    ticket: int
    """Identifies the policy, also among those of an earlier monitor."""
    generation: int
    """Bytes of a packet of the guest."""
    packet: str
    """Each byte as the character of that number."""


class PolicyRemoved(NamedTuple):
    """A guest removed its policy; that is not answered."""

    uuid: str
    number: int
    adoption: int


class RequestRefused(NamedTuple):
    """A request was refused; sent once per reason.

    And once more after its channel was connected or switched, or its domain was
    defined again.
    """

    uuid: str
    number: int
    adoption: int
    reason: Refusal
    vcpu: int
    """That the request named, or (PHYSICAL) host CPU."""
    unit: int
    """Of the request, as it came."""


OfChannel = EndpointClosed | PolicySent | PolicyRemoved | RequestRefused
Report = Ready | TakeWanted | GroupYielded | WriteRefused | OfChannel
distinguish(Report)
