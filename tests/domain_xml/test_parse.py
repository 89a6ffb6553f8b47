# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain_xml.channel import build_channel
from orchestrator.domain_xml.parse import parse_domain
from orchestrator.errors import DomainXmlError
from orchestrator.values.domain import MAX_CHANNEL_NUMBER, ChannelSpec, Target, VCpu
from tests.domain_xml.domains import domain_xml, read_golden

LIVE_DIR = "/run/libvirt/qemu/channel/7-router-a"


def test_a_running_domain_is_parsed() -> None:
    parsed = parse_domain(read_golden("live"))
    assert parsed.uuid == "4579e6cd-caca-4c68-8934-da43e4863198"
    assert parsed.name == "router-a"
    assert parsed.run == 7
    assert parsed.problems == ()
    assert parsed.note.numbers == {1, 2}


def test_paths_are_those_of_the_live_xml_whatever_their_directory() -> None:
    parsed = parse_domain(read_golden("live"))
    assert parsed.channels == (
        ChannelSpec(
            number=0,
            target=Target("virtio.serial.port.poweragent.0"),
            path="/tmp/powermonitor/router-a.0",
            alias="channel2",
            is_guest_connected=True,
        ),
        ChannelSpec(
            number=2,
            target=Target("virtio.serial.port.poweragent.2"),
            path=f"{LIVE_DIR}/virtio.serial.port.poweragent.2",
            alias="channel1",
            is_guest_connected=False,
        ),
        ChannelSpec(
            number=9,
            target=Target("virtio.serial.port.poweragent.9"),
            path="/tmp/powermonitor/router-a.9",
            alias="channel3",
            is_guest_connected=None,
        ),
    )


def test_only_online_vcpus_count() -> None:
    parsed = parse_domain(read_golden("live"))
    assert parsed.vcpus == (0, 2, 3)
    assert set(parsed.vcpus) - parsed.numbers == {3}


def test_ports_are_counted_by_addresses_without_the_console_s_port() -> None:
    assert parse_domain(read_golden("live")).free_ports == 1


def test_a_definition_has_no_paths_and_thirty_ports_by_default() -> None:
    parsed = parse_domain(read_golden("defined"))
    assert parsed.run == -1
    assert [channel.path for channel in parsed.channels] == [None]
    assert set(parsed.vcpus) - parsed.numbers == {1}
    assert parsed.free_ports == 29


def test_invalid_channels_are_reported_and_the_rest_is_used() -> None:
    parsed = parse_domain(read_golden("odd-channels"))
    assert [(item.number, item.path) for item in parsed.channels] == [
        (0, "/a/first"),
        (3, "relative"),
    ]
    assert parsed.unusable_channels == {1, 2}
    assert set(parsed.vcpus) - parsed.numbers == {4}
    prefix = "channel 'virtio.serial.port.poweragent."
    above = f"its number is above {MAX_CHANNEL_NUMBER}; ignored"
    zero = "its number has a leading zero, which DPDK never writes; ignored"
    word = "its name does not end in a number; ignored"
    theirs = "QEMU connects (mode='connect') instead of listening; ignored"
    assert parsed.problems == (
        f"{prefix}0': defined twice; only the first is used",
        f"{prefix}1': unsupported type 'pty': only 'unix' can be connected; ignored",
        f"{prefix}2': {theirs}",
        f"{prefix}-1': {word}",
        f"{prefix}99999999999999999999': {above}",
        f"{prefix}007': {zero}",
        f"{prefix}': {word}",
        f"{prefix}3': socket path 'relative' is not absolute",
    )


def test_a_path_of_108_bytes_is_kept_and_reported() -> None:
    path = "/" + "x" * 107
    xml = domain_xml(build_channel(0).replace("/><target", f" path='{path}'/><target"))
    parsed = parse_domain(xml)
    assert [channel.path for channel in parsed.channels] == [path]
    assert ["has 108 bytes" in problem for problem in parsed.problems] == [True]


