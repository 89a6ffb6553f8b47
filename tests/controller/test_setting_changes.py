# SPDX-License-Identifier: Apache-2.0
"""What an audit needs: each change of a limit or a right, and its source."""

from __future__ import annotations

from dataclasses import replace

from orchestrator import events as e
from orchestrator.config import BoundsConfig, Config, DomainRule
from orchestrator.values.domain_settings import DomainSettings, Mode
from orchestrator.values.units import KHz
from tests.controller.simulated_host import SimulatedHost
from tests.controller.specs import domain


def started() -> SimulatedHost:
    spec = domain()
    host = SimulatedHost(domains={spec.uuid: spec})
    host.start()
    host.settle()
    host.reports.clear()
    return host


def texts(host: SimulatedHost, kind: str) -> list[str]:
    return [report.text for report in host.reports if report.kind == kind]


def test_a_change_of_metadata_is_reported_with_both_values() -> None:
    host = started()
    (spec,) = host.domains.values()
    limited = replace(
        spec, settings=DomainSettings(max_khz=KHz(2_100_000), turbo=False)
    )
    host.react(e.DomainDescribed(limited, host.now_ns))
    assert texts(host, "right") == [
        "max is 2.10 GHz (was unset), set by metadata",
        "turbo is no (was yes), set by metadata",
    ]
    assert {report.domain for report in host.reports if report.kind == "right"} == {
        "dpdk-0"
    }
    host.reports.clear()
    host.react(e.DomainDescribed(limited, host.now_ns))
    assert texts(host, "right") == []
    host.react(e.DomainDescribed(spec, host.now_ns))
    assert texts(host, "right") == [
        "max is unset (was 2.10 GHz), set by default",
        "turbo is yes (was no), set by default",
    ]


def test_settings_that_a_domain_has_from_the_start_are_no_change() -> None:
    spec = domain(settings=DomainSettings(mode=Mode.OBSERVE))
    host = SimulatedHost(domains={spec.uuid: spec})
    host.start()
    host.settle()
    assert texts(host, "right") == []


def test_a_reload_reports_what_it_changed_for_the_host_and_each_domain() -> None:
    host = started()
    rule = DomainRule(match="dpdk-*", guest_policies=False)
    bounds = BoundsConfig(max_khz=KHz(2_000_000))
    host.react(e.ConfigReloaded(Config(bounds=bounds, domain=(rule,))))
    (text,) = texts(host, "configuration")
    changes = "bounds.max_khz is 2.00 GHz (was unset), the rules [[domain]] changed"
    assert text == f"configuration reloaded: {changes}"
    assert texts(host, "right") == [
        "guest-policies is no (was yes), set by rule dpdk-*"
    ]
    host.reports.clear()
    host.react(e.ConfigReloaded(Config(bounds=bounds, domain=(rule,))))
    assert texts(host, "configuration") == ["configuration reloaded: no change"]
    assert texts(host, "right") == []
