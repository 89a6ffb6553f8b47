# SPDX-License-Identifier: Apache-2.0
"""Energy counters and run times as files of the kernel have them."""

from __future__ import annotations

import os
import struct
import threading
from pathlib import Path

import pytest

from orchestrator.energy.meters import MeterReading, Meters, Zone, ZoneKind
from orchestrator.energy.observer import ThreadTimes
from orchestrator.energy.residency import MeterSource
from orchestrator.sampling import perf_event
from orchestrator.sampling.energy_events import find_core_events, find_events
from orchestrator.sampling.energy_meters import find_meters
from orchestrator.sampling.energy_zones import find_hwmon, find_powercap
from orchestrator.sampling.qemu_times import IdleTime, QemuTimes
from orchestrator.values.domain import DomainId

FW = DomainId("fw")
PACKAGES = {0: 0, 1: 1, 2: 0, 3: 1}


def lay_out(root: Path, files: dict[str, object]) -> Path:
    for name, value in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")
    return root


def zone(
    directory: str, name: str, energy_uj: int, range_uj: int = 10**9
) -> dict[str, object]:
    base = f"class/powercap/{directory}"
    return {
        f"{base}/name": name,
        f"{base}/energy_uj": energy_uj,
        f"{base}/max_energy_range_uj": range_uj,
    }


def test_zones_are_known_by_name_and_not_by_the_number_of_their_directory(
    tmp_path: Path,
) -> None:
    """powerapi-ng/pyJoules#14: socket numbers are not in the order of directories."""
    root = lay_out(
        tmp_path,
        zone("intel-rapl:0", "package-1", 5_000_000)
        | zone("intel-rapl:0:0", "dram", 2_000_000, 65_712_999_613)
        | zone("intel-rapl:1", "package-0", 7_000_000)
        | zone("intel-rapl:1:0", "core", 1_000_000)
        | zone("intel-rapl:2", "psys", 9_000_000)
        | zone("intel-rapl:3", "unheard-of", 1)
        | {
            "class/powercap/intel-rapl:0/constraint_0_max_power_uw": 165_000_000,
            "class/powercap/intel-rapl:1/constraint_0_max_power_uw": 0,
            "class/powercap/intel-rapl/enabled": 1,
            "class/powercap/dtpm:0/name": "core",
        },
    )

    meters = find_powercap(root)

    assert meters is not None
    known = {it.name: (it.kind, it.package) for it in meters.zones}
    assert known == {
        "intel-rapl:0": (ZoneKind.PACKAGE, 1),
        "intel-rapl:0:0": (ZoneKind.DRAM, 1),
        "intel-rapl:1": (ZoneKind.PACKAGE, 0),
        "intel-rapl:1:0": (ZoneKind.CORE, 0),
        "intel-rapl:2": (ZoneKind.PSYS, None),
    }
    assert meters.read()["intel-rapl:1"] == 7.0
    most_w = {it.name: it.most_w for it in meters.zones}
    assert most_w["intel-rapl:0"] == pytest.approx(330.0)
    assert most_w["intel-rapl:1"] is most_w["intel-rapl:2"] is None
    assert meters.zones[1].range_joules == pytest.approx(65_712.999613)
    meters.close()


def test_a_package_that_is_there_twice_is_counted_once(tmp_path: Path) -> None:
    root = lay_out(
        tmp_path,
        zone("intel-rapl:0", "package-0", 1)
        | zone("intel-rapl-mmio:0", "package-0", 1),
    )

    meters = find_powercap(root)

    assert meters is not None
    assert [it.name for it in meters.zones] == ["intel-rapl:0"]
    meters.close()


def test_zones_in_mapped_memory_are_used_if_there_are_no_others(tmp_path: Path) -> None:
    meters = find_powercap(lay_out(tmp_path, zone("intel-rapl-mmio:0", "package-0", 1)))

    assert meters is not None
    assert meters.zones[0].package == 0
    meters.close()


def test_zones_that_cannot_be_read_are_none(tmp_path: Path) -> None:
    """CVE-2020-8694: the files are root's; rwlove/home-ops#11460."""
    root = lay_out(tmp_path, zone("intel-rapl:0", "package-0", 1))
    (root / "class/powercap/intel-rapl:0/energy_uj").unlink()

    assert find_powercap(root) is None
    assert find_powercap(tmp_path / "none") is None


