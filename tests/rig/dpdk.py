# SPDX-License-Identifier: Apache-2.0
"""DPDK's own programs as guests: its test suite, and a client of its library.

Usage::

    guest = host.start(dpdk_test_guest())
    guest.console.wait_for("Test OK")           # "Test Skipped": no host connected

    guest = host.start(librte_power_guest(spacing_ms=100))
    guest.console.wait_for("client: freq_up unit=1")

    guest = host.define(dpdk_p_state_guest(pins={0: "0", 1: "1"}))
    give_p_states(guest, tree)                  # tests.rig.p_states
    guest.start()
    with GuestShell(guest) as shell:
        shell.start(l3fwd_command("--legacy", lcore=1), "/log")
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from examples.guests.cache import GuestError, cached
from examples.guests.images import (
    add_dpdk_program,
    build_dpdk_image,
    build_program_image,
    start_image,
)
from examples.guests.packages import Archive, run
from examples.guests.programs import compile_program
from tests.rig.guest import GuestSpec
from tests.rig.p_states import MODULES, p_state_guest
from tests.rig.shell import SHELL_WORK

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

UNITS = (5, 6, 1, 2, 4, 3)
"""The units that both programs request, in this order."""

EAL_OPTIONS = "--no-huge -m 64 --no-pci -l 0 --no-shconf"
_SOURCE = Path(__file__).with_name("librte_power_client.c")
_FRAMES = Path(__file__).with_name("frames.c")
_L3FWD = "usr/share/dpdk/examples/l3fwd-power"
INTERFACE = "tap0"
"""The guest's end of the network that l3fwd-power forwards on."""


class Dialogue(NamedTuple):
    """The outcomes of one kind of message, sent repeatedly as guest_cli does."""

    in_time: int
    """Answers within the 10 ms that guest_cli waits."""
    late: int
    """Answers that it would take for those of its next message."""
    none: int
    out_of_step: int
    """Answers to another message."""
    worst_us: int
    answer: int
    """Code of the last answer: an `Answer`."""
    vcpus: int
    values: tuple[int, ...]
    """Of vCPUs 0 to 7: the frequency in kHz, or whether there is turbo."""


def parse_dialogues(lines: Iterable[str]) -> dict[str, Dialogue]:
    """Parse the lines that the client prints about its dialogues, by message name."""
    found = {}
    for line in lines:
        if line.startswith("dialogue: "):
            name, *facts = line.removeprefix("dialogue: ").split()
            facts_by_name = dict(fact.split("=") for fact in facts)
            values = tuple(map(int, facts_by_name.pop("values").split(",")))
            counts = {key: int(count) for key, count in facts_by_name.items()}
            found[name] = Dialogue(values=values, **counts)
    return found


def librte_power_client() -> Path:
    """Return the compiled client (``librte_power_client.c``)."""
    # Reading answers was "experimental" until 23.11.
    options = ["-DALLOW_EXPERIMENTAL_API"]
    libraries = ["libdpdk"]
    # The channel's functions were part of librte_power until then.
    if is_dpdk_at_least("24.11"):
        libraries.append("-lrte_power_kvm_vm")
    return compile_program(_SOURCE, options=options, libraries=libraries)


def is_dpdk_at_least(version: str) -> bool:
    """Return whether the installed DPDK is of this version or newer."""
    command = ["pkg-config", f"--atleast-version={version}", "libdpdk"]
    return subprocess.run(command, check=False).returncode == 0


def dpdk_test_guest(name: str = "dpdk", *, pins: str = "") -> GuestSpec:
    """Describe a guest that runs ``power_kvm_vm_autotest`` and powers off.

    Its last line is ``Test OK``, or ``Test Skipped`` if no host was connected to
    channel 0 when it had been open for a second.
    """
    return GuestSpec(
        name=name,
        vcpus=2,
        memory_mib=512,
        image=build_dpdk_image(),
        pins={0: pins} if pins else {},
        has_rig_port=False,
    )


def librte_power_guest(
    name: str = "librte",
    *,
    spacing_ms: int = 100,
    rounds: int = 1,
    dialogues: int = 0,
    pins: Sequence[str] = (),
) -> GuestSpec:
    """Describe a guest that makes the six calls, spaced, and powers off.

    Each call prints a line ``client: freq_up unit=1 result=1``; without a host the only
    line is ``client: no host``. A number of dialogues follows, see `Dialogue`. `pins`
    are the CPUs of each vCPU; without them there is one vCPU, which floats.
    """
    image = build_program_image(librte_power_client(), arguments=EAL_OPTIONS)
    return GuestSpec(
        name=name,
        memory_mib=512,
        image=image,
        parameters=f"spacing={spacing_ms} rounds={rounds} dialogues={dialogues}",
        vcpus=max(1, len(pins)),
        pins=dict(enumerate(pins)),
        has_rig_port=False,
    )


def l3fwd_power() -> Path:
    """Return DPDK's example l3fwd-power, compiled from the source in dpdk-doc.

    Raises:
        UnavailableError: the package cannot be downloaded.
    """
    version = run(["dpkg-query", "-W", "-f", "${Version}", "libdpdk-dev"])

    def unpack(target: Path) -> None:
        Archive().unpack([f"dpdk-doc={version}"], target, members=[f"./{_L3FWD}/*"])

    source = cached(f"dpdk-doc-{version}", unpack) / _L3FWD
    # Its second file, and the options of its Makefile; warnings are DPDK's matter.
    options = ["-w", "-DALLOW_EXPERIMENTAL_API", str(source / "perf_core.c")]
    return compile_program(source / "main.c", options=options, libraries=["libdpdk"])


def l3fwd_command(mode: str, *, lcore: int) -> str:
    """Return the command that runs l3fwd-power on one lcore, with one virtual port.

    Its other end is a network interface of the guest, so the port has interrupts.
    """
    program = l3fwd_power()
    ports = f"--vdev=net_tap0,iface={INTERFACE}"
    options = f'-p 1 -P --config="(0,0,{lcore})" {mode}'
    eal = f"--no-huge -m 128 --no-pci -l {lcore} --no-shconf --log-level=power:8"
    return f"{program} {eal} {ports} -- {options}"


def cpufreq_test_command() -> str:
    """Return the command of DPDK's ``power_cpufreq_autotest``, which uses lcore 2."""
    eal = "--no-huge -m 64 --no-pci -l 0,2 --no-shconf --log-level=power:8"
    return f"printf 'power_cpufreq_autotest\\nquit\\n' | dpdk-test {eal}"


def dpdk_p_state_guest(name: str = "dpdk", *, pins: Mapping[int, str]) -> GuestSpec:
    """Describe a guest with P-states, DPDK's programs and a remote shell.

    `frames` sends packets to l3fwd-power.

    Raises:
        UnavailableError: l3fwd-power cannot be downloaded.
    """
    image = start_image(SHELL_WORK, modules=(*MODULES, "tun"))
    plugins = ("librte_net_tap", "librte_mempool_ring")
    add_dpdk_program(image, l3fwd_power(), plugins=plugins)
    test = shutil.which("dpdk-test")
    if test is None:
        raise GuestError("dpdk-test not found: install dpdk-dev (or run make setup)")
    add_dpdk_program(image, Path(test))
    frames = compile_program(_FRAMES, options=["-static"])
    image.add_program(frames, "bin/frames")
    return p_state_guest(
        name, pins=pins, image=image.build("dpdk-p-states"), memory_mib=512
    )
