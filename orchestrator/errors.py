"""Every error that vmpower raises on purpose, split by who is at fault.

::

    VmpowerError
    ├── ConfigError            the operator: a configuration, an argument, a CPU list
    ├── PacketError            the guest: bytes that are no packet
    ├── SysfsError             the kernel: a file of /sys refused
    │   └── NoCpufreqError     this CPU has no usable cpufreq interface
    ├── JournalError           the restore journal cannot be read or written
    ├── ClaimError             somebody else enforces on this CPU tree
    ├── DomainXmlError         domain XML that cannot be understood or edited
    ├── HypervisorError        libvirt refused a call
    │   ├── HypervisorGone     the connection is lost: reconnect, then ask again
    │   └── DomainGone         the domain ended meanwhile: forget it
    ├── EndpointError          a channel's socket
    │   ├── EndpointRefused    it cannot be connected until somebody changes something
    │   ├── EndpointContended  another program holds the channel
    │   └── EndpointAbsent     nobody listens there (yet)
    ├── PortError              a guest's own end of a channel
    │   ├── PortAbsent         this VM has no such port
    │   ├── PortRefused        another program has it, or we may not open it
    │   ├── HostAbsent         nobody on the host is connected to it
    │   ├── AnswerMissing      the host did not answer in time
    │   └── RequestRefused     the host said no
    ├── HandoffError           main and monitor disagree about a message
    └── ControlError           a request to the control API cannot be done

Facts are attributes, so that no caller parses a message.
"""

from __future__ import annotations

import errno as errno_module


class VmpowerError(Exception):
    """Base of all errors of vmpower; never raised itself."""

    hint: str = ""
    """One sentence that says what to do about it; empty if we do not know."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        if hint:
            self.hint = hint


class ConfigError(VmpowerError):
    """The operator wrote something that cannot be meant; fix it and try again."""


class PacketError(VmpowerError):
    """A guest sent bytes that are no packet; drop them, the channel goes on."""


class SysfsError(VmpowerError):
    """The kernel refused to read or write a file; the path and errno are kept."""

    def __init__(self, path: str, errno: int, doing: str) -> None:
        self.path = path
        self.errno = errno
        word = errno_module.errorcode.get(errno, str(errno))
        super().__init__(f"cannot {doing} {path}: {word}")


class NoCpufreqError(VmpowerError):
    """This CPU's clock cannot be set by us; leave it alone and say why."""


class JournalError(VmpowerError):
    """The restore journal cannot be trusted; nothing may be taken before it is."""


class ClaimError(VmpowerError):
    """Another daemon enforces on this CPU tree; observe, or use another tree."""


class DomainXmlError(VmpowerError):
    """Domain XML that cannot be parsed or edited; skip this domain."""


class HypervisorError(VmpowerError):
    """Libvirt refused a call; ``code`` is libvirt's error number (0: unknown)."""

    def __init__(self, message: str, *, code: int = 0, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = code


class HypervisorGone(HypervisorError):  # noqa: N818
    """The libvirt connection is lost; what was known stays, reconnect."""


class DomainGone(HypervisorError):  # noqa: N818
    """The domain ended while we asked; treat it as stopped."""


class EndpointError(VmpowerError):
    """A channel's socket cannot be used."""


class EndpointRefused(EndpointError):  # noqa: N818
    """Connecting cannot succeed until somebody changes permissions or paths."""


class EndpointContended(EndpointError):  # noqa: N818
    """Another program is connected to the channel; try again with patience."""


class EndpointAbsent(EndpointError):  # noqa: N818
    """Nobody listens at the path; try again soon."""


class PortError(VmpowerError):
    """A guest cannot use its end of a channel."""


class PortAbsent(PortError):  # noqa: N818
    """This VM has no such virtio port; the host must give it one."""


class PortRefused(PortError):  # noqa: N818
    """The port cannot be opened: another program has it, or rights are missing."""


class HostAbsent(PortError):  # noqa: N818
    """Nobody on the host is connected; ask again later."""


class AnswerMissing(PortError):  # noqa: N818
    """The host did not answer in time; whether it did what was asked is not known."""


class RequestRefused(PortError):  # noqa: N818
    """The host said no; asking again helps only if the operator changes something."""


class HandoffError(VmpowerError):
    """A message between main and monitor is malformed; the sender is broken."""


class ControlError(VmpowerError):
    """A request to the daemon cannot be done.

    ``status`` is the HTTP status that says which kind: 404 unknown thing, 409 the
    state forbids it, 403 the caller may not, 503 the daemon is stopping.
    """

    def __init__(self, message: str, *, status: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status
