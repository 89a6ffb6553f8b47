# SPDX-License-Identifier: Apache-2.0
"""Cockpit's own web service and bridge, with the page of this checkout, without login.

Usage::

    with WebService(directory, run_dir=daemon.run_dir) as service:
        browser.open(service.url)
"""

from __future__ import annotations

import http.client
import json
import pwd
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.rig.waiting import wait_for

if TYPE_CHECKING:
    from types import TracebackType

CHECKOUT = Path(__file__).resolve().parents[2]
PAGE = CHECKOUT / "packaging" / "cockpit"
_SERVICE = "/usr/lib/cockpit/cockpit-ws"
_PATH = "/cockpit/@localhost/vmpower/index.html"


class WebService:
    """One cockpit-ws on the loopback interface, and the bridge that it starts.

    Synchronization: one thread.
    """

    def __init__(self, directory: Path, *, run_dir: Path, user: str = "") -> None:
        """Prepare a directory for it.

        Args:
            directory: empty, for its files.
            run_dir: that of the daemon; the page learns it as an operator would set it.
            user: whose rights the bridge has; empty: those of this process.
        """
        self.url = ""
        self._account = pwd.getpwnam(user) if user else None
        self._log = directory / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self._lay_out(directory, run_dir)
        self._environment = {
            "HOME": str(directory / "home"),
            "XDG_CONFIG_DIRS": str(directory / "config"),
            "XDG_DATA_DIRS": f"{directory / 'data'}:/usr/share",
            "PATH": f"{directory / 'bin'}:/usr/sbin:/usr/bin:/sbin:/bin",
            "PYTHONPATH": str(CHECKOUT),
            "LANG": "C.UTF-8",
        }

    def _lay_out(self, directory: Path, run_dir: Path) -> None:
        for name in ("home", "config/cockpit", "data/cockpit", "bin"):
            (directory / name).mkdir(parents=True)
        (directory / "data/cockpit/vmpower").symlink_to(PAGE)
        override = directory / "config/cockpit/vmpower.override.json"
        override.write_text(json.dumps({"config": {"run_dir": str(run_dir)}}))
        command = directory / "bin/vmpower"
        command.write_text(f'#!/bin/sh\nexec {sys.executable} -m cli "$@"\n')
        command.chmod(0o755)

    def __enter__(self) -> Self:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        account = self._account
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *(_SERVICE, "--no-tls", "--address=127.0.0.1", f"--port={port}"),
                    "--local-session=cockpit-bridge",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=self._environment,
                user=account.pw_uid if account else None,
                group=account.pw_gid if account else None,
                extra_groups=[] if account else None,
            )
        wait_for(lambda: self._answers(port), "cockpit-ws answers")
        self.url = f"http://127.0.0.1:{port}{_PATH}"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait()
        if error is not None:
            sys.stderr.write(self._log.read_text(errors="replace"))

    def _answers(self, port: int) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"cockpit-ws ended: {self._log.read_text()}")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", _PATH)
            return connection.getresponse().status == http.HTTPStatus.OK
        except OSError:
            return False
        finally:
            connection.close()
