# SPDX-License-Identifier: Apache-2.0
"""P-state channels in tables: they have no answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from cli.output.tables.channels import build_own_channels, count_refused
from cli.output.tables.plain import render_plain
from cli.output.tables.status import build_status
from orchestrator.channel.lifecycle import ChannelState
from orchestrator.control.models import Channel
from orchestrator.values.domain import ChannelKind
from tests.cli.test_tables import status_of
from tests.control import fake_host
from tests.control.fake_daemon import FakeDaemon

if TYPE_CHECKING:
    from orchestrator.control import documents

P_STATES = Channel(
    number=2000,
    kind=ChannelKind.P_STATES,
    target="0x5c0",
    path="/run/p-states",
    state=ChannelState.OPEN,
    requests_total=70,
    acks_total=0,
    nacks_total=0,
    dropped_total=0,
    late_total=0,
    errors_total=0,
    unanswered_total=70,
    nack_reasons={"no-step": 2, "no-vcpu": 1},
    last_request=fake_host.START,
)


def document(channel: Channel) -> documents.Channel:
    return cast("documents.Channel", channel.model_dump(mode="json"))


def test_its_kind_and_refusals_are_shown_and_no_answers() -> None:
    text = "\n".join(render_plain((build_own_channels([document(P_STATES)]),)))
    line = next(it for it in text.splitlines() if "p-states" in it)
    assert line.split()[:9] == ["2000", "p-states", "open", "70", "-", "3", *"---"]
    assert "2026-03-01" in line
    assert "2 requests refused on channel 2000 (no-step)" in text


def test_requests_that_were_refused_count_in_both_kinds() -> None:
    agent = fake_host.channel(0, requests=9, nacks=4)
    assert count_refused(document(agent)) == 4
    assert count_refused(document(P_STATES)) == 3


def test_the_status_names_the_kind_of_a_channel_without_a_vcpu() -> None:
    status = status_of(FakeDaemon())
    status["domains"][0]["channels"].append(document(P_STATES))
    text = "\n".join(render_plain(build_status(status, None)))
    assert "2000 (p-states): open" in text
