# SPDX-License-Identifier: Apache-2.0
"""What of the daemon's last run is resumed, and what is not, with the cause."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from orchestrator import events as e
from orchestrator.channel.lifecycle import ChannelState
from orchestrator.config import Config
from orchestrator.controller import actions as a
from orchestrator.controller.saved_state import collect
from orchestrator.monitor.link import commands as c
from orchestrator.policy.subject import SourceKind
from orchestrator.saved.state import (
    SavedDomain,
    SavedOverride,
    SavedPolicy,
    SavedState,
    SavedVote,
)
from orchestrator.values.domain import DomainId, DomainState
from orchestrator.values.domain_settings import DomainSettings, Mode
from tests.controller.simulated_host import SimulatedHost
from tests.controller.specs import channel, domain, vcpu

LOW = 1_200_000
BY = "root (uid 0, pid 9)"
VOTE = SavedVote(vcpu=0, group=0, khz=LOW, channel=0)
NIGHT = SavedPolicy(kind=SourceKind.OPERATOR, name="night", text="workload low vcpus=1")
SENT = SavedPolicy(kind=SourceKind.GUEST, channel=1, text="workload low vcpus=1")
SPEC = domain(channels=(channel(0, socket="1:1"), channel(1, socket="2:1")))
SAVED = SavedDomain(
    name="dpdk-0",
    run=1,
    sockets={0: "1:1", 1: "2:1"},
    policies=(NIGHT, SENT),
    votes=(VOTE,),
)


def state(saved: SavedDomain = SAVED, **more: Any) -> SavedState:
    return SavedState(domains={SPEC.uuid: saved}, **more)


def restart(saved: SavedState, spec: Any = SPEC, **more: Any) -> SimulatedHost:
    """Start a controller with a state file and one domain."""
    host = SimulatedHost(domains={spec.uuid: spec} if spec else {}, **more)
    host.is_monitor_up = True
    host.react(e.TopologyRead(host.topology), e.StateLoaded(saved), e.MonitorStarted())
    host.react(e.LibvirtConnected())
    host.settle()
    return host


def texts(host: SimulatedHost) -> list[str]:
    return [report.text for report in host.reports]


def sources(host: SimulatedHost) -> set[str]:
    return {str(status.source) for status in host.engine.statuses()}


def test_an_override_is_resumed_with_who_set_it() -> None:
    override = SavedOverride(group=5, khz=LOW, by=BY)
    host = restart(SavedState(overrides=(override,)), None)
    assert host.inventory.groups[5].override_khz == LOW
    assert 5 in host.taken_groups
    assert f"CPU 5 remains fixed at 1.20 GHz, as set by {BY}" in texts(host)
    assert collect(host.inventory, (), {}).overrides == (override,)


@pytest.mark.parametrize(
    ("group", "mode", "cause"),
    [
        (50, Mode.ENFORCE, "no such clock group"),
        (5, Mode.OBSERVE, "the daemon is in observe mode"),
    ],
)
def test_an_override_that_is_impossible_now_ends(
    group: int, mode: Mode, cause: str
) -> None:
    override = SavedOverride(group=group, khz=LOW, by=BY)
    saved = SavedState(overrides=(override,))
    host = restart(saved, None, config=Config(mode=mode))
    at = f"override of clock group {group} at 1.20 GHz"
    assert f"{at} ended: {cause}" in texts(host)
    assert not host.taken_groups


def test_votes_and_policies_of_the_same_run_are_resumed() -> None:
    host = SimulatedHost(domains={SPEC.uuid: SPEC})
    host.is_monitor_up = True
    host.react(
        e.TopologyRead(host.topology), e.StateLoaded(state()), e.MonitorStarted()
    )
    decided = host.react(e.DomainDescribed(SPEC, host.now_ns))
    kinds = [type(action) for action in decided]
    assert decided[kinds.index(a.ResumeVotes)] == a.ResumeVotes(SPEC.uuid, (VOTE,))
    assert kinds.index(a.ResumeVotes) < kinds.index(c.DefineDomain)
    assert kinds.index(a.UpdatePolicySubject) < kinds.index(a.ResumePolicy)
    host.settle()
    assert host.taken_groups == {0}
    assert sources(host) == {"operator night", "guest channel 1"}
    assert "policy workload of operator night is in force again" in texts(host)
    assert not host.inventory.saved


def test_what_is_pending_is_saved_again() -> None:
    host = SimulatedHost()
    host.react(e.TopologyRead(host.topology), e.StateLoaded(state()))
    assert collect(host.inventory, (), {}) == state()


@pytest.mark.parametrize(
    ("spec", "cause"),
    [
        (replace(SPEC, run=2), "the domain was restarted"),
        (
            replace(SPEC, channels=(channel(0, socket="9:9"), SPEC.channels[1])),
            "the domain was restarted",
        ),
        (
            replace(SPEC, state=DomainState.SHUTOFF, run=-1, live=None),
            "the domain was shut off",
        ),
        (None, "the domain is gone"),
    ],
)
def test_votes_and_policies_of_another_run_end(spec: Any, cause: str) -> None:
    host = restart(state(), spec)
    assert f"policy of operator night ended: {cause}" in texts(host)
    assert f"policy of guest channel 1 ended: {cause}" in texts(host)
    assert (sources(host), host.taken_groups) == (set(), set())
    assert collect(host.inventory, (), {}) == SavedState()


def test_what_a_guest_set_before_it_closed_the_port_ends() -> None:
    closed = [replace(each, is_guest_connected=False) for each in SPEC.channels]
    host = restart(state(), replace(SPEC, channels=tuple(closed)))
    ended = "policy of guest channel 1 ended: the guest closed its port"
    assert ended in texts(host)
    assert (sources(host), host.taken_groups) == ({"operator night"}, set())


def test_a_guest_that_may_not_send_policies_any_more_has_none() -> None:
    settings = DomainSettings(guest_policies=False)
    host = restart(state(), replace(SPEC, settings=settings))
    assert sources(host) == {"operator night"}


def test_a_vote_for_a_vcpu_that_was_moved_ends() -> None:
    host = restart(state(), replace(SPEC, vcpus=(vcpu(0, 4), vcpu(1, 1))))
    assert host.taken_groups == set()


def test_votes_end_if_the_channel_is_not_connected_soon() -> None:
    host = restart(state())
    record = host.inventory.domains[SPEC.uuid].channels[0]
    assert record.orphaned_s is None, "connected"
    host = SimulatedHost(domains={SPEC.uuid: SPEC})
    host.react(e.TopologyRead(host.topology), e.StateLoaded(state()))
    host.react(e.DomainDescribed(SPEC, host.now_ns))
    decided: list[a.Action] = []
    for _ in range(12):
        decided += host.react(e.ChannelAbsent(SPEC.uuid, 0, "/run/channel.0", "absent"))
    assert c.WithdrawVotes(SPEC.uuid, 0) in decided


@pytest.mark.parametrize("run", [1, 2])
def test_a_disabled_channel_remains_disabled_in_every_run(run: int) -> None:
    saved = SAVED.model_copy(update={"disabled": {0: BY}})
    host = restart(state(saved), replace(SPEC, run=run))
    record = host.inventory.domains[SPEC.uuid]
    assert record.channels[0].state is ChannelState.DISABLED
    assert record.channels[1].state is ChannelState.OPEN
    assert f"channel 0 remains disabled, as set by {BY}" in texts(host)
    assert 0 not in host.taken_groups, "its votes ended"
    kept = collect(host.inventory, (), {}).domains[SPEC.uuid]
    assert kept.disabled == {0: BY}


def test_a_policy_that_this_version_does_not_know_is_reported() -> None:
    unknown = SavedPolicy(kind=SourceKind.OPERATOR, name="new", text="telepathy")
    host = restart(state(SAVED.model_copy(update={"policies": (unknown,)})))
    reported = [text for text in texts(host) if "policy of operator new ended" in text]
    assert len(reported) == 1
    assert "telepathy" in reported[0]


def test_each_decision_of_an_operator_is_saved() -> None:
    host = restart(SavedState())
    for event in (
        e.OverrideSet(5, LOW, BY),
        e.OverrideReleased(5, BY),
        e.ChannelSwitched(SPEC.uuid, 0, is_enabled=False, by=BY),
        e.ChannelSwitched(SPEC.uuid, 0, is_enabled=True, by=BY),
    ):
        assert a.SaveState() in host.react(event), event
        host.settle()


def test_an_unknown_domain_is_kept_until_the_domains_are_listed() -> None:
    uuid = DomainId("another")
    host = SimulatedHost()
    saved = SavedState(domains={uuid: SAVED})
    host.react(e.TopologyRead(host.topology), e.StateLoaded(saved))
    assert collect(host.inventory, (), {}).domains == {uuid: SAVED}
    host.react(e.DomainsListed(()))
    assert collect(host.inventory, (), {}).domains == {}


def test_a_disabled_channel_that_is_gone_is_passed_over() -> None:
    host = restart(state(SAVED.model_copy(update={"disabled": {7: BY}})))
    assert not any("remains disabled" in text for text in texts(host))


def test_votes_of_an_observed_domain_take_nothing() -> None:
    spec = replace(SPEC, settings=DomainSettings(mode=Mode.OBSERVE))
    host = restart(state(SAVED.model_copy(update={"policies": ()})), spec)
    assert not host.taken_groups
