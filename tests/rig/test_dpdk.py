# SPDX-License-Identifier: Apache-2.0
"""DPDK's own guests notice whether a host is connected."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.rig.dpdk import UNITS, dpdk_test_guest, librte_power_guest
from tests.rig.echo import EchoHost

if TYPE_CHECKING:
    from tests.rig.embed import EmbedHost

pytestmark = pytest.mark.rig


def test_dpdks_test_suite_passes_with_a_connected_host(
    embed_host: EmbedHost,
) -> None:
    guest = embed_host.start(dpdk_test_guest())
    with EchoHost([guest.channel_path(0)]) as echo:
        verdict = guest.console.wait_for("Test ")
        echo.wait_for_packets(1 + len(UNITS))  # CONNECT is one
    guest.remove()
    assert verdict == "Test OK"
    assert tuple(echo.units) == UNITS


def test_dpdks_test_suite_skips_without_a_host(embed_host: EmbedHost) -> None:
    guest = embed_host.start(dpdk_test_guest())
    verdict = guest.console.wait_for("Test ")
    guest.remove()
    assert verdict == "Test Skipped"


def test_a_client_of_librte_power_spaces_its_calls(embed_host: EmbedHost) -> None:
    guest = embed_host.start(librte_power_guest(spacing_ms=20))
    with EchoHost([guest.channel_path(0)]) as echo:
        guest.console.wait_for("client: exit")
        echo.wait_for_packets(1 + len(UNITS))  # CONNECT is one
    lines = [line for line in guest.console.lines if "unit=" in line]
    guest.remove()
    assert tuple(echo.units) == UNITS
    assert [line.split()[2:] for line in lines] == [
        [f"unit={unit}", "result=1"] for unit in UNITS
    ]
