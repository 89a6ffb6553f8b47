# SPDX-License-Identifier: Apache-2.0
"""The page in a browser: what it shows, and what it changes in the daemon."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from orchestrator.channel.protocol import Answer, Unit
from tests.cockpit.conftest import FW, ROUTER
from tests.cockpit.web_service import WebService
from tests.rig.waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.control.documents import Cpu
    from tests.cockpit.browser import Browser
    from tests.daemon.daemon_process import DaemonProcess
    from tests.daemon.libvirt_test_guests import GuestEnd

pytestmark = pytest.mark.rig

SUBMIT = "dialog button[type=submit]"


def go_to(page: Browser, place: str) -> None:
    page.evaluate(f"location.hash = '#/{place}'")


def submit(page: Browser, button: str = SUBMIT) -> None:
    """Submit a dialog, and wait until it is closed: the next one may open then."""
    page.click(button)
    wait_for(
        lambda: page.evaluate("document.querySelector('dialog') === null"),
        "the dialog closes",
    )


def set_limits(page: Browser, name: str, value: str) -> None:
    page.click("[data-action=set-limits]")
    page.enter(f"#field-{name}", value)
    submit(page)


def cpu(daemon: DaemonProcess, number: int) -> Cpu:
    return next(it for it in daemon.status()["cpus"] if it["pcpu"] == number)


def test_the_overview_shows_host_cpus_domains_and_causes_of_refusals(
    page: Browser, ends: list[GuestEnd]
) -> None:
    assert ends[0].request(0, Unit.SCALE_MIN) is Answer.ACK
    assert ends[0].request(7, Unit.SCALE_MAX) is Answer.NACK
    page.wait_for_text("#group-2", "1.20 GHz")
    page.wait_for_text(f"#domain-{FW}", "no such vCPU: 7")
    cells = page.text(f"#domain-{FW}").split()
    assert cells[:5] == ["fw", "running", "2", "of", "2"]
    assert "1.20 GHz to 3.00 GHz" in page.text(f"#domain-{FW}")
    text = page.text("#app")
    page.wait_for_text("dl", "W modelled Saved")
    for part in ("enforce", "8 managed simulated", "test+unix:", "Socket 1", "CPU 6-7"):
        assert part in text
    assert "router" not in page.text("table"), "without channels, and not asked for"
    page.click("#filter-all")
    page.wait_for_text("table", "<b>router")
    page.enter("#filter-text", "rout")
    assert "fw" not in page.text("table")


def test_limits_are_set_and_removed(page: Browser, daemon: DaemonProcess) -> None:
    go_to(page, f"domain/{FW}")
    set_limits(page, "max", "2GHz")
    page.wait_for_text("#setting-max_khz", "Upper limit 2.00 GHz metadata")
    rights = daemon.domain("fw")["rights"]
    assert rights is not None
    assert rights["max_khz"] == {"value": 2_000_000, "source": "metadata"}
    set_limits(page, "mode", "observe")
    page.wait_for_text("#setting-mode", "observe")
    assert daemon.domain("fw")["mode"] == "observe"
    page.click("[data-action=set-limits]")
    assert page.evaluate("document.querySelector('#field-max').value") == "2GHz"
    page.enter("#field-max", "fast")
    page.click(SUBMIT)
    page.wait_for_text("dialog [role=alert]", "invalid frequency 'fast'")
    page.enter("#field-max", "")
    submit(page)
    page.wait_for_text("#setting-max_khz", "no limit")
    rights = daemon.domain("fw")["rights"]
    assert rights is not None
    assert rights["max_khz"] == {"value": None, "source": "default"}


def test_a_clock_group_is_set_and_released(
    page: Browser, daemon: DaemonProcess
) -> None:
    page.click("[data-action=set-frequency][data-group='6']")
    page.enter("#field-khz", "1200000")
    submit(page)
    page.wait_for_text("#group-6", "set to 1.20 GHz")
    assert cpu(daemon, 7)["override_khz"] == 1_200_000
    page.click("[data-action=set-frequency][data-group='6']")
    submit(page, f"{SUBMIT}[value='1']")
    wait_for(lambda: cpu(daemon, 7)["override_khz"] is None, "released")


def test_channels_and_policies(page: Browser, daemon: DaemonProcess) -> None:
    go_to(page, f"domain/{FW}")
    page.click("[data-action=enable-channel][data-channel='1']")
    page.wait_for_text("#channel-1", "disabled")
    daemon.wait_for_channel("fw", 1, "disabled")
    page.click("[data-action=enable-channel][data-enabled=true]")
    page.wait_for_text("#channel-1", "open")
    page.click("[data-action=set-policy]")
    page.enter("#field-text", "workload no-such-load")
    page.click(SUBMIT)
    page.wait_for_text("dialog [role=alert]", "no-such-load")
    page.enter("#field-text", "workload low vcpus=0")
    submit(page)
    page.wait_for_text("[data-action=remove-policy]", "Remove")
    (policy,) = daemon.domain("fw")["policies"]
    assert (policy["name"], policy["text"]) == ("page", "workload low vcpus=0")
    page.click("[data-action=remove-policy]")
    wait_for(lambda: not daemon.domain("fw")["policies"], "removed")


def test_channels_are_added_after_a_preview(page: Browser) -> None:
    go_to(page, f"domain/{ROUTER}")
    page.click("[data-action=onboard]")
    page.wait_for_text("dialog", f"domain onboard {ROUTER}")
    preview = page.text("dialog")
    assert '+ <devices><controller type="virtio-serial"' in preview
    assert "virtio.serial.port.poweragent.0" in preview
    page.click(SUBMIT)
    # The command was run. The test driver cannot attach channels: libvirt names one of
    # its functions, which one depends on its version.
    page.wait_for_text("dialog [role=alert]", "DomainAttachDevice")


def test_events_appear_as_they_happen(page: Browser, ends: list[GuestEnd]) -> None:
    go_to(page, "events")
    page.wait_for_text("#app", "channel 0 is open")
    assert "no such vCPU" not in page.text("#app")
    ends[0].request(7, Unit.SCALE_MAX)
    # Not its first row: an answer that was late is an event that follows.
    page.wait_for_text("tbody", "no such vCPU: 7")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_others_only_read(
    daemon: DaemonProcess, directory: Path, browser: Browser
) -> None:
    web = directory / "web"
    with WebService(web, run_dir=daemon.run_dir, user="nobody") as service:
        browser.open(service.url)
        browser.wait_for_text("table", "fw")
        assert "Read-only" in browser.text("main")
        go_to(browser, f"domain/{FW}")
        browser.wait_for_text("#setting-max_khz", "no limit")
        assert browser.evaluate("document.querySelector('[data-action]')") is None


def test_without_the_daemon(page: Browser, daemon: DaemonProcess) -> None:
    daemon.stop()
    page.wait_for_text("main", "vmpowerd does not answer")
    page.evaluate("location.reload()")
    page.wait_for_text("h1", "vmpowerd is not running")
    assert "systemctl enable --now vmpowerd" in page.text("main")
    go_to(page, "doctor")
    page.wait_for_text("main", f"no vmpowerd answers at {daemon.run_dir}")
    go_to(page, "")
    daemon.start()
    page.wait_for_text("table", "fw")
    go_to(page, "doctor")
    page.click("[data-action=examine]")
    page.wait_for_text("main", "CPU 0-7: simulated")
