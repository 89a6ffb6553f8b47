# SPDX-License-Identifier: Apache-2.0
"""Onboarding and metadata by hand, on real guests that stay in their BIOS."""

from __future__ import annotations

from typing import TYPE_CHECKING

import libvirt
import pytest

from orchestrator.domain_xml.parse import parse_domain
from orchestrator.errors import DomainGone, DomainXmlError, HypervisorError
from orchestrator.hypervisor.descriptions import Scope
from orchestrator.hypervisor.manual_onboarding import Change
from orchestrator.hypervisor.operator import OperatorConnection
from orchestrator.hypervisor.pinning import PinnedDomain
from orchestrator.values.domain import DomainId, PCpu
from orchestrator.values.domain_settings import DomainSettings, Mode
from orchestrator.values.units import KHz

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.rig.embed import EmbedHost

INACTIVE = libvirt.VIR_DOMAIN_XML_INACTIVE
CONTROLLER = "<controller type='virtio-serial' index='0'/>"
CONSOLE = "<console type='pty'><target type='virtio'/></console>"
TWO_PORTS = "<controller type='virtio-serial' index='0' ports='3'/>"
DOMAIN = (
    "<domain type='test'><name>test-ports</name><memory>1024</memory><vcpu>4</vcpu>"
    "<os><type>hvm</type></os><devices>{devices}</devices></domain>"
)
FIXED = {"machine": "pc", "features": ""}
"""Of a domain into which no libvirt can plug a controller: it has no ACPI."""
POLICY = DomainSettings(max_khz=KHz(2_400_000), mode=Mode.OBSERVE)


@pytest.fixture(scope="module")
def operator(embed_host: EmbedHost) -> Iterator[OperatorConnection]:
    with OperatorConnection(embed_host.uri) as connection:
        yield connection


@pytest.fixture
def define(
    define_xml: Callable[[str], libvirt.virDomain],
) -> Callable[..., libvirt.virDomain]:
    def make(
        devices: str = "",
        *,
        name: str = "onboard",
        vcpus: int = 2,
        machine: str = "q35",
        features: str = "",
    ) -> libvirt.virDomain:
        return define_xml(
            f"<domain type='qemu'><name>{name}</name><memory unit='MiB'>32</memory>"
            f"<vcpu>{vcpus}</vcpu><features>{features}</features>"
            f"<os><type arch='x86_64' machine='{machine}'>hvm</type></os>"
            f"<devices>{devices}<memballoon model='none'/></devices></domain>"
        )

    return make


def uuid_of(domain: libvirt.virDomain) -> DomainId:
    return DomainId(domain.UUIDString())


def numbers(domain: libvirt.virDomain, flags: int) -> list[int]:
    return [item.number for item in parse_domain(domain.XMLDesc(flags)).channels]


def targets(xml: str) -> list[int]:
    return [item.number for item in parse_domain(xml).channels]


def both(domain: libvirt.virDomain) -> tuple[str, ...]:
    """Both descriptions, without an empty element that libvirt never removes."""
    texts = (domain.XMLDesc(0), domain.XMLDesc(INACTIVE))
    return tuple(text.replace("  <metadata/>\n", "") for text in texts)


@pytest.mark.rig
def test_onboarding_attaches_channels_and_offboarding_detaches_exactly_these(
    operator: OperatorConnection, define: Callable[..., libvirt.virDomain]
) -> None:
    domain = define(CONTROLLER)
    domain.create()
    uuid, before = uuid_of(domain), both(domain)
    assert operator.onboard(uuid) == Change(live=(0, 1), config=(0, 1))
    assert numbers(domain, 0) == numbers(domain, INACTIVE) == [0, 1]
    assert operator.onboard(uuid) == Change()
    assert operator.offboard(uuid) == Change(live=(0, 1), config=(0, 1))
    assert operator.offboard(uuid) == Change()
    assert both(domain) == before


