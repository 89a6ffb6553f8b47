"""What the control API answers and accepts, with every key explained.

The status document is a contract: keys stay, more may come. `documents.py` has the
same shapes for clients, which do not import pydantic; a test compares the two.
Synchronization: none required, everything here is immutable.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from orchestrator.channel.lifecycle import ChannelState
from orchestrator.policy.kinds.contract import PolicyKind
from orchestrator.policy.kinds.table import KINDS
from orchestrator.policy.subject import SourceKind
from orchestrator.policy.text import LONGEST
from orchestrator.values.domain import DomainState
from orchestrator.values.domain_settings import Mode

SCHEMA = 1
"""Version of the status document; it grows only when a key goes or changes."""

Khz = Annotated[int, Field(strict=True, ge=0)]
"""A frequency in kHz. Strict: JSON's `true` and `2.0` are no frequencies."""
CpuNumber = Annotated[int, Field(strict=True, ge=0)]
"""A CPU's number, virtual or of the host."""
Count = Annotated[int, Field(strict=True, ge=0)]
"""Something counted since the daemon started."""
Fact = Annotated[str | int | bool | None, Field(union_mode="left_to_right")]
"""One value that belongs to an event."""


class Document(BaseModel):
    """Base of all models: immutable, and unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DaemonStatus(Document):
    """The daemon itself."""

    version: str
    pid: int
    mode: Mode
    """`enforce`, or `observe`: everything but the writes."""
    uptime_s: float
    run_dir: str
    """Directory of the sockets and the restore journal."""
    sysfs_root: str
    """The CPU tree in use: /sys, or a simulation's directory."""
    monitor_pid: int | None = None
    """Process that serves the guests; null while it is being started again."""
    monitor_restarts_total: Count = 0
    problems: tuple[str, ...] = ()
    """What an operator should know, one sentence each."""


class LibvirtStatus(Document):
    """The connection to libvirt."""

    uri: str
    connected: bool
    reconnects_total: Count
    stale_since: AwareDatetime | None
    """Since when domains are shown as last known; null while connected."""
    reason: str | None = None
    """Why it is not connected."""


class Vcpu(Document):
    """One virtual CPU of a domain."""

    vcpu: CpuNumber
    pcpus: tuple[CpuNumber, ...]
    """Host CPUs that it may run on, lowest first."""
    controllable: bool
    """Whether its clock can follow requests."""
    reason: str | None
    """Why it is not controllable."""
    wish_khz: Khz | None
    """What it wants now; null without a vote."""
    clock_group: int | None = None
    """The one clock group that it is pinned into; null if it floats."""
    min_khz: Khz | None = None
    """The lowest step that the host's and the domain's bounds leave it; null if it
    floats."""
    max_khz: Khz | None = None
    """The highest one; the turbo step only where it may use it."""


class Channel(Document):
    """One poweragent channel of a domain.

    The totals begin at zero when the domain is off, and with the daemon; while the
    domain runs they only grow.
    """

    number: int
    target: str
    """The channel's name in the guest."""
    path: str | None
    """Its socket on the host; null while libvirt has chosen none."""
    state: ChannelState
    requests_total: Count
    acks_total: Count
    nacks_total: Count
    dropped_total: Count
    """Answers that a full socket could not take."""
    late_total: Count
    """Answers not sent because the guest had given up waiting."""
    errors_total: Count
    """Bytes that were no packet."""
    enabled: bool = True
    """Whether the operator lets it take part."""
    unanswered_total: Count = 0
    """Requests of a guest so old that it reads no answers."""
    nack_reasons: dict[str, Count] = {}
    """Refused requests by reason: `physical`, `no-vcpu`, `floating`, ..."""
    nack_causes: dict[str, str] = {}
    """What was behind a reason, for people, as of the latest that was told."""
    generation: int | None = None
    """Bytes of a packet of its guest: 464 for DPDK from 18.11 on, 456 from 17.11, 16
    before; 460 for 32-bit guests. null: it has not spoken yet."""
    generation_given: bool = False
    """Whether an operator said so; else it was recognised."""
    reason: str | None = None
    """Why it is not open."""


