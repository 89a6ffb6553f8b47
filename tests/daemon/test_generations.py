"""Guests of all generations inside a real VM, one after the other on one port.

DPDK's own library, which is of the last generation, is in `test_dpdk`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator.channel.protocol import (
    GENERATIONS,
    Answer,
    decode_capabilities,
    decode_frequencies,
    encode_answer,
)
from tests.daemon.daemon_process import DaemonProcess, find_channel
from tests.rig import dialogue
from tests.rig.shell import GuestShell, shell_guest
from tests.rig.waiting import wait_for

if TYPE_CHECKING:
    from orchestrator.channel.protocol import Generation
    from orchestrator.power.sysfs import CpuTree
    from tests.rig.guest import Guest
    from tests.rig.libvirtd import SystemHost

pytestmark = pytest.mark.rig

CLOCK = "devices/system/cpu/cpufreq/policy0/scaling_cur_freq"
TURBO, LOWEST = 3_001_000, 1_200_000
PORT = "/dev/virtio-ports/virtio.serial.port.poweragent.0"
PROGRAM = f"PYTHONPATH=/vmpower-guest.pyz python3 /dialogue.py {PORT}"
VCPUS = 2


def test_guests_of_every_generation_are_obeyed_and_answered_in_their_own_way(
    system_host: SystemHost, tree: CpuTree, archive: Path
) -> None:
    files = {
        "/vmpower-guest.pyz": archive,
        "/dialogue.py": Path(dialogue.__file__),
    }
    guest = system_host.start(shell_guest("any", files, pins={0: "0", 1: "1"}))
    with DaemonProcess(system_host.uri, tree.root, release_after_s=0.3) as daemon:
        daemon.wait_for_channel(guest.name, 0, "open", timeout_s=60)
        with GuestShell(guest) as shell:
            shell.run(f"until [ -e {PORT} ]; do usleep 20000; /bin/name-ports; done")
            # The last one comes again: what was found out is only a first guess.
            for size in (*GENERATIONS, 464, 16):
                said = talk(shell, size)
                check(said, GENERATIONS[size])
                wait_for_clock(tree, LOWEST)
                assert generation_of(daemon, guest) == size
                shell.stop("/log")
                wait_for_clock(tree, TURBO)
        said_of_policies = daemon.said().count("of guest channel 0 is in force")
    guest.remove()
    assert said_of_policies == len([*GENERATIONS, 464]) - 1


def wait_for_clock(tree: CpuTree, khz: int) -> None:
    wait_for(lambda: tree.read_khz(CLOCK) == khz, f"{khz} kHz", timeout_s=60)


def talk(shell: GuestShell, size: int) -> dict[str, tuple[bytes, bytes]]:
    """Run the guest's program; return what it sent and what came back, by name."""
    names = ["connect", *(name for name, *_ in dialogue.messages(GENERATIONS[size]))]
    shell.start(f"{PROGRAM} {size}", "/log")
    lines: list[str] = []

    def is_done() -> bool:
        lines[:] = shell.run("cat /log").printed.splitlines()
        return len(lines) >= len(names)

    wait_for(is_done, f"all that a guest of {size} bytes says", timeout_s=120)
    said = [json.loads(line) for line in lines]
    assert [line["name"] for line in said] == names
    return {
        line["name"]: (bytes.fromhex(line["sent"]), bytes.fromhex(line["answer"]))
        for line in said
    }


def generation_of(daemon: DaemonProcess, guest: Guest) -> int | None:
    channel = find_channel(daemon.status(), guest.name, 0)
    return channel["generation"] if channel else None


def check(said: dict[str, tuple[bytes, bytes]], generation: Generation) -> None:
    """Compare what came back, byte by byte where the wire leaves no choice."""
    answers = {name: answer for name, (_, answer) in said.items()}
    if not generation.is_answered:
        assert answers == dict.fromkeys(said, b"")
        return
    for name in ("connect", "removal"):
        assert answers[name] == b"", name
    for name in ("min", "down"):
        assert answers[name] == said[name][0]
    policy, absent = said["policy"][0], said["absent"][0]
    assert answers["policy"] == encode_answer(policy, Answer.ACK, generation)
    assert answers["absent"] == encode_answer(absent, Answer.NACK, generation)
    clocks = decode_frequencies(answers["clocks"], generation)
    assert (clocks.command, clocks.num_vcpu) == (Answer.FREQ_LIST, VCPUS)
    assert clocks.khz == (LOWEST, *[0] * 7)
    abilities = decode_capabilities(answers["abilities"], generation)
    assert (abilities.command, abilities.num_vcpu) == (Answer.CAPS_LIST, VCPUS)
    assert (abilities.turbo, abilities.priority) == ((1, 1, *[0] * 6), (0,) * 8)
