# SPDX-License-Identifier: Apache-2.0
"""`vmpower domain onboard|offboard|set` and `vmpower template`."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import libvirt
import pytest

from cli.app import app
from domain_templates import load_template
from orchestrator.domain_xml.metadata import POLICY_PREFIX, POLICY_URI
from orchestrator.domain_xml.note import Note
from orchestrator.domain_xml.parse import parse_domain
from orchestrator.hypervisor.descriptions import CONFIG, Description
from orchestrator.power.simulated import lay_out
from orchestrator.values.domain_settings import DomainSettings, Mode
from orchestrator.values.units import KHz
from tests.cli.commands import new_runner
from tests.rig.dpdk import UNITS, dpdk_test_guest
from tests.rig.echo import EchoHost
from tests.rig.guest import Guest, GuestSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from typer.testing import Result

    from tests.rig.libvirtd import SessionHost

INACTIVE = libvirt.VIR_DOMAIN_XML_INACTIVE
ACPI = "<features><acpi/></features>"
CONTROLLER = "<controller type='virtio-serial' index='0'/>"

NO_PORTS = (
    "not enough virtio-serial ports in the running domain: 2 needed, 0 free, and it"
    " cannot take another controller"
)


def run(*words: str, uri: str = "test:///default") -> Result:
    return new_runner().invoke(app, ("--connect", uri, *words))


@pytest.fixture
def define(session_host: SessionHost) -> Iterator[Callable[..., libvirt.virDomain]]:
    made: list[libvirt.virDomain] = []

    def make(
        name: str,
        devices: str = CONTROLLER,
        *,
        on: bool = False,
        machine: str = "q35",
        more: str = "",
    ) -> object:
        domain = session_host.connection.defineXML(
            f"<domain type='qemu'><name>{name}</name><memory unit='MiB'>32</memory>"
            f"<vcpu>2</vcpu>{more}"
            f"<os><type arch='x86_64' machine='{machine}'>hvm</type></os>"
            f"<devices>{devices}<memballoon model='none'/></devices></domain>"
        )
        made.append(domain)
        if on:
            domain.create()
        return domain

    yield make
    for domain in made:
        if domain.isActive():
            domain.destroy()
        domain.undefine()


@pytest.mark.rig
def test_onboarding_and_offboarding_are_reported(
    session_host: SessionHost, define: Callable[..., libvirt.virDomain]
) -> None:
    uri = session_host.uri
    running, bare, off = (
        define("cli-a", on=True),
        # Without ACPI, so that no libvirt can plug in a controller.
        define("cli-b", "", on=True, machine="pc"),
        define("cli-c"),
    )
    shown = run("domain", "onboard", "cli-c", "--print-diff", uri=uri).stdout
    assert shown.startswith("--- cli-c (definition)\n+++ cli-c (definition, changed)\n")
    assert "+    <channel" in shown
    assert "poweragent" not in off.XMLDesc(INACTIVE)
    result = run("domain", "onboard", "cli-*", uri=uri)
    assert result.exit_code == 0, result.output
    lines = re.sub(r"(take another controller) \(.*\)\n", r"\1\n", result.stdout)
    assert lines.splitlines() == [
        "Channels 0-1 attached to the running domain 'cli-a'",
        "Channels 0-1 added to the definition of domain 'cli-a'",
        "Channels 0-1 added to the definition of domain 'cli-b'",
        f"Channels 0-1 not attached to the running domain 'cli-b': {NO_PORTS}",
        "Changes will take effect after the domain is fully powered off.",
        "Channels 0-1 added to the definition of domain 'cli-c'",
        "Changes will take effect after the domain is fully powered off.",
    ]
    again = run("domain", "onboard", "cli-a", "cli-c", uri=uri)
    assert "Domain 'cli-a' already has all requested channels" in again.stdout
    assert len(parse_domain(running.XMLDesc()).channels) == 2
    left = run("--output", "json", "domain", "offboard", "cli-?", uri=uri)
    document = json.loads(left.stdout)["domains"]
    assert [(it["name"], it["live"], it["config"]) for it in document] == [
        ("cli-a", [0, 1], [0, 1]),
        ("cli-b", [], [0, 1]),
        ("cli-c", [], [0, 1]),
    ]
    assert "virtio-serial" not in bare.XMLDesc(INACTIVE)


@pytest.mark.rig
def test_a_failing_domain_does_not_stop_the_others(
    session_host: SessionHost, define: Callable[..., libvirt.virDomain]
) -> None:
    define("cli-d")
    on = define("cli-e", on=True)
    result = run("domain", "onboard", "cli-[de]", "--live", uri=session_host.uri)
    assert result.exit_code == 1
    assert "error: domain 'cli-d': the domain is not running" in result.stderr
    assert len(parse_domain(on.XMLDesc()).channels) == 2
    assert len(parse_domain(on.XMLDesc(INACTIVE)).channels) == 0


@pytest.mark.rig
def test_a_saved_state_and_a_rule_that_undoes_the_change_are_reported(
    session_host: SessionHost, define: Callable[..., libvirt.virDomain]
) -> None:
    uri = session_host.uri
    saved = define("cli-saved", on=True)
    saved.managedSave(0)
    saving = "Domain 'cli-saved' has a saved state ('virsh managedsave'), which stays"
    try:
        shown = run("domain", "onboard", "cli-saved", "--print-diff", uri=uri)
        assert shown.stderr.startswith(saving)
        assert saving not in shown.stdout
        added = run("domain", "onboard", "cli-saved", uri=uri).stdout.splitlines()
        assert added[0] == "Channels 0-1 added to the definition of domain 'cli-saved'"
        assert added[1].startswith(saving)
        document = run("-o", "json", "domain", "onboard", "cli-saved", uri=uri).stdout
        assert json.loads(document)["domains"][0]["has_saved_state"] is True
    finally:
        saved.managedSaveRemove(0)
    note = Note(numbers=frozenset({0, 1}), by_rule=frozenset({1}))
    Description(saved, CONFIG).write_note(note)
    shown = run("domain", "offboard", "cli-saved", "--print-diff", uri=uri)
    assert shown.stderr.startswith("hint: an [[onboard]] rule of vmpowerd added")
    assert "hint" not in shown.stdout
    removed = run("domain", "offboard", "cli-saved", uri=uri)
    assert removed.stderr.startswith("hint: an [[onboard]] rule of vmpowerd added")
    assert "channel 1, and" in removed.stderr
    assert saving not in removed.stdout


@pytest.mark.parametrize("words", [(), ("--all", "test"), ("test", "--all")])
def test_onboarding_needs_domains_or_all(words: tuple[str, ...]) -> None:
    assert run("domain", "onboard", *words).exit_code == 2


def test_contradicting_scopes_are_refused() -> None:
    result = run("domain", "onboard", "test", "--current", "--live")
    assert result.exit_code == 2
    assert "--current" in result.stderr


def policy_of(uri: str, name: str = "test") -> DomainSettings | None:
    connection = libvirt.open(uri)
    try:
        xml = connection.lookupByName(name).XMLDesc()
    finally:
        connection.close()
    return parse_domain(xml).settings


@pytest.mark.rig
def test_settings_of_a_domain_are_set_changed_and_unset(
    session_host: SessionHost, define: Callable[..., libvirt.virDomain]
) -> None:
    define("cli-f", on=True)
    uri = session_host.uri
    words = ("--max", "2.4GHz", "--no-turbo", "--mode", "observe")
    result = run("domain", "set", "cli-f", *words, uri=uri)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "Running domain 'cli-f': max 2.40 GHz, turbo no, mode observe",
        "Definition of domain 'cli-f': max 2.40 GHz, turbo no, mode observe",
    ]
    whole = DomainSettings(max_khz=KHz(2_400_000), turbo=False, mode=Mode.OBSERVE)
    assert policy_of(uri, "cli-f") == whole
    changed = run("domain", "set", "cli-f", "--turbo", "--unset", "mode", uri=uri)
    assert changed.exit_code == 0
    assert policy_of(uri, "cli-f") == DomainSettings(max_khz=KHz(2_400_000), turbo=True)
    run("domain", "set", "cli-f", "--unset", "all", uri=uri)
    assert policy_of(uri, "cli-f") is None


def test_settings_are_printed_as_text_and_json() -> None:
    words = ("domain", "set", "test", "--min", "1GHz", "--generation", "16", "--live")
    assert run(*words, "--print-xml").stdout == (
        '<policy min="1000000" generation="16"/>\n'
    )
    document = json.loads(run("-o", "json", *words).stdout)
    assert document["live"]["min_khz"] == 1_000_000
    assert document["live"]["queries"] is None


def test_latency_and_energy_preference_are_settings_of_a_domain() -> None:
    words = ("domain", "set", "test", "--idle-latency", "50", "--epp", "192", "--live")
    assert run(*words, "--print-xml").stdout == (
        '<policy idle-latency="50" epp="balance_power"/>\n'
    )
    assert "idle-latency 50 us, epp balance_power" in run(*words).stdout


def test_threads_that_follow_are_a_setting_of_a_domain() -> None:
    words = ("domain", "set", "test", "--emulator", "follow", "--live")
    assert run(*words, "--print-xml").stdout == '<policy emulator="follow"/>\n'
    assert "emulator follow" in run(*words).stdout


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--idle-latency", "1.5"), "invalid latency '1.5': expected 0 to 1000000"),
        (("--emulator", "yes"), "'none', 'follow'"),
        (("--epp", "fast"), "invalid energy preference 'fast': expected performance,"),
    ],
)
def test_an_invalid_setting_is_a_wrong_usage(
    words: tuple[str, ...], expected: str
) -> None:
    result = run("domain", "set", "test", *words)
    assert (result.exit_code, expected in result.stderr) == (2, True)


def test_policies_are_printed_on_one_line() -> None:
    words = ("domain", "set", "test", "--live", "--print-xml")
    several = ("--policy", "utilisation up_above=0.9", "--policy", "workload low")
    assert run(*words, *several).stdout == (
        '<policy policies="utilisation up-above=0.9; workload low"/>\n'
    )


@pytest.mark.rig
def test_invalid_metadata_that_is_replaced_is_reported(
    session_host: SessionHost, define: Callable[..., libvirt.virDomain]
) -> None:
    domain = define("cli-g")
    kind = libvirt.VIR_DOMAIN_METADATA_ELEMENT
    junk = "<policy max='fast' turbo='no'/>"
    words = ("domain", "set", "cli-g", "--queries")
    domain.setMetadata(kind, junk, POLICY_PREFIX, POLICY_URI, 0)
    document = run("-o", "json", *words, uri=session_host.uri)
    assert document.stderr == ""
    (hint,) = json.loads(document.stdout)["hints"]
    assert hint.startswith("replaced an invalid setting: ")
    domain.setMetadata(kind, junk, POLICY_PREFIX, POLICY_URI, 0)
    result = run(*words, uri=session_host.uri)
    assert f"hint: {hint}\n" in result.stderr
    assert "max='fast'" in hint
    assert policy_of(session_host.uri, "cli-g") == DomainSettings(
        turbo=False, queries=True
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("test",), "nothing to change"),
        (("test", "--unset", "color"), "invalid setting 'color': expected min, max"),
        (("test", "--mode", "fast"), "fast"),
        (("test", "--policy", "fast"), "unknown policy kind 'fast'"),
    ],
)
def test_invalid_settings_are_refused(words: tuple[str, ...], message: str) -> None:
    result = run("domain", "set", *words)
    assert result.exit_code == 2
    assert message in result.stderr


def test_contradicting_settings_are_not_written() -> None:
    result = run("domain", "set", "test", "--min", "3GHz", "--max", "2GHz", "--live")
    assert result.exit_code == 1
    assert "min 3.00 GHz is above max 2.00 GHz" in result.stderr
    assert run("domain", "set", "nobody", "--turbo").exit_code == 1


def test_templates_are_listed_and_shown(tmp_path: Path) -> None:
    (tmp_path / "own.xml").write_text("<domain/>")
    (tmp_path / "bad.xml").write_text("<domain>")
    listed = run("template", "list", "--directory", str(tmp_path)).stdout
    assert [line.split()[0] for line in listed.splitlines()[2:]] == [
        *("minimal", "nfv", "cloud", "linux", "bad", "own")
    ]
    shown = json.loads(run("-o", "json", "template", "show", "nfv").stdout)
    by_name = {item["name"]: item for item in shown["parameters"]}
    assert by_name["hugepage-mib"]["value"] == "1024"
    assert by_name["vhost-user"]["required"]
    assert "(required)" in run("template", "show", "cloud").stdout
    xml = run("template", "show", "minimal", "--xml").stdout
    assert xml == load_template("minimal").xml


def test_templates_are_checked(tmp_path: Path) -> None:
    good = run("template", "validate", "--directory", str(tmp_path))
    assert good.exit_code == 0
    assert good.stdout.count("is valid") == 4
    wrong = load_template("minimal").xml.replace("'virtio-serial'", "'virtio-cereal'")
    (tmp_path / "wrong.xml").write_text(wrong)
    (tmp_path / "policy.xml").write_text(
        load_template("minimal").xml.replace(
            "<metadata>",
            f"<metadata><p:policy xmlns:p='{POLICY_URI}' max='fast'/>",
        )
    )
    result = run("template", "validate", "--directory", str(tmp_path))
    assert result.exit_code == 1
    assert "error: template 'wrong': not valid by libvirt's schema" in result.stderr
    assert "error: template 'policy': metadata, line" in result.stderr
    one = run("template", "validate", str(tmp_path / "policy.xml"))
    assert one.exit_code == 1


def descriptions(guest: Guest) -> list[str]:
    """Return its running and its defined XML, without libvirt's empty metadata."""
    texts = (guest.domain.XMLDesc(), guest.domain.XMLDesc(INACTIVE))
    return [text.replace("<metadata/>", "").replace("  \n", "") for text in texts]


