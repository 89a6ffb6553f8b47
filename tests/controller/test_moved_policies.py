# SPDX-License-Identifier: Apache-2.0
"""Policies of guests that were restored from a saved state, or migrated."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from orchestrator import events as e
from orchestrator.controller import actions as a
from orchestrator.policy.subject import SourceKind
from orchestrator.saved.state import SavedDomain, SavedPolicy, SavedState
from orchestrator.values.domain import DomainState, GuestPolicy
from orchestrator.values.domain_settings import DomainSettings
from tests.controller.simulated_host import SimulatedHost
from tests.controller.specs import channel, domain

if TYPE_CHECKING:
    from orchestrator.values.domain import DomainSpec

NOTED = GuestPolicy(channel=0, text="workload low vcpus=0")
OFF = domain(state=DomainState.SHUTOFF, run=-1)


def running(*, run: int = 7, is_open: bool | None = False) -> DomainSpec:
    channels = (channel(0, is_guest_connected=is_open), channel(1))
    return domain(run=run, channels=channels, guest_policies=(NOTED,))


def started(*specs: DomainSpec, saved: SavedState | None = None) -> SimulatedHost:
    host = SimulatedHost(domains={spec.uuid: spec for spec in specs})
    host.is_monitor_up = True
    host.react(e.TopologyRead(host.topology), e.StateLoaded(saved or SavedState()))
    host.react(e.MonitorStarted(), e.LibvirtConnected())
    host.settle()
    host.reports.clear()
    return host


def describe(host: SimulatedHost, spec: DomainSpec) -> list[a.Action]:
    host.domains[spec.uuid] = spec
    decided = host.react(e.DomainDescribed(spec, host.now_ns))
    host.settle()
    return decided


def sources(host: SimulatedHost) -> list[str]:
    return [str(status.source) for status in host.engine.statuses()]


def texts(host: SimulatedHost) -> list[str]:
    return [report.text for report in host.reports if report.kind == "policy"]


@pytest.mark.parametrize("is_open", [None, False])
def test_a_restored_guest_has_its_policy_when_its_port_is_open(
    *, is_open: bool | None
) -> None:
    host = started(OFF)
    describe(host, running(is_open=is_open))
    assert sources(host) == []
    assert host.inventory.domains[OFF.uuid].awaited_policies == (NOTED,)
    host.domains[OFF.uuid] = running(is_open=True)
    # QEMU reports the port, as if another program had opened it.
    host.react(
        e.GuestPortChanged(OFF.uuid, "channel0", is_open=True, at_ns=host.now_ns)
    )
    host.settle()
    assert sources(host) == ["guest channel 0"]
    assert texts(host) == ["policy workload of guest channel 0 is in force again"]


def test_a_guest_that_was_migrated_here_has_its_policy() -> None:
    host = started()
    describe(host, running(is_open=True))
    assert sources(host) == ["guest channel 0"]


def test_a_guest_that_was_migrated_away_and_back_has_its_policy() -> None:
    host = started(replace(running(is_open=True), guest_policies=()))
    host.react(e.DomainVanished(OFF.uuid))
    describe(host, running(run=8, is_open=True))
    assert sources(host) == ["guest channel 0"]


def test_a_domain_that_was_found_at_the_start_has_none() -> None:
    """It ended with a daemon that was killed; the note is removed."""
    spec = running(is_open=True)
    host = SimulatedHost(domains={spec.uuid: spec})
    host.is_monitor_up = True
    host.react(e.TopologyRead(host.topology), e.MonitorStarted())
    host.react(e.DomainsListed((spec.uuid,)))
    assert a.NoteGuestPolicies(spec.uuid) in describe(host, spec)
    assert sources(host) == []


def test_a_domain_that_was_restored_while_no_daemon_ran_has_its_policy() -> None:
    sent = SavedPolicy(kind=SourceKind.GUEST, channel=0, text=NOTED.text)
    saved = SavedState(
        domains={OFF.uuid: SavedDomain(name="dpdk-0", run=3, policies=(sent,))}
    )
    host = started(running(is_open=True), saved=saved)
    assert sources(host) == ["guest channel 0"]


@pytest.mark.parametrize("event", [e.DomainRebooted, lambda u: e.PolicyRemoved(u, 0)])
def test_a_policy_that_ended_before_the_port_opened_is_not_installed(
    event: type[e.DomainRebooted],
) -> None:
    host = started(OFF)
    describe(host, running())
    host.react(event(OFF.uuid))
    describe(host, running(is_open=True))
    assert sources(host) == []


def test_a_guest_that_may_not_send_policies_here_has_none() -> None:
    host = started(OFF)
    settings = DomainSettings(guest_policies=False)
    describe(host, replace(running(is_open=True), settings=settings))
    assert sources(host) == []
    (text,) = texts(host)
    assert text.startswith("policy of guest channel 0 ended: the domain was restored")
    assert text.endswith("the domain may not send policies")


@pytest.mark.parametrize(
    "noted",
    [
        GuestPolicy(channel=5, text="workload low vcpus=0"),
        GuestPolicy(channel=0, text="telepathy"),
        GuestPolicy(channel=0, text=" "),
        GuestPolicy(channel=0, text="workload low; workload high"),
    ],
)
def test_a_policy_that_is_impossible_here_is_reported(noted: GuestPolicy) -> None:
    host = started(OFF)
    describe(host, replace(running(is_open=True), guest_policies=(noted,)))
    assert sources(host) == []
    assert len(texts(host)) == 1


def test_each_change_of_a_guest_s_policies_is_noted() -> None:
    host = started(OFF)
    describe(host, running())
    decided = describe(host, running(is_open=True))
    assert a.ResumePolicy in map(type, decided)
    source = next(iter(host.engine.statuses())).source
    ended = host.react(e.PolicyEnded(OFF.uuid, source, "the guest closed its port"))
    assert a.NoteGuestPolicies(OFF.uuid) in ended
