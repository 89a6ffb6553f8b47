# SPDX-License-Identifier: Apache-2.0
"""`vmpower doctor` with a daemon, and with libvirt only."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from cli.doctor.checks import domains as domain_checks
from cli.doctor.checks import libvirt as libvirt_checks
from cli.doctor.checks import limits as limit_checks
from cli.doctor.checks import power_managers as manager_checks
from cli.doctor.checks import service as service_checks
from cli.doctor.facts.accounts import Accounts, Group, User
from cli.doctor.facts.cpus import read_cpus
from cli.doctor.facts.daemon import Daemon, Status
from cli.doctor.facts.domains import Channel, Domain, Domains, domains_of_status
from cli.doctor.facts.libvirt import Libvirt
from cli.doctor.facts.service import SocketState, read_service
from cli.doctor.target import Target
from orchestrator.hypervisor.inspection import Inspection
from orchestrator.power.simulated import lay_out
from orchestrator.values.cpuset import format_cpulist, name_cpus
from orchestrator.values.refusal import Refusal
from tests.cli.conftest import run_process
from tests.cli.doctor.conftest import doctor

if TYPE_CHECKING:
    from pathlib import Path

    from tests.control.fake_daemon import FakeDaemon

NODE = """
<node><domain type='test' id='1'><name>router</name>
<uuid>5579e6cd-caca-4c68-8934-da43e4863198</uuid>
<memory>65536</memory><vcpu>3</vcpu><os><type>hvm</type></os>
<cputune><vcpupin vcpu='2' cpuset='2'/></cputune>
<devices><channel type='unix'><source mode='bind' path='{path}'/>
<target type='virtio' name='virtio.serial.port.poweragent.0'/></channel></devices>
</domain></node>"""
FOREIGN_LISTENER = (
    "if a program other than QEMU listens there ('ss -xlp' lists listeners), stop it"
)
ANNE = User(name="anne", uid=1000, groups=frozenset({"users"}))


@pytest.fixture
def cpus(tmp_path: Path) -> Path:
    lay_out(tmp_path / "cpus", cpus=6, shared=2)
    return tmp_path / "cpus"


def findings_with(
    run_dir: Path, cpus: Path, uri: str = "test:///default"
) -> dict[str, Any]:
    """Run it; return the first finding of each check."""
    document = doctor("--sysfs-root", cpus, "-c", uri, before=("--run-dir", run_dir))
    findings: dict[str, Any] = {"all": document}
    for item in document["findings"]:
        findings.setdefault(item["id"], item)
    return findings


def test_domains_are_checked_through_the_daemon(
    daemon: FakeDaemon, run_dir: Path, cpus: Path
) -> None:
    findings = findings_with(run_dir, cpus)
    assert "daemon-unreachable" not in findings
    floating = findings["vcpu-floats"]
    assert floating["subject"] == "domain dpdk-fw"
    assert floating["what"].startswith("vCPU 2 not controllable: pinned to CPUs")
    assert floating["fix"] == "vmpower domain pin dpdk-fw VCPU CPUS"
    contended = findings["channel-contended"]
    assert contended["subject"] == "domain dpdk-router"
    assert "channel 1 is contended" in contended["what"]
    problems = [p for domain in daemon.domains.values() for p in domain.problems]
    found = [i for i in findings["all"]["findings"] if i["id"] == "domain-troubled"]
    assert sorted(item["what"] for item in found) == sorted(problems)
    assert findings["libvirt-differs"]["severity"] == "info"
    assert findings["all"]["unchecked"] == []


def test_a_daemon_without_libvirt_is_an_error(
    daemon: FakeDaemon, run_dir: Path, cpus: Path
) -> None:
    daemon.lose_libvirt()
    finding = findings_with(run_dir, cpus)["libvirt-lost"]
    assert (finding["subject"], finding["severity"]) == (
        "libvirt qemu:///system",
        "error",
    )
    assert "connection refused" in finding["what"]


def test_without_a_daemon_domains_are_checked_through_libvirt(
    tmp_path: Path, cpus: Path
) -> None:
    node = tmp_path / "node.xml"
    node.write_text(NODE.format(path="/tmp/powermonitor/router.0"))
    findings = findings_with(tmp_path, cpus, f"test://{node}")
    assert findings["daemon-unreachable"]["fix"].startswith("start it with")
    # vCPU 1 floats, too, and has no channel.
    assert findings["vcpu-floats"]["what"].startswith("vCPU 0 not controllable: floats")
    unchecked = {item["id"] for item in findings["all"]["unchecked"]}
    assert {"channel-contended", "libvirt-lost"} <= unchecked
    assert findings["all"]["exit_status"] == 5


def test_without_libvirt_domains_are_not_checked(tmp_path: Path, cpus: Path) -> None:
    findings = findings_with(tmp_path, cpus, "qemu+unix:///system?socket=/nowhere")
    assert findings["libvirt-unreachable"]["subject"].startswith("libvirt qemu+unix")
    assert "libvirt.uri in vmpower.toml" in findings["libvirt-unreachable"]["fix"]
    unchecked = {item["id"]: item["reason"] for item in findings["all"]["unchecked"]}
    assert "/nowhere" in unchecked["vcpu-floats"]


def test_an_impossible_socket_path_is_an_error(tmp_path: Path, cpus: Path) -> None:
    node = tmp_path / "node.xml"
    node.write_text(NODE.format(path="/tmp/" + "x" * 110))
    finding = findings_with(tmp_path, cpus, f"test://{node}")["channel-path-long"]
    assert "has 115 bytes, but at most 107 work" in finding["what"]


def test_an_invalid_configuration_is_an_error(tmp_path: Path, cpus: Path) -> None:
    (tmp_path / "vmpower.toml").write_text("mode = 'enforced'")
    document = doctor(
        "--config",
        tmp_path / "vmpower.toml",
        "--sysfs-root",
        cpus,
        "-c",
        "test:///default",
        before=("--run-dir", tmp_path),
    )
    (finding,) = [i for i in document["findings"] if i["id"] == "configuration-wrong"]
    assert (
        "invalid value 'enforced': expected one of enforce, observe" in finding["what"]
    )
    assert "--check-config" in finding["fix"]


def test_a_socket_without_a_daemon_is_stale(tmp_path: Path, cpus: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "vmpower.sock"))
    (tmp_path / "vmpower-ro.sock").write_text("")
    document = doctor(
        "--sysfs-root", cpus, "-c", "test:///default", before=("--run-dir", tmp_path)
    )
    stale = [i for i in document["findings"] if i["id"] == "socket-stale"]
    assert {(i["severity"], i["subject"]) for i in stale} == {
        ("warning", str(tmp_path / "vmpower.sock")),
        ("error", str(tmp_path / "vmpower-ro.sock")),
    }


def test_modes_that_are_too_open_or_too_closed_are_reported(
    run_dir: Path, cpus: Path
) -> None:
    (run_dir / "vmpower.sock").chmod(0o666)
    (run_dir / "vmpower-ro.sock").chmod(0o600)
    run_dir.chmod(0o700)
    found = service_checks.socket_mode_wrong(
        read_service(Target(run_dir=run_dir, sysfs_root=cpus))
    )
    assert [(str(i.severity), i.subject) for i in found] == [
        ("warning", str(run_dir)),
        ("error", str(run_dir / "vmpower.sock")),
        ("warning", str(run_dir / "vmpower-ro.sock")),
    ]


def test_the_listening_process_is_looked_up_in_the_kernel(
    run_dir: Path, cpus: Path
) -> None:
    service = read_service(Target(run_dir=run_dir, sysfs_root=cpus))
    assert service.owner_pid == os.getpid()  # the fake daemon runs in this process


@pytest.mark.parametrize("is_unit", [True, False])
def test_systemd_is_named_only_if_it_runs_the_daemon(
    is_unit: bool,  # noqa: FBT001
    daemon: FakeDaemon,
    run_dir: Path,
    cpus: Path,
) -> None:
    seen = read_service(Target(run_dir=run_dir, sysfs_root=cpus))
    assert not seen.is_unit  # the fake daemon runs in this process
    control = replace(seen.control, mode=0o666)
    service = replace(seen, is_unit=is_unit, mode=0o755, control=control)
    status: Any = daemon.picture().model_dump(mode="json")
    status["daemon"].update(version="0", problems=["x"], monitor_pid=None)
    silent = Daemon(status=None, failure="it does not answer")
    findings = [
        *service_checks.daemon_outdated(Status(status), service),
        *service_checks.daemon_troubled(Status(status), service),
        *service_checks.daemon_unreachable(silent, service),
        *service_checks.socket_mode_wrong(service),
    ]
    assert len(findings) == 5
    for finding in findings:
        assert ("ctl " in finding.fix) is is_unit
        assert finding.fix


def accounts(*groups: Group) -> Accounts:
    return Accounts(groups={g.name: g for g in groups}, qemu_gids=frozenset())


def libvirt(write_refusal: str) -> Libvirt:
    return Libvirt(
        uri="qemu:///system",
        inspection=Inspection(
            version="9.0.0",
            write_refusal=write_refusal,
            security_models=frozenset(),
            domains=(),
            unreadable={},
        ),
    )


@pytest.mark.parametrize(
    ("members", "fix"),
    [
        (frozenset({"bob"}), "usermod -aG libvirt anne, then log in again"),
        (
            frozenset({"anne"}),
            "log in again: anne is in group 'libvirt', this session is",
        ),
    ],
)
def test_a_user_without_permission_is_pointed_to_the_group(
    members: frozenset[str], fix: str
) -> None:
    group = Group(name="libvirt", gid=110, members=members)
    check = libvirt_checks.libvirt_read_only
    (finding,) = check(libvirt("authentication unavailable"), ANNE, accounts(group))
    assert finding.fix.startswith(fix)
    assert check(libvirt(""), ANNE, accounts(group)) == []


@pytest.mark.parametrize(
    ("group", "fix"),
    [
        (Group(name="root", gid=0, members=frozenset()), '[control] group = "GROUP"'),
        (Group(name="vmpower", gid=990, members=frozenset()), "usermod -aG vmpower"),
    ],
)
def test_a_user_without_the_control_socket_is_pointed_to_its_group(
    group: Group, fix: str, run_dir: Path, cpus: Path
) -> None:
    seen = read_service(Target(run_dir=run_dir, sysfs_root=cpus))
    denied = replace(seen.control, state=SocketState.DENIED, gid=group.gid)
    check = service_checks.control_denied
    (finding,) = check(replace(seen, control=denied), ANNE, accounts(group))
    assert fix in finding.fix


@pytest.mark.parametrize(
    ("state", "check", "fix"),
    [
        ("contended", domain_checks.channel_contended, "stop the program that is"),
        ("contended", domain_checks.channel_contended, FOREIGN_LISTENER),
        ("refused", domain_checks.channel_refused, FOREIGN_LISTENER),
        ("refused", domain_checks.channel_refused, "channels.trusted_uids"),
        ("quarantined", domain_checks.channel_quarantined, "correct the program"),
    ],
)
def test_each_channel_state_has_a_fix(state: str, check: Any, fix: str) -> None:
    channel = Channel(number=0, path="/x", state=state, reason="", generation=464)
    domain = Domain(
        name="fw", is_active=True, vcpus=(), channels=(channel,), problems=()
    )
    (finding,) = check(Domains(domains=(domain,)), None)
    assert finding.what.startswith(f"channel 0 is {state}: ")
    assert fix in finding.fix


def test_channels_with_one_path_are_one_finding_that_names_both() -> None:
    def running(name: str, *, is_active: bool = True) -> Domain:
        channel = Channel(
            number=0, path="/run/pm/a", state="refused", reason="x", generation=None
        )
        return Domain(
            name=name, is_active=is_active, vcpus=(), channels=(channel,), problems=()
        )

    both = Domains(domains=(running("edge"), running("edge-clone")))
    (finding,) = domain_checks.channel_path_shared(both)
    assert finding.what.startswith(
        "channel 0 of domain edge and channel 0 of domain edge-clone have this path"
    )
    assert "virsh edit" in finding.fix
    assert not list(domain_checks.channel_refused(both, None))
    one = Domains(domains=(running("edge"), running("edge-clone", is_active=False)))
    assert not list(domain_checks.channel_path_shared(one))


@pytest.mark.parametrize(
    ("acks", "severity", "what"), [(0, "warning", "all"), (3, "info", "some")]
)
def test_refused_guests_are_reported_with_the_reason(
    daemon: FakeDaemon, acks: int, severity: str, what: str
) -> None:
    status: Any = daemon.picture().model_dump(mode="json")
    status["domains"] = [status["domains"][0]]
    for channel in status["domains"][0]["channels"]:
        reasons = {"floating": 2, "turbo": 1}
        causes = dict.fromkeys(reasons, "why")
        channel.update(acks_total=acks, nack_reasons=reasons, nack_causes=causes)
    (finding,) = domain_checks.requests_refused(Status(status))
    assert (str(finding.severity), finding.fix) == (
        severity,
        "vmpower domain pin dpdk-fw VCPU CPUS",
    )
    assert finding.what.startswith(f"{what} requests refused: floating ")


def with_refused_turbo(daemon: FakeDaemon) -> Any:
    status: Any = daemon.picture().model_dump(mode="json")
    (domain, *_) = status["domains"] = [status["domains"][0]]
    for channel in domain["channels"]:
        channel.update(nack_reasons={"turbo": 1}, nack_causes={"turbo": "why"})
    return status


def test_the_fix_of_refused_turbo_is_one_that_helps(daemon: FakeDaemon) -> None:
    def fix() -> str:
        (finding,) = domain_checks.requests_refused(Status(status))
        return finding.fix

    status = with_refused_turbo(daemon)
    turbo = status["domains"][0]["rights"]["turbo"]
    turbo["value"] = False
    assert fix().startswith("vmpower domain set dpdk-fw --turbo")
    turbo["value"] = True
    for cpu in status["cpus"]:
        cpu.update(boost=False)
    assert fix().startswith("turbo is off in the kernel: echo 1 > ")
    for cpu in status["cpus"]:
        cpu.update(nominal_khz=cpu["steps_khz"][0])
    assert fix().startswith("request the highest frequency in the guest: its CPUs have")


@pytest.mark.parametrize(
    ("change", "fix"),
    [
        ({}, "echo 0 > /sys/devices/system/cpu/cpufreq/boost, which is for all CPUs"),
        (
            {"policy0/boost": "1"},
            "echo 0 > /sys/devices/system/cpu/cpufreq/policy0/boost",
        ),
        ({"policy0/boost": "0"}, None),
        ({"boost": "0"}, None),
        ({"policy0/cpuinfo_max_freq": "2800000"}, None),
    ],
)
def test_turbo_that_no_limit_prevents_is_a_warning(
    change: dict[str, str], fix: str | None, daemon: FakeDaemon, tmp_path: Path
) -> None:
    lay_out(tmp_path / "amd", cpus=2, steps_khz=(2_800_000, 2_400_000, 1_500_000))
    files = {"policy0/cpuinfo_max_freq": "3357422", **change}
    for name, text in files.items():
        (tmp_path / "amd/devices/system/cpu/cpufreq" / name).write_text(f"{text}\n")
    amd = read_cpus(Target(run_dir=tmp_path, sysfs_root=tmp_path / "amd"))
    status = with_refused_turbo(daemon)
    (domain,) = status["domains"]
    domain["vcpus"][0]["clock_group"] = 0
    check = limit_checks.turbo_beyond_limits
    assert not list(check(Status(status), amd))
    domain["rights"]["turbo"]["value"] = False
    domain["rights"]["max_khz"]["value"] = None
    assert [it.fix for it in check(Status(status), amd)] == ([fix] if fix else [])
    domain["rights"]["max_khz"]["value"] = 2_400_000
    assert not list(check(Status(status), amd))


def test_refusals_whose_cause_has_ended_carry_no_fix(daemon: FakeDaemon) -> None:
    status: Any = daemon.picture().model_dump(mode="json")
    status["domains"] = [status["domains"][0]]
    channels = status["domains"][0]["channels"]
    last = "2026-03-01T12:00:00Z"
    for channel in channels:
        channel.update(nack_reasons={}, nack_causes={}, nack_last={})
    channels[0].update(nack_reasons={"disabled": 2}, nack_last={"disabled": last})
    (finding,) = domain_checks.requests_refused(Status(status))
    assert (str(finding.severity), finding.fix) == ("info", "")
    assert finding.what.startswith(
        "requests were refused earlier, not any more: disabled 2, last 2026-03-01 "
    )
    channels[0]["nack_reasons"]["kernel"] = 1  # not explained by the daemon
    (finding,) = domain_checks.requests_refused(Status(status))
    assert finding.fix == "vmpower domain show dpdk-fw"


def test_a_governor_that_was_replaced_is_found(daemon: FakeDaemon) -> None:
    status: Any = daemon.picture().model_dump(mode="json")
    assert list(manager_checks.governor_replaced(Status(status))) == []
    for cpu in status["cpus"]:
        cpu.update(governor="powersave")
    held = [cpu["pcpu"] for cpu in status["cpus"] if cpu["claimed"]]
    (finding,) = manager_checks.governor_replaced(Status(status))
    assert finding.fix.endswith(f"vmpower cpu retake {format_cpulist(held)}")
    assert finding.subject == name_cpus(held)
    assert "'powersave'" in finding.what


def test_the_governor_of_groups_that_limits_set_is_performance(
    daemon: FakeDaemon,
) -> None:
    status: Any = daemon.picture().model_dump(mode="json")
    for cpu in status["cpus"]:
        cpu.update(mechanism="limits", governor="performance")
    assert list(manager_checks.governor_replaced(Status(status))) == []
    for cpu in status["cpus"]:
        cpu.update(governor="powersave")
    (finding,) = manager_checks.governor_replaced(Status(status))
    assert "'powersave'" in finding.what


def test_what_no_pinning_helps_is_not_reported_as_floating(
    daemon: FakeDaemon,
) -> None:
    status: Any = daemon.picture().model_dump(mode="json")
    unsupported = "no governor can be set"
    for domain in status["domains"]:
        for vcpu in domain["vcpus"]:
            vcpu.update(refusal="unmanaged", reason=unsupported, clock_group=None)
        for channel in domain["channels"]:
            channel.update(acks_total=0, nack_reasons={"unmanaged": 2})
    assert domain_checks.vcpu_floats(domains_of_status(status)) == []
    found = domain_checks.requests_refused(Status(status))
    assert found
    assert not any("domain pin" in finding.fix for finding in found)
    # The CPUs have a finding of their own, once for the host.
    assert domain_checks.clock_group_refused(Status(status)) == []


def test_a_clock_group_that_the_kernel_refused_is_reported_once(
    daemon: FakeDaemon,
) -> None:
    status: Any = daemon.picture().model_dump(mode="json")
    refused = "cannot write scaling_governor: permission denied"
    for vcpu in status["domains"][0]["vcpus"]:
        vcpu.update(refusal="unmanaged", reason=refused)
    for cpu in status["cpus"][2:4]:
        cpu["reason"] = refused
    (finding,) = domain_checks.clock_group_refused(Status(status))
    assert (finding.subject, str(finding.severity)) == ("CPU 2-3", "error")
    assert refused in finding.what


def test_fixes_of_refusals_name_existing_refusals() -> None:
    words = {refusal.word for refusal in Refusal}
    assert set(domain_checks._FIXES) <= words


def test_an_old_guest_is_information() -> None:
    channels = tuple(
        Channel(number=n, path="/x", state="open", reason="", generation=size)
        for n, size in enumerate((464, 456))
    )
    domain = Domain(name="fw", is_active=True, vcpus=(), channels=channels, problems=())
    (finding,) = domain_checks.guest_outdated(Domains(domains=(domain,)))
    assert "456 bytes: DPDK before 18.11" in finding.what


def test_findings_are_a_table_with_fixes_and_status_5(
    run_dir: Path, cpus: Path
) -> None:
    words = ("doctor", "--sysfs-root", str(cpus), "-c", "test:///default")
    status, out, err = run_process(run_dir, *words)
    assert (status, err) == (5, "")
    lines = out.splitlines()
    assert lines[0].split() == [
        "CPUs", "Driver", "Mode", "Governor", "Min", "Nominal", "Max", "Control"
    ]  # fmt: skip
    assert " 8 steps, turbo" in lines[2]
    assert any(
        line.startswith(" error: domain dpdk-router: channel 1") for line in lines
    )
    assert any(
        line.startswith(" fix:   stop the program that is connected") for line in lines
    )
    assert "errors" in lines[-1] or "error," in lines[-1]


def test_the_json_document_matches_the_table(run_dir: Path, cpus: Path) -> None:
    words = ("-o", "json", "doctor", "--sysfs-root", str(cpus), "-c", "test:///default")
    status, out, _ = run_process(run_dir, *words)
    document = json.loads(out)
    assert (status, document["healthy"]) == (5, False)
    assert set(document["findings"][0]) == {
        "id",
        "severity",
        "subject",
        "what",
        "fix",
        "cure",
    }


@pytest.mark.parametrize(
    ("units", "fix"),
    [
        ((), "install libvirt's daemon with its QEMU driver, or start it;"),
        (("libvirtd.service",), "systemctl start libvirtd.service;"),
        (
            ("libvirtd.service", "virtqemud.socket"),
            "systemctl start libvirtd.service or systemctl start virtqemud.socket;",
        ),
    ],
)
def test_only_units_of_libvirt_that_exist_are_named(
    units: tuple[str, ...], fix: str
) -> None:
    libvirt = Libvirt(uri="qemu:///system", inspection=None, failure="no", units=units)
    (finding,) = libvirt_checks.libvirt_unreachable(libvirt)
    assert finding.fix.startswith(fix)
