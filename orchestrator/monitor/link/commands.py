"""What main tells the monitor: the controller yields these, the monitor applies them.

The fields that end in `row` say where the shared table keeps what a command is about;
`monitor.client` fills them in, as it alone knows which rows are free. Channels are
identified by domain and number.

Imported by the monitor process: nothing heavier than ``typing`` comes in here. The
annotations are read at run time, by the codec in `messages`.
"""

from typing import Any, NamedTuple, get_args

from orchestrator.limits import Limits
from orchestrator.values.frequencies import FrequencyTable

NO_ROW = 0
"""In a command that has not been sent yet."""


def distinguish(kinds: Any) -> None:  # noqa: ANN401 - a union of NamedTuples
    """Have tuples compare equal to those of their own kind only."""

    def equals(one: tuple[object, ...], other: object) -> bool:
        return type(one) is type(other) and tuple.__eq__(one, other)

    def differs(one: tuple[object, ...], other: object) -> bool:
        return not equals(one, other)

    for kind in get_args(kinds):
        kind.__eq__, kind.__ne__ = equals, differs
        kind.__hash__ = tuple.__hash__


class Hello(NamedTuple):
    """The first message, with the descriptor of the shared table."""

    version: int
    release_after_ms: int
    uid: int | None
    """User to become; None: stay."""
    gid: int | None
    """Group to become; None: stay."""


class DefineGroup(NamedTuple):
    """A clock group exists, or has changed; before vCPUs are put into it."""

    group: int
    """N of policyN."""
    steps: FrequencyTable
    limits: Limits
    """The host's and the kernel's; the monitor never grants more."""
    has_host_cpus: bool = False
    """Whether a CPU in it may run the host's own work: it is not slowed then."""
    override_khz: int | None = None
    """The operator's frequency, which replaces every vote; None: guests decide."""
    row: int = NO_ROW


class HandOver(NamedTuple):
    """A group's descriptors: that of the frequency, then one per original."""

    group: int
    is_taken: bool
    """Whether its governor is switched: its frequency is written at once then."""
    originals: tuple[str, ...] = ()
    """Each byte as the character of that number. The performer fills them in."""
    ours: tuple[str, ...] = ()
    """What each attribute reads while the group is ours; empty: that varies."""


class AnswerTake(NamedTuple):
    """Whether the group's governor could be switched; the descriptors are there."""

    group: int
    is_taken: bool


class Reapply(NamedTuple):
    """Write the frequency of a taken group again: the kernel may have lost it.

    A group that has been yielded meanwhile stays so.
    """

    group: int


class ConfirmRelease(NamedTuple):
    """A yielded group is restored, so that main's death changes nothing any more.

    One that is wanted again meanwhile stays so.
    """

    group: int


class TakeBack(NamedTuple):
    """Close a group's descriptors; answers that wait for it become NACK."""

    group: int


class VCpuDefinition(NamedTuple):
    """A vCPU in a `DefineDomain`; no command itself."""

    vcpu: int
    group: int | None
    """The clock group that it is pinned into; None: it floats, requests are refused."""
    limits: Limits
    """The domain's."""
    is_turbo_allowed: bool = True
    """Whether the operator lets it use the turbo step."""


class DefineDomain(NamedTuple):
    """A domain runs, or has changed.

    Votes end of vCPUs that are gone, float now, or are in another group.
    """

    uuid: str
    is_executing: bool
    """Whether its votes count now; a paused domain's votes are only kept."""
    is_enforced: bool
    """False: observe it, answer every request NACK."""
    permissions: tuple[str, ...] = ()
    """What its guest may do; see `values.refusal.Permission`."""
    generation: int | None = None
    """Bytes of its guest's packets; None: recognized from what it sends."""
    vcpus: tuple[VCpuDefinition, ...] = ()
    rows: tuple[int, ...] = ()
    """One per vCPU, in the same order."""


class SetPolicyVote(NamedTuple):
    """A policy's vote for a vCPU, beside its guest's; the higher vote counts.

    It takes the vCPU's clock group, as a guest's vote does. It ends by 0 here, when the
    vCPU is gone, floats or changes its group, and with the domain; it does not come
    back then.
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


class CloseChannel(NamedTuple):
    """Close a channel's endpoint, if it is open; its votes end."""

    uuid: str
    number: int


class SwitchChannel(NamedTuple):
    """Serve a channel's requests or refuse them; also of endpoints to come."""

    uuid: str
    number: int
    is_enabled: bool


class WithdrawVotes(NamedTuple):
    """End the votes that a channel made, or (None) all votes of a domain's guest."""

    uuid: str
    number: int | None = None
    until_ns: int | None = None
    """Only if the channel has received nothing since (monotonic); None: always."""


class AnswerPolicy(NamedTuple):
    """Whether main has installed a guest's policy; being late is no error."""

    uuid: str
    number: int
    ticket: int
    is_accepted: bool


class Ping(NamedTuple):
    """Nothing; that it is done shows that the monitor works."""


class Quiesce(NamedTuple):
    """Read no more, close the channels, exit; main restores."""


Decided = (
    DefineGroup
    | HandOver
    | AnswerTake
    | Reapply
    | ConfirmRelease
    | TakeBack
    | DefineDomain
    | SetPolicyVote
    | ForgetDomain
    | CloseChannel
    | SwitchChannel
    | WithdrawVotes
    | AnswerPolicy
)
"""The commands that are decisions of main's."""

Command = Decided | Hello | Adopt | Ping | Quiesce
distinguish(Command)
