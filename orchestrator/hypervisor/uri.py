# SPDX-License-Identifier: Apache-2.0
"""Valid libvirt connection URIs, and the users that may listen on their channels.

Source: libvirt's "Connection URIs"; drivers and transports as virsh takes them.
"""

from __future__ import annotations

import os
import pwd
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, parse_qs, urlsplit

from orchestrator.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

DEFAULT_URI = "qemu:///system"
_EXAMPLES = (
    "use qemu:///system, qemu:///session, qemu:///embed?root=DIR, test:///FILE"
    " or qemu+unix:///system?socket=PATH"
)
_QEMU_PATHS = frozenset({"/system", "/session", "/embed"})
_QEMU_USERS = ("libvirt-qemu", "qemu")
"""Users that QEMU runs as: on Debian, then on RHEL and SUSE."""


def choose_uri(*candidates: str | None) -> str:
    """Return the first URI that is given, else the same default as virsh.

    The default is LIBVIRT_DEFAULT_URI, else qemu:///system.
    """
    named = next(filter(None, candidates), "")
    return named or os.environ.get("LIBVIRT_DEFAULT_URI") or DEFAULT_URI


def check_uri(uri: str) -> str:
    """Return the URI if it is one of a libvirt on this machine.

    Raises:
        ConfigError: an invalid URI, or one of a remote machine, whose frequencies
            cannot be set from here.
    """
    parts = _split(uri)
    driver, _, transport = parts.scheme.partition("+")
    if driver not in ("qemu", "test"):
        raise ConfigError(f"unsupported libvirt URI '{uri}'", hint=_EXAMPLES)
    if parts.netloc or transport not in ("", "unix"):
        raise ConfigError(
            f"remote libvirt URI '{uri}': the frequencies of a domain's CPUs can only"
            " be set on the host that it runs on",
            hint="run vmpowerd on that host",
        )
    if driver == "qemu" and parts.path not in _QEMU_PATHS:
        raise ConfigError(f"invalid QEMU connection URI '{uri}'", hint=_EXAMPLES)
    if parts.path == "/embed" and not _argument(parts, "root").startswith("/"):
        raise ConfigError(
            f"invalid libvirt URI '{uri}': expected ?root= and an absolute directory"
        )
    return uri


def is_in_process(uri: str) -> bool:
    """Whether the driver runs inside this process, without a daemon."""
    parts = _split(uri)
    return parts.scheme == "test" or parts.path == "/embed"


def trusted_uids(uri: str) -> frozenset[int]:
    """Return the users that may listen on the channel sockets of this libvirt.

    The listener is libvirt's daemon, which binds the socket and passes it to QEMU, or
    with older versions QEMU itself. So these are root, the daemon's own user (embedded
    and session), QEMU's user, and the owner of a libvirt socket that the URI names.

    Raises:
        ConfigError: as `check_uri`.
    """
    parts = _split(check_uri(uri))
    uids = {0, os.geteuid()}
    for user in _QEMU_USERS:
        try:
            uids.add(pwd.getpwnam(user).pw_uid)
        except KeyError:
            continue  # the user of another distribution
    socket = _argument(parts, "socket")
    if socket:
        with suppress(OSError):  # does not exist yet: then no channel does, either
            uids.add(Path(socket).stat().st_uid)
    return frozenset(uids)


class TrustedUids:
    """The users of `trusted_uids`, and those of the configuration.

    Most listeners are root's, or the daemon's own user's. The others are looked up for
    each channel: the users, and the libvirt socket that a URI names, may appear later.

    Synchronization: any thread.
    """

    def __init__(self, uri: str, configured: Iterable[int]) -> None:
        """Look up nothing yet.

        Args:
            uri: of the libvirt.
            configured: further users.
        """
        self._uri = uri
        self._always = frozenset((0, os.geteuid(), *configured))

    def __contains__(self, uid: object) -> bool:
        """Whether a user may listen on a channel's socket."""
        return uid in self._always or uid in trusted_uids(self._uri)


def _split(uri: str) -> SplitResult:
    try:
        return urlsplit(uri)
    except ValueError as error:
        raise ConfigError(
            f"invalid libvirt URI '{uri}': {error}", hint=_EXAMPLES
        ) from error


def _argument(parts: SplitResult, name: str) -> str:
    return parse_qs(parts.query).get(name, [""])[-1]
