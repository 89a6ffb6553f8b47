# SPDX-License-Identifier: Apache-2.0
"""The lab as a virtualization host: QEMU, libvirt and the daemon inside it.

It runs the whole chain: a DPDK guest in a nested QEMU, started by ``qemu:///embed`` in
the daemon, on a host whose frequencies are set by one of Linux's own drivers. Nested
TCG is slow: more than two minutes. Usage::

    outcome = run_in_host_lab(program, librte_power_guest(spacing_ms=1000, pins=("1",)))

``program`` is Python text. It can import the checkout's packages and their
dependencies, and has ``URI`` in its globals: opening that starts the guest. The
path of the nested guest's console is ``CONSOLE``.

``run_module_in_host_lab("tests.daemon.drift_on_linux")`` runs a module of the checkout
without a nested guest, with libvirt's test driver: half a minute.
"""

from __future__ import annotations

import tempfile
import textwrap
from contextlib import closing
from importlib.metadata import distribution
from pathlib import Path
from typing import TYPE_CHECKING

import libvirt
from packaging.requirements import Requirement

from examples.guests.cache import CHECKOUT, GuestError
from examples.guests.images import VIRTIO_MODULES, add_content
from orchestrator.config import Config, PStatesConfig
from orchestrator.hypervisor.p_states import has_table_element, make_definition
from orchestrator.power.simulated import lay_out
from tests.rig.acpi import MAX_CPUS, STEPS_KHZ
from tests.rig.guest import Guest, GuestHost, GuestSpec
from tests.rig.lab import distribution_files, run_lab_machine, start_lab_image
from tests.rig.labs import ACPI_CPUFREQ
from tests.rig.waiting import IN_LAB, LAB_DEADLINE_S

if TYPE_CHECKING:
    from examples.guests.initramfs import Initramfs
    from orchestrator.hypervisor.p_states import PStateDefinition
    from tests.rig.lab import LabOutcome
    from tests.rig.labs import Lab

ROOT = Path("/r")
"""The embedded driver's directory in the lab."""

_MEMORY_MIB = 2048
_LIBRARIES = Path("/usr/lib/x86_64-linux-gnu")
_QEMU = Path("/usr/bin/qemu-system-x86_64")
# For a direct kernel boot.
_FIRMWARE = ("bios-256k.bin", "linuxboot_dma.bin", "kvmvapic.bin")
_LIBVIRT_DRIVERS = ("qemu", "secret", "storage", "network", "nwfilter")
_ONLY_IN_DEBIAN_12 = (
    # QEMU's accelerator is built in since then; libvirt does without this driver.
    "qemu/accel-tcg-x86_64.so",
    "libvirt/connection-driver/libvirt_driver_interface.so",
)
_QEMU_CONF = """\
stdio_handler = "file"
security_driver = "none"
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
namespaces = []
cgroup_controllers = []
seccomp_sandbox = 0
"""
_PASSWD = """\
root:x:0:0::/root:/bin/sh
libvirt-qemu:x:64055:107::/nonexistent:/bin/sh
nobody:x:65534:65534::/nonexistent:/bin/sh
"""
_GROUP = """\
root:x:0:
tty:x:5:
kvm:x:107:
libvirt-qemu:x:64055:
nogroup:x:65534:
"""
# Compiled modules are kept: compiling them is most of the first start of a program.
_WORK = """\
mkdir -p /sys/fs/cgroup /var/lib /var/log /var/cache /etc
ip link set lo up
export PYTHONPATH=/checkout:/packages
cd /checkout
"""


class _LabHost(GuestHost):
    """The place of the nested guest; there is no connection to it from here."""

    def __init__(self) -> None:
        super().__init__(f"qemu:///embed?root={ROOT}", ROOT, ROOT / "g")
        self.published: dict[str, Path] = {}

    def publish(self, path: Path) -> Path:
        """Return the path of a file in the lab."""
        place = self.directory / path.name
        self.published[str(place)] = path
        return place


def run_in_host_lab(
    program: str,
    spec: GuestSpec,
    *,
    lab: Lab = ACPI_CPUFREQ,
    has_p_states: bool = False,
    timeout_s: float = LAB_DEADLINE_S,
) -> LabOutcome:
    """Boot the host with one nested guest, run ``program`` in it, power it off.

    Args:
        program: Python text, indented as a whole or not.
        spec: the nested guest; it boots when ``URI`` is opened.
        lab: whose CPUs the host has; an x86 one.
        has_p_states: whether the guest has P-states, those of `ACPI_CPUFREQ`.
        timeout_s: after that the lab is switched off.
    """
    image = _start(lab, "python3 -s /program.py\n")
    _add_qemu(image)
    _add_drivers(image)
    console = _add_guest(image, spec, has_p_states=has_p_states)
    known = f"URI = 'qemu:///embed?root={ROOT}'\nCONSOLE = '{console}'\n"
    image.add_data("program.py", known + textwrap.dedent(program))
    return _run(lab, image, timeout_s)


