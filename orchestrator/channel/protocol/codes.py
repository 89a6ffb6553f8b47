# SPDX-License-Identifier: Apache-2.0
"""The codes on the wire, named as in DPDK."""

from __future__ import annotations

from enum import IntEnum


class Command(IntEnum):
    """What a packet requests."""

    CPU_POWER = 1
    """Change the frequency of one vCPU, according to the unit."""
    CONNECT = 2
    """A guest opened its port. All other fields are uninitialized: ignore them."""
    PKT_POLICY = 3
    """Install a policy (since v17.11)."""
    PKT_POLICY_REMOVE = 4
    """Remove a policy (since v18.11); never answered."""
    QUERY_FREQ_LIST = 7
    """Query the frequencies of all vCPUs (queries: since v19.11)."""
    QUERY_FREQ = 8
    """Query the frequency of one vCPU."""
    QUERY_CAPS_LIST = 9
    """Query the capabilities of the CPUs of all vCPUs."""
    QUERY_CAPS = 10
    """Query the capabilities of the CPU of one vCPU."""
    QUERY_ENERGY = 0x766D7001
    """Query the energy of the domain. Not of DPDK: its guests never send it, and its
    host ignores it."""


class Unit(IntEnum):
    """How to change the frequency; DPDK calls it unit, or scale."""

    SCALE_UP = 1
    """One step up."""
    SCALE_DOWN = 2
    """One step down."""
    SCALE_MAX = 3
    """The highest permitted step."""
    SCALE_MIN = 4
    """The lowest step."""
    ENABLE_TURBO = 5
    """Permit the turbo step and use it."""
    DISABLE_TURBO = 6
    """Forbid the turbo step and use the highest one below it."""


class Answer(IntEnum):
    """The host's answer, in place of the command of the request."""

    ACK = 1
    """Done."""
    NACK = 2
    """Refused."""
    FREQ_LIST = 3
    """A reply with `Frequencies`."""
    CAPS_LIST = 4
    """A reply with `Capabilities`."""
    ENERGY = 128
    """A reply with `EnergyFigures`, to a query that DPDK does not have."""


class FigureSource(IntEnum):
    """Where a domain's energy comes from; in replies to QUERY_ENERGY."""

    MEASURED = 1
    """Meters of the host's processors, shared among domains."""
    MODELLED = 2
    """No meter: published figures for the class of the processors."""


class CoreType(IntEnum):
    """What the CPU numbers in a packet mean; since v18.11, VIRTUAL before."""

    VIRTUAL = 0
    """The guest's vCPUs."""
    PHYSICAL = 1
    """CPUs of the host; any byte except 0 counts as PHYSICAL."""


class PolicyKind(IntEnum):
    """What a policy is based on; DPDK calls it policy_to_use."""

    TRAFFIC = 0
    """Packets per second on interfaces."""
    TIME = 1
    """Hours of the day."""
    WORKLOAD = 2
    """A constant level."""
    BRANCH_RATIO = 3
    """Mispredicted branches; a polling loop without packets has few."""


class WorkloadLevel(IntEnum):
    """The level of a WORKLOAD policy."""

    HIGH = 0
    """The highest frequency."""
    MEDIUM = 1
    """The middle frequency."""
    LOW = 2
    """The lowest frequency."""
