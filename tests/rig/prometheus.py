# SPDX-License-Identifier: Apache-2.0
"""Debian's Prometheus: the programs, unpacked, and a server for one test."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from examples.guests.cache import cached
from examples.guests.packages import Archive, find_codename
from tests.rig.waiting import DEADLINE_S, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

_END_TIMEOUT_S = 30.0
_CONFIG = """\
global:
  scrape_interval: 1s
  evaluation_interval: 1s
rule_files: [{rules}]
scrape_configs:
  - job_name: vmpower
    static_configs:
      - targets: ["{target}"]
"""


def find_program(name: str) -> Path:
    """Return `prometheus` or `promtool`, downloaded if it is not installed.

    Raises:
        UnavailableError: it cannot be downloaded.
    """
    if installed := shutil.which(name):
        return Path(installed)
    return cached("prometheus", _unpack) / "usr/bin" / name


def _unpack(path: Path) -> None:
    is_one_package = find_codename() == "bookworm"
    packages = ["prometheus"] if is_one_package else ["prometheus", "promtool"]
    Archive().unpack(packages, path, members=("./usr/bin/prom*",))


class Prometheus:
    """A server that scrapes one daemon each second.

    Synchronization: one thread.
    """

    def __init__(self, port: int) -> None:
        self._port = port

    def _get(self, path: str, **query: str) -> Any:
        connection = http.client.HTTPConnection(
            "127.0.0.1", self._port, timeout=DEADLINE_S
        )
        try:
            connection.request("GET", f"/api/v1/{path}?{urlencode(query)}")
            document = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        assert document["status"] == "success", document
        return document["data"]

    def is_ready(self) -> bool:
        with contextlib.suppress(OSError, ValueError):
            return bool(self._get("status/buildinfo"))
        return False

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the samples that an expression has now."""
        found: list[dict[str, Any]] = self._get("query", query=expression)["result"]
        return found

    def query_range(
        self, expression: str, start_s: float, end_s: float, step_s: float
    ) -> list[dict[str, Any]]:
        """Return the series that an expression had in some time."""
        query = {"start": str(start_s), "end": str(end_s), "step": str(step_s)}
        found: list[dict[str, Any]] = self._get(
            "query_range", query=expression, **query
        )["result"]
        return found

    def rules(self) -> list[dict[str, Any]]:
        """Return all rules that are loaded, with their health."""
        groups = self._get("rules")["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def firing(self) -> set[str]:
        """Return the names of the alerts that fire."""
        alerts = self._get("alerts")["alerts"]
        return {it["labels"]["alertname"] for it in alerts if it["state"] == "firing"}


@contextlib.contextmanager
def running(
    directory: Path, port: int, *, target: str, rules: Path
) -> Iterator[Prometheus]:
    """Run a server on a port of the loopback.

    Args:
        directory: where its configuration and its data are.
        port: a free one.
        target: what it scrapes.
        rules: a file with rules.
    """
    config, log = directory / "prometheus.yml", directory / "prometheus.log"
    config.write_text(_CONFIG.format(target=target, rules=rules), encoding="utf-8")
    command = [
        str(find_program("prometheus")),
        f"--config.file={config}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    with (
        log.open("w", encoding="utf-8") as output,
        subprocess.Popen(command, stdout=output, stderr=output) as process,
    ):
        server = Prometheus(port)
        try:
            wait_for(server.is_ready, "Prometheus is ready")
            yield server
        except BaseException as error:
            error.add_note(log.read_text(encoding="utf-8"))
            raise
        finally:
            process.terminate()
            try:
                process.wait(_END_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
