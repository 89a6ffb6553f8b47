"""The doctor beside a daemon, whose word it takes; and without one, beside libvirt."""

from __future__ import annotations

import json
import os
import socket
from typing import TYPE_CHECKING, Any

import pytest

from cli.doctor.checks import domains as domain_checks
from cli.doctor.checks import libvirt as libvirt_checks
from cli.doctor.checks import rivals as rival_checks
from cli.doctor.checks import service as service_checks
from cli.doctor.facts.accounts import Accounts, Group, Person
from cli.doctor.facts.daemon import Status
from cli.doctor.facts.domains import Channel, Domain, Domains
from cli.doctor.facts.libvirt import Libvirt
from cli.doctor.facts.service import read_service
from cli.doctor.places import Places
from orchestrator.hypervisor.inspection import Inspection
from orchestrator.power.simulated import lay_out
from orchestrator.values.cpuset import name_cpus
from orchestrator.values.refusal import Refusal
from tests.cli.conftest import run_process
from tests.cli.doctor.conftest import doctor

if TYPE_CHECKING:
    from pathlib import Path

    from tests.control.fake_daemon import FakeDaemon

NODE = """
<node><domain type='test' id='1'><name>router</name>
<uuid>5579e6cd-caca-4c68-8934-da43e4863198</uuid>
<memory>65536</memory><vcpu>2</vcpu><os><type>hvm</type></os>
<cputune><vcpupin vcpu='0' cpuset='2'/></cputune>
<devices><channel type='unix'><source mode='bind' path='{path}'/>
<target type='virtio' name='virtio.serial.port.poweragent.0'/></channel></devices>
</domain></node>"""
ANNE = Person(name="anne", uid=1000, groups=frozenset({"users"}))


@pytest.fixture
def cpus(tmp_path: Path) -> Path:
    lay_out(tmp_path / "cpus", cpus=6, shared=2)
    return tmp_path / "cpus"


def beside(run_dir: Path, cpus: Path, uri: str = "test:///default") -> dict[str, Any]:
    """Examine; return the findings by check, the first of each."""
    document = doctor("--sysfs-root", cpus, "-c", uri, before=("--run-dir", run_dir))
    findings: dict[str, Any] = {"all": document}
    for item in document["findings"]:
        findings.setdefault(item["id"], item)
    return findings


def test_the_daemons_word_is_taken_for_domains(
    daemon: FakeDaemon, run_dir: Path, cpus: Path
) -> None:
    findings = beside(run_dir, cpus)
    assert "daemon-unreachable" not in findings
    floating = findings["vcpu-floats"]
    assert floating["subject"] == "domain dpdk-fw"
    assert floating["what"].startswith("vCPU 2 cannot be clocked: pinned to CPUs")
    assert floating["cure"] == "vmpower domain pin dpdk-fw VCPU CPUS"
    contended = findings["channel-contended"]
    assert contended["subject"] == "domain dpdk-router"
    assert "channel 1 is contended" in contended["what"]
    told = [p for domain in daemon.domains.values() for p in domain.problems]
    found = [i for i in findings["all"]["findings"] if i["id"] == "domain-troubled"]
    assert sorted(item["what"] for item in found) == sorted(told)
    assert findings["libvirt-differs"]["severity"] == "info"
    assert findings["all"]["unchecked"] == []


def test_a_daemon_without_libvirt_is_an_error(
    daemon: FakeDaemon, run_dir: Path, cpus: Path
) -> None:
    daemon.lose_libvirt()
    finding = beside(run_dir, cpus)["libvirt-lost"]
    assert (finding["subject"], finding["severity"]) == (
        "libvirt qemu:///system",
        "error",
    )
    assert "connection refused" in finding["what"]


def test_without_a_daemon_libvirt_tells_of_domains(tmp_path: Path, cpus: Path) -> None:
    node = tmp_path / "node.xml"
    node.write_text(NODE.format(path="/tmp/powermonitor/router.0"))
    findings = beside(tmp_path, cpus, f"test://{node}")
    assert findings["daemon-unreachable"]["cure"].startswith("start it with")
    assert "vCPU 1 cannot be clocked: floats over" in findings["vcpu-floats"]["what"]
    unchecked = {item["id"] for item in findings["all"]["unchecked"]}
    assert {"channel-contended", "libvirt-lost"} <= unchecked
    assert findings["all"]["exit_status"] == 5


def test_without_libvirt_domains_are_not_checked(tmp_path: Path, cpus: Path) -> None:
    findings = beside(tmp_path, cpus, "qemu+unix:///system?socket=/nowhere")
    assert findings["libvirt-unreachable"]["subject"].startswith("libvirt qemu+unix")
    assert "libvirt.uri in vmpower.toml" in findings["libvirt-unreachable"]["cure"]
    unchecked = {item["id"]: item["reason"] for item in findings["all"]["unchecked"]}
    assert "/nowhere" in unchecked["vcpu-floats"]


def test_a_path_that_no_socket_can_have_is_an_error(tmp_path: Path, cpus: Path) -> None:
    node = tmp_path / "node.xml"
    node.write_text(NODE.format(path="/tmp/" + "x" * 110))
    finding = beside(tmp_path, cpus, f"test://{node}")["channel-path-long"]
    assert "has 115 bytes, a socket's at most 107" in finding["what"]


def test_a_wrong_configuration_is_an_error(tmp_path: Path, cpus: Path) -> None:
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
    assert "--check-config" in finding["cure"]


def test_a_socket_that_nobody_serves_is_stale(tmp_path: Path, cpus: Path) -> None:
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


