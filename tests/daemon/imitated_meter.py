# SPDX-License-Identifier: Apache-2.0
"""A powercap zone of plain files that counts on."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

_RANGE_UJ = 262_143_328_850
_STEP_S = 0.05


class ImitatedMeter:
    """The meter of a package that draws constant power while the block is active.

    Synchronization: one thread, beside the one that counts.
    """

    def __init__(self, sysfs_root: Path, *, watts: float) -> None:
        """Lay out the zone.

        Args:
            sysfs_root: of an imitation of /sys.
            watts: what the package draws.
        """
        zone = sysfs_root / "class/powercap/intel-rapl:0"
        zone.mkdir(parents=True)
        (zone / "name").write_text("package-0\n")
        (zone / "max_energy_range_uj").write_text(f"{_RANGE_UJ}\n")
        self._counter = zone / "energy_uj"
        self._watts = watts
        self._energy_uj = 0.0
        self._publish()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._count)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Count no more, as a meter of a virtual machine; may be repeated."""
        self._stop.set()
        self._thread.join()

    def _count(self) -> None:
        last_s = time.monotonic()
        while not self._stop.wait(_STEP_S):
            now_s = time.monotonic()
            self._energy_uj += self._watts * (now_s - last_s) * 1e6
            last_s = now_s
            self._publish()

    def _publish(self) -> None:
        # Not truncated first: a reader always finds a number, of constant length.
        text = f"{round(self._energy_uj) % _RANGE_UJ:012}\n"
        mode = "r+" if self._counter.exists() else "w"
        with self._counter.open(mode, encoding="ascii") as file:
            file.write(text)
