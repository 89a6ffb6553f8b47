# SPDX-License-Identifier: Apache-2.0
"""What a domain needs of its host."""

from __future__ import annotations

from pathlib import Path

from domain_templates.needs import HostNeeds, Needed, read_needs

DOMAIN = """\
<domain type='kvm'>
  <name>r</name>
  <vcpu cpuset='1-2'>2</vcpu>
  <cputune>
    <vcpupin vcpu='0' cpuset='5'/>
    <vcpupin vcpu='1' cpuset='invalid'/>
    <emulatorpin cpuset='0'/>
    <iothreadpin iothread='1' cpuset='7'/>
  </cputune>
  <numatune><memory mode='strict' nodeset='1'/></numatune>
  <os>
    <kernel>/boot/vmlinuz</kernel>
    <loader>/fw/code.fd</loader>
    <nvram template='/fw/vars.fd'>/created/r.fd</nvram>
  </os>
  <devices>
    <disk type='file'><source file='/a.img'/><target dev='vda'/></disk>
    <disk type='block'><source dev='/dev/b'/><target dev='vdb'/></disk>
    <disk type='file' device='cdrom'>
      <source file='/c.iso' startupPolicy='optional'/><target dev='sda'/>
    </disk>
    <disk type='network'>
      <source protocol='nbd' name='d'/><target dev='vdc'/>
    </disk>
    <interface type='network'><source network='lan'/></interface>
    <interface type='network'><source network='lan'/></interface>
    <interface type='bridge'><source bridge='br0'/></interface>
    <interface type='direct'><source dev='eth0' mode='bridge'/></interface>
    <interface type='vhostuser'>
      <source type='unix' path='/vhu/server' mode='server'/>
    </interface>
    <interface type='vhostuser'>
      <source type='unix' path='/vhu/client' mode='client'/>
    </interface>
    <interface type='hostdev'><source>
      <address type='pci' domain='0x0000' bus='0x3b' slot='0x02' function='0x1'/>
    </source></interface>
    <hostdev mode='subsystem' type='pci'><source>
      <address domain='0' bus='96' slot='0' function='0'/>
    </source></hostdev>
    <hostdev mode='subsystem' type='pci'><source>
      <address bus='invalid'/>
    </source></hostdev>
    <channel type='unix'><source mode='bind' path='/sockets/r.0'/></channel>
    <channel type='unix'><source mode='bind' path='/sockets/r.1'/></channel>
    <channel type='unix'><source mode='bind'/></channel>
    <channel type='unix'><source mode='connect' path='/other/s'/></channel>
    <serial type='file'><source path='/logs/r.log'/></serial>
    <serial type='dev'><source path='/dev/ttyS0'/></serial>
  </devices>
</domain>
"""


def test_all_needs_of_a_domain_are_read() -> None:
    def needed(user: str, path: str) -> Needed:
        return Needed(user=user, path=Path(path))

    assert read_needs(DOMAIN) == HostNeeds(
        is_kvm=True,
        cpus=frozenset({0, 1, 2, 5, 7}),
        nodes=frozenset({1}),
        networks=("lan",),
        links=("br0", "eth0"),
        functions=("0000:3b:02.1", "0000:60:00.0"),
        files=(
            needed("kernel", "/boot/vmlinuz"),
            needed("firmware", "/fw/code.fd"),
            needed("firmware variables", "/fw/vars.fd"),
            needed("disk vda", "/a.img"),
            needed("disk vdb", "/dev/b"),
            needed("vhost-user socket", "/vhu/client"),
        ),
        directories=(
            needed("channel", "/sockets"),
            needed("serial", "/logs"),
            needed("vhost-user socket", "/vhu"),
        ),
    )


def test_a_domain_without_needs_has_none() -> None:
    needs = read_needs("<domain type='qemu'><name>r</name></domain>")
    assert not needs.is_kvm
    assert not any((needs.cpus, needs.nodes, needs.files, needs.directories))
