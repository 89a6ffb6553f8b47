"""What main and monitor say to each other, as typed values and as JSON.

A message travels as ``["Name", [fields]]``. Both sides check every field of what they
receive: neither can be made to trust a number by a fault of the other. Domains are
small numbers and all storage is rows of the shared table, chosen by main.
"""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from orchestrator.errors import HandoffError
from orchestrator.values.refusal import Refusal

VERSION = 4
"""Both sides come from one installation; an upgrade under a running main shows here."""


class Hello(NamedTuple):
    """The first message, with the descriptor of the shared table."""

    version: int
    release_after_ms: int
    uid: int | None
    """User to become; None: stay."""
    gid: int | None
    """Group to become; None: stay."""


class DefineGroup(NamedTuple):
    """A clock group is there, or has changed."""

    group: int
    row: int
    steps_khz: tuple[int, ...]
    has_turbo: bool
    min_khz: int
    max_khz: int
    has_host_cpus: bool
    override_khz: int | None


class HandOver(NamedTuple):
    """A group's descriptors: the clock's, then one per original."""

    group: int
    is_taken: bool
    originals: tuple[str, ...]
    """Each byte as the character of that number."""
    ours: tuple[str, ...]
    """What each attribute says while the group is ours; empty: that varies."""


class AnswerTake(NamedTuple):
    """Main switched the group's governor, or could not."""

    group: int
    is_taken: bool


class ConfirmRelease(NamedTuple):
    """Main has restored a group that was yielded."""

    group: int


class TakeBack(NamedTuple):
    """Close a group's descriptors; main restores it."""

    group: int


class VCpuRow(NamedTuple):
    """A vCPU in a `DefineDomain`; no message itself."""

    vcpu: int
    row: int
    group: int | None
    min_khz: int
    max_khz: int
    is_turbo_allowed: bool


class DefineDomain(NamedTuple):
    """A domain is there, or has changed; vCPUs that are not in it are gone."""

    domain: int
    is_executing: bool
    is_enforced: bool
    may_query: bool
    may_send_policies: bool
    generation: int | None
    """Bytes of its guest's packets; None: found out from what it sends."""
    vcpus: tuple[VCpuRow, ...]


class SetPolicyVote(NamedTuple):
    """What a policy of main's wants of one vCPU."""

    domain: int
    vcpu: int
    khz: int
    """0: nothing."""


class ForgetDomain(NamedTuple):
    """A domain is gone, and with it these rows."""

    domain: int
    channel_rows: tuple[int, ...]


class Adopt(NamedTuple):
    """A channel's socket."""

    domain: int
    number: int
    row: int
    adoption: int
    """Tells this endpoint from earlier ones of the same channel."""
    is_enabled: bool


class CloseChannel(NamedTuple):
    """Close a channel's endpoint, if it is open; its votes end."""

    domain: int
    number: int


class SwitchChannel(NamedTuple):
    """Obey a channel's requests or refuse them."""

    domain: int
    number: int
    is_enabled: bool


class WithdrawVotes(NamedTuple):
    """The guest closed the channel's port, or (None) started anew."""

    domain: int
    number: int | None
    until_ns: int | None
    """Only if the channel has brought nothing since (monotonic); None: in any case."""


class AnswerPolicy(NamedTuple):
    """Main took a guest's policy, or could not."""

    domain: int
    number: int
    ticket: int
    is_accepted: bool


class Ping(NamedTuple):
    """Nothing; that it is done says that the monitor works."""


class Quiesce(NamedTuple):
    """Read no more, close the channels, exit; main restores."""


class Ready(NamedTuple):
    """The monitor's first message: its loop runs."""

    version: int


class TakeWanted(NamedTuple):
    """A vote waits for this group to be taken."""

    group: int


class GroupYielded(NamedTuple):
    """Nobody has voted in this group for long; its clock is written no more."""

    group: int


class EndpointClosed(NamedTuple):
    """The other side hung up."""

    domain: int
    number: int
    adoption: int
    reason: str


