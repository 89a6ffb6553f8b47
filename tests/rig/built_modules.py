# SPDX-License-Identifier: Apache-2.0
"""Linux's drivers for Intel processors, built as modules on imitated registers.

QEMU does not emulate the registers that intel_pstate, intel_uncore_frequency and
intel_rapl use.
``imitated_msr/`` holds a module that does, and for each driver a file that includes the
driver's unchanged source and redirects its accesses there. That source comes from
Debian's package of Linux, the headers from the packages of the guests' kernel.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path, PurePosixPath

from examples.guests.cache import cache_directory, cached, digest
from examples.guests.kernel import CACHE_NAME, Kernel, fetch_kernel
from examples.guests.packages import Archive, UnavailableError, run

_DIRECTORY = Path(__file__).with_name("imitated_msr")
_UNCORE = "drivers/platform/x86/intel/uncore-frequency"
_DRIVERS = (
    "drivers/cpufreq/intel_pstate.c",
    "drivers/powercap/intel_rapl_msr.c",
    f"{_UNCORE}/uncore-frequency.c",
    f"{_UNCORE}/uncore-frequency-common.c",
    f"{_UNCORE}/uncore-frequency-common.h",
)
# Included by intel_pstate.c, and not part of the headers: for notifications, which the
# registers do not send.
_MISSING_HEADER = "drivers/thermal/intel/thermal_interrupt.h"


def fetch_kernel_with_imitated_msr() -> Kernel:
    """Return the guests' kernel with these modules; build them if necessary.

    That downloads headers (15 MB) and source (140 MB), of which a few files are kept.

    Raises:
        UnavailableError: something is not cached and cannot be downloaded.
        GuestError: the modules cannot be built.
    """
    kernel = fetch_kernel()
    sources = sorted(_DIRECTORY.iterdir())
    # They are valid for one release of the kernel.
    key = digest([kernel.release, *(path.read_bytes() for path in sources)])
    built = cache_directory() / f"kernel-modules-{key}"
    if not built.exists():
        drivers = _fetch_drivers(kernel)
        headers = _fetch_headers(kernel)
        cached(built.name, lambda target: _build(kernel, drivers, headers, target))
    return replace(kernel, built=built)


def _fetch_drivers(kernel: Kernel) -> Path:
    version = ".".join(kernel.release.split(".")[:2])

    def extract(target: Path) -> None:
        target.mkdir()
        package = target.with_name("package")
        source = f"linux-source-{version}"
        Archive().unpack([source], package, members=[f"*/{source}.tar.xz"])
        names = [f"{source}/{name}" for name in _DRIVERS]
        # With --occurrence, tar ends when it has them all.
        archive = package / f"usr/src/{source}.tar.xz"
        options = ["--strip-components=1", "--occurrence=1", "--no-same-owner"]
        run(["tar", "-xJf", str(archive), *options, *names], cwd=target)
        shutil.rmtree(package)

    return cached(f"kernel-drivers-{kernel.release}-{digest(_DRIVERS)}", extract)


def _fetch_headers(kernel: Kernel) -> Path:
    def unpack(target: Path) -> None:
        archive, own = Archive(), f"linux-headers-{kernel.release}"
        try:
            common = archive.find_dependency(own, "linux-headers-")
            tools = archive.find_dependency(own, "linux-kbuild-")
            archive.unpack([own, common, tools], target)
        except UnavailableError as error:
            raise UnavailableError(
                f"{error}; if the archive has a newer kernel by now, delete "
                f"{cache_directory() / CACHE_NAME} to download it"
            ) from error

    return cached(f"kernel-headers-{kernel.release}", unpack)


def _build(kernel: Kernel, drivers: Path, headers: Path, target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent) as name:
        directory = Path(name)
        shutil.copytree(_DIRECTORY, directory, dirs_exist_ok=True)
        for driver in _DRIVERS:
            shutil.copy(drivers / driver, directory / PurePosixPath(driver).name)
        # What its path begins with in the driver must exist, too.
        (directory / "include").mkdir()
        missing = directory / _MISSING_HEADER
        missing.parent.mkdir(parents=True)
        missing.touch()
        (common,) = (headers / "usr/src").glob("linux-headers-*-common")
        run(
            [
                *("make", "-s", "-C", str(common), f"M={directory}", "modules"),
                f"O={headers}/usr/src/linux-headers-{kernel.release}",
                # No type information: it takes a tool that is not installed.
                *("ARCH=x86", "CC=gcc", "CONFIG_DEBUG_INFO_BTF_MODULES="),
            ]
        )
        target.mkdir()
        for module in directory.glob("*.ko"):
            run(
                ["strip", "--strip-debug", "-o", str(target / module.name), str(module)]
            )
