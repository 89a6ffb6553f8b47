# SPDX-License-Identifier: Apache-2.0
"""The bounds and rights of a domain, each with its source."""

from __future__ import annotations

from orchestrator.control.models.document import Document, Khz
from orchestrator.values.domain_settings import Mode, ThreadFrequency

__all__ = [
    "Bound",
    "GenerationRight",
    "LatencyRight",
    "ModeRight",
    "OnboardingRight",
    "Permission",
    "PreferenceRight",
    "Rights",
    "ThreadRight",
]


class Bound(Document):
    """A lower or upper bound of the frequencies of a domain's vCPUs."""

    value: Khz | None
    """Frequency in kHz; null: only the hardware and the host's bounds apply."""
    source: str
    """Source of the setting: `rule PATTERN`, `metadata` or `default`."""


class Permission(Document):
    """Whether a domain may do something."""

    value: bool
    """Whether it may."""
    source: str
    """Source of the setting: `host`, `rule PATTERN`, `metadata` or `default`."""


class ModeRight(Document):
    """Whether a domain's requests change frequencies."""

    value: Mode
    """Whether they do, or are answered NACK."""
    source: str
    """Source of the setting: `host`, `rule PATTERN`, `metadata` or `default`."""


class GenerationRight(Document):
    """The generation of packets that a domain's guest sends."""

    value: int | None
    """Packet size in bytes; null: detected from what the guest sends."""
    source: str
    """Source of the setting: `rule PATTERN`, `metadata` or `default`."""


class OnboardingRight(Document):
    """The channels that a domain is given automatically."""

    value: str
    """`all`: one for each vCPU; numbers, as in `0-3`; or `none`."""
    source: str
    """Source of the setting: `onboard rule PATTERN`; if no onboard rule applies, the
    setting that prevents it: `rule PATTERN`, `metadata` or `default`."""
    reason: str | None = None
    """Why the first onboard rule for a domain of this name does not apply; null if one
    applies, or if there is none."""


class LatencyRight(Document):
    """How long idle CPUs of a domain may take to wake up."""

    value: int | None
    """Time in microseconds; null: not limited."""
    source: str
    """Source of the setting: `host`, `rule PATTERN`, `metadata` or `default`."""


class PreferenceRight(Document):
    """The energy preference (EPP) of the clock groups of a domain."""

    value: str | None
    """A word, or a number from 0 to 255; null: that of the kernel stays."""
    source: str
    """Source of the setting: `host`, `rule PATTERN`, `metadata` or `default`."""


class ThreadRight(Document):
    """What the CPUs of a domain's emulator and I/O threads run at."""

    value: ThreadFrequency
    """`follow`: no less than its vCPUs request; `none`: what else decides."""
    source: str
    """Source of the setting: `rule PATTERN`, `metadata` or `default`."""


class Rights(Document):
    """The effective bounds and rights of a domain."""

    min_khz: Bound
    """Lower bound of its vCPUs' frequencies."""
    max_khz: Bound
    """Upper bound of its vCPUs' frequencies."""
    turbo: Permission
    """Whether it may use turbo."""
    mode: ModeRight
    """Whether its requests change frequencies."""
    queries: Permission
    """Whether it may query the frequencies and capabilities of its vCPUs."""
    energy_queries: Permission
    """Whether it may query the energy that the domain draws and saves."""
    guest_policies: Permission
    """Whether it may send policies for its vCPUs."""
    rapl: Permission
    """Whether its QEMU may read its energy, for RAPL registers of the guest."""
    generation: GenerationRight
    """Generation of its guest's packets."""
    onboarding: OnboardingRight
    """Channels that it is given automatically."""
    idle_latency_us: LatencyRight
    """How long the CPUs that its vCPUs are pinned to may take to leave an idle state,
    while it runs."""
    epp: PreferenceRight
    """Energy preference of the clock groups that its vCPUs are pinned into."""
    emulator: ThreadRight
    """Whether the clock groups of its emulator and I/O threads follow its vCPUs."""
