# SPDX-License-Identifier: Apache-2.0
"""P-states for guests, with real libvirt and QEMU."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import libvirt
import pytest

from examples.guests.images import CMDLINE, start_image
from examples.guests.kernel import fetch_kernel
from orchestrator.config import BoundsConfig, Config, PStatesConfig
from orchestrator.domain_xml.parse import parse_domain
from orchestrator.errors import DomainXmlError, HypervisorError
from orchestrator.hypervisor.p_states import (
    PStateChange,
    offboard_p_states,
    onboard_p_states,
    preview_offboard_p_states,
    preview_p_states,
)
from orchestrator.power.simulated import lay_out
from orchestrator.values.units import KHz
from tests.rig.console import Console
from tests.rig.waiting import GUEST_DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.values.p_states import PStates
    from tests.rig.embed import EmbedHost

INACTIVE = libvirt.VIR_DOMAIN_XML_INACTIVE
STEPS = [2_301_000, 2_300_000, 1_800_000, 1_200_000]
CONSOLE = "<serial type='pty'/>"
VIRTIO_CONSOLE = "<console type='pty'><target type='virtio'/></console>"

pytestmark = pytest.mark.rig


@pytest.fixture
def config(embed_host: EmbedHost, tmp_path: Path) -> Config:
    lay_out(tmp_path / "sys", cpus=2, steps_khz=STEPS)
    return Config(
        sysfs_root=tmp_path / "sys",
        p_states=PStatesConfig(directory=embed_host.directory / "acpi" / tmp_path.name),
    )


@pytest.fixture
def define(
    define_xml: Callable[[str], libvirt.virDomain],
) -> Callable[..., libvirt.virDomain]:
    def make(
        machine: str = "q35",
        devices: str = CONSOLE,
        vcpus: str = "<vcpu cpuset='0'>2</vcpu>",
        more: str = "",
        boot: str = "",
    ) -> libvirt.virDomain:
        return define_xml(
            "<domain type='qemu'><name>p-states</name><memory unit='MiB'>128</memory>"
            f"{vcpus}<features><acpi/></features>"
            f"<os><type arch='x86_64' machine='{machine}'>hvm</type>{boot}</os>"
            f"{more}"
            f"<devices>{devices}<memballoon model='none'/></devices></domain>"
        )

    return make


def p_states_of(domain: libvirt.virDomain, flags: int = 0) -> PStates:
    parsed = parse_domain(domain.XMLDesc(flags))
    assert parsed.problems == ()
    assert parsed.p_states is not None
    return parsed.p_states


def tables_in(config: Config) -> list[Path]:
    return sorted(config.p_states.directory.glob("*.aml"))


@pytest.mark.parametrize("machine", ["pc", "q35"])
@pytest.mark.parametrize("vcpus", [1, 2, 16, 17, 64])
def test_qemu_starts_with_the_table_and_the_sockets(
    machine: str, vcpus: int, config: Config, define: Callable[..., libvirt.virDomain]
) -> None:
    # The last vCPU is plugged in later; QEMU has its processor from the start.
    current = max(1, vcpus - 1)
    domain = define(
        machine, vcpus=f"<vcpu cpuset='1' current='{current}'>{vcpus}</vcpu>"
    )
    change = onboard_p_states(domain, config)
    assert change == PStateChange(
        is_changed=True, vcpus=tuple(range(vcpus)), lacking={}, warnings=change.warnings
    )
    domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    found = p_states_of(domain)
    assert found == p_states_of(domain, INACTIVE)._replace(endpoints=found.endpoints)
    assert sum(port.vcpus for port in found.ports) == vcpus
    assert len(found.endpoints) == len(found.ports)
    for endpoint in found.endpoints:
        assert endpoint.path is not None
        assert Path(endpoint.path).is_socket()
        assert endpoint.alias is not None


@pytest.mark.parametrize("machine", ["pc", "q35"])
@pytest.mark.parametrize("devices", ["", CONSOLE, VIRTIO_CONSOLE])
@pytest.mark.parametrize("vcpus", [2, 20])
def test_offboarding_restores_the_definition(
    machine: str,
    devices: str,
    vcpus: int,
    config: Config,
    define: Callable[..., libvirt.virDomain],
) -> None:
    domain = define(machine, devices, f"<vcpu cpuset='0'>{vcpus}</vcpu>")
    # libvirt sorts controllers that it has added when a definition is defined again.
    domain.connect().defineXML(domain.XMLDesc(INACTIVE))
    before = domain.XMLDesc(INACTIVE)
    assert onboard_p_states(domain, config).is_changed
    [table] = tables_in(config)
    assert table.stat().st_mode & 0o777 == 0o644
    assert not onboard_p_states(domain, config).is_changed
    assert offboard_p_states(domain, config.p_states.directory).is_changed
    assert domain.XMLDesc(INACTIVE).replace("  <metadata/>\n", "") == before
    assert tables_in(config) == []
    assert not offboard_p_states(domain, config.p_states.directory).is_changed


WORK = """\
cpufreq=/sys/devices/system/cpu/cpufreq
for number in 0 1; do
    echo "cpu$number: $(cat $cpufreq/policy$number/scaling_available_frequencies)"
