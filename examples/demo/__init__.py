# SPDX-License-Identifier: Apache-2.0
"""`make demo`: real guests request frequencies from the daemon, live in a terminal.

One process hosts everything: libvirt's embedded QEMU driver, which runs two guests with
plain emulation, and vmpowerd, which finds their channels through libvirt. The CPUs are
simulated (files in a directory), unless those of the host are requested. Nothing is
left behind.

The modules: `runs` has the two demos, `traffic` (guests that forward packets) and
`dpdk` (DPDK's own test). Both use an `environment` (everything that is created and must
be removed, with a `cleanup_watchdog`) and its `guests`. `consoles` parses what guests
print, `recording` collects samples, `display`, `picture`, `plain_text` and `summary`
show them with `charts`, and `tree` compares the CPUs before and after.
"""
