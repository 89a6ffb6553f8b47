# SPDX-License-Identifier: Apache-2.0
"""The daemon: its configuration, its sockets, and access to them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import orchestrator
from cli.doctor.diagnosis import check, error, info, warning
from cli.doctor.facts.accounts import Accounts, User
from cli.doctor.facts.daemon import Configuration, Daemon, Status
from cli.doctor.facts.service import Service, SocketFile, SocketState
from orchestrator.system.service_unit import log_advice, restart_advice
from orchestrator.values.domain import MAX_SOCKET_PATH_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli.doctor.diagnosis import Finding

_ENTER = 0o005
"""Permissions of a directory for other users to reach a socket in it."""
_READING = 0o006
_CONTROL_FOR_OTHERS = 0o007


@check(Configuration)
def configuration_wrong(configuration: Configuration) -> Iterator[Finding]:
    """The configuration is invalid: the daemon does not start."""
    if configuration.problem:
        yield error(
            "configuration",
            configuration.problem,
            "correct it, then validate it with 'vmpowerd --check-config'",
        )


@check(Configuration, Service)
def run_dir_differs(
    configuration: Configuration, service: Service
) -> Iterator[Finding]:
    """The run directory of the command is not that of the daemon."""
    configured = configuration.config.run_dir
    if service.owner_pid is None and configured != service.run_dir:
        yield error(
            str(service.run_dir),
            f"no daemon listens there; its run_dir is configured as {configured}",
            f"export VMPOWER_RUN_DIR={configured}",
        )


@check(Daemon, Service)
def daemon_unreachable(daemon: Daemon, service: Service) -> Iterator[Finding]:
    """No daemon responds."""
    if daemon.status is None:
        restart = restart_advice(is_unit=service.is_unit)
        yield error("vmpowerd", daemon.failure, daemon.hint or restart)


@check(Status, Service)
def daemon_outdated(status: Status, service: Service) -> Iterator[Finding]:
    """The daemon and this command have different versions."""
    version = status.document["daemon"]["version"]
    if version != orchestrator.__version__:
        yield warning(
            "vmpowerd",
            f"version {version} is running, this command is {orchestrator.__version__}",
            restart_advice(is_unit=service.is_unit),
        )


@check(Status, Service)
def daemon_troubled(status: Status, service: Service) -> Iterator[Finding]:
    """Problems that the daemon reports."""
    log = log_advice(is_unit=service.is_unit)
    for problem in status.document["daemon"]["problems"]:
        yield warning("vmpowerd", problem, log)
    if not status.document["daemon"]["monitor_pid"]:
        yield error(
            "vmpowerd",
            "its monitor process is not running: guests get no answers",
            log,
        )


@check(Status)
def daemon_observes(status: Status) -> Iterator[Finding]:
    """The daemon is configured to change no frequencies."""
    if status.document["daemon"]["mode"] == "observe":
        yield info(
            "vmpowerd",
            "observe mode: no frequency is changed",
            'to change frequencies: mode = "enforce" in vmpower.toml',
        )


@check(Service)
def socket_path_long(service: Service) -> Iterator[Finding]:
    """The path of a socket is longer than the kernel allows."""
    for file in (service.control, service.reading):
        size = len(os.fsencode(file.path))
        if size > MAX_SOCKET_PATH_BYTES:
            yield error(
                str(file.path),
                f"the path has {size} bytes, but at most {MAX_SOCKET_PATH_BYTES} work",
                "choose a shorter run_dir",
            )


@check(Service)
def run_dir_refused(service: Service) -> Iterator[Finding]:
    """Other users can change the run directory or what is in it."""
    if service.refusal and service.owner_pid is None:
        yield error(
            str(service.run_dir),
            f"a daemon of this user refuses it: {service.refusal}",
            service.refusal_fix,
        )


@check(Service)
def socket_stale(service: Service) -> Iterator[Finding]:
    """A socket exists, but no process listens on it."""
    for file in _files(service):
        if file.state is SocketState.STALE:
            yield warning(
                str(file.path),
                "no process listens on it: a daemon was killed",
                "start vmpowerd: it replaces the socket",
            )
        elif file.state is SocketState.NO_SOCKET:
            yield error(
                str(file.path),
                "not a socket, but it has the name of the daemon's",
                f"check what it is, then: rm {file.path}",
            )


def _files(service: Service) -> Iterator[SocketFile]:
    yield service.control
    if service.reading.path != service.control.path:
        yield service.reading


@check(Service)
def socket_mode_wrong(service: Service) -> Iterator[Finding]:
    """Permissions of the sockets are too strict or too open."""
    restart = restart_advice(is_unit=service.is_unit)
    if service.exists and service.mode & _ENTER != _ENTER:
        yield warning(
            str(service.run_dir),
            f"mode {service.mode:04o}: other users cannot reach the sockets in it",
            f"chmod 0755 {service.run_dir}",
        )
    control, reading = service.control, service.reading
    if control.mode & _CONTROL_FOR_OTHERS:
        what = f"mode {control.mode:04o}: any user of this host can set frequencies"
        yield error(str(control.path), what, f"chmod 0660 {control.path}, or {restart}")
    if reading.mode and reading.mode & _READING != _READING:
        what = f"mode {reading.mode:04o}: not all users can read the status"
        yield warning(
            str(reading.path), what, f"chmod 0666 {reading.path}, or {restart}"
        )


@check(Service, User, Accounts)
def control_denied(
    service: Service, user: User, accounts: Accounts
) -> Iterator[Finding]:
    """This user may read the status, but not change anything."""
    if user.uid == 0 or service.control.state is not SocketState.DENIED:
        return
    group = accounts.group_name(service.control.gid)
    found = accounts.groups.get(group)
    if found is not None and user.name in found.members:
        fix = f"log in again: {user.name} is in group '{group}', this session is not"
    elif group == "root":
        fix = 'use sudo, or give the socket to a group: [control] group = "GROUP"'
        fix += " in vmpower.toml, then restart the daemon"
    else:
        fix = f"usermod -aG {group} {user.name}, then log in again"
    yield warning(
        str(service.control.path),
        f"user '{user.name}' may read the status, but not change anything",
        fix,
    )
