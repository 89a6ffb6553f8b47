# SPDX-License-Identifier: Apache-2.0
"""Clock groups and cores that domains and the host share; confined sockets."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.doctor.checks.confinement import (
    socket_confined,
    socket_directory_absent,
    socket_directory_open,
)
from cli.doctor.checks.limits import governor_tunables_lost
from cli.doctor.checks.sharing import (
    clock_shared_by_domains,
    clock_shared_with_host,
    coordinated_cpu_higher,
    coordinated_cpus_shared,
    core_shared_by_domains,
)
from cli.doctor.facts.cpus import Cpus, read_cpus
from cli.doctor.facts.daemon import Configuration
from cli.doctor.facts.directories import Directories, read_directories
from cli.doctor.facts.domains import Channel, Domain, Domains, Vcpu
from cli.doctor.facts.kernel import Confinement, read_confinement
from cli.doctor.facts.libvirt import Libvirt
from cli.doctor.target import Target
from orchestrator.config import Config, PowerConfig
from orchestrator.hypervisor.inspection import Inspection
from orchestrator.power.simulated import lay_out
from tests.cli.doctor.machines import CPU, write


def cpus(tmp_path: Path, *, shared: int = 2) -> Cpus:
    lay_out(tmp_path / "sys", cpus=4, shared=shared)
    return read_cpus(Target(sysfs_root=tmp_path / "sys"))


def domain(
    name: str, *pins: tuple[int, int], path: str = "", has_channel: bool = True
) -> Domain:
    """Return a domain with vCPUs pinned to CPUs: (CPU, clock group) of each."""
    vcpus = tuple(
        Vcpu(number=n, pcpus=frozenset({pcpu}), group=group, reason="")
        for n, (pcpu, group) in enumerate(pins)
    )
    channel = Channel(number=0, path=path, state="open", reason="", generation=None)
    channels = (channel,) if has_channel else ()
    return Domain(
        name=name, is_active=True, vcpus=vcpus, channels=channels, problems=()
    )


def domains_of(*domains: Domain) -> Domains:
    return Domains(domains=domains)


def configured(*, is_sharing: bool = False) -> Configuration:
    config = Config(power=PowerConfig(share_with_host=is_sharing))
    return Configuration(file=Path("/x"), problem="", config=config)


def test_two_guests_of_one_clock_group_are_information(tmp_path: Path) -> None:
    shared = domains_of(domain("a", (0, 0)), domain("b", (1, 0)))
    (finding,) = clock_shared_by_domains(shared, cpus(tmp_path))
    assert (str(finding.severity), finding.subject) == ("info", "CPU 0-1")
    assert "a, b share a clock group: it runs at the highest request" in finding.what


def test_a_neighbor_without_requests_keeps_the_frequency_up(tmp_path: Path) -> None:
    shared = domains_of(domain("a", (0, 0)), domain("b", (1, 0), has_channel=False))
    (finding,) = clock_shared_by_domains(shared, cpus(tmp_path))
    assert (str(finding.severity), finding.fix) == (
        "warning",
        "vmpower domain onboard b, or pin it to other CPUs",
    )


def test_domains_with_separate_clock_groups_have_no_finding(tmp_path: Path) -> None:
    apart = domains_of(domain("a", (0, 0), (1, 0)), domain("b", (2, 2), (3, 2)))
    found = cpus(tmp_path)
    assert clock_shared_by_domains(apart, found) == []
    assert clock_shared_with_host(apart, found, configured()) == []
    assert core_shared_by_domains(apart, found) == []


def test_a_clock_group_shared_with_the_host_is_not_slowed_down(tmp_path: Path) -> None:
    alone, found = domains_of(domain("a", (0, 0))), cpus(tmp_path)
    (finding,) = clock_shared_with_host(alone, found, configured())
    assert "CPU 1 of this clock group has no vCPU pinned to it" in finding.what
    assert clock_shared_with_host(alone, found, configured(is_sharing=True)) == []


def test_threads_of_one_core_run_at_the_higher_frequency(tmp_path: Path) -> None:
    lay_out(tmp_path / "sys", cpus=4)
    for number in (0, 2):
        name = f"{CPU}/cpu{number}/topology/thread_siblings_list"
        write(tmp_path, {name: "0,2"})
    found = read_cpus(Target(sysfs_root=tmp_path / "sys"))
    shared = domains_of(domain("a", (0, 0)), domain("b", (2, 2)), domain("c", (1, 1)))
    (finding,) = core_shared_by_domains(shared, found)
    assert (finding.subject, finding.fix) == (
        "CPU 0,2",
        "give each core to one domain",
    )
    assert core_shared_by_domains(domains_of(domain("a", (0, 0), (2, 2))), found) == []


def coordinate(tmp_path: Path, *pcpus: int) -> None:
    """Write that the hardware coordinates the clock groups of these CPUs."""
    for number in pcpus:
        name = f"{CPU}/cpufreq/policy{number}/freqdomain_cpus"
        write(tmp_path, {name: " ".join(map(str, pcpus))})


def test_domains_on_coordinated_cpus_run_at_the_highest_request(tmp_path: Path) -> None:
    lay_out(tmp_path / "sys", cpus=4)
    coordinate(tmp_path, 0, 2, 3)
    found = read_cpus(Target(sysfs_root=tmp_path / "sys"))
    shared = domains_of(domain("a", (0, 0)), domain("b", (2, 2)), domain("c", (1, 1)))
    (finding,) = coordinated_cpus_shared(shared, found)
    assert (str(finding.severity), finding.subject) == ("warning", "CPU 0,2-3")
    assert "used by a, b: all run at the highest request" in finding.what
    apart = domains_of(domain("a", (0, 0), (2, 2)), domain("c", (1, 1)))
    assert coordinated_cpus_shared(apart, found) == []
    assert core_shared_by_domains(shared, found) == []


def test_a_coordinated_cpu_with_governor_performance_keeps_others_up(
    tmp_path: Path,
) -> None:
    lay_out(tmp_path / "sys", cpus=4)
    coordinate(tmp_path, 1, 2, 3)
    served = domains_of(domain("a", (1, 1)), domain("db", (3, 3), has_channel=False))
    governor = f"{CPU}/cpufreq/policy3/scaling_governor"
    quiet = read_cpus(Target(sysfs_root=tmp_path / "sys"))
    assert coordinated_cpu_higher(served, quiet) == []
    write(tmp_path, {governor: "performance"})
    found = read_cpus(Target(sysfs_root=tmp_path / "sys"))
    (finding,) = coordinated_cpu_higher(served, found)
    assert (str(finding.severity), finding.subject) == ("warning", "CPU 1")
    assert finding.what == (
        "not slowed down below 3.00 GHz for a: coordinated by the hardware with CPU 3"
        " (governor performance)"
    )
    elsewhere = domains_of(domain("a", (0, 0)))
    assert coordinated_cpu_higher(elsewhere, found) == []
    both = domains_of(domain("a", (1, 1), (3, 3)))
    assert coordinated_cpu_higher(both, found) == []


def test_a_coordinated_cpu_with_a_lower_limit_keeps_others_up(tmp_path: Path) -> None:
    lay_out(tmp_path / "sys", cpus=4)
    coordinate(tmp_path, 1, 3)
    write(tmp_path, {f"{CPU}/cpufreq/policy3/scaling_min_freq": "2100000"})
    found = read_cpus(Target(sysfs_root=tmp_path / "sys"))
    (finding,) = coordinated_cpu_higher(domains_of(domain("a", (1, 1))), found)
    assert "below 2.10 GHz" in finding.what


def test_tunables_are_lost_only_if_guests_can_take_all_cpus(tmp_path: Path) -> None:
    lay_out(tmp_path / "sys", cpus=2, governor="ondemand")
    all_cpus = domains_of(domain("a", (0, 0), (1, 1)))
    without = read_cpus(Target(sysfs_root=tmp_path / "sys"))
    assert governor_tunables_lost(all_cpus, without) == []
    for name in ("ondemand/up_threshold", "conservative/up_threshold"):
        write(tmp_path, {f"{CPU}/cpufreq/{name}": "60"})
    found = read_cpus(Target(sysfs_root=tmp_path / "sys"))
    (finding,) = governor_tunables_lost(all_cpus, found)
    assert (str(finding.severity), finding.subject) == ("info", "governor ondemand")
    assert governor_tunables_lost(domains_of(domain("a", (0, 0))), found) == []


def libvirt(*models: str) -> Libvirt:
    inspection = Inspection(
        version="9.0.0",
        write_refusal="",
        security_models=frozenset(models),
        domains=(),
        unreadable={},
    )
    return Libvirt(uri="qemu:///system", inspection=inspection)


def directories(path: str, root: Path = Path("/")) -> Directories:
    return read_directories(
        domains_of(domain("a", (0, 0), path=path)), Target(root=root)
    )


FREE = Confinement(is_selinux_enforcing=False)


@pytest.mark.parametrize(
    ("path", "refusals"),
    [
        ("/usr/share/vm/a.0", 1),
        ("/etc/a.0", 1),
        ("/tmp/powermonitor/a.0", 0),
        ("/usr/sharedir/a.0", 0),
        ("/var/lib/libvirt/qemu/channel/target/x", 0),
        ("", 0),
    ],
)
def test_apparmor_denies_sockets_in_system_directories(
    path: str, refusals: int
) -> None:
    sockets = directories(path)
    assert len(socket_confined(FREE, libvirt("apparmor"), sockets)) == refusals
    assert socket_confined(FREE, libvirt("dac"), sockets) == []


def test_selinux_needs_labeled_directories(tmp_path: Path) -> None:
    write(tmp_path, {"sys/fs/selinux/enforce": "1"})
    confined = read_confinement(Target(sysfs_root=tmp_path / "sys"))
    sockets = directories("/tmp/powermonitor/a.0")
    (finding,) = socket_confined(confined, libvirt("selinux", "dac"), sockets)
    assert "semanage fcontext -a -t qemu_var_run_t '/tmp/powermonitor" in finding.fix
    assert socket_confined(FREE, libvirt("selinux"), sockets) == []


def test_a_missing_socket_directory_is_an_error(tmp_path: Path) -> None:
    path = "/tmp/powermonitor/a.0"
    (finding,) = socket_directory_absent(directories(path, tmp_path))
    assert finding.subject == "/tmp/powermonitor"
    assert "cannot start a, with channel sockets there" in finding.what
    assert "/etc/tmpfiles.d/" in finding.fix
    (tmp_path / "tmp/powermonitor").mkdir(parents=True)
    assert socket_directory_absent(directories(path, tmp_path)) == []


def test_a_world_writable_socket_directory_is_a_warning(tmp_path: Path) -> None:
    where = tmp_path / "tmp/powermonitor"
    where.mkdir(parents=True)
    found = []
    for mode in (0o777, 0o1777, 0o755):
        where.chmod(mode)
        sockets = directories("/tmp/powermonitor/a.0", tmp_path)
        found += socket_directory_open(sockets)
    (finding,) = found
    assert finding.what.startswith("mode 0777: any user can replace")
