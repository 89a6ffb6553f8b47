# SPDX-License-Identifier: Apache-2.0
"""Access to libvirt; no other package imports it.

Theory of operation: one native thread runs libvirt's event loop for the whole process
(`eventloop`). Each `connection.Hypervisor` has its own thread that connects, registers
for events (`events`), waits until the connection ends and starts over. Reads
(`spec_reader`) and changes (`devices`) are blocking calls in the caller's thread;
libvirt may take 30 s for each and none can be cancelled, so no lock is held across one.
No libvirtError leaves this package: `libvirt_errors` translates them.
"""
