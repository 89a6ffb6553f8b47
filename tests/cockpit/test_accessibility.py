# SPDX-License-Identifier: Apache-2.0
"""The page for everybody: axe-core's rules, the keyboard, light, dark and narrow.

With ``VMPOWER_PICTURES=DIR``, pictures of what was checked are written there.
"""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator.channel.protocol import Unit
from tests.cockpit.conftest import FW
from tests.rig.waiting import wait_for

if TYPE_CHECKING:
    from tests.cockpit.browser import Browser
    from tests.daemon.libvirt_test_guests import GuestEnd

pytestmark = pytest.mark.rig

PICTURES = os.environ.get("VMPOWER_PICTURES", "")
AXE = resources.files("axe_core_python").joinpath("axe.min.js").read_text("utf-8")
RUN_AXE = """\
axe.run(document, {resultTypes: ['violations']}).then(found => ({
    violations: found.violations.map(it => [it.id, ...it.nodes.map(node => node.html)]),
    contrasts: found.passes.filter(it => it.id === 'color-contrast')
        .flatMap(it => it.nodes).length,
}))
"""
# Name, where, what to click there, and what appears.
PLACES = (
    ("overview", "#/", "", "table", "no such vCPU"),
    ("frequency", "#/", "[data-action=set-frequency]", "dialog", "CPU 0-1"),
    ("domain", f"#/domain/{FW}", "", "#setting-max_khz", "no limit"),
    ("limits", f"#/domain/{FW}", "[data-action=set-limits]", "dialog", "Upper limit"),
    ("events", "#/events", "", "tbody", "no such vCPU"),
    ("doctor", "#/doctor", "", "main", "checks passed"),
)
WINDOWS = (("light", 1200), ("dark", 1200), ("light", 400))


def test_rules_and_width(page: Browser, ends: list[GuestEnd]) -> None:
    ends[0].request(0, Unit.SCALE_MIN)
    ends[1].request(1, Unit.SCALE_MAX)
    ends[0].request(7, Unit.SCALE_MAX)
    page.evaluate(AXE)
    for scheme, width in WINDOWS:
        page.prefer(scheme)
        page.resize(width, 900)
        check_places(page, scheme, width)


def check_places(page: Browser, scheme: str, width: int) -> None:
    for name, place, click, selector, text in PLACES:
        page.evaluate(f"location.hash = '{place}'")
        if click:
            page.click(click)
        page.wait_for_text(selector, text)
        found = page.evaluate(RUN_AXE)
        assert found["violations"] == [], name
        assert found["contrasts"] > 0, name
        scrolled = page.evaluate("document.documentElement.scrollWidth")
        assert scrolled == width, name
        if PICTURES:
            page.picture(Path(PICTURES) / f"{name}-{scheme}-{width}.png")
        if click:
            page.press("Escape")


def test_axe_finds_what_is_wrong(page: Browser) -> None:
    page.evaluate(AXE)
    page.evaluate(
        "const pale = document.createElement('p');"
        "pale.append('pale', document.createElement('input'));"
        "pale.style.color = '#ccc';"
        "document.body.append(pale)"
    )
    found = {rule for rule, *_ in page.evaluate(RUN_AXE)["violations"]}
    assert {"color-contrast", "label"} <= found


def test_the_keyboard_suffices(page: Browser) -> None:
    page.tab_to("fw")
    page.press("Enter")
    page.wait_for_text("h1", "fw")
    page.tab_to("Change")
    page.press("Enter")
    page.wait_for_text("dialog", "Limits of fw")
    focus = "document.activeElement"
    assert page.evaluate(f"{focus}.id") == "field-min"
    page.tab_to("Save")
    page.press("Escape")
    wait_for(lambda: page.evaluate("!document.querySelector('dialog')"), "closed")
    assert page.evaluate(f"{focus}.innerText") == "Change"


def test_a_new_status_keeps_the_focus_and_what_was_typed(page: Browser) -> None:
    page.evaluate("document.querySelector('#filter-text').focus()")
    page.enter("#filter-text", "f")
    before = page.text("dl")  # with the daemon's uptime
    wait_for(lambda: page.text("dl") != before, "the next status")
    assert page.evaluate("document.activeElement.id") == "filter-text"
    assert page.evaluate("document.activeElement.value") == "f"
