"""The API's documents as clients see them: plain dictionaries, typed.

Same names and keys as in `models.py`, where every key is explained; a test compares
the two. They are apart because importing pydantic costs a command 50 ms.
"""

from __future__ import annotations

from typing import TypedDict


class DaemonStatus(TypedDict):
    """The daemon itself."""

    version: str
    pid: int
    mode: str
    uptime_s: float
    run_dir: str
    sysfs_root: str
    monitor_pid: int | None
    monitor_restarts_total: int
    problems: list[str]


class LibvirtStatus(TypedDict):
    """The connection to libvirt."""

    uri: str
    connected: bool
    reconnects_total: int
    stale_since: str | None
    reason: str | None


class Vcpu(TypedDict):
    """One virtual CPU of a domain."""

    vcpu: int
    pcpus: list[int]
    controllable: bool
    reason: str | None
    wish_khz: int | None
    clock_group: int | None
    min_khz: int | None
    max_khz: int | None


class Channel(TypedDict):
    """One poweragent channel of a domain."""

    number: int
    target: str
    path: str | None
    state: str
    requests_total: int
    acks_total: int
    nacks_total: int
    dropped_total: int
    late_total: int
    errors_total: int
    unanswered_total: int
    nack_reasons: dict[str, int]
    nack_causes: dict[str, str]
    generation: int | None
    generation_given: bool
    enabled: bool
    reason: str | None


class DomainChannel(Channel):
    """A channel and the domain that it belongs to."""

    domain: str
    uuid: str


class Bound(TypedDict):
    """One end of what a domain's clocks may be."""

    value: int | None
    source: str


class Permission(TypedDict):
    """Whether a domain may do something."""

    value: bool
    source: str


class ModeRight(TypedDict):
    """Whether a domain's requests change clocks."""

    value: str
    source: str


class GenerationRight(TypedDict):
    """Which packets a domain's guest is taken to send."""

    value: int | None
    source: str


class OnboardingRight(TypedDict):
    """Which channels a domain is given."""

    value: str
    source: str


class Rights(TypedDict):
    """What holds for a domain, and who says so."""

    min_khz: Bound
    max_khz: Bound
    turbo: Permission
    mode: ModeRight
    queries: Permission
    guest_policies: Permission
    generation: GenerationRight
    onboarding: OnboardingRight


class PolicyWant(TypedDict):
    """What a policy wants of one vCPU."""

    vcpu: int
    khz: int | None
    counts: bool


class Policy(TypedDict):
    """A policy that is in force for a domain."""

    source: str
    name: str
    channel: int | None
    kind: str
    text: str
    wants: list[PolicyWant]
    problem: str | None


class PolicyOfDomain(Policy):
    """A policy and the domain that it is for."""

    domain: str
    uuid: str


class PolicyList(TypedDict):
    """All policies in force."""

    policies: list[PolicyOfDomain]


class PolicyRequest(TypedDict):
    """A policy that a domain shall have."""

    text: str


class Domain(TypedDict):
    """One libvirt domain."""

    uuid: str
    name: str
    state: str
    mode: str
    vcpus: list[Vcpu]
    channels: list[Channel]
    rights: Rights | None
    id: int | None
    reason: str | None
    problems: list[str]
    policies: list[Policy]


class Cpu(TypedDict):
    """One host CPU whose clock can be set."""

    pcpu: int
    clock_group: int
    driver: str
    governor: str
    claimed: bool
    simulated: bool
    min_khz: int
    max_khz: int
    grant_khz: int | None
    current_khz: int | None
    steps_khz: list[int]
    nominal_khz: int | None
    override_khz: int | None
    reason: str | None
    package: int | None
    core: int | None
    node: int | None


class UnmanagedCpu(TypedDict):
    """One host CPU that is left alone."""

    pcpu: int
    reason: str


class Status(TypedDict):
    """Everything."""

    schema: int
    daemon: DaemonStatus
    libvirt: LibvirtStatus
    domains: list[Domain]
    cpus: list[Cpu]
    unmanaged_cpus: list[UnmanagedCpu]


class DomainList(TypedDict):
    """All domains, running or not."""

    domains: list[Domain]


class ChannelList(TypedDict):
    """All channels of all domains."""

    channels: list[DomainChannel]


class CpuList(TypedDict):
    """All host CPUs."""

    cpus: list[Cpu]
    unmanaged_cpus: list[UnmanagedCpu]


class ClockRequest(TypedDict):
    """The clock that a whole clock group shall have."""

    khz: int


class EnabledRequest(TypedDict):
    """Whether a channel shall take part."""

    enabled: bool


class InstructionRequest(TypedDict):
    """Messages in the language of DPDK's vm_power_manager."""

    text: str
    cpu: int | None


class Outcome(TypedDict):
    """What came of one message."""

    text: str
    done: bool


class OutcomeList(TypedDict):
    """What came of messages, in their order."""

    outcomes: list[Outcome]


class EventRecord(TypedDict):
    """Something that happened."""

    time: str
    kind: str
    domain: str | None
    text: str
    facts: dict[str, str | int | bool | None]