def test_modes_that_are_too_open_or_too_closed_are_told(
    run_dir: Path, cpus: Path
) -> None:
    (run_dir / "vmpower.sock").chmod(0o666)
    (run_dir / "vmpower-ro.sock").chmod(0o600)
    run_dir.chmod(0o700)
    found = service_checks.socket_mode_wrong(
        read_service(Places(run_dir=run_dir, sysfs_root=cpus))
    )
    assert [(str(i.severity), i.subject) for i in found] == [
        ("warning", str(run_dir)),
        ("error", str(run_dir / "vmpower.sock")),
        ("warning", str(run_dir / "vmpower-ro.sock")),
    ]


def test_the_one_who_listens_is_known_by_the_kernels_word(
    run_dir: Path, cpus: Path
) -> None:
    service = read_service(Places(run_dir=run_dir, sysfs_root=cpus))
    assert service.owner_pid == os.getpid()  # the little daemon is in this process


def accounts(*groups: Group) -> Accounts:
    return Accounts(groups={g.name: g for g in groups}, qemu_gids=frozenset())


def seen(write_refusal: str) -> Libvirt:
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
    ("members", "cure"),
    [
        (frozenset({"bob"}), "usermod -aG libvirt anne, then log in again"),
        (frozenset({"anne"}), "log in again: anne is in 'libvirt', not yet this"),
    ],
)
def test_a_user_who_may_not_change_domains_is_told_the_group(
    members: frozenset[str], cure: str
) -> None:
    group = Group(name="libvirt", gid=110, members=members)
    judge = libvirt_checks.libvirt_read_only
    (finding,) = judge(seen("authentication unavailable"), ANNE, accounts(group))
    assert finding.cure.startswith(cure)
    assert judge(seen(""), ANNE, accounts(group)) == []


@pytest.mark.parametrize(
    ("state", "check"),
    [
        ("contended", domain_checks.channel_contended),
        ("refused", domain_checks.channel_refused),
    ],
)
def test_states_of_channels_have_their_cure(state: str, check: Any) -> None:
    channel = Channel(number=0, path="/x", state=state, reason="", generation=464)
    domain = Domain(
        name="fw", is_active=True, vcpus=(), channels=(channel,), problems=()
    )
    (finding,) = check(Domains(domains=(domain,)), None)
    assert finding.what.startswith(f"channel 0 is {state}: ")
    assert finding.cure


@pytest.mark.parametrize(
    ("acks", "severity", "what"), [(0, "warning", "all"), (3, "info", "some")]
)
def test_a_guest_that_is_refused_is_told_why(
    daemon: FakeDaemon, acks: int, severity: str, what: str
) -> None:
    told: Any = daemon.picture().model_dump(mode="json")
    told["domains"] = [told["domains"][0]]
    for channel in told["domains"][0]["channels"]:
        channel.update(acks_total=acks, nack_reasons={"floating": 2, "turbo": 1})
    (finding,) = domain_checks.requests_refused(Status(told))
    assert (str(finding.severity), finding.cure) == (
        severity,
        "vmpower domain pin dpdk-fw VCPU CPUS",
    )
    assert finding.what.startswith(f"{what} of its requests were refused: floating ")


def test_a_governor_that_was_replaced_is_found(daemon: FakeDaemon) -> None:
    told: Any = daemon.picture().model_dump(mode="json")
    assert list(rival_checks.governor_replaced(Status(told))) == []
    for cpu in told["cpus"]:
        cpu.update(governor="powersave")
    held = [cpu["pcpu"] for cpu in told["cpus"] if cpu["claimed"]]
    (finding,) = rival_checks.governor_replaced(Status(told))
    assert finding.subject == name_cpus(held)
    assert "'powersave'" in finding.what


def test_every_cure_of_a_refusal_is_for_one_that_there_is() -> None:
    words = {refusal.word for refusal in Refusal}
    assert set(domain_checks._REFUSALS) <= words


def test_an_old_guest_is_good_to_know() -> None:
    channels = tuple(
        Channel(number=n, path="/x", state="open", reason="", generation=size)
        for n, size in enumerate((464, 456))
    )
    domain = Domain(name="fw", is_active=True, vcpus=(), channels=channels, problems=())
    (finding,) = domain_checks.guest_outdated(Domains(domains=(domain,)))
    assert "456 bytes: DPDK before 18.11" in finding.what


def test_people_get_a_table_with_cures_and_exit_5(run_dir: Path, cpus: Path) -> None:
    words = ("doctor", "--sysfs-root", str(cpus), "-c", "test:///default")
    status, out, err = run_process(run_dir, *words)
    assert (status, err) == (5, "")
    lines = out.splitlines()
    assert lines[0].split() == [
        "CPUs", "Driver", "Governor", "Lowest", "Highest", "vmpower", "can"
    ]  # fmt: skip
    assert "set 8 steps, turbo" in lines[2]
    assert any(
        line.startswith(" error: domain dpdk-router: channel 1") for line in lines
    )
    assert any(
        line.startswith(" cure:  end the program that holds it") for line in lines
    )
    assert "errors" in lines[-1] or "error," in lines[-1]


def test_the_document_says_what_people_read(run_dir: Path, cpus: Path) -> None:
    words = ("-o", "json", "doctor", "--sysfs-root", str(cpus), "-c", "test:///default")
    status, out, _ = run_process(run_dir, *words)
    document = json.loads(out)
    assert (status, document["healthy"]) == (5, False)
    assert set(document["findings"][0]) == {"id", "severity", "subject", "what", "cure"}
