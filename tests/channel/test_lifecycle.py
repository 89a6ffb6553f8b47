from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.channel.lifecycle import TABLE, ChannelState, Happening, after

S, H = ChannelState, Happening
ENDPOINT = {S.OPEN, S.DISABLED}
"""States in which there is an endpoint."""
IMPOSSIBLE = {
    *((state, H.ATTEMPT) for state in ENDPOINT | {S.CONNECTING}),
    *(
        (state, outcome)
        for state in set(S) - {S.CONNECTING}
        for outcome in (
            H.CONNECTED,
            H.CONNECTED_DISABLED,
            H.NOBODY_LISTENS,
            H.HELD_BY_ANOTHER,
            H.FORBIDDEN,
        )
    ),
    (S.CONNECTING, H.HUNG_UP),
    (S.CONTENDED, H.HUNG_UP),
    (S.REFUSED, H.HUNG_UP),
}


@pytest.mark.parametrize(("state", "happening"), list(product(S, H)))
def test_every_pair_is_either_in_the_table_or_raises(
    state: ChannelState, happening: Happening
) -> None:
    if (state, happening) in IMPOSSIBLE:
        with pytest.raises(ValueError, match=happening.name):
            after(state, happening)
    else:
        assert after(state, happening) is TABLE[state, happening]


def test_the_words_are_those_of_the_status_document() -> None:
    assert [str(state) for state in S] == [
        "absent",
        "connecting",
        "open",
        "disabled",
        "contended",
        "refused",
        "closed",
    ]


@pytest.mark.parametrize(
    ("happenings", "state"),
    [
        ([H.ATTEMPT, H.CONNECTED], S.OPEN),
        ([H.ATTEMPT, H.NOBODY_LISTENS], S.ABSENT),
        ([H.ATTEMPT, H.HELD_BY_ANOTHER], S.CONTENDED),
        ([H.ATTEMPT, H.FORBIDDEN], S.REFUSED),
        ([H.ATTEMPT, H.HELD_BY_ANOTHER, H.ATTEMPT, H.CONNECTED], S.OPEN),
        ([H.ATTEMPT, H.CONNECTED, H.HUNG_UP], S.CLOSED),
        ([H.ATTEMPT, H.CONNECTED, H.HUNG_UP, H.ATTEMPT, H.CONNECTED], S.OPEN),
        ([H.ATTEMPT, H.CONNECTED, H.SWITCHED_OFF], S.DISABLED),
        ([H.ATTEMPT, H.CONNECTED_DISABLED, H.SWITCHED_ON], S.OPEN),
        ([H.ATTEMPT, H.CONNECTED, H.WITHDRAWN], S.ABSENT),
        ([H.SWITCHED_OFF, H.ATTEMPT, H.WITHDRAWN], S.ABSENT),
    ],
)
def test_lives_of_a_channel(happenings: list[Happening], state: ChannelState) -> None:
    now = S.ABSENT
    for happening in happenings:
        now = after(now, happening)
    assert now is state


@given(st.lists(st.sampled_from(H)))
def test_an_endpoint_comes_only_from_connecting(happenings: list[Happening]) -> None:
    now = S.ABSENT
    for happening in happenings:
        if (now, happening) in IMPOSSIBLE:
            continue
        before, now = now, after(now, happening)
        assert now not in ENDPOINT or before in ENDPOINT | {S.CONNECTING}


@given(st.sampled_from(S))
def test_from_every_state_a_channel_can_come_to_be_open(state: ChannelState) -> None:
    path = [H.WITHDRAWN, H.ATTEMPT, H.CONNECTED]
    for happening in path:
        state = after(state, happening)
    assert state is S.OPEN