@pytest.mark.rig
def test_channels_are_added_to_and_removed_from_a_running_guest(
    session_host: SessionHost,
) -> None:
    spec = GuestSpec(name="hot", vcpus=2, channels=(), pins={0: "0", 1: "1"})
    guest = session_host.start(spec)
    try:
        assert guest.talker.run("say:ready") is not None
        before = descriptions(guest)
        onboarded = run("domain", "onboard", guest.name, uri=session_host.uri)
        assert onboarded.exit_code == 0, onboarded.output
        with EchoHost([guest.channel_path(1)]):
            assert guest.talker.run("open:1") == "ok"
            assert guest.talker.request(1, 3) == "ack"
            guest.talker.run("close:1")
        offboarded = run("domain", "offboard", guest.name, uri=session_host.uri)
        assert offboarded.exit_code == 0, offboarded.output
        assert descriptions(guest) == before
    finally:
        guest.remove()


@pytest.mark.rig
def test_dpdks_test_suite_passes_with_a_channel_added_while_booting(
    session_host: SessionHost,
) -> None:
    guest = session_host.start(replace(dpdk_test_guest("hot-dpdk"), channels=()))
    try:
        onboarded = run("domain", "onboard", guest.name, uri=session_host.uri)
        assert onboarded.exit_code == 0, onboarded.output
        with EchoHost([guest.channel_path(0)]) as echo:
            assert guest.console.wait_for("Test ") == "Test OK"
            echo.wait_for_packets(1 + len(UNITS))  # CONNECT is one
        assert tuple(echo.units) == UNITS
    finally:
        guest.remove()


