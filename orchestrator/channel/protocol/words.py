"""The numbers of the wire that have a meaning; their names are the wire's."""

from __future__ import annotations

from enum import IntEnum


class Command(IntEnum):
    """What a packet asks for."""

    CPU_POWER = 1
    """Change the clock of one vCPU, as the unit says."""
    CONNECT = 2
    """A guest opened its port. Every other field is stack garbage: ignore it."""
    PKT_POLICY = 3
    """Install a policy (since v17.11)."""
    PKT_POLICY_REMOVE = 4
    """End a policy (since v18.11); never answered."""
    QUERY_FREQ_LIST = 7
    """Tell the clocks of all vCPUs (queries: since v19.11)."""
    QUERY_FREQ = 8
    """Tell the clock of one vCPU."""
    QUERY_CAPS_LIST = 9
    """Tell what the CPUs of all vCPUs can do."""
    QUERY_CAPS = 10
    """Tell what the CPU of one vCPU can do."""


class Unit(IntEnum):
    """How the clock is to change; the wire calls it unit, or scale."""

    SCALE_UP = 1
    """One step faster."""
    SCALE_DOWN = 2
    """One step slower."""
    SCALE_MAX = 3
    """The fastest step that is allowed."""
    SCALE_MIN = 4
    """The slowest step."""
    ENABLE_TURBO = 5
    """Allow the turbo step, and go there."""
    DISABLE_TURBO = 6
    """Forbid the turbo step, and go to the fastest one below it."""


class Answer(IntEnum):
    """What a host answers; it stands where the request had its command."""

    ACK = 1
    """Done."""
    NACK = 2
    """Refused."""
    FREQ_LIST = 3
    """Clocks, as `Frequencies`."""
    CAPS_LIST = 4
    """Abilities, as `Capabilities`."""


class CoreType(IntEnum):
    """What the numbers of CPUs in a packet mean; since v18.11, before that VIRTUAL."""

    VIRTUAL = 0
    """The guest's vCPUs."""
    PHYSICAL = 1
    """CPUs of the host; any other byte but 0 is taken for it too."""


class PolicyKind(IntEnum):
    """What a policy goes by; the wire calls it policy_to_use."""

    TRAFFIC = 0
    """Packets per second of interfaces."""
    TIME = 1
    """Hours of the day."""
    WORKLOAD = 2
    """A level that is kept."""
    BRANCH_RATIO = 3
    """Missed branches, of which a polling loop without packets has few."""


class WorkloadLevel(IntEnum):
    """The level of a WORKLOAD policy."""

    HIGH = 0
    """The highest clock."""
    MEDIUM = 1
    """The middle one."""
    LOW = 2
    """The lowest clock."""
