# SPDX-License-Identifier: Apache-2.0
"""What is tried with each domain in a private libvirtd.

Nothing is started: libvirtd checks a definition and completes it with addresses and
defaults. Only what it accepts is tried. It must then accept each result of the product,
and a definition that the product's own calls have changed and restored must be what it
was, as libvirtd returns it.

KVM domains are defined as emulated ones, so that the results do not depend on the
machine. libvirtd runs as an unprivileged user, in a directory that is removed.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

import libvirt

from domain_templates.elements import drop_all, drop_empty
from orchestrator.domain_xml.document import parse_document, render_document
from orchestrator.domain_xml.metadata import parse_settings
from orchestrator.domain_xml.note import NOTE_URI
from orchestrator.domain_xml.parse import parse_domain
from orchestrator.errors import HypervisorError
from orchestrator.hypervisor.bounded_call import call_within
from orchestrator.hypervisor.descriptions import Scope
from orchestrator.hypervisor.libvirt_errors import translated
from orchestrator.hypervisor.operator import OperatorConnection
from orchestrator.values.domain import DomainId, PCpu, VCpu
from orchestrator.values.domain_settings import DomainSettings
from scripts.corpus.report import Failed
from scripts.corpus.trials import SETTINGS, UUID, require_channels, require_equal
from tests.rig.libvirtd import SessionHost

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lxml import etree

    from scripts.corpus.report import Report
    from scripts.corpus.trials import Results
    from tests.rig.libvirtd import LibvirtdHost

TIMEOUT_S = 60.0
"""For one trial of one domain, which takes milliseconds."""
ORIGINAL = "libvirtd: original"
ONBOARD = "libvirtd: onboard"
_DEFINITIONS = 5
"""Of a domain, until libvirtd returns what it was given."""
_ID = DomainId(UUID)
_READ = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE


@contextmanager
def private_libvirtd() -> Iterator[LibvirtdTrials]:
    """Run a libvirtd for trials.

    Raises:
        FileNotFoundError: it is not installed.
    """
    host = SessionHost()
    try:
        yield LibvirtdTrials(host)
    finally:
        host.close()


class NotAccepted(Failed):
    """libvirtd refuses what the product made of a domain."""


class LibvirtdTrials:
    """Tries one domain after the other in a libvirtd.

    Synchronization: one thread.
    """

    def __init__(
        self,
        host: LibvirtdHost,
        connect: Callable[..., OperatorConnection] = OperatorConnection,
        *,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """Use a running libvirtd.

        Args:
            host: it is killed and started again when it does not answer.
            connect: opens the product's connection.
            timeout_s: for one trial.
        """
        self._host = host
        self._connect = connect
        self._timeout_s = timeout_s
        self._restarts = 0

    def run(self, results: Results, report: Report) -> None:
        """Try one domain, and what the other trials made of it."""
        self._host.revive()  # it may have crashed
        for name, trial in self._trials(results):
            restarts = self._restarts
            with report.result_of(name), _refused_like_onboarding(report):
                self._within_limit(trial)
            if restarts != self._restarts or ORIGINAL not in report.passed:
                break
        with suppress(Failed, libvirt.libvirtError):  # reported with the next domain
            self._within_limit(self._undefine_all)

    def _trials(self, results: Results) -> Iterator[tuple[str, Callable[[], None]]]:
        yield ORIGINAL, partial(self._settle, _emulated(results.original))
        yield ONBOARD, self._onboard
        yield "libvirtd: set", self._change_settings
        yield "libvirtd: pin", self._pin
        for name, xml in results.changed.items():
            yield f"libvirtd accepts: {name}", partial(self._accept, _emulated(xml))

    def _within_limit(self, trial: Callable[[], None]) -> None:
        """Run one trial.

        Raises:
            Failed: it failed, or libvirtd did not answer, and was started again.
        """
        try:
            call_within(self._timeout_s, trial)
        except TimeoutError:
            self._restarts += 1
            self._host.libvirtd.kill()  # which also ends the call
            self._host.revive()
            limit = f"{self._timeout_s:g} s"
            raise Failed(f"libvirtd does not answer within {limit}") from None

    def _settle(self, xml: str) -> None:
        """Define a domain as libvirtd itself returns it.

        libvirtd does so with each change of a definition, and may complete it again.
        """
        for _ in range(_DEFINITIONS):
            self._define(xml)
            before, xml = xml, self._read()
            if before == xml:
                return
        raise HypervisorError("libvirtd changes the definition again and again")

    def _define(self, xml: str) -> None:
        self._undefine_all()
        with translated():
            self._host.connection.defineXML(xml)

    def _undefine_all(self) -> None:
        for domain in self._host.connection.listAllDomains(0):
            # The file, if there is one, is not libvirtd's.
            domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM)

    def _accept(self, xml: str) -> None:
        """Require that libvirtd accepts XML as a definition.

        Raises:
            NotAccepted: it does not.
        """
        try:
            self._define(xml)
        except HypervisorError as error:
            raise NotAccepted(f"libvirtd refuses it: {error}") from error

    def _read(self) -> str:
        domain = self._host.connection.lookupByUUIDString(UUID)
        return str(domain.XMLDesc(_READ))

    def _onboard(self) -> None:
        """Give the domain all channels, and take them away again."""
        before = self._read()
        with self._connect(self._host.uri, change_timeout_s=_NEVER_S) as operator:
            try:
                change = operator.onboard(_ID, None, Scope.CONFIG)
            except HypervisorError:  # no port, or no place for a controller
                _require_restored(before, self._read())
                raise
            require_channels(parse_domain(self._read()))
            # Not those that were onboarded before.
            operator.offboard(_ID, frozenset(change.config), Scope.CONFIG)
        _require_restored(before, self._read())

    def _change_settings(self) -> None:
        """Set limits and a policy of the domain, and remove them again."""
        before = self._read()
        with self._connect(self._host.uri) as operator:
            operator.write_settings(_ID, {False: SETTINGS})
            if parse_settings(self._read()).settings != SETTINGS:
                raise Failed("the settings are not in the metadata")
            if parse_settings(before).settings is None:
                operator.write_settings(_ID, {False: DomainSettings()})
                _require_restored(before, self._read())

    def _pin(self) -> None:
        """Pin one vCPU; nothing else may change."""
        before = self._read()
        with self._connect(self._host.uri) as operator:
            operator.pin(_ID, VCpu(0), {PCpu(0)}, config=True)
        after = self._read()
        pin = parse_document(after).find("cputune/vcpupin[@vcpu='0'][@cpuset='0']")
        if pin is None:
            raise Failed("the vCPU is not pinned")
        require_equal(_without_pin(before), _without_pin(after))
        self._accept(after)


_NEVER_S = 2 * TIMEOUT_S
"""The product's limit, which must not be the one that ends a trial."""


