# SPDX-License-Identifier: Apache-2.0
"""What `domain_right.patch` adds; run by `test_domain_right` in a patched copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.app import app
from cli.doctor.checks.domains import _FIXES
from orchestrator import events
from orchestrator.channel.protocol import (
    Answer,
    Command,
    Request,
    Unit,
    encode,
    encode_answer,
)
from orchestrator.config_files import config_from
from orchestrator.domain_xml.metadata import build_settings
from orchestrator.domain_xml.settings_schema import build_schema
from orchestrator.monitor.client.views import MonitorSnapshot
from orchestrator.reporting.status import StatusBuilder
from orchestrator.rights import resolve_rights
from orchestrator.values.domain_settings import DomainSettings
from orchestrator.values.refusal import Refusal
from scripts.api.documents import write_documents
from scripts.api.reference import write_reference
from tests.cli.commands import new_runner
from tests.controller.simulated_host import SimulatedHost
from tests.controller.specs import domain
from tests.monitor.in_process_monitor import InProcessMonitor

if TYPE_CHECKING:
    from pathlib import Path

FORBIDDEN = Refusal["REQUESTS_FORBIDDEN"]
SPEC = domain("dpdk-0")
RULE = {"match": "dpdk-*", "requests": False}
RUNNER = new_runner(env={"COLUMNS": "100"})


def forbidden_host() -> SimulatedHost:
    host = SimulatedHost(config_from({"domain": [RULE]}))
    host.domains[SPEC.uuid] = SPEC
    host.start()
    host.settle()
    host.reports.clear()
    return host


def test_a_rule_decides_it_and_the_status_shows_it() -> None:
    host = forbidden_host()
    config, record = host.inventory.config, host.inventory.domains[SPEC.uuid]
    assert "requests" not in resolve_rights(config, SPEC).permissions
    assert "requests" in resolve_rights(config, domain("web")).permissions
    status = StatusBuilder(host.inventory, MonitorSnapshot(), {}).domain(record)
    right = status.model_dump()["rights"]["requests"]
    assert right == {"value": False, "source": "rule dpdk-*"}


def test_metadata_and_their_schema_have_it() -> None:
    assert 'requests="no"' in build_settings(DomainSettings(requests=False))  # type: ignore[call-arg]
    assert 'name="requests"' in build_schema()


def test_the_monitor_refuses_a_guest_without_it(tmp_path: Path) -> None:
    with InProcessMonitor(tmp_path) as monitor:
        guest = monitor.simple()
        packet = encode(Request(0, Unit.SCALE_MIN, Command.CPU_POWER))
        assert monitor.request(guest, packet) == encode_answer(packet, Answer.NACK)
        assert monitor.reasons() == {"requests-forbidden": 1}


def test_the_log_names_the_setting_and_doctor_the_fix() -> None:
    host = forbidden_host()
    host.react(events.RequestRefused(SPEC.uuid, 0, FORBIDDEN, 0, 1))
    host.settle()
    (text,) = [report.text for report in host.reports if report.kind == "refusal"]
    assert text.endswith("setting 'requests' is 'no' (rule dpdk-*)")
    assert _FIXES[FORBIDDEN.word] == "vmpower domain set NAME --requests"


def test_the_command_has_an_option() -> None:
    text = RUNNER.invoke(app, ["domain", "set", "--help"]).output
    assert "--requests / --no-requests" in text


def test_the_api_describes_it() -> None:
    assert "requests: Permission" in write_documents()
    assert "`requests`" in write_reference()
