# SPDX-License-Identifier: Apache-2.0
"""The note about P-states in a domain's metadata, and the devices that it names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from orchestrator.domain_xml.p_states import (
    P_STATES_URI,
    build_note,
    read_p_states,
)
from orchestrator.domain_xml.parse import parse_domain
from orchestrator.values.frequencies import FrequencyTable, table_from
from orchestrator.values.p_states import PStateEndpoint, PStatePort, PStates
from tests.domain_xml.domains import domain_xml

TABLE = FrequencyTable((2_301_000, 2_300_000, 1_000_000), has_turbo=True)
PORT = PStatePort(io_base=0x5C0, irq=3, first_vcpu=0, vcpus=2, step_bits=4)
P_STATES = PStates(tables=(TABLE, None, TABLE), ports=(PORT,), file="/var/t.aml")
SERIAL = """<serial type='unix'>
      <source mode='bind' path='/run/s.sock'/>
      <target type='isa-serial' port='1'><model name='isa-serial'/></target>
      <alias name='serial1'/>
      <address type='isa' iobase='0x5c0' irq='0x3'/>
    </serial>"""
TABLES = st.none() | st.builds(
    table_from, st.sets(st.integers(1, 9_000_000), min_size=1, max_size=16)
)


def domain_with(note: str, *devices: str) -> str:
    return domain_xml(*devices).replace(
        "<devices>", f"<metadata>{note}</metadata><devices>"
    )


def text_of(p_states: PStates) -> str:
    return etree.tostring(build_note(p_states), encoding="unicode")


def test_a_running_domain_has_the_socket_of_each_port() -> None:
    console = "<serial type='unix'><address type='isa' iobase='0x3f8'/></serial>"
    parsed = parse_domain(domain_with(text_of(P_STATES), console, SERIAL))
    endpoint = PStateEndpoint(PORT, "/run/s.sock", "serial1")
    assert parsed.p_states == P_STATES._replace(endpoints=(endpoint,))
    assert parsed.problems == ()


def test_the_socket_of_a_domain_that_is_off_may_have_no_path_yet() -> None:
    device = SERIAL.replace(" path='/run/s.sock'", "").replace(
        "<alias name='serial1'/>", ""
    )
    parsed = parse_domain(domain_with(text_of(P_STATES), device))
    endpoint = PStateEndpoint(PORT, None)
    assert parsed.p_states == P_STATES._replace(endpoints=(endpoint,))


def test_a_domain_without_a_note_has_no_p_states() -> None:
    assert parse_domain(domain_xml(SERIAL)).p_states is None


@pytest.mark.parametrize(
    ("device", "problem"),
    [
        ("", "the domain has no serial device at this address"),
        (SERIAL.replace("0x5c0", "0x5d0"), "no serial device at this address"),
        (SERIAL.replace("'unix'", "'pty'"), "unsupported type 'pty'"),
        (SERIAL.replace("bind", "connect"), "QEMU connects"),
        (SERIAL.replace("/run/s.sock", "s.sock"), "is not absolute"),
    ],
)
def test_a_device_that_cannot_be_connected_is_reported(
    device: str, problem: str
) -> None:
    parsed = parse_domain(domain_with(text_of(P_STATES), device))
    assert parsed.p_states == P_STATES
    [found] = parsed.problems
    assert "port 0x5c0" in found
    assert problem in found


@given(
    tables=st.lists(TABLES, min_size=1, max_size=64), file=st.sampled_from(["", "/a"])
)
def test_a_note_is_read_as_written(
    tables: list[FrequencyTable | None], file: str
) -> None:
    while tables and tables[-1] is None:
        tables.pop()
    if not tables:
        return
    first = PStatePort(io_base=0x5C0, irq=3, first_vcpu=0, vcpus=32, step_bits=3)
    second = PStatePort(io_base=0x5D0, irq=4, first_vcpu=32, vcpus=32, step_bits=3)
    p_states = PStates(tables=tuple(tables), ports=(first, second), file=file)
    root = etree.fromstring(domain_with(text_of(p_states)))
    assert read_p_states(root).p_states == p_states


def test_equal_vcpus_share_their_table() -> None:
    parsed = parse_domain(domain_with(text_of(P_STATES), SERIAL))
    assert parsed.p_states is not None
    assert parsed.p_states.tables[0] is parsed.p_states.tables[2]


@pytest.mark.parametrize(
    "damage",
    [
        ("0x5c0", "0x10000"),
        ("0x5c0", "9" * 5000),
        ("0x5c0", "08"),
        ('irq="3"', 'irq="16"'),
        ('bits="4"', 'bits="8"'),
        ('bits="4"', 'bits="2"'),
        ('first="0"', 'first="-1"'),
        ('vcpus="2"', 'vcpus="17"'),
        ('vcpus="0,2"', 'vcpus="64"'),
        ('vcpus="0,2"', 'vcpus="x"'),
        ('vcpus="0,2"', 'vcpus=""'),
        ("2300000", "2301000"),
        ("1000000", "0"),
        ("1000000", "one"),
        ('khz="2301000 2300000 1000000"', 'khz=""'),
    ],
)
def test_an_invalid_note_counts_as_none(damage: tuple[str, str]) -> None:
    note = text_of(P_STATES)
    assert damage[0] in note
    parsed = parse_domain(domain_with(note.replace(*damage), SERIAL))
    assert parsed.p_states is None
    assert ["invalid note" in problem for problem in parsed.problems] == [True]


def test_two_ports_at_one_address_are_refused() -> None:
    twice = P_STATES._replace(ports=(PORT, PORT))
    assert parse_domain(domain_with(text_of(twice), SERIAL)).p_states is None


def test_a_note_without_ports_is_refused() -> None:
    note = f'<p-states xmlns="{P_STATES_URI}"/>'
    assert parse_domain(domain_with(note, SERIAL)).p_states is None
