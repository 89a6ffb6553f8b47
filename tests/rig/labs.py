# SPDX-License-Identifier: Apache-2.0
"""The labs: emulated hosts on which Linux's own scaling drivers run, one row each.

`tests.rig.lab` boots them; the fixture ``lab`` runs a test in each. A row says how a
driver is brought to run, and what the kernel then shows in sysfs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from examples.guests.images import CPUFREQ_MODULES, GOVERNOR_MODULES
from examples.guests.kernel import fetch_kernel
from tests.power.registers import AMD_CELLS, ARM_CELLS
from tests.rig import arm
from tests.rig.acpi import (
    AMD_CPPC,
    AMD_PERFORMANCE,
    ARM_CPPC,
    ARM_PERFORMANCE,
    IDLE,
    PSTATES,
    STEPS_KHZ,
)
from tests.rig.built_modules import fetch_kernel_with_imitated_msr
from tests.rig.kernels import fetch_recent_kernel

if TYPE_CHECKING:
    from collections.abc import Callable

    from examples.guests.kernel import Kernel
    from tests.rig.acpi import Table

ALL_GOVERNORS = frozenset(
    (
        "performance",
        "schedutil",
        *(name.removeprefix("cpufreq_") for name in GOVERNOR_MODULES),
    )
)
"""performance and schedutil are built in."""
OWN_GOVERNORS = frozenset(("performance", "powersave"))
"""Of drivers that choose frequencies themselves (mode active)."""


class Lab(NamedTuple):
    """An emulated host of four CPUs."""

    name: str
    scaling_driver: str
    """Its name in sysfs."""
    governors: frozenset[str]
    min_khz: int
    nominal_khz: int
    """The highest frequency without turbo."""
    max_khz: int
    fetch_kernel: Callable[[], Kernel]
    """Returns the kernel; downloads and builds what is not cached."""
    cpu: str
    """QEMU's name of the CPU model, with features."""
    registers: str
    """Kind of the registers (`tests.power.registers`)."""
    modules: tuple[str, ...] = GOVERNOR_MODULES
    """In order of loading, with their parameters."""
    tables: tuple[Table, ...] = ()
    has_pcc_channel: bool = False
    parameters: str = ""
    """Kernel parameters."""
    memory_mib: int = 768
    is_arm: bool = False

    def __str__(self) -> str:
        return self.name


ACPI_CPUFREQ = Lab(
    name="acpi-cpufreq",
    scaling_driver="acpi-cpufreq",
    governors=ALL_GOVERNORS,
    min_khz=STEPS_KHZ[-1],
    nominal_khz=STEPS_KHZ[1],
    max_khz=STEPS_KHZ[0],
    fetch_kernel=fetch_kernel,
    cpu="Haswell",
    registers="latch",
    modules=CPUFREQ_MODULES,
    tables=(PSTATES,),
)

_AMD_MAX_KHZ, _AMD_NOMINAL_KHZ, _, _AMD_MIN_KHZ = AMD_PERFORMANCE.khz(AMD_CELLS)
_ARM_MAX_KHZ, _ARM_NOMINAL_KHZ, _, _ARM_MIN_KHZ = ARM_PERFORMANCE.khz(ARM_CELLS)


def _amd_pstate(mode: str, driver: str, governors: frozenset[str]) -> Lab:
    return Lab(
        name=f"amd-pstate-{mode}",
        scaling_driver=driver,
        governors=governors,
        min_khz=_AMD_MIN_KHZ,
        nominal_khz=_AMD_NOMINAL_KHZ,
        max_khz=_AMD_MAX_KHZ,
        fetch_kernel=fetch_recent_kernel,
        # QEMU 7.2 damages flags in kernels since 6.12 without -cx16: half of the boots
        # crash.
        cpu="EPYC-Milan,-cx16",
        registers="cppc-amd",
        tables=(AMD_CPPC,),
        has_pcc_channel=True,
        # Linux leaves such servers to acpi-cpufreq unless the mode is given.
        parameters=f"amd_pstate={mode}",
    )


AMD_PASSIVE = _amd_pstate("passive", "amd-pstate", ALL_GOVERNORS)
AMD_GUIDED = _amd_pstate("guided", "amd-pstate", ALL_GOVERNORS)
AMD_ACTIVE = _amd_pstate("active", "amd-pstate-epp", OWN_GOVERNORS)


def _intel_pstate(mode: str, *, has_hwp: bool) -> Lab:
    is_active = mode == "active"
    return Lab(
        name=f"intel_pstate-{mode}" + ("-hwp" if has_hwp else ""),
        scaling_driver="intel_pstate" if is_active else "intel_cpufreq",
        governors=OWN_GOVERNORS if is_active else ALL_GOVERNORS,
        min_khz=800_000,
        nominal_khz=2_400_000,
        max_khz=3_600_000,
        fetch_kernel=fetch_kernel_with_imitated_msr,
        cpu="Skylake-Server",
        registers="msr",
        modules=(
            *GOVERNOR_MODULES,
            f"imitated_msr hwp={int(has_hwp)}",
            f"intel_pstate_imitated mode={mode}",
        ),
    )


INTEL_ACTIVE_HWP = _intel_pstate("active", has_hwp=True)
INTEL_ACTIVE = _intel_pstate("active", has_hwp=False)
INTEL_PASSIVE_HWP = _intel_pstate("passive", has_hwp=True)
INTEL_PASSIVE = _intel_pstate("passive", has_hwp=False)

CPPC_ARM = Lab(
    name="cppc_cpufreq",
    scaling_driver="cppc_cpufreq",
    governors=ALL_GOVERNORS,
    min_khz=_ARM_MIN_KHZ,
    nominal_khz=_ARM_NOMINAL_KHZ,
    max_khz=_ARM_MAX_KHZ,
    fetch_kernel=arm.fetch_arm_kernel,
    cpu="cortex-a57",
    registers="cppc-arm",
    # Its thread for the scheduler keeps emulated CPUs so busy that they lock up.
    modules=(*GOVERNOR_MODULES, "cppc_cpufreq fie_disabled=1"),
    tables=(ARM_CPPC,),
    parameters=arm.PARAMETERS,
    memory_mib=arm.RAM_MIB,
    is_arm=True,
)

LABS = (
    *(ACPI_CPUFREQ, AMD_PASSIVE, AMD_GUIDED, AMD_ACTIVE),
    *(INTEL_ACTIVE_HWP, INTEL_ACTIVE, INTEL_PASSIVE_HWP, INTEL_PASSIVE),
    CPPC_ARM,
)
"""One for each scaling driver in each of its modes."""

IDLE_STATES = ACPI_CPUFREQ._replace(name="idle-states", tables=(PSTATES, IDLE))
"""Also has idle states, which PM QoS limits."""
UNCORE = INTEL_ACTIVE_HWP._replace(
    name="uncore",
    modules=(
        *INTEL_ACTIVE_HWP.modules,
        "uncore-frequency-common",
        "uncore_frequency_imitated",
    ),
)
"""Also has intel_uncore_frequency."""
RAPL = INTEL_PASSIVE._replace(
    name="rapl",
    modules=(
        *GOVERNOR_MODULES,
        # Wraps at 2 kJ: about once a minute.
        "imitated_msr hwp=0 energy_unit=21",
        "intel_pstate_imitated mode=passive",
        "iosf_mbi",
        "intel_rapl_common",
        "intel_rapl_imitated",
    ),
)
"""Also has Linux's powercap on energy counters that grow with the frequencies."""
