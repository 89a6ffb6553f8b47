"""The daemon, its sockets, its configuration, and who may speak to it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import orchestrator
from cli.doctor.examination import check
from cli.doctor.facts.accounts import Accounts, Person
from cli.doctor.facts.daemon import Configuration, Daemon, Status
from cli.doctor.facts.service import Answer, Service, SocketFile
from cli.doctor.finding import error, info, warning
from orchestrator.values.domain import MAX_SOCKET_PATH_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli.doctor.finding import Finding

_ENTER = 0o005
"""What others need to reach a socket in a directory, and to see that it is there."""
_READING = 0o006
_CONTROL_FOR_OTHERS = 0o007


@check(Configuration)
def configuration_wrong(configuration: Configuration) -> Iterator[Finding]:
    """The configuration cannot be used, so that no daemon starts."""
    if configuration.problem:
        yield error(
            str(configuration.file),
            configuration.problem,
            "correct it; 'vmpowerd --check-config' says whether it is good",
        )


@check(Configuration, Service)
def run_dir_differs(
    configuration: Configuration, service: Service
) -> Iterator[Finding]:
    """The command looks for the daemon where it is not."""
    configured = configuration.config.run_dir
    if service.owner_pid is None and configured != service.run_dir:
        yield error(
            str(service.run_dir),
            f"nobody listens there; the daemon's run_dir is configured as {configured}",
            f"export VMPOWER_RUN_DIR={configured}",
        )


@check(Daemon)
def daemon_unreachable(daemon: Daemon) -> Iterator[Finding]:
    """No daemon answers."""
    if daemon.status is None:
        yield error(
            "vmpowerd", daemon.failure, daemon.hint or "systemctl restart vmpowerd"
        )


@check(Status)
def daemon_outdated(status: Status) -> Iterator[Finding]:
    """The daemon that runs is of another version than this command."""
    version = status.document["daemon"]["version"]
    if version != orchestrator.__version__:
        yield warning(
            "vmpowerd",
            f"version {version} runs, and this is {orchestrator.__version__}",
            "systemctl restart vmpowerd",
        )


@check(Status)
def daemon_troubled(status: Status) -> Iterator[Finding]:
    """What the daemon itself complains about."""
    for problem in status.document["daemon"]["problems"]:
        yield warning("vmpowerd", problem, "see 'journalctl -u vmpowerd'")
    if not status.document["daemon"]["monitor_pid"]:
        yield error(
            "vmpowerd",
            "its monitor does not run: no guest is answered",
            "see 'journalctl -u vmpowerd' for why it ends",
        )


@check(Status)
def daemon_observes(status: Status) -> Iterator[Finding]:
    """The daemon writes no clocks, because it was told so."""
    if status.document["daemon"]["mode"] == "observe":
        yield info(
            "vmpowerd",
            "it observes: no clock is changed",
            'to change that: mode = "enforce" in vmpower.toml',
        )


@check(Service)
def socket_path_long(service: Service) -> Iterator[Finding]:
    """The path of a socket is longer than the kernel takes."""
    for file in (service.control, service.reading):
        size = len(os.fsencode(file.path))
        if size > MAX_SOCKET_PATH_BYTES:
            yield error(
                str(file.path),
                f"it has {size} bytes, a socket's path at most {MAX_SOCKET_PATH_BYTES}",
                "choose a shorter run_dir",
            )


@check(Service)
def socket_stale(service: Service) -> Iterator[Finding]:
    """A socket is there, and nobody listens at it."""
    for file in _files(service):
        if file.answer is Answer.STALE:
            yield warning(
                str(file.path),
                "nobody listens there any more: a daemon was killed",
                "systemctl start vmpowerd (it takes the old socket away)",
            )
        elif file.answer is Answer.NO_SOCKET:
            yield error(
                str(file.path),
                "a file that is no socket has the name of the daemon's",
                f"see whose it is and remove it: rm {file.path}",
            )


def _files(service: Service) -> Iterator[SocketFile]:
    yield service.control
    if service.reading.path != service.control.path:
        yield service.reading


@check(Service)
def socket_mode_wrong(service: Service) -> Iterator[Finding]:
    """Sockets that are closed to those who may read, or open to those who may not."""
    cure = "systemctl restart vmpowerd (it sets the modes itself)"
    if service.exists and service.mode & _ENTER != _ENTER:
        yield warning(
            str(service.run_dir),
            f"mode {service.mode:04o}: only its owner reaches the sockets in it",
            f"chmod 0755 {service.run_dir}",
        )
    control, reading = service.control, service.reading
    if control.mode & _CONTROL_FOR_OTHERS:
        what = f"mode {control.mode:04o}: anybody on this host may set clocks"
        yield error(str(control.path), what, f"chmod 0660 {control.path}; {cure}")
    if reading.mode and reading.mode & _READING != _READING:
        what = f"mode {reading.mode:04o}: not everybody may read the status"
        yield warning(str(reading.path), what, f"chmod 0666 {reading.path}; {cure}")


@check(Service, Person, Accounts)
def control_denied(
    service: Service, person: Person, accounts: Accounts
) -> Iterator[Finding]:
    """This user may look, but not set anything."""
    if person.uid == 0 or service.control.answer is not Answer.DENIED:
        return
    group = accounts.group_name(service.control.gid)
    found = accounts.groups.get(group)
    if found is not None and person.name in found.members:
        cure = (
            f"log in again: {person.name} is in group '{group}', not yet this session"
        )
    elif group == "root":
        cure = "use sudo, or give the socket to a group: chgrp GROUP "
        cure += str(service.control.path)
    else:
        cure = f"usermod -aG {group} {person.name}, then log in again"
    yield warning(
        str(service.control.path),
        f"user '{person.name}' may read the status and set nothing",
        cure,
    )