class Bound(Document):
    """One end of what a domain's clocks may be."""

    value: Khz | None
    """null: whatever the hardware and the host's bounds allow."""
    source: str
    """Who decided: `rule PATTERN`, `metadata` or `default`."""


class Permission(Document):
    """Whether a domain may do something."""

    value: bool
    source: str
    """Who decided: `host`, `rule PATTERN`, `metadata` or `default`."""


class ModeRight(Document):
    """Whether a domain's requests change clocks."""

    value: Mode
    source: str
    """Who decided: `host`, `rule PATTERN`, `metadata` or `default`."""


class GenerationRight(Document):
    """Which packets a domain's guest is taken to send."""

    value: int | None
    """Bytes of a packet; null: found out from what it sends."""
    source: str
    """Who decided: `rule PATTERN`, `metadata` or `default`."""


class OnboardingRight(Document):
    """Which channels a domain is given."""

    value: str
    """`all`: one for each vCPU; numbers, as in `0-3`; or `none`."""
    source: str
    """Who decided: `onboard rule PATTERN`; without one, what kept it from being meant:
    `rule PATTERN`, `metadata` or `default`."""


class Rights(Document):
    """What holds for a domain, and who says so."""

    min_khz: Bound
    max_khz: Bound
    turbo: Permission
    mode: ModeRight
    queries: Permission
    """Whether it may ask for the clocks and abilities of its own vCPUs."""
    guest_policies: Permission
    """Whether it may send policies for its own vCPUs."""
    generation: GenerationRight
    onboarding: OnboardingRight
    """Which channels it is given that it lacks."""


class PolicyWant(Document):
    """What a policy wants of one vCPU."""

    vcpu: CpuNumber
    khz: Khz | None
    """null: it has no say now."""
    counts: bool = True
    """Whether it is heard; false: somebody's policy for the vCPU stands above it."""


class Policy(Document):
    """A policy that is in force for a domain."""

    source: SourceKind
    """`guest`, `operator`, `rule` of the configuration, or `metadata`."""
    name: str
    """The operator's name for it, or the rule's; empty for a guest's."""
    channel: int | None
    """Number of the channel over which a guest sent it."""
    kind: Annotated[PolicyKind, Field(json_schema_extra={"enum": [*KINDS]})]
    text: str
    """As it could have been typed: `utilisation up-above=0.9`."""
    wants: tuple[PolicyWant, ...]
    """By vCPU, those that it is about and whose clock can be set."""
    problem: str | None
    """Why it sees nothing now, and so does not vote."""


class Domain(Document):
    """One libvirt domain."""

    uuid: str
    name: str
    state: DomainState
    """In virsh's words."""
    mode: Mode
    vcpus: tuple[Vcpu, ...]
    channels: tuple[Channel, ...]
    rights: Rights | None = None
    """Its bounds and rights; null where nobody has resolved them."""
    id: int | None = None
    """libvirt's number while it runs."""
    reason: str | None = None
    """Why the domain takes no part."""
    problems: tuple[str, ...] = ()
    """What in its description was refused, one sentence each."""
    policies: tuple[Policy, ...] = ()
    """What its vCPUs get without asking."""