@pytest.mark.rig
@pytest.mark.parametrize("devices", ["", CONTROLLER])
@pytest.mark.parametrize("vcpus", [1, 31, 61])
def test_controllers_that_libvirt_adds_for_channels_are_removed_with_them(
    operator: OperatorConnection,
    define: Callable[..., libvirt.virDomain],
    devices: str,
    vcpus: int,
) -> None:
    domain = define(devices, vcpus=vcpus)
    before = both(domain)
    operator.onboard(uuid_of(domain))
    assert numbers(domain, INACTIVE) == list(range(vcpus))
    operator.offboard(uuid_of(domain), frozenset({0}))
    assert numbers(domain, INACTIVE) == list(range(1, vcpus))
    operator.offboard(uuid_of(domain))
    assert both(domain) == before


@pytest.mark.rig
def test_a_running_domain_without_ports_is_onboarded_at_its_next_start(
    operator: OperatorConnection, define: Callable[..., libvirt.virDomain]
) -> None:
    domain = define(**FIXED)
    domain.create()
    for scope in (Scope.LIVE, Scope.BOTH, Scope.CURRENT):
        with pytest.raises(HypervisorError, match="2 needed, 0 free, and it cannot"):
            operator.onboard(uuid_of(domain), scope=scope)
    assert numbers(domain, INACTIVE) == []
    change = operator.onboard(uuid_of(domain))
    assert (change.live, change.config, change.waiting) == ((), (0, 1), (0, 1))
    assert "2 needed, 0 free" in change.obstacle
    domain.destroy()
    domain.create()
    assert numbers(domain, 0) == [0, 1]
    assert operator.onboard(uuid_of(domain)) == Change()


@pytest.mark.rig
def test_a_running_domain_gets_as_many_channels_as_it_has_ports_lowest_first(
    operator: OperatorConnection, define: Callable[..., libvirt.virDomain]
) -> None:
    domain = define(TWO_PORTS, vcpus=4, **FIXED)
    domain.create()
    preview = operator.preview(uuid_of(domain))
    assert [item.after.count("poweragent.") for item in preview] == [2, 4]
    change = operator.onboard(uuid_of(domain))
    assert (change.live, change.config) == ((0, 1), (0, 1, 2, 3))
    assert change.waiting == (2, 3)
    assert "4 needed, 2 free" in change.obstacle
    assert numbers(domain, 0) == [0, 1]
    assert numbers(domain, INACTIVE) == [0, 1, 2, 3]
    # Repeating it changes nothing, and still reports what is waiting.
    again = operator.onboard(uuid_of(domain))
    assert (again.live, again.config, again.waiting) == ((), (), (2, 3))
    domain.destroy()
    domain.create()
    assert numbers(domain, 0) == [0, 1, 2, 3]


@pytest.mark.rig
@pytest.mark.parametrize("scope", [Scope.ALL, Scope.LIVE])
def test_a_running_domain_gets_a_controller_where_libvirt_can_plug_one_in(
    operator: OperatorConnection,
    define: Callable[..., libvirt.virDomain],
    embed_host: EmbedHost,
    scope: Scope,
) -> None:
    """Debian 13's libvirt can, Debian 12's cannot."""
    domain = define(TWO_PORTS, vcpus=4, machine="pc", features="<acpi/>")
    domain.create()
    config = (0, 1, 2, 3) if scope is Scope.ALL else ()
    if embed_host.can_plug_controllers():
        change = operator.onboard(uuid_of(domain), scope=scope)
        assert change == Change(live=(0, 1, 2, 3), config=config)
        assert numbers(domain, 0) == [0, 1, 2, 3]
    elif scope is Scope.ALL:
        change = operator.onboard(uuid_of(domain), scope=scope)
        assert (change.live, change.config, change.waiting) == ((0, 1), config, (2, 3))
        assert "cannot be hot plugged" in change.obstacle
    else:
        with pytest.raises(HypervisorError, match="cannot be hot plugged"):
            operator.onboard(uuid_of(domain), scope=scope)
        assert numbers(domain, 0) == []


