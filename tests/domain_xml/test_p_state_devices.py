# SPDX-License-Identifier: Apache-2.0
"""What is added to a definition for P-states, and removed again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from orchestrator.domain_xml.document import parse_document, render_document
from orchestrator.domain_xml.p_state_devices import (
    add_p_states,
    find_free_places,
    has_table,
    remove_p_states,
)
from orchestrator.domain_xml.parse import parse_domain
from orchestrator.errors import DomainXmlError
from orchestrator.onboarding.p_states import IO_BASES, PStatePlan, plan_p_states
from orchestrator.values.frequencies import table_from
from tests.domain_xml.domains import UUID

FILE = "/var/lib/vmpower/acpi/a-1.aml"
SOCKETS = f"/var/lib/vmpower/acpi/{UUID}"
TABLE = table_from([2_301_000, 2_300_000, 1_000_000])
QEMU = "xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'"
DEBUG_CONSOLE = (
    f"<qemu:commandline {QEMU}><qemu:arg"
    " value='isa-debugcon,iobase=1472,chardev=iobase'/></qemu:commandline>"
)
ARGUMENTS = (
    f"<qemu:commandline {QEMU}><qemu:arg value='-acpitable'/>"
    "<qemu:arg value='file=/other.aml'/></qemu:commandline>"
)
CONSOLE = (
    "<serial type='pty'><target type='isa-serial' port='0'/></serial>"
    "<console type='pty'><target type='serial' port='0'/></console>"
)


def definition(
    devices: str = "", *, system: str = "", end: str = "", metadata: str = ""
) -> str:
    return render_document(
        parse_document(
            f"<domain type='kvm'>\n  <name>made</name>\n  <uuid>{UUID}</uuid>\n"
            f"{metadata}  <vcpu>2</vcpu>\n"
            f"  <os>\n    <type>hvm</type>\n{system}  </os>\n"
            f"  <devices>\n    <memballoon model='none'/>{devices}\n  </devices>\n{end}"
            "</domain>"
        )
    )


def plan_for(xml: str, vcpus: int = 2) -> PStatePlan:
    plan = plan_p_states([TABLE] * vcpus, find_free_places(parse_document(xml)))
    return plan._replace(p_states=plan.p_states._replace(file=FILE))


def added(xml: str, *, vcpus: int = 2, has_table_element: bool = True) -> str:
    plan = plan_for(xml, vcpus)
    return add_p_states(xml, plan, SOCKETS, has_table_element=has_table_element)


DEFINITIONS = [
    definition(),
    definition(CONSOLE),
    definition(CONSOLE, end=f"  {ARGUMENTS}\n"),
    definition(system="    <acpi>\n      <table type='slic'>/s</table>\n    </acpi>\n"),
    definition(metadata="  <metadata>\n    <v:a xmlns:v='urn:v'/>\n  </metadata>\n"),
]


@pytest.mark.parametrize("has_table_element", [True, False])
@pytest.mark.parametrize("vcpus", [1, 40])
@pytest.mark.parametrize("before", DEFINITIONS)
def test_what_is_added_is_found_and_removed(
    before: str, vcpus: int, *, has_table_element: bool
) -> None:
    after = added(before, vcpus=vcpus, has_table_element=has_table_element)
    parsed = parse_domain(after)
    assert parsed.problems == ()
    assert parsed.p_states is not None
    assert parsed.p_states._replace(endpoints=()) == plan_for(before, vcpus).p_states
    assert [endpoint.path for endpoint in parsed.p_states.endpoints] == [
        f"{SOCKETS}-{port.io_base:x}.sock" for port in parsed.p_states.ports
    ]
    assert has_table(after, FILE)
    assert not has_table(before, FILE)
    assert canonical(remove_p_states(after)) == canonical(before)


def canonical(xml: str) -> str:
    """Return XML without indentation; an empty element stays of what was inside."""
    root = etree.fromstring(xml, etree.XMLParser(remove_blank_text=True))
    return etree.tostring(root, method="c14n").decode()


def test_the_device_is_as_libvirt_writes_it() -> None:
    after = added(definition(CONSOLE))
    assert (
        f"""    <serial type="unix">
      <source mode="bind" path="{SOCKETS}-5c0.sock"/>
      <target type="isa-serial" port="1">
        <model name="isa-serial"/>
      </target>
      <address type="isa" iobase="0x5c0" irq="0x3"/>
    </serial>
"""
        in after
    )
    assert f"""    <acpi>
      <table type="raw">{FILE}</table>
    </acpi>
