# SPDX-License-Identifier: Apache-2.0
"""vmpowerd beside libvirt's test driver, whose domains have processes nevertheless.

    python -m tests.daemon.with_processes OPTIONS

The test driver runs domains without QEMU. Here the process of the domain NAME is the
one that the file qemu/NAME.pid in the run directory names, as libvirt's would.
"""

from __future__ import annotations

import sys
from pathlib import Path

from orchestrator import daemon
from orchestrator.__main__ import main
from orchestrator.hypervisor.qemu_process import QemuProcesses


class ProcessesOfFiles(QemuProcesses):
    """Finds the process of a domain in the run directory, whatever the URI is."""

    def __init__(self, _uri: str) -> None:
        run_dir = Path(sys.argv[sys.argv.index("--run-dir") + 1])
        super().__init__(f"qemu:///system?socket={run_dir / 'socket'}")


if __name__ == "__main__":
    vars(daemon)["QemuProcesses"] = ProcessesOfFiles
    sys.exit(main())
