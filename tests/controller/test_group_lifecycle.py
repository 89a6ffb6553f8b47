# SPDX-License-Identifier: Apache-2.0
"""The table of a clock group's stages: values only."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.controller import actions as a
from orchestrator.controller.group_lifecycle import (
    HELD,
    TABLE,
    GroupEvent,
    GroupStage,
    next_stage,
)
from orchestrator.monitor.link import commands as c

S, E = GroupStage, GroupEvent
OUTCOMES = {
    S.PREPARING: {E.PREPARED, E.FAILED},
    S.PREPARING_WANTED: {E.PREPARED, E.FAILED},
    S.TAKING: {E.RENEWED, E.TAKEN, E.FAILED},
    S.RESTORING: {E.RESTORED, E.FAILED},
    S.RESTORING_WANTED: {E.RESTORED, E.FAILED},
}
"""What an operation that is under way can end in."""
ANY_OUTCOME = set().union(*OUTCOMES.values())


@pytest.mark.parametrize(("stage", "event"), list(product(S, E)))
def test_every_pair_is_in_the_table_but_outcomes_of_what_is_not_under_way(
    stage: GroupStage, event: GroupEvent
) -> None:
    if event in ANY_OUTCOME - OUTCOMES.get(stage, set()):
        with pytest.raises(ValueError, match=f"{event.name} cannot happen while"):
            next_stage(stage, event, 0)
    else:
        following, actions = next_stage(stage, event, 7)
        assert following is TABLE[stage, event][0]
        assert {action.group for action in actions} <= {7}  # type: ignore[union-attr]


def starts(actions: list[a.Action]) -> list[type]:
    slow = (a.PrepareGroup, a.TakeGroup, a.RestoreGroup)
    return [type(action) for action in actions if isinstance(action, slow)]


@pytest.mark.parametrize("pair", list(TABLE))
def test_an_operation_starts_when_a_stage_that_waits_for_it_does(
    pair: tuple[GroupStage, GroupEvent],
) -> None:
    stage, event = pair
    following, actions = next_stage(stage, event, 0)
    began = following in OUTCOMES and (stage not in OUTCOMES or event in ANY_OUTCOME)
    expected = {
        S.PREPARING: a.PrepareGroup,
        S.PREPARING_WANTED: a.PrepareGroup,
        S.TAKING: a.TakeGroup,
        S.RESTORING: a.RestoreGroup,
    }
    assert starts(actions) == ([expected[following]] if began else [])


@given(st.lists(st.sampled_from(E)))
def test_descriptors_are_open_in_the_stages_that_say_so(
    happenings: list[GroupEvent],
) -> None:
    stage, is_held, is_taken = S.IDLE, False, False
    for event in happenings:
        if (stage, event) not in TABLE:
            continue
        is_held |= event is E.PREPARED
        is_taken = (is_taken or event is E.TAKEN) and event is not E.RESTORED
        before = stage
        stage, actions = next_stage(stage, event, 0)
        for action in actions:
            if isinstance(action, c.HandOver):
                assert is_held
                assert action.is_taken == (stage is S.TAKEN)
            if isinstance(action, a.DropGroup):
                # The monitor's first: it must not write to a group that is forgotten.
                assert c.CloseGroup(0) in actions[: actions.index(action)]
                is_held = is_taken = False
        assert is_held == (stage in HELD)
        is_taken &= not (before in {S.TAKEN, S.DRIFTED} and stage is S.TAKING)
        is_held &= event is not E.REPLACED or stage in HELD
        taken = {S.TAKEN, S.DRIFTED, S.RESTORING, S.RESTORING_WANTED}
        assert is_taken == (stage in taken)


@given(st.lists(st.sampled_from(E)))
def test_all_who_wait_for_a_take_are_answered(happenings: list[GroupEvent]) -> None:
    stage, is_waiting = S.IDLE, False
    for event in happenings:
        if (stage, event) not in TABLE:
            continue
        is_waiting |= event is E.TAKE_WANTED
        stage, actions = next_stage(stage, event, 0)
        if any(isinstance(action, c.AnswerTake) for action in actions):
            is_waiting = False
    if is_waiting:
        assert stage in {S.PREPARING_WANTED, S.TAKING, S.RESTORING_WANTED}


@pytest.mark.parametrize("stage", [S.PREPARED, S.TAKEN, S.DRIFTED])
def test_a_group_whose_driver_was_replaced_is_prepared_again(stage: GroupStage) -> None:
    prepared, actions = next_stage(stage, E.REPLACED, 0)
    assert actions == [c.CloseGroup(0), a.DropGroup(0), a.PrepareGroup(0)]
    after, actions = next_stage(prepared, E.PREPARED, 0)
    assert actions[0] == c.HandOver(0, is_taken=False)
    # The guest's votes have not ended: it is taken again.
    assert (after is S.TAKING) == (stage is not S.PREPARED)


@pytest.mark.parametrize("event", [E.DRIFTED, E.RETAKEN])
def test_the_monitor_stops_writing_before_a_group_is_left_or_retaken(
    event: GroupEvent,
) -> None:
    _, actions = next_stage(S.TAKEN, event, 0)
    assert actions[0] == c.HandOver(0, is_taken=False)