""" in (after)


def test_a_console_that_libvirt_made_of_the_device_is_removed_with_it() -> None:
    before = definition()
    console = (
        f"<console type='unix'><source mode='bind' path='{SOCKETS}-5c0.sock'/>"
        "<target type='serial' port='1'/></console>"
    )
    after = added(before).replace("</devices>", f"{console}</devices>")
    assert canonical(remove_p_states(after)) == canonical(before)


def test_a_device_at_the_address_without_a_path_is_removed_alone() -> None:
    after = added(definition(CONSOLE)).replace(f'path="{SOCKETS}-5c0.sock"', "")
    assert canonical(remove_p_states(after)) == canonical(definition(CONSOLE))


def test_without_a_note_nothing_is_removed() -> None:
    xml = definition(CONSOLE)
    assert remove_p_states(xml) == xml


def test_an_invalid_note_is_removed_with_its_table() -> None:
    after = added(definition()).replace('iobase="0x5c0" irq="3"', 'iobase="" irq="3"')
    left = parse_domain(remove_p_states(after))
    assert left.p_states is None
    assert not has_table(remove_p_states(after), FILE)


def test_the_argument_of_another_option_is_no_table() -> None:
    arguments = (
        f"<qemu:commandline {QEMU}><qemu:arg value='file={FILE}'/>"
        f"<qemu:arg value='-drive'/><qemu:arg value='file={FILE}'/></qemu:commandline>"
    )
    assert not has_table(definition(end=arguments), FILE)


@pytest.mark.parametrize(
    ("devices", "serials"),
    [
        ("", (1, 2, 3)),
        (CONSOLE, (1, 2, 3)),
        ("<serial type='pty'/>", (1, 2, 3)),
        ("<serial type='pty'/><serial type='pty'/>", (2, 3)),
        ("<serial type='pty'><target port='2'/></serial><serial/>", (1,)),
        ("<serial/>" * 4, ()),
    ],
)
def test_the_console_keeps_its_number(devices: str, serials: tuple[int, ...]) -> None:
    assert find_free_places(parse_document(definition(devices))).serials == serials


def test_consoles_have_the_numbers_that_libvirt_gives_them_without_the_device() -> None:
    """Beside ours, those without a number would come behind it."""
    unnumbered = "<serial type='pty'/><serial type='pty'><target type='isa-serial'/>"
    after = parse_document(added(definition(f"{unnumbered}</serial>")))
    targets = after.findall("devices/serial/target")
    assert [target.get("port") for target in targets] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("devices", "end", "free"),
    [
        ("", "", IO_BASES),
        ("<panic><address type='isa' iobase='0x505'/></panic>", "", IO_BASES),
        ("<panic><address type='isa'/></panic>", "", IO_BASES),
        ("<serial><address type='isa' iobase='0x5c7'/></serial>", "", IO_BASES[1:]),
        ("<serial><address type='isa' iobase='0x5b9'/></serial>", "", IO_BASES[1:]),
        ("<serial><address type='isa' iobase='0x5b8'/></serial>", "", IO_BASES),
        ("", DEBUG_CONSOLE, IO_BASES[1:]),
    ],
)
def test_addresses_of_other_devices_are_not_used(
    devices: str, end: str, free: tuple[int, ...]
) -> None:
    found = find_free_places(parse_document(definition(devices, end=end)))
    assert found.io_bases == free


def test_a_path_that_qemu_would_split_is_refused() -> None:
    xml = definition()
    plan = plan_for(xml)
    odd = plan._replace(p_states=plan.p_states._replace(file="/a,b.aml"))
    with pytest.raises(DomainXmlError, match="has a comma"):
        add_p_states(xml, odd, SOCKETS, has_table_element=False)


def test_a_socket_path_that_is_too_long_is_refused() -> None:
    xml = definition()
    with pytest.raises(DomainXmlError, match="the limit is 107"):
        add_p_states(xml, plan_for(xml), "/" + "a" * 107, has_table_element=True)


def test_a_domain_without_a_system_is_refused() -> None:
    with pytest.raises(DomainXmlError, match="no <os>"):
        added("<domain><name>a</name></domain>")


@given(st.lists(st.integers(0, 5), max_size=5))
def test_numbers_are_free_or_taken(ports: list[int]) -> None:
    devices = "".join(f"<serial><target port='{port}'/></serial>" for port in ports)
    free = find_free_places(parse_document(definition(devices))).serials
    assert set(free) == {1, 2, 3} - set(ports)
