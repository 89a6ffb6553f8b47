# SPDX-License-Identifier: Apache-2.0
"""Events that arrive too late: what they are about is gone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator import events as e
from orchestrator.config import Config
from orchestrator.controller import actions as a
from orchestrator.controller.actions import Severity
from orchestrator.onboarding.rule import OnboardRule
from orchestrator.policy.subject import Source, SourceKind
from orchestrator.power.kernel_limits import KernelLimits
from orchestrator.values.domain import DomainId
from tests.controller.simulated_host import SimulatedHost
from tests.controller.specs import NOW_NS, domain
from tests.controller.specs import channel as channel_spec

GONE = DomainId("uuid-of-one-that-is-gone")
OPERATOR = Source(SourceKind.OPERATOR, "default")


def served() -> SimulatedHost:
    spec = domain()
    host = SimulatedHost(domains={spec.uuid: spec})
    host.start()
    host.settle()
    return host


@pytest.mark.parametrize(
    "event",
    [
        e.ChannelsAttached(GONE, (0,), (0,)),
        e.ChannelsDetached(GONE, (0,), (0,)),
        e.PortsAdded(GONE),
        e.OnboardingFailed(GONE, "refused"),
        e.ChannelSwitched(GONE, 0, is_enabled=False),
        e.GuestPortChanged(GONE, "channel0", is_open=False, at_ns=1),
        e.ChannelAbsent(GONE, 0, "/run/channel.0", "not there"),
        e.ChannelContended(GONE, 0, "/run/channel.0", "held"),
        e.ChannelRefused(GONE, 0, "/run/channel.0", "forbidden"),
        e.PolicyInstalled(GONE, OPERATOR, "workload"),  # type: ignore[arg-type]
        e.PolicyRefused(GONE, OPERATOR, "no such vCPU"),
        e.PolicyEnded(GONE, OPERATOR, "uid 0"),
        e.TakeWanted(99),
        e.GroupYielded(99),
    ],
    ids=lambda event: type(event).__name__,
)
def test_nothing_follows_for_what_is_gone(event: e.Event) -> None:
    host = served()
    assert host.react(event) == []


def test_a_domain_that_is_not_listed_any_more_is_forgotten() -> None:
    host = served()
    host.react(e.DomainsListed(()))
    host.settle()
    assert host.inventory.domains == {}
    assert host.open_channels == set()


def test_a_resync_during_an_attempt_to_onboard_begins_no_second_one() -> None:
    bare = domain(channels=())
    config = Config(onboard=(OnboardRule(match="*"),))
    host = SimulatedHost(config, domains={bare.uuid: bare})
    host.start()
    while not any(isinstance(action, a.AttachChannels) for action in host.to_do):
        host.react_to_posted()
        host.step(0)
    host.react(e.ResyncDue())
    assert host.inventory.domains[bare.uuid].onboarding.is_under_way
    assert sum(isinstance(action, a.AttachChannels) for action in host.to_do) == 1


def test_a_reboot_of_an_unknown_domain_has_it_described() -> None:
    assert served().react(e.DomainRebooted(GONE)) == [a.DescribeDomain(GONE)]


def test_a_device_that_a_guest_keeps_is_reported_by_uuid_if_its_domain_is_gone() -> (
    None
):
    (report,) = served().react(e.RemovalFailed(GONE, "channel0"))
    assert isinstance(report, a.Report)
    assert (report.domain, report.severity) == (GONE, Severity.WARNING)


@pytest.mark.parametrize(
    "kind", [e.ChannelAbsent, e.ChannelContended, e.ChannelRefused]
)
def test_the_outcome_of_an_attempt_at_another_path_changes_nothing(
    kind: type[e.ChannelAbsent | e.ChannelContended | e.ChannelRefused],
) -> None:
    host = served()
    uuid = domain().uuid
    before = host.inventory.channel(uuid, 0)
    assert host.react(kind(uuid, 0, "/run/another", "late")) == []
    assert host.inventory.channel(uuid, 0) == before


def test_a_channel_that_is_connecting_can_be_disabled() -> None:
    spec = domain()
    host = SimulatedHost(domains={spec.uuid: spec}, is_monitor_up=True)
    host.react(e.TopologyRead(host.topology), e.MonitorStarted())
    host.react(e.DomainDescribed(spec, host.now_ns))
    decided = host.react(e.ChannelSwitched(spec.uuid, 0, is_enabled=False))
    assert a.EndGuestPolicies(spec.uuid, 0, "") in decided
    host.settle()
    channel = host.inventory.channel(spec.uuid, 0)
    assert channel is not None
    assert channel.state == "disabled"


def test_a_disabled_channel_can_be_enabled_again() -> None:
    host = served()
    uuid = domain().uuid
    host.react(e.ChannelSwitched(uuid, 0, is_enabled=False))
    decided = host.react(e.ChannelSwitched(uuid, 0, is_enabled=True))
    assert a.EndGuestPolicies(uuid, 0, "") not in decided
    channel = host.inventory.channel(uuid, 0)
    assert channel is not None
    assert channel.state == "open"


def test_a_channel_without_a_socket_waits_for_libvirt_to_choose_one() -> None:
    unchosen = replace(channel_spec(0), path=None)
    spec = domain(channels=(unchosen,))
    host = SimulatedHost(domains={spec.uuid: spec})
    host.start()
    host.settle()
    channel = host.inventory.channel(spec.uuid, 0)
    assert channel is not None
    assert channel.reason == "libvirt has not assigned its socket path yet"
    assert host.open_channels == set()


def test_a_policy_from_a_domain_that_is_gone_is_refused() -> None:
    host = served()
    host.react(e.PolicySent(GONE, 0, ticket=7, generation=464, packet=b""))
    host.settle()
    assert [(it.ticket, it.is_accepted) for it in host.answers] == [(7, False)]


def test_waiting_for_libvirt_is_reported_with_its_reason() -> None:
    host = SimulatedHost()
    (report,) = host.react(e.LibvirtAwaited("it does not answer"))
    assert isinstance(report, a.Report)
    assert (report.severity, report.text) == (
        Severity.WARNING,
        "waiting for libvirt: it does not answer",
    )
    assert host.inventory.libvirt.reason == "it does not answer"


def test_what_is_reported_of_something_unknown_changes_nothing() -> None:
    host = SimulatedHost()
    host.start()
    host.settle()
    assert host.react(e.KernelLimitsRead({99: KernelLimits()})) == []
    (ended,) = host.react(e.PolicyRemoved(GONE, 0))
    assert isinstance(ended, a.EndGuestPolicies)


def test_a_domain_may_vanish_before_all_are_listed() -> None:
    host = SimulatedHost()
    host.react(e.TopologyRead(host.topology), e.MonitorStarted())
    spec = domain(channels=())
    host.react(e.DomainDescribed(spec, NOW_NS))
    host.inventory.first_listed = None
    host.react(e.DomainVanished(spec.uuid))
    assert not host.inventory.domains
