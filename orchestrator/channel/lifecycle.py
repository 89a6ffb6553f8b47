# SPDX-License-Identifier: Apache-2.0
"""The states of a channel and their transitions, as a table.

Theory of operation: a channel exists as long as its domain's XML has it. While its
domain is off, or has no listener at the channel's path, it is ABSENT. Each attempt to
connect goes through CONNECTING, one at a time, and ends in OPEN or in one of three
failures with different pauses before the next attempt: no listener yet (short), another
program is connected (longer), a permission or a path must be changed (longest). Only
OPEN and DISABLED have an endpoint. Channels that share a socket path are REFUSED
without an attempt, because the socket belongs to one domain only. The channel of a
guest that abuses it is QUARANTINED and tried again after a longer pause. An event that
is not in the table for a state is an internal error; one that changes nothing is in it
with the same state.
"""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class ChannelState(StrEnum):
    """State of a channel, as `vmpower status` shows it."""

    ABSENT = "absent"
    """The domain is off, or there is no listener at the path."""
    CONNECTING = "connecting"
    """An attempt to connect is under way."""
    OPEN = "open"
    """The monitor has the endpoint; requests are granted."""
    DISABLED = "disabled"
    """The monitor has the endpoint; the operator disabled the channel."""
    CONTENDED = "contended"
    """Another program is connected to the channel."""
    REFUSED = "refused"
    """It cannot be connected until a permission or a path is changed."""
    CLOSED = "closed"
    """The connection ended."""
    QUARANTINED = "quarantined"
    """Its guest sent too much, or garbage; vmpowerd closed the endpoint for a while."""


class ChannelEvent(Enum):
    """An event that can change the state of a channel."""

    ATTEMPT = "attempt"
    """An attempt begins: the channel appeared, or a retry is due."""
    CONNECTED = "connected"
    """The attempt succeeded."""
    CONNECTED_DISABLED = "connected-disabled"
    """The attempt succeeded; the operator disabled the channel meanwhile."""
    NO_LISTENER = "no-listener"
    """The attempt failed: EndpointAbsent."""
    IN_USE = "in-use"
    """The attempt failed: EndpointContended."""
    FORBIDDEN = "forbidden"
    """The attempt failed: EndpointRefused."""
    SWITCHED_ON = "switched-on"
    """The operator enabled the channel."""
    SWITCHED_OFF = "switched-off"
    """The operator disabled the channel."""
    HUNG_UP = "hung-up"
    """The other side closed the connection, or the monitor died."""
    ABUSED = "abused"
    """Its guest exceeded its budget for long, or sent much garbage."""
    WITHDRAWN = "withdrawn"
    """The domain stopped or lost the channel: vmpowerd closes the endpoint."""
    SHARED = "shared"
    """Another channel has the same socket path: vmpowerd closes the endpoint."""


_S, _E = ChannelState, ChannelEvent
_UNCONNECTED = (
    *(_S.ABSENT, _S.CONTENDED, _S.REFUSED, _S.CLOSED, _S.QUARANTINED),
    _S.CONNECTING,
)

TRANSITIONS: Mapping[tuple[ChannelState, ChannelEvent], ChannelState] = {
    **{(state, _E.ATTEMPT): _S.CONNECTING for state in _UNCONNECTED[:-1]},
    (_S.CONNECTING, _E.CONNECTED): _S.OPEN,
    (_S.CONNECTING, _E.CONNECTED_DISABLED): _S.DISABLED,
    (_S.CONNECTING, _E.NO_LISTENER): _S.ABSENT,
    (_S.CONNECTING, _E.IN_USE): _S.CONTENDED,
    (_S.CONNECTING, _E.FORBIDDEN): _S.REFUSED,
    # The setting outlives the endpoint; without an endpoint it changes no state.
    **{(state, _E.SWITCHED_ON): state for state in _UNCONNECTED},
    **{(state, _E.SWITCHED_OFF): state for state in _UNCONNECTED},
    (_S.OPEN, _E.SWITCHED_ON): _S.OPEN,
    (_S.OPEN, _E.SWITCHED_OFF): _S.DISABLED,
    (_S.DISABLED, _E.SWITCHED_ON): _S.OPEN,
    (_S.DISABLED, _E.SWITCHED_OFF): _S.DISABLED,
    (_S.OPEN, _E.HUNG_UP): _S.CLOSED,
    (_S.DISABLED, _E.HUNG_UP): _S.CLOSED,
    (_S.OPEN, _E.ABUSED): _S.QUARANTINED,
    (_S.DISABLED, _E.ABUSED): _S.QUARANTINED,
    # The monitor may report the end of an endpoint that is being closed.
    (_S.ABSENT, _E.HUNG_UP): _S.ABSENT,
    (_S.CLOSED, _E.HUNG_UP): _S.CLOSED,
    **{(state, _E.WITHDRAWN): _S.ABSENT for state in ChannelState},
    **{(state, _E.SHARED): _S.REFUSED for state in ChannelState},
}
"""The next state, for every event that is possible in a state."""


def next_state(state: ChannelState, event: ChannelEvent) -> ChannelState:
    """Return the state after an event.

    Raises:
        ValueError: the event is impossible in this state: an internal error.
    """
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise ValueError(f"{event.name} is impossible in state {state}") from None