class PolicySent(NamedTuple):
    """A guest sent a policy that it may send; main is to answer it."""

    domain: int
    number: int
    adoption: int
    ticket: int
    """Tells the policy from all others, also from those of an earlier monitor."""
    generation: int
    """Bytes of a packet of the guest."""
    packet: str
    """Each byte as the character of that number."""


class PolicyRemoved(NamedTuple):
    """A guest wants its policy no more; nobody answers that."""

    domain: int
    number: int
    adoption: int


class RequestRefused(NamedTuple):
    """A guest was refused something; said once for each reason.

    And once more after a word of the operator's about the channel or its domain.
    """

    domain: int
    number: int
    adoption: int
    reason: Refusal
    vcpu: int
    """That the request named, or host CPU."""
    unit: int
    """Of the request, as it came."""


class WriteRefused(NamedTuple):
    """The kernel refused a clock; said once until a write succeeds."""

    group: int
    errno: int


Message = (
    Hello
    | DefineGroup
    | HandOver
    | AnswerTake
    | ConfirmRelease
    | TakeBack
    | DefineDomain
    | SetPolicyVote
    | ForgetDomain
    | Adopt
    | CloseChannel
    | SwitchChannel
    | WithdrawVotes
    | AnswerPolicy
    | Ping
    | Quiesce
    | Ready
    | TakeWanted
    | GroupYielded
    | EndpointClosed
    | PolicySent
    | PolicyRemoved
    | RequestRefused
    | WriteRefused
)

_KINDS: dict[str, Any] = {kind.__name__: kind for kind in Message.__args__}


def _read_natural(value: object) -> int:
    # JSON's true is an int to Python.
    if type(value) is not int or value < 0:
        raise ValueError
    return value


def _read_natural_or_none(value: object) -> int | None:
    return None if value is None else _read_natural(value)


def _read_bool(value: object) -> bool:
    if type(value) is not bool:
        raise ValueError
    return value


def _read_text(value: object) -> str:
    if type(value) is not str:
        raise ValueError
    return value


def _read_list(value: object) -> list[object]:
    if type(value) is not list:
        raise ValueError
    return value


def _read_naturals(value: object) -> tuple[int, ...]:
    return tuple(map(_read_natural, _read_list(value)))


def _read_texts(value: object) -> tuple[str, ...]:
    return tuple(map(_read_text, _read_list(value)))


def _read_refusal(value: object) -> Refusal:
    return Refusal(_read_natural(value))


def _read_vcpus(value: object) -> tuple[VCpuRow, ...]:
    return tuple(_read_fields(VCpuRow, vcpu) for vcpu in _read_list(value))


_READERS: dict[object, Callable[[object], object]] = {
    int: _read_natural,
    int | None: _read_natural_or_none,
    bool: _read_bool,
    str: _read_text,
    Refusal: _read_refusal,
    tuple[int, ...]: _read_naturals,
    tuple[str, ...]: _read_texts,
    tuple[VCpuRow, ...]: _read_vcpus,
}


def _read_fields(kind: Any, value: object) -> Any:  # noqa: ANN401 - any NamedTuple
    readers = [_READERS[annotation] for annotation in kind.__annotations__.values()]
    pairs = zip(readers, _read_list(value), strict=True)
    return kind._make(read(field) for read, field in pairs)


def encode(message: Message) -> bytes:
    """Write a message as JSON."""
    kind = type(message).__name__
    return json.dumps((kind, message), separators=(",", ":")).encode()


def decode(data: bytes) -> Message:
    """Read a message and check every field.

    Raises:
        HandoffError: it is none that we know, or a field is of the wrong type.
    """
    try:
        name, fields = json.loads(data)
        message: Message = _read_fields(_KINDS[name], fields)
    except (ValueError, TypeError, LookupError, RecursionError):
        raise HandoffError(f"no message: {data[:200]!r}") from None
    return message
