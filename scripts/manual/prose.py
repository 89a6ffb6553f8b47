"""What the pages say that no code says."""

from __future__ import annotations

DATE = "2026-11-25"
"""Of these words; the pages' other words have no date of their own."""

VMPOWER = """
Guests that poll, as DPDK's do, burn a whole CPU at full clock whether or not packets
come. Such a guest knows its load and asks for a clock over a virtio-serial port; only
its host can set it. `vmpowerd(8)` does so, within the operator's bounds; `vmpower`
shows what it does, steers it, and makes or onboards domains.

Commands that show something need no rights: they use the socket for everybody in the
run directory. Commands that change something use the other one, and need root or
membership in its group. Commands that change domains speak to libvirt with the rights
of whoever types them, and need no daemon.

Tables are drawn on a terminal and plain elsewhere; -o json is for programs, and its
keys are stable: frequencies are integer kHz, and the unit stands in the name.

Domains are named by id, UUID or name; CPUs as lists: `2-5,8`; clocks as `2.3GHz`,
`2300MHz` or kHz.
"""

VMPOWERD = """
The daemon finds every port named `virtio.serial.port.poweragent.N` of all domains, from
libvirt's events and the domains' XML, connects, and obeys the guest within the
operator's bounds. It survives restarts of libvirt, of domains and its own, and gives
the CPUs back as it found them.

Which CPUs it touches: those that a domain with such a port, or with a policy, is pinned
to, and no others.

It needs to write to `/sys/devices/system/cpu`, to connect to QEMU's sockets and to
see libvirt's domains: root, as a rule. One daemon at a time may hold a CPU tree.
"""

VMPOWER_GUEST = """
It runs inside a VM, and asks the host for the clocks of the VM's vCPUs over ports named
`virtio.serial.port.poweragent.N`, one for each vCPU; `vmpower domain onboard` on the
host adds them. A VM whose DPDK application speaks for itself does not need it.

What is asked for holds as long as the port is open. When the command ends, however it
ends, the host takes it back; so `set`, `policy send` and `auto` stay, and ask again
when the host was away. A port belongs to one program at a time: `query` and `watch` go
through any that is free, since each may ask about every vCPU of its VM, and `auto`
leaves out those that somebody else has.

`auto` looks at /proc/stat. A vCPU that is busy gets the highest step at once; one that
was calm for a while goes down by one step, and by one more after each further while. A
step that had to be taken back soon makes the next one wait twice as long. A poll-mode
application keeps its vCPU at 100 % whatever it does: its load says nothing, and it
wants a policy, or to ask by itself.

The hours of a policy are whole hours of the host's clock. Hour 0 alone cannot be said:
in the packet 0 also stands for no hour. `-o json` writes documents for programs: one
object, or one per line.

It is one file of Python 3.9 or newer without other parts (`make guest`), and a library
too: `from orchestrator.guest import VCpuClock`.
"""

CONFIGURATION = """
The file is TOML. Without it every option has its default, which is written below.
Drop-ins, `conf.d/*.toml` beside it, are read after it in the order of their names; each
overrides what it names. Unknown keys are errors, and `vmpowerd --check-config` finds
them; `vmpowerd --show-config` prints what is in force. SIGHUP has the daemon read its
files again.

What is said here stands above what a domain's own metadata says, and that above what
its guest asks.
"""

SIGNALS = (
    ("SIGTERM, SIGINT", "End: give the CPUs back and take the sockets away."),
    ("SIGHUP", "Read the configuration again; a wrong one is refused and told."),
)

FILES = (
    ("/etc/vmpower/vmpower.toml", "The daemon's configuration; see vmpower.toml(5)."),
    ("/etc/vmpower/conf.d/*.toml", "Drop-ins, read after it."),
    ("/etc/vmpower/templates/*.xml", "The operator's own templates of domains."),
    ("/run/vmpower/vmpower-ro.sock", "Socket of calls that read, for everybody."),
    ("/run/vmpower/vmpower.sock", "Socket of all calls, for root and its group."),
    (
        "/run/vmpower/restore.json",
        "Journal: what the CPUs said that a daemon holds, or held when it was killed.",
    ),
)

FILES_OF_GUEST = (
    (
        "/dev/virtio-ports/virtio.serial.port.poweragent.N",
        "The port of vCPU N; to open it takes root, or whoever owns it.",
    ),
    ("/proc/stat", "The load of the vCPUs."),
)

ENVIRONMENT = (
    (
        "LIBVIRT_DEFAULT_URI",
        "libvirt to speak to if nothing else names one, as for virsh(1).",
    ),
)
ENVIRONMENT_OF_COMMAND = (
    ("VMPOWER_RUN_DIR", "Directory of the daemon's sockets, as --run-dir names it."),
    ("NO_COLOR", "Any value: tables on a terminal have no colour."),
    ("CLICOLOR_FORCE, FORCE_COLOR", "Any value but 0: tables are drawn in pipes too."),
    ("COLUMNS", "Width of tables."),
)

CONFIGURATION_EXAMPLE = """\
# Guests may have any clock from 1.2 GHz on, but no turbo.
[bounds]
min_khz = "1.2GHz"
turbo = false

# Firewalls are never slower than 2 GHz, whatever they ask.
[[domain]]
match = "fw-*"
min_khz = "2GHz"

# Who is called so gets its channels from the daemon.
[[onboard]]
match = "dpdk-*"
""".splitlines()
"""A test has the daemon's own reader read it."""

DAEMON_EXAMPLE = (
    ("vmpowerd --check-config", "Say whether the configuration is good."),
    (
        "vmpowerd --sysfs-root /tmp/cpus --run-dir /tmp/try",
        "Try it on CPUs that `vmpower simulate /tmp/cpus --cpus 8` made.",
    ),
)
