# SPDX-License-Identifier: Apache-2.0
"""Commands from main to the monitor; the controller creates them.

The fields that end in `row` are rows of the shared table, filled in by
`monitor.client`, which allocates them. Channels are identified by domain and number.

Imported by the monitor process: import nothing heavier than ``typing`` here. The codec
in `messages` reads the annotations at run time.
"""

from typing import Any, NamedTuple, get_args

from orchestrator.limits import Limits
from orchestrator.values.frequencies import FrequencyTable
from orchestrator.values.p_states import PortSteps
from orchestrator.values.refusal import Refusal

NO_ROW = 0
"""Placeholder in a command that has not been sent yet."""


def distinguish(kinds: Any) -> None:  # noqa: ANN401 - a union of NamedTuples
    """Make tuples compare equal only to tuples of the same type."""

    def equals(one: tuple[object, ...], other: object) -> bool:
        return type(one) is type(other) and tuple.__eq__(one, other)

    def differs(one: tuple[object, ...], other: object) -> bool:
        return not equals(one, other)

    for kind in get_args(kinds):
        kind.__eq__, kind.__ne__ = equals, differs
        kind.__hash__ = tuple.__hash__


class Hello(NamedTuple):
    """The first message; carries the descriptor of the shared table."""

    version: int
    release_after_ms: int
    uid: int | None
    """User to become; None: unchanged."""
    gid: int | None
    """Group to become; None: unchanged."""
    budget: int = 0
    """Requests per second that each channel may send; 0: unlimited."""
    system_call_filter: str = ""
    """Program for seccomp; each character stands for a byte. Empty: none."""


class UseLock(NamedTuple):
    """The lock file of the CPU tree, as a descriptor.

    The monitor is a user of it until it ends, so that no other daemon sets frequencies
    of the tree before.
    """


class DefineGroup(NamedTuple):
    """A new or changed clock group; sent before vCPUs are placed in it."""

    group: int
    """N of policyN."""
    steps: FrequencyTable
    limits: Limits
    """Of the host and the kernel; the monitor never grants more."""
    has_host_cpus: bool = False
    """Whether the host's own work may run on one of its CPUs; it then stays at its
    highest step."""
    override_khz: int | None = None
    """The operator's frequency, which replaces all votes; None: no override."""
    row: int = NO_ROW


class HandOver(NamedTuple):
    """A group's descriptors: its writer's, then one per original."""

    group: int
    is_taken: bool
    """Whether its governor has been switched; its frequency is then written at once."""
    originals: tuple[str, ...] = ()
    """Values of the attributes; each character stands for a byte. Filled in by the
    performer, as is what follows."""
    taken_values: tuple[str, ...] = ()
    """The value of each attribute while the group is taken; empty: it varies."""
    writer: str = ""
    """Name of the writer (see `power.writer`)."""


class AnswerTake(NamedTuple):
    """Whether the group's governor was switched; the descriptors were sent before."""

    group: int
    is_taken: bool


class Reapply(NamedTuple):
    """Write the frequency of a taken group again: the kernel may have lost it.

    Ignored if the group has been yielded meanwhile.
    """

    group: int


class ConfirmRelease(NamedTuple):
    """A yielded group has been restored; the monitor need not restore it if main dies.

    Ignored if the group has been requested again meanwhile.
    """

    group: int


class CloseGroup(NamedTuple):
    """Close a group's descriptors; answers that wait for it become NACK."""

    group: int


class VCpuDefinition(NamedTuple):
    """A vCPU in a `DefineDomain`; not a command itself."""

    vcpu: int
    group: int | None
    """The clock group that it is pinned to; None: requests are refused."""
    limits: Limits
    """Of the domain."""
    is_turbo_allowed: bool = True
    """Whether the operator allows it the turbo step."""
    refusal: Refusal = Refusal.FLOATING
    """Why requests are refused without a clock group."""
    siblings: tuple[int, ...] = ()
    """Clock groups of the other threads of its core, which its votes apply to, too;
    they have the same steps."""


class DefineDomain(NamedTuple):
    """A running domain, new or changed.

    Ends the votes of vCPUs that are gone, float now, or are in a different group.
    """

    uuid: str
    is_executing: bool
    """Whether its votes count; those of a paused domain are only kept."""
    is_enforced: bool
    """False: observe mode, every request is answered NACK."""
    permissions: tuple[str, ...] = ()
    """What its guest may do; see `values.refusal.Permission`."""
    generation: int | None = None
    """Size of its guest's packets in bytes; None: detected."""
    vcpus: tuple[VCpuDefinition, ...] = ()
    rows: tuple[int, ...] = ()
    """One per vCPU, in the same order."""
    following: tuple[int, ...] = ()
    """Clock groups of its emulator and I/O threads, which are granted no less than its
    vCPUs request."""
    row: int = NO_ROW


class SetPolicyVote(NamedTuple):
    """A policy's vote for a vCPU, beside its guest's; the higher vote counts.

    Like a guest's vote, it takes the vCPU's clock group. It ends with 0, when the vCPU
    is gone, floats or changes its group, and with the domain; it is not set again then.
    """

    uuid: str
    vcpu: int
    khz: int
    """Any frequency, rounded up to a step; 0: no vote."""


class ForgetDomain(NamedTuple):
    """A domain is gone, with its votes, channels and counters."""

    uuid: str
    channel_rows: tuple[int, ...] = ()


class Adopt(NamedTuple):
    """A channel's connected socket."""

    uuid: str
    number: int
    row: int
    adoption: int
    """Distinguishes this endpoint from earlier ones of the same channel."""
    is_enabled: bool
    steps: PortSteps | None = None
    """How its bytes are read, if it is a P-state channel; None: it has packets."""


class CloseChannel(NamedTuple):
    """Close a channel's endpoint, if it is open; its votes end."""

    uuid: str
    number: int


class SwitchChannel(NamedTuple):
    """Accept or refuse a channel's requests, also those of later endpoints."""

    uuid: str
    number: int
    is_enabled: bool


class WithdrawVotes(NamedTuple):
    """End a channel's votes, or (None) all votes of a domain's guest."""

    uuid: str
    number: int | None = None
    until_ns: int | None = None
    """Only if the channel has received nothing since (monotonic); None: always."""


class AnswerPolicy(NamedTuple):
    """Whether main has installed a guest's policy; a late answer is ignored."""

    uuid: str
    number: int
    ticket: int
    is_accepted: bool


class Ping(NamedTuple):
    """No operation; its completion shows that the monitor is alive."""


class Quiesce(NamedTuple):
    """Stop reading and writing, close the channels; answered with Quiesced.

    Main restores the clock groups now. If it dies before it sends Exit, the monitor
    restores them.
    """


class Exit(NamedTuple):
    """Exit and restore nothing: main has done it; sent after Quiesce."""


Decided = (
    DefineGroup
    | HandOver
    | AnswerTake
    | Reapply
    | ConfirmRelease
    | CloseGroup
    | DefineDomain
    | SetPolicyVote
    | ForgetDomain
    | CloseChannel
    | SwitchChannel
    | WithdrawVotes
    | AnswerPolicy
)
"""The commands that the controller decides on."""

Command = Decided | Hello | UseLock | Adopt | Ping | Quiesce | Exit
distinguish(Command)
