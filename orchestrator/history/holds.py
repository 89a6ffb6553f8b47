# SPDX-License-Identifier: Apache-2.0
"""Why a vCPU does not run at the frequency that it requests, or requests none; pure.

A **hold** is a reason, the frequency that the vCPU has because of it, and the one that
it would have without it. Holds answer which limits cost energy or performance, and what
keeps a domain from running at a lower frequency.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.limits import Window


class HoldCause(StrEnum):
    """Why a frequency is not the requested one."""

    NO_VOTE = "no-vote"
    """Neither its guest nor a policy requests a frequency: it gets the highest step.
    What it needs is unknown, so that the lowest step is what it could have at best."""
    FLOATING = "floating"
    """Its pinning allows no control; or the frequency of its CPUs cannot be set."""
    LOWER_LIMIT = "lower-limit"
    """A lower limit of the host, the kernel or the domain."""
    NEIGHBOR = "neighbor"
    """Another vCPU in its clock group, or threads that follow one, need more."""
    HOST = "host"
    """The host's own work may run in its clock group."""
    OVERRIDE = "override"
    """An operator has set the frequency."""
    OBSERVE = "observe"
    """Mode `observe`: requests are counted and not granted."""
    UPPER_LIMIT = "upper-limit"
    """An upper limit: the vCPU requests more. It costs no energy but performance."""


class Hold(NamedTuple):
    """A reason, and what it changes."""

    cause: HoldCause
    khz: int
    """The frequency with it; 0: unknown."""
    wanted_khz: int
    """The frequency without it; 0: unknown."""


class VCpuState(NamedTuple):
    """A vCPU at a time."""

    vote_khz: int | None
    """The highest vote, whatever the limits are; None: none, or none that is known."""
    window: Window | None
    """The steps that it may have; None: it floats."""
    grant_khz: int | None
    """Of its clock group; None: not taken."""
    is_enforced: bool
    is_overridden: bool
    has_host_cpus: bool
    """Whether the host's own work keeps its clock group at the highest step."""


def find_holds(state: VCpuState) -> Iterator[Hold]:
    """Yield what keeps a vCPU from the frequency that it requests."""
    if state.window is None:
        yield Hold(HoldCause.FLOATING, 0, 0)
        return
    grant_khz = state.grant_khz or state.window.high_khz
    if state.vote_khz is None:
        if not state.is_overridden and grant_khz > state.window.low_khz:
            yield Hold(HoldCause.NO_VOTE, grant_khz, state.window.low_khz)
        return
    # Guests with a table of their own may request what is not a step here.
    vote_khz = state.window.table.round_up(state.vote_khz)
    allowed_khz = state.window.clamp(vote_khz)
    if grant_khz != allowed_khz:
        cause = _cause_of(state, is_higher=grant_khz > allowed_khz)
        yield Hold(cause, grant_khz, allowed_khz)
    if vote_khz < allowed_khz <= grant_khz:
        yield Hold(HoldCause.LOWER_LIMIT, allowed_khz, vote_khz)
    elif vote_khz > allowed_khz:
        yield Hold(HoldCause.UPPER_LIMIT, allowed_khz, vote_khz)


def _cause_of(state: VCpuState, *, is_higher: bool) -> HoldCause:
    """Return why a grant is not what the vCPU requests within its limits."""
    if not state.is_enforced:
        return HoldCause.OBSERVE
    if state.is_overridden:
        return HoldCause.OVERRIDE
    if not is_higher:
        return HoldCause.UPPER_LIMIT
    return HoldCause.HOST if state.has_host_cpus else HoldCause.NEIGHBOR
