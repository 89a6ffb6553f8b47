# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.channel.lifecycle import (
    TRANSITIONS,
    ChannelEvent,
    ChannelState,
    next_state,
)

S, E = ChannelState, ChannelEvent
ENDPOINT = {S.OPEN, S.DISABLED}
"""States in which there is an endpoint."""
IMPOSSIBLE = {
    *((state, E.ATTEMPT) for state in ENDPOINT | {S.CONNECTING}),
    *(
        (state, outcome)
        for state in set(S) - {S.CONNECTING}
        for outcome in (
            E.CONNECTED,
            E.CONNECTED_DISABLED,
            E.NO_LISTENER,
            E.IN_USE,
            E.FORBIDDEN,
        )
    ),
    *((state, E.ABUSED) for state in set(S) - ENDPOINT),
    (S.QUARANTINED, E.HUNG_UP),
    (S.CONNECTING, E.HUNG_UP),
    (S.CONTENDED, E.HUNG_UP),
    (S.REFUSED, E.HUNG_UP),
}


@pytest.mark.parametrize(("state", "event"), list(product(S, E)))
def test_every_event_has_a_next_state_or_raises(
    state: ChannelState, event: ChannelEvent
) -> None:
    if (state, event) in IMPOSSIBLE:
        with pytest.raises(ValueError, match=event.name):
            next_state(state, event)
    else:
        assert next_state(state, event) is TRANSITIONS[state, event]


def test_the_states_are_named_as_in_the_status_document() -> None:
    assert [str(state) for state in S] == [
        "absent",
        "connecting",
        "open",
        "disabled",
        "contended",
        "refused",
        "closed",
        "quarantined",
    ]


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ([E.ATTEMPT, E.CONNECTED], S.OPEN),
        ([E.ATTEMPT, E.NO_LISTENER], S.ABSENT),
        ([E.ATTEMPT, E.IN_USE], S.CONTENDED),
        ([E.ATTEMPT, E.FORBIDDEN], S.REFUSED),
        ([E.ATTEMPT, E.IN_USE, E.ATTEMPT, E.CONNECTED], S.OPEN),
        ([E.ATTEMPT, E.CONNECTED, E.HUNG_UP], S.CLOSED),
        ([E.ATTEMPT, E.CONNECTED, E.HUNG_UP, E.ATTEMPT, E.CONNECTED], S.OPEN),
        ([E.ATTEMPT, E.CONNECTED, E.SWITCHED_OFF], S.DISABLED),
        ([E.ATTEMPT, E.CONNECTED_DISABLED, E.SWITCHED_ON], S.OPEN),
        ([E.ATTEMPT, E.CONNECTED, E.WITHDRAWN], S.ABSENT),
        ([E.SWITCHED_OFF, E.ATTEMPT, E.WITHDRAWN], S.ABSENT),
        ([E.SHARED], S.REFUSED),
        ([E.ATTEMPT, E.CONNECTED, E.SHARED, E.ATTEMPT, E.CONNECTED], S.OPEN),
    ],
)
def test_sequences_of_events(events: list[ChannelEvent], state: ChannelState) -> None:
    now = S.ABSENT
    for event in events:
        now = next_state(now, event)
    assert now is state


@given(st.lists(st.sampled_from(E)))
def test_only_connecting_leads_to_an_endpoint(events: list[ChannelEvent]) -> None:
    now = S.ABSENT
    for event in events:
        if (now, event) in IMPOSSIBLE:
            continue
        before, now = now, next_state(now, event)
        assert now not in ENDPOINT or before in ENDPOINT | {S.CONNECTING}


@given(st.sampled_from(S))
def test_a_channel_can_be_opened_from_every_state(state: ChannelState) -> None:
    path = [E.WITHDRAWN, E.ATTEMPT, E.CONNECTED]
    for event in path:
        state = next_state(state, event)
    assert state is S.OPEN