done
echo "latency: $(cat $cpufreq/policy0/cpuinfo_transition_latency)"
grep -v unknown /proc/tty/driver/serial
echo userspace >$cpufreq/policy1/scaling_governor
for khz in 1200000 2300000 2301000; do
    echo $khz >$cpufreq/policy1/scaling_setspeed
done
echo 1800000 >$cpufreq/policy0/scaling_setspeed 2>/dev/null
"""
MODULES = ("cpufreq_userspace", "acpi-cpufreq")
HASWELL = (
    "<cpu mode='custom' match='exact' check='none'>"
    "<model fallback='forbid'>Haswell-noTSX</model></cpu>"
)


@pytest.mark.parametrize("machine", ["pc", "q35"])
def test_an_unmodified_guest_finds_its_p_states_and_requests_them(
    machine: str,
    config: Config,
    define: Callable[..., libvirt.virDomain],
    embed_host: EmbedHost,
    tmp_path: Path,
) -> None:
    console = Console(embed_host.guests / f"{tmp_path.name}.log")
    kernel = embed_host.publish(fetch_kernel().image)
    image = start_image(WORK, modules=MODULES).build("p-states")
    boot = (
        f"<kernel>{kernel}</kernel><initrd>{embed_host.publish(image)}</initrd>"
        f"<cmdline>{CMDLINE}</cmdline>"
    )
    domain = define(
        machine,
        f"<serial type='file'><source path='{console.path}'/></serial>",
        "<vcpu>2</vcpu><cputune><vcpupin vcpu='0' cpuset='0'/>"
        "<vcpupin vcpu='1' cpuset='1'/></cputune>",
        HASWELL,
        boot,
    )

    assert onboard_p_states(domain, config).warnings == ()
    domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    [endpoint] = p_states_of(domain).endpoints
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as host:
        host.connect(str(endpoint.path))
        host.settimeout(GUEST_DEADLINE_S)
        domain.resume()
        console.wait_for("work ended with")
        received = host.recv(4096)
    text = console.text
    for number in (0, 1):
        assert f"cpu{number}: 2301000 2300000 1800000 1200000" in text
    assert f"latency: {config.p_states.latency_us * 1000}" in text
    # The console is ttyS0, and our device is not there.
    assert "0: uart:16550A port:000003F8 irq:4" in text
    assert "5C0" not in text
    assert {byte >> 4 for byte in received} <= {0, 1}
    steps = [byte & 0xF for byte in received if byte >> 4 == 1]
    assert [STEPS[step] for step in steps][-3:] == [1_200_000, 2_300_000, 2_301_000]


def test_each_vcpu_gets_the_steps_that_it_may_have(
    config: Config, define: Callable[..., libvirt.virDomain]
) -> None:
    domain = define(
        vcpus="<vcpu>3</vcpu><cputune><vcpupin vcpu='0' cpuset='0'/>"
        "<vcpupin vcpu='2' cpuset='1'/></cputune>"
    )
    bounds = replace(config, bounds=BoundsConfig(max_khz=KHz(2_000_000)))
    change = onboard_p_states(domain, bounds)
    assert change.vcpus == (0, 2)
    assert change.lacking == {"floats over CPUs 0-1: pin it to one clock group": (1,)}
    tables = p_states_of(domain).tables
    assert tables[1] is None
    assert {table.khz for table in tables if table} == {(1_800_000, 1_200_000)}


def test_a_domain_that_runs_keeps_its_table_until_it_is_off(
    config: Config, define: Callable[..., libvirt.virDomain]
) -> None:
    domain = define()
    onboard_p_states(domain, config)
    domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    first, [old] = p_states_of(domain), tables_in(config)
    slower = replace(config, bounds=BoundsConfig(max_khz=KHz(2_000_000)))
    change = onboard_p_states(domain, slower)
    assert (change.is_changed, change.is_running) == (True, True)
    assert p_states_of(domain) == first
    assert p_states_of(domain, INACTIVE).tables != first.tables
    assert len(tables_in(config)) == 2
    assert offboard_p_states(domain, config.p_states.directory).is_changed
    assert p_states_of(domain) == first
    assert tables_in(config) == [old]
    domain.destroy()
    offboard_p_states(domain, config.p_states.directory)
    assert tables_in(config) == []


def test_a_saved_domain_keeps_its_table(
    config: Config, define: Callable[..., libvirt.virDomain]
) -> None:
    domain = define()
    onboard_p_states(domain, config)
    domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    first = p_states_of(domain)
    domain.managedSave(0)
    assert offboard_p_states(domain, config.p_states.directory).has_saved_state
    assert tables_in(config) == [Path(first.file)]
    domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    restored = p_states_of(domain)
    assert (restored.tables, restored.file) == (first.tables, first.file)


def test_a_table_that_is_missing_is_written_again(
    config: Config, define: Callable[..., libvirt.virDomain]
) -> None:
    domain = define()
    onboard_p_states(domain, config)
    [table] = tables_in(config)
    content = table.read_bytes()
    table.unlink()
    assert onboard_p_states(domain, config).is_changed
    assert table.read_bytes() == content


def test_a_preview_changes_nothing(
    config: Config, define: Callable[..., libvirt.virDomain]
) -> None:
    domain = define()
    before, after = preview_p_states(domain, config)
    assert before != after
    assert domain.XMLDesc(INACTIVE) == before
    assert tables_in(config) == []
    onboard_p_states(domain, config)
    before, after = preview_p_states(domain, config)
    assert before == after
    before, after = preview_offboard_p_states(domain)
    assert parse_domain(after).p_states is None


@pytest.mark.parametrize(
    ("definition", "problem"),
    [
        ({"vcpus": "<vcpu>2</vcpu>"}, "floats over CPUs 0-1"),
        (
            {"devices": CONSOLE * 4},
            "not enough serial ports for the P-states of 2 vCPUs",
        ),
    ],
)
def test_a_domain_that_cannot_have_p_states_is_refused(
    definition: dict[str, str],
    problem: str,
    config: Config,
    define: Callable[..., libvirt.virDomain],
) -> None:
    domain = define(**definition)
    before = domain.XMLDesc(INACTIVE)
    with pytest.raises((HypervisorError, DomainXmlError), match=problem):
        onboard_p_states(domain, config)
    assert domain.XMLDesc(INACTIVE) == before
    assert tables_in(config) == []


def test_a_transient_domain_is_refused(config: Config, embed_host: EmbedHost) -> None:
    domain = embed_host.connection.createXML(
        "<domain type='qemu'><name>p-states-transient</name>"
        "<memory unit='MiB'>64</memory><vcpu cpuset='0'>1</vcpu>"
        "<features><acpi/></features>"
        "<os><type arch='x86_64' machine='pc'>hvm</type></os>"
        "<devices><memballoon model='none'/></devices></domain>",
        libvirt.VIR_DOMAIN_START_PAUSED,
    )
    try:
        with pytest.raises(HypervisorError, match="the domain is transient"):
            onboard_p_states(domain, config)
        assert not offboard_p_states(domain, config.p_states.directory).is_changed
    finally:
        domain.destroy()


def test_a_directory_that_cannot_be_written_is_reported(
    config: Config, define: Callable[..., libvirt.virDomain], embed_host: EmbedHost
) -> None:
    domain = define()
    blocked = embed_host.directory / "file"
    blocked.touch()
    elsewhere = replace(config, p_states=PStatesConfig(directory=blocked / "acpi"))
    with pytest.raises(HypervisorError, match="cannot write the ACPI table"):
        onboard_p_states(domain, elsewhere)
    assert parse_domain(domain.XMLDesc(INACTIVE)).p_states is None