@pytest.mark.rig
def test_each_scope_changes_the_descriptions_that_it_names_and_no_others(
    operator: OperatorConnection, define: Callable[..., libvirt.virDomain]
) -> None:
    domain = define(CONTROLLER)
    uuid = uuid_of(domain)
    for scope in (Scope.LIVE, Scope.BOTH):
        with pytest.raises(HypervisorError, match="not running"):
            operator.onboard(uuid, scope=scope)
    assert operator.onboard(uuid, frozenset({1}), Scope.CURRENT).config == (1,)
    domain.create()
    assert operator.onboard(uuid, frozenset({0}), Scope.LIVE) == Change(live=(0,))
    assert operator.onboard(uuid, scope=Scope.CONFIG) == Change(config=(0,))
    assert (numbers(domain, 0), numbers(domain, INACTIVE)) == ([0, 1], [0, 1])
    # Onboarding attached channel 1 to the definition before the start.
    assert operator.offboard(uuid, scope=Scope.CURRENT).live == (0, 1)
    assert (numbers(domain, 0), numbers(domain, INACTIVE)) == ([], [0, 1])


@pytest.mark.rig
def test_channels_of_other_programs_are_never_detached(
    operator: OperatorConnection, define: Callable[..., libvirt.virDomain]
) -> None:
    theirs = (
        "<channel type='unix'><source mode='bind'/>"
        "<target type='virtio' name='virtio.serial.port.poweragent.1'/></channel>"
    )
    domain = define(CONTROLLER + theirs)
    domain.create()
    assert operator.onboard(uuid_of(domain)) == Change(live=(0,), config=(0,))
    assert operator.offboard(uuid_of(domain)) == Change(live=(0,), config=(0,))
    assert numbers(domain, 0) == numbers(domain, INACTIVE) == [1]


@pytest.mark.rig
def test_a_failed_onboarding_is_undone(
    operator: OperatorConnection, define: Callable[..., libvirt.virDomain]
) -> None:
    """The invalid number comes last, when libvirt has added a controller already."""
    domain = define()
    before = both(domain)
    with pytest.raises(DomainXmlError):
        operator.onboard(uuid_of(domain), frozenset({0, 5000}))
    assert both(domain) == before
    domain = define(CONTROLLER, name="onboard-2")
    domain.create()
    before = both(domain)
    with pytest.raises(DomainXmlError):
        operator.onboard(uuid_of(domain), frozenset({0, 5000}))
    assert both(domain) == before


@pytest.mark.rig
def test_a_preview_shows_the_channels_and_changes_nothing(
    operator: OperatorConnection, define: Callable[..., libvirt.virDomain]
) -> None:
    domain = define()
    before = both(domain)
    [preview] = operator.preview(uuid_of(domain))
    assert not preview.is_live
    added = set(preview.after.splitlines()) - set(preview.before.splitlines())
    assert any("poweragent.1" in line for line in added)
    assert any('type="virtio-serial"' in line for line in added)
    assert both(domain) == before
    operator.onboard(uuid_of(domain))
    [preview] = operator.preview(uuid_of(domain), is_leaving=True)
    assert "poweragent" in preview.before
    assert "poweragent" not in preview.after


def test_what_fits_goes_to_the_running_domain_and_everything_to_its_definition(
    tmp_path: Path,
) -> None:
    """The test driver attaches nothing, but a preview needs no attaching."""
    node = tmp_path / "node.xml"
    node.write_text(f"<node>{DOMAIN.format(devices=TWO_PORTS)}</node>")
    with OperatorConnection(f"test://{node}") as operator:
        uuid = operator.find("test-ports").uuid
        live, config = operator.preview(uuid)
        assert (live.is_live, config.is_live) == (True, False)
        assert targets(live.after) == [0, 1]
        assert targets(config.after) == [0, 1, 2, 3]
        for scope in (Scope.LIVE, Scope.BOTH, Scope.CURRENT):
            with pytest.raises(HypervisorError, match="4 needed, 2 free"):
                operator.preview(uuid, scope=scope)
        with pytest.raises(HypervisorError, match=r"2 free, and it cannot take .*\("):
            operator.onboard(uuid, scope=Scope.LIVE)
        [config] = operator.preview(uuid, frozenset({2, 5}), Scope.CONFIG)
        assert targets(config.after) == [2, 5]


