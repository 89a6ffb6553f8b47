# SPDX-License-Identifier: Apache-2.0
"""All errors that vmpower raises itself, by the component that caused them.

::

    VmpowerError
    ├── ConfigError            invalid configuration, argument or CPU list
    ├── PacketError            a guest sent invalid bytes
    ├── SysfsError             the kernel refused access to a file of /sys
    ├── NoCpufreqError         a CPU has no usable cpufreq interface
    ├── JournalError           the restore journal cannot be read or written
    ├── StateError             the state file cannot be written
    ├── TreeLockedError        another daemon sets the frequencies of this CPU tree
    ├── DomainXmlError         domain XML that cannot be parsed or edited
    ├── HypervisorError        libvirt refused a call
    │   ├── HypervisorGone     the connection is lost: reconnect, then retry
    │   └── DomainGone         no such domain (any more)
    ├── EndpointError          a channel's socket on the host
    │   ├── EndpointRefused    it cannot be connected until something is changed
    │   ├── EndpointContended  another program is connected to the channel
    │   └── EndpointAbsent     no listener (yet)
    ├── PortError              a channel's port in the guest
    │   ├── PortAbsent         this VM has no such port
    │   ├── PortRefused        in use by another program, or permission denied
    │   ├── HostAbsent         no program on the host is connected to it
    │   ├── AnswerMissing      the host did not answer in time
    │   └── RequestRefused     the host refused the request
    ├── HandoffError           a malformed message between main and monitor
    └── ControlError           a request to the control API failed

Details are attributes, so that no caller has to parse a message.
"""

from __future__ import annotations

import errno as errno_module


class VmpowerError(Exception):
    """Base class of all errors of vmpower; not raised itself."""

    hint: str = ""
    """How to fix it, in one sentence; empty if unknown."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        if hint:
            self.hint = hint


class ConfigError(VmpowerError):
    """Invalid configuration or argument; correct it and retry."""


class PacketError(VmpowerError):
    """A guest sent invalid bytes; they are dropped, the channel stays open."""


class SysfsError(VmpowerError):
    """The kernel refused access to a file; `path` and `errno` say which and why."""

    def __init__(self, path: str, errno: int, doing: str) -> None:
        self.path = path
        self.errno = errno
        word = errno_module.errorcode.get(errno, str(errno))
        super().__init__(f"cannot {doing} {path}: {word}")


class NoCpufreqError(VmpowerError):
    """The frequency of a CPU cannot be set; the CPU is left alone."""


class JournalError(VmpowerError):
    """The restore journal is unusable; no clock group may be taken without it."""


class StateError(VmpowerError):
    """The state file cannot be written: decisions end with this run of the daemon."""


class TreeLockedError(VmpowerError):
    """Another daemon sets the frequencies of this CPU tree; only observe, if at all."""


class DomainXmlError(VmpowerError):
    """Domain XML that cannot be parsed or edited; the domain is skipped."""


class HypervisorError(VmpowerError):
    """Libvirt refused a call; `code` is its error number (0: unknown)."""

    def __init__(self, message: str, *, code: int = 0, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = code


class HypervisorGone(HypervisorError):  # noqa: N818
    """The libvirt connection is lost; what is known of domains stays valid."""


class DomainGone(HypervisorError):  # noqa: N818
    """No such domain, or it was undefined meanwhile; treat it as stopped."""


class EndpointError(VmpowerError):
    """A channel's socket on the host cannot be used."""


class EndpointRefused(EndpointError):  # noqa: N818
    """Connecting fails until a permission or a path is changed."""


class EndpointContended(EndpointError):  # noqa: N818
    """Another program is connected to the channel; retry after a long pause."""


class EndpointAbsent(EndpointError):  # noqa: N818
    """No listener at the path; retry soon."""


class PortError(VmpowerError):
    """A channel's port in the guest cannot be used."""


class PortAbsent(PortError):  # noqa: N818
    """This VM has no such virtio port; it has to be added on the host."""


class PortRefused(PortError):  # noqa: N818
    """The port is in use by another program, or permission is denied."""


class HostAbsent(PortError):  # noqa: N818
    """No program on the host is connected; retry later."""


class AnswerMissing(PortError):  # noqa: N818
    """The host did not answer in time; it may have carried out the request."""


class RequestRefused(PortError):  # noqa: N818
    """The host refused; retrying helps only after the operator changed something."""


class HandoffError(VmpowerError):
    """A malformed message between main and monitor; its sender has a bug."""


class ControlError(VmpowerError):
    """A request to the daemon failed.

    `status` is the HTTP status: 404 not found, 409 not possible in this state, 403
    permission denied, 503 the daemon is stopping.
    """

    def __init__(self, message: str, *, status: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status