def test_a_zone_that_comes_back_is_read_again(tmp_path: Path) -> None:
    root = lay_out(
        tmp_path,
        zone("intel-rapl:0", "package-0", 1_000_000) | zone("intel-rapl:1", "psys", 5),
    )
    meters = find_powercap(root)
    assert meters is not None
    psys = root / "class/powercap/intel-rapl:1/energy_uj"

    psys.write_text("not a number\n")
    without = meters.read()
    psys.write_text("3000000\n")

    assert without.keys() == {"intel-rapl:0"}
    assert meters.read()["intel-rapl:1"] == 3.0
    meters.close()


def test_amd_counts_sockets_and_cores(tmp_path: Path) -> None:
    base = "class/hwmon/hwmon3"
    root = lay_out(
        tmp_path,
        {
            "class/hwmon/hwmon0/name": "k10temp",
            f"{base}/name": "amd_energy",
            f"{base}/energy1_label": "Ecore000",
            f"{base}/energy1_input": 4_000_000,
            f"{base}/energy2_label": "Esocket0",
            f"{base}/energy2_input": 90_000_000,
            f"{base}/energy3_label": "Esocket7",
            f"{base}/energy4_label": "else",
        },
    )

    meters = find_hwmon(root, {0: 4, 1: 4})

    assert meters is not None
    assert meters.source is MeterSource.HWMON
    assert [(it.kind, it.package, it.core) for it in meters.zones] == [
        (ZoneKind.CORE, None, 0),
        (ZoneKind.PACKAGE, 4, None),
    ]
    assert meters.read() == {"Ecore000": 4.0, "Esocket0": 90.0}
    meters.close()
    assert find_hwmon(tmp_path / "none", {0: 0}) is None


def perf_device(name: str, cpumask: str, *events: str) -> dict[str, object]:
    base = f"bus/event_source/devices/{name}"
    files: dict[str, object] = {f"{base}/type": 12, f"{base}/cpumask": cpumask}
    for number, event in enumerate(events, 1):
        files[f"{base}/events/{event}"] = f"event=0x{number:02x}"
        files[f"{base}/events/{event}.scale"] = "2.3283064365386962890625e-10"
        files[f"{base}/events/{event}.unit"] = "Joules"
    return files


class Counters:
    """Counters that read as 2^32 counts, one joule."""

    def __init__(self) -> None:
        self.opened: list[tuple[int, int, int]] = []
        self.fds: list[int] = []

    def open(self, kind: int, config: int, cpu: int) -> int:
        self.opened.append((kind, config, cpu))
        read, write = os.pipe()
        os.write(write, struct.pack("=QQQ", 1 << 32, 1, 1))
        os.close(write)
        self.fds.append(read)
        return read


def test_perf_counts_packages_on_one_cpu_of_each(tmp_path: Path) -> None:
    counters = Counters()
    root = lay_out(
        tmp_path, perf_device("power", "0-1", "energy-pkg", "energy-ram", "energy-psys")
    )

    meters = find_events(root, PACKAGES, counters.open)

    assert meters is not None
    assert counters.opened == [
        (12, 1, 0),
        (12, 1, 1),
        (12, 2, 0),
        (12, 2, 1),
        (12, 3, 0),
    ]
    assert [it.package for it in meters.zones] == [0, 1, 0, 1, None]
    assert list(meters.read().values()) == pytest.approx([1.0] * 5)
    assert meters.read() == {}  # nothing more in the pipes: as of a CPU that is offline
    meters.close()


def test_amd_counts_single_cores_with_perf(tmp_path: Path) -> None:
    counters = Counters()
    root = lay_out(tmp_path, perf_device("power_core", "0,2", "energy-core"))

    meters = find_core_events(root, counters.open)

    assert meters is not None
    assert [it.core for it in meters.zones] == [0, 2]
    meters.close()
    assert find_events(root, PACKAGES, counters.open) is None


def test_perf_without_a_package_is_no_meter(tmp_path: Path) -> None:
    counters = Counters()
    root = lay_out(tmp_path, perf_device("power", "0", "energy-psys"))

    assert find_events(root, PACKAGES, counters.open) is None
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(counters.fds[0])


def test_perf_that_is_forbidden_is_no_meter(tmp_path: Path) -> None:
    def refuse(_kind: int, _config: int, _cpu: int) -> int:
        raise PermissionError("kernel.perf_event_paranoid")

    root = lay_out(tmp_path, perf_device("power", "0", "energy-pkg"))

    assert find_events(root, PACKAGES, refuse) is None


def test_a_counter_of_the_kernel_is_read() -> None:
    """The kernel's own: nanoseconds of a CPU, which every Linux counts."""
    try:
        fd = perf_event.open_event(1, 0, 0)
    except OSError as error:
        pytest.skip(f"the kernel forbids counting: {error}")

    count, enabled, running = struct.unpack("=QQQ", os.read(fd, 24))
    os.close(fd)

    assert count > 0
    assert enabled >= running > 0


