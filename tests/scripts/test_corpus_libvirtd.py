# SPDX-License-Identifier: Apache-2.0
"""`make corpus` in a libvirtd: what it tries there, and that it finds faults."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.hypervisor.operator import OperatorConnection
from orchestrator.values.domain_settings import DomainSettings
from scripts.corpus.libvirtd import ONBOARD, ORIGINAL, LibvirtdTrials
from scripts.corpus.report import Report
from scripts.corpus.trials import Results, Trials
from tests.domain_templates.existing import with_devices

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.rig.libvirtd import SessionHost

pytestmark = pytest.mark.rig

PCI_SLOTS = "".join(
    f"<controller type='scsi' index='{slot}' model='virtio-scsi'><address type='pci'"
    f" domain='0' bus='0' slot='{slot}' function='0'/></controller>"
    for slot in range(2, 32)
)
"""Devices that take all slots of a machine with one PCI bus."""


def tried(
    host: SessionHost,
    xml: str,
    connect: Callable[..., OperatorConnection] = OperatorConnection,
    **options: Any,
) -> Report:
    report = Report()
    results = Trials(None).run(xml, Report())
    LibvirtdTrials(host, connect, **options).run(results, report)
    assert host.connection.listAllDomains(0) == []
    return report


@pytest.mark.parametrize("devices", ["", "<controller type='virtio-serial'/>"])
def test_all_trials_of_a_domain_pass(devices: str, session_host: SessionHost) -> None:
    report = tried(session_host, with_devices(devices))
    assert (report.failed, report.refused) == ({}, {})
    assert report.passed[:4] == [ORIGINAL, ONBOARD, "libvirtd: set", "libvirtd: pin"]
    assert "libvirtd accepts: template, new devices" in report.passed


def test_what_libvirtd_does_not_accept_is_not_tried(session_host: SessionHost) -> None:
    report = tried(session_host, with_devices("").replace(">hvm<", ">exe<"))
    assert list(report.refused) == [ORIGINAL]
    assert (report.passed, report.failed) == ([], {})


def test_a_domain_without_place_for_a_controller_is_refused(
    session_host: SessionHost,
) -> None:
    none = "<controller type='usb' model='none'/><memballoon model='none'/>"
    xml = with_devices(PCI_SLOTS + none).replace("q35", "pc")
    report = tried(session_host, xml)
    assert report.failed == {}
    assert ONBOARD in report.refused
    assert "libvirtd accepts: template, as it is" in report.refused
    assert "libvirtd accepts: set" in report.passed


class KeepsChannels(OperatorConnection):
    """A connection that does not remove what it added."""

    def offboard(self, *_given: object) -> Any:
        return None


class KeepsSettings(OperatorConnection):
    """A connection that does not remove settings."""

    def write_settings(self, uuid: Any, wanted: Any) -> None:
        if any(it != DomainSettings() for it in wanted.values()):
            super().write_settings(uuid, wanted)


class PinsNothing(OperatorConnection):
    """A connection that does not pin."""

    def pin(self, *_given: object, **_options: object) -> None:
        return None


@pytest.mark.parametrize(
    ("connect", "trial", "message"),
    [
        (KeepsChannels, ONBOARD, "not restored exactly: "),
        # libvirt 11 keeps an empty <metadata>, 9 does not.
        (
            KeepsSettings,
            "libvirtd: set",
            r"not restored exactly: (\+<metadata> )?\+<vmpower:policy",
        ),
        (PinsNothing, "libvirtd: pin", "the vCPU is not pinned"),
    ],
)
def test_a_product_that_does_something_else_fails(
    connect: type[OperatorConnection],
    trial: str,
    message: str,
    session_host: SessionHost,
) -> None:
    report = tried(session_host, with_devices(""), connect)
    assert list(report.failed) == [trial]
    assert re.match(message, report.failed[trial])


def test_what_libvirtd_refuses_of_the_product_fails(session_host: SessionHost) -> None:
    original = Trials(None).run(with_devices(""), Report()).original
    broken = original.replace("<vcpu>1<", "<vcpu>100000<")
    report = Report()
    results = Results(original=original, changed={"onboard": broken})
    LibvirtdTrials(session_host).run(results, report)
    (failure,) = report.failed.values()
    assert failure.startswith("libvirtd refuses it: ")


def test_a_libvirtd_that_crashed_is_started_again(session_host: SessionHost) -> None:
    session_host.libvirtd.kill()
    assert tried(session_host, with_devices("")).failed == {}


def test_a_libvirtd_that_hangs_is_reported_and_started_again(
    session_host: SessionHost,
) -> None:
    def connect(*given: Any, **options: Any) -> OperatorConnection:
        session_host.libvirtd.freeze()
        return OperatorConnection(*given, **options)

    report = tried(session_host, with_devices(""), connect, timeout_s=10.0)
    assert report.failed == {ONBOARD: "libvirtd does not answer within 10 s"}
    assert report.passed == [ORIGINAL]
    assert tried(session_host, with_devices("")).failed == {}
