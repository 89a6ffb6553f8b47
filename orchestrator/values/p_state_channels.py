# SPDX-License-Identifier: Apache-2.0
"""The ports of a domain's P-states as channels, beside its poweragent channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.values.domain import ChannelSpec, Target

if TYPE_CHECKING:
    from orchestrator.values.p_states import PStates

FIRST_NUMBER = 2000
"""Number of the channel of a domain's first port; above those of all other channels."""


def build_channels(p_states: PStates | None) -> tuple[ChannelSpec, ...]:
    """Return the channels of a domain's P-states: one for each port with a device."""
    if p_states is None:
        return ()
    numbers = {port: FIRST_NUMBER + at for at, port in enumerate(p_states.ports)}
    return tuple(
        ChannelSpec(
            number=numbers[endpoint.port],
            target=Target(f"{endpoint.port.io_base:#x}"),
            path=endpoint.path,
            alias=endpoint.alias,
            socket=endpoint.socket,
            steps=p_states.steps_of(endpoint.port),
        )
        for endpoint in p_states.endpoints
    )
