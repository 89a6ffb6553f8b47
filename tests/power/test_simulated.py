# SPDX-License-Identifier: Apache-2.0
"""Simulated CPUs: files as the kernel's, only in empty directories."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import ConfigError
from orchestrator.power.simulated import lay_out, switch_cpu
from orchestrator.power.simulated_drivers import (
    DEFAULT_DRIVER,
    DEFAULT_STEPS_KHZ,
    KERNEL_ONLY,
    SIMULATED_DRIVERS,
)
from orchestrator.power.sysfs import CPU_DIR, MARKER, CpuTree
from orchestrator.power.topology import read_topology
from orchestrator.values.domain import PCpu
from tests.power.conftest import read_all

CHOOSE_THEMSELVES = {"amd-pstate-epp", "intel_pstate", "intel_pstate-no-hwp"}
"""Drivers without the kernel's governors."""
each_driver = pytest.mark.parametrize("driver", SIMULATED_DRIVERS)


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The CPU directory of two sockets with each driver, by its name; to read only."""
    directory = tmp_path_factory.mktemp("trees")
    for driver in SIMULATED_DRIVERS:
        lay_out(directory / driver, cpus=2, sockets=2, driver=driver)
    return {driver: directory / driver / CPU_DIR for driver in SIMULATED_DRIVERS}


def read_each(trees: dict[str, Path], name: str) -> dict[str, str]:
    """Read a file of each tree that has it, by driver."""
    found = {driver: tree / name for driver, tree in trees.items()}
    return {d: path.read_text()[:-1] for d, path in found.items() if path.exists()}


def read_numbers(directory: Path) -> dict[str, int]:
    """Read all files of a directory that are numbers."""
    words = {path.name: path.read_text().strip() for path in directory.iterdir()}
    return {name: int(word) for name, word in words.items() if word.isdigit()}


def test_a_cpu_s_directory_links_to_its_clock_group(tmp_path: Path) -> None:
    lay_out(tmp_path, cpus=5, shared=2)
    cpus = tmp_path / CPU_DIR
    links = [str((cpus / f"cpu{n}/cpufreq").readlink()) for n in range(5)]
    assert links == [f"../cpufreq/policy{n}" for n in (0, 0, 2, 2, 4)]
    assert (cpus / "cpu3/cpufreq/affected_cpus").read_text() == "2 3\n"
    assert (cpus / "cpu4/cpufreq/related_cpus").read_text() == "4\n"
    assert (cpus / "present").read_text() == "0-4\n"


def test_cpus_are_divided_among_sockets(tmp_path: Path) -> None:
    lay_out(tmp_path, cpus=8, shared=2, sockets=2)
    locations = read_topology(CpuTree(tmp_path)).locations
    assert [locations[PCpu(n)].package for n in range(8)] == [0, 0, 0, 0, 1, 1, 1, 1]
    assert [locations[PCpu(n)].node for n in range(8)] == [0, 0, 0, 0, 1, 1, 1, 1]
    assert [locations[PCpu(n)].core for n in range(8)] == list(range(8))


def test_a_written_frequency_is_the_current_one(tree: CpuTree) -> None:
    policy = tree.cpu_dir / "cpufreq/policy1"
    (policy / "scaling_setspeed").write_text("1500000\n")
    assert (policy / "scaling_cur_freq").read_text() == "1500000\n"


def test_tables_have_the_kernel_s_format(tree: CpuTree) -> None:
    policy = tree.cpu_dir / "cpufreq/policy0"
    table = (policy / "scaling_available_frequencies").read_text()
    assert table == "".join(f"{khz} " for khz in DEFAULT_STEPS_KHZ) + "\n"
    assert "userspace" in (policy / "scaling_available_governors").read_text().split()


def test_steps_and_governor_can_be_chosen(tmp_path: Path) -> None:
    steps = (1_000_000, 3_000_000, 2_000_000)
    lay_out(tmp_path, cpus=1, steps_khz=steps, governor="ondemand")
    group = read_topology(CpuTree(tmp_path)).groups[0]
    assert group.steps.khz == (3_000_000, 2_000_000, 1_000_000)
    assert not group.steps.has_turbo
    assert group.governor == "ondemand"


def test_each_tree_has_its_own_identity(tmp_path: Path) -> None:
    for name in ("one", "two"):
        lay_out(tmp_path / name, cpus=1)
    one, two = (CpuTree(tmp_path / name) for name in ("one", "two"))
    assert one.is_simulated
    assert one.boot_id() != two.boot_id()


def test_an_empty_marker_stands_for_the_kernel_s_boot(root: Path) -> None:
    (root / MARKER).write_text("")
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert CpuTree(root).boot_id() == boot_id
    assert CpuTree.host().boot_id() == boot_id


def test_drivers_have_the_names_and_modes_of_the_kernel(trees: dict[str, Path]) -> None:
    names = read_each(trees, "cpufreq/policy0/scaling_driver")
    modes = {"amd-pstate-guided": "amd-pstate", "intel_pstate-no-hwp": "intel_pstate"}
    assert names == {driver: modes.get(driver, driver) for driver in trees}
    assert read_each(trees, "amd_pstate/status") == {
        "amd-pstate": "passive",
        "amd-pstate-guided": "guided",
        "amd-pstate-epp": "active",
    }
    assert read_each(trees, "intel_pstate/status") == {
        "intel_cpufreq": "passive",
        "intel_pstate": "active",
        "intel_pstate-no-hwp": "active",
    }


def test_only_drivers_with_governors_have_userspace_and_its_frequency(
    trees: dict[str, Path],
) -> None:
    available = read_each(trees, "cpufreq/policy1/scaling_available_governors")
    governors = read_each(trees, "cpufreq/policy1/scaling_governor")
    frequencies = read_each(trees, "cpufreq/policy1/scaling_setspeed")
    for driver in trees:
        if driver in CHOOSE_THEMSELVES:
            assert available[driver] == "performance powersave"
            assert governors[driver] == "powersave"
            assert frequencies[driver] == "<unsupported>"
        else:
            assert "userspace" in available[driver].split()
            assert governors[driver] == "schedutil"
            assert frequencies[driver].isdigit()


def test_only_acpi_cpufreq_has_a_table(trees: dict[str, Path]) -> None:
    for name in ("scaling_available_frequencies", "bios_limit"):
        assert set(read_each(trees, f"cpufreq/policy0/{name}")) == {"acpi-cpufreq"}


def test_drivers_with_epp_offer_the_kernel_s_words(trees: dict[str, Path]) -> None:
    offered = read_each(
        trees, "cpufreq/policy0/energy_performance_available_preferences"
    )
    words = "default performance balance_performance balance_power power "
    assert offered == dict.fromkeys(
        ("amd-pstate-epp", "intel_cpufreq", "intel_pstate"), words
    )
    chosen = read_each(trees, "cpufreq/policy0/energy_performance_preference")
    assert chosen == dict.fromkeys(offered, "balance_performance")


@pytest.mark.parametrize(
    ("driver", "offered"),
    [
        ("amd-pstate-epp", "performance"),
        (
            "intel_pstate",
            "default performance balance_performance balance_power power ",
        ),
    ],
)
def test_with_governor_performance_the_preference_is_performance(
    tmp_path: Path, driver: str, offered: str
) -> None:
    lay_out(tmp_path, cpus=1, driver=driver, governor="performance")
    policy = tmp_path / CPU_DIR / "cpufreq/policy0"
    assert (policy / "energy_performance_preference").read_text() == "performance\n"
    words = (policy / "energy_performance_available_preferences").read_text()
    assert words == f"{offered}\n"


def test_turbo_switches_are_those_of_each_driver(trees: dict[str, Path]) -> None:
    amd = dict.fromkeys(("amd-pstate", "amd-pstate-guided", "amd-pstate-epp"), "1")
    arm = {"cppc_cpufreq": "0"}  # off after a boot
    assert read_each(trees, "cpufreq/policy0/boost") == amd | arm
    every = {"acpi-cpufreq": "1"} | amd | arm
    assert read_each(trees, "cpufreq/boost") == every
    assert set(read_each(trees, "intel_pstate/no_turbo")) == trees.keys() - every


def test_performance_values_of_cppc_agree_with_frequencies(
    trees: dict[str, Path],
) -> None:
    with_cppc = set(read_each(trees, "cpu1/acpi_cppc/highest_perf"))
    assert with_cppc == {d for d in trees if d.startswith(("amd", "cppc"))}
    for driver in with_cppc:
        cppc = read_numbers(trees[driver] / "cpu1/acpi_cppc")
        policy = read_numbers(trees[driver] / "cpufreq/policy1")
        of_one_khz = cppc["nominal_freq"] * 1_000 // cppc["nominal_perf"]
        is_boosted = policy["boost"] == 1
        highest = cppc["highest_perf" if is_boosted else "nominal_perf"]
        assert cppc["highest_perf"] > cppc["nominal_perf"]
        assert policy["cpuinfo_max_freq"] == highest * of_one_khz
        assert policy["cpuinfo_min_freq"] == cppc["lowest_perf"] * of_one_khz
        assert cppc["lowest_freq"] * 1_000 == policy["cpuinfo_min_freq"]
        nonlinear = cppc["lowest_nonlinear_perf"] * of_one_khz
        assert policy.get("amd_pstate_lowest_nonlinear_freq", nonlinear) == nonlinear


@pytest.mark.parametrize(
    "driver", ["intel_cpufreq", "intel_pstate", "intel_pstate-no-hwp"]
)
def test_percentages_of_intel_pstate_agree_with_frequencies(
    trees: dict[str, Path], driver: str
) -> None:
    policy = read_numbers(trees[driver] / "cpufreq/policy0")
    values = read_numbers(trees[driver] / "intel_pstate")
    high, low = policy["cpuinfo_max_freq"], policy["cpuinfo_min_freq"]
    nominal = SIMULATED_DRIVERS[driver].steps.nominal_khz
    assert policy.get("base_frequency", nominal) == nominal
    assert ("base_frequency" in policy) == (driver != "intel_pstate-no-hwp")
    without_turbo = (nominal - low) // 100_000 + 1
    assert values["num_pstates"] == (high - low) // 100_000 + 1
    assert values["turbo_pct"] == 100 - without_turbo * 100 // values["num_pstates"]
    assert values["min_perf_pct"] == low * 100 // high
    assert ("hwp_dynamic_boost" in values) == (driver == "intel_pstate")


def test_each_package_of_intel_has_uncore_limits(trees: dict[str, Path]) -> None:
    for package in ("package_00_die_00", "package_01_die_00"):
        limits = read_each(trees, f"intel_uncore_frequency/{package}/max_freq_khz")
        assert limits == dict.fromkeys((d for d in trees if "intel" in d), "2400000")


@each_driver
def test_each_cpu_has_idle_states_by_latency(
    trees: dict[str, Path], driver: str
) -> None:
    for cpu in (trees[driver] / "cpu0", trees[driver] / "cpu1"):
        assert (cpu / "power/pm_qos_resume_latency_us").read_text() == "0\n"
        count = len([*cpu.glob("cpuidle/state*")])
        states = [read_numbers(cpu / f"cpuidle/state{n}") for n in range(count)]
        latencies_us = [state["latency"] for state in states]
        assert count > 1
        assert latencies_us == sorted(latencies_us)
        assert not any(state["disable"] for state in states)


@each_driver
def test_a_set_frequency_is_the_current_one(tmp_path: Path, driver: str) -> None:
    lay_out(tmp_path, cpus=1, driver=driver)
    policy = tmp_path / CPU_DIR / "cpufreq/policy0"
    name = "scaling_max_freq" if driver in CHOOSE_THEMSELVES else "scaling_setspeed"
    (policy / name).write_text("1500000\n")
    assert (policy / "scaling_cur_freq").read_text() == "1500000\n"


@each_driver
def test_files_that_take_effect_only_in_the_kernel_exist(
    trees: dict[str, Path], driver: str
) -> None:
    names = {f"/{name}" for name in read_all(trees[driver])}
    inert = SIMULATED_DRIVERS[driver].inert_files
    assert inert
    missing = [name for name in inert if not any(n.endswith(f"/{name}") for n in names)]
    assert missing == []


def test_each_file_that_takes_effect_only_in_the_kernel_is_one_of_a_driver() -> None:
    named = {name for it in SIMULATED_DRIVERS.values() for name in it.inert_files}
    assert named == KERNEL_ONLY.keys()


def test_a_directory_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(ConfigError, match="not empty"):
        lay_out(tmp_path, cpus=1)
    assert read_all(tmp_path) == {"notes": b"mine"}


def test_an_existing_tree_is_not_overwritten(root: Path) -> None:
    before = read_all(root)
    with pytest.raises(ConfigError, match="not empty"):
        lay_out(root, cpus=2)
    assert read_all(root) == before


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="file/sys: Not a directory"):
        lay_out(tmp_path / "file" / "sys", cpus=1)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"cpus": 0}, "invalid number of CPUs 0: expected 1 to 8192"),
        ({"cpus": 8193}, "invalid number of CPUs 8193"),
        ({"cpus": 2, "shared": 0}, "invalid number of CPUs per clock group 0"),
        ({"cpus": 2, "sockets": 0}, "invalid number of sockets 0"),
        ({"cpus": 2, "steps_khz": ()}, "expected at least one frequency"),
        (
            {"cpus": 2, "governor": "warp"},
            "invalid governor 'warp': expected one of conservative",
        ),
        (
            {"cpus": 2, "governor": "userspace", "driver": "intel_pstate"},
            "invalid governor 'userspace': expected one of performance, powersave",
        ),
        (
            {"cpus": 2, "driver": "cpufreq-dt"},
            "invalid scaling driver 'cpufreq-dt': expected one of acpi-cpufreq, amd-",
        ),
        (
            {"cpus": 2, "shared": 2, "driver": "amd-pstate"},
            "invalid number of CPUs per clock group 2: expected 1 with amd-pstate",
        ),
        (
            {"cpus": 2, "steps_khz": (1_000_000,), "driver": "cppc_cpufreq"},
            "invalid steps: cppc_cpufreq has no table of steps",
        ),
    ],
)
def test_invalid_arguments_are_refused(
    tmp_path: Path, arguments: dict[str, Any], word: str
) -> None:
    with pytest.raises(ConfigError, match=word):
        lay_out(tmp_path / "sys", **arguments)
    assert not (tmp_path / "sys").exists()


@pytest.mark.parametrize("driver", [DEFAULT_DRIVER, "cppc_cpufreq"])
def test_taking_a_cpu_offline_and_online_leaves_no_trace(
    tmp_path: Path, driver: str
) -> None:
    lay_out(tmp_path, cpus=4, shared=2, driver=driver)
    before = read_all(tmp_path)
    switch_cpu(tmp_path, 3, is_online=False)
    assert CpuTree(tmp_path).online() == {0, 1, 2}
    assert (tmp_path / CPU_DIR / "offline").read_text() == "3\n"
    assert (tmp_path / CPU_DIR / "cpu3/online").read_text() == "0\n"
    switch_cpu(tmp_path, 3, is_online=True)
    assert read_all(tmp_path) == before


def test_only_simulated_cpus_can_be_switched(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"no such simulated CPU in .*: 4"):
        switch_cpu(root, 4, is_online=False)
    (root / MARKER).unlink()
    with pytest.raises(ConfigError, match=r"no such simulated CPU in .*: 1"):
        switch_cpu(root, 1, is_online=False)
