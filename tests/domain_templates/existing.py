# SPDX-License-Identifier: Apache-2.0
"""XML of an existing domain, with everything that belongs to that domain only."""

from __future__ import annotations

DESCRIPTION = "<t:template xmlns:t='urn:vmpower:template:1' summary='Described'/>"

EXISTING = """\
<domain type='kvm'>
  <name>old</name>
  <uuid>3f1c2a9e-7d10-4f6b-9c55-0a1b2c3d4e5f</uuid>
  <genid>0d9c8b7a-6655-4433-8211-00ffeeddccbb</genid>
  <metadata>
    <l:libosinfo xmlns:l='http://libosinfo.org/xmlns/libvirt/domain/1.0'/>
  </metadata>
  <memory unit='MiB'>1024</memory>
  <vcpu placement='static' cpuset='40-43'>4</vcpu>
  <cputune>
    <shares>2048</shares>
    <vcpupin vcpu='0' cpuset='40'/>
    <vcpupin vcpu='3' cpuset='43'/>
    <emulatorpin cpuset='44'/>
    <vcpusched vcpus='0-3' scheduler='fifo' priority='1'/>
    <cachetune vcpus='2-3'>
      <cache id='0' level='3' type='both' size='3' unit='MiB'/>
    </cachetune>
  </cputune>
  <numatune>
    <memory mode='strict' nodeset='1'/>
    <memnode cellid='0' mode='strict' nodeset='1'/>
  </numatune>
  <sysinfo type='smbios'>
    <system>
      <entry name='manufacturer'>Example Cloud</entry>
      <entry name='serial'>SERIAL-OF-OLD</entry>
      <entry name='uuid'>3f1c2a9e-7d10-4f6b-9c55-0a1b2c3d4e5f</entry>
    </system>
    <chassis>
      <entry name='asset'>ASSET-OF-OLD</entry>
    </chassis>
    <oemStrings>
      <entry>instance=OEM-OF-OLD</entry>
    </oemStrings>
  </sysinfo>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE.fd</loader>
    <nvram template='/usr/share/OVMF/OVMF_VARS.fd'>/var/lib/nvram/old_VARS.fd</nvram>
    <smbios mode='sysinfo'/>
  </os>
  <features>
    <acpi/>
  </features>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' cache='none'/>
      <source file='/images/old.qcow2' index='7'/>
      <backingStore type='file' index='8'>
        <format type='qcow2'/>
        <source file='/images/golden.qcow2'/>
        <backingStore/>
      </backingStore>
      <target dev='vda' bus='virtio'/>
      <serial>DISK-OF-OLD</serial>
      <wwn>5000c50015ea71ad</wwn>
    </disk>
    <controller type='virtio-serial' index='0'/>
    <interface type='network'>
      <mac address='52:54:00:0a:0b:0c'/>
      <source network='lan' portid='7bd1f3a2-1111-4222-8333-000000000001'/>
      <virtualport type='openvswitch'>
        <parameters interfaceid='7bd1f3a2-1111-4222-8333-000000000002'/>
      </virtualport>
      <target dev='old-tap0'/>
      <model type='virtio'/>
      <filterref filter='clean-traffic'>
        <parameter name='IP' value='192.0.2.17'/>
      </filterref>
    </interface>
    <serial type='file'>
      <source path='/var/log/old-console.log'/>
      <log file='/var/log/old-serial.log' append='on'/>
      <target port='0'/>
    </serial>
    <serial type='tcp'>
      <source mode='bind' host='0.0.0.0' service='4711'/>
      <protocol type='raw'/>
      <target port='1'/>
    </serial>
    <serial type='tcp'>
      <source mode='connect' host='collector' service='514'/>
      <protocol type='raw'/>
      <target port='2'/>
    </serial>
    <console type='pty' tty='/dev/pts/77'>
      <source path='/dev/pts/77'/>
      <target type='virtio' port='0'/>
    </console>
    <channel type='unix'>
      <source mode='bind' path='/run/old.agent'/>
      <target type='virtio' name='org.qemu.guest_agent.0'/>
    </channel>
    <channel type='null'>
      <target type='virtio' name='com.example.0'/>
    </channel>
    <graphics type='vnc' port='5911' autoport='no' listen='127.0.0.1'>
      <listen type='address' address='127.0.0.1'/>
    </graphics>
    <vsock model='virtio'>
      <cid auto='no' address='42'/>
    </vsock>
  </devices>
</domain>
"""