@pytest.fixture
def configuration(session_host: SessionHost, tmp_path: Path) -> str:
    lay_out(tmp_path / "sys", cpus=2, steps_khz=[2_301_000, 2_300_000, 1_200_000])
    file = tmp_path / "vmpower.toml"
    directory = session_host.guests / tmp_path.name
    file.write_text(
        f'sysfs_root = "{tmp_path}/sys"\n[p_states]\ndirectory = "{directory}"\n'
    )
    return str(file)


PIN = "<cputune><vcpupin vcpu='0' cpuset='0'/></cputune>"


@pytest.mark.rig
def test_p_states_are_added_and_removed(
    session_host: SessionHost,
    define: Callable[..., libvirt.virDomain],
    configuration: str,
) -> None:
    uri, with_file = session_host.uri, ("--configuration", configuration)
    domain = define("cli-p", "<serial type='pty'/>", more=f"{ACPI}{PIN}")
    domain.create()
    words = ("domain", "onboard", "cli-p", "--p-states", *with_file)
    shown = run(*words, "--print-diff", uri=uri)
    assert shown.exit_code == 0, shown.output
    assert '+    <serial type="unix">' in shown.stdout
    assert "poweragent" not in shown.stdout
    assert parse_domain(domain.XMLDesc(INACTIVE)).p_states is None
    result = run(*words, uri=uri)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "P-states of vCPU 0 added to the definition of domain 'cli-p'",
        "No P-states for vCPU 1: floats over CPUs 0-1: pin it to one clock group",
        "Changes will take effect after the domain is fully powered off.",
    ]
    assert "refuses the CPU model 'qemu64'" in result.stderr
    again = run(*words, uri=uri)
    assert again.stdout.startswith("Domain 'cli-p' already has its P-states\n")
    left = run("-o", "json", "domain", "offboard", "cli-p", *with_file, uri=uri)
    [document] = json.loads(left.stdout)["domains"]
    assert document["p_states"] == {
        "is_changed": True,
        "vcpus": [],
        "lacking": [],
        "warnings": [],
    }
    assert parse_domain(domain.XMLDesc(INACTIVE)).p_states is None
    none = run("domain", "offboard", "cli-p", *with_file, uri=uri)
    assert none.stdout == (
        "Domain 'cli-p' has no channels or P-states added by onboarding\n"
    )


