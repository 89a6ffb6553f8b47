"""The rig's fixtures, for every test: a pytest plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.rig.embed import EmbedHost
from tests.rig.machine import enter_machine, leave_machine

if TYPE_CHECKING:
    from collections.abc import Iterator


def pytest_configure() -> None:
    """Leave for a private machine before any thread is started."""
    enter_machine()


def pytest_unconfigure() -> None:
    """Clean up what that made."""
    leave_machine()


@pytest.fixture(scope="session")
def embed_host() -> Iterator[EmbedHost]:
    """The embedded QEMU driver in this process, shared by the session."""
    host = EmbedHost()
    yield host
    host.close()
