"""The machine itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.doctor.examination import check
from cli.doctor.facts.accounts import Accounts
from cli.doctor.facts.cpus import Cpus, CpuTreeState
from cli.doctor.facts.kernel import Kernel, Kvm
from cli.doctor.finding import error, info, warning
from cli.doctor.places import Places
from orchestrator.values.cpuset import format_cpulist

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli.doctor.finding import Finding

_VIRTUALIZATION = frozenset({"vmx", "svm"})
"""Flags of Intel's and AMD's CPUs."""
_NODE = "/dev/kvm"
_FOR_GROUP, _FOR_ALL = 0o060, 0o006
_KVM_GROUP = "kvm"


@check(Kvm, Accounts)
def kvm_unusable(kvm: Kvm, accounts: Accounts) -> Iterator[Finding]:
    """/dev/kvm is shown, and QEMU may not use it."""
    if not kvm.exists or not accounts.qemu_gids:
        return
    is_for_group = kvm.gid in accounts.qemu_gids and kvm.mode & _FOR_GROUP == _FOR_GROUP
    if is_for_group or kvm.mode & _FOR_ALL == _FOR_ALL:
        return
    owner = accounts.group_name(kvm.gid)
    group = _KVM_GROUP if _KVM_GROUP in accounts.groups else "QEMU's group"
    yield error(
        _NODE,
        f"QEMU's user may not open it (group {owner}, mode {kvm.mode:04o}), while"
        " libvirt, as root, may: it probes QEMU anew at every call, and each define"
        " takes up to a minute",
        f"chgrp {group} {_NODE}; chmod 0660 {_NODE} (udev does so where it runs)",
    )


@check(Kvm, Kernel)
def kvm_absent(kvm: Kvm, kernel: Kernel) -> Iterator[Finding]:
    """The CPU can virtualize, and the kernel does not."""
    if kvm.exists:
        return
    found = kernel.cpu_flags & _VIRTUALIZATION
    if found:
        module = "kvm_intel" if "vmx" in found else "kvm_amd"
        yield warning(
            _NODE,
            "it is absent although the CPU can virtualize: guests are emulated, a"
            " hundred times slower",
            f"modprobe {module}; if that fails, enable virtualization in the firmware",
        )
    elif kernel.cpu_flags:
        yield info(_NODE, "this CPU offers no virtualization: guests are emulated")


@check(CpuTreeState)
def cpu_tree_absent(state: CpuTreeState) -> Iterator[Finding]:
    """There is no CPU tree where one is looked for."""
    if state.problem:
        yield error(
            "CPU tree",
            state.problem,
            "name another one with --sysfs-root; 'vmpower simulate' makes one to try",
        )


@check(Kernel, Places)
def sysfs_read_only(kernel: Kernel, places: Places) -> Iterator[Finding]:
    """The CPU tree is mounted read-only."""
    if kernel.is_sysfs_read_only:
        yield error(
            str(places.cpu_root),
            "it is mounted read-only: no clock can be set",
            "in a container give it to the daemon writable; in a service take"
            " ProtectKernelTunables= out",
        )


@check(Cpus)
def cpus_simulated(cpus: Cpus) -> Iterator[Finding]:
    """The CPUs are files of a simulation."""
    if cpus.is_simulated:
        numbers = format_cpulist(cpus.present)
        yield info(
            f"CPU {numbers}", "they are simulated: files, behind which no CPU stands"
        )


@check(Cpus)
def cpus_offline(cpus: Cpus) -> Iterator[Finding]:
    """CPUs are offline, so that nobody can be pinned to them."""
    offline = cpus.present - cpus.topology.online
    if offline:
        is_smt = cpus.switches.get("smt/control") in ("off", "forceoff")
        why = ": SMT is switched off" if is_smt else ""
        yield info(f"CPU {format_cpulist(offline)}", f"offline{why}")


@check(Cpus)
def cpus_isolated(cpus: Cpus) -> Iterator[Finding]:
    """The kernel keeps CPUs free (isolcpus), which changes who may run there."""
    if cpus.isolated:
        yield info(
            f"CPU {format_cpulist(cpus.isolated)}",
            "isolated: only vCPUs that are pinned there run there, those without"
            " pinning keep away",
        )
