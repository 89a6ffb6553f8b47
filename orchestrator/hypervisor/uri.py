"""Which libvirt connections make sense, and who may listen on their channels.

Source: libvirt's "Connection URIs"; drivers and transports as virsh takes them.
"""

from __future__ import annotations

import os
import pwd
from contextlib import suppress
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, urlsplit

from orchestrator.errors import ConfigError

DEFAULT_URI = "qemu:///system"
_EXAMPLES = (
    "use qemu:///system, qemu:///session, qemu:///embed?root=DIR, test:///FILE"
    " or qemu+unix:///system?socket=PATH"
)
_QEMU_PATHS = frozenset({"/system", "/session", "/embed"})
_QEMU_USERS = ("libvirt-qemu", "qemu")
"""Who QEMU runs as: Debian's name, then RHEL's and SUSE's."""


def choose_uri(*candidates: str | None) -> str:
    """Choose the libvirt to speak to: the first that is named, then what virsh takes.

    That is LIBVIRT_DEFAULT_URI, else qemu:///system.
    """
    named = next(filter(None, candidates), "")
    return named or os.environ.get("LIBVIRT_DEFAULT_URI") or DEFAULT_URI


def check_uri(uri: str) -> str:
    """Accept the URI of a libvirt on this machine.

    Raises:
        ConfigError: it is no such URI, or leads to another machine, whose clocks
            cannot be reached from here.
    """
    parts = _split(uri)
    driver, _, transport = parts.scheme.partition("+")
    if driver not in ("qemu", "test"):
        raise ConfigError(f"'{uri}' is no URI that vmpower can use", hint=_EXAMPLES)
    if parts.netloc or transport not in ("", "unix"):
        raise ConfigError(
            f"'{uri}' is a remote libvirt, but clocks are local:"
            " a domain's CPUs can only be set on the host it runs on",
            hint="run vmpowerd on that host",
        )
    if driver == "qemu" and parts.path not in _QEMU_PATHS:
        raise ConfigError(f"'{uri}' names no QEMU connection", hint=_EXAMPLES)
    if parts.path == "/embed" and not _argument(parts, "root").startswith("/"):
        raise ConfigError(f"'{uri}' needs ?root= and an absolute directory")
    return uri


def is_in_process(uri: str) -> bool:
    """Say whether the driver runs inside our own process, without a daemon."""
    parts = _split(uri)
    return parts.scheme == "test" or parts.path == "/embed"


def trusted_uids(uri: str) -> frozenset[int]:
    """Say which users may listen on the channel sockets of this libvirt.

    The listener is libvirt's daemon, which binds the socket and hands it to QEMU, or
    with older ones QEMU itself: root, ourselves (embedded and session), QEMU's user,
    and the owner of a libvirt socket that the URI names.

    Raises:
        ConfigError: as `check_uri`.
    """
    parts = _split(check_uri(uri))
    uids = {0, os.geteuid()}
    for user in _QEMU_USERS:
        try:
            uids.add(pwd.getpwnam(user).pw_uid)
        except KeyError:
            continue  # the name of another distribution
    socket = _argument(parts, "socket")
    if socket:
        with suppress(OSError):  # not there yet: then there are no channels either
            uids.add(Path(socket).stat().st_uid)
    return frozenset(uids)


def _split(uri: str) -> SplitResult:
    try:
        return urlsplit(uri)
    except ValueError as error:
        raise ConfigError(f"'{uri}' is no URI: {error}", hint=_EXAMPLES) from error


def _argument(parts: SplitResult, name: str) -> str:
    return parse_qs(parts.query).get(name, [""])[-1]
