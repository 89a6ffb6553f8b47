"""Everything libvirt, and the only place that imports it.

Theory of operation: one native thread runs libvirt's event loop for the whole process
(`eventloop`). Each `connection.Hypervisor` has a thread of its own that connects,
registers (`events`), waits for the end of the connection and begins again. Questions
(`description`) and changes (`devices`) are blocking calls from the caller's threads;
libvirt may hold each of them for 30 s and none can be cancelled, so no lock is ever
held across one. Every libvirtError becomes one of ours at this border (`translation`).
"""
