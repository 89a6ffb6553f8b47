# SPDX-License-Identifier: Apache-2.0
"""Guests that have P-states."""

from __future__ import annotations

from typing import Any

import pytest

from cli.doctor.checks import domains as domain_checks
from cli.doctor.checks import p_states as p_state_checks
from cli.doctor.facts.daemon import Status
from cli.doctor.facts.domains import (
    Channel,
    Domain,
    Domains,
    Vcpu,
    domains_of_status,
)
from orchestrator.values.domain import ChannelKind
from tests.control.fake_daemon import FakeDaemon


def domains(
    state: str = "open", *, is_active: bool = True, requests: tuple[int, ...] = (0,)
) -> Domains:
    channels = tuple(
        Channel(
            number=2000 + at,
            path=f"/p{at}",
            state=state,
            reason="",
            generation=None,
            is_p_states=True,
            requests=count,
        )
        for at, count in enumerate(requests)
    )
    floating = Vcpu(
        number=3, pcpus=frozenset({0, 1}), group=None, reason="why", is_floating=True
    )
    agent = Channel(number=0, path="/a", state="open", reason="", generation=464)
    domain = Domain(
        name="fw",
        is_active=is_active,
        vcpus=(floating,),
        channels=(agent, *channels),
        problems=(),
    )
    return Domains(domains=(domain,))


def status(channel: dict[str, Any]) -> Any:
    """A daemon's status, of one domain with one channel."""
    document: Any = FakeDaemon().picture().model_dump(mode="json")
    document["domains"] = [document["domains"][0]]
    document["domains"][0]["channels"][1:] = []
    document["domains"][0]["channels"][0].update(channel)
    return document


def test_a_guest_that_never_requested_is_found() -> None:
    (finding,) = p_state_checks.p_states_unused(domains(requests=(0, 0)), None)
    assert "has requested none" in finding.what
    assert "modprobe acpi-cpufreq" in finding.fix


@pytest.mark.parametrize(
    "found",
    [
        domains(requests=(0, 7)),
        domains(requests=()),
        domains("absent", is_active=False),
        domains("contended"),
    ],
)
def test_others_are_not(found: Domains) -> None:
    assert not list(p_state_checks.p_states_unused(found, None))


def test_each_floating_vcpu_counts_not_only_those_with_a_channel() -> None:
    (finding,) = domain_checks.vcpu_floats(domains())
    assert finding.what == "vCPU 3 not controllable: why"


def test_a_configured_generation_is_not_that_of_p_states() -> None:
    document = status({"kind": ChannelKind.P_STATES, "generation": None})
    document["domains"][0]["rights"]["generation"]["value"] = 16
    found = domains_of_status(document)
    ((channel,),) = (domain.channels for domain in found.domains)
    assert (channel.is_p_states, channel.generation) == (True, None)
    assert not list(domain_checks.guest_outdated(found))


@pytest.mark.parametrize(("sent", "what"), [(3, "all"), (8, "some")])
def test_requests_without_answers_are_served_if_they_are_not_refused(
    sent: int, what: str
) -> None:
    refused = {
        "kind": ChannelKind.P_STATES,
        "acks_total": 0,
        "unanswered_total": sent,
        "nack_reasons": {"no-step": 3},
        "nack_causes": {"no-step": "why"},
    }
    (finding,) = domain_checks.requests_refused(Status(status(refused)))
    assert finding.what == f"{what} requests refused: no-step 3"
    assert finding.fix.startswith("power domain dpdk-fw off and on")
