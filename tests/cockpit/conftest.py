# SPDX-License-Identifier: Apache-2.0
"""A daemon, libvirt's test driver in a real libvirtd, Cockpit, and a browser."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import libvirt
import pytest

from orchestrator.power.simulated import lay_out
from tests.cockpit.browser import Browser
from tests.cockpit.web_service import WebService
from tests.daemon.daemon_process import DaemonProcess
from tests.daemon.libvirt_test_guests import (
    DriverDomain,
    GuestEnd,
    domain_xml,
    guest_ends,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.rig.libvirtd import SessionHost

STEPS = (3_001_000, 3_000_000, 2_000_000, 1_200_000)
FW = "00000000-0000-4000-8000-000000000001"
"""UUID of the domain with channels."""
ROUTER = "00000000-0000-4000-8000-000000000002"
"""UUID of the one without."""


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory whose name is short enough for sockets, open to other users."""
    with tempfile.TemporaryDirectory(prefix="vmp-", dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def ends(directory: Path) -> Iterator[list[GuestEnd]]:
    """The guest's ends of the channels of `fw`."""
    with guest_ends(directory, 2) as ends:
        yield ends


@pytest.fixture
def uri(session_host: SessionHost, ends: list[GuestEnd]) -> Iterator[str]:
    """The test driver in a libvirtd, where the daemon and the command find the same.

    Its domains: fw with a channel for each vCPU, and one that is shut off, without
    channels, whose name is HTML.
    """
    socket = session_host.uri.partition("=")[2]
    uri = f"test+unix:///default?socket={socket}"
    paths = {number: end.path for number, end in enumerate(ends)}
    fw = DriverDomain(name="fw", pins=("2-3", "4-5"), paths=paths)
    router = DriverDomain(name="&lt;b&gt;router", paths={}, number=2)
    # It forgets its domains with its last connection.
    connection = libvirt.open(uri)
    try:
        connection.createXML(domain_xml(fw))
        connection.defineXML(domain_xml(router))
        yield uri
    finally:
        connection.close()


@pytest.fixture
def daemon(uri: str, directory: Path, ends: list[GuestEnd]) -> Iterator[DaemonProcess]:
    """A daemon on eight simulated CPUs in two sockets, two in each clock group."""
    tree = directory / "sys"
    lay_out(tree, cpus=8, shared=2, sockets=2, steps_khz=STEPS)
    with DaemonProcess(uri, tree, release_after_s=0.3) as daemon:
        daemon.run_dir.chmod(0o755)
        for number, end in enumerate(ends):
            daemon.wait_for_channel("fw", number, "open")
            end.accept()
        yield daemon


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """A browser; the tests use it one after another."""
    with Browser() as browser:
        yield browser


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Browser]:
    """A browser whose pages log no errors."""
    yield chromium
    assert chromium.trouble == []


@pytest.fixture
def page(daemon: DaemonProcess, directory: Path, browser: Browser) -> Iterator[Browser]:
    """The page, opened by an administrator, with what the daemon shows."""
    with WebService(directory / "web", run_dir=daemon.run_dir) as service:
        browser.open(service.url)
        browser.wait_for_text("table", "fw")
        yield browser
