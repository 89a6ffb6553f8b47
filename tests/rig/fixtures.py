# SPDX-License-Identifier: Apache-2.0
"""The rig's fixtures, for every test: a pytest plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from examples.guests.packages import UnavailableError
from tests import subprocess_coverage
from tests.rig.embed import EmbedHost
from tests.rig.lab import prepare_lab
from tests.rig.labs import LABS, Lab
from tests.rig.libvirtd import SessionHost, SystemHost
from tests.rig.machine import enter_machine, leave_machine, why_no_machine

if TYPE_CHECKING:
    from collections.abc import Iterator


def pytest_configure(config: pytest.Config) -> None:
    """Enter the private machine before any thread is started.

    A worker of pytest-xdist has threads already, and is in the machine of the process
    that started it.
    """
    if not hasattr(config, "workerinput"):
        enter_machine()


def pytest_unconfigure() -> None:
    """Clean up the private machine."""
    leave_machine()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Run the daemons of rig tests at full speed: real guests wait for their answers.

    Rig tests come last (tests/conftest.py), so no later test is affected.
    """
    if item.get_closest_marker("rig"):
        subprocess_coverage.stop()


@pytest.fixture(scope="session")
def embed_host() -> Iterator[EmbedHost]:
    """The embedded QEMU driver in this process, shared by the session."""
    host = EmbedHost()
    yield host
    host.close()


@pytest.fixture(scope="session")
def _system() -> Iterator[SystemHost]:
    reason = why_no_machine()
    if reason is not None:
        pytest.skip(reason)
    host = SystemHost()
    yield host
    host.close()


@pytest.fixture
def system_host(_system: SystemHost) -> Iterator[SystemHost]:
    """A libvirtd that serves ``qemu:///system``, running at the start of each test.

    The guests of a test end with it: one that failed leaves no vote to later tests.
    """
    _system.revive()
    yield _system
    _system.revive()
    _system.remove_guests()


@pytest.fixture(scope="session")
def _session() -> Iterator[SessionHost]:
    host = SessionHost()
    yield host
    host.close()


@pytest.fixture
def session_host(_session: SessionHost) -> Iterator[SessionHost]:
    """A session libvirtd, running at the start of each test; see `system_host`."""
    _session.revive()
    yield _session
    _session.revive()
    _session.remove_guests()


@pytest.fixture(params=LABS, ids=str)
def lab(request: pytest.FixtureRequest) -> Lab:
    """Each lab in turn; one that needs a missing package is skipped.

    ``@pytest.mark.parametrize("lab", [AMD_ACTIVE, ...], indirect=True)`` selects some.
    """
    found: Lab = request.param
    try:
        prepare_lab(found)
    except UnavailableError as error:
        pytest.skip(f"{found} cannot be built: {error}")
    return found
