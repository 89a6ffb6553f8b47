# SPDX-License-Identifier: Apache-2.0
"""The host: virtualization, the CPU tree, offline and isolated CPUs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.doctor.diagnosis import check, error, info, warning
from cli.doctor.facts.accounts import Accounts
from cli.doctor.facts.cpus import Cpus, CpuTreeState
from cli.doctor.facts.kernel import Kernel, Kvm
from cli.doctor.target import Target
from orchestrator.values.cpuset import format_cpulist

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli.doctor.diagnosis import Finding

_VIRTUALIZATION = frozenset({"vmx", "svm"})
"""Flags of Intel's and AMD's CPUs."""
_NODE = "/dev/kvm"
_FOR_GROUP, _FOR_ALL = 0o060, 0o006
_KVM_GROUP = "kvm"


@check(Kvm, Accounts)
def kvm_unusable(kvm: Kvm, accounts: Accounts) -> Iterator[Finding]:
    """/dev/kvm exists, but QEMU may not open it."""
    if not kvm.exists or not accounts.qemu_gids:
        return
    is_for_group = kvm.gid in accounts.qemu_gids and kvm.mode & _FOR_GROUP == _FOR_GROUP
    if is_for_group or kvm.mode & _FOR_ALL == _FOR_ALL:
        return
    owner = accounts.group_name(kvm.gid)
    group = _KVM_GROUP if _KVM_GROUP in accounts.groups else "QEMU's group"
    yield error(
        _NODE,
        f"QEMU's user may not open it (group {owner}, mode {kvm.mode:04o}), but"
        " libvirt, as root, may: it probes QEMU again on each call, and defining a"
        " domain takes up to a minute",
        f"chgrp {group} {_NODE}; chmod 0660 {_NODE} (normally done by udev)",
    )


@check(Kvm, Kernel)
def kvm_absent(kvm: Kvm, kernel: Kernel) -> Iterator[Finding]:
    """The CPU supports virtualization, but the kernel does not use it."""
    if kvm.exists:
        return
    found = kernel.cpu_flags & _VIRTUALIZATION
    if found:
        module = "kvm_intel" if "vmx" in found else "kvm_amd"
        yield warning(
            _NODE,
            "missing, although the CPU supports virtualization: guests are emulated,"
            " about 100 times slower",
            f"modprobe {module}; if that fails, enable virtualization in the firmware",
        )
    elif kernel.cpu_flags:
        yield info(
            _NODE, "the CPU does not support virtualization: guests are emulated"
        )


@check(CpuTreeState)
def cpu_tree_absent(state: CpuTreeState) -> Iterator[Finding]:
    """There is no CPU tree at the expected path."""
    if state.problem:
        yield error(
            "CPU tree",
            state.problem,
            "use another one with --sysfs-root; to see vmpower work, run 'vmpower try'",
        )


@check(Kernel, Target)
def sysfs_read_only(kernel: Kernel, target: Target) -> Iterator[Finding]:
    """The CPU tree is mounted read-only."""
    if kernel.is_sysfs_read_only:
        yield error(
            str(target.cpu_root),
            "mounted read-only: no frequency can be set",
            "in a container, mount it writable; in a systemd unit, remove"
            " ProtectKernelTunables=",
        )


@check(Cpus)
def cpus_simulated(cpus: Cpus) -> Iterator[Finding]:
    """The CPUs are simulated."""
    if cpus.is_simulated:
        numbers = format_cpulist(cpus.present)
        yield info(f"CPU {numbers}", "simulated, with no real CPU behind it")


@check(Cpus)
def cpus_offline(cpus: Cpus) -> Iterator[Finding]:
    """CPUs are offline: no vCPU can run there."""
    offline = cpus.present - cpus.topology.online
    if offline:
        is_smt = cpus.switches.get("smt/control") in ("off", "forceoff")
        why = ": SMT is disabled" if is_smt else ""
        yield info(f"CPU {format_cpulist(offline)}", f"offline{why}")


@check(Cpus)
def cpus_isolated(cpus: Cpus) -> Iterator[Finding]:
    """CPUs are isolated (isolcpus), which changes what runs there."""
    if cpus.isolated:
        yield info(
            f"CPU {format_cpulist(cpus.isolated)}",
            "isolated: only vCPUs that are pinned to them run there",
        )
