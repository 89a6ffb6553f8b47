# SPDX-License-Identifier: Apache-2.0
"""`vmpower domain add` and `domain pin`, with libvirt's test driver."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import libvirt
import pytest
import typer

from cli.commands import domain_add, domain_pin
from cli.framework.failures import UsageError
from cli.framework.settings import Output, Settings
from domain_templates import validate
from orchestrator.domain_xml.document import parse_document
from orchestrator.domain_xml.parse import parse_domain
from orchestrator.errors import ConfigError, DomainGone, HypervisorError
from orchestrator.power.simulated import lay_out
from orchestrator.values.domain_settings import DomainSettings, Mode
from orchestrator.values.units import KHz
from tests.cli.commands import new_runner

if TYPE_CHECKING:
    from typer.testing import Result

    from tests.rig.libvirtd import SessionHost

DEFAULT = "test:///default"
"""libvirt's test driver: a running domain `test` with two vCPUs, and eight CPUs."""


MAC = re.compile(r"<mac address='[^']*'/>")
RUNNING, SHUT_OFF = 1, 5
"""States of domains for the test driver."""
UUID = "5579e6cd-caca-4c68-8934-da43e4863198"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    lay_out(tmp_path / "sys", cpus=4)
    return tmp_path / "sys"


def run(*words: str, output: Output = Output.TABLE, uri: str = "") -> Result:
    app = typer.Typer()

    @app.callback()
    def settings(context: typer.Context) -> None:
        context.obj = Settings(output=output, uri=uri)

    app.command()(domain_add.add)
    app.command()(domain_pin.pin)
    return new_runner().invoke(app, words)


def test_by_default_the_xml_is_printed_and_nothing_is_changed() -> None:
    result = run("add", "router", "--vcpus", "2", "--pin", "5,3", "--type", "qemu")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert validate(result.stdout)
    root = parse_document(result.stdout)
    assert root.get("type") == "qemu"
    assert [pin.get("cpuset") for pin in root.iterfind("cputune/vcpupin")] == ["5", "3"]
    assert len(root.findall("devices/channel")) == 2


def test_relative_paths_are_resolved_in_the_current_directory() -> None:
    words = ("add", "r", "--kernel", "vmlinuz", "--pin", "none")
    root = parse_document(run(*words).stdout)
    assert root.findtext("os/kernel") == str(Path.cwd() / "vmlinuz")


def test_vcpus_that_are_not_pinned_are_a_warning(tree: Path) -> None:
    result = run("add", "r", "--pin", "none", "--sysfs-root", str(tree))
    assert "its vCPUs are not pinned" in result.stderr
    assert "cputune" not in result.stdout


@pytest.mark.parametrize("pin", [(), ("--pin", "none")])
def test_no_pinning_is_advised_if_no_frequency_can_be_set(
    tree: Path, pin: tuple[str, ...]
) -> None:
    for policy in tree.glob("devices/system/cpu/cpufreq/policy*"):
        (policy / "scaling_available_frequencies").write_text("unknown\n")
    words = ("--sysfs-root", str(tree), "-c", DEFAULT, "--define", *pin)
    result = run("add", "r", *words)
    assert result.exit_code == 0
    assert "pinned" not in result.stderr
    assert "--pin" not in result.stderr
    proposed = "hint: no pinning proposed: no frequency can be set: scaling_available"
    assert (proposed in result.stderr) == (not pin)


def test_a_pinning_is_proposed_and_explained(tree: Path) -> None:
    words = ("add", "r", "--vcpus", "2", "--sysfs-root", str(tree), "-c", DEFAULT)
    result = run(*words)
    assert result.stderr.splitlines()[0] == (
        "proposed pinning: vCPUs 0-1 to CPUs 1,2, emulator threads to CPU 0"
    )
    assert "  each vCPU has its own clock group" in result.stderr.splitlines()
    root = parse_document(result.stdout)
    pins = [pin.get("cpuset") for pin in root.iterfind("cputune/vcpupin")]
    assert pins == ["1", "2"]
    assert root.find("cputune/emulatorpin[@cpuset='0']") is not None


def test_cpus_of_running_domains_are_left_out(tree: Path, tmp_path: Path) -> None:
    node = tmp_path / "node.xml"
    node.write_text(
        "<node><domain type='test' id='1'><name>busy</name><memory>1024</memory>"
        "<vcpu>1</vcpu><cputune><vcpupin vcpu='0' cpuset='1'/></cputune>"
        "<os><type>hvm</type></os></domain></node>"
    )
    result = run("add", "r", "--sysfs-root", str(tree), "-c", f"test://{node}")
    assert "vCPU 0 to CPU 2" in result.stderr
    assert "used by domain 'busy': CPU 1" in result.stderr