def test_the_first_source_with_packages_is_taken(tmp_path: Path) -> None:
    assert find_meters(tmp_path, PACKAGES) is None
    root = lay_out(tmp_path, zone("intel-rapl:0", "package-0", 1_000_000))

    meters = find_meters(root, PACKAGES)

    assert meters is not None
    assert meters.source is MeterSource.POWERCAP
    assert meters.read(5.0) == MeterReading(5.0, {"intel-rapl:0": 1.0})
    assert Meters(meters.zones).packages == {0}
    meters.close()


def test_zones_are_values() -> None:
    one = Zone(name="a", kind=ZoneKind.PSYS, range_joules=1.0)

    assert len({one, Zone(name="a", kind=ZoneKind.PSYS, range_joules=1.0)}) == 1


# Run times


def qemu(
    proc: Path, pid: int, *vcpus_ns: int, ticks: tuple[int, int] = (300, 50)
) -> None:
    """Lay out a process with an odd name."""
    files: dict[str, object] = {f"task/{pid}/comm": "qemu-kvm", "comm": "qemu-kvm"}
    for number, ran_ns in enumerate(vcpus_ns):
        files[f"task/{pid + 1 + number}/comm"] = f"CPU {number}/KVM"
        files[f"task/{pid + 1 + number}/schedstat"] = f"{ran_ns} 5 6"
    stat = f"{pid} (qemu (kvm) S) S {' '.join('0' * 10)} {ticks[0]} {ticks[1]} 9 9"
    lay_out(proc / str(pid), {**files, "stat": stat})


def test_vcpus_are_threads_by_name_whatever_the_program_is_called(
    tmp_path: Path,
) -> None:
    """Sustainable-computing-io/kepler#2276: /usr/libexec/qemu-kvm was not found."""
    qemu(tmp_path, 100, 1_000_000_000, 2_000_000_000)
    times = QemuTimes(tmp_path)

    found = times.read({FW: (100, 2)})

    tick_ns = 10**9 // os.sysconf("SC_CLK_TCK")
    assert found == {
        FW: ThreadTimes(
            {0: 1_000_000_000, 1: 2_000_000_000}, 350 * tick_ns - 3_000_000_000
        )
    }
    times.close()


def test_the_time_of_other_threads_does_not_go_back(tmp_path: Path) -> None:
    qemu(tmp_path, 100, 1_000_000_000)
    times = QemuTimes(tmp_path)
    before = times.read({FW: (100, 1)})[FW].others

    qemu(tmp_path, 100, 1_004_000_000)

    assert times.read({FW: (100, 1)})[FW].others == before
    times.close()


def test_a_plugged_vcpu_is_found(tmp_path: Path) -> None:
    qemu(tmp_path, 100, 1)
    times = QemuTimes(tmp_path)
    times.read({FW: (100, 1)})
    qemu(tmp_path, 100, 1, 2)

    assert times.read({FW: (100, 2)})[FW].vcpus == {0: 1, 1: 2}
    times.close()


def test_a_vcpu_that_qemu_names_later_is_found(tmp_path: Path) -> None:
    qemu(tmp_path, 100, 1)
    times = QemuTimes(tmp_path)
    assert times.read({FW: (100, 2)})[FW].vcpus == {0: 1}
    qemu(tmp_path, 100, 1, 2)

    assert times.read({FW: (100, 2)})[FW].vcpus == {0: 1, 1: 2}
    times.close()


def test_a_process_that_ended_is_left_out(tmp_path: Path) -> None:
    times = QemuTimes(tmp_path)
    qemu(tmp_path, 100, 1)
    lay_out(tmp_path, {"100/stat": "nonsense"})

    assert times.read({FW: (100, 1), DomainId("gone"): (4_000, 1)}) == {}


def test_many_threads_do_not_keep_files_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.sampling.qemu_times._MOST_OPEN", 1)
    qemu(tmp_path, 100, 1, 2, 3)
    before = len(list(Path("/proc/self/fd").iterdir()))
    times = QemuTimes(tmp_path)

    assert times.read({FW: (100, 3)})[FW].vcpus == {0: 1, 1: 2, 2: 3}
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_the_kernel_has_run_times_of_threads() -> None:
    """The real /proc has the form that the imitated one has."""
    data = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat").read_text()

    assert len(data.split()) == 3
    assert int(data.split()[0]) >= 0


def test_idle_time(tmp_path: Path) -> None:
    (tmp_path / "uptime").write_text("100.00 250.50\n")

    assert IdleTime(tmp_path).read() == 250.5
    assert IdleTime().read() is not None
    assert IdleTime(tmp_path / "none").read() is None