def run_module_in_host_lab(
    module: str,
    *arguments: str,
    lab: Lab = ACPI_CPUFREQ,
    timeout_s: float = LAB_DEADLINE_S,
) -> LabOutcome:
    """Run ``python3 -m module arguments…`` of the checkout on the host.

    There is no guest. The shell splits the arguments into words.
    """
    image = _start(lab, f"python3 -s -m {module} {' '.join(arguments)}\n")
    image.add_tree(Path("/usr/share/libvirt/cpu_map"))
    return _run(lab, image, timeout_s)


def _start(lab: Lab, command: str) -> Initramfs:
    image = start_lab_image(lab, _WORK + IN_LAB + command, more_modules=VIRTIO_MODULES)
    _add_checkout(image)
    image.add_data("etc/passwd", _PASSWD)
    image.add_data("etc/group", _GROUP)
    image.add_data("etc/machine-id", f"{1:032x}\n")
    return image


def _run(lab: Lab, image: Initramfs, timeout_s: float) -> LabOutcome:
    return run_lab_machine(
        lab._replace(memory_mib=_MEMORY_MIB),
        image,
        timeout_s=timeout_s,
    )


def _add_checkout(image: Initramfs) -> None:
    for name in ("orchestrator", "cli", "domain_templates", "tests"):
        add_content(image, f"/checkout/{name}", CHECKOUT / name)
    for name in sorted(_distributions("vmpower")):
        for path, source in distribution_files(name, "/packages").items():
            add_content(image, path, source)
            if isinstance(source, Path) and ".so" in source.name:
                image.add_libraries([source])


def _distributions(name: str) -> set[str]:
    """Return the run-time dependencies of ``name``, recursively."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        for text in distribution(waiting.pop()).requires or ():
            need = Requirement(text)
            is_wanted = need.marker is None or need.marker.evaluate({"extra": ""})
            if is_wanted and need.name not in found:
                found.add(need.name)
                waiting.append(need.name)
    return found


def _add_qemu(image: Initramfs) -> None:
    image.add_program(_QEMU)
    for name in _FIRMWARE:
        image.add_file(_find_firmware(name), f"usr/share/qemu/{name}")


def _find_firmware(name: str) -> Path:
    for directory in ("qemu", "seabios"):
        path = Path("/usr/share") / directory / name
        if path.exists():
            return path
    raise GuestError(f"QEMU's {name} is missing: install qemu-system-x86")


def _add_drivers(image: Initramfs) -> None:
    directory = _LIBRARIES / "libvirt/connection-driver"
    for name in _LIBVIRT_DRIVERS:
        image.add_program(directory / f"libvirt_driver_{name}.so")
    for name in _ONLY_IN_DEBIAN_12:
        if (_LIBRARIES / name).exists():
            image.add_program(_LIBRARIES / name)
    image.add_tree(Path("/usr/share/libvirt/cpu_map"))
    image.add_data("r/etc/qemu.conf", _QEMU_CONF)
    image.add_directory("r/g")


def _add_guest(image: Initramfs, spec: GuestSpec, *, has_p_states: bool) -> Path:
    host = _LabHost()
    guest = Guest(host, spec, is_unique=False)
    xml = guest.xml()
    if has_p_states:
        made = _make_p_states(xml)
        xml = made.xml
        image.add_data(str(made.path), made.table)
    image.add_data(f"r/etc/qemu/{guest.name}.xml", xml)
    image.add_link(
        f"r/etc/qemu/autostart/{guest.name}.xml", f"/r/etc/qemu/{guest.name}.xml"
    )
    for place, source in host.published.items():
        image.add_file(source, place)
    return guest.console.path


def _make_p_states(xml: str) -> PStateDefinition:
    with tempfile.TemporaryDirectory() as directory:
        lay_out(Path(directory), cpus=MAX_CPUS, steps_khz=STEPS_KHZ)
        config = Config(
            sysfs_root=Path(directory), p_states=PStatesConfig(directory=ROOT / "acpi")
        )
        return make_definition(xml, config, has_table_element=_has_table_element())


def _has_table_element() -> bool:
    with closing(libvirt.openReadOnly("test:///default")) as connection:
        return has_table_element(connection)