def test_without_a_terminal_a_proposed_pinning_must_be_confirmed(tree: Path) -> None:
    words = ("--sysfs-root", str(tree), "-c", DEFAULT)
    result = run("add", "proposed", "--define", *words)
    assert str(result.exception) == "the proposed pinning is not confirmed"
    assert isinstance(result.exception, ConfigError)
    assert "--yes" in result.exception.hint
    defined = run("add", "r", "--define", *words, "--yes", output=Output.JSON)
    printed = parse_document(run("add", "r", *words).stdout)
    pins = [pin.get("cpuset") for pin in printed.iterfind("cputune/vcpupin")]
    assert [str(pin) for pin in json.loads(defined.stdout)["pins"]] == pins == ["1"]


@pytest.mark.rig
def test_exactly_what_is_printed_is_defined(
    tree: Path, session_host: SessionHost
) -> None:
    def definition(name: str) -> str:
        domain = session_host.connection.lookupByName(name)
        xml = str(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
        domain.undefine()
        return MAC.sub("", xml.replace(domain.UUIDString(), ""))

    here = ("--sysfs-root", str(tree), "-c", session_host.uri)
    options = ("--type", "qemu", "--network", "user", "--max", "2GHz", *here)
    words = ("add", "exact", *options)
    session_host.connection.defineXML(run(*words).stdout)
    printed = definition("exact")
    assert "<vcpupin" in printed
    assert run(*words, "--define", "--yes").exit_code == 0
    assert definition("exact") == printed


def test_without_libvirt_no_pinning_is_proposed_and_the_reason_is_reported(
    tree: Path,
) -> None:
    uri = "qemu+unix:///system?socket=/nonexistent"
    result = run("add", "r", "-c", uri, "--sysfs-root", str(tree))
    assert result.exit_code == 0
    assert "no pinning proposed: " in result.stderr
    assert "cputune" not in result.stdout


def test_a_dry_run_checks_everything_and_changes_nothing() -> None:
    words = ("add", "r", "--pin", "1", "--define", "--dry-run", "-c", DEFAULT)
    assert run(*words).stdout == "Domain 'r' is valid; nothing was changed\n"
    assert isinstance(run(*words, "--set", "x=y").exception, ConfigError)
    existing = run("add", "test", "--pin", "1", "--dry-run", "-c", DEFAULT)
    assert "already exists" in str(existing.exception)
    nowhere = "qemu+unix:///system?socket=/nonexistent"
    unchecked = run("add", "r", "--pin", "1", "--dry-run", "-c", nowhere)
    assert unchecked.exit_code == 0
    assert "hint: not checked, except the XML and the files" in unchecked.stderr


def test_every_option_reaches_the_domain(tmp_path: Path) -> None:
    image = tmp_path / "vm.img"
    image.write_bytes(b"QFI\xfb" + bytes(512))
    result = run(
        *("add", "r", "--template", "cloud", "--pin", "4,5", "--emulator-pin", "0-1"),
        *("--disk", str(image), "--network", "bridge:br0", "--network", "user"),
        *("--channels", "1", "--min", "1.2GHz", "--max", "2.4GHz", "--no-turbo"),
        *("--mode", "observe", "--set", "bus=sata", "--define", "--print-xml"),
    )
    assert "looks like a qcow2 image" in result.stderr
    parsed = parse_domain(result.stdout.replace("<name>", f"<uuid>{UUID}</uuid><name>"))
    assert [item.number for item in parsed.channels] == [1]
    assert parsed.settings == DomainSettings(
        min_khz=KHz(1_200_000),
        max_khz=KHz(2_400_000),
        turbo=False,
        mode=Mode.OBSERVE,
    )
    root = parse_document(result.stdout)
    assert root.find("devices/disk/target[@bus='sata']") is not None
    assert root.find("cputune/emulatorpin[@cpuset='0-1']") is not None
    kinds = [item.get("type") for item in root.iterfind("devices/interface")]
    assert kinds == ["bridge", "user"]
    assert validate(result.stdout)


def test_a_domain_is_defined_and_reported() -> None:
    result = run("add", "r", "--pin", "1", "--define", "-c", DEFAULT)
    assert result.exit_code == 0
    assert result.stdout.startswith("Domain 'r' defined (")


def test_start_defines_the_domain_first() -> None:
    result = run("add", "new", "--pin", "1", "--start", output=Output.JSON, uri=DEFAULT)
    document = json.loads(result.stdout)
    assert (document["schema"], document["name"], document["started"]) == (
        1,
        "new",
        True,
    )


def test_the_uri_is_read_from_libvirts_environment_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LIBVIRT_DEFAULT_URI", DEFAULT)
    assert run("add", "own", "--define", "--pin", "1").exit_code == 0
    monkeypatch.setenv("LIBVIRT_DEFAULT_URI", "qemu+ssh://other/system")
    result = run("add", "own", "--define", "--pin", "1")
    assert isinstance(result.exception, ConfigError)


@pytest.mark.parametrize("word", ["test", "1", "6695eb01-f6a4-8304-79aa-97f2502e193f"])
def test_a_vcpu_is_pinned_in_a_domain_by_any_of_its_names(word: str) -> None:
    result = run("pin", word, "1", "3", "-c", DEFAULT)
    assert result.exit_code == 0, result.exception
    assert result.stdout == "vCPU 1 of domain 'test' pinned to CPU 3\n"


FLOATING = (
    "hint: requests of vCPU 1 will be refused: floats over CPUs 0-1: pin it to one"
    " clock group\n"
)


@pytest.mark.parametrize(("cpus", "hint"), [("0-1", FLOATING), ("2", "")])
def test_a_pinning_that_lets_a_vcpu_float_is_reported(
    tree: Path, cpus: str, hint: str
) -> None:
    words = ("pin", "test", "1", cpus, "--sysfs-root", str(tree), "-c", DEFAULT)
    result = run(*words)
    assert (result.exit_code, result.stderr) == (0, hint)


def test_with_json_hints_are_in_the_document(tree: Path) -> None:
    here = ("--sysfs-root", str(tree), "-c", DEFAULT)
    pinned = run("pin", "test", "1", "0-1", *here, output=Output.JSON)
    assert pinned.stderr == ""
    assert json.loads(pinned.stdout)["hints"] == [FLOATING[len("hint: ") : -1]]
    words = ("add", "r", "--define", "--pin", "none", "--socket-dir", "/nonexistent")
    added = run(*words, *here, output=Output.JSON)
    assert added.stderr == ""
    unpinned, missing = json.loads(added.stdout)["hints"]
    assert unpinned.startswith("its vCPUs are not pinned")
    assert missing.startswith("channel: no such directory: /nonexistent; before")
    printed = run("add", "r", *words[3:], *here, output=Output.JSON)
    assert printed.stderr.startswith(f"hint: {unpinned}")


SHARED = """
<domain type='test' xmlns:t='http://libvirt.org/schemas/domain/test/1.0'>
<name>{name}</name><memory>1024</memory><vcpu>2</vcpu><t:runstate>{state}</t:runstate>
<cputune><vcpupin vcpu='0' cpuset='1'/><vcpupin vcpu='1' cpuset='2-3'/></cputune>
<os><type>hvm</type></os></domain>
"""


def test_vcpus_that_share_a_cpu_are_reported(tree: Path, tmp_path: Path) -> None:
    def hint(*words: str) -> str:
        return run(*words, "--sysfs-root", str(tree), "-c", f"test://{node}").stderr

    node = tmp_path / "node.xml"
    states = {"fw": RUNNING, "db": RUNNING, "off": SHUT_OFF}
    texts = (SHARED.format(name=name, state=it) for name, it in states.items())
    node.write_text(f"<node>{''.join(texts)}</node>")
    shared = "hint: CPU 1 is shared with vCPU 0 of domain 'db', vCPU 0 of domain 'fw'"
    assert hint("pin", "fw", "1", "1") == f"{shared}\n"
    assert hint("pin", "fw", "1", "0") == ""
    assert hint("add", "r", "--vcpus", "3", "--pin", "1,2,1") == (
        "hint: 2 vCPUs share CPU 1: give each one its own\n"
    )


def test_pinning_a_missing_vcpu_lists_the_vcpus_of_the_domain() -> None:
    result = run("pin", "test", "2", "3", "-c", DEFAULT)
    assert isinstance(result.exception, HypervisorError)
    assert result.exception.hint == "the domain has vCPUs 0-1"


@pytest.mark.parametrize("option", ["--disk", "--kernel", "--cloud-init"])
@pytest.mark.parametrize("how", ["--define", "--start", "--dry-run"])
def test_a_missing_file_is_an_error_when_the_domain_is_defined(
    option: str, how: str, tmp_path: Path
) -> None:
    missing = tmp_path / "missing"
    words = ("add", "brand-new", option, str(missing), "--pin", "1", "-c", DEFAULT)
    result = run(*words, how)
    assert isinstance(result.exception, ConfigError)
    assert str(result.exception) == f"{option}: {missing} does not exist"
    missing.touch()
    assert run(*words, "--dry-run").exit_code == 0


def test_a_missing_file_is_accepted_for_another_host(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    result = run("add", "new", "--disk", str(missing), "--pin", "1")
    assert result.exit_code == 0
    assert f"hint: --disk: {missing} does not exist on this host" in result.stderr
    assert validate(result.stdout)


def test_a_pinning_is_printed_as_json(tmp_path: Path) -> None:
    words = ("pin", "test", "0", "2-3", "--sysfs-root", str(tmp_path))
    result = run(*words, output=Output.JSON, uri=DEFAULT)
    assert json.loads(result.stdout) == {
        "schema": 1,
        "uuid": "6695eb01-f6a4-8304-79aa-97f2502e193f",
        "name": "test",
        "vcpu": 0,
        "pcpus": [2, 3],
        "hints": [],
    }


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (("pin", "nobody", "0", "1"), DomainGone, "no such domain: 'nobody'"),
        (("pin", "test", "0", "8"), HypervisorError, "no such host CPU: 8"),
        (("pin", "test", "0", ""), HypervisorError, "at least one CPU"),
        (("pin", "test", "0", "x"), UsageError, "'x'"),
        (("pin", "test", "9", "1"), HypervisorError, "vcpu"),
        (("add", "a/b", "--define"), ConfigError, "invalid domain name 'a/b'"),
        (
            ("add", "r", "--vcpus", "2", "--pin", "1"),
            ConfigError,
            "given: 1, expected: 2",
        ),
        (("add", "r", "--template", "nvf"), ConfigError, "mean 'nfv'"),
        (("add", "r", "--network", "tap:0"), ConfigError, "invalid network 'tap:0'"),
        (("add", "r", "--max", "fast"), UsageError, "invalid frequency 'fast'"),
        (("add", "r", "--channels", "x"), UsageError, "'x'"),
        (("add", "r", "--cmdline", "quiet"), ConfigError, "require --kernel"),
    ],
)
def test_impossible_requests_are_errors_with_a_message(
    words: tuple[str, ...], error: type[Exception], message: str
) -> None:
    result = run(*words, uri=DEFAULT)
    assert result.stdout == ""
    assert isinstance(result.exception, error)
    assert message in str(result.exception)


