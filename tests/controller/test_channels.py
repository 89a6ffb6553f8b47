"""Connecting, losing and switching channels."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator import actions as a
from orchestrator import events as e
from orchestrator.channel.lifecycle import ChannelState
from tests.controller.specs import channel, domain
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
    assert delays(world.tell(e.DomainDescribed(spec))) == [0.0]


def test_retries_back_off_from_20_ms_to_5_s() -> None:
    world = described(spec := one_channel())
    world.tell(e.DomainDescribed(spec))
    absent = e.ChannelAbsent(spec.uuid, 0, "/run/channel.0", "nobody listens")
    waits = [delays(world.tell(absent))[0] for _ in range(12)]
    assert waits[:4] == [0.02, 0.04, 0.08, 0.16]
    assert waits[-1] == 5.0


def test_an_attempt_that_fails_again_is_not_told_again() -> None:
    world = described(spec := one_channel())
    world.tell(e.DomainDescribed(spec))
    absent = e.ChannelAbsent(spec.uuid, 0, "/run/channel.0", "nobody listens")
    first, second = world.tell(absent), world.tell(absent)
    assert [type(x) for x in first] == [a.Report, a.ConnectChannel]
    assert [type(x) for x in second] == [a.ConnectChannel]


def test_a_contended_channel_is_tried_with_patience() -> None:
    world = described(spec := one_channel())
    world.tell(e.DomainDescribed(spec))
    held = e.ChannelContended(spec.uuid, 0, "/run/channel.0", "another program")
    assert delays(world.tell(held)) == [1.0]
    record = world.inventory.channel(spec.uuid, 0)
    assert record
    assert (record.state, record.reason) == (ChannelState.CONTENDED, "another program")


def test_a_refused_channel_waits_for_the_next_resync() -> None:
    world = described(spec := one_channel())
    world.tell(e.DomainDescribed(spec))
    refused = e.ChannelRefused(spec.uuid, 0, "/run/channel.0", "user 1234 listens")
    assert delays(world.tell(refused)) == []
    assert len(delays(world.tell(e.ResyncDue()))) == 1


def test_an_outcome_for_a_path_of_the_past_is_closed_again() -> None:
    world = described(spec := one_channel())
    world.tell(e.DomainDescribed(spec))
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
    world.tell(e.DomainDescribed(spec))
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
    closed = e.GuestPortChanged(spec.uuid, "channel1", is_open=False)
    ended = [a.EndGuestPolicies(spec.uuid, 1), a.WithdrawVotes(spec.uuid, 1)]
    assert world.tell(closed) == ended
    opened = e.GuestPortChanged(spec.uuid, "channel1", is_open=True)
    assert world.tell(opened) == []


def test_the_live_xml_tells_of_a_closed_port_too() -> None:
    spec = domain(channels=(channel(0, is_guest_connected=True),))
    world = described(spec)
    world.start()
    world.settle()
    later = replace(spec, channels=(channel(0, is_guest_connected=False),))
    assert a.WithdrawVotes(spec.uuid, 0) in world.tell(e.DomainDescribed(later))
    assert world.tell(e.DomainDescribed(later)) == []


def test_a_channel_that_was_unplugged_is_closed_and_forgotten() -> None:
    world = described(spec := domain())
    world.start()
    world.settle()
    decided = world.tell(e.DomainDescribed(replace(spec, channels=(channel(1),))))
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
