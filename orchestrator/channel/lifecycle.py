"""The states of a channel, and what leads from one to another, as a table.

Theory of operation: a channel exists as long as its domain's XML has it. While its
domain is off, or nobody listens at its path, it is ABSENT. Each try to connect goes
through CONNECTING, of which there is at most one at a time, and ends in OPEN or in one
of three ways to fail that need different patience: nobody listens yet (soon again),
another program holds it (later again), somebody must change something (rarely again).
OPEN and DISABLED have an endpoint, no other state has. What is not in the table cannot
happen; a happening that changes nothing stands in it with the same state.
"""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class ChannelState(StrEnum):
    """Where a channel is in its life; the words are those of `vmpower status`."""

    ABSENT = "absent"
    """The domain is off, or nobody listens at the path."""
    CONNECTING = "connecting"
    """A try to connect is under way."""
    OPEN = "open"
    """The endpoint is with the monitor, requests are obeyed."""
    DISABLED = "disabled"
    """The endpoint is with the monitor, the operator has every request refused."""
    CONTENDED = "contended"
    """Another program holds the channel."""
    REFUSED = "refused"
    """Cannot be connected until somebody changes a permission or a path."""
    CLOSED = "closed"
    """There was an endpoint, and it ended."""


class Happening(Enum):
    """What can happen to a channel."""

    ATTEMPT = "attempt"
    """We begin to connect: the channel appeared, or a try is due again."""
    CONNECTED = "connected"
    """The endpoint is with the monitor, requests are obeyed."""
    CONNECTED_DISABLED = "connected-disabled"
    """The endpoint is with the monitor, of a channel that the operator disabled."""
    NOBODY_LISTENS = "nobody-listens"
    """The try failed: EndpointAbsent."""
    HELD_BY_ANOTHER = "held-by-another"
    """The try failed: EndpointContended."""
    FORBIDDEN = "forbidden"
    """The try failed: EndpointRefused."""
    SWITCHED_ON = "switched-on"
    """The operator enabled the channel."""
    SWITCHED_OFF = "switched-off"
    """The operator disabled the channel."""
    HUNG_UP = "hung-up"
    """The other side ended the connection, or the monitor that held it died."""
    WITHDRAWN = "withdrawn"
    """The domain stopped or lost the channel: an endpoint is ours to close."""


_S, _H = ChannelState, Happening
_UNCONNECTED = (_S.ABSENT, _S.CONTENDED, _S.REFUSED, _S.CLOSED, _S.CONNECTING)

TABLE: Mapping[tuple[ChannelState, Happening], ChannelState] = {
    **{(state, _H.ATTEMPT): _S.CONNECTING for state in _UNCONNECTED[:-1]},
    (_S.CONNECTING, _H.CONNECTED): _S.OPEN,
    (_S.CONNECTING, _H.CONNECTED_DISABLED): _S.DISABLED,
    (_S.CONNECTING, _H.NOBODY_LISTENS): _S.ABSENT,
    (_S.CONNECTING, _H.HELD_BY_ANOTHER): _S.CONTENDED,
    (_S.CONNECTING, _H.FORBIDDEN): _S.REFUSED,
    # The operator's switch outlives the endpoint; without one it changes no state.
    **{(state, _H.SWITCHED_ON): state for state in _UNCONNECTED},
    **{(state, _H.SWITCHED_OFF): state for state in _UNCONNECTED},
    (_S.OPEN, _H.SWITCHED_ON): _S.OPEN,
    (_S.OPEN, _H.SWITCHED_OFF): _S.DISABLED,
    (_S.DISABLED, _H.SWITCHED_ON): _S.OPEN,
    (_S.DISABLED, _H.SWITCHED_OFF): _S.DISABLED,
    (_S.OPEN, _H.HUNG_UP): _S.CLOSED,
    (_S.DISABLED, _H.HUNG_UP): _S.CLOSED,
    # The monitor's word that an endpoint ended may cross our own closing of it.
    (_S.ABSENT, _H.HUNG_UP): _S.ABSENT,
    (_S.CLOSED, _H.HUNG_UP): _S.CLOSED,
    **{(state, _H.WITHDRAWN): _S.ABSENT for state in ChannelState},
}
"""Every row that can happen."""


def after(state: ChannelState, happening: Happening) -> ChannelState:
    """Return the state that follows.

    Raises:
        ValueError: this cannot happen in this state: a fault of ours.
    """
    try:
        return TABLE[state, happening]
    except KeyError:
        raise ValueError(f"{happening.name} cannot happen while {state}") from None