@pytest.mark.rig
def test_settings_are_written_to_the_running_domain_and_to_its_definition(
    operator: OperatorConnection, define: Callable[..., libvirt.virDomain]
) -> None:
    domain = define()
    domain.create()
    uuid = uuid_of(domain)
    before = both(domain)
    operator.write_settings(uuid, {True: POLICY, False: DomainSettings(turbo=True)})
    found = operator.read_settings(uuid)
    assert found[True].settings == POLICY
    assert found[False].settings == DomainSettings(turbo=True)
    assert list(operator.read_settings(uuid, Scope.CURRENT)) == [True]
    wrong = DomainSettings(min_khz=KHz(3_000_000), max_khz=KHz(2_000_000))
    with pytest.raises(DomainXmlError, match=r"min 3\.00 GHz is above max 2\.00"):
        operator.write_settings(uuid, {True: DomainSettings(), False: wrong})
    assert operator.read_settings(uuid) == found
    operator.write_settings(uuid, {True: DomainSettings(), False: DomainSettings()})
    assert both(domain) == before


@pytest.mark.rig
def test_a_domain_that_matches_several_patterns_is_found_once(
    operator: OperatorConnection, define: Callable[..., libvirt.virDomain]
) -> None:
    for name in ("ob-1", "ob-2", "ob-[x]", "other"):
        define(name=name)
    found = operator.find_all(["ob-?", "ob-2", "ob-1"])
    assert [item.name for item in found] == ["ob-1", "ob-2"]
    assert [item.name for item in operator.find_all(["ob-[x]"])] == ["ob-[x]"]
    for word, message in (
        ("nobody", "no such domain: 'nobody'"),
        ("nob*", r"no domain matches 'nob\*'"),
    ):
        with pytest.raises(DomainGone, match=message):
            operator.find_all(["ob-1", word])


@pytest.mark.rig
def test_pinned_domains_are_listed_with_their_cpus(
    operator: OperatorConnection, define: Callable[..., libvirt.virDomain]
) -> None:
    define(name="floats")
    define(name="pinned").pinVcpuFlags(
        0, (False, True), libvirt.VIR_DOMAIN_AFFECT_CONFIG
    )
    pinned = [it for it in operator.list_pinned() if it.name in ("floats", "pinned")]
    assert pinned == [
        PinnedDomain(name="pinned", is_active=False, pcpus=frozenset({PCpu(1)}))
    ]


@pytest.mark.rig
def test_a_running_domain_with_virtio_consoles_gets_channels_beside_them(
    operator: OperatorConnection, define: Callable[..., libvirt.virDomain]
) -> None:
    domain = define(CONSOLE * 2)
    domain.create()
    before = both(domain)
    uuid = uuid_of(domain)
    assert operator.onboard(uuid) == Change(live=(0, 1), config=(0, 1))
    assert operator.offboard(uuid) == Change(live=(0, 1), config=(0, 1))
    assert both(domain) == before


@pytest.mark.rig
def test_a_domain_with_virtio_consoles_still_starts_after_onboarding(
    operator: OperatorConnection, define: Callable[..., libvirt.virDomain]
) -> None:
    domain = define(CONSOLE * 4, vcpus=28)
    before = sorted(domain.XMLDesc(INACTIVE).splitlines())
    operator.onboard(uuid_of(domain))
    domain.create()
    assert numbers(domain, 0) == list(range(28))
    domain.destroy()
    operator.offboard(uuid_of(domain))
    # libvirt changes the order of controllers when it adds one.
    after = sorted(domain.XMLDesc(INACTIVE).replace("  <metadata/>\n", "").splitlines())
    assert after == before
