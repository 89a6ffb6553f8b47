"""`make demo`: real guests ask for clocks, the daemon obeys, a person watches.

One process hosts it all: libvirt's embedded QEMU driver, which runs two guests under
plain emulation, and vmpowerd itself, which finds their channels from libvirt's events.
The clocks are simulated CPUs, files in a directory, unless the host's own are asked
for. Nothing is left behind.

The modules, from the outside in: `performance` runs the show on a `stage` (all that is
made and must go again, for which an `undertaker` stands by) with `guests`; `consoles`
reads what they print; `recording` keeps what was seen; `picture`, `snapshot` and
`summary` draw it with `charts`; `tree` proves that the CPUs are as they were. `dpdk` is
the other show, of DPDK's own test.
"""