@pytest.fixture
def configuration(tmp_path: Path) -> str:
    file = tmp_path / "vmpower.toml"
    file.write_text(f'[p_states]\ndirectory = "/tmp/{tmp_path.name[:30]}"\n')
    return str(file)


def test_a_new_domain_has_p_states_instead_of_channels(
    tree: Path, configuration: str
) -> None:
    words = (
        *("add", "r", "--template", "minimal", "--vcpus", "2", "--pin", "1,2"),
        *("--p-states", "--configuration", configuration, "--sysfs-root", str(tree)),
        *("-c", DEFAULT),
    )
    result = run(*words)
    assert result.exit_code == 0, result.output
    assert "is written with --define or --start" in result.stderr
    assert validate(result.stdout)
    parsed = parse_domain(result.stdout)
    assert parsed.numbers == set()
    assert parsed.p_states is not None
    assert len(parsed.p_states.tables) == 2
    file = Path(parsed.p_states.file)
    assert not file.exists()
    defined = run(*words, "--define", "--channels", "0", output=Output.JSON)
    assert defined.exit_code == 0, defined.output
    written = list(file.parent.glob(f"{json.loads(defined.stdout)['uuid']}-*.aml"))
    shutil.rmtree(file.parent)
    assert len(written) == 1


def test_vcpus_of_a_new_domain_without_p_states_are_a_hint(
    tree: Path, configuration: str
) -> None:
    words = ("--p-states", "--configuration", configuration, "--sysfs-root", str(tree))
    result = run("add", "r", "--vcpus", "1", "--pin", "none", *words, "-c", DEFAULT)
    assert "no vCPU can have P-states: floats over CPUs 0-3" in str(result.exception)


def test_a_template_may_say_that_its_domains_get_p_states(
    tree: Path, configuration: str, tmp_path: Path
) -> None:
    image = tmp_path / "vm.img"
    image.touch()
    words = (
        *("add", "r", "--template", "linux", "--disk", str(image), "--pin", "1,2"),
        *("--configuration", configuration, "--sysfs-root", str(tree), "-c", DEFAULT),
    )
    parsed = parse_domain(run(*words).stdout)
    assert parsed.p_states is not None
    assert parsed.numbers == set()
    without = run(*words, "--no-p-states").stdout
    assert "vmpower-p-states" not in without
    assert without.count("poweragent") == 2
