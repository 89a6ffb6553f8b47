# SPDX-License-Identifier: Apache-2.0
"""Guests that request frequencies through their own cpufreq driver: P-states.

The kernel is Debian's, the driver its module; nothing else is in the guest that knows
of a host. Usage::

    guest = host.define(p_state_guest("g", pins={0: "0"}))
    give_p_states(guest, tree)              # of the CPUs in this tree
    guest.start()
    with GuestShell(guest) as shell:
        shell.run("cat /sys/devices/system/cpu/cpufreq/policy0/scaling_governor")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from examples.guests.images import CPUFREQ_MODULES, VIRTIO_MODULES, start_image
from orchestrator.config import Config, PStatesConfig
from orchestrator.hypervisor.p_states import onboard_p_states
from tests.rig.guest import GuestSpec
from tests.rig.shell import SHELL_WORK

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from orchestrator.hypervisor.p_states import PStateChange
    from orchestrator.power.sysfs import CpuTree
    from tests.rig.guest import Guest

CPU_MODEL = "Haswell"
"""acpi-cpufreq refuses QEMU's default model."""
CHANNEL = 2000
"""Number of the channel of a domain's first port."""
GUEST_TREE = "/sys/devices/system/cpu/cpufreq"
MODULES = (*VIRTIO_MODULES, *CPUFREQ_MODULES)


def build_p_state_image(work: str = SHELL_WORK) -> Path:
    """Return the initramfs of a guest with cpufreq that runs a shell script."""
    return start_image(work, modules=MODULES).build("p-states")


def p_state_guest(
    name: str,
    *,
    pins: Mapping[int, str],
    image: Path | None = None,
    machine: str = "q35",
    memory_mib: int = 192,
) -> GuestSpec:
    """Describe a guest that `give_p_states` makes complete.

    Args:
        name: of the domain.
        pins: the CPUs of each vCPU.
        image: the initramfs; None: a remote shell (`GuestShell`).
        machine: `q35` or `pc`.
        memory_mib: memory.
    """
    return GuestSpec(
        name=name,
        channels=(),
        vcpus=len(pins),
        pins=pins,
        image=image or build_p_state_image(),
        machine=machine,
        memory_mib=memory_mib,
        cpu_model=CPU_MODEL,
    )


def give_p_states(guest: Guest, tree: CpuTree) -> PStateChange:
    """Onboard a domain that is defined, with the frequencies of these CPUs."""
    tables = PStatesConfig(directory=guest.host.directory)
    config = Config(sysfs_root=tree.root, p_states=tables)
    return onboard_p_states(guest.domain, config)
