# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain_xml.channel import build_channel, parse_channel_number
from orchestrator.domain_xml.parse import parse_domain
from orchestrator.errors import DomainXmlError
from orchestrator.values.domain import MAX_CHANNEL_NUMBER
from tests.domain_xml.domains import domain_xml

NUMBERS = st.integers(0, MAX_CHANNEL_NUMBER)


def test_by_default_a_channel_has_no_path_so_that_libvirt_chooses_one() -> None:
    assert build_channel(3) == (
        '<channel type="unix"><source mode="bind"/>'
        '<target type="virtio" name="virtio.serial.port.poweragent.3"/></channel>'
    )


@given(NUMBERS, st.none() | st.sampled_from(["/a", "/tmp/powermonitor/a&b'\"<.0"]))
def test_a_built_channel_is_parsed_again(number: int, path: str | None) -> None:
    parsed = parse_domain(domain_xml(build_channel(number, path)))
    assert [(item.number, item.path) for item in parsed.channels] == [(number, path)]
    assert parsed.problems == ()


@pytest.mark.parametrize("number", [-1, MAX_CHANNEL_NUMBER + 1])
def test_a_number_that_no_guest_can_use_is_refused(number: int) -> None:
    with pytest.raises(DomainXmlError):
        build_channel(number)


@pytest.mark.parametrize("path", ["relative", "", "/" + "x" * 107, "/a\nb"])
def test_an_invalid_socket_path_is_refused(path: str) -> None:
    with pytest.raises(DomainXmlError):
        build_channel(0, path)


def test_a_path_may_have_107_bytes() -> None:
    assert "x" * 106 in build_channel(0, "/" + "x" * 106)
    with pytest.raises(DomainXmlError, match="108 bytes"):
        build_channel(0, "/x" + "é" * 53)


def test_other_channels_have_no_number() -> None:
    assert parse_channel_number("org.qemu.guest_agent.0") is None
    assert parse_channel_number("") is None


@pytest.mark.parametrize("digits", ["²", "１", "1 ", "+1", "1_0", "9" * 9999])  # noqa: RUF001
def test_a_number_is_written_in_plain_digits(digits: str) -> None:
    with pytest.raises(DomainXmlError):
        parse_channel_number(f"virtio.serial.port.poweragent.{digits}")