def test_a_domain_without_channels_is_no_problem() -> None:
    parsed = parse_domain(domain_xml(vcpus="<vcpu current='2'>4</vcpu>"))
    assert parsed.channels == ()
    assert set(parsed.vcpus) - parsed.numbers == {0, 1}
    assert parsed.free_ports == 0
    assert parsed.problems == ()


def test_hundreds_of_channels_are_ordered_by_number() -> None:
    devices = [build_channel(number, f"/c/{number}") for number in range(399, -1, -1)]
    parsed = parse_domain(domain_xml(*devices, vcpus="<vcpu>400</vcpu>"))
    assert [channel.number for channel in parsed.channels] == list(range(400))
    assert set(parsed.vcpus) - parsed.numbers == set()


def test_a_controller_left_behind_by_a_failed_hot_plug_has_no_ports() -> None:
    real = "<controller type='virtio-serial' index='0'><alias name='v0'/></controller>"
    phantom = "<controller type='virtio-serial' index='1'/>"
    assert parse_domain(domain_xml(real, phantom)).free_ports == 30


@pytest.mark.parametrize(
    "numbers", ["junk", "5-2", "", "1,x", "99999999999999", "9" * 5000]
)
def test_a_foreign_note_means_that_nothing_was_attached(numbers: str) -> None:
    xml = read_golden("live").replace('numbers="1-2"', f'numbers="{numbers}"')
    assert parse_domain(xml).note.numbers == frozenset()


@pytest.mark.parametrize("count", ["0", "-1", "many", "9" * 5000, "", "8193"])
def test_an_invalid_number_of_vcpus_is_reported(count: str) -> None:
    parsed = parse_domain(domain_xml(vcpus=f"<vcpu>{count}</vcpu>"))
    assert parsed.vcpus == ()
    assert parsed.problems == (f"invalid number of vCPUs '{count[:20]}'",)


def test_a_domain_has_one_vcpu_by_default() -> None:
    assert parse_domain(domain_xml(vcpus="")).vcpus == (VCpu(0),)


@pytest.mark.parametrize(
    "xml",
    [
        "",
        "<domain>",
        "<network/>",
        "\ud800",
        "<domain><name>n</name></domain>",
        "<domain><name>n</name><uuid>../../x</uuid></domain>",
        "<domain><uuid>5579e6cd-caca-4c68-8934-da43e4863198</uuid></domain>",
    ],
)
def test_invalid_domain_xml_is_refused(xml: str) -> None:
    with pytest.raises(DomainXmlError):
        parse_domain(xml)


def test_an_entity_bomb_is_refused_before_parsing() -> None:
    levels = "".join(
        f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' if n else '<!ENTITY l0 "lol">'
        for n in range(30)
    )
    bomb = f"<!DOCTYPE domain [{levels}]><domain><name>&l29;</name></domain>"
    with pytest.raises(DomainXmlError, match="document type"):
        parse_domain(bomb)


def test_an_encoding_declaration_is_accepted() -> None:
    xml = '<?xml version="1.0" encoding="UTF-8"?>\n' + read_golden("defined")
    assert parse_domain(xml).name == "router-b"


@pytest.mark.fuzz
@given(st.text())
def test_any_text_raises_only_domain_xml_errors(text: str) -> None:
    try:
        parse_domain(text)
    except DomainXmlError:
        return
    raise AssertionError(text)


@pytest.mark.fuzz
@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs", "Cc"])).map(
            lambda text: text.translate({ord(c): None for c in "<>&'\""})
        ),
        max_size=5,
    )
)
def test_no_target_name_raises(names: list[str]) -> None:
    devices = [
        "<channel type='unix'><target type='virtio'"
        f" name='virtio.serial.port.poweragent.{name}'/></channel>"
        for name in names
        if "￾" not in name and "￿" not in name
    ]
    parsed = parse_domain(domain_xml(*devices))
    assert len(parsed.channels) + len(parsed.problems) == len(devices)