LEFTOVERS = (
    "<name>old</name>",
    "3f1c2a9e-7d10-4f6b-9c55-0a1b2c3d4e5f",
    "0d9c8b7a-6655-4433-8211-00ffeeddccbb",
    "SERIAL-OF-OLD",
    "ASSET-OF-OLD",
    "OEM-OF-OLD",
    "40-43",
    "vcpupin",
    "emulatorpin",
    "nodeset",
    "old_VARS.fd",
    "old.qcow2",
    "golden.qcow2",
    "DISK-OF-OLD",
    "5000c50015ea71ad",
    "52:54:00:0a:0b:0c",
    "7bd1f3a2-1111-4222-8333-00000000000",
    "old-tap0",
    "192.0.2.17",
    "old-console.log",
    "old-serial.log",
    "4711",
    "/dev/pts/77",
    "old.agent",
    "5911",
    "42",
)
"""What no domain that is built from it may contain."""

_BARE = """\
<domain type='kvm'>
  <name>old</name>
  <memory unit='MiB'>256</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices>{devices}</devices>
</domain>
"""


def with_devices(devices: str) -> str:
    """Return the XML of an existing domain with these devices."""
    return _BARE.format(devices=devices)


FOREIGN_DISKS = {
    "rbd": (
        "<disk type='network' device='disk'><driver name='qemu' type='raw'/>"
        "<auth username='u'><secret type='ceph' usage='s'/></auth>"
        "<source protocol='rbd' name='pool/old'><host name='mon' port='6789'/>"
        "<snapshot name='s1'/></source><target dev='vda' bus='virtio'/></disk>"
    ),
    "iscsi": (
        "<disk type='network' device='lun' rawio='yes' sgio='unfiltered'>"
        "<driver name='qemu' type='raw'/>"
        "<source protocol='iscsi' name='iqn.2026-11.org.example:t/1'>"
        "<host name='portal'/><auth username='u'>"
        "<secret type='iscsi' usage='s'/></auth></source>"
        "<target dev='sda' bus='scsi'/></disk>"
    ),
    "https": (
        "<disk type='network' device='disk'><driver name='qemu' type='raw'/>"
        "<source protocol='https' name='old.img'><host name='web' port='443'/>"
        "<ssl verify='no'/><cookies><cookie name='a'>b</cookie></cookies>"
        "<timeout seconds='9'/></source><target dev='vda' bus='virtio'/></disk>"
    ),
    "nvme": (
        "<disk type='nvme' device='disk'><driver name='qemu' type='raw'/>"
        "<source type='pci' managed='yes' namespace='1'>"
        "<address domain='0x0000' bus='0x01' slot='0x00' function='0x0'/></source>"
        "<target dev='vda' bus='virtio'/><boot order='1'/></disk>"
    ),
    "volume": (
        "<disk type='volume'><source pool='p' volume='old'/>"
        "<target dev='hda' bus='ide'/></disk>"
    ),
    "vhostuser": (
        "<disk type='vhostuser' device='disk'><driver name='qemu' type='raw'/>"
        "<source type='unix' path='/run/old-blk.sock'><reconnect enabled='yes'/>"
        "</source><target dev='vda' bus='virtio'/></disk>"
    ),
    "shared": (
        "<disk type='file' device='disk'><driver name='qemu' type='raw'/>"
        "<source file='/old.raw'/><target dev='vda' bus='virtio'/><shareable/></disk>"
    ),
    "encrypted": (
        "<disk type='block' device='disk'><driver name='qemu' type='qcow2'>"
        "<metadata_cache><max_size unit='bytes'>1048576</max_size></metadata_cache>"
        "</driver><source dev='/dev/vg/old'><encryption format='luks'>"
        "<secret type='passphrase' usage='s'/></encryption></source>"
        "<target dev='vda' bus='virtio'/><encryption format='luks'>"
        "<secret type='passphrase' usage='s'/></encryption></disk>"
    ),
}
"""Disks that are no plain image."""
