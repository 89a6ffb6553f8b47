# SPDX-License-Identifier: Apache-2.0
"""The life cycle of a clock group, as a table: stage, event -> stage, commands.

Rule 1: everything that affects a group's stage is in this table. The performer works on
a group in a thread while it is in a stage that ends in -ING, so at most one operation
per group is under way, and each has exactly one outcome. A request that arrives
meanwhile is a stage of its own. What is not in the table cannot happen; an event that
changes nothing is in it with the same stage.

Two others keep projections of the stage, as far as they need it, and follow it by the
commands of this table:

| stage                       | the kernel      | `power.HeldGroups` | the monitor's `Stage`     |
|-----------------------------|-----------------|--------------------|---------------------------|
| IDLE                        | original        | not held           | UNTAKEN, no descriptors   |
| PREPARING, PREPARING_WANTED | original        | becoming held      | the same; WANTED          |
| PREPARED                    | original        | held               | UNTAKEN; WANTED           |
| TAKING                      | being changed   | held, taken        | WANTED (UNTAKEN: override)|
| TAKEN                       | ours            | held, taken        | TAKEN; YIELDED            |
| DRIFTED                     | another's       | held, taken        | UNTAKEN; WANTED           |
| RESTORING, RESTORING_WANTED | being restored  | held, taken        | YIELDED; WANTED           |
| FAILED                      | as it is        | perhaps left over  | UNTAKEN, no descriptors   |

A monitor's stage behind a semicolon is one of which main has not been notified yet. The
monitor leaves UNTAKEN and TAKEN by itself: a vote makes it WANTED (TakeWanted), the
lack of votes YIELDED (GroupYielded). Commands and reports cross on the way; so a
command that presumes a stage of the monitor's (REAPPLY, CONFIRM_RELEASE) has no effect
in any other.
"""  # noqa: E501 - a table

from __future__ import annotations

from enum import Enum, StrEnum
from typing import TYPE_CHECKING

