# SPDX-License-Identifier: Apache-2.0
"""The parts of the pages that are not generated."""

from __future__ import annotations

DATE = "2026-11-28"
"""Of these texts; the generated parts have no date."""

VMPOWER = """
A guest that polls, as DPDK applications do, keeps its CPUs at full frequency whether or
not there is traffic. The guest knows its load, but only the host can change the CPU
frequency. The guest therefore sends requests, over virtio-serial ports or by its own
cpufreq driver (P-states), and `vmpowerd(8)` applies them within the operator's limits.
`vmpower` shows and controls what the daemon does, and creates and onboards domains.
`vmpower try` shows all of it with simulated CPUs and guests.

CPUs that share one frequency form a clock group (a cpufreq policy of the kernel). When
something first requests a frequency for a clock group, the daemon takes it: it sets the
governor `userspace` and then the frequency itself; where the scaling driver chooses
frequencies, it sets the governor `performance` and both limits. When no request is
left, it restores the original settings.

Commands that show something need no privileges: they use the read-only socket in the
run directory. Commands that change something use the control socket, and need root or
membership in its group. Commands that change domains use libvirt with the permissions
of the user, and do not need the daemon.

Tables are drawn on terminals and plain elsewhere. The keys of -o json are stable;
frequencies are integers in kHz, and units are part of the key. Each document has a
version, `schema`. With -o json an error is a line of JSON on standard error, with
`message`, `hint` and `status`. docs/json.md of the source explains every key.

Domains are given by id, UUID or name, CPUs as lists such as `2-5,8`, and frequencies as
`2.3GHz`, `2300MHz` or in kHz.
"""

VMPOWERD = """
The daemon connects to the ports named `virtio.serial.port.poweragent.N` and to the
P-state ports of all domains, and sets CPU frequencies as their guests request, within
the operator's limits. It finds the ports through libvirt, and keeps working while
libvirt and domains are restarted. When it exits, it restores the original settings of
the CPUs.

It affects only CPUs that a domain with a port, a policy or limits is pinned to; limits
of the host, `[bounds]`, concern every CPU.

It must be able to write to `/sys/devices/system/cpu`, to connect to QEMU's sockets and
to read libvirt's domains, so it usually runs as root. Only one daemon can control a CPU
tree at a time.

The log is written to standard error; under systemd, `journalctl -u vmpowerd` shows it.
"""

VMPOWER_GUEST = """
This command runs inside a VM. It requests CPU frequencies for the VM's vCPUs from the
host, over ports named `virtio.serial.port.poweragent.N`, one for each vCPU; `vmpower
domain onboard` on the host adds them. A VM with a DPDK application that sends requests
itself does not need it.

A request lasts as long as the port is open. When the command ends, for whatever reason,
the host withdraws the request. Therefore `set`, `policy send` and `auto` keep running,
and repeat the request when the host has been away. A port can be used by one program at
a time: `query` and `watch` use any free port, because each can be used for every vCPU
of the VM, and `auto` skips ports that another program has open.

`auto` reads the load from /proc/stat. For a busy vCPU it requests the highest step at
once. When the load has been low for a while, it requests one step down, and another one
after each further while. If the load is high again soon after a step down, it waits
twice as long before the next one. A poll-mode application has a load of 100 % whatever
it does, so its vCPU needs a policy, or requests from the application.

The hours of a policy are full hours in the time zone of the host. Hour 0 alone cannot
be encoded, because 0 also means no hour. `-o json` prints one JSON object, or one per
line.

The command is one file for Python 3.9 or newer without dependencies (`make guest`). It
is also a library: `from orchestrator.guest import VCpuClock`.
"""

CONFIGURATION = """
The file is in TOML format. Without it, all options have their defaults. Drop-in files,
`conf.d/*.toml` in the same directory, are read after it in the order of their names;
each overrides the options that it sets. Unknown keys are errors. `vmpowerd
--check-config` validates the files, `vmpowerd --show-config` prints the effective
configuration, and SIGHUP makes the daemon reload it.

The configuration takes precedence over the metadata of domains, and both take
precedence over the requests of guests.
"""

SIGNALS = (
    ("SIGTERM, SIGINT", "Restore the CPUs, remove the sockets and exit."),
    ("SIGHUP", "Reload the configuration; an invalid one is rejected and logged."),
)

FILES = (
    ("/etc/vmpower/vmpower.toml", "Configuration of the daemon; see vmpower.toml(5)."),
    ("/etc/vmpower/conf.d/*.toml", "Drop-in configuration files, read after it."),
    ("/etc/vmpower/templates/*.xml", "Local templates for `vmpower domain add`."),
    ("/run/vmpower/vmpower-ro.sock", "Read-only socket, for all users."),
    ("/run/vmpower/vmpower.sock", "Control socket, for root and its group."),
    (
        "/run/vmpower/attributes.json",
        "Restore journal: other settings of the kernel before the daemon changed them.",
    ),
    (
        "/run/vmpower/limits.json",
        "Restore journal: the kernel's frequency limits before the daemon set others.",
    ),
    (
        "/run/vmpower/restore.json",
        "Restore journal: original settings of the CPUs that the daemon controls.",
    ),
    (
        "/run/vmpower/state.json",
        "State file: decisions of operators and guests that the next start resumes.",
    ),
    ("/run/vmpower/events.ndjson, events.ndjson.1", "The latest events."),
    (
        "/var/lib/vmpower/history.sqlite",
        "What domains did over weeks; see vmpower report.",
    ),
    ("/var/lib/vmpower/energy.json", "What `vmpower energy calibrate` measured."),
    ("/var/lib/vmpower/acpi", "Tables and sockets of guests with P-states."),
)

FILES_OF_GUEST = (
    (
        "/dev/virtio-ports/virtio.serial.port.poweragent.N",
        "Port of vCPU N; opening it requires root, or ownership of the port.",
    ),
    ("/proc/stat", "Load of the vCPUs."),
)

ENVIRONMENT = (
    (
        "LIBVIRT_DEFAULT_URI",
        "libvirt URI to use if none is given, as for virsh(1).",
    ),
)
ENVIRONMENT_OF_COMMAND = (
    ("VMPOWER_RUN_DIR", "Directory of the daemon's sockets, like --run-dir."),
    ("NO_COLOR", "If set, tables on a terminal have no color."),
    ("CLICOLOR_FORCE, FORCE_COLOR", "If not 0, tables are drawn in pipes too."),
    ("COLUMNS", "Width of tables."),
)

CONFIGURATION_EXAMPLE = """\
# Guests may use any frequency from 1.2 GHz, but no turbo.
[bounds]
min_khz = "1.2GHz"
turbo = false

# Requests of firewalls are never applied below 2 GHz.
[[domain]]
match = "fw-*"
min_khz = "2GHz"

# Domains with these names get channels from the daemon.
[[onboard]]
match = "dpdk-*"
""".splitlines()
"""A test parses it as the daemon does."""

DAEMON_EXAMPLES = (
    ("vmpowerd --check-config", "Validate the configuration:"),
    (
        "vmpowerd --sysfs-root cpus --run-dir cpus/run",
        "Use CPUs created by `vmpower simulate cpus --cpus 8`, as `vmpower try` does:",
    ),
)
