# SPDX-License-Identifier: Apache-2.0
"""Two domains of libvirt's test driver: one runs, one is off."""

from __future__ import annotations

from orchestrator.values.domain import DomainId

UUID = DomainId("5579e6cd-caca-4c68-8934-da43e4863198")
OFF = DomainId("6679e6cd-caca-4c68-8934-da43e4863198")
NODE = f"""
<node><domain type='test' id='1'><name>router</name><uuid>{UUID}</uuid>
<memory>65536</memory><vcpu current='2'>3</vcpu><os><type>hvm</type></os>
<cputune><vcpupin vcpu='0' cpuset='3'/><vcpupin vcpu='1' cpuset='9'/></cputune>
<devices><channel type='unix'><source mode='bind' path='/tmp/powermonitor/router.0'/>
<target type='virtio' name='virtio.serial.port.poweragent.0'/></channel></devices>
</domain></node>"""
DEFINED = f"""
<domain type='test'><name>off</name><uuid>{OFF}</uuid><memory>65536</memory>
<vcpu>2</vcpu><os><type>hvm</type></os>
<cputune><vcpupin vcpu='0' cpuset='1-2'/></cputune></domain>"""
