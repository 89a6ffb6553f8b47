"""Connecting, losing and switching channels."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator import actions as a
from orchestrator import events as e
from orchestrator.channel.lifecycle import ChannelState
from orchestrator.controller.channels import PORT_STATE_LAGS_NS
from tests.controller.specs import NOW_NS, channel, domain
from tests.controller.world import World

if TYPE_CHECKING:
    from orchestrator.domain import DomainSpec


def one_channel() -> DomainSpec:
    return domain(channels=(channel(0),))


def described(spec: DomainSpec) -> World:
    world = World(domains={spec.uuid: spec})
    world.is_monitor_up = True
    world.tell(e.TopologyRead(world.topology), e.MonitorStarted())
    world.to_do.clear()
    return world


def delays(decided: list[a.Action]) -> list[float]:
    return [x.delay_s for x in decided if isinstance(x, a.ConnectChannel)]


def closing(spec: DomainSpec, number: int) -> list[a.Action]:
    return [a.EndGuestPolicies(spec.uuid, number), a.CloseChannel(spec.uuid, number)]


def test_the_first_attempt_is_made_at_once() -> None:
    world = described(spec := one_channel())
    assert delays(world.tell(e.DomainDescribed(spec, NOW_NS))) == [0.0]


def test_retries_back_off_from_20_ms_to_5_s() -> None:
    world = described(spec := one_channel())
    world.tell(e.DomainDescribed(spec, NOW_NS))
    absent = e.ChannelAbsent(spec.uuid, 0, "/run/channel.0", "nobody listens")
    waits = [delays(world.tell(absent))[0] for _ in range(12)]
    assert waits[:4] == [0.02, 0.04, 0.08, 0.16]
    assert waits[-1] == 5.0


def test_an_attempt_that_fails_again_is_not_told_again() -> None:
    world = described(spec := one_channel())
    world.tell(e.DomainDescribed(spec, NOW_NS))
    absent = e.ChannelAbsent(spec.uuid, 0, "/run/channel.0", "nobody listens")
    first, second = world.tell(absent), world.tell(absent)
    assert [type(x) for x in first] == [a.Report, a.ConnectChannel]
    assert [type(x) for x in second] == [a.ConnectChannel]


def test_a_contended_channel_is_tried_with_patience() -> None:
    world = described(spec := one_channel())
    world.tell(e.DomainDescribed(spec, NOW_NS))
    held = e.ChannelContended(spec.uuid, 0, "/run/channel.0", "another program")
    assert delays(world.tell(held)) == [1.0]
    record = world.inventory.channel(spec.uuid, 0)
    assert record
    assert (record.state, record.reason) == (ChannelState.CONTENDED, "another program")


def test_a_refused_channel_waits_for_the_next_resync() -> None:
    world = described(spec := one_channel())
    world.tell(e.DomainDescribed(spec, NOW_NS))
    refused = e.ChannelRefused(spec.uuid, 0, "/run/channel.0", "user 1234 listens")
    assert delays(world.tell(refused)) == []
    assert len(delays(world.tell(e.ResyncDue()))) == 1


def test_an_outcome_for_a_path_of_the_past_is_closed_again() -> None:
    world = described(spec := one_channel())
    world.tell(e.DomainDescribed(spec, NOW_NS))
    late = e.ChannelConnected(spec.uuid, 0, "/run/old.0")
    assert world.tell(late) == closing(spec, 0)


def test_a_connection_to_a_domain_that_is_gone_is_closed_again() -> None:
    world = described(spec := one_channel())
    late = e.ChannelConnected(spec.uuid, 0, "/run/channel.0")
    assert world.tell(late) == closing(spec, 0)


def test_a_guest_that_hangs_up_is_tried_again_soon_and_asked_about() -> None:
    world = described(spec := one_channel())
    world.start()
    world.settle()
    decided = world.tell(e.EndpointClosed(spec.uuid, 0, "end of file"))
    assert delays(decided) == [0.02]
    assert a.DescribeDomain(spec.uuid) in decided
    record = world.inventory.channel(spec.uuid, 0)
    assert record
    assert record.state is ChannelState.CLOSED


def test_a_disabled_channel_stays_disabled_over_a_reconnect() -> None:
    world = described(spec := one_channel())
    world.start()
    world.settle()
    decided = world.tell(e.ChannelSwitched(spec.uuid, 0, is_enabled=False))
    assert a.SwitchChannel(spec.uuid, 0, is_enabled=False) in decided
    world.tell(e.EndpointClosed(spec.uuid, 0, "end of file"))
    world.settle()
    record = world.inventory.channel(spec.uuid, 0)
    assert record
    assert record.state is ChannelState.DISABLED


def test_a_channel_disabled_before_it_connects_opens_disabled() -> None:
    world = described(spec := one_channel())
    world.tell(e.DomainDescribed(spec, NOW_NS))
    world.tell(e.ChannelSwitched(spec.uuid, 0, is_enabled=False))
    decided = world.tell(e.ChannelConnected(spec.uuid, 0, "/run/channel.0"))
    assert a.SwitchChannel(spec.uuid, 0, is_enabled=False) in decided
    record = world.inventory.channel(spec.uuid, 0)
    assert record
    assert record.state is ChannelState.DISABLED


def test_a_guest_that_closes_its_port_loses_that_channels_votes() -> None:
    world = described(spec := domain())
    world.start()
    world.settle()
    closed = e.GuestPortChanged(spec.uuid, "channel1", is_open=False, at_ns=NOW_NS)
    ended = a.EndPortSession(spec.uuid, 1, NOW_NS, is_closed=True)
    assert world.tell(closed) == [ended]
    opened = e.GuestPortChanged(spec.uuid, "channel1", is_open=True, at_ns=NOW_NS)
    replaced = a.EndPortSession(spec.uuid, 1, NOW_NS, is_closed=False)
    assert world.tell(opened) == [replaced]


def test_the_live_xml_tells_of_a_closed_port_too() -> None:
    spec = domain(channels=(channel(0, is_guest_connected=True),))
    world = described(spec)
    world.start()
    world.settle()
    later = replace(spec, channels=(channel(0, is_guest_connected=False),))
    before_ns = NOW_NS - PORT_STATE_LAGS_NS
    ended = a.EndPortSession(spec.uuid, 0, before_ns, is_closed=True)
    assert world.tell(e.DomainDescribed(later, NOW_NS)) == [ended]
    assert world.tell(e.DomainDescribed(later, NOW_NS)) == []


def test_a_close_that_is_told_late_is_looked_into() -> None:
    spec = domain(channels=(channel(0, is_guest_connected=False),))
    world = described(spec)
    world.start()
    world.settle()
    world.spoke_ns[spec.uuid, 0] = NOW_NS + 1
    closed = e.GuestPortChanged(spec.uuid, "channel0", is_open=False, at_ns=NOW_NS)
    world.tell(closed)
    world.hear()
    assert a.DescribeDomain(spec.uuid) in world.to_do
    # Silent for as long as a report may take: what the port's state says is true.
    asked_ns = NOW_NS + 1 + PORT_STATE_LAGS_NS
    ended = a.EndPortSession(spec.uuid, 0, NOW_NS + 1, is_closed=True)
    assert world.tell(e.DomainDescribed(spec, asked_ns)) == [ended]
    assert world.tell(e.DomainDescribed(spec, asked_ns)) == []


def test_a_port_that_is_open_after_all_keeps_what_was_asked() -> None:
    spec = domain(channels=(channel(0, is_guest_connected=True),))
    world = described(spec)
    world.start()
    world.settle()
    assert world.tell(e.PortCloseDoubted(spec.uuid, 0)) == [a.DescribeDomain(spec.uuid)]
    assert world.tell(e.DomainDescribed(spec, NOW_NS)) == []
    # An open port that is reported settles a doubt, too.
    world.tell(e.PortCloseDoubted(spec.uuid, 0))
    opened = e.GuestPortChanged(spec.uuid, "channel0", is_open=True, at_ns=NOW_NS)
    world.tell(opened)
    unknown = replace(spec, channels=(channel(0, is_guest_connected=None),))
    assert world.tell(e.DomainDescribed(unknown, NOW_NS)) == []
    assert world.tell(e.PortCloseDoubted(spec.uuid, 7)) == []


def test_a_channel_that_was_unplugged_is_closed_and_forgotten() -> None:
    world = described(spec := domain())
    world.start()
    world.settle()
    decided = world.tell(
        e.DomainDescribed(replace(spec, channels=(channel(1),)), NOW_NS)
    )
    assert a.CloseChannel(spec.uuid, 0) in decided
    assert set(world.inventory.domains[spec.uuid].channels) == {1}


def test_a_dead_monitor_costs_every_channel_and_a_new_one_gets_them_all() -> None:
    world = described(spec := domain())
    world.start()
    world.settle()
    world.open_channels.clear()
    world.is_monitor_up = False
    decided = world.tell(e.MonitorDied(-9))
    assert a.StartMonitor() in decided
    assert not any(isinstance(x, a.DropGroup) for x in decided)
    world.settle()
    assert world.open_channels == {(spec.uuid, 0), (spec.uuid, 1)}
    assert world.inventory.monitor_restarts_total == 1


def orphaned() -> tuple[World, DomainSpec]:
    """A channel whose votes have lost the monitor that held it."""
    world = described(spec := one_channel())
    world.start()
    world.settle()
    world.tell(e.MonitorDied(-9))
    world.tell(e.MonitorStarted())
    return world, spec


def seconds_until_withdrawn(world: World, failure: e.Event) -> float:
    waited_s = 0.0
    for _ in range(20):
        decided = world.tell(failure)
        if any(isinstance(x, a.WithdrawVotes) for x in decided):
            return waited_s
        waited_s += delays(decided)[0]
    raise AssertionError("the votes stay")


def test_votes_of_a_channel_that_nobody_serves_any_more_end_after_a_second() -> None:
    world, spec = orphaned()
    absent = e.ChannelAbsent(spec.uuid, 0, "/run/channel.0", "nobody listens")
    assert 1.0 <= seconds_until_withdrawn(world, absent) <= 2.0
    assert not any(isinstance(x, a.WithdrawVotes) for x in world.tell(absent))


def test_votes_of_a_channel_that_another_program_took_end_at_its_second_look() -> None:
    world, spec = orphaned()
    held = e.ChannelContended(spec.uuid, 0, "/run/channel.0", "another program")
    assert seconds_until_withdrawn(world, held) == 1.0


def test_votes_of_a_channel_that_is_refused_end_at_once() -> None:
    world, spec = orphaned()
    refused = e.ChannelRefused(spec.uuid, 0, "/run/channel.0", "user 1234 listens")
    assert a.WithdrawVotes(spec.uuid, 0) in world.tell(refused)


def test_votes_of_a_channel_that_comes_back_stay() -> None:
    world, spec = orphaned()
    absent = e.ChannelAbsent(spec.uuid, 0, "/run/channel.0", "nobody listens")
    decided = world.tell(absent, e.ChannelConnected(spec.uuid, 0, "/run/channel.0"))
    # It hung up: the monitor ends its votes, and nobody else.
    decided += world.tell(e.EndpointClosed(spec.uuid, 0, "end of file"))
    for _ in range(20):
        decided += world.tell(absent)
    assert not any(isinstance(x, a.WithdrawVotes) for x in decided)