@pytest.mark.rig
def test_p_states_and_channels_together(
    session_host: SessionHost,
    define: Callable[..., libvirt.virDomain],
    configuration: str,
) -> None:
    uri, with_file = session_host.uri, ("--configuration", configuration)
    domain = define("cli-q", more=f"{ACPI}{PIN}")
    both = ("--p-states", "--channels", "0", *with_file)
    result = run("domain", "onboard", "cli-q", *both, uri=uri)
    assert result.exit_code == 0, result.output
    parsed = parse_domain(domain.XMLDesc(INACTIVE))
    assert parsed.p_states is not None
    assert parsed.numbers == {0}
    only = run("domain", "offboard", "cli-q", "--p-states", *with_file, uri=uri)
    assert only.stdout == "P-states removed from the definition of domain 'cli-q'\n"
    parsed = parse_domain(domain.XMLDesc(INACTIVE))
    assert parsed.p_states is None
    assert parsed.numbers == {0}
    shown = run("domain", "offboard", "cli-q", "--print-diff", *with_file, uri=uri)
    assert "-    <channel" in shown.stdout


@pytest.mark.parametrize("option", ["--live", "--current"])
def test_a_running_domain_gets_no_p_states(option: str) -> None:
    result = run("domain", "onboard", "test", "--p-states", option)
    assert result.exit_code == 2
    assert "only a start of the domain" in result.stderr


def test_a_domain_that_cannot_have_p_states_is_reported(tmp_path: Path) -> None:
    file = tmp_path / "vmpower.toml"
    file.write_text("")
    words = ("domain", "onboard", "test", "--p-states", "--configuration", str(file))
    result = run(*words)
    assert result.exit_code == 1
    assert "domain 'test': the domain has no ACPI" in result.stderr
    assert "add <acpi/> to <features>" in result.stderr


def test_offboarding_does_without_a_valid_configuration(tmp_path: Path) -> None:
    file = tmp_path / "vmpower.toml"
    file.write_text("unknown = 1")
    result = run("domain", "offboard", "test", "--configuration", str(file))
    assert result.exit_code == 0, result.output
    result = run(
        "domain", "onboard", "test", "--p-states", "--configuration", str(file)
    )
    assert result.exit_code == 1
    assert "unknown key" in result.stderr
