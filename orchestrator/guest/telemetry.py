# SPDX-License-Identifier: Apache-2.0
"""The load of each vCPU, as a DPDK application counts it.

A vCPU that polls is always busy for the guest's kernel. DPDK applications that count
the cycles in which they found packets report them on their telemetry socket (DPDK 23.03
and later; testpmd does with --record-core-cycles).

Source: lib/telemetry and eal_common_lcore.c of DPDK: SOCK_SEQPACKET; a greeting, then
one JSON document for each command.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from orchestrator.errors import ConfigError
from orchestrator.guest.load import CpuTimes

TELEMETRY_SOCKET = Path("/var/run/dpdk/rte/dpdk_telemetry.v2")
"""Of an application with the default file prefix, that runs as root."""
_TIMEOUT_S = 1.0
_GREETING_BYTES = 1_024
_HINT = "start the application first; its option --file-prefix is part of the path"


class DpdkTelemetry:
    """Reads cycle counters from a running application.

    Synchronization: one thread.
    """

    def __init__(self, path: Path) -> None:
        """Connect at the first reading."""
        self._path = path
        self._socket: socket.socket | None = None
        self._most_bytes = 0

    def read_times(self) -> dict[int, CpuTimes]:
        """Read the cycles of each vCPU that one lcore is pinned to.

        Raises:
            ConfigError: no application answers, or it counts no cycles.
        """
        try:
            times = self._read_all()
        except (OSError, ValueError, KeyError, TypeError) as error:
            self.close()
            text = f"cannot read loads from {self._path}: {error}"
            raise ConfigError(text, hint=_HINT) from error
        if not times:
            raise ConfigError(
                f"cannot read loads from {self._path}: the application counts no busy"
                " cycles",
                hint="testpmd counts them with --record-core-cycles",
            )
        return times

    def close(self) -> None:
        """Disconnect; the next reading connects again."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def _read_all(self) -> dict[int, CpuTimes]:
        times = {}
        for lcore in self._ask("/eal/lcore/list"):
            info = self._ask(f"/eal/lcore/info,{int(lcore)}")
            cpus, total = info["cpuset"], int(info.get("total_cycles", 0))
            if len(cpus) == 1 and total:
                busy = int(info.get("busy_cycles", 0))
                times[int(cpus[0])] = CpuTimes(busy=busy, total=total)
        return times

    def _ask(self, command: str) -> Any:  # noqa: ANN401 - a JSON document
        connected = self._socket or self._connect()
        connected.sendall(command.encode())
        name = command.partition(",")[0]
        answer = json.loads(connected.recv(self._most_bytes))[name]
        if answer is None:  # an unknown command
            raise ValueError(f"no {name}: DPDK 23.03 or later is required")
        return answer

    def _connect(self) -> socket.socket:
        connected = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket = connected
        connected.settimeout(_TIMEOUT_S)
        connected.connect(str(self._path))
        greeting = json.loads(connected.recv(_GREETING_BYTES))
        self._most_bytes = int(greeting["max_output_len"])
        return connected