@contextmanager
def _refused_like_onboarding(report: Report) -> Iterator[None]:
    """Count a result that libvirtd does not accept as refused, if it must refuse it.

    Where it refused to onboard the original, its machine has no slot for the controller
    that the channels need.

    Raises:
        HypervisorError: libvirtd refused to onboard the original.
        NotAccepted: it did not.
    """
    try:
        yield
    except NotAccepted as failure:
        if ONBOARD in report.refused:
            raise HypervisorError(str(failure)) from failure
        raise


def _emulated(xml: str) -> str:
    root = parse_document(xml)
    if root.get("type") == "kvm":
        root.set("type", "qemu")
    return render_document(root)


def _require_restored(before: str, after: str) -> None:
    """Require the same definition, except for what has no effect.

    libvirt keeps an empty <metadata>, and multifunction='on' of a device that shared
    its PCI slot with a controller. A note of an earlier onboarding is brought up to
    date.

    Raises:
        Failed: it differs.
    """
    old, new = parse_document(before), parse_document(after)
    if old.find(_NOTE) is not None:
        for root in (old, new):
            drop_all(root, _NOTE)
    metadata = new.find("metadata")
    if old.find("metadata") is None and metadata is not None and not len(metadata):
        new.remove(metadata)
    single = {_place(it) for it in old.iter("address") if _MULTIPLE not in it.attrib}
    for address in new.iter("address"):
        if _place(address) in single:
            address.attrib.pop(_MULTIPLE, "")
    require_equal(render_document(old), render_document(new))


_MULTIPLE = "multifunction"
_NOTE = f"metadata/{{{NOTE_URI}}}*"


def _place(address: etree._Element) -> tuple[tuple[str, str], ...]:
    keys = ((str(key), str(value)) for key, value in address.items())
    return tuple(sorted(it for it in keys if it[0] != _MULTIPLE))


def _without_pin(xml: str) -> str:
    root = parse_document(xml)
    drop_all(root, "cputune/vcpupin[@vcpu='0']")
    drop_empty(root, "cputune")
    return render_document(root)