class Cpu(Document):
    """One host CPU whose clock can be set."""

    pcpu: CpuNumber
    clock_group: int
    """Number N of the kernel's policyN: CPUs with the same number share one clock."""
    driver: str
    governor: str
    claimed: bool
    """Whether the daemon sets its clock now."""
    simulated: bool
    """Whether it is a file in a simulated tree and no CPU at all."""
    min_khz: Khz
    """The lowest clock that the host's bounds allow."""
    max_khz: Khz
    """The highest clock that the host's bounds allow."""
    grant_khz: Khz | None
    """What its clock group was granted; null while not claimed."""
    current_khz: Khz | None
    """What the kernel reports; null if it does not."""
    steps_khz: tuple[Khz, ...]
    """Frequencies that the hardware offers, highest first."""
    nominal_khz: Khz | None = None
    """The highest frequency without turbo: steps above it are turbo steps. null: not
    known."""
    override_khz: Khz | None = None
    """The operator's override of the clock group."""
    reason: str | None = None
    """Why it cannot be slowed or written now."""
    package: int | None = None
    """The socket that it sits in, as the tree tells; null: it does not tell."""
    core: int | None = None
    """The lowest CPU of its core: SMT siblings have the same."""
    node: int | None = None
    """Its NUMA node."""


class UnmanagedCpu(Document):
    """One host CPU that is left alone."""

    pcpu: CpuNumber
    reason: str
    """Offline, without cpufreq, an unknown driver..."""


class Status(Document):
    """Everything: the stable document of `vmpower status -o json`."""

    schema_: int = Field(default=SCHEMA, alias="schema")
    daemon: DaemonStatus
    libvirt: LibvirtStatus
    domains: tuple[Domain, ...]
    cpus: tuple[Cpu, ...]
    unmanaged_cpus: tuple[UnmanagedCpu, ...] = ()


class DomainList(Document):
    """All domains, running or not."""

    domains: tuple[Domain, ...]


class DomainChannel(Channel):
    """A channel and the domain that it belongs to."""

    domain: str
    """The domain's name."""
    uuid: str
    """The domain's UUID."""


class ChannelList(Document):
    """All channels of all domains."""

    channels: tuple[DomainChannel, ...]


class PolicyOfDomain(Policy):
    """A policy and the domain that it is for."""

    domain: str
    """The domain's name."""
    uuid: str
    """The domain's UUID."""


class PolicyList(Document):
    """All policies in force."""

    policies: tuple[PolicyOfDomain, ...]


class CpuList(Document):
    """All host CPUs."""

    cpus: tuple[Cpu, ...]
    unmanaged_cpus: tuple[UnmanagedCpu, ...] = ()


class ClockRequest(Document):
    """The clock that a whole clock group shall have until it is released."""

    khz: Annotated[int, Field(strict=True, gt=0)]
    """Rounded up to a step of the hardware, clamped by the host's bounds only."""


class EnabledRequest(Document):
    """Whether a channel shall take part."""

    enabled: Annotated[bool, Field(strict=True)]


class PolicyRequest(Document):
    """A policy that a domain shall have until it ends or the policy is removed."""

    text: Annotated[str, Field(strict=True, min_length=1, max_length=LONGEST)]
    """As in `utilisation up-above=0.9 vcpus=0-3`."""


class InstructionRequest(Document):
    """Messages in the language of DPDK's vm_power_manager."""

    text: Annotated[str, Field(strict=True, min_length=1)]
    """JSON objects, back to back."""
    cpu: CpuNumber | None = None
    """The host CPU whose FIFO this would be; null: the messages name CPUs."""


class Outcome(Document):
    """What came of one message."""

    text: str
    """What was done, or why nothing was."""
    done: bool


class OutcomeList(Document):
    """What came of messages, in their order."""

    outcomes: tuple[Outcome, ...]


class EventRecord(Document):
    """Something that happened."""

    time: AwareDatetime
    kind: str
    """domain-changed, channel-state, refusal, grant, libvirt, operator, monitor..."""
    domain: str | None
    """The domain's name."""
    text: str
    """One line for people."""
    facts: dict[str, Fact] = {}
    """The same for programs, as far as there are facts: number, state, pcpu, khz."""


class Failure(Document):
    """What went wrong and what to do about it."""

    message: str
    hint: str = ""
    """Empty if nobody knows."""


class ErrorDocument(Document):
    """The body of every answer whose status is 400 or above."""

    error: Failure