from orchestrator.controller.actions import (
    DropGroup,
    PrepareGroup,
    RestoreGroup,
    TakeGroup,
    UnpinGroup,
)
from orchestrator.monitor.link.commands import (
    AnswerTake,
    CloseGroup,
    ConfirmRelease,
    HandOver,
    Reapply,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestrator.controller.actions import Action

    Command = Callable[[int], Action]
    Row = tuple["GroupStage", tuple[Command, ...]]


class GroupStage(StrEnum):
    """The stages of a clock group."""

    IDLE = "idle"
    """Not prepared; no descriptor is open."""
    PREPARING = "preparing"
    """Its original settings are being journaled."""
    PREPARING_WANTED = "preparing-wanted"
    """The same, and it will be taken next."""
    PREPARED = "prepared"
    """Its descriptors are open and handed over; the host is unchanged."""
    TAKING = "taking"
    """Its governor is being switched."""
    TAKEN = "taken"
    """The monitor writes its frequency."""
    DRIFTED = "drifted"
    """Another program changed it; it is left like that until the operator retakes it,
    or no domain needs it."""
    RESTORING = "restoring"
    """Its original settings are being written back."""
    RESTORING_WANTED = "restoring-wanted"
    """The same, and it will be taken again next."""
    FAILED = "failed"
    """The kernel refused; retried at the next resync."""


class GroupEvent(Enum):
    """The events of a clock group."""

    NEEDED = "needed"
    """A connected domain, a policy or the operator may set its frequency."""
    UNNEEDED = "unneeded"
    """None of them may."""
    TAKE_WANTED = "take-wanted"
    """The monitor holds a vote for it, and waits for an answer."""
    OVERRIDDEN = "overridden"
    """The operator sets its frequency; it is taken without a vote."""
    PREPARED = "prepared"
    """Its original settings are journaled, its descriptors open."""
    RENEWED = "renewed"
    """Its settings had changed before it was taken; they are journaled again."""
    TAKEN = "taken"
    """Its governor is switched."""
    YIELDED = "yielded"
    """The monitor has stopped writing its frequency."""
    RESTORED = "restored"
    """Its original settings are back."""
    FAILED = "failed"
    """The kernel refused to prepare, take or restore it."""
    RETRIED = "retried"
    """It is time to retry what the kernel refused."""
    CPU_SWITCHED = "cpu-switched"
    """One of its CPUs went offline or came back online, and may have lost the granted
    frequency."""
    DRIFTED = "drifted"
    """Another program changed its governor or its frequency, and keeps it."""
    RETAKEN = "retaken"
    """It is to be taken back from another program."""
    REPLACED = "replaced"
    """The kernel has replaced its scaling driver: the descriptors are useless, and the
    originals are gone."""
    MONITOR_STARTED = "monitor-started"
    """A new monitor process has no descriptors."""


def _hand_over(group: int) -> Action:
    return HandOver(group, is_taken=False)


def _hand_over_taken(group: int) -> Action:
    return HandOver(group, is_taken=True)


def _confirm_take(group: int) -> Action:
    return AnswerTake(group, is_taken=True)


def _deny_take(group: int) -> Action:
    return AnswerTake(group, is_taken=False)


_S, _E = GroupStage, GroupEvent
_GIVE_UP = (CloseGroup, DropGroup)
_UNDER_WAY = (
    _S.PREPARING,
    _S.PREPARING_WANTED,
    _S.TAKING,
    _S.RESTORING,
    _S.RESTORING_WANTED,
)
HELD = frozenset(
    {
        *(_S.PREPARED, _S.TAKING, _S.TAKEN, _S.DRIFTED),
        *(_S.RESTORING, _S.RESTORING_WANTED),
    }
)
"""Stages in which the group's descriptors are open."""


def _unchanged(
    event: GroupEvent, *stages: GroupStage
) -> Mapping[tuple[GroupStage, GroupEvent], Row]:
    return {(stage, event): (stage, ()) for stage in stages}


TABLE: Mapping[tuple[GroupStage, GroupEvent], Row] = {
    # Needed or not. An operation under way is finished first; a taken group is yielded.
    (_S.IDLE, _E.NEEDED): (_S.PREPARING, (PrepareGroup,)),
    (_S.PREPARED, _E.UNNEEDED): (_S.IDLE, _GIVE_UP),
    (_S.DRIFTED, _E.UNNEEDED): (_S.RESTORING, (RestoreGroup,)),
    **_unchanged(_E.NEEDED, _S.PREPARED, _S.TAKEN, _S.DRIFTED, _S.FAILED, *_UNDER_WAY),
    **_unchanged(_E.UNNEEDED, _S.IDLE, _S.TAKEN, _S.FAILED, *_UNDER_WAY),
    # Requested by the monitor, which waits for an answer.
    # A group that no running domain needs is not taken, whatever the monitor reports.
    (_S.IDLE, _E.TAKE_WANTED): (_S.IDLE, (_deny_take,)),
    (_S.PREPARING, _E.TAKE_WANTED): (_S.PREPARING_WANTED, ()),
    (_S.PREPARED, _E.TAKE_WANTED): (_S.TAKING, (TakeGroup,)),
    (_S.TAKEN, _E.TAKE_WANTED): (_S.TAKEN, (_confirm_take,)),
    (_S.RESTORING, _E.TAKE_WANTED): (_S.RESTORING_WANTED, ()),
    (_S.FAILED, _E.TAKE_WANTED): (_S.FAILED, (_deny_take,)),
    (_S.DRIFTED, _E.TAKE_WANTED): (_S.DRIFTED, (_deny_take,)),
    **_unchanged(_E.TAKE_WANTED, _S.PREPARING_WANTED, _S.TAKING, _S.RESTORING_WANTED),
    # Requested by the operator.
    (_S.IDLE, _E.OVERRIDDEN): (_S.PREPARING_WANTED, (PrepareGroup,)),
    (_S.PREPARING, _E.OVERRIDDEN): (_S.PREPARING_WANTED, ()),
    (_S.PREPARED, _E.OVERRIDDEN): (_S.TAKING, (TakeGroup,)),
    (_S.RESTORING, _E.OVERRIDDEN): (_S.RESTORING_WANTED, ()),
    **_unchanged(
        _E.OVERRIDDEN,
        *(_S.PREPARING_WANTED, _S.TAKING, _S.TAKEN, _S.DRIFTED),
        *(_S.RESTORING_WANTED, _S.FAILED),
    ),
    # Outcomes.
    (_S.PREPARING, _E.PREPARED): (_S.PREPARED, (_hand_over,)),
    (_S.PREPARING_WANTED, _E.PREPARED): (_S.TAKING, (_hand_over, TakeGroup)),
    (_S.TAKING, _E.RENEWED): (_S.TAKING, (_hand_over, TakeGroup)),
    (_S.TAKING, _E.TAKEN): (_S.TAKEN, (_confirm_take,)),
    (_S.RESTORING, _E.RESTORED): (_S.PREPARED, (ConfirmRelease,)),
    (_S.RESTORING_WANTED, _E.RESTORED): (_S.TAKING, (ConfirmRelease, TakeGroup)),
    (_S.PREPARING, _E.FAILED): (_S.FAILED, (_deny_take, CloseGroup)),
    (_S.PREPARING_WANTED, _E.FAILED): (_S.FAILED, (_deny_take, CloseGroup)),
    (_S.TAKING, _E.FAILED): (_S.FAILED, (_deny_take, *_GIVE_UP)),
    (_S.RESTORING, _E.FAILED): (_S.FAILED, (_deny_take, *_GIVE_UP)),
    (_S.RESTORING_WANTED, _E.FAILED): (_S.FAILED, (_deny_take, *_GIVE_UP)),
    (_S.FAILED, _E.RETRIED): (_S.IDLE, ()),
    **_unchanged(_E.RETRIED, _S.IDLE, _S.PREPARED, _S.TAKEN, _S.DRIFTED, *_UNDER_WAY),
    # The monitor yields only taken groups; a report in another stage has no effect.
    (_S.TAKEN, _E.YIELDED): (_S.RESTORING, (RestoreGroup,)),
    **_unchanged(_E.YIELDED, _S.IDLE, _S.PREPARED, _S.DRIFTED, _S.FAILED, *_UNDER_WAY),
    # What others change. Handing it over untaken makes the monitor stop writing.
    (_S.TAKEN, _E.CPU_SWITCHED): (_S.TAKEN, (Reapply,)),
    (_S.TAKEN, _E.DRIFTED): (_S.DRIFTED, (_hand_over, UnpinGroup)),
    (_S.TAKEN, _E.RETAKEN): (_S.TAKING, (_hand_over, TakeGroup)),
    (_S.DRIFTED, _E.RETAKEN): (_S.TAKING, (TakeGroup,)),
    **_unchanged(
        _E.CPU_SWITCHED, _S.IDLE, _S.PREPARED, _S.DRIFTED, _S.FAILED, *_UNDER_WAY
    ),
    **_unchanged(_E.DRIFTED, _S.IDLE, _S.PREPARED, _S.DRIFTED, _S.FAILED, *_UNDER_WAY),
    **_unchanged(_E.RETAKEN, _S.IDLE, _S.PREPARED, _S.FAILED, *_UNDER_WAY),
    # An operation under way fails, and is retried.
    (_S.PREPARED, _E.REPLACED): (_S.PREPARING, (*_GIVE_UP, PrepareGroup)),
    (_S.TAKEN, _E.REPLACED): (_S.PREPARING_WANTED, (*_GIVE_UP, PrepareGroup)),
    (_S.DRIFTED, _E.REPLACED): (_S.PREPARING_WANTED, (*_GIVE_UP, PrepareGroup)),
    **_unchanged(_E.REPLACED, _S.IDLE, _S.FAILED, *_UNDER_WAY),
    (_S.TAKEN, _E.MONITOR_STARTED): (_S.TAKEN, (_hand_over_taken,)),
    **{
        (stage, _E.MONITOR_STARTED): (stage, (_hand_over,))
        for stage in HELD - {_S.TAKEN}
    },
    **_unchanged(
        _E.MONITOR_STARTED, _S.IDLE, _S.PREPARING, _S.PREPARING_WANTED, _S.FAILED
    ),
}
"""Every transition that can happen."""

MOVED_BY_NEED = frozenset(
    stage
    for (stage, event), row in TABLE.items()
    if event in (_E.NEEDED, _E.UNNEEDED) and row != (stage, ())
)
"""Stages that depend on whether the group is needed; in others that is decided later,
or by the monitor."""


def next_stage(
    stage: GroupStage, event: GroupEvent, group: int
) -> tuple[GroupStage, list[Action]]:
    """Return the next stage, and the commands of the transition.

    Args:
        stage: the group's stage.
        event: what happened to it.
        group: its number.

    Raises:
        ValueError: the event cannot happen in this stage: an internal error.
    """
    try:
        following, commands = TABLE[stage, event]
    except KeyError:
        raise ValueError(f"{event.name} cannot happen while {stage}") from None
    return following, [command(group) for command in commands]
